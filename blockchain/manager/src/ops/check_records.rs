//! Checks what is kept of blocks for ever, without their transactions: so it works on pruned blocks
//! too, and is many times as fast as validating.
//!
//! Called by `lucid chain validate --records`. Each record is read as any read is, its hash and roots
//! are computed again, and it must follow the one before; no two transactions may have one id. Records
//! are read and checked on all cores, and joined in order.

use std::ops::ControlFlow;

use lucid_core::digest::BlockHash;
use lucid_core::record::BlockRecord;
use lucid_store::StoreError;
use lucid_store::chain::{ChainStore, Stretch};

use crate::in_order::{cores, in_order};

/// Blocks that one core takes at once.
const JOB_BLOCKS: u64 = 1_024;
/// Bytes of records that are read at once.
const JOB_BYTES: usize = 1 << 20;
/// Faults that are named; further ones are counted.
const FAULTS_MAX: usize = 1_000;
/// Ids that are compared with each other, at eight bytes each.
const IDS_MAX: u64 = 64 << 20;

/// What is checked besides what always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The first height.
    pub from: u64,
    /// The last one, or the tip where that is lower.
    pub to: u64,
    /// Whether signatures are verified.
    pub signatures: bool,
}

/// What is wrong with a block's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub height: u64,
    /// Why.
    pub why: String,
}

/// What was checked, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records that were looked at.
    pub blocks: u64,
    /// Transactions in those that could be read.
    pub transactions: u64,
    /// The first faults.
    pub faults: Vec<Fault>,
    /// How many there are.
    pub fault_count: u64,
    /// What was left open.
    pub not_checked: Vec<String>,
}

impl Checked {
    fn fault(&mut self, height: u64, why: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { height, why });
        }
    }
}

/// The records of one job.
#[derive(Default)]
struct Part {
    from: u64,
    blocks: u64,
    transactions: u64,
    faults: Vec<Fault>,
    /// What the first record names as its parent, and the hash of the last; where they can be read.
    ends: (Option<BlockHash>, Option<BlockHash>),
    /// The first eight bytes of each id digest.
    ids: Vec<u64>,
}

/// Checks the records of a range. `hear` is told how many blocks are done, and may end it.
pub fn check_records(
    chain: &dyn ChainStore,
    wanted: &Wanted,
    mut hear: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let Some(tip) = chain.tip()? else { return Ok(checked) };
    let (mut from, end) = (wanted.from, wanted.to.min(tip.height).saturating_add(1));
    let last = chain
        .record(end - 1)
        .ok()
        .flatten()
        .map_or(0, |stored| stored.transactions_before + stored.record.entry.transaction_count);
    let with_ids = last <= IDS_MAX;
    let (mut ids, mut failed) = (Vec::new(), None);
    let mut before = parent_of(chain, from);
    in_order(
        cores(),
        || {
            let job = from..end.min(from.saturating_add(JOB_BLOCKS));
            from = job.end;
            (!job.is_empty()).then_some(job)
        },
        |job| check_part(chain, job, wanted.signatures, with_ids),
        |part| {
            let part = match part {
                Ok(part) => part,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            };
            if let (Some(before), Some(parent)) = (before, part.ends.0)
                && before != parent
            {
                checked.fault(part.from, "the block does not follow the one before it".to_owned());
            }
            before = part.ends.1;
            checked.blocks += part.blocks;
            checked.transactions += part.transactions;
            for fault in part.faults {
                checked.fault(fault.height, fault.why);
            }
            ids.extend(part.ids);
            hear(checked.blocks)
        },
    );
    if let Some(error) = failed {
        return Err(error);
    }
    checked.not_checked.push("the transactions themselves, which are not read".to_owned());
    if !wanted.signatures {
        checked.not_checked.push("the producers' signatures".to_owned());
    }
    match with_ids {
        true => name_repeated(chain, wanted.from, end, ids, &mut checked)?,
        false => {
            let sentence = format!("that no two of over {IDS_MAX} transactions have one id");
            checked.not_checked.push(sentence);
        }
    }
    Ok(checked)
}

/// The hash of the block before a height; zeros before the genesis, `None` where it cannot be read.
fn parent_of(chain: &dyn ChainStore, height: u64) -> Option<BlockHash> {
    match height.checked_sub(1) {
        None => Some(BlockHash::ZERO),
        Some(below) => chain.record(below).ok()?.map(|stored| stored.record.entry.hash),
    }
}

fn check_part(
    chain: &dyn ChainStore,
    job: std::ops::Range<u64>,
    signatures: bool,
    with_ids: bool,
) -> Result<Part, StoreError> {
    let mut part = Part { from: job.start, ..Part::default() };
    let mut height = job.start;
    while height < job.end {
        let blocks = usize::try_from(job.end - height).unwrap_or(usize::MAX);
        let fault = |height, why| Fault { height, why };
        let records = match chain.records(Stretch { from: height, blocks, bytes: JOB_BYTES }) {
            Ok(records) if !records.is_empty() => records,
            Ok(_) => return Ok(part),
            Err(StoreError::Damaged(damage)) => {
                part.faults.push(fault(height, damage.to_string()));
                part.blocks += 1;
                part.ends.1 = None;
                height += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        for stored in records {
            let record = stored.record;
            let parent = record.entry.previous_hash;
            match part.ends.1 {
                Some(before) if before != parent => {
                    let why = "the block does not follow the one before it".to_owned();
                    part.faults.push(fault(height, why));
                }
                None if height == job.start => part.ends.0 = Some(parent),
                _ => {}
            }
            let sound = if signatures { record.check() } else { record.check_hashes() };
            if let Err(why) = sound {
                part.faults.push(fault(height, why.to_string()));
            }
            if with_ids {
                part.ids.extend(prefixes(&record));
            }
            part.ends.1 = Some(record.entry.hash);
            part.blocks += 1;
            part.transactions += record.entry.transaction_count;
            height += 1;
        }
    }
    Ok(part)
}

fn prefixes(record: &BlockRecord) -> impl Iterator<Item = u64> {
    record
        .transactions
        .iter()
        .map(|digests| digests.id.first_chunk().copied().map_or(0, u64::from_be_bytes))
}

/// Compares all ids. Two that begin alike are hardly ever there, so those are looked at once more.
fn name_repeated(
    chain: &dyn ChainStore,
    from: u64,
    end: u64,
    ids: Vec<u64>,
    checked: &mut Checked,
) -> Result<(), StoreError> {
    let (mut low, mut high): (Vec<u64>, Vec<u64>) = ids.into_iter().partition(|id| *id < 1 << 63);
    std::thread::scope(|scope| {
        scope.spawn(|| low.sort_unstable());
        high.sort_unstable();
    });
    let twice = |half: &[u64]| -> Vec<u64> {
        half.iter().zip(half.iter().skip(1)).filter(|(a, b)| a == b).map(|(a, _)| *a).collect()
    };
    let alike: Vec<u64> = [twice(&low), twice(&high)].concat();
    if alike.is_empty() {
        return Ok(());
    }
    let mut seen = std::collections::HashMap::new();
    let mut height = from;
    while height < end {
        let blocks = usize::try_from(end - height).unwrap_or(usize::MAX);
        let records = match chain.records(Stretch { from: height, blocks, bytes: JOB_BYTES }) {
            Ok(records) => records,
            Err(StoreError::Damaged(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        // A damaged one is named already.
        height += (records.len() as u64).max(1);
        for stored in records {
            let at = stored.record.entry.index;
            for (prefix, digests) in prefixes(&stored.record).zip(&stored.record.transactions) {
                if alike.binary_search(&prefix).is_ok()
                    && let Some(first) = seen.insert(digests.id, at)
                {
                    checked.fault(at, format!("a transaction has the id of one in block {first}"));
                }
            }
        }
    }
    Ok(())
}
