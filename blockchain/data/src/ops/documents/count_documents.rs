//! How many documents there are.

use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::row::documents::DocumentCounts;

/// How many documents were stored of each kind; the sessions of this store are counted elsewhere.
pub fn count_documents(vault: &Vault) -> Result<DocumentCounts, OpError> {
    let row = vault.index().get(&DocumentCounts::key())?;
    Ok(row.map(|row| DocumentCounts::decode(&row)).transpose()?.unwrap_or_default())
}
