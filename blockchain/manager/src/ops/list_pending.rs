//! What waits in the pool, page by page.

use lucid_store::StoreError;
use lucid_store::vault::Vault;

use super::get_transaction::{FoundTransaction, TransactionStage};
use crate::fact;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingPage {
    /// In the order in which blocks take them.
    pub transactions: Vec<FoundTransaction>,
    /// How many wait.
    pub total: u64,
}

/// Texts of a page.
pub const PAGE_BYTES_MAX: usize = 8 << 20;

/// Reads a page behind the first `skip` that wait. One that leaves the pool meanwhile is left out. `None`
/// where the texts are too long for one page.
pub fn list_pending(
    vault: &Vault,
    skip: usize,
    limit: usize,
) -> Result<Option<PendingPage>, StoreError> {
    let mut transactions = Vec::new();
    let Some(behind) = fact::pending_behind(vault, skip, limit, PAGE_BYTES_MAX)? else {
        return Ok(None);
    };
    for waiting in behind {
        let ticket = fact::ticket(vault, &waiting.transaction.id_digest())?;
        transactions.push(FoundTransaction {
            id: waiting.transaction.id().to_owned(),
            submitted_at: ticket.map(|ticket| ticket.submitted_at),
            transaction: Some(waiting.transaction),
            status: TransactionStage::Pending,
        });
    }
    Ok(Some(PendingPage { transactions, total: fact::pool(vault.index())?.transactions }))
}
