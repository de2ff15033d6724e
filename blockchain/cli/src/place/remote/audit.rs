//! Reading the read log of a server.

use std::io::{BufRead as _, BufReader, Read as _};

use anyhow::Context as _;
use lucid_api::client::{ClientError, Download};
use lucid_api::v1::audit::{AuditEntry, AuditQuery, AuditSession};
use lucid_core::session::SessionId;
use lucid_data_chain::ops::audit::find_entries::WantedEntries;

use super::Remote;
use crate::place::ReadAudit;

/// Bytes of a line: one that names a thousand chunks has some 70 KiB.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Gives each line that is not empty to `visit`, without its end.
fn each_line(
    download: Download,
    visit: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut lines = BufReader::new(download);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(ClientError::broken_off)? == 0 {
            return Ok(());
        }
        let whole = line.strip_suffix(b"\n").context("the last line does not end")?;
        if !whole.is_empty() {
            visit(whole)?;
        }
    }
}

impl ReadAudit for Remote {
    fn audit_sessions(&self) -> anyhow::Result<Vec<AuditSession>> {
        Ok(self.call(|| self.client.audit_sessions())?.items)
    }

    fn audit_entries(
        &self,
        wanted: &WantedEntries,
        visit: &mut dyn FnMut(AuditEntry) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let query = AuditQuery {
            caller: wanted.caller.clone(),
            session: wanted.session.as_ref().map(ToString::to_string),
            from: wanted.from.map(|time| time.to_string()),
            to: wanted.to.map(|time| time.to_string()),
            refused: wanted.refused,
        };
        let found = self.call(|| self.client.audit_entries(&query))?;
        each_line(found, &mut |line| {
            let entry = serde_json::from_slice(line);
            visit(entry.context("the server's answer is no entry of the read log")?)
        })
    }

    fn audit_lines(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        each_line(self.call(|| self.client.audit_session(id.as_str()))?, visit)
    }
}
