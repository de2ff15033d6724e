//! Reading the read log of a folder.

use std::io::BufRead as _;

use anyhow::Context as _;
use lucid_api::v1::audit::{AuditEntry, AuditSession};
use lucid_core::session::SessionId;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::audit::find_entries::{FoundEntry, WantedEntries, find_entries};
use lucid_data_chain::ops::audit::list_log::list_log;
use lucid_data_chain::ops::sessions::read_session::{StoredSession, read_range};
use lucid_data_chain::reply;
use lucid_data_chain::source::SessionSource as _;

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
        let source = StoredSession::open_live(&self.data.vault, &self.data.locks, id)?;
        let (mut begun, mut failed) = (Vec::new(), None);
        let read = read_range(&source, 0..source.shape().content_bytes, |bytes| {
            let mut lines = bytes;
            while lines.read_until(b'\n', &mut begun).is_ok_and(|read| read > 0) {
                let Some(line) = begun.strip_suffix(b"\n") else { break };
                visit(line).map_err(|error| {
                    failed = Some(error);
                    OpError::Abandoned
                })?;
                begun.clear();
            }
            Ok(())
        });
        match failed {
            Some(error) => return Err(error),
            None => read?,
        }
        anyhow::ensure!(begun.is_empty(), "the last line of {id} does not end");
        Ok(())
    }
}
