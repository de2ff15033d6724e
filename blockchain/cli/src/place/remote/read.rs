//! Reading sessions behind a server.

use lucid_api::v1::proofs::ProofQuery;
use lucid_api::v1::sessions::{Session, SessionsQuery};
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::source::SessionSource;

use super::Remote;
use super::source::RemoteSession;
use crate::place::ReadSessions;

impl ReadSessions for Remote {
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
