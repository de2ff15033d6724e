//! The two pipes that a recorded program writes to: what comes goes to our own output at once, and to
//! the recording, in the order in which it comes.
//!
//! What is on its way is bounded: when nobody takes it, the pipes fill and the program waits.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender};

use lucid_core::manifest::ExitStatus;
use lucid_store::clock::Moment;
use lucid_store::threads::start;

use super::terminal::Casting;
use crate::cmd::append::PIECE_BYTES;
use crate::cmd::moment;
use crate::output::Output;

/// Bytes that are read at once: as many as a pipe holds.
const READ_BYTES: usize = 64 << 10;
/// Pieces on their way, at most: 16 MiB.
pub const PIECES_MAX: usize = 256;
/// Bytes that were read and need not be kept yet, at most: those pieces, one that each pipe has in hand,
/// and what is gathered to be kept next.
pub const HELD_MAX: u64 = ((PIECES_MAX + 3) * READ_BYTES + PIECE_BYTES) as u64;

/// What is told of a program, in order.
#[derive(Debug)]
pub enum Told {
    /// It wrote something.
    Bytes {
        /// When that came.
        at: Moment,
        /// What it was.
        bytes: Vec<u8>,
    },
    /// It ended, and nothing more is awaited from it.
    Ended(std::io::Result<ExitStatus>),
}

/// A pipe's way out.
pub struct Tap {
    /// Who records.
    pub tell: SyncSender<Told>,
    /// How many pipes have something that nobody has taken yet.
    pub waiting: Arc<AtomicUsize>,
    /// Told when the pipe has ended.
    pub ended: Sender<()>,
    /// What makes an asciicast of it, if it is a terminal's.
    pub casting: Option<Casting>,
    /// Who is told that our own output fails.
    pub output: Output,
}

impl Tap {
    /// Reads a pipe to its end, in a thread of its own. When nobody reads our own output any more, the
    /// program is told as if it wrote there itself: its pipe is closed.
    pub fn open(
        self,
        mut pipe: impl Read + Send + 'static,
        mut own: impl Write + Send + 'static,
    ) -> std::io::Result<()> {
        start("tap", move || {
            let mut buffer = vec![0; READ_BYTES];
            let mut echoes = true;
            loop {
                let count = match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    // So a terminal ends at which no program is any more.
                    Err(error) if self.casting.is_some() && is_no_terminal(&error) => break,
                    Err(error) => {
                        self.output
                            .warn(&format!("what the program writes cannot be read: {error}"));
                        break;
                    }
                };
                let bytes = buffer.get(..count).unwrap_or_default();
                let at = moment();
                let echoed = match echoes {
                    true => own.write_all(bytes).and_then(|()| own.flush()),
                    false => Ok(()),
                };
                self.waiting.fetch_add(1, Ordering::SeqCst);
                let is_taken = match &self.casting {
                    Some(casting) => casting.tell(|writer, steady| writer.output(steady, bytes)),
                    None => self.tell.send(Told::Bytes { at, bytes: bytes.to_vec() }).is_ok(),
                };
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                match echoed {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                    Err(error) => {
                        echoes = false;
                        self.output.warn(&format!(
                            "what the program writes is recorded, and no longer passed on: {error}"
                        ));
                    }
                }
                if !is_taken {
                    break;
                }
            }
            drop(pipe);
            // The thread that waited for it may have gone on without it.
            let _ = self.ended.send(());
        })
        .map(drop)
    }
}

fn is_no_terminal(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
