//! What a place promises to who removes sessions, or forbids it.

use lucid_api::v1::removal::Tombstone;
use lucid_api::v1::sessions::Session;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::upkeep::begin_retention::RetentionTime;

/// Removes sessions.
pub trait RemoveSessions: Sync {
    /// Removes a session; its tombstone is durable on return.
    fn remove(&self, id: &SessionId, reason: &str) -> anyhow::Result<Tombstone>;

    /// Asks the chain what time it is, before sessions are removed by how old they are. A clock that is far ahead is
    /// refused, unless it is confirmed.
    fn begin_retention(&self, confirm: bool) -> anyhow::Result<RetentionTime>;

    /// Brings the tombstones of removed sessions into a block, where nobody else does.
    fn chain_tombstones(&self) -> anyhow::Result<()>;

    /// What is left of a session, if it was removed.
    fn tombstone(&self, id: &SessionId) -> anyhow::Result<Option<Tombstone>>;

    /// What is left of removed sessions, the last one first, each given to `visit`.
    fn tombstones(
        &self,
        visit: &mut dyn FnMut(Tombstone) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Forbids to remove a session.
    fn hold(&self, id: &SessionId, reason: &str) -> anyhow::Result<Session>;

    /// Keeps a session until a time.
    fn retain(&self, id: &SessionId, until: Timestamp) -> anyhow::Result<Session>;

    /// Allows to remove a session again.
    fn release(&self, id: &SessionId) -> anyhow::Result<Session>;
}
