//! The read log: sessions in which the service notes what is asked of it, one a day.

pub mod find_entries;
pub mod list_log;
pub mod write_log;

use lucid_core::session::SessionId;
use lucid_store::vault::committer::Purpose;

use super::OpError;

/// What the sessions of the read log begin with.
pub const LOG_PREFIX: &str = "lucid.audit.";
/// Whose sessions they are.
pub const LOG_USER: &str = "lucid";

/// What the bytes of a session are for: the read log is written on a disk that takes in nothing else any more, so that
/// it tells what was removed there.
pub(in crate::ops) fn purpose_of(id: &SessionId) -> Purpose {
    if id.is_reserved() { Purpose::Upkeep } else { Purpose::Bring }
}

/// Refuses what only the service does with sessions that it keeps itself.
pub(in crate::ops) fn refuse_reserved(id: &SessionId) -> Result<(), OpError> {
    if id.is_reserved() { Err(OpError::Reserved(id.clone())) } else { Ok(()) }
}
