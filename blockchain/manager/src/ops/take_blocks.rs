//! Takes in blocks that were made elsewhere: the one way for importing and synchronising. (A single new
//! block that is posted to an authority is [`submit_block`](super::submit_block)'s.)
//!
//! Blocks come in the order of their chain. They are weighed on all cores, judged one after the other
//! by the same rules as any block, as history, and appended in runs. What the chain has already is held
//! against what is given and skipped, so taking the same blocks again goes on where it ended. A block
//! there that is damaged is an answer about that block: the others are taken.
//!
//! Where a producer is pinned that has signed a block, an unsigned one waits for a block behind it that this producer
//! signed: a block's hash covers all blocks before it. So many wait as a follower stages, and those for which no
//! signature comes are refused.
//!
//! Invariant: a block is appended only behind the one it was judged after, and no id of the run itself
//! is overlooked: an id counts as chained from the moment its block was found valid.

mod recent;

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

use lucid_core::block::Parent;
use lucid_core::digest::BlockHash;
use lucid_core::json::JsonFault;
use lucid_core::time::Timestamp;
use lucid_core::transaction::IdDigest;
use lucid_core::validate::{Context, Mode, ValidBlock, Weighed, validate_weighed};
use lucid_store::contract::chain::{AppendedBlock, ChainStore, Tip};
use lucid_store::vault::Vault;
use lucid_store::{CommitError, Damage, StoreError};

use self::recent::Recent;
use super::validate_block::parent_at;
use crate::fact::{self, Fact};
use crate::given::BlockBatch;
pub use crate::given::{GivenBlock, Pins, RefusedBlock, WhyRefused, broken};
use crate::in_order::{cores, in_order};
use crate::staging::{STAGED_BLOCKS_MAX, STAGED_BYTES_MAX};

/// Valid blocks are appended when their texts have this many bytes together.
const RUN_BYTES: usize = 8 << 20;
/// Or when they are so many.
const RUN_BLOCKS: usize = 8_192;

/// How far taking is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TakeProgress {
    /// Blocks that were given and looked at.
    pub given: u64,
    /// Blocks that the chain had already.
    pub known: u64,
    /// Blocks that are stored now.
    pub stored: u64,
    /// Blocks that were refused.
    pub refused: u64,
    /// Transactions of the blocks that are stored now.
    pub transactions: u64,
    /// Bytes of the texts that were given.
    pub bytes: u64,
}

/// What the caller of [`take_blocks`] is told meanwhile.
#[derive(Debug)]
pub enum Heard<'a> {
    /// So far it is, and everything counted as stored is durable.
    Progress(&'a TakeProgress),
    /// This block was refused.
    Refused(RefusedBlock),
}

/// Why taking blocks failed.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The blocks cannot be read where they come from.
    #[error("the blocks cannot be read: {0}")]
    Source(#[from] std::io::Error),
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Another writer appends to this chain meanwhile.
    #[error("the chain did not take block {index}: {why:?}")]
    Outrun {
        /// The block.
        index: u64,
        /// What the chain said.
        why: AppendedBlock,
    },
}

/// Whether the pinned producer has signed blocks already. Where the newest one cannot tell, it is taken to have: then
/// nothing is taken in that it may have to sign.
pub(super) fn signs(
    chain: &dyn ChainStore,
    tip: Option<Tip>,
    pins: &Pins,
) -> Result<bool, StoreError> {
    let Some(tip) = tip.filter(|_| pins.producer.are_pinned()) else { return Ok(false) };
    match chain.record(tip.height) {
        Err(StoreError::Damaged(_)) => Ok(true),
        stored => {
            let producer = stored?.and_then(|stored| stored.record.producer);
            Ok(producer.is_some_and(|key| pins.producer.have(&key)))
        }
    }
}

/// Takes blocks until there are no more, an error ends it, or `hear` does. `newest` is what a peer tells
/// of the newest block here, for the case that this block is damaged. The caller has checked that the hash in
/// it is the hash of what it tells.
pub fn take_blocks(
    vault: &Vault,
    chain: &dyn ChainStore,
    now: Timestamp,
    pins: Pins,
    newest: Option<Parent>,
    mut given: impl Iterator<Item = std::io::Result<GivenBlock>>,
    hear: impl FnMut(Heard<'_>) -> ControlFlow<()>,
) -> Result<TakeProgress, TakeError> {
    let mut taker = Taker::new(vault, chain, now, pins, newest, hear)?;
    let mut failed = None;
    // How many runs were appended when a job was handed out: its look-ups see those.
    let runs = std::cell::Cell::new(0);
    let next = || BlockBatch::take(&mut given, &mut failed).map(|batch| (runs.get(), batch));
    let mut result = Ok(ControlFlow::Continue(()));
    in_order(
        cores(),
        next,
        |(run, batch)| weigh(chain, run, batch),
        |weighed| {
            result = taker.take(weighed);
            runs.set(taker.runs);
            match &result {
                Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        },
    );
    // What was found valid before the source broke off, or the caller wished to end, is kept.
    result.and_then(|_| taker.append())?;
    let _ended = taker.refuse_waiting();
    failed.map_or(Ok(taker.taken), |error| Err(error.into()))
}

/// A batch whose costly part is done.
struct WeighedBatch {
    run: u64,
    bytes: u64,
    blocks: Vec<Result<LookedUpBlock, JsonFault>>,
}

/// A block, and where its ids are found among the blocks that were there.
struct LookedUpBlock {
    weighed: Weighed,
    found: Result<HashMap<IdDigest, u64>, StoreError>,
}

fn weigh(chain: &dyn ChainStore, run: u64, batch: BlockBatch) -> WeighedBatch {
    let bytes = batch.bytes;
    let looked = |weighed: Weighed| LookedUpBlock {
        found: look_up(chain, &weighed),
        weighed: weighed.with_entry(),
    };
    let blocks = batch.weigh().into_iter().map(|read| read.map(looked)).collect();
    WeighedBatch { run, bytes, blocks }
}

fn look_up(
    chain: &dyn ChainStore,
    weighed: &Weighed,
) -> Result<HashMap<IdDigest, u64>, StoreError> {
    let mut found = HashMap::new();
    for id in weighed.ids() {
        if let Some(place) = chain.find(id)? {
            found.insert(*id, place.height);
        }
    }
    Ok(found)
}

/// A block of the run.
struct RunBlock {
    block: ValidBlock,
    /// Its place among those given.
    position: u64,
}

/// What the chain has at a height.
struct ExistingBlock {
    /// Which block, as far as that is known.
    hash: Option<BlockHash>,
    /// Why its record cannot be read, if so.
    damage: Option<Damage>,
}

/// What is to be done about a damaged block.
const PUT_BACK: &str = "put that file back from a copy and run `lucid reindex`";

/// The block before one, as that one tells.
fn named_parent(weighed: &mut Weighed, index: u64) -> Option<Parent> {
    let entry = weighed.entry()?;
    Some(Parent { index, hash: entry.previous_hash, time: entry.time().ok()? })
}

/// Judges and appends, on one thread.
struct Taker<'a, H> {
    vault: &'a Vault,
    chain: &'a dyn ChainStore,
    now: Timestamp,
    pins: Pins,
    genesis: Option<BlockHash>,
    /// The tip that was there before.
    before: Option<Tip>,
    /// What a peer tells of that tip, if its hash is the tip's.
    newest: Option<Parent>,
    /// The last block that was found valid.
    last: Option<Parent>,
    recent: Recent,
    /// Whether the pinned producer has signed a block.
    signs: bool,
    run: VecDeque<RunBlock>,
    /// How many blocks at the run's end wait for a signature.
    waiting: usize,
    /// The last block that does not.
    before_waiting: Option<Parent>,
    /// Bytes of the texts of the run's blocks that do not wait.
    run_bytes: usize,
    waiting_bytes: usize,
    /// How many runs were appended.
    runs: u64,
    taken: TakeProgress,
    hear: H,
}

impl<'a, H: FnMut(Heard<'_>) -> ControlFlow<()>> Taker<'a, H> {
    fn new(
        vault: &'a Vault,
        chain: &'a dyn ChainStore,
        now: Timestamp,
        pins: Pins,
        newest: Option<Parent>,
        hear: H,
    ) -> Result<Self, StoreError> {
        let before = chain.tip()?;
        let newest = newest.filter(|newest| before.is_some_and(|tip| tip.hash == newest.hash));
        let genesis = match fact::genesis(vault.index())? {
            Some(genesis) => Some(genesis),
            None => match chain.record(0) {
                Err(StoreError::Damaged(_)) => pins.genesis,
                stored => stored?.map(|stored| stored.record.entry.hash).or(pins.genesis),
            },
        };
        Ok(Self {
            vault,
            chain,
            now,
            pins,
            genesis,
            before,
            newest,
            last: None,
            recent: Recent::default(),
            signs: signs(chain, before, &pins)?,
            run: VecDeque::new(),
            waiting: 0,
            before_waiting: None,
            run_bytes: 0,
            waiting_bytes: 0,
            runs: 0,
            taken: TakeProgress::default(),
            hear,
        })
    }

    fn take(&mut self, done: WeighedBatch) -> Result<ControlFlow<()>, TakeError> {
        self.recent.forget_before(done.run);
        for block in done.blocks {
            let position = self.taken.given;
            self.taken.given += 1;
            let refused = match block {
                Err(fault) => Some((None, None, WhyRefused::Unreadable(fault))),
                Ok(LookedUpBlock { weighed, found }) => {
                    let (index, hash) = (weighed.candidate().index(), weighed.candidate().hash());
                    self.take_into_run(position, weighed, found)?.map(|why| (index, hash, why))
                }
            };
            if let Some((index, hash, why)) = refused {
                self.taken.refused += 1;
                let refused = RefusedBlock { position, index, hash, why };
                if (self.hear)(Heard::Refused(refused)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if self.run_bytes >= RUN_BYTES || self.run.len() - self.waiting >= RUN_BLOCKS {
                self.append()?;
            }
            let too_many =
                self.waiting >= STAGED_BLOCKS_MAX || self.waiting_bytes >= STAGED_BYTES_MAX;
            if too_many && self.refuse_waiting().is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.taken.bytes += done.bytes;
        Ok((self.hear)(Heard::Progress(&self.taken)))
    }

    /// Puts a valid block into the run, or says why it is none.
    fn take_into_run(
        &mut self,
        position: u64,
        mut weighed: Weighed,
        found: Result<HashMap<IdDigest, u64>, StoreError>,
    ) -> Result<Option<WhyRefused>, TakeError> {
        let (index, hash) = (weighed.candidate().index(), weighed.candidate().hash());
        let there = index.map(|index| self.there(index)).transpose()?.flatten();
        let is_known = hash.is_some() && there.as_ref().is_some_and(|there| there.hash == hash);
        let found = match found {
            // Its ids were looked up when it was stored.
            Err(StoreError::Damaged(_)) if there.is_some() => HashMap::new(),
            found => found?,
        };
        let newest =
            self.newest.filter(|newest| index.is_some_and(|index| index == newest.index + 1));
        let parent = match (self.last, index.and_then(|index| index.checked_sub(1))) {
            (Some(last), _) => Some(last),
            (None, Some(below)) => match parent_at(self.chain, below) {
                // What is known by its hash is believed what it says of the block before it.
                Err(StoreError::Damaged(_)) if is_known => named_parent(&mut weighed, below),
                Err(StoreError::Damaged(_)) if newest.is_some() => newest,
                Err(StoreError::Damaged(damage)) => {
                    return Ok(Some(WhyRefused::Damaged(format!(
                        "it cannot be held against block {below}, of which nothing can be read here \
                         ({damage}): {PUT_BACK}"
                    ))));
                }
                parent => parent?,
            },
            (None, None) => None,
        };
        let earlier = |height: u64| index.is_none_or(|index| height < index);
        let chained = |id: &IdDigest| {
            found.get(id).is_some_and(|height| earlier(*height))
                || self.recent.height_of(id).is_some_and(earlier)
        };
        let context = Context {
            parent,
            genesis: self.genesis,
            now: self.now,
            mode: Mode::Historical,
            chained: &chained,
            producer: self.pins.producer,
        };
        let mut verdict = validate_weighed(weighed, &context);
        let Some(block) = verdict.block.take() else {
            return Ok(Some(WhyRefused::Rules(Box::new(verdict))));
        };
        let last = block.as_parent().ok();
        let is_signed = verdict.coverage.producer_pinned;
        let waits = self.signs && !is_signed;
        match there {
            Some(ExistingBlock { hash, .. }) if hash.is_some_and(|hash| hash != block.hash) => {
                return Ok(Some(WhyRefused::HeightTaken(hash.unwrap_or(BlockHash::ZERO))));
            }
            Some(ExistingBlock { hash, damage: Some(damage) }) => {
                // Where it is not known which block is there, the next one is held against the chain.
                self.last = last.filter(|_| hash.is_some());
                let which = match hash {
                    Some(_) => "the chain has this very block",
                    None => "it is not known whether the chain has this block or another",
                };
                return Ok(Some(WhyRefused::Damaged(format!(
                    "{which}, and what is stored at its height cannot be read ({damage}): {PUT_BACK}, \
                     or take all blocks into a new folder"
                ))));
            }
            Some(_) => self.taken.known += 1,
            None => {
                self.recent.add(self.runs, block.index, block.ids());
                let bytes = verdict.coverage.bytes;
                self.run.push_back(RunBlock { block, position });
                match waits {
                    true => {
                        self.waiting += 1;
                        self.waiting_bytes += bytes;
                    }
                    // It vouches for those that wait in front of it.
                    false => {
                        self.run_bytes += bytes + std::mem::take(&mut self.waiting_bytes);
                        self.waiting = 0;
                    }
                }
            }
        }
        self.signs |= is_signed;
        if self.waiting == 0 {
            self.before_waiting = last;
        }
        self.last = last;
        Ok(None)
    }

    /// What the chain had at a height before; `None` above its tip.
    fn there(&self, height: u64) -> Result<Option<ExistingBlock>, StoreError> {
        let Some(tip) = self.before.filter(|tip| height <= tip.height) else { return Ok(None) };
        let (stored, damage) = match self.chain.record(height) {
            Err(StoreError::Damaged(damage)) => (None, Some(damage)),
            stored => (stored?, None),
        };
        let hash = match (&stored, height.checked_add(1)) {
            (Some(stored), _) => Some(stored.record.entry.hash),
            _ if height == tip.height => Some(tip.hash),
            // The block behind it names it.
            (None, Some(above)) => match self.chain.record(above) {
                Err(StoreError::Damaged(_)) => None,
                above => above?.map(|above| above.record.entry.previous_hash),
            },
            (None, None) => None,
        };
        Ok(Some(ExistingBlock { hash: hash.filter(|hash| *hash != BlockHash::ZERO), damage }))
    }

    /// Refuses the blocks for which no signature came: what follows is held against the block in front of them.
    fn refuse_waiting(&mut self) -> ControlFlow<()> {
        let waited = self.run.split_off(self.run.len() - std::mem::take(&mut self.waiting));
        self.waiting_bytes = 0;
        if !waited.is_empty() {
            self.last = self.before_waiting;
        }
        for RunBlock { block, position } in waited {
            self.recent.forget(block.index, block.ids());
            self.taken.refused += 1;
            let (index, hash) = (Some(block.index), Some(block.hash));
            let refused = RefusedBlock { position, index, hash, why: WhyRefused::Unvouched };
            if (self.hear)(Heard::Refused(refused)).is_break() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Makes the run durable, but for what waits.
    fn append(&mut self) -> Result<(), TakeError> {
        let bytes = std::mem::take(&mut self.run_bytes);
        let waiting = self.run.split_off(self.run.len() - self.waiting);
        let run = std::mem::replace(&mut self.run, waiting);
        let blocks: Vec<ValidBlock> = run.into_iter().map(|one| one.block).collect();
        let Some(first) = blocks.first() else { return Ok(()) };
        self.chain.room(bytes as u64)?;
        let run = self.chain.append_run(&blocks)?;
        if let Some(why) = run.stopped {
            return Err(TakeError::Outrun { index: first.index + run.stored as u64, why });
        }
        if first.index == 0 {
            self.adopt(first.hash)?;
        }
        self.taken.stored += blocks.len() as u64;
        self.taken.transactions +=
            blocks.iter().map(|block| block.transactions.len() as u64).sum::<u64>();
        self.runs += 1;
        Ok(())
    }

    /// Writes down which chain this is now. A crash before it is made good by the next start.
    fn adopt(&mut self, genesis: BlockHash) -> Result<(), TakeError> {
        self.genesis = Some(genesis);
        if fact::genesis(self.vault.index())?.is_none() {
            fact::commit(self.vault, &[Fact::Genesis(genesis)])?;
        }
        Ok(())
    }
}
