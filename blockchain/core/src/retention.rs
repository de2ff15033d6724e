//! The retention run: the transaction by which the chain is asked what time it is, before sessions are
//! removed by their age.
//!
//! Its block's time less that of the block with a session's anchor is the session's age, so no machine's
//! clock is believed alone, and everyone can see when what was removed and by which rule.

use crate::json::Json;
use crate::sign::SigningKey;
use crate::time::Timestamp;
use crate::transaction::{RETENTION_RUN, Transaction, TransactionFault};

/// What precedes the hash in a retention run's id.
pub const ID_PREFIX: &str = "retention:";

/// What a retention run says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionRun {
    /// Sessions whose anchors are so many days old are to be removed; zero where another rule says which.
    pub keep_days: u32,
    /// When it was begun, by the recorder's clock.
    pub timestamp: Timestamp,
}

impl RetentionRun {
    /// The transaction, signed by the recorder. Its id is `retention:` and BLAKE3 of key, time and days, so
    /// that each run of each recorder has its own.
    pub fn sign(&self, key: &SigningKey) -> Result<Transaction, TransactionFault> {
        let hash = blake3::Hasher::new()
            .update(key.public().as_bytes())
            .update(&self.timestamp.as_micros().to_le_bytes())
            .update(&self.keep_days.to_le_bytes())
            .finalize();
        let json = Json::object([
            ("id", Json::from(format!("{ID_PREFIX}{}", hash.to_hex()))),
            ("keep_days", Json::from(u64::from(self.keep_days))),
            ("timestamp", Json::from(self.timestamp.to_string())),
            ("type", Json::from(RETENTION_RUN)),
        ]);
        Transaction::signed(&json, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Frozen: the engine stores and hashes exactly this text.
    #[test]
    fn the_transaction_is_frozen() {
        let timestamp = Timestamp::from_micros(1_700_000_061_000_000);
        let run = RetentionRun { keep_days: 90, timestamp };
        let transaction = run.sign(&SigningKey::from_seed([7; 32])).unwrap();
        let vectors = include_str!("../tests/vectors/retention.txt");
        let found = format!("{}\nhash {}\n", transaction.text(), transaction.hash());
        assert!(vectors.ends_with(&found), "{found}");
    }
}
