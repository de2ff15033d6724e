//! What a place promises to who wants to know what was read, and by whom.

use lucid_api::v1::audit::{AuditEntry, AuditSession};
use lucid_core::session::SessionId;
use lucid_data_chain::ops::audit::find_entries::WantedEntries;

/// Reads the read log.
pub trait ReadAudit: Sync {
    /// Its sessions, the oldest first.
    fn audit_sessions(&self) -> anyhow::Result<Vec<AuditSession>>;

    /// Gives entries to `visit`, in the order in which they were made.
    fn audit_entries(
        &self,
        wanted: &WantedEntries,
        visit: &mut dyn FnMut(AuditEntry) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Gives the lines of one of its sessions to `visit`, as they are kept, without their ends.
    fn audit_lines(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;
}
