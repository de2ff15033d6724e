//! Which chain this store's anchors are in.
//!
//! Written beside an `anchored` fact, so that another chain can be told from this one without the engine's
//! help: a block-manager whose folder is away, or an older copy of it, looks like any other beginning.

use lucid_core::digest::BlockHash;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::registry::data_chain::fact::CHAIN;

/// The chain that anchors go to. Each such fact takes the place of the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnChain {
    /// What is known of it; nothing, once its loss was accepted: any chain will do then.
    pub known: Option<KnownChain>,
}

/// A chain that holds something of this store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownChain {
    /// The hash of its first block. The version before did not keep it.
    pub genesis: Option<BlockHash>,
    /// The highest block in which something of this store was confirmed.
    pub block_index: u64,
    /// That block's hash.
    pub block_hash: BlockHash,
    /// What was confirmed there: the id of an anchor or a tombstone.
    pub transaction: String,
}

impl OwnChain {
    pub(super) fn write(&self, to: &mut Writer) {
        to.u8(CHAIN).option(self.known.as_ref(), |to, known| {
            to.option(known.genesis, |to, genesis| {
                to.raw(genesis.as_bytes());
            });
            to.u64(known.block_index).raw(known.block_hash.as_bytes()).text(&known.transaction);
        });
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let known = from.option("a chain", |from| {
            Ok(KnownChain {
                genesis: from
                    .option("a genesis", |from| from.array("a genesis").map(BlockHash::new))?,
                block_index: from.u64("a block index")?,
                block_hash: BlockHash::new(from.array("a block hash")?),
                transaction: from.text("a transaction's id")?.to_owned(),
            })
        })?;
        Ok(Self { known })
    }
}
