//! Says how much there is.

use lucid_store::segment;
use lucid_store::vault::Vault;
use lucid_store::{StoreError, disk, log};

use super::OpError;
use crate::row::Counts;

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions and what they refer to.
    pub sessions: Counts,
    /// Bytes of segments and log on the disk.
    pub stored_bytes: u64,
}

/// Counts sessions from one row, and the disk from the lengths of its files.
pub fn count_sessions(vault: &Vault) -> Result<Totals, OpError> {
    let sessions = match vault.index().get(&Counts::key())? {
        Some(value) => Counts::decode(&value)?,
        None => Counts::default(),
    };
    let mut stored_bytes = 0;
    for folder in [segment::FOLDER, log::FOLDER] {
        let context = || StoreError::io(format!("measuring {folder}/"));
        for name in vault.disk().list(folder).map_err(context())? {
            let file = vault.disk().open(&disk::join(folder, &name)).map_err(context())?;
            if let Some(file) = file {
                stored_bytes += file.length().map_err(context())?;
            }
        }
    }
    Ok(Totals { sessions, stored_bytes })
}
