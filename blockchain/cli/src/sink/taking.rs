//! One connection: read while there is room, written, synced, ended.
//!
//! Invariant: room is set aside, on the disk too, before anything is read. What cannot be kept stays with the system,
//! and the program at the other end waits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lucid_core::manifest::End;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::fresh_id::fresh_id;
use lucid_data_chain::reply::source::session_source;
use lucid_http::serve::Shutdown;
use nix::unistd::{Uid, User};
use tokio::net::UnixStream;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep_until};

use super::room::is_full;
use super::spool::{Head, Spooled, Writer};
use super::{Shared, SinkEvent};
use crate::cmd::now;
use crate::text;

/// Bytes that are read at once, and that a connection holds in memory.
const READ_BYTES: usize = 64 << 10;
/// What was read is synced when there is so much of it,
const SYNC_BYTES: u64 = 256 << 10;
/// or after so long.
const SYNC_AFTER: Duration = Duration::from_millis(500);
/// At the end, so much at most is still read of a connection: more than a socket holds.
const LAST_BYTES: u64 = 8 << 20;

/// Who is at the other end.
#[derive(Debug)]
struct Peer {
    user: String,
    uid: u32,
    pid: Option<i32>,
}

impl Peer {
    /// Asks the system, which noted it when the program connected.
    fn of(stream: &UnixStream) -> io::Result<Self> {
        let found = stream.peer_cred()?;
        let (uid, pid) = (found.uid(), found.pid());
        // A directory of users may be far away.
        let user = block_in_place(|| User::from_uid(Uid::from_raw(uid)));
        let name = user.ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        Ok(Self { user: name, uid, pid })
    }
}

/// A connection that is being taken.
pub struct Taking {
    stream: UnixStream,
    socket: String,
    shared: Arc<Shared>,
    began: Timestamp,
    buffer: Vec<u8>,
    kept: Option<Kept>,
}

/// What there is of it in the spool.
struct Kept {
    writer: Writer,
    spooled: Arc<Spooled>,
    /// When what is not synced began to come.
    unsynced: Option<Instant>,
    /// Whether the sender knows of it.
    is_known: bool,
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Bytes came.
    Read(u64),
    /// None are there now.
    Nothing,
    /// No more will come.
    End(End),
    /// There is no room for them.
    Short,
}

impl Taking {
    /// A connection that came in by a socket.
    pub fn new(stream: UnixStream, socket: String, shared: Arc<Shared>) -> Self {
        Self { stream, socket, shared, began: now(), buffer: Vec::new(), kept: None }
    }

    /// Takes it until it ends, or the sink does.
    pub async fn run(mut self, shutdown: &Shutdown) {
        let end = match self.take(shutdown).await {
            Ok(end) => end,
            Err(error) => {
                let why = format!("a connection to {} is broken off: {error}", self.socket);
                self.shared.output.warn(&why);
                End::Unterminated
            }
        };
        if let Err(error) = self.end(end, shutdown).await {
            let why = format!(
                "how a connection to {} ended cannot be noted, and it will count as unterminated: {error}",
                self.socket
            );
            self.shared.output.warn(&why);
        }
        self.shared.wake();
    }

    async fn take(&mut self, shutdown: &Shutdown) -> io::Result<End> {
        loop {
            let unsynced = self.kept.as_ref().and_then(|kept| kept.unsynced);
            let due = async {
                match unsynced {
                    Some(since) => sleep_until(since + SYNC_AFTER).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.asked() => return self.take_last(),
                () = due => self.sync()?,
                ready = self.stream.readable() => {
                    ready?;
                    match self.turn()? {
                        Turn::End(end) => return Ok(end),
                        Turn::Read(_) | Turn::Nothing => {}
                        Turn::Short => tokio::select! {
                            () = shutdown.asked() => {}
                            () = self.shared.room.freed() => {}
                        },
                    }
                }
            }
        }
    }

    /// Takes what was written to the socket by now.
    fn take_last(&mut self) -> io::Result<End> {
        let mut taken = 0;
        while taken < LAST_BYTES {
            match self.turn()? {
                Turn::Read(bytes) => taken += bytes,
                Turn::Nothing => break,
                Turn::End(end) => return Ok(end),
                Turn::Short => {
                    self.shared.output.warn(&format!(
                        "a connection to {} ends with bytes that were not read, since there was no room for them",
                        self.socket
                    ));
                    break;
                }
            }
        }
        Ok(End::Unterminated)
    }

    /// Reads once, if there is room for what may come.
    fn turn(&mut self) -> io::Result<Turn> {
        let most = READ_BYTES as u64;
        if !self.shared.room.reserve(most) {
            return Ok(Turn::Short);
        }
        let read = block_in_place(|| self.read());
        let used = if let Ok(Turn::Read(bytes)) = &read { *bytes } else { 0 };
        self.shared.room.give_back(most - used);
        read
    }

    fn read(&mut self) -> io::Result<Turn> {
        let kept = match &mut self.kept {
            Some(kept) => kept,
            none => match begin(&self.shared, &self.stream, &self.socket, self.began) {
                Ok(kept) => none.insert(kept),
                Err(error) => return short(&self.shared, error),
            },
        };
        if let Err(error) = kept.writer.make_room(READ_BYTES as u64) {
            return short(&self.shared, error);
        }
        self.buffer.resize(READ_BYTES, 0);
        let count = match self.stream.try_read(&mut self.buffer) {
            Ok(0) => return Ok(Turn::End(End::Eof)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Turn::Nothing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Turn::Nothing),
            Err(error) => return Err(error),
        };
        let bytes = self.buffer.get(..count).unwrap_or_default();
        // Room was set aside; where a file system cannot do that, this waits, since the bytes are here.
        while let Err(error) = kept.writer.write(bytes) {
            if !is_full(&error) {
                return Err(error);
            }
            self.shared.room.disk_is_full(&error);
            std::thread::sleep(SYNC_AFTER);
        }
        kept.spooled.came.store(now().as_micros(), Ordering::Release);
        kept.unsynced.get_or_insert_with(Instant::now);
        if kept.writer.length() - kept.spooled.durable.load(Ordering::Acquire) >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(Turn::Read(count as u64))
    }

    /// Makes what came durable, and has it sent.
    fn sync(&mut self) -> io::Result<()> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        block_in_place(|| kept.writer.sync())?;
        kept.unsynced = None;
        kept.spooled.durable.store(kept.writer.length(), Ordering::Release);
        if !kept.is_known && kept.writer.length() > 0 {
            kept.is_known = true;
            let (name, spooled) = (kept.spooled.name.clone(), Arc::clone(&kept.spooled));
            let Head { session, user, .. } = spooled.head.lock().clone();
            self.shared.spooled.lock().insert(name, spooled);
            let socket = self.socket.clone();
            self.shared.tell(&SinkEvent::Began { session, user, socket });
        }
        self.shared.wake();
        Ok(())
    }

    /// Ends it in the spool. One that brought nothing is nothing.
    async fn end(&mut self, end: End, shutdown: &Shutdown) -> io::Result<()> {
        self.sync()?;
        let Some(Kept { writer, spooled, .. }) = self.kept.take() else { return Ok(()) };
        if writer.length() == 0 {
            return block_in_place(|| self.shared.spool.remove(&spooled.name));
        }
        while let Err(error) = block_in_place(|| writer.end(end)) {
            if !is_full(&error) || shutdown.is_asked() {
                return Err(error);
            }
            self.shared.room.disk_is_full(&error);
            self.shared.room.freed().await;
        }
        *spooled.end.lock() = Some(end);
        Ok(())
    }
}

/// What a failure comes to: a full disk is waited for.
fn short(shared: &Shared, error: io::Error) -> io::Result<Turn> {
    if !is_full(&error) {
        return Err(error);
    }
    shared.room.disk_is_full(&error);
    Ok(Turn::Short)
}

/// Makes a place in the spool for a connection.
fn begin(shared: &Shared, stream: &UnixStream, socket: &str, began: Timestamp) -> io::Result<Kept> {
    let peer = Peer::of(stream)?;
    let mut metadata = shared.plan.metadata.clone();
    metadata.insert("uid".to_owned(), peer.uid.to_string());
    if let Some(pid) = peer.pid {
        metadata.insert("pid".to_owned(), pid.to_string());
    }
    metadata.insert("socket".to_owned(), text::name(socket.as_bytes()));
    let head = Head {
        session: fresh_id(began).map_err(io::Error::other)?.to_string(),
        user: peer.user,
        metadata,
        source: session_source(&shared.plan.source),
        started_at: began.to_string(),
        base: 0,
    };
    let (writer, spooled) = shared.spool.begin(head)?;
    Ok(Kept { writer, spooled: Arc::new(spooled), unsynced: None, is_known: false })
}
