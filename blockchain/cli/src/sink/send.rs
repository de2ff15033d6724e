//! Sending on what is in the spool, in turns of a piece for each connection, by one thread.
//!
//! What is asked first, each time, is where a session goes on: so a break costs only time. The spool is the sink's
//! own, so what was sent of it is what is in it, and nothing has to be read back from a place that may not let it be
//! read.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_api::v1::sessions::{Session, SessionStatus};
use lucid_core::cut::ChunkProfile;
use lucid_core::manifest::End;
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_core::timeline::Recorded;
use lucid_data_chain::ops::sessions::append_stream::StreamPiece;
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::reply::source::read_source;
use lucid_store::clock::{Clock, ClockDrift};

use super::spool::{Head, Spooled};
use super::{Check, Shared, SinkEvent, hear};
use crate::cmd::clock;
use crate::place::remote::is_away;
use crate::place::{Place, StorageOptions};
use crate::watch::{Pause, has_stopped, kind};

/// Bytes that are sent together, at most.
const PIECE_BYTES: usize = 1 << 20;
/// What was sent is given back to the disk in parts of at least this, where it does not press.
const FREE_BYTES: u64 = 1 << 20;
/// With no news, everything is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// A store that is away is asked again after so long, and then after at most so long.
const PAUSE: Duration = Duration::from_millis(200);
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// What failed again and again is tried this often.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is known of one connection's session.
#[derive(Debug, Default)]
struct Stream {
    /// Where it goes on, once it was asked.
    offset: Option<u64>,
    /// Of the clock that times what comes.
    drift: ClockDrift,
    /// When it is tried again.
    pause: Option<Pause>,
}

/// What came of a turn.
enum Turn {
    /// There is more to do at once.
    More,
    /// There is nothing to do now.
    Idle,
    /// Its session is sealed.
    Sealed(Box<Session>),
}

/// The sender.
pub struct Sending {
    place: Box<dyn Place>,
    shared: Arc<Shared>,
    check: Check,
    clock: Clock,
    is_checked: bool,
    streams: BTreeMap<String, Stream>,
    away: Option<Pause>,
    /// What is wrong, by its kind, and with which connections; without any it is the store.
    troubles: BTreeMap<String, BTreeSet<String>>,
    /// Anchors that were refused and spoken of.
    refused: BTreeSet<String>,
}

impl Sending {
    /// Sends to a place, once it is the one that `check` wants.
    pub fn new(place: Box<dyn Place>, shared: Arc<Shared>, check: Check) -> Self {
        Self {
            place,
            shared,
            check,
            clock: clock(),
            is_checked: false,
            streams: BTreeMap::new(),
            away: None,
            troubles: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Sends until the end is asked for and everything is sent, or its time is over.
    pub fn run(mut self, news: &Receiver<()>) -> anyhow::Result<()> {
        loop {
            let has_more = self.round()?;
            let until = *self.shared.until.lock();
            let is_over = until.is_some_and(|until| {
                Instant::now() >= until || self.shared.spooled.lock().is_empty()
            });
            if is_over {
                return self.place.close();
            }
            let wait = if until.is_some() { PAUSE } else { LOOK };
            if !has_more && !hear(news, wait) {
                return self.place.close();
            }
        }
    }

    /// Gives every connection a turn; says whether there is more to do at once.
    fn round(&mut self) -> anyhow::Result<bool> {
        if self.away.as_ref().is_some_and(|pause| !pause.is_over()) {
            return Ok(false);
        }
        let all: Vec<Arc<Spooled>> = self.shared.spooled.lock().values().cloned().collect();
        let (mut has_more, mut sealed) = (false, Vec::new());
        for spooled in all {
            let until = *self.shared.until.lock();
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
            let stream = self.streams.entry(spooled.name.clone()).or_default();
            if stream.pause.as_ref().is_some_and(|pause| !pause.is_over()) {
                continue;
            }
            match self.check_once().and_then(|()| self.turn(&spooled)) {
                Ok(turn) => {
                    self.well(&spooled.name);
                    match turn {
                        Turn::More => has_more = true,
                        Turn::Idle => {}
                        Turn::Sealed(session) => sealed.push((spooled, session)),
                    }
                }
                Err(error) if !self.is_checked && !is_away(&error) => return Err(error),
                Err(error) if self.place.own_folder().is_some() && has_stopped(&error) => {
                    return Err(error.context("nothing more can be sent; start `lucid sink` again"));
                }
                Err(error) => {
                    if !self.fail(&spooled, &error) {
                        has_more = false;
                        break;
                    }
                }
            }
        }
        self.settle(sealed);
        Ok(has_more)
    }

    /// Whether the place is the one that is wanted; asked until it answers.
    fn check_once(&mut self) -> anyhow::Result<()> {
        if !self.is_checked {
            (self.check)(self.place.as_ref())?;
            self.is_checked = true;
        }
        Ok(())
    }

    /// Sends a piece of a connection, or seals its session where there is nothing more to come.
    fn turn(&mut self, spooled: &Spooled) -> anyhow::Result<Turn> {
        let Self { place, shared, streams, clock, .. } = self;
        let stream = streams.entry(spooled.name.clone()).or_default();
        // Before the bytes are counted: after it no more come.
        let end = *spooled.end.lock();
        let (mut head, length) =
            (spooled.head.lock().clone(), spooled.durable.load(Ordering::Acquire));
        let session: SessionId = head.session.parse()?;
        let mut offset = match stream.offset {
            Some(offset) => offset,
            None => {
                let found = place.stream(new_session(&head)?)?;
                if found.started_at != head.started_at {
                    // Another recorder made the same id.
                    head = shared.spool.go_on(spooled, head.base, clock.now())?;
                    shared.tell(&began(&head));
                    return Ok(Turn::More);
                }
                let is_open =
                    matches!(found.status, SessionStatus::Active | SessionStatus::Unterminated);
                let kept = head.base + if is_open { found.offset } else { found.content_bytes };
                anyhow::ensure!(
                    (spooled.freed()..=length).contains(&kept),
                    "session {session} has {} there, and the spool has bytes {} to {length} of it: start `lucid sink` \
                     with the store that the others were sent to, or set \"{}\" aside",
                    found.content_bytes,
                    spooled.freed(),
                    shared.spool.folder().join(&spooled.name).display()
                );
                shared.room.give_back(spooled.note_sent(kept));
                if !is_open {
                    if end.is_some() && kept == length {
                        return Ok(Turn::Sealed(Box::new(found)));
                    }
                    // It was sealed by others, and more came.
                    head = shared.spool.go_on(spooled, kept, clock.now())?;
                    shared.tell(&began(&head));
                    return Ok(Turn::More);
                }
                found.offset
            }
        };
        let at = head.base + offset;
        if at == length && end.is_none() && !shared.room.is_short() {
            stream.offset = Some(offset);
            return Ok(Turn::Idle);
        }
        let file = shared.spool.bytes(spooled).context("the spool cannot be read")?;
        let wanted = usize::try_from(length - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let now = clock.moment();
        let back = stream.drift.went_back(&now);
        if wanted > 0 {
            let mut bytes = vec![0; wanted];
            file.read_exact_at(&mut bytes, at).context("the spool cannot be read")?;
            let came = Timestamp::from_micros(spooled.came.load(Ordering::Acquire));
            let recorded = Some(Recorded { at: came.min(now.wall), back });
            let piece = StreamPiece { offset, bytes: &bytes, recorded };
            // Until it is acknowledged, it is not known where the session goes on.
            stream.offset = None;
            offset = place.append(&session, piece, StorageOptions::default())?.offset;
            stream.drift.note(back);
            shared.room.give_back(spooled.note_sent(head.base + offset));
        }
        stream.offset = Some(offset);
        let at_least = if shared.room.is_short() { 1 } else { FREE_BYTES };
        shared.spool.free(spooled, &file, at_least).context("the spool cannot be freed")?;
        if head.base + offset < length {
            return Ok(Turn::More);
        }
        let Some(end) = end else { return Ok(Turn::Idle) };
        stream.offset = None;
        place.seal(&session, &SealRequest { end, clock_back: back, ..SealRequest::default() })?;
        Ok(Turn::Sealed(Box::new(place.session(&session)?)))
    }

    /// Notes that something failed; says whether the others have their turn.
    fn fail(&mut self, spooled: &Spooled, error: &anyhow::Error) -> bool {
        let (kind, text) = (kind(error), format!("{error:#}"));
        if let Some(stream) = self.streams.get_mut(&spooled.name) {
            stream.offset = None;
            if !is_away(error) {
                stream.pause = Some(Pause::after(stream.pause.as_ref(), PAUSE, PAUSE_MAX));
            }
        }
        if is_away(error) {
            self.away = Some(Pause::after(self.away.as_ref(), PAUSE, AWAY_PAUSE_MAX));
            if self.troubles.insert(kind, BTreeSet::new()).is_none() {
                self.shared.output.warn(&format!(
                    "nothing can be sent: {text}; what comes is kept in the spool, and it is tried again"
                ));
            }
            return false;
        }
        let is_new = !self.troubles.contains_key(&kind);
        // A connection has one trouble at a time.
        for names in self.troubles.values_mut() {
            names.remove(&spooled.name);
        }
        self.troubles.entry(kind).or_default().insert(spooled.name.clone());
        if is_new {
            self.shared.output.warn(&format!(
                "session {} cannot be sent: {text}; it is kept in the spool, as all are that fail likewise, and tried \
                 again",
                spooled.head.lock().session
            ));
        }
        true
    }

    /// Notes that a connection's turn went well, and so the store is there.
    fn well(&mut self, name: &str) {
        if let Some(stream) = self.streams.get_mut(name) {
            stream.pause = None;
        }
        self.away = None;
        let before = self.troubles.len();
        for names in self.troubles.values_mut() {
            names.remove(name);
        }
        self.troubles.retain(|_, names| !names.is_empty());
        match self.troubles.len() {
            now if now == before => {}
            0 => self.shared.output.warn("everything can be sent again"),
            _ => self.shared.output.warn("all but what was named can be sent again"),
        }
    }

    /// Anchors what was sealed, and takes it out of the spool. A server anchors by itself; a folder has nobody else.
    fn settle(&mut self, sealed: Vec<(Arc<Spooled>, Box<Session>)>) {
        if let Some((_, last)) = sealed.last().filter(|_| self.place.own_folder().is_some()) {
            // With one, all that wait are brought into the block.
            let anchored = last.session_id.parse().map_err(anyhow::Error::from);
            let anchored = anchored.and_then(|id| self.place.anchor(&id));
            let failed = anchored.err().map(|error| format!("{error:#}"));
            for why in self.place.undelivered().into_iter().chain(failed) {
                if self.refused.insert(why.clone()) {
                    self.shared.output.warn(&why);
                }
            }
        }
        for (spooled, session) in sealed {
            if let Err(error) = self.shared.spool.remove(&spooled.name) {
                // It is there still, and is removed with the next look.
                self.fail(
                    &spooled,
                    &anyhow::Error::new(error).context("the spool cannot be freed"),
                );
                continue;
            }
            self.shared.room.give_back(spooled.waiting());
            self.shared.spooled.lock().remove(&spooled.name);
            self.streams.remove(&spooled.name);
            self.shared.tell(&SinkEvent::Sealed {
                session: session.session_id.clone(),
                user: spooled.head.lock().user.clone(),
                bytes: session.content_bytes,
                unterminated: *spooled.end.lock() == Some(End::Unterminated),
            });
        }
    }
}

fn began(head: &Head) -> SinkEvent {
    SinkEvent::Began {
        session: head.session.clone(),
        user: head.user.clone(),
        socket: head.metadata.get("socket").cloned().unwrap_or_default(),
    }
}

/// The session as it is begun, the same each time.
fn new_session(head: &Head) -> anyhow::Result<NewSession> {
    Ok(NewSession {
        id: Some(head.session.parse()?),
        user: head.user.clone(),
        layout: Layout::Raw,
        public: false,
        profile: ChunkProfile::default(),
        metadata: head.metadata.clone(),
        started_at: Timestamp::parse(&head.started_at)?,
        one_shot: false,
        own_copies: false,
        sight: Sight::everything(),
        retain_until: None,
        source: Some(read_source(head.source.clone())?),
        terminal: None,
    })
}
