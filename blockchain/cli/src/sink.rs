//! Taking recordings from Unix sockets: a connection is a session, its bytes in their order.
//!
//! What is read from a socket goes into a file of the [`spool`] and is synced within a second ([`taking`]); one
//! thread sends files on while they grow, and removes each once its session is sealed ([`send`]). So programs never
//! wait for a server, and a break of any kind, of this process, of the server or of the network, costs nothing that
//! was read. How a connection ended is known here and noted in the spool; a connection without such a note broke
//! with its sink, and its session ends `unterminated`.
//!
//! Nothing is read for which there is no room ([`room`]): programs wait then, as at any pipe whose reader is slow.

pub mod listen;
mod room;
mod send;
pub mod spool;
mod taking;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_core::manifest::Source;
use lucid_http::serve::Shutdown;
use lucid_store::threads;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::output::Output;
use crate::place::Place;
use crate::text;
use listen::Socket;
use room::Room;
use send::Sending;
use spool::{ConnectionSpool, Spooled};
use taking::Taking;

/// How long what is in the spool is still sent once the end is asked for.
const LAST_SENDING: Duration = Duration::from_secs(6);
/// A request that is on its way then is given so much longer.
const LAST_REQUEST: Duration = Duration::from_secs(2);
/// After a failed accept (out of files, most often), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Whether a place is the one that is meant; an error is why not.
pub type Check = Box<dyn Fn(&dyn Place) -> anyhow::Result<()> + Send>;

/// What is taken, and how.
#[derive(Debug)]
pub struct SinkPlan {
    /// What is to be kept with each session.
    pub metadata: BTreeMap<String, String>,
    /// Where the sessions come from.
    pub source: Source,
    /// Connections that are served at once.
    pub connections: usize,
    /// Bytes that may wait to be sent.
    pub limit: u64,
}

/// Something that was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum SinkEvent {
    /// Programs may connect.
    Listening {
        /// The path of the socket, or the name that systemd gave it.
        socket: String,
    },
    /// A connection became a session.
    Began {
        /// The session.
        session: String,
        /// Who connected.
        user: String,
        /// The socket.
        socket: String,
    },
    /// A session is whole.
    Sealed {
        /// The session.
        session: String,
        /// Who connected.
        user: String,
        /// How many bytes it has.
        bytes: u64,
        /// Whether bytes may be missing: the sink ended before the connection did.
        unterminated: bool,
    },
}

/// What the takers of connections and the sender share.
#[derive(Debug)]
struct Shared {
    plan: SinkPlan,
    spool: ConnectionSpool,
    room: Room,
    output: Output,
    /// Connections in the spool, by their names there.
    spooled: Mutex<BTreeMap<String, Arc<Spooled>>>,
    /// Wakes the sender.
    news: SyncSender<()>,
    /// Until when it sends, once the end is asked for.
    until: Mutex<Option<Instant>>,
}

impl Shared {
    /// Says what was done. That nobody listens ends no recording.
    fn tell(&self, event: &SinkEvent) {
        if let Err(error) = self.output.item(event, describe) {
            tracing::debug!(%error, "an event was not told");
        }
    }

    /// Tells the sender that there is something to do.
    fn wake(&self) {
        // If it was woken already, it looks at everything.
        let _awake = self.news.try_send(());
    }
}

/// A sink that has what it needs.
pub struct Sink {
    shared: Arc<Shared>,
    news: Receiver<()>,
    sockets: Vec<Socket>,
}

impl Sink {
    /// Finds again what is in the spool.
    pub fn new(
        plan: SinkPlan,
        spool: PathBuf,
        sockets: Vec<Socket>,
        output: &Output,
    ) -> anyhow::Result<Self> {
        let (spool, found) = ConnectionSpool::open(spool)?;
        for why in &found.unread {
            output.warn(why);
        }
        let waiting = found.connections.iter().map(|spooled| spooled.waiting()).sum();
        let room = Room::new(plan.limit, waiting, output);
        let (news, heard) = sync_channel(1);
        let by_name = |spooled: Spooled| (spooled.name.clone(), Arc::new(spooled));
        let spooled = Mutex::new(found.connections.into_iter().map(by_name).collect());
        let output = output.clone();
        let until = Mutex::new(None);
        let shared = Arc::new(Shared { plan, spool, room, output, spooled, news, until });
        Ok(Self { shared, news: heard, sockets })
    }

    /// Takes and sends until the end is asked for; then what was written to the sockets so far is read and made
    /// durable, and sent on for a while. Fails only if a store of this process writes no more.
    pub async fn serve(
        self,
        place: Box<dyn Place>,
        check: Check,
        shutdown: &Shutdown,
    ) -> anyhow::Result<()> {
        let Self { shared, news, sockets } = self;
        let is_local = place.own_folder().is_some();
        let (ended, end) = tokio::sync::oneshot::channel();
        let sending = Sending::new(place, Arc::clone(&shared), check);
        let to_end = shutdown.clone();
        threads::start("sending", move || {
            let outcome = sending.run(&news);
            // One without the other is not what was asked for.
            to_end.ask();
            let _gone = ended.send(outcome);
        })
        .context("no thread")?;
        let permits = Arc::new(Semaphore::new(shared.plan.connections));
        let mut doors = JoinSet::new();
        for mut socket in sockets {
            let (name, is_own) = (socket.name().to_owned(), socket.is_own());
            let (listener, early) = (socket.listener()?, socket.early()?);
            shared.tell(&SinkEvent::Listening { socket: name.clone() });
            let door = Door { name, is_own, listener, _socket: socket };
            let (shared, permits) = (Arc::clone(&shared), Arc::clone(&permits));
            doors.spawn(door.serve(early, shared, permits, shutdown.clone()));
        }
        let watched = async { while doors.join_next().await.is_some() {} };
        let telling = async {
            loop {
                tokio::time::sleep(room::LOOK).await;
                shared.room.look();
            }
        };
        tokio::select! {
            () = watched => {}
            () = telling => {}
        }
        *shared.until.lock() = Some(Instant::now() + LAST_SENDING);
        shared.wake();
        let outcome = match is_local {
            // It has to be closed in order.
            true => end.await.context("the sender is lost")?,
            false => match tokio::time::timeout(LAST_SENDING + LAST_REQUEST, end).await {
                Ok(outcome) => outcome.context("the sender is lost")?,
                Err(_) => Ok(()),
            },
        };
        say_left(&shared);
        outcome
    }
}

/// Says what was not sent.
fn say_left(shared: &Shared) {
    let left: Vec<u64> = shared.spooled.lock().values().map(|left| left.waiting()).collect();
    if !left.is_empty() {
        shared.output.warn(&format!(
            "{} and {} that were not sent are kept in the spool \"{}\": run the same command again, and they are sent",
            text::many(left.len() as u64, "connection"),
            text::many(left.iter().sum(), "byte"),
            shared.spool.folder().display()
        ));
    }
}

/// One socket, and those who come in by it.
struct Door {
    name: String,
    is_own: bool,
    listener: UnixListener,
    /// Its file goes with it.
    _socket: Socket,
}

impl Door {
    async fn serve(
        self,
        early: Vec<UnixStream>,
        shared: Arc<Shared>,
        permits: Arc<Semaphore>,
        shutdown: Shutdown,
    ) {
        let (mut takers, mut trouble) = (JoinSet::new(), None);
        for stream in early {
            self.take(stream, &shared, &permits, &shutdown, &mut takers);
        }
        loop {
            let has_room = takers.len() < shared.plan.connections;
            let accepted = tokio::select! {
                () = shutdown.asked() => break,
                Some(ended) = takers.join_next() => {
                    say_lost(ended, &shared);
                    continue;
                }
                accepted = accept(&self.listener, has_room) => accepted,
            };
            match accepted {
                Ok(stream) => {
                    if trouble.take().is_some() {
                        let well = format!("connections to {} are taken again", self.name);
                        shared.output.warn(&well);
                    }
                    self.take(stream, &shared, &permits, &shutdown, &mut takers);
                }
                Err(error) => {
                    let why = format!("no connection to {} can be taken: {error}", self.name);
                    if trouble.as_ref() != Some(&why) {
                        shared.output.warn(&why);
                        trouble = Some(why);
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if self.is_own {
            // Nobody else will ever read what these wrote. systemd keeps its own for the next sink.
            while takers.len() < shared.plan.connections {
                let waiting = tokio::time::timeout(Duration::ZERO, self.listener.accept()).await;
                let Ok(Ok((stream, _))) = waiting else { break };
                self.take(stream, &shared, &permits, &shutdown, &mut takers);
            }
        }
        drop(self);
        while let Some(ended) = takers.join_next().await {
            say_lost(ended, &shared);
        }
    }

    fn take(
        &self,
        stream: UnixStream,
        shared: &Arc<Shared>,
        permits: &Arc<Semaphore>,
        shutdown: &Shutdown,
        takers: &mut JoinSet<()>,
    ) {
        let (shared, permits) = (Arc::clone(shared), Arc::clone(permits));
        let (name, shutdown) = (self.name.clone(), shutdown.clone());
        takers.spawn(async move {
            // Several sockets share the bound; the end lets everybody in who is connected already.
            let _permit = tokio::select! {
                permit = permits.acquire() => permit.ok(),
                () = shutdown.asked() => None,
            };
            Taking::new(stream, name, shared).run(&shutdown).await;
        });
    }
}

async fn accept(listener: &UnixListener, has_room: bool) -> std::io::Result<UnixStream> {
    match has_room {
        true => Ok(listener.accept().await?.0),
        false => std::future::pending().await,
    }
}

fn say_lost(ended: Result<(), tokio::task::JoinError>, shared: &Shared) {
    if let Err(error) = ended {
        shared.output.warn(&format!("a connection was lost: {error}"));
    }
}

fn describe(event: &SinkEvent) -> String {
    match event {
        SinkEvent::Listening { socket } => format!("listening  {socket}"),
        SinkEvent::Began { session, user, socket } => {
            format!("began      {session}  {user} by {socket}")
        }
        SinkEvent::Sealed { session, user, bytes, unterminated } => {
            let end = match unterminated {
                true => ", unterminated: the sink ended before the connection did",
                false => "",
            };
            format!("sealed     {session}  {user} ({}{end})", text::many(*bytes, "byte"))
        }
    }
}

/// Waits for news, at most so long.
fn hear(news: &Receiver<()>, at_most: Duration) -> bool {
    match news.recv_timeout(at_most) {
        Ok(()) | Err(RecvTimeoutError::Timeout) => true,
        Err(RecvTimeoutError::Disconnected) => false,
    }
}
