//! Judges blocks in a row that no store has: a file of them, or a stream.
//!
//! Each is judged as history behind the one before it as that claims to be, so one fault is named once
//! and not again for everything that follows. What such a file cannot show is said under `not_checked`:
//! that nothing was cut off its end, and who is behind it.

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use lucid_core::block::Parent;
use lucid_core::digest::{BlockHash, LogHash};
use lucid_core::json::JsonFault;
use lucid_core::time::Timestamp;
use lucid_core::transaction::IdDigest;
use lucid_core::tree::{Frontier, Sha256Tree};
use lucid_core::validate::{Context, Coverage, Mode, Weighed, validate_weighed};
use lucid_core::words::many_do;
use lucid_store::contract::chain::Tip;

use crate::given::{BlockBatch, GivenBlock, Pins, RefusedBlock, WhyRefused};
use crate::in_order::{cores, in_order};
use crate::seen_ids::SeenIds;

/// So many refused blocks are kept with all they say; the rest is counted.
pub const REFUSED_MAX: usize = 100;

/// What is to be judged, and by what.
#[derive(Debug, Clone, Default)]
pub struct ValidationRequest {
    /// What the chain must be.
    pub pins: Pins,
    /// Blocks below this height are passed over; the first one's parent is then believed.
    pub from: Option<u64>,
    /// Blocks above this height are not looked at.
    pub to: Option<u64>,
    /// The hash of the newest block, from a source that is trusted.
    pub expected_tip: Option<BlockHash>,
    /// Whether every block's RFC 9162 root is computed, and the root over all entries.
    pub log_root: bool,
}

/// What judging a row of blocks found.
#[derive(Debug, Default)]
pub struct ChainReport {
    /// Blocks that were judged.
    pub blocks: u64,
    /// Their transactions.
    pub transactions: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Transaction signatures that verified.
    pub transaction_signatures: u64,
    /// Blocks that their producer's signature vouches for.
    pub signed_blocks: u64,
    /// Blocks of which only the record was judged.
    pub records_only: u64,
    /// The height of the first one.
    pub first: Option<u64>,
    /// The last one, as it claims to be.
    pub last: Option<Tip>,
    /// Heights at which a block should be and none is.
    pub missing: Vec<u64>,
    /// The first blocks that were refused.
    pub refused: Vec<RefusedBlock>,
    /// How many were refused.
    pub refused_count: u64,
    /// That the end is not the expected one.
    pub wrong_end: Option<String>,
    /// The RFC 9162 root over the blocks' entries, if it was asked for and all have one.
    pub log_root: Option<LogHash>,
    /// What all this does not say.
    pub not_checked: Vec<String>,
}

impl ChainReport {
    /// Whether nothing is wrong.
    pub fn is_valid(&self) -> bool {
        self.refused_count == 0 && self.missing.is_empty() && self.wrong_end.is_none()
    }

    pub(super) fn refuse(&mut self, refused: RefusedBlock) {
        self.refused_count += 1;
        if self.refused.len() < REFUSED_MAX {
            self.refused.push(refused);
        }
    }

    pub(super) fn count(&mut self, coverage: &Coverage) {
        self.blocks += 1;
        self.transactions += coverage.transactions as u64;
        self.transaction_signatures += coverage.transaction_signatures as u64;
        self.signed_blocks += u64::from(coverage.block_signature);
    }

    /// Says what follows from the numbers.
    pub(super) fn conclude(&mut self, asked: &ValidationRequest) {
        let unsigned = self.blocks.saturating_sub(self.signed_blocks);
        let mut say = |sentence: String| self.not_checked.push(sentence);
        if unsigned > 0 {
            say(format!(
                "who made the {} no producer's signature",
                many_do(unsigned, "block", "that carries", "that carry")
            ));
        }
        if self.signed_blocks > 0 && !asked.pins.producer.are_pinned() {
            say("whose keys signed the blocks: name the producer's to have it checked".into());
        }
        if self.first == Some(0) && asked.pins.genesis.is_none() {
            say("which chain this is: name the genesis' hash to have it checked".into());
        }
        let Some(last) = self.last else { return };
        match asked.expected_tip {
            Some(expected) if expected != last.hash => {
                self.wrong_end = Some(format!(
                    "the last block is {} ({}), and {expected} was expected: the end is missing, \
                     or this is another chain",
                    last.height, last.hash
                ));
            }
            Some(_) => {}
            None => say(format!(
                "whether blocks followed block {}: name the newest one's hash to have it checked",
                last.height
            )),
        }
    }
}

/// Judges what is given, to its end. `progress` hears of every batch. `folder` is where ids go that
/// memory has no room for.
pub fn validate_texts(
    now: Timestamp,
    asked: &ValidationRequest,
    folder: PathBuf,
    mut given: impl Iterator<Item = io::Result<GivenBlock>>,
    mut progress: impl FnMut(&ChainReport),
) -> io::Result<ChainReport> {
    let mut judging = TextJudging {
        now,
        asked,
        report: ChainReport::default(),
        last: None,
        seen: SeenIds::new(folder),
        position: 0,
        bare: 0,
        log: asked.log_root.then(Frontier::new),
    };
    let (mut broke_off, mut result) = (None, Ok(ControlFlow::Continue(())));
    in_order(
        cores(),
        || BlockBatch::take(&mut given, &mut broke_off),
        |batch| {
            let bytes = batch.bytes;
            let mut weighed = batch.weigh();
            if asked.log_root {
                // Computed here, on every core, and found again when the entry is asked for.
                weighed = weighed.into_iter().map(|w| w.map(Weighed::with_entry)).collect();
            }
            (bytes, weighed)
        },
        |(bytes, weighed)| {
            judging.report.bytes += bytes;
            result = weighed.into_iter().try_fold(ControlFlow::Continue(()), |so_far, weighed| {
                if so_far.is_break() { Ok(so_far) } else { judging.take(weighed) }
            });
            progress(&judging.report);
            match result {
                Ok(so_far) => so_far,
                Err(_) => ControlFlow::Break(()),
            }
        },
    );
    let _: ControlFlow<()> = result?;
    broke_off.map_or(Ok(()), Err)?;
    Ok(judging.finish())
}

struct TextJudging<'a> {
    now: Timestamp,
    asked: &'a ValidationRequest,
    report: ChainReport,
    last: Option<Parent>,
    seen: SeenIds,
    position: u64,
    bare: u64,
    log: Option<Frontier<Sha256Tree>>,
}

impl TextJudging<'_> {
    fn take(&mut self, weighed: Result<Weighed, JsonFault>) -> io::Result<ControlFlow<()>> {
        let position = self.position;
        self.position += 1;
        let mut weighed = match weighed {
            Ok(weighed) => weighed,
            Err(fault) => {
                self.last = None;
                self.report.blocks += 1;
                let why = WhyRefused::Unreadable(fault);
                self.report.refuse(RefusedBlock { position, index: None, hash: None, why });
                return Ok(ControlFlow::Continue(()));
            }
        };
        let (index, hash) = (weighed.candidate().index(), weighed.candidate().hash());
        if self.asked.to.is_some_and(|to| index.is_some_and(|index| index > to)) {
            return Ok(ControlFlow::Break(()));
        }
        let claims = weighed.candidate().as_parent();
        let ids: Vec<IdDigest> = weighed.ids().copied().collect();
        if self.asked.from.is_some_and(|from| index.is_some_and(|index| index < from)) {
            self.last = claims;
            self.seen.extend(&ids)?;
            return Ok(ControlFlow::Continue(()));
        }
        let parent = self.last.or_else(|| self.believed(&weighed));
        if let Some(log) = &mut self.log {
            match weighed.entry() {
                Some(entry) => log.append(*entry.leaf_hash().as_bytes()),
                None => self.log = None,
            }
        }
        let failed = RefCell::new(None);
        let chained = |id: &IdDigest| match self.seen.contains(id) {
            Ok(seen) => seen,
            Err(error) => {
                failed.borrow_mut().get_or_insert(error);
                false
            }
        };
        let context = Context {
            parent,
            genesis: self.asked.pins.genesis,
            now: self.now,
            mode: Mode::Historical,
            chained: &chained,
            producer: self.asked.pins.producer,
        };
        let verdict = validate_weighed(weighed, &context);
        failed.into_inner().map_or(Ok(()), Err)?;
        self.report.count(&verdict.coverage);
        self.bare += verdict.coverage.bare_signatures as u64;
        self.report.first = self.report.first.or(index);
        if let Some((height, hash)) = index.zip(hash) {
            self.report.last = Some(Tip { height, hash });
        }
        if !verdict.valid {
            let why = WhyRefused::Rules(Box::new(verdict));
            self.report.refuse(RefusedBlock { position, index, hash, why });
        }
        self.seen.extend(&ids)?;
        self.last = claims;
        Ok(ControlFlow::Continue(()))
    }

    /// The parent of the first block that is judged, where the caller begins there on purpose.
    fn believed(&mut self, weighed: &Weighed) -> Option<Parent> {
        let index = weighed.candidate().index()?;
        if self.asked.from != Some(index) || self.report.blocks > 0 {
            return None;
        }
        let below = index.checked_sub(1)?;
        self.report.not_checked.push(format!(
            "whether block {index} follows block {below}, and whether ids of earlier blocks come again"
        ));
        let hash = weighed.candidate().previous_hash()?;
        Some(Parent { index: below, hash, time: Timestamp::from_micros(i64::MIN) })
    }

    fn finish(mut self) -> ChainReport {
        if self.bare > 0 {
            self.report.not_checked.push(format!(
                "{} a signature but no public_key to check it with",
                many_do(self.bare, "transaction", "has", "have")
            ));
        }
        self.report.log_root = self.log.map(|log| LogHash::new(log.root()));
        self.report.conclude(self.asked);
        self.report
    }
}
