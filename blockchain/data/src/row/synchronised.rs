//! How far documents were taken from a chain.

use lucid_core::block::Parent;
use lucid_core::digest::BlockHash;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::Index;
use lucid_store::registry::data_chain::key::SYNCHRONISED;

use super::read_flag;

/// The last block that was taken, and the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynchronisedRow {
    /// The hash of block 0.
    pub genesis: BlockHash,
    /// The same of the first chain, where this one took the place of another; otherwise the same.
    pub origin: BlockHash,
    /// The last block: what the next one has to follow.
    pub last: Parent,
    /// Whether any block so far is signed.
    pub is_signed: bool,
}

impl SynchronisedRow {
    /// The key of the row.
    pub fn key() -> Vec<u8> {
        vec![SYNCHRONISED]
    }

    /// How far documents were taken, if any were.
    pub fn find(index: &dyn Index) -> Result<Option<Self>, StoreError> {
        index.get(&Self::key())?.map(|row| Self::decode(&row)).transpose()
    }

    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.raw(self.genesis.as_bytes()).u64(self.last.index).raw(self.last.hash.as_bytes());
        to.i64(self.last.time.as_micros()).u8(u8::from(self.is_signed));
        if self.origin != self.genesis {
            to.raw(self.origin.as_bytes());
        }
        to.finish()
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let read = |from: &mut Reader<'_>| -> Result<Self, WireFault> {
            let genesis = BlockHash::new(from.array("a hash")?);
            let index = from.u64("an index")?;
            let hash = BlockHash::new(from.array("a hash")?);
            let last = Parent { index, hash, time: from.time("a time")? };
            let is_signed = read_flag(from, "a signature")?;
            let is_first = from.is_empty();
            let origin = if is_first { genesis } else { BlockHash::new(from.array("a hash")?) };
            Ok(Self { genesis, origin, last, is_signed })
        };
        let mut from = Reader::new(bytes);
        read(&mut from)
            .and_then(|row| from.finish().map(|()| row))
            .map_err(|fault| StoreError::Index(format!("how far documents were taken: {fault}")))
    }
}
