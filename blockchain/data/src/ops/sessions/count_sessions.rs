//! Says how much there is.

use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::row::Counts;

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions and what they refer to.
    pub sessions: Counts,
    /// Bytes of segments and log on the disk.
    pub stored_bytes: u64,
}

/// Counts sessions from one row, and the disk from what is known of its files.
pub fn count_sessions(vault: &Vault) -> Result<Totals, OpError> {
    let sessions = match vault.index().get(&Counts::key())? {
        Some(value) => Counts::decode(&value)?,
        None => Counts::default(),
    };
    let stored_bytes = vault.stored_bytes()?;
    Ok(Totals { sessions, stored_bytes })
}
