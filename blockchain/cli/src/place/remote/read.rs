//! Reading sessions behind a server.

use std::io::{BufRead as _, BufReader, ErrorKind, Read};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_api::client::ClientError;
use lucid_api::v1::chunks::SessionChunksQuery;
use lucid_api::v1::find::{FindLine, FindQuery};
use lucid_api::v1::list::LIMIT_MAX;
use lucid_api::v1::proofs::ProofQuery;
use lucid_api::v1::sessions::{Session, SessionStatus, SessionsQuery};
use lucid_api::v1::usage::{USAGE_SESSIONS_MAX, UsageBy, UsageLine, UsageQuery};
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::ops::sessions::find_files::FindFiles;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::row::SessionStage;
use lucid_data_chain::source::SessionSource;
use serde::de::DeserializeOwned;

use super::patience::Pauses;
use super::source::RemoteSession;
use super::{MANIFEST_PAGE, Remote};
use crate::place::{ChunkAt, ReadSessions};
use crate::which::spelled;

/// Bytes of a line of files: a path with all its attributes has a few MiB at most.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Bytes of a session that is followed, read at once.
const PIECE_BYTES: usize = 256 << 10;
/// A reply that lasted so long before it broke off was one.
const LASTED: Duration = Duration::from_secs(1);

/// Reads an answer line by line, and passes over those that only say that the work goes on.
fn each_line<T: DeserializeOwned>(
    answer: impl Read,
    of_what: &str,
    visit: &mut dyn FnMut(T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut lines = BufReader::new(answer);
    loop {
        let mut line = Vec::new();
        let read = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(ClientError::broken_off)? == 0 {
            return Ok(());
        }
        if line != b"\n" {
            visit(
                serde_json::from_slice(&line)
                    .with_context(|| format!("the server's answer is no line of {of_what}"))?,
            )?;
        }
    }
}

/// A state of sessions on the wire.
fn status(stage: SessionStage) -> SessionStatus {
    match stage {
        SessionStage::Active => SessionStatus::Active,
        SessionStage::Sealed => SessionStatus::Sealed,
        SessionStage::Anchored => SessionStatus::Anchored,
        SessionStage::Unterminated => SessionStatus::Unterminated,
    }
}

/// The first moment that is too late: a filter has the last one that is not.
fn end(filter: &SessionFilter) -> Option<String> {
    let after = |last: Timestamp| Timestamp::from_micros(last.as_micros().saturating_add(1));
    filter.to.map(|last| after(last).to_string())
}

impl ReadSessions for Remote {
    fn session(&self, id: &SessionId) -> anyhow::Result<Session> {
        Ok(self.look(id)?)
    }

    fn sessions_until(
        &self,
        filter: &SessionFilter,
        at_once: usize,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut query = SessionsQuery {
            host: filter.host.clone(),
            tag: filter.tags.clone(),
            path: spelled(filter),
            prefix: filter.prefix.clone(),
            metadata: filter.metadata.clone(),
            limit: u32::try_from(at_once).ok().map(|limit| limit.clamp(1, LIMIT_MAX)),
            status: filter.status.map(status),
            user_id: filter.user.clone(),
            from: filter.from.map(|time| time.to_string()),
            to: end(filter),
            ..SessionsQuery::default()
        };
        loop {
            let page = self.client.list_sessions(&query)?;
            for session in page.items {
                if !visit(session)? {
                    return Ok(());
                }
            }
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(()),
            }
        }
    }

    fn find_files(
        &self,
        wanted: &FindFiles,
        visit: &mut dyn FnMut(FindLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let filter = &wanted.sessions;
        let query = FindQuery {
            path: wanted.pattern.text().to_owned(),
            ignore_case: wanted.pattern.ignores_case().then_some(true),
            user_id: filter.user.clone(),
            status: filter.status.map(status),
            from: filter.from.map(|time| time.to_string()),
            to: end(filter),
            metadata: filter.metadata.clone(),
        };
        each_line(self.call(|| self.client.find(&query))?, "files", visit)
    }

    fn source<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn SessionSource + 'a>> {
        Ok(Box::new(RemoteSession::open(&self.client, id)?))
    }

    fn follow(
        &self,
        id: &SessionId,
        mut from: u64,
        take: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let mut buffer = vec![0; PIECE_BYTES];
        let mut pauses = Pauses::default();
        loop {
            let mut coming = self.call(|| self.client.follow(id.as_str(), from))?;
            let began = Instant::now();
            let broken = loop {
                match coming.read(&mut buffer) {
                    Ok(0) => return Ok(true),
                    Ok(count) => {
                        take(buffer.get(..count).unwrap_or_default())?;
                        from += count as u64;
                        pauses = Pauses::default();
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => break ClientError::broken_off(error),
                }
            };
            // A server that ends, and whatever lies in between, break off what is silent: it is asked again at once.
            // One that does so again and again is waited for.
            if began.elapsed() >= LASTED {
                continue;
            }
            match &self.patience {
                Some(patience) => patience.pause(broken, &mut pauses)?,
                None => return Err(broken.into()),
            }
        }
    }

    fn chunks(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(ChunkAt) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut query = SessionChunksQuery { limit: Some(MANIFEST_PAGE), cursor: None };
        let mut offset = 0;
        loop {
            let page = self.call(|| self.client.session_chunks(id.as_str(), &query))?;
            for chunk in page.items {
                let (Some(index), Some(id)) = (chunk.index, chunk.hash_value) else { continue };
                visit(ChunkAt {
                    index,
                    offset: (!chunk.waits).then_some(offset),
                    length: chunk.size_bytes,
                    id,
                    stored_bytes: chunk.stored_bytes,
                    encrypted: chunk.encrypted,
                    place: None,
                })?;
                offset += chunk.size_bytes;
            }
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => return Ok(()),
            }
        }
    }

    fn usage(
        &self,
        by: UsageBy,
        sessions: &[SessionId],
        visit: &mut dyn FnMut(UsageLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        anyhow::ensure!(
            sessions.len() <= USAGE_SESSIONS_MAX,
            "a server is asked for {USAGE_SESSIONS_MAX} sessions at most: name fewer, or none for all of them"
        );
        let session_id = sessions.iter().map(|id| id.to_string()).collect();
        let query = UsageQuery { by: Some(by), session_id };
        let mut is_whole = false;
        each_line(self.call(|| self.client.usage(&query))?, "usage", &mut |line: UsageLine| {
            is_whole = line.name.is_none();
            visit(line)
        })?;
        anyhow::ensure!(is_whole, "the server's answer ended before it was whole: try again");
        Ok(())
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
}
