//! Sessions behind a server: the client cuts and hashes, asks what is missing, sends only what is new.

mod mirror;
mod patience;

use std::borrow::Cow;
use std::io::Read as _;
use std::ops::Range;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context as _;
use lucid_api::address::Address;
use lucid_api::client::{Append, ClientError, ClientOptions, DataChainClient, Refused, Retry};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::anchors::AnchorStatus;
use lucid_api::v1::chunks::{ChunkIds, SessionChunksQuery};
use lucid_api::v1::list::PageQuery;
use lucid_api::v1::maintenance::{
    CollectGarbage, GarbageCollected, Optimise, Optimised, Progress, ProgressState,
};
use lucid_api::v1::manifest::ManifestQuery;
use lucid_api::v1::proofs::ProofQuery;
use lucid_api::v1::removal::{HoldSession, RemoveQuery, Tombstone};
use lucid_api::v1::scrub::Scrub;
use lucid_api::v1::sessions::{
    AddReferences, Appended, Appendix, AppendixKind, CLOCK_BACK_SECONDS_MAX, CreateSession,
    ExitStatus, Layout as WireLayout, Reference as WireReference, SealSession, Session, SessionEnd,
    SessionStatus, SessionsQuery, WAIT_SECONDS_MAX,
};
use lucid_core::digest::ChunkId;
use lucid_core::manifest::{AppendixKind as CoreAppendixKind, End, ExitStatus as CoreStatus};
use lucid_core::session::{Layout, SessionId};
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::ops::sessions::append_stream::StreamPiece;
use lucid_data_chain::ops::sessions::create_session::{NewSession, fresh_id};
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::ops::sessions::read_session::{SessionSource, Shape};
use lucid_data_chain::ops::sessions::seal_session::SealRequest;
use lucid_data_chain::row::Reference;
use lucid_data_chain::workers::DISABLED;
use lucid_store::codec::Packer;
use lucid_store::{Damage, StoreError, threads};
use parking_lot::{Condvar, Mutex};

use self::patience::{Patience, Pauses};
use super::{Begun, Filling, Findings, KeptPart, Place, Wish};
use crate::ingest::sink::SinkError;
use crate::ingest::{Sink, Worker};
use crate::output::Output;

/// Chunks are sent when this much has gathered.
const BATCH_BYTES: usize = 8 << 20;
/// Or this many.
const BATCH_CHUNKS: usize = 1_000;
/// How long a sealed session's anchor is waited for: several block intervals.
const ANCHOR_PATIENCE: Duration = Duration::from_secs(60);
/// How often a server is asked how far its work is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of a stream that are not cut yet, asked for at once.
const TAIL_PART_BYTES: u64 = 4 << 20;
/// References asked for at once.
const MANIFEST_PAGE: u32 = 1_000;

/// A data-chain behind HTTP.
pub struct Remote {
    client: DataChainClient,
    /// Of those who cannot come again.
    patience: Option<Patience>,
}

impl Remote {
    /// Names the server; it is spoken to with the first call.
    pub fn connect(url: &Address) -> anyhow::Result<Self> {
        Self::with(url, ClientOptions::default(), None)
    }

    /// The same, for who looks again by itself and has others to look after meanwhile.
    pub fn connect_briefly(url: &Address) -> anyhow::Result<Self> {
        let retry = Retry { count: 1, delay: Duration::from_millis(200) };
        Self::with(url, ClientOptions { retry, ..ClientOptions::default() }, None)
    }

    /// The same, for what cannot be sent again: see [`patience`]. With `from_start` the server need not
    /// be there yet.
    pub fn connect_patiently(
        url: &Address,
        output: &Output,
        from_start: bool,
    ) -> anyhow::Result<Self> {
        let patience = Patience::new(output, url, from_start);
        Self::with(url, Patience::options(), Some(patience))
    }

    fn with(
        url: &Address,
        options: ClientOptions,
        patience: Option<Patience>,
    ) -> anyhow::Result<Self> {
        let client = DataChainClient::new(url.expose(), options).with_context(|| {
            format!("{url:?} names no server: write it like http://127.0.0.1:8087")
        })?;
        Ok(Self { client, patience })
    }

    /// Makes a call that may be made again.
    fn call<T>(&self, mut call: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
        match &self.patience {
            Some(patience) => patience.wait_out(call),
            None => call(),
        }
    }

    fn create(&self, new: &NewSession) -> anyhow::Result<Session> {
        // With an id of ours the call may be made again, and makes one session.
        let id = new.id.clone().map_or_else(|| fresh_id(new.started_at), Ok)?;
        let request = CreateSession {
            session_id: Some(id.to_string()),
            user_id: Some(new.user.clone()).filter(|user| !user.is_empty()),
            metadata: new.metadata.clone(),
            started_at: Some(new.started_at.to_string()),
            layout: match new.layout {
                Layout::Raw => WireLayout::Raw,
                Layout::Tree => WireLayout::Tree,
            },
            public: new.public,
            one_shot: new.one_shot,
            cutting: Some(lucid_data_chain::reply::cutting(&new.profile)),
        };
        Ok(self.call(|| self.client.create_session(&request))?)
    }
}

/// How far a clock went back, as a server is told; nothing where it did not, so that one of before such
/// words takes it.
fn seconds(micros: u64) -> Option<u64> {
    let seconds = micros.div_ceil(1_000_000).min(CLOCK_BACK_SECONDS_MAX);
    (seconds > 0).then_some(seconds)
}

/// The documented code of a server that could not read what it was asked for.
const UNREAD: &str = "ST_003";

/// Whether a failure is the server's, and not of what it was asked: it may be there again soon, and
/// would say the same of anything else now.
pub fn is_away(error: &anyhow::Error) -> bool {
    let of_one = |refused: &Refused| {
        refused.code == Some(ErrorCode::Internal) || refused.documented == UNREAD
    };
    error
        .downcast_ref::<ClientError>()
        .is_some_and(|error| error.is_passing() && !error.refused().is_some_and(of_one))
}

/// Whether no waiting brings a session's anchor into a block: it was refused, or nobody is named who would.
fn is_never_anchored(session: &Session) -> bool {
    session.anchor.as_ref().is_some_and(|anchor| {
        anchor.status == AnchorStatus::Failed || anchor.reason.as_deref() == Some(DISABLED)
    })
}

/// Whether a failure says that the session was removed.
fn is_gone(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<ClientError>();
    error.is_some_and(|error| error.code() == Some(ErrorCode::Gone))
}

/// Asks for long work, and looks from time to time how far it is.
fn watched<T: Send>(
    ask: impl FnOnce() -> anyhow::Result<T> + Send,
    look: impl Fn() -> Result<Progress, ClientError>,
    progress: &(dyn Fn(&str, u64, u64) + Sync),
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let (working, ended) = channel::<()>();
        let work = threads::start_scoped(scope, "asking", move || {
            let _working = working;
            ask()
        })?;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PROGRESS_INTERVAL) {
            // A look that fails is made again; the work itself says what went wrong.
            if let Ok(at) = look()
                && at.state == ProgressState::Running
            {
                progress(&at.stage, at.done, at.total);
            }
        }
        match work.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl Place for Remote {
    fn begin(&self, new: NewSession) -> anyhow::Result<Begun> {
        let session = self.create(&new)?;
        let id: SessionId = session.session_id.parse()?;
        Ok(match session.status {
            SessionStatus::Active => Begun::Empty(id),
            _ => Begun::Sealed(id),
        })
    }

    fn fill<'a>(&'a self, id: &SessionId, _: Wish) -> anyhow::Result<Box<dyn Filling + 'a>> {
        Ok(Box::new(RemoteSink {
            server: self,
            session: id.clone(),
            pending: Mutex::default(),
            sent: Condvar::new(),
        }))
    }

    fn compare<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn Filling + 'a>> {
        Ok(Box::new(RemoteCompare { source: RemoteSession::open(&self.client, id)? }))
    }

    fn stream(&self, new: NewSession) -> anyhow::Result<Session> {
        self.create(&new)
    }

    fn append(&self, id: &SessionId, piece: StreamPiece<'_>, _: Wish) -> anyhow::Result<Appended> {
        let StreamPiece { offset, bytes, recorded } = piece;
        let time = recorded.map(|recorded| recorded.at.to_string());
        let clock_back = recorded.and_then(|recorded| seconds(recorded.back));
        let (mut at, mut rest) = (offset, bytes);
        let mut pauses = Pauses::default();
        // Whether bytes may have come that nobody has acknowledged.
        let mut broken = false;
        loop {
            let how = Append { offset: at, time: time.clone(), clock_back, ..Append::default() };
            let error = match self.client.append(id.as_str(), &how, rest.to_vec()) {
                Ok(appended) => {
                    self.patience.as_ref().inspect(|patience| patience.answered());
                    return Ok(appended);
                }
                Err(error) => error,
            };
            let Some(patience) = &self.patience else { return Err(error.into()) };
            let moved = error.refused().and_then(|refused| refused.upload_offset);
            at = match moved.filter(|current| broken && *current > at) {
                // What was on its way when the connection broke has come since.
                Some(current) => current,
                None => {
                    broken |= error.maybe_applied();
                    patience.pause(error, &mut pauses)?;
                    // The break may have come before the bytes or after them: the server knows.
                    self.call(|| self.client.upload_offset(id.as_str()))?
                }
            };
            rest = at
                .checked_sub(offset)
                .and_then(|taken| bytes.get(usize::try_from(taken).ok()?..))
                .with_context(|| {
                    format!("session {id} is at byte {at}, though {offset} was acknowledged")
                })?;
        }
    }

    fn kept(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(KeptPart<'_>) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let session = self.call(|| self.client.session(id.as_str()))?;
        let mut at = 0;
        let mut query = SessionChunksQuery { limit: Some(MANIFEST_PAGE), cursor: None };
        loop {
            let page = self.call(|| self.client.session_chunks(id.as_str(), &query))?;
            for chunk in page.items.iter().filter(|chunk| !chunk.waits) {
                // Behind the content stand pages.
                let Some(hash) = chunk.hash_value.filter(|_| at < session.content_bytes) else {
                    break;
                };
                at += chunk.size_bytes;
                if !visit(KeptPart::Chunk(hash, chunk.size_bytes))? {
                    return Ok(());
                }
            }
            match page.next_cursor {
                Some(cursor) if at < session.content_bytes => query.cursor = Some(cursor),
                _ => break,
            }
        }
        while at < session.content_bytes {
            let part = at..session.content_bytes.min(at + TAIL_PART_BYTES);
            let bytes = self.call(|| part_of(&self.client, id, part.clone()))?;
            anyhow::ensure!(!bytes.is_empty(), "byte {at} of session {id} is missing");
            at += bytes.len() as u64;
            if !visit(KeptPart::Bytes(&bytes))? {
                break;
            }
        }
        Ok(())
    }

    fn store(&self) -> anyhow::Result<Option<String>> {
        let status = self.call(|| self.client.status())?;
        let store = status.counts.get("store_id").and_then(|id| id.as_str());
        Ok(store.map(str::to_owned))
    }

    fn seal(&self, id: &SessionId, request: &SealRequest) -> anyhow::Result<()> {
        let appendix = request.appendix.map(|appendix| Appendix {
            kind: match appendix.kind {
                CoreAppendixKind::Catalogue => AppendixKind::Catalogue,
                CoreAppendixKind::Timeline => AppendixKind::Timeline,
            },
            offset: appendix.offset,
            length: appendix.length,
        });
        let request = SealSession {
            expected_chunk_count: request.expected_chunk_count,
            started_at: request.begun_at.map(|time| time.to_string()),
            appendix,
            end: Some(match request.end {
                End::Exit(_) => SessionEnd::Exit,
                End::Unterminated => SessionEnd::Unterminated,
                End::Eof | End::Complete => SessionEnd::Eof,
            }),
            exit_status: request.end.exit_status().map(|status| match status {
                CoreStatus::Code(code) => ExitStatus::Code(code),
                CoreStatus::Signal(signal) => ExitStatus::Signal(signal),
            }),
            clock_back_seconds: seconds(request.clock_back),
            ..SealSession::default()
        };
        self.call(|| self.client.seal(id.as_str(), &request))?;
        Ok(())
    }

    fn anchor(&self, id: &SessionId) -> anyhow::Result<Session> {
        self.call(|| self.client.anchor(id.as_str()))?;
        let started = std::time::Instant::now();
        let session = self.call(|| self.client.session(id.as_str()))?;
        if is_never_anchored(&session) {
            return Ok(session);
        }
        loop {
            let left = ANCHOR_PATIENCE.saturating_sub(started.elapsed()).as_secs();
            let wanted = SessionStatus::Anchored;
            let seconds = left.min(WAIT_SECONDS_MAX / 2);
            let session = self.call(|| self.client.wait_session(id.as_str(), wanted, seconds))?;
            if session.status == wanted || left == 0 || is_never_anchored(&session) {
                return Ok(session);
            }
        }
    }

    fn session(&self, id: &SessionId) -> anyhow::Result<Session> {
        Ok(self.call(|| self.client.session(id.as_str()))?)
    }

    fn sessions(
        &self,
        filter: &SessionFilter,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut query = SessionsQuery {
            user_id: filter.user.clone(),
            from: filter.from.map(|time| time.to_string()),
            to: filter.to.map(|time| time.to_string()),
            ..SessionsQuery::default()
        };
        loop {
            let page = self.client.list_sessions(&query)?;
            for session in page.items {
                visit(session)?;
            }
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(()),
            }
        }
    }

    fn remove(&self, id: &SessionId, reason: &str) -> anyhow::Result<Tombstone> {
        let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        Ok(self.client.remove_session(id.as_str(), &RemoveQuery { reason })?)
    }

    fn chain_tombstones(&self) -> anyhow::Result<()> {
        // The server delivers them by itself.
        Ok(())
    }

    fn tombstone(&self, id: &SessionId) -> anyhow::Result<Option<Tombstone>> {
        match self.client.session(id.as_str()) {
            Ok(_) => Ok(None),
            Err(error) if error.code() == Some(ErrorCode::Gone) => {
                let told = error.refused().and_then(|refused| refused.details.get("tombstone"));
                let told = told.with_context(|| format!("session {id} was removed"))?;
                Ok(Some(serde_json::from_value(told.clone())?))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tombstones(
        &self,
        visit: &mut dyn FnMut(Tombstone) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut query = PageQuery::default();
        loop {
            let page = self.client.tombstones(&query)?;
            page.items.into_iter().try_for_each(&mut *visit)?;
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(()),
            }
        }
    }

    fn collect_garbage(
        &self,
        wanted: &CollectGarbage,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<GarbageCollected> {
        let ask = || Ok(self.client.collect_garbage(wanted)?);
        watched(ask, || self.client.gc_progress(), progress)
    }

    fn optimise(
        &self,
        level: u8,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> anyhow::Result<Optimised> {
        let ask = || Ok(self.client.optimise(&Optimise { level: Some(level) })?);
        watched(ask, || self.client.optimise_progress(), progress)
    }

    fn scrub(&self) -> anyhow::Result<Scrub> {
        Ok(self.client.scrub()?)
    }

    fn scrub_now(&self, progress: &(dyn Fn(&str, u64, u64) + Sync)) -> anyhow::Result<Scrub> {
        let before = self.client.begin_scrub()?;
        // A round that goes on already is the one that is waited for.
        let wanted = if before.complete { before.round + 1 } else { before.round };
        loop {
            let now = self.client.scrub()?;
            if now.round > wanted || (now.round == wanted && now.complete) {
                return Ok(now);
            }
            let at = &now.progress;
            match (&at.error, at.state) {
                (Some(why), ProgressState::Failed) => anyhow::bail!("scrubbing failed: {why}"),
                _ => progress("scrubbing", at.done, at.total),
            }
            std::thread::sleep(PROGRESS_INTERVAL);
        }
    }

    fn hold(&self, id: &SessionId, reason: &str) -> anyhow::Result<Session> {
        Ok(self.client.hold_session(id.as_str(), &HoldSession { reason: reason.to_owned() })?)
    }

    fn release(&self, id: &SessionId) -> anyhow::Result<Session> {
        Ok(self.client.release_session(id.as_str())?)
    }

    fn source<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn SessionSource + 'a>> {
        Ok(Box::new(RemoteSession::open(&self.client, id)?))
    }

    fn prove(&self, id: &SessionId, wanted: &WantedProof) -> anyhow::Result<Vec<u8>> {
        let query = match wanted {
            WantedProof::Session => ProofQuery::Session,
            WantedProof::Chunk(index) => ProofQuery::Chunk(*index),
            WantedProof::Bytes(range) => {
                anyhow::ensure!(!range.is_empty(), "a range of no bytes cannot be asked for");
                ProofQuery::Range { first: range.start, last: range.end - 1 }
            }
            WantedProof::Path(path) => ProofQuery::Path(path.clone()),
            WantedProof::Span(span) => ProofQuery::Time {
                from: Timestamp::from_micros(span.from).to_string(),
                to: Timestamp::from_micros(span.to).to_string(),
            },
        };
        Ok(self.client.proof(id.as_str(), &query)?)
    }

    fn verify_session(
        &self,
        id: &SessionId,
        progress: &(dyn Fn(u64) + Sync),
    ) -> anyhow::Result<Findings> {
        let verified = watched(
            || Ok(self.client.verify_session(id.as_str(), None)?),
            || self.client.verify_progress(id.as_str()),
            &|_, done, _| progress(done),
        )?;
        let session = self.client.session(id.as_str())?;
        progress(session.total_bytes);
        let details = verified.details;
        let mut faults: Vec<String> = details
            .chunk_results
            .iter()
            .filter(|chunk| !chunk.verified)
            .map(|chunk| {
                let why = chunk.error.as_deref().unwrap_or("it does not match");
                format!("session {id}, chunk {}: {why}", chunk.index)
            })
            .collect();
        let mut not_checked = vec!["the server's own files: run `lucid verify --all` there".into()];
        let reason = details.reason.map(|reason| format!("session {id}: {reason}"));
        // Of a sound session it says what was left out.
        match verified.verified {
            true => not_checked.extend(reason),
            false => faults.extend(reason),
        }
        if !verified.verified && faults.is_empty() {
            faults.push(format!("session {id} does not verify"));
        }
        Ok(Findings {
            sessions: 1,
            records: details.chunks_verified,
            bytes: session.total_bytes,
            faults,
            not_checked,
            ..Findings::default()
        })
    }

    fn verify_all(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> anyhow::Result<Findings> {
        let mut sessions = Vec::new();
        self.sessions(&SessionFilter::default(), &mut |session| {
            sessions.push((session.session_id.parse::<SessionId>()?, session.total_bytes));
            Ok(())
        })?;
        let total = sessions.iter().map(|(_, bytes)| bytes).sum();
        let mut all = Findings::default();
        for (id, _) in &sessions {
            let before = all.bytes;
            let found = match self.verify_session(id, &|done| progress(before + done, total)) {
                Ok(found) => found,
                Err(error) if is_away(&error) => return Err(error),
                // It was there when they were listed, and is no fault of what is there now.
                Err(error) if is_gone(&error) => continue,
                // The others can still be looked at.
                Err(error) => Findings {
                    sessions: 1,
                    faults: vec![format!("session {id} could not be checked: {error:#}")],
                    ..Findings::default()
                },
            };
            all.sessions += 1;
            all.records += found.records;
            all.bytes += found.bytes;
            all.faults.extend(found.faults);
            all.not_checked.extend(found.not_checked);
            all.not_checked.sort_unstable();
            all.not_checked.dedup();
        }
        Ok(all)
    }

    fn damage(&self) -> Vec<String> {
        Vec::new()
    }

    fn loss(&self) -> Option<String> {
        None
    }

    fn only_read(&self) -> Option<&lucid_store::files::folder::OnlyRead> {
        None
    }

    fn own_folder(&self) -> Option<std::path::PathBuf> {
        None
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

fn refused(error: ClientError) -> SinkError {
    SinkError::Server(error.to_string())
}

#[derive(Default)]
struct PendingChunks {
    chunks: Vec<(ChunkId, Vec<u8>)>,
    bytes: usize,
    /// Batches on their way.
    sending: usize,
    bytes_new: u64,
    bytes_stored: u64,
}

/// Sends chunks in batches, and only those that the server misses.
struct RemoteSink<'a> {
    server: &'a Remote,
    session: SessionId,
    pending: Mutex<PendingChunks>,
    sent: Condvar,
}

impl RemoteSink<'_> {
    fn send(&self, batch: Vec<(ChunkId, Vec<u8>)>) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let outcome = self.send_missing(batch);
        let mut pending = self.pending.lock();
        pending.sending -= 1;
        if let Ok((bytes_new, bytes_stored)) = &outcome {
            pending.bytes_new += bytes_new;
            pending.bytes_stored += bytes_stored;
        }
        drop(pending);
        self.sent.notify_all();
        outcome.map(|_| ())
    }

    fn send_missing(&self, batch: Vec<(ChunkId, Vec<u8>)>) -> Result<(u64, u64), SinkError> {
        let chunks: Vec<ChunkId> = batch.iter().map(|(id, _)| *id).collect();
        let Remote { client, .. } = self.server;
        let chunks = ChunkIds::from(chunks);
        let missing = self.server.call(|| client.missing_chunks(&chunks)).map_err(refused)?;
        let missing: std::collections::HashSet<ChunkId> = missing.into_iter().collect();
        let mut seen = std::collections::HashSet::new();
        let new: Vec<&[u8]> = batch
            .iter()
            .filter(|(id, _)| missing.contains(id) && seen.insert(*id))
            .map(|(_, bytes)| bytes.as_slice())
            .collect();
        if new.is_empty() {
            return Ok((0, 0));
        }
        let bytes_new = new.iter().map(|bytes| bytes.len() as u64).sum();
        let put = || client.put_chunks(new.iter().copied());
        let stored = self.server.call(put).map_err(refused)?;
        Ok((bytes_new, stored.iter().map(|chunk| chunk.stored_bytes).sum()))
    }

    fn take(pending: &mut PendingChunks) -> Vec<(ChunkId, Vec<u8>)> {
        pending.bytes = 0;
        if !pending.chunks.is_empty() {
            pending.sending += 1;
        }
        std::mem::take(&mut pending.chunks)
    }
}

impl Sink for RemoteSink<'_> {
    fn put(&self, _: &mut Worker, id: &ChunkId, bytes: Vec<u8>) -> Result<(), SinkError> {
        let batch = {
            let mut pending = self.pending.lock();
            pending.bytes += bytes.len();
            pending.chunks.push((*id, bytes));
            if pending.bytes < BATCH_BYTES && pending.chunks.len() < BATCH_CHUNKS {
                return Ok(());
            }
            Self::take(&mut pending)
        };
        self.send(batch)
    }

    fn refer(&self, start_index: u64, chunks: Vec<(ChunkId, u32)>) -> Result<(), SinkError> {
        let batch = Self::take(&mut self.pending.lock());
        self.send(batch)?;
        let mut pending = self.pending.lock();
        while pending.sending > 0 {
            self.sent.wait(&mut pending);
        }
        drop(pending);
        let chunks = chunks
            .into_iter()
            .map(|(chunk_id, length)| WireReference { chunk_id, length })
            .collect();
        // What a request repeats of what is there must only be the same, so it may be sent again.
        let references = AddReferences { start_index, chunks };
        let add = || self.server.client.add_references(self.session.as_str(), &references);
        self.server.call(add).map_err(refused)?;
        Ok(())
    }
}

impl Filling for RemoteSink<'_> {
    fn as_sink(&self) -> &dyn Sink {
        self
    }

    fn totals(&self) -> (u64, u64) {
        let pending = self.pending.lock();
        (pending.bytes_new, pending.bytes_stored)
    }
}

/// A session on a server. One that is not sealed yet has no manifest that tells its chunks, so all of it
/// is tail.
struct RemoteSession<'a> {
    client: &'a DataChainClient,
    shape: Shape,
    tail_bytes: u64,
}

impl<'a> RemoteSession<'a> {
    fn open(client: &'a DataChainClient, id: &SessionId) -> anyhow::Result<Self> {
        let session = client.session(id.as_str())?;
        let ended = session.ended_at.as_deref().or(session.appended_at.as_deref());
        let (chunk_count, total_bytes, tail_bytes) = match session.status {
            SessionStatus::Sealed | SessionStatus::Anchored => {
                (session.chunk_count, session.total_bytes, 0)
            }
            SessionStatus::Active | SessionStatus::Unterminated => (0, 0, session.content_bytes),
        };
        let shape = Shape {
            id: id.clone(),
            layout: match session.layout {
                WireLayout::Raw => Layout::Raw,
                WireLayout::Tree => Layout::Tree,
            },
            chunk_count,
            content_bytes: session.content_bytes,
            total_bytes,
            ended_at: ended.map(|time| time.parse()).transpose()?,
        };
        Ok(Self { client, shape, tail_bytes })
    }
}

/// Bytes of a session's content.
fn part_of(
    client: &DataChainClient,
    id: &SessionId,
    part: Range<u64>,
) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    let mut data = client.data(id.as_str(), Some(part))?;
    data.read_to_end(&mut bytes).map_err(ClientError::broken_off)?;
    Ok(bytes)
}

/// Damage is damage behind a server, too: whoever reads goes around it. Such a refusal names the file and
/// the place in it; the request finds it in the server's log.
fn failed(error: ClientError) -> OpError {
    let of = |code| error.refused().filter(|refused| refused.code == Some(code));
    if let Some(missing) = of(ErrorCode::Missing).and_then(|refused| missing(&refused.details)) {
        return OpError::Missing(missing);
    }
    let refused = of(ErrorCode::Damaged);
    if let Some(refused) = refused
        && refused.details.get("unsound").is_some_and(|unsound| unsound == true)
    {
        return OpError::Unsound(refused.detail.clone());
    }
    let damage = refused.and_then(|refused| {
        let file = refused.details.get("file")?.as_str()?;
        let offset = refused.details.get("offset")?.as_u64()?;
        let why = format!("so the server says, request {}", refused.request_id);
        Some(Damage::new(file, offset, why))
    });
    match damage {
        Some(damage) => OpError::Store(StoreError::Damaged(damage)),
        None if error.is_passing() => OpError::Away(error.to_string()),
        None => OpError::Broken(error.to_string()),
    }
}

/// The chunks that a refusal lists as missing.
fn missing(details: &serde_json::Map<String, serde_json::Value>) -> Option<Vec<ChunkId>> {
    let listed = details.get("missing")?.as_array()?;
    let ids: Option<Vec<_>> = listed.iter().map(|id| id.as_str()?.parse().ok()).collect();
    ids.filter(|ids| !ids.is_empty())
}

impl SessionSource for RemoteSession<'_> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    fn tail(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>, OpError> {
        let bytes = part_of(self.client, &self.shape.id, range.clone()).map_err(failed)?;
        if bytes.len() as u64 == range.end - range.start {
            Ok(Cow::Owned(bytes))
        } else {
            Err(OpError::Broken(format!("the server did not send bytes {range:?} of its session")))
        }
    }

    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(MANIFEST_PAGE);
        let query = ManifestQuery { start, limit: Some(limit) };
        let page = self.client.manifest(self.shape.id.as_str(), &query).map_err(failed)?;
        Ok(page
            .chunks
            .into_iter()
            .map(|chunk| Reference {
                index: chunk.index,
                offset: chunk.offset,
                length: chunk.length,
                chunk: chunk.chunk_id,
                leaf: chunk.leaf_hash,
            })
            .collect())
    }

    fn chunk(&self, _: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError> {
        let session_id = Some(self.shape.id.to_string());
        let wanted = ChunkIds { chunks: vec![reference.chunk], session_id };
        let mut frames = self.client.get_chunks(&wanted).map_err(failed)?;
        let bytes = frames
            .next()
            .ok_or_else(|| OpError::Missing(vec![reference.chunk]))?
            .map_err(|fault| OpError::Broken(fault.to_string()))?;
        // A server is believed as little as a disk.
        if ChunkId::from(blake3::hash(&bytes)) == reference.chunk {
            Ok(bytes.to_vec())
        } else {
            Err(OpError::Unsound(format!(
                "the server sent other bytes than chunk {}",
                reference.chunk
            )))
        }
    }
}

/// Holds what comes against a sealed session on a server.
struct RemoteCompare<'a> {
    source: RemoteSession<'a>,
}

impl Sink for RemoteCompare<'_> {
    fn put(&self, _: &mut Worker, _: &ChunkId, _: Vec<u8>) -> Result<(), SinkError> {
        Ok(())
    }

    fn refer(&self, start_index: u64, chunks: Vec<(ChunkId, u32)>) -> Result<(), SinkError> {
        crate::ingest::sink::hold_against(&self.source, start_index, &chunks)
    }
}

impl Filling for RemoteCompare<'_> {
    fn as_sink(&self) -> &dyn Sink {
        self
    }

    fn totals(&self) -> (u64, u64) {
        (0, 0)
    }
}
