//! Reading the read log of a folder.

use anyhow::Context as _;
use lucid_api::v1::audit::{AuditEntry, AuditSession};
use lucid_core::session::SessionId;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::audit::find_entries::{
    FoundEntry, WantedEntries, find_entries, read_lines,
};
use lucid_data_chain::ops::audit::list_log::list_log;
use lucid_data_chain::reply;

use super::Local;
use crate::place::ReadAudit;

impl ReadAudit for Local {
    fn audit_sessions(&self) -> anyhow::Result<Vec<AuditSession>> {
        let sessions = list_log(&self.data.vault)?;
        let shown = sessions.iter().map(|row| reply::audit_session(row, self.quiet_since()));
        Ok(shown.collect())
    }

    fn audit_entries(
        &self,
        wanted: &WantedEntries,
        visit: &mut dyn FnMut(AuditEntry) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut failed = None;
        let found = find_entries(&self.data.vault, &self.data.locks, wanted, &mut |found| {
            let FoundEntry::Entry(line) = found else { return Ok(()) };
            let entry = serde_json::from_slice(line).context("an entry of the read log");
            entry.and_then(&mut *visit).map_err(|error| {
                failed = Some(error);
                OpError::Abandoned
            })
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(found?),
        }
    }

    fn audit_lines(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut failed = None;
        let read = read_lines(&self.data.vault, &self.data.locks, id, &mut |found| match found {
            FoundEntry::Looking => Ok(()),
            FoundEntry::Entry(line) => visit(line).map_err(|error| {
                failed = Some(error);
                OpError::Abandoned
            }),
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(read?),
        }
    }
}
