//! Where the chain that is followed was found to be another one: both blocks, kept as evidence.
//!
//! Written by synchronisation, read by the status. A peer can claim as many forks as it likes, so only
//! the first [`FORKS_MAX`] of them are kept.

use lucid_core::digest::BlockHash;
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::StoreError;
use lucid_store::contract::index::{Changes, Index};
use lucid_store::registry::block_manager::key::FORK;

use super::{fault, key};

/// So many forks are kept.
pub const FORKS_MAX: usize = 64;

/// Two blocks at one height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// When it was found.
    pub at: Timestamp,
    /// Where: below, the chains are the same.
    pub height: u64,
    /// The hash of the peer's block.
    pub hash: BlockHash,
    /// The committed block here: its entry's nine lines, its producer and the signature.
    pub ours: String,
    /// The peer's, as far as it gave it.
    pub theirs: String,
}

impl Fork {
    pub(super) fn write<'a>(&self, to: &'a mut Writer) -> &'a mut Writer {
        to.i64(self.at.as_micros()).u64(self.height).raw(self.hash.as_bytes());
        to.text(&self.ours).text(&self.theirs)
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        Ok(Self {
            at: from.time("time")?,
            height: from.u64("height")?,
            hash: BlockHash::new(from.array("hash")?),
            ours: from.text("our block")?.to_owned(),
            theirs: from.text("their block")?.to_owned(),
        })
    }

    /// One row for each of the peer's blocks.
    pub(super) fn project(&self, changes: &mut Changes<'_>) {
        let mut value = Writer::new();
        self.write(&mut value);
        let rest = [self.height.to_be_bytes().as_slice(), self.hash.as_bytes()].concat();
        changes.put(key(FORK, &rest), value.finish());
    }
}

/// The forks that are kept, lowest first.
pub fn forks(index: &dyn Index) -> Result<Vec<Fork>, StoreError> {
    let rows = index.scan(&[FORK], &[FORK + 1], FORKS_MAX, false)?;
    let read = |(_, value): (Vec<u8>, Vec<u8>)| Fork::read(&mut Reader::new(&value));
    rows.into_iter().map(read).collect::<Result<_, _>>().map_err(fault("a fork"))
}
