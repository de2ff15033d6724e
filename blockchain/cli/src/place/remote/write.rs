//! Filling sessions behind a server, which anchors them by itself.

use std::time::Duration;

use anyhow::Context as _;
use lucid_api::client::Append;
use lucid_api::v1::anchors::AnchorStatus;
use lucid_api::v1::chunks::{ChunkIds, SessionChunksQuery};
use lucid_api::v1::sessions::{
    Appended, Appendix, AppendixKind, CLOCK_BACK_SECONDS_MAX, ExitStatus, SealSession, Session,
    SessionEnd, SessionStatus, WAIT_SECONDS_MAX,
};
use lucid_core::digest::ChunkId;
use lucid_core::manifest::{AppendixKind as CoreAppendixKind, End, ExitStatus as CoreStatus};
use lucid_core::session::SessionId;
use lucid_data_chain::ops::sessions::append_stream::StreamPiece;
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;
use lucid_data_chain::workers::anchoring::DISABLED;

use super::MANIFEST_PAGE;
use super::patience::Pauses;
use super::sink::{RemoteCompare, RemoteSink};
use super::source::{RemoteSession, part_of};
use super::{Remote, is_forbidden};
use crate::place::{Begun, Filling, KeptPart, StorageOptions, WriteSessions};

/// How long a sealed session's anchor is waited for: several block intervals.
const ANCHOR_PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks for it, where the server cannot be asked to wait.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Bytes of a stream that are not cut yet, asked for at once.
const TAIL_PART_BYTES: u64 = 4 << 20;

/// How far a clock went back, as a server is told; nothing where it did not, so that one of before such
/// words takes it.
fn seconds(micros: u64) -> Option<u64> {
    let seconds = micros.div_ceil(1_000_000).min(CLOCK_BACK_SECONDS_MAX);
    (seconds > 0).then_some(seconds)
}

/// Whether no waiting brings a session's anchor into a block: it was refused, only an engine of another kind has it, or
/// nobody is named who would.
fn is_never_anchored(session: &Session) -> bool {
    session.anchor.as_ref().is_some_and(|anchor| {
        matches!(anchor.status, AnchorStatus::Failed | AnchorStatus::Elsewhere)
            || anchor.reason.as_deref() == Some(DISABLED)
    })
}

impl WriteSessions for Remote {
    fn begin(&self, new: NewSession) -> anyhow::Result<Begun> {
        let session = self.create(&new)?;
        let id: SessionId = session.session_id.parse()?;
        Ok(match session.status {
            SessionStatus::Active => Begun::Empty(id),
            _ => Begun::Sealed(id),
        })
    }

    fn fill<'a>(
        &'a self,
        id: &SessionId,
        _: StorageOptions,
    ) -> anyhow::Result<Box<dyn Filling + 'a>> {
        Ok(Box::new(RemoteSink::new(self, id.clone())))
    }

    fn compare<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn Filling + 'a>> {
        Ok(Box::new(RemoteCompare::new(RemoteSession::open(&self.client, id)?)))
    }

    fn missing(&self, chunks: &[ChunkId]) -> anyhow::Result<Vec<ChunkId>> {
        let chunks = ChunkIds::from(chunks.to_vec());
        Ok(self.call(|| self.client.missing_chunks(&chunks))?)
    }

    fn stream(&self, new: NewSession) -> anyhow::Result<Session> {
        self.create(&new)
    }

    fn append(
        &self,
        id: &SessionId,
        piece: StreamPiece<'_>,
        _: StorageOptions,
    ) -> anyhow::Result<Appended> {
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
                    self.note(id, |session| session.content_bytes = appended.offset);
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
        let session = self.look(id)?;
        let mut at = 0;
        let mut query = SessionChunksQuery { limit: Some(MANIFEST_PAGE), cursor: None };
        loop {
            let page = match self.call(|| self.client.session_chunks(id.as_str(), &query)) {
                Err(error) if is_forbidden(&error) => {
                    visit(KeptPart::Unseen(session.content_bytes))?;
                    return Ok(());
                }
                page => page?,
            };
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
        let sealed = self.call(|| self.client.seal(id.as_str(), &request))?;
        self.note(id, |session| {
            (session.status, session.chunk_count) = (sealed.status, sealed.chunk_count);
            session.merkle_root = Some(sealed.merkle_root);
            session.manifest_hash = Some(sealed.manifest_hash);
            session.ended_at = Some(sealed.sealed_at);
            session.total_bytes = sealed.total_size;
        });
        Ok(())
    }

    fn anchor(&self, id: &SessionId) -> anyhow::Result<Session> {
        let state = self.call(|| self.client.anchor(id.as_str()))?;
        let started = std::time::Instant::now();
        self.note(id, |session| session.anchor = Some(state));
        let session = match self.call(|| self.client.session(id.as_str())) {
            // To submit it again says where it is.
            Err(error) if is_forbidden(&error) => return self.submit_until_anchored(id),
            session => session?,
        };
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
}

impl Remote {
    /// Waits for an anchor with credentials that may submit it, and not ask for the session.
    fn submit_until_anchored(&self, id: &SessionId) -> anyhow::Result<Session> {
        let started = std::time::Instant::now();
        loop {
            let state = self.call(|| self.client.anchor(id.as_str()))?;
            self.note(id, |session| session.anchor = Some(state));
            let session = self.look(id)?;
            let is_over = started.elapsed() >= ANCHOR_PATIENCE;
            let anchor = session.anchor.as_ref();
            let is_anchored = anchor.is_some_and(|anchor| anchor.block_index.is_some());
            if is_anchored || is_over || is_never_anchored(&session) {
                return Ok(session);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
}
