//! One file's way: met, sent on while it grows, sealed when nothing more is to come.
//!
//! Invariant: a file is noted in the spool before anything of it is sent, and what is sent goes on behind
//! what its session keeps only if the file begins with that.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_api::v1::sessions::{Session, SessionStatus};
use lucid_core::cut::ChunkProfile;
use lucid_core::manifest::{self, Source};
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_core::timeline::Recorded;
use lucid_data_chain::ops::sessions::append_stream::StreamPiece;
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::reply::source::{read_source, session_source};

use super::files::{FileIdentity, Seen, State};
use super::spool::Recording;
use super::{At, GroupBy, Open, WatchEvent, WatchPlan, Watcher};
use crate::group::{GROUP, PATH};
use crate::naming::{Named, safe};
use crate::place::remote::is_not_allowed;
use crate::stream::{InputStanding, ReadFrom, hold_against};

/// Bytes that are made durable together, at most.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes that one file may send before the others have their turn.
const TURN_BYTES: u64 = 64 << 20;

impl Watcher<'_> {
    /// Notes a file that is new, or that grew or was written anew after its session was sealed.
    pub(super) fn meet(
        &mut self,
        file: &Seen,
        tell: &mut dyn FnMut(&WatchEvent) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let State { length, changed } = file.state;
        if length == 0 {
            return Ok(());
        }
        let (mut base, part) = match self.done.get(&file.identity) {
            None => (0, 1),
            Some(done) => match done.sealed_at {
                Some(end) if length == end && done.changed == Some(changed.as_micros()) => {
                    return Ok(());
                }
                Some(end) if length >= end => (end, done.part + 1),
                _ => (0, done.part + 1),
            },
        };
        let opened = file.open()?;
        if let Some(done) = self.done.get(&file.identity).filter(|_| base > 0)
            && !self.goes_on(done, &opened)?
        {
            base = 0;
        }
        if let Some(done) = self.done.get_mut(&file.identity).filter(|_| base == length) {
            // It was touched, and is what it was.
            done.changed = Some(changed.as_micros());
            return self.spool.keep(done);
        }
        let mut metadata = self.plan.metadata.clone();
        metadata.entry(PATH.to_owned()).or_insert_with(|| file.shown());
        if let Some(group) = self.plan.group(file)? {
            metadata.entry(GROUP.to_owned()).or_insert(group);
        }
        if base > 0 {
            let before = self.done.get(&file.identity).map(|done| done.session.clone());
            metadata.insert("continues".to_owned(), before.unwrap_or_default());
        }
        let source = Source {
            paths: vec![file.path().as_os_str().as_bytes().to_vec()],
            ..self.plan.source.clone()
        };
        let recording = Recording {
            session: self.plan.session_id(file, part)?.to_string(),
            path: file.shown(),
            identity: file.identity,
            user: self.plan.user.clone(),
            metadata,
            source: Some(session_source(&source)),
            started_at: file.began.min(self.plan.clock.now()).to_string(),
            base,
            part,
            sealed_at: None,
            changed: None,
            replaced: false,
        };
        // Before anything is sent: the file must never become two sessions.
        self.spool.keep(&recording)?;
        self.done.remove(&file.identity);
        let event =
            WatchEvent::Began { session: recording.session.clone(), path: recording.path.clone() };
        self.open.insert(file.identity, Open::new(recording, Some(opened)));
        self.let_go(&file.identity, false);
        tell(&event)
    }

    /// Whether a file still has what a sealed session of it keeps. What was removed cannot tell; what these
    /// credentials may not look at is not believed in: all of the file is sent once more.
    fn goes_on(&self, done: &Recording, file: &File) -> anyhow::Result<bool> {
        let id: SessionId = done.session.parse()?;
        let mut input = ReadFrom { file, at: done.base };
        match hold_against(self.place, &id, &mut input) {
            Ok(standing) => Ok(standing == InputStanding::Same),
            Err(error) if is_not_allowed(&error) => Ok(false),
            Err(_) if matches!(self.place.tombstone(&id), Ok(Some(_))) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends what a file has more than its session, and seals when nothing more is to come.
    pub(super) fn advance(
        &mut self,
        identity: FileIdentity,
        at: At<'_>,
        tell: &mut dyn FnMut(&WatchEvent) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(open) = self.open.get_mut(&identity) else { return Ok(()) };
        open.due = None;
        let id: SessionId = open.recording.session.parse()?;
        match at {
            At::Seen(seen) => {
                if open.file.is_none() {
                    open.file = Some(seen.open()?);
                }
                open.gone |= seen.shown() != open.recording.path;
            }
            At::Gone => open.gone = true,
            At::Away => anyhow::ensure!(
                open.gone || open.file.is_some(),
                "the file system that it was on is not there, so it is not known whether more of it is \
                 to come; `lucid seal {id} --unterminated` ends what was sent, if none is"
            ),
            At::Unseen => {}
        }
        if open.file.is_none() && !open.gone {
            // Its folder cannot be looked at now.
            return Ok(());
        }
        if open.offset.is_none() {
            let session = self.place.stream(open.recording.new_session()?)?;
            if !matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated) {
                return self.settle(identity, &session, None, tell);
            }
            if open.recording.replaced {
                return self.seal(identity, &id, End::Replaced, None, tell);
            }
            if let Some(file) = open.file.as_ref().filter(|_| !open.held && session.offset > 0) {
                let state = State::of(file)?;
                let mut input = ReadFrom { file, at: open.recording.base };
                if is_another(hold_against(self.place, &id, &mut input)?) {
                    return self.seal(identity, &id, End::Replaced, None, tell);
                }
                open.sent = Some(state.changed);
            }
            (open.held, open.offset) = (true, Some(session.offset));
        }
        let mut offset = open.offset.unwrap_or_default();
        let base = open.recording.base;
        let Some(file) = &open.file else {
            // It was gone before this process began: what was sent is all there will be.
            return self.seal(identity, &id, End::Gone, None, tell);
        };
        let state = State::of(file)?;
        let State { length, changed } = state;
        if open.state != Some(state) {
            (open.state, open.since) = (Some(state), Instant::now());
        }
        if length < base + offset {
            // Cut short: what was sent is the recording, and what is there now is another one.
            return self.seal(identity, &id, End::Eof, None, tell);
        }
        let now = self.plan.clock.moment();
        let back = open.drift.went_back(&now);
        let mut recorded = Recorded { at: changed.min(now.wall), back };
        let mut buffer = vec![0; PIECE_BYTES];
        // Who looks once gives no second turn.
        let turn = if self.plan.once { u64::MAX } else { TURN_BYTES };
        let mut sent = 0;
        while base + offset < length && sent < turn {
            let wanted = usize::try_from(length - base - offset).unwrap_or(PIECE_BYTES);
            let room = buffer.get_mut(..wanted.min(PIECE_BYTES)).unwrap_or_default();
            let count = file.read_at(room, base + offset).context("it cannot be read")?;
            let Some(bytes) = room.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            let piece = StreamPiece { offset, bytes, recorded: Some(recorded) };
            offset = self.place.append(&id, piece, self.storage)?.offset;
            open.drift.note(recorded.back);
            recorded.back = 0;
            (open.offset, open.sent) = (Some(offset), Some(changed));
            sent += count as u64;
        }
        if base + offset < length {
            open.due = Some(Instant::now());
            return Ok(());
        }
        open.due = Some(open.since + self.plan.idle);
        let quiet = match self.plan.once {
            true => self.plan.clock.now().micros_since(changed) >= micros(self.plan.idle),
            false => open.since.elapsed() >= self.plan.idle,
        };
        let is_closed = quiet || open.gone;
        if !is_closed {
            return Ok(());
        }
        if State::of(file)? != state {
            open.due = Some(Instant::now());
            return Ok(());
        }
        if open.sent != Some(changed) {
            // It was changed, and no longer: what was sent may not be what is there.
            let mut input = ReadFrom { file, at: base };
            if is_another(hold_against(self.place, &id, &mut input)?) {
                return self.seal(identity, &id, End::Replaced, None, tell);
            }
        }
        self.seal(identity, &id, End::Eof, Some(changed), tell)
    }

    fn seal(
        &mut self,
        identity: FileIdentity,
        id: &SessionId,
        end: End,
        changed: Option<Timestamp>,
        tell: &mut dyn FnMut(&WatchEvent) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let sealed = match end {
            End::Eof => manifest::End::Eof,
            End::Gone | End::Replaced => manifest::End::Unterminated,
        };
        if let Some(open) = self.open.get_mut(&identity).filter(|_| end == End::Replaced) {
            // Before it is sealed: afterwards nobody would look.
            open.recording.replaced = true;
            self.spool.keep(&open.recording)?;
        }
        let now = self.plan.clock.moment();
        let open = self.open.get_mut(&identity);
        let clock_back = open.map_or(0, |open| open.drift.went_back(&now));
        let request = SealRequest { end: sealed, clock_back, ..SealRequest::default() };
        self.place.seal(id, &request)?;
        let session = self.place.session(id)?;
        self.settle(identity, &session, changed, tell)
    }

    /// Notes that a session is sealed. A server anchors it by itself; a folder has nobody else.
    fn settle(
        &mut self,
        identity: FileIdentity,
        session: &Session,
        changed: Option<Timestamp>,
        tell: &mut dyn FnMut(&WatchEvent) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.place.own_folder().is_some() {
            self.place.anchor(&session.session_id.parse()?)?;
        }
        let Some(open) = self.open.get(&identity) else { return Ok(()) };
        let mut recording = open.recording.clone();
        // Of a file that was replaced nothing is kept yet: all of it is another recording.
        recording.sealed_at = Some(match recording.replaced {
            true => 0,
            false => recording.base + session.content_bytes,
        });
        recording.changed = changed.map(Timestamp::as_micros);
        self.spool.keep(&recording)?;
        let event = WatchEvent::Sealed {
            session: session.session_id.clone(),
            path: recording.path.clone(),
            bytes: session.content_bytes,
            unterminated: session.end.as_deref() == Some("unterminated"),
        };
        self.open.remove(&identity);
        self.done.insert(identity, recording);
        tell(&event)
    }
}

/// Whether a file is to be taken for another one than its session is of: it has other bytes, or nobody can say.
fn is_another(standing: InputStanding) -> bool {
    matches!(standing, InputStanding::Differs | InputStanding::Unseen)
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
            sight: Sight::everything(),
            retain_until: None,
            source: self.source.clone().map(read_source).transpose()?,
            terminal: None,
        })
    }
}

impl WatchPlan {
    /// The id of a file's session: by the template, with what tells it from others that are called the same.
    fn session_id(&self, file: &Seen, part: u32) -> anyhow::Result<SessionId> {
        let told = format!("{:?} {} {part}", file.identity, file.began);
        let tail: String = blake3::hash(told.as_bytes()).to_hex().chars().take(12).collect();
        self.naming.id(&Named {
            host: &self.source.host,
            user: &self.user,
            path: file.relative(),
            began: file.began,
            tail: &tail,
        })
    }

    /// The group of a file, if it is in one: by its folder, told from others that are called the same here and
    /// elsewhere.
    fn group(&self, file: &Seen) -> anyhow::Result<Option<String>> {
        let folder = file.relative().parent().filter(|folder| !folder.as_os_str().is_empty());
        let (Some(GroupBy::Folder), Some(folder)) = (self.group_by, folder) else {
            return Ok(None);
        };
        let told = format!("{} {}", self.source.host, file.folder_number()?);
        let tail: String = blake3::hash(told.as_bytes()).to_hex().chars().take(12).collect();
        Ok(Some(format!("{}-{tail}", safe(&folder.to_string_lossy()))))
    }
}
