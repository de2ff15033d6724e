//! Watching a folder of recordings: files that appear and grow, each sent on as a session.
//!
//! [`spool`] remembers which file is which session; everything else is asked for: how much was sent is
//! the session's offset, how much there is to send is the file's length. So a break of any kind, of
//! this process, of the server or of the network, costs nothing but time.
//!
//! A file is known by its identity, not by its name: one that is renamed stays the same recording, and
//! a new one under an old name is another.

pub mod files;
pub mod spool;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_api::v1::sessions::{Session, SessionStatus};
use lucid_core::cut::ChunkProfile;
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::append_stream::Piece;
use lucid_data_chain::ops::create_session::NewSession;
use lucid_data_chain::ops::seal_session::SealRequest;
use serde::Serialize;

use crate::place::{Place, Wish};
use files::{Identity, Seen};
use spool::{Recording, Spool};

/// Bytes that are made durable together, at most.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes that one file may send before the others have their turn.
const TURN_BYTES: u64 = 64 << 20;

/// What is watched, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The folder.
    pub folder: PathBuf,
    /// Folders in it that are none of its recordings: the spool, and the store.
    pub not: Vec<PathBuf>,
    /// What the ids of its sessions begin with.
    pub prefix: String,
    /// Whose recordings they are.
    pub user: String,
    /// What is to be kept with each.
    pub metadata: BTreeMap<String, String>,
    /// How long a file must be as it is to count as closed.
    pub idle: Duration,
    /// Take files by the time of their last change, since nobody stays to see them grow.
    pub once: bool,
}

/// Something that was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A file became a session.
    Began {
        /// The session.
        session: String,
        /// The file.
        path: String,
    },
    /// A session is whole.
    Sealed {
        /// The session.
        session: String,
        /// The file.
        path: String,
        /// How many bytes it has.
        bytes: u64,
        /// Whether bytes may be missing: the file was gone before all of it was sent.
        unterminated: bool,
    },
}

/// A file whose session is open.
struct Open {
    recording: Recording,
    /// Kept open, so that what is removed or renamed can still be read to its end.
    file: Option<File>,
    /// How much the session has; asked for after every break.
    offset: Option<u64>,
    /// How long the file was when it was last looked at, and since when.
    length: u64,
    since: Instant,
    /// Whether the file is not where it was any more.
    gone: bool,
}

/// The recordings of one folder on their way.
pub struct Watcher<'a> {
    place: &'a dyn Place,
    wish: Wish,
    plan: Plan,
    spool: Spool,
    open: BTreeMap<Identity, Open>,
    /// What was sealed, and how much of the file that was.
    done: BTreeMap<Identity, Recording>,
}

impl<'a> Watcher<'a> {
    /// Finds again what was on its way.
    pub fn start(
        place: &'a dyn Place,
        wish: Wish,
        plan: Plan,
        spool: Spool,
    ) -> anyhow::Result<Self> {
        let mut watcher =
            Self { place, wish, plan, spool, open: BTreeMap::new(), done: BTreeMap::new() };
        for recording in watcher.spool.recordings()? {
            match recording.sealed_at {
                Some(_) => drop(watcher.done.insert(recording.identity, recording)),
                None => drop(watcher.open.insert(recording.identity, Open::new(recording, None))),
            }
        }
        Ok(watcher)
    }

    /// Looks at the folder once, and sends what there is. What went wrong with one file is said by
    /// `complain` and tried again the next time; the others do not wait for it.
    pub fn round(
        &mut self,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
        complain: &mut dyn FnMut(&str, &anyhow::Error),
    ) -> anyhow::Result<()> {
        let seen = files::scan(&self.plan.folder, &self.plan.not)?;
        for file in &seen {
            if let Err(error) = self.meet(file, tell) {
                complain(&file.shown(), &error);
            }
        }
        let there: BTreeMap<Identity, &Seen> =
            seen.iter().map(|file| (file.identity, file)).collect();
        let identities: Vec<Identity> = self.open.keys().copied().collect();
        for identity in identities {
            let path = self.open.get(&identity).map(|open| open.recording.path.clone());
            if let Err(error) = self.advance(identity, there.get(&identity).copied(), tell) {
                if let Some(open) = self.open.get_mut(&identity) {
                    open.offset = None;
                }
                complain(&path.unwrap_or_default(), &error);
            }
        }
        self.forget(&there)
    }

    /// Whether every file was sent and sealed that there was.
    pub fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// Notes a file that is new, or that grew after its session was sealed.
    fn meet(
        &mut self,
        file: &Seen,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.open.contains_key(&file.identity) || file.length == 0 {
            return Ok(());
        }
        let (base, part) = match self.done.get(&file.identity) {
            None => (0, 1),
            Some(done) => match done.sealed_at {
                Some(end) if file.length > end => (end, done.part + 1),
                Some(end) if file.length < end => (0, done.part + 1),
                _ => return Ok(()),
            },
        };
        let opened = file.open()?;
        let mut metadata = self.plan.metadata.clone();
        metadata.entry("path".to_owned()).or_insert_with(|| file.shown());
        if base > 0 {
            let before = self.done.get(&file.identity).map(|done| done.session.clone());
            metadata.insert("continues".to_owned(), before.unwrap_or_default());
        }
        let recording = Recording {
            session: session_id(&self.plan.prefix, file, part)?.to_string(),
            path: file.shown(),
            identity: file.identity,
            user: self.plan.user.clone(),
            metadata,
            started_at: file.began.min(crate::cmd::now()).to_string(),
            base,
            part,
            sealed_at: None,
        };
        // Before anything is sent: the file must never become two sessions.
        self.spool.keep(&recording)?;
        self.done.remove(&file.identity);
        let event =
            Event::Began { session: recording.session.clone(), path: recording.path.clone() };
        self.open.insert(file.identity, Open::new(recording, Some(opened)));
        tell(&event)
    }

    /// Sends what a file has more than its session, and seals when nothing more is to come.
    fn advance(
        &mut self,
        identity: Identity,
        seen: Option<&Seen>,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(open) = self.open.get_mut(&identity) else { return Ok(()) };
        let id: SessionId = open.recording.session.parse()?;
        if open.file.is_none() {
            open.file = seen.map(Seen::open).transpose()?;
        }
        open.gone |= seen.is_none_or(|seen| seen.shown() != open.recording.path);
        if open.offset.is_none() {
            let session = self.place.stream(open.recording.new_session()?)?;
            if !matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated) {
                return self.settle(identity, &session, tell);
            }
            open.offset = Some(session.offset);
        }
        let mut offset = open.offset.unwrap_or_default();
        let base = open.recording.base;
        let Some(file) = &open.file else {
            // It was gone before this process began: what was sent is all there will be.
            return self.seal(identity, &id, true, tell);
        };
        let found = file.metadata().context("it cannot be read")?;
        let length = found.len();
        if length != open.length {
            (open.length, open.since) = (length, Instant::now());
        }
        if length < base + offset {
            // Cut short: what was sent is the recording, and what is there now is another one.
            return self.seal(identity, &id, false, tell);
        }
        let changed = found.modified().map_or_else(|_| crate::cmd::now(), files::moment);
        let recorded_at = Some(changed.min(crate::cmd::now()));
        let mut buffer = vec![0; PIECE_BYTES];
        let mut sent = 0;
        while base + offset < length && sent < TURN_BYTES {
            let wanted = usize::try_from(length - base - offset).unwrap_or(PIECE_BYTES);
            let room = buffer.get_mut(..wanted.min(PIECE_BYTES)).unwrap_or_default();
            let count = file.read_at(room, base + offset).context("it cannot be read")?;
            let Some(bytes) = room.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            let piece = Piece { offset, bytes, recorded_at };
            offset = self.place.append(&id, piece, self.wish)?.offset;
            open.offset = Some(offset);
            sent += count as u64;
        }
        if base + offset < length {
            return Ok(());
        }
        let quiet = match self.plan.once {
            true => crate::cmd::now().micros_since(changed) >= micros(self.plan.idle),
            false => open.since.elapsed() >= self.plan.idle,
        };
        if quiet || open.gone { self.seal(identity, &id, false, tell) } else { Ok(()) }
    }

    fn seal(
        &mut self,
        identity: Identity,
        id: &SessionId,
        unterminated: bool,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.place.seal(id, &SealRequest { unterminated, ..SealRequest::default() })?;
        let session = self.place.session(id)?;
        self.settle(identity, &session, tell)
    }

    /// Notes that a session is sealed. A server anchors it by itself; a folder has nobody else.
    fn settle(
        &mut self,
        identity: Identity,
        session: &Session,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.place.own_folder().is_some() {
            self.place.anchor(&session.session_id.parse()?)?;
        }
        let Some(open) = self.open.get(&identity) else { return Ok(()) };
        let mut recording = open.recording.clone();
        recording.sealed_at = Some(recording.base + session.content_bytes);
        self.spool.keep(&recording)?;
        let event = Event::Sealed {
            session: session.session_id.clone(),
            path: recording.path.clone(),
            bytes: session.content_bytes,
            unterminated: session.end.as_deref() == Some("unterminated"),
        };
        self.open.remove(&identity);
        self.done.insert(identity, recording);
        tell(&event)
    }

    /// Forgets sealed recordings whose files are gone.
    fn forget(&mut self, there: &BTreeMap<Identity, &Seen>) -> anyhow::Result<()> {
        let gone: Vec<Identity> =
            self.done.keys().filter(|identity| !there.contains_key(identity)).copied().collect();
        for identity in gone {
            if let Some(recording) = self.done.remove(&identity) {
                self.spool.forget(&recording)?;
            }
        }
        Ok(())
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Open {
    fn new(recording: Recording, file: Option<File>) -> Self {
        Self { recording, file, offset: None, length: 0, since: Instant::now(), gone: false }
    }
}

impl Recording {
    /// The session as it is begun, the same each time.
    fn new_session(&self) -> anyhow::Result<NewSession> {
        Ok(NewSession {
            id: Some(self.session.parse()?),
            user: self.user.clone(),
            layout: Layout::Raw,
            public: false,
            profile: ChunkProfile::default(),
            metadata: self.metadata.clone(),
            started_at: Timestamp::parse(&self.started_at)?,
            one_shot: false,
            own_copies: false,
        })
    }
}

/// The id of a file's session: its name, as far as an id may have it, and what tells it from others of
/// that name.
fn session_id(prefix: &str, file: &Seen, part: u32) -> anyhow::Result<SessionId> {
    const NAME_MAX: usize = 60;
    let name: String = file
        .shown()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .take(NAME_MAX)
        .collect();
    let told = format!("{:?} {} {part}", file.identity, file.began);
    let tail: String = blake3::hash(told.as_bytes()).to_hex().chars().take(12).collect();
    let id = format!("{prefix}{name}-{tail}");
    id.parse().with_context(|| format!("--session-prefix {prefix:?} cannot begin a session's id"))
}
