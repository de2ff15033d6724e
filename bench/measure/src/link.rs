//! A link that takes its time: what goes in comes out so many milliseconds later, in both directions, as
//! fast as it came. For kernels without `netem`.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// On its way in one direction of one connection: more than a fast link holds in that time.
const IN_FLIGHT_BYTES: usize = 16 << 20;

/// Listens on any port, says on which, and goes on until it is ended.
pub fn serve(to: &str, delay: Duration) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening")?;
    println!("{}", listener.local_addr().context("listening")?);
    for near in listener.incoming().flatten() {
        let far = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            to.set_nodelay(true)?;
            let pipe = Arc::new(Pipe::default());
            let reading = pipe.clone();
            std::thread::spawn(move || reading.fill(from, delay));
            std::thread::spawn(move || pipe.drain(to));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    ended: bool,
}

impl Pipe {
    fn fill(&self, mut from: TcpStream, delay: Duration) {
        let mut buffer = vec![0; 256 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let piece = buffer.get(..count).unwrap_or_default().to_vec();
            let Ok(mut state) = self.state.lock() else { return };
            while state.bytes > IN_FLIGHT_BYTES && !state.ended {
                state = match self.changed.wait(state) {
                    Ok(state) => state,
                    Err(_) => return,
                };
            }
            state.bytes += count;
            state.pieces.push_back((Instant::now() + delay, piece));
            self.changed.notify_all();
        }
        if let Ok(mut state) = self.state.lock() {
            state.ended = true;
        }
        self.changed.notify_all();
    }

    fn drain(&self, mut to: TcpStream) {
        loop {
            let Ok(mut state) = self.state.lock() else { return };
            let (due, piece) = loop {
                if let Some(piece) = state.pieces.pop_front() {
                    break piece;
                }
                if state.ended {
                    let _closed = to.shutdown(Shutdown::Write);
                    return;
                }
                state = match self.changed.wait(state) {
                    Ok(state) => state,
                    Err(_) => return,
                };
            };
            state.bytes -= piece.len();
            drop(state);
            self.changed.notify_all();
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                if let Ok(mut state) = self.state.lock() {
                    state.ended = true;
                }
                self.changed.notify_all();
                return;
            }
        }
    }
}
