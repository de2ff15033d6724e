//! Reading sessions behind a server.

use std::io::{BufRead as _, BufReader, Read as _};

use anyhow::Context as _;
use lucid_api::client::ClientError;
use lucid_api::v1::find::{FindLine, FindQuery};
use lucid_api::v1::proofs::ProofQuery;
use lucid_api::v1::sessions::{Session, SessionStatus, SessionsQuery};
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::ops::sessions::find_files::FindFiles;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::row::SessionStage;
use lucid_data_chain::source::SessionSource;

use super::Remote;
use super::source::RemoteSession;
use crate::place::ReadSessions;

/// Bytes of a line of files: a path with all its attributes has a few MiB at most.
const LINE_BYTES_MAX: u64 = 16 << 20;

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

    fn sessions(
        &self,
        filter: &SessionFilter,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut query = SessionsQuery {
            status: filter.status.map(status),
            user_id: filter.user.clone(),
            from: filter.from.map(|time| time.to_string()),
            to: end(filter),
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
            metadata: wanted.metadata.clone(),
        };
        let mut lines = BufReader::new(self.call(|| self.client.find(&query))?);
        loop {
            let mut line = Vec::new();
            let read = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.map_err(ClientError::broken_off)? == 0 {
                return Ok(());
            }
            if line != b"\n" {
                visit(
                    serde_json::from_slice(&line)
                        .context("the server's answer is no line of files")?,
                )?;
            }
        }
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
}
