//! Watching a folder of recordings: files that appear and grow, each sent on as a session.
//!
//! [`spool`] remembers which file is which session; everything else is asked for: how much was sent is
//! the session's offset, how much there is to send is the file's length. So a break of any kind, of
//! this process, of the server or of the network, costs nothing but time.
//!
//! A file is known by its identity, not by its name: one that is renamed stays the same recording, and
//! a new one under an old name is another.
//!
//! Nothing that is wrong with one file, folder or path stops or slows the others: each is named once,
//! looked at again with pauses of its own, and named again when it is well. What is wrong with the
//! watched folder or the store is waited out.

pub mod files;
pub mod spool;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_api::v1::sessions::{Session, SessionStatus};
use lucid_core::cut::ChunkProfile;
use lucid_core::manifest;
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::append_stream::Piece;
use lucid_data_chain::ops::create_session::NewSession;
use lucid_data_chain::ops::seal_session::SealRequest;
use serde::Serialize;

use crate::place::remote::is_away;
use crate::place::{Place, Wish};
use crate::stream::{ReadFrom, Standing, hold_against};
use files::{Identity, Root, Scan, Seen};
use spool::{OtherStore, Recording, Spool};

/// Bytes that are made durable together, at most.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes that one file may send before the others have their turn.
const TURN_BYTES: u64 = 64 << 20;
/// What failed again and again is looked at this often.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A store that is away, this often: everything waits for it.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(5);

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
    /// How long to wait before looking again, the first time.
    pub interval: Duration,
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
        /// Whether bytes may be missing: the file was gone or replaced before all of it was sent.
        unterminated: bool,
    },
}

/// What something may be wrong with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The watched folder itself.
    Folder,
    /// Where the recordings go.
    Store,
    /// What is at a path in the folder.
    Path(String),
}

/// Takes what is wrong, or `None` when it is well again: each once.
pub type Remark<'a> = &'a mut dyn FnMut(&Subject, Option<&str>);

/// When something that failed is looked at again.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Pause {
    /// The pause after one more failure: twice as long as the one before.
    fn after(last: Option<&Self>, first: Duration, most: Duration) -> Self {
        let length = last.map_or(first, |last| (last.length * 2).min(most.max(first)));
        Self { until: Instant::now() + length, length }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
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
    /// Whether the file was found to begin with what the session keeps.
    held: bool,
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
    /// The folder as it was at the start.
    root: Root,
    /// Whether the store is the one that the spool is of, and answers.
    store_is_known: bool,
    /// When a store that is away is asked again.
    away: Option<Pause>,
    /// Files that failed, and where they were then.
    paused: BTreeMap<Identity, (Pause, String)>,
    /// What is wrong at the moment.
    troubles: BTreeMap<Subject, String>,
    /// Paths that the last look could not look at.
    unseen: BTreeSet<String>,
}

impl<'a> Watcher<'a> {
    /// Finds again what was on its way.
    pub fn start(
        place: &'a dyn Place,
        wish: Wish,
        plan: Plan,
        spool: Spool,
    ) -> anyhow::Result<Self> {
        let root = Root::of(&plan.folder)
            .with_context(|| format!("\"{}\" cannot be watched", plan.folder.display()))?;
        let mut watcher = Self {
            place,
            wish,
            plan,
            spool,
            open: BTreeMap::new(),
            done: BTreeMap::new(),
            root,
            store_is_known: false,
            away: None,
            paused: BTreeMap::new(),
            troubles: BTreeMap::new(),
            unseen: BTreeSet::new(),
        };
        for recording in watcher.spool.recordings()? {
            match recording.sealed_at {
                Some(_) => drop(watcher.done.insert(recording.identity, recording)),
                None => drop(watcher.open.insert(recording.identity, Open::new(recording, None))),
            }
        }
        Ok(watcher)
    }

    /// Looks at the folder once, and sends what there is. Fails only if the store is another one than the
    /// spool is of; everything else that is wrong is remarked, and tried again later.
    pub fn round(
        &mut self,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
        remark: Remark<'_>,
    ) -> anyhow::Result<()> {
        let scan = match self.look() {
            Ok(scan) => scan,
            Err(error) => {
                self.trouble(Subject::Folder, &error, remark);
                return Ok(());
            }
        };
        self.well(&Subject::Folder, remark);
        self.note_unseen(&scan, remark);
        if !self.find_store(remark)? {
            return Ok(());
        }
        for file in &scan.files {
            if self.open.contains_key(&file.identity) {
                continue;
            }
            let meet = |watcher: &mut Self| watcher.meet(file, tell);
            if !self.attempt(file.identity, &file.shown(), remark, meet) {
                return Ok(());
            }
        }
        let there: BTreeMap<Identity, &Seen> =
            scan.files.iter().map(|file| (file.identity, file)).collect();
        let identities: Vec<Identity> = self.open.keys().copied().collect();
        for identity in identities {
            let path = self.open.get(&identity).map(|open| open.recording.path.clone());
            let path = path.unwrap_or_default();
            let seen = there.get(&identity).copied();
            let is_gone = seen.is_none() && scan.is_gone(&path, &identity);
            let advance = |watcher: &mut Self| watcher.advance(identity, seen, is_gone, tell);
            if !self.attempt(identity, &path, remark, advance) {
                return Ok(());
            }
        }
        self.forget(&scan, &there, remark);
        Ok(())
    }

    /// Whether anything is wrong at the moment.
    pub fn has_troubles(&self) -> bool {
        !self.troubles.is_empty()
    }

    /// Lists the folder, if it is the one that it was at the start.
    fn look(&self) -> anyhow::Result<Scan> {
        let folder = &self.plan.folder;
        let found = Root::of(folder).context("it is not there")?;
        anyhow::ensure!(
            found == self.root,
            "it is another folder than at the start, unmounted or replaced; if that is meant, start \
             `lucid watch` again"
        );
        files::scan(folder, &self.plan.not)
    }

    /// Remarks what could not be looked at, and what can be again.
    fn note_unseen(&mut self, scan: &Scan, remark: Remark<'_>) {
        let now: BTreeSet<String> = scan.troubles.iter().map(|(path, _)| path.clone()).collect();
        for (path, error) in &scan.troubles {
            self.trouble(Subject::Path(path.clone()), error, remark);
        }
        for path in std::mem::replace(&mut self.unseen, now) {
            if !self.unseen.contains(&path) {
                self.well(&Subject::Path(path), remark);
            }
        }
    }

    /// Whether the store answers. It may be another one each time it was away.
    fn find_store(&mut self, remark: Remark<'_>) -> anyhow::Result<bool> {
        if self.store_is_known {
            return Ok(true);
        }
        if self.away.is_some_and(|pause| !pause.is_over()) {
            return Ok(false);
        }
        let found = self.place.store().and_then(|store| match store {
            Some(store) => self.spool.belongs_to(&store),
            None => Ok(()),
        });
        match found {
            Ok(()) => {
                (self.store_is_known, self.away) = (true, None);
                self.well(&Subject::Store, remark);
                Ok(true)
            }
            Err(error) if error.is::<OtherStore>() => Err(error),
            Err(error) => {
                self.trouble(Subject::Store, &error, remark);
                let pause = Pause::after(self.away.as_ref(), self.plan.interval, AWAY_PAUSE_MAX);
                self.away = Some(pause);
                Ok(false)
            }
        }
    }

    /// Does something for one file, unless it failed a moment ago; says whether the others have their
    /// turn, which they have unless the store is away.
    fn attempt(
        &mut self,
        identity: Identity,
        path: &str,
        remark: Remark<'_>,
        work: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> bool {
        if self.paused.get(&identity).is_some_and(|(pause, _)| !pause.is_over()) {
            return true;
        }
        let Err(error) = work(self) else {
            if let Some((_, path)) = self.paused.remove(&identity) {
                self.well(&Subject::Path(path), remark);
            }
            return true;
        };
        if let Some(open) = self.open.get_mut(&identity) {
            open.offset = None;
        }
        let last = self.paused.get(&identity).map(|(pause, _)| pause);
        let pause = Pause::after(last, self.plan.interval, PAUSE_MAX);
        self.paused.insert(identity, (pause, path.to_owned()));
        if is_away(&error) {
            self.store_is_known = false;
            self.trouble(Subject::Store, &error, remark);
            return false;
        }
        self.trouble(Subject::Path(path.to_owned()), &error, remark);
        true
    }

    fn trouble(&mut self, subject: Subject, error: &anyhow::Error, remark: Remark<'_>) {
        let text = format!("{error:#}");
        // The same trouble again is no news.
        if self.troubles.get(&subject) != Some(&text) {
            remark(&subject, Some(&text));
            self.troubles.insert(subject, text);
        }
    }

    fn well(&mut self, subject: &Subject, remark: Remark<'_>) {
        if self.troubles.remove(subject).is_some() {
            remark(subject, None);
        }
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
        if file.length == 0 {
            return Ok(());
        }
        let (mut base, part) = match self.done.get(&file.identity) {
            None => (0, 1),
            Some(done) => match done.sealed_at {
                Some(end) if file.length > end => (end, done.part + 1),
                Some(end) if file.length < end => (0, done.part + 1),
                _ => return Ok(()),
            },
        };
        let opened = file.open()?;
        if let Some(done) = self.done.get(&file.identity).filter(|_| base > 0)
            && !self.goes_on(done, &opened)?
        {
            base = 0;
        }
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

    /// Whether a file still has what a sealed session of it keeps. What was removed cannot tell.
    fn goes_on(&self, done: &Recording, file: &File) -> anyhow::Result<bool> {
        let id: SessionId = done.session.parse()?;
        let mut input = ReadFrom { file, at: done.base };
        match hold_against(self.place, &id, &mut input) {
            Ok(standing) => Ok(standing == Standing::Same),
            Err(_) if matches!(self.place.tombstone(&id), Ok(Some(_))) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends what a file has more than its session, and seals when nothing more is to come.
    fn advance(
        &mut self,
        identity: Identity,
        seen: Option<&Seen>,
        is_gone: bool,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(open) = self.open.get_mut(&identity) else { return Ok(()) };
        let id: SessionId = open.recording.session.parse()?;
        if open.file.is_none() {
            open.file = seen.map(Seen::open).transpose()?;
        }
        open.gone |= seen.map_or(is_gone, |seen| seen.shown() != open.recording.path);
        if open.file.is_none() && !open.gone {
            // Its folder cannot be looked at now.
            return Ok(());
        }
        if open.offset.is_none() {
            let session = self.place.stream(open.recording.new_session()?)?;
            if !matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated) {
                return self.settle(identity, &session, false, tell);
            }
            if let Some(file) = open.file.as_ref().filter(|_| !open.held && session.offset > 0) {
                let mut input = ReadFrom { file, at: open.recording.base };
                if hold_against(self.place, &id, &mut input)? == Standing::Differs {
                    return self.seal(identity, &id, End::Replaced, tell);
                }
            }
            (open.held, open.offset) = (true, Some(session.offset));
        }
        let mut offset = open.offset.unwrap_or_default();
        let base = open.recording.base;
        let Some(file) = &open.file else {
            // It was gone before this process began: what was sent is all there will be.
            return self.seal(identity, &id, End::Gone, tell);
        };
        let found = file.metadata().context("it cannot be read")?;
        let length = found.len();
        if length != open.length {
            (open.length, open.since) = (length, Instant::now());
        }
        if length < base + offset {
            // Cut short: what was sent is the recording, and what is there now is another one.
            return self.seal(identity, &id, End::Eof, tell);
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
        if quiet || open.gone { self.seal(identity, &id, End::Eof, tell) } else { Ok(()) }
    }

    fn seal(
        &mut self,
        identity: Identity,
        id: &SessionId,
        end: End,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let sealed = match end {
            End::Eof => manifest::End::Eof,
            End::Gone | End::Replaced => manifest::End::Unterminated,
        };
        self.place.seal(id, &SealRequest { end: sealed, ..SealRequest::default() })?;
        let session = self.place.session(id)?;
        self.settle(identity, &session, end == End::Replaced, tell)
    }

    /// Notes that a session is sealed. A server anchors it by itself; a folder has nobody else.
    fn settle(
        &mut self,
        identity: Identity,
        session: &Session,
        replaced: bool,
        tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.place.own_folder().is_some() {
            self.place.anchor(&session.session_id.parse()?)?;
        }
        let Some(open) = self.open.get(&identity) else { return Ok(()) };
        let mut recording = open.recording.clone();
        // Of a file that was replaced nothing is kept yet: all of it is another recording.
        recording.sealed_at = Some(match replaced {
            true => 0,
            false => recording.base + session.content_bytes,
        });
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

    /// Forgets sealed recordings whose files are gone, and failures of files that are. While a folder
    /// cannot be listed, it is not known what is in it.
    fn forget(&mut self, scan: &Scan, there: &BTreeMap<Identity, &Seen>, remark: Remark<'_>) {
        let (open, troubles) = (&self.open, &mut self.troubles);
        self.paused.retain(|identity, (_, path)| {
            let known = there.contains_key(identity) || open.contains_key(identity);
            if !known {
                troubles.remove(&Subject::Path(path.clone()));
            }
            known
        });
        if !scan.troubles.is_empty() {
            return;
        }
        let gone: Vec<Recording> = self
            .done
            .iter()
            .filter(|(identity, _)| !there.contains_key(identity))
            .filter(|(identity, recording)| scan.is_gone(&recording.path, identity))
            .map(|(_, recording)| recording.clone())
            .collect();
        for recording in gone {
            match self.spool.forget(&recording) {
                Ok(()) => drop(self.done.remove(&recording.identity)),
                Err(error) => self.trouble(Subject::Path(recording.path), &error, remark),
            }
        }
    }
}

/// How a file's session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All of the file was sent.
    Eof,
    /// The file went away while nobody looked.
    Gone,
    /// Another content stands in the file.
    Replaced,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Open {
    fn new(recording: Recording, file: Option<File>) -> Self {
        Self {
            recording,
            file,
            offset: None,
            length: 0,
            since: Instant::now(),
            gone: false,
            held: false,
        }
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
