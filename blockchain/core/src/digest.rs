//! The names that hashes go by: one type for each thing that is named, so that a chunk's id can
//! never be handed over where a block's hash is meant.
//!
//! Every digest is 32 bytes, is written as 64 lower-case hex digits, and is read from nothing else.

use std::fmt;

use crate::spelling::{Spelling, spelled};

/// A text that is not 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {noun}: 64 lower-case hex digits are wanted")]
pub struct DigestFault {
    noun: &'static str,
    given: String,
}

/// Lower-case hex.
struct Hex;

impl Spelling for Hex {
    type Fault = DigestFault;

    fn write<const N: usize>(bytes: &[u8; N], to: &mut fmt::Formatter<'_>) -> fmt::Result {
        bytes.as_chunks::<32>().0.iter().try_for_each(|bytes| {
            to.write_str(std::str::from_utf8(&digits(bytes)).map_err(|_| fmt::Error)?)
        })
    }

    fn read<const N: usize>(noun: &'static str, text: &str) -> Result<[u8; N], DigestFault> {
        let fault = || DigestFault { noun, given: text.chars().take(80).collect() };
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(fault());
        }
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| fault())?;
        Ok(bytes)
    }
}

/// The hex digits, without a detour over the heap: every block's hash and roots pass here several times.
pub(crate) fn digits(bytes: &[u8; 32]) -> [u8; 64] {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 0x0f)];
    }
    text
}

macro_rules! digests {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {
        spelled! { Hex, DigestFault: $($(#[$doc])* $name[32] = $noun;)* }

        $(
            impl $name {
                /// Thirty-two zero bytes: the parent of a genesis block, the root of an empty block.
                pub const ZERO: Self = Self([0; 32]);
            }

            impl From<blake3::Hash> for $name {
                fn from(hash: blake3::Hash) -> Self {
                    Self(*hash.as_bytes())
                }
            }
        )*
    };
}

digests! {
    /// BLAKE3 of a chunk's plaintext.
    ChunkId = "chunk id";
    /// What the disk knows a chunk by: its id, or a keyed hash of it in an encrypted store.
    ChunkName = "chunk name";
    /// BLAKE3 of a session's id: what a leaf binds it to.
    SessionKey = "session key";
    /// One leaf of a session tree.
    LeafHash = "leaf hash";
    /// The root of a session tree.
    SessionRoot = "session root";
    /// BLAKE3 of a manifest's text.
    ManifestHash = "manifest hash";
    /// SHA-256 of a block's pre-image.
    BlockHash = "block hash";
    /// SHA-256 of a transaction's canonical text.
    TransactionHash = "transaction hash";
    /// The legacy Merkle root of a block's transactions.
    MerkleRoot = "merkle root";
    /// A node of an RFC 9162 tree over SHA-256.
    LogHash = "log hash";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let id = ChunkId::new([0xab; 32]);
        assert_eq!(id.to_string().parse::<ChunkId>(), Ok(id));
        for wrong in ["", "ab", &"AB".repeat(32), &"ab".repeat(33), &"zz".repeat(32)] {
            assert!(wrong.parse::<ChunkId>().is_err(), "{wrong}");
        }
    }
}
