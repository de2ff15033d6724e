//! A way to a server that a test can close: a caller of the server is cut off, left without an answer, or answered by
//! something that stands before it.

use std::io::{self, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;

/// What callers meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The server.
    Open,
    /// Every connection is closed.
    Cut,
    /// Nothing goes on, either way.
    Stalled,
    /// S3: requests are answered with this status and code, and not carried out.
    Answered(u16, &'static str),
}

struct Shared {
    to: String,
    way: Mutex<Way>,
    /// Connections of an earlier number are over.
    round: AtomicU64,
}

/// The way to one server.
pub struct Gate {
    shared: Arc<Shared>,
    at: SocketAddr,
}

/// How often it is looked whether the way has changed.
const LOOK: Duration = Duration::from_millis(20);

impl Gate {
    /// Before a server, `HOST:PORT`; open.
    pub fn before(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let shared = Shared { to: to.to_owned(), way: Mutex::new(Way::Open), round: 0.into() };
        let shared = Arc::new(shared);
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let shared = accepting.clone();
                std::thread::spawn(move || shared.take(caller));
            }
        });
        Self { shared, at }
    }

    /// `HOST:PORT` of it.
    pub fn address(&self) -> String {
        self.at.to_string()
    }

    /// What callers meet from now on, those that are connected already as well.
    pub fn set(&self, way: Way) {
        *self.shared.way.lock() = way;
        self.shared.round.fetch_add(1, SeqCst);
    }
}

impl Shared {
    fn take(&self, caller: TcpStream) {
        let (way, round) = (*self.way.lock(), self.round.load(SeqCst));
        // Who hangs up here has heard enough.
        let _over = match way {
            Way::Open => self.carry(&caller, round),
            Way::Cut => Ok(()),
            Way::Stalled => self.hold(&caller, round),
            Way::Answered(status, code) => self.answer(caller, status, code, round),
        };
    }

    fn is_of(&self, round: u64) -> bool {
        self.round.load(SeqCst) == round
    }

    /// Carries bytes both ways until the way changes: a stalled one keeps the connection, and moves nothing.
    fn carry(&self, caller: &TcpStream, round: u64) -> io::Result<()> {
        let server = TcpStream::connect(&self.to)?;
        for stream in [caller, &server] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LOOK))?;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.one_way(caller, &server, round));
            self.one_way(&server, caller, round)
        })
    }

    fn one_way(&self, mut from: &TcpStream, mut to: &TcpStream, round: u64) -> io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut bytes);
            if !self.is_of(round) {
                let way = *self.way.lock();
                if way == Way::Stalled {
                    self.hold(from, self.round.load(SeqCst))?;
                }
                let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                return Ok(());
            }
            match read {
                Ok(0) => return to.shutdown(Shutdown::Write),
                Ok(read) => to.write_all(bytes.get(..read).unwrap_or_default())?,
                Err(error) if is_quiet(&error) => {}
                Err(error) => {
                    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    return Err(error);
                }
            }
        }
    }

    /// Takes nothing and says nothing until the way changes.
    fn hold(&self, _caller: &TcpStream, round: u64) -> io::Result<()> {
        while self.is_of(round) {
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Answers requests until the way changes.
    fn answer(&self, caller: TcpStream, status: u16, code: &str, round: u64) -> io::Result<()> {
        caller.set_read_timeout(Some(LOOK))?;
        let (mut caller, mut head, mut bytes) = (caller, Vec::new(), [0; 16 << 10]);
        while self.is_of(round) {
            match caller.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(read) => head.extend_from_slice(bytes.get(..read).unwrap_or_default()),
                Err(error) if is_quiet(&error) => continue,
                Err(error) => return Err(error),
            }
            if head.windows(4).any(|end| end == b"\r\n\r\n") {
                let body = format!("<Error><Code>{code}</Code><Message>not now</Message></Error>");
                let length = body.len();
                write!(
                    caller,
                    "HTTP/1.1 {status} Not Now\r\ncontent-type: application/xml\r\n\
                     content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                )?;
                caller.shutdown(Shutdown::Write)?;
                // What is left of the request is taken, or the answer would be lost with it.
                while self.is_of(round) && !matches!(caller.read(&mut bytes), Ok(0)) {}
                return Ok(());
            }
        }
        Ok(())
    }
}

fn is_quiet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
