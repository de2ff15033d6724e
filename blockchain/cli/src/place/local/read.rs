//! Reading sessions of a folder.

use lucid_api::v1::find::FindLine;
use lucid_api::v1::sessions::Session;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::proofs::prove_session::{WantedProof, freely, prove_session};
use lucid_data_chain::ops::sessions::find_files::{FindFiles, find_files};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use lucid_data_chain::ops::sessions::read_session::StoredSession;
use lucid_data_chain::reply::files::find_line;
use lucid_data_chain::source::SessionSource;
use lucid_data_chain::{Opened, reply};

use super::Local;
use crate::place::ReadSessions;

impl ReadSessions for Local {
    fn session(&self, id: &SessionId) -> anyhow::Result<Session> {
        let Opened { vault, key, .. } = &self.data;
        Ok(reply::session(vault, &key.public(), &get_session(vault, id)?, self.quiet_since())?)
    }

    fn sessions(
        &self,
        filter: &SessionFilter,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        const PAGE: usize = 256;
        let Opened { vault, key, .. } = &self.data;
        let mut cursor = None;
        loop {
            let page = list_sessions(vault, filter, PAGE, cursor.as_deref())?;
            for row in &page.sessions {
                visit(reply::session(vault, &key.public(), row, self.quiet_since())?)?;
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

    fn prove(&self, id: &SessionId, wanted: &WantedProof) -> anyhow::Result<Vec<u8>> {
        Ok(prove_session(&self.data.vault, id, wanted, &freely)?)
    }
}
