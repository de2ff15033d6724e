//! Reading sessions of a folder.

use lucid_api::v1::find::FindLine;
use lucid_api::v1::sessions::Session;
use lucid_api::v1::usage::{UsageBy, UsageLine};
use lucid_core::session::SessionId;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::list_chunks::session_chunks;
use lucid_data_chain::ops::proofs::prove_session::{WantedProof, freely, prove_session};
use lucid_data_chain::ops::sessions::find_files::{FindFiles, find_files};
use lucid_data_chain::ops::sessions::follow_session::come_since;
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use lucid_data_chain::ops::sessions::read_session::StoredSession;
use lucid_data_chain::ops::sessions::weigh_sessions::{WantedWeights, weigh_sessions};
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::reply::files::find_line;
use lucid_data_chain::reply::usage::{grouping, lines};
use lucid_data_chain::source::SessionSource;
use lucid_data_chain::{Opened, reply};

use super::Local;
use crate::place::{ChunkAt, ReadSessions};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 4 << 20;

impl ReadSessions for Local {
    fn session(&self, id: &SessionId) -> anyhow::Result<Session> {
        let Opened { vault, key, .. } = &*self.data;
        Ok(reply::session(vault, &key.public(), &get_session(vault, id)?, self.quiet_since())?)
    }

    fn sessions_until(
        &self,
        filter: &SessionFilter,
        at_once: usize,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let Opened { vault, key, .. } = &*self.data;
        let filter = SessionFilter { quiet_since: Some(self.quiet_since()), ..filter.clone() };
        let mut cursor = None;
        loop {
            let page = list_sessions(vault, &filter, at_once, cursor.as_deref())?;
            for row in &page.sessions {
                if !visit(reply::session(vault, &key.public(), row, self.quiet_since())?)? {
                    return Ok(());
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn find_files(
        &self,
        wanted: &FindFiles,
        visit: &mut dyn FnMut(FindLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let sessions =
            SessionFilter { quiet_since: Some(self.quiet_since()), ..wanted.sessions.clone() };
        let wanted = FindFiles { sessions, ..wanted.clone() };
        let mut failed = None;
        let found = find_files(&self.data.vault, &wanted, &mut |step| {
            let Some(line) = find_line(&step) else { return Ok(()) };
            visit(line).map_err(|error| {
                failed = Some(error);
                OpError::Abandoned
            })
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(found?),
        }
    }

    fn source<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn SessionSource + 'a>> {
        Ok(Box::new(StoredSession::open_live(&self.data.vault, &self.data.locks, id)?))
    }

    fn follow(
        &self,
        id: &SessionId,
        mut from: u64,
        take: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        loop {
            let came = come_since(&self.data.vault, id, from, PIECE_BYTES)?;
            take(&came.bytes)?;
            from += came.bytes.len() as u64;
            if came.is_all || came.bytes.is_empty() {
                return Ok(came.is_all);
            }
        }
    }

    fn chunks(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(ChunkAt) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        const PAGE: usize = 1_000;
        let vault = &self.data.vault;
        let (mut start, mut offset) = (0, 0);
        loop {
            let page = session_chunks(vault, id, start, PAGE)?;
            let is_last = page.len() < PAGE;
            for found in page {
                let (Some(index), [(key, length)]) = (found.index, found.parts.as_slice()) else {
                    continue;
                };
                let place = vault.placement(*key)?;
                visit(ChunkAt {
                    index,
                    offset: (!found.waits).then_some(offset),
                    length: (*length).into(),
                    id: key.id,
                    stored_bytes: place.map_or(0, |place| place.stored_length.into()),
                    encrypted: place.is_some_and(|place| place.encrypted),
                    place: place.map(|place| place.place()),
                })?;
                offset += u64::from(*length);
                start = index + 1;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn usage(
        &self,
        by: UsageBy,
        sessions: &[SessionId],
        visit: &mut dyn FnMut(UsageLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (by, sight) = (grouping(by), Sight::everything());
        let wanted = WantedWeights { by, sessions: sessions.to_vec(), sight };
        let weights = weigh_sessions(&self.data.vault, &wanted, &mut || Ok(()))?;
        lines(weights).try_for_each(visit)
    }

    fn prove(&self, id: &SessionId, wanted: &WantedProof) -> anyhow::Result<Vec<u8>> {
        Ok(prove_session(&self.data.vault, id, wanted, &freely)?)
    }
}
