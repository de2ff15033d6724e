//! The succession: the first transaction of a chain that takes the place of another one.
//!
//! A chain whose newest block is of a time far ahead takes no more blocks until then, and no committed block
//! is ever removed. So a new chain begins, whose first transaction names the end of the old one and is signed
//! by the producer of the old one's blocks: that is how a data-chain tells the successor from any other
//! chain.
//!
//! Its id follows from the old chain's genesis, so a reader who knows that chain can ask for it.

use crate::claim::{Claim, ClaimFault, ClaimFields};
use crate::digest::BlockHash;
use crate::json::Json;
use crate::time::Timestamp;
use crate::transaction::CHAIN_SUCCESSION;

/// What precedes the old genesis in a succession's id.
pub const ID_PREFIX: &str = "succession:";

/// What a succession says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Succession {
    /// The first block of the chain that ends.
    pub genesis: BlockHash,
    /// The height of its last block.
    pub height: u64,
    /// That block's hash.
    pub hash: BlockHash,
    /// Why another chain takes its place; it stands there for everyone to read.
    pub reason: String,
    /// When, by the clock of the blocks' producer.
    pub timestamp: Timestamp,
}

impl Succession {
    /// The id of the transaction that names the successor of the chain with this genesis.
    pub fn id_after(genesis: &BlockHash) -> String {
        format!("{ID_PREFIX}{genesis}")
    }
}

impl Claim for Succession {
    const KIND: &'static str = "succession";

    fn subject(&self) -> String {
        Self::KIND.to_owned()
    }

    fn to_json(&self) -> Json {
        Json::object([
            ("id", Json::from(Self::id_after(&self.genesis))),
            ("previous_genesis", Json::from(self.genesis.to_string())),
            ("previous_hash", Json::from(self.hash.to_string())),
            ("previous_height", Json::from(self.height)),
            ("reason", Json::from(self.reason.as_str())),
            ("timestamp", Json::from(self.timestamp.to_string())),
            ("type", Json::from(CHAIN_SUCCESSION)),
        ])
    }

    fn read(fields: &ClaimFields<'_>) -> Result<Self, ClaimFault> {
        Ok(Self {
            genesis: fields.value("previous_genesis")?,
            height: fields.number("previous_height")?,
            hash: fields.value("previous_hash")?,
            reason: fields.text("reason")?.to_owned(),
            timestamp: fields.value("timestamp")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::Signed;
    use crate::sign::SigningKey;
    use crate::transaction::Transaction;

    fn key() -> SigningKey {
        SigningKey::from_seed([7; 32])
    }

    fn succession() -> Succession {
        Succession {
            genesis: BlockHash::new([0xab; 32]),
            height: 41,
            hash: BlockHash::new([0xcd; 32]),
            reason: "the clock was in 2099".into(),
            timestamp: Timestamp::from_micros(1_700_000_061_000_000),
        }
    }

    // Frozen: the engine stores and hashes exactly this text.
    #[test]
    fn the_transaction_is_frozen_and_reads_back() {
        let vectors = include_str!("../tests/vectors/succession.txt");
        let transaction = succession().sign(&key()).unwrap();
        let found = format!("{}\nhash {}\n", transaction.text(), transaction.hash());
        assert!(vectors.ends_with(&found), "{found}");
        let signed = Signed { claim: succession(), key: key().public() };
        assert_eq!(Signed::parse(&transaction), Ok(signed));
        assert_eq!(transaction.id(), Succession::id_after(&succession().genesis));
    }

    #[test]
    fn any_altered_or_missing_field_is_refused() {
        let json = succession().sign(&key()).unwrap().to_json();
        let members = json.as_object().unwrap();
        for (field, _) in members {
            let fewer = Json::object(members.iter().filter(|(k, _)| k != field).cloned());
            let others = |(k, v): &(String, Json)| {
                let v = if k == field { Json::from("other") } else { v.clone() };
                (k.clone(), v)
            };
            let other = Json::object(members.iter().map(others));
            for json in [fewer, other] {
                let Ok(transaction) = Transaction::from_json(&json) else { continue };
                assert!(Signed::<Succession>::parse(&transaction).is_err(), "{field}");
            }
        }
    }
}
