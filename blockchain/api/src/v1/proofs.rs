//! What a proof is wanted of: `GET /api/v1/sessions/{session_id}/proof`. The reply is a bundle,
//! whose format is `lucid-core`'s. `GET .../proof/{index}` says the same of one chunk in JSON.

use lucid_core::digest::{BlockHash, ChunkId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chunks::TreeProof;
use super::files::{number, pair, text};
use super::transactions::TransactionProof;
use crate::document::{Hash, SessionId, TransactionId};
use crate::percent;

/// The part to prove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProofQuery {
    /// The whole session: every one of its bytes.
    #[default]
    Session,
    /// One chunk, by index: `chunk=N`.
    Chunk(u64),
    /// The bytes from `first` to `last`, both included as in HTTP: `range=A-B`.
    Range {
        /// Its first byte.
        first: u64,
        /// Its last byte.
        last: u64,
    },
    /// One file of an archived folder: `path=P`.
    Path(Vec<u8>),
    /// What was recorded in a span of time: `from=T&to=T`.
    Time {
        /// At this time or later (RFC 3339).
        from: String,
        /// Before this time.
        to: String,
    },
}

/// One chunk's way to its session's root, and from there into a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChunkProof {
    /// Its session.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// What the leaf is made of.
    pub chunk: ProvedChunk,
    /// From the leaf to the root.
    pub merkle_proof: TreeProof,
    /// From the root into a block; `null` while the session is not anchored.
    pub anchor: Option<ProvedAnchor>,
}

/// What a leaf is made of, in hex where it is bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProvedChunk {
    /// Its place.
    pub index: u64,
    /// Its first byte in the session.
    pub offset: u64,
    /// Its bytes.
    pub length: u32,
    /// Their BLAKE3.
    #[schema(value_type = Hash)]
    pub chunk_id: ChunkId,
    /// What the leaf is bound to: BLAKE3 of the session's id.
    #[schema(value_type = Hash)]
    pub session_key: String,
    /// What hides the leaf from those who only see its hash.
    #[schema(value_type = Hash)]
    pub salt: String,
}

/// Where a session's root is anchored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProvedAnchor {
    /// The transaction that carries the root.
    #[schema(value_type = TransactionId)]
    pub transaction_id: String,
    /// Its block.
    pub block_height: u64,
    /// Its block's hash.
    #[schema(value_type = Hash)]
    pub block_hash: BlockHash,
    /// From the transaction to the block's Merkle root, and who signed the block.
    pub tx_proof: TransactionProof,
}

impl ProofQuery {
    /// Reads a query string; the error is a sentence for the caller.
    pub fn parse(query: &str) -> Result<Self, String> {
        let (mut parts, mut from, mut to) = (Vec::new(), None, None);
        for (key, value) in percent::query_pairs(query).ok_or("the query has a wrong escape")? {
            match key.as_str() {
                "chunk" => parts.push(Self::Chunk(number(&key, &value)?)),
                "range" => parts.push(range(&value)?),
                "path" => parts.push(Self::Path(value)),
                "from" => from = Some(text(&key, value)?),
                "to" => to = Some(text(&key, value)?),
                _ => return Err(format!("unknown parameter {key:?}")),
            }
        }
        match (from, to) {
            (None, None) => {}
            (Some(from), Some(to)) => parts.push(Self::Time { from, to }),
            _ => return Err("from and to are given together".to_owned()),
        }
        match (parts.pop(), parts.is_empty()) {
            (None, _) => Ok(Self::Session),
            (Some(part), true) => Ok(part),
            (Some(_), false) => Err("one of chunk, range, path, from and to".to_owned()),
        }
    }

    /// Writes the query string.
    pub fn to_query(&self) -> String {
        match self {
            Self::Session => String::new(),
            Self::Chunk(index) => format!("chunk={index}"),
            Self::Range { first, last } => format!("range={first}-{last}"),
            Self::Path(path) => pair("path", path),
            Self::Time { from, to } => {
                [pair("from", from.as_bytes()), pair("to", to.as_bytes())].join("&")
            }
        }
    }
}

fn range(value: &[u8]) -> Result<ProofQuery, String> {
    let wrong = || "range is not FIRST-LAST".to_owned();
    let (first, last) =
        str::from_utf8(value).ok().and_then(|v| v.split_once('-')).ok_or_else(wrong)?;
    let first = number("range", first.as_bytes())?;
    let last = number("range", last.as_bytes())?;
    if first > last {
        return Err(wrong());
    }
    Ok(ProofQuery::Range { first, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for query in [
            ProofQuery::Session,
            ProofQuery::Chunk(3),
            ProofQuery::Range { first: 0, last: u64::MAX },
            ProofQuery::Path(b"a b/\xff".to_vec()),
            ProofQuery::Time { from: "2026-01-01T00:00:00+01:00".into(), to: "2027".into() },
        ] {
            assert_eq!(ProofQuery::parse(&query.to_query()), Ok(query));
        }
    }

    #[test]
    fn refuses_two_parts_at_once() {
        for wrong in
            ["chunk=1&path=a", "chunk=1&chunk=2", "from=x", "range=5-4", "range=5", "cunk=1"]
        {
            assert!(ProofQuery::parse(wrong).is_err(), "{wrong}");
        }
    }
}
