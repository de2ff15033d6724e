//! Judges blocks that are stored, a range or all of them.
//!
//! Called by the route that validates the chain, by `lucid chain validate` and by `lucid verify --all`.
//! Bodies are read, weighed and looked up on all cores and judged in order, as history. Of a pruned
//! block, and where only records are asked for, the record is judged: its own parts, and that it follows
//! the one before. What cannot be read because it is damaged is a finding; what cannot be read at all is
//! an error, and never a verdict.
//!
//! A whole chain in which nothing is wrong is judged from its files alone ([`validate_scan`]): looking up
//! every id costs several times as much as all the rest.
//!
//! In one file because one pass reads, judges and reports, and its parts are of no use on their own.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::path::PathBuf;

use lucid_core::block::{Block, Candidate, Parent};
use lucid_core::digest::BlockHash;
use lucid_core::limits::BLOCK_TIME_TOLERANCE_SECONDS;
use lucid_core::record::{BlockRecord, Head, RecordFault, decode_body};
use lucid_core::sign::{self, PublicKey};
use lucid_core::time::Timestamp;
use lucid_core::transaction::IdDigest;
use lucid_core::validate::{Context, Coverage, Mode, Weighed, validate_weighed};
use lucid_core::words::many_do;
use lucid_store::StoreError;
use lucid_store::contract::chain::{
    Body, ChainStore, StoredRecord, Stretch, Tip, TransactionPlace,
};
use lucid_store::files::chain::scan::{ChainScan, Raw, Unsound};

use super::validate_block::parent_at;
use super::validate_texts::{ChainReport, ValidationRequest};
use crate::given::{Pins, RefusedBlock, WhyRefused};
use crate::in_order::{cores, in_order};
use crate::seen_ids::SeenIds;

/// Bytes of transactions that one core has under way, unless one block has more.
const BATCH_BYTES: u64 = 1 << 20;
/// Blocks that one core has under way.
const BATCH_BLOCKS: usize = 512;
/// Bytes of bodies that one core has under way of a chain that is read from its files.
const SCANNED_BYTES: usize = 1 << 20;
/// Records that are read in one pass.
const RECORDS_BYTES: usize = 4 << 20;

/// Judges the stored blocks from `asked.from` to `asked.to`, or only their records. `progress` hears of
/// every batch; if it breaks, judging ends and says so.
pub fn validate_chain(
    chain: &dyn ChainStore,
    now: Timestamp,
    asked: &ValidationRequest,
    records_only: bool,
    mut progress: impl FnMut(&ChainReport) -> ControlFlow<()>,
) -> Result<ChainReport, StoreError> {
    let Some(tip) = chain.tip()? else {
        return Ok(ChainReport {
            not_checked: vec!["anything: the chain has no blocks".to_owned()],
            wrong_end: asked
                .expected_tip
                .map(|expected| format!("the chain has no blocks, and {expected} was expected")),
            ..ChainReport::default()
        });
    };
    let from = asked.from.unwrap_or(0);
    let to = asked.to.unwrap_or(tip.height).min(tip.height);
    let mut judging = ChainJudging {
        known: &|height| parent_at(chain, height),
        now,
        asked,
        genesis: unless_damaged(chain.record(0))?.map(|stored| stored.record.entry.hash),
        report: ChainReport::default(),
        last: match from.checked_sub(1) {
            Some(below) if from <= to => unless_damaged(parent_at(chain, below))?,
            _ => None,
        },
        bare: 0,
    };
    let mut batches = Batches { chain, next: from, to, records_only, read: VecDeque::new() };
    let mut ended = Ok(ControlFlow::Continue(()));
    in_order(
        cores(),
        || batches.next(),
        |batch| batch.read(chain),
        |found| {
            ended = found.and_then(|found| {
                found.into_iter().try_for_each(|(height, found)| judging.take(height, found))?;
                Ok(progress(&judging.report))
            });
            match ended {
                Ok(so_far) => so_far,
                Err(_) => ControlFlow::Break(()),
            }
        },
    );
    let broke_off = ended?.is_break();
    Ok(judging.finish(records_only, broke_off))
}

/// Judges a whole chain at the pace of its files. An answer is only given where everything is in order, and
/// then it is the one of [`validate_chain`]; of every other chain that one says what is wrong. Ids go to
/// `folder` that memory has no room for.
pub fn validate_scan(
    mut scan: ChainScan,
    now: Timestamp,
    asked: &ValidationRequest,
    folder: PathBuf,
    mut progress: impl FnMut(&ChainReport),
) -> Option<ChainReport> {
    let whole = asked.from.unwrap_or(0) == 0 && asked.to.is_none_or(|to| to >= scan.tip().height);
    if !whole || asked.log_root {
        return None;
    }
    let mut judging = ChainJudging {
        known: &|_| Ok(None),
        now,
        asked,
        genesis: None,
        report: ChainReport::default(),
        last: None,
        bare: 0,
    };
    let mut seen = SeenIds::new(folder);
    let (mut read_all, mut is_sound) = (false, true);
    in_order(
        cores(),
        || match scan.next(BATCH_BLOCKS, SCANNED_BYTES) {
            Ok(Some(raw)) => Some(raw),
            Ok(None) => {
                read_all = true;
                None
            }
            Err(Unsound) => None,
        },
        |raw| weigh(&raw),
        |weighed| {
            let judged = weighed.and_then(|weighed| {
                weighed.into_iter().try_for_each(|weighed| judging.take_new(weighed, &mut seen))
            });
            is_sound = judged.is_ok();
            progress(&judging.report);
            if is_sound { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
    );
    let report = (read_all && is_sound).then(|| judging.finish(false, false));
    report.filter(ChainReport::is_valid)
}

/// Reads and weighs the blocks of a batch. Each record has to be the very one that storing the block writes,
/// so what it says is not read a second time.
fn weigh(raw: &Raw) -> Result<Vec<Weighed>, Unsound> {
    let joined = |head: Head, record, body: &[u8]| {
        let transactions = decode_body(body).map_err(|_| Unsound)?;
        Ok((record, Candidate::from(head.with_body(transactions))))
    };
    let (records, candidates): (Vec<&[u8]>, Vec<_>) = raw.open(joined)?.into_iter().unzip();
    let mut weighed = Weighed::of_all(candidates);
    for (weighed, record) in weighed.iter_mut().zip(records) {
        if weighed.record_bytes().as_deref() != Some(record) {
            return Err(Unsound);
        }
    }
    Ok(weighed)
}

/// Damage is a finding, at its place; here it only means that there is nothing to go by.
fn unless_damaged<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Damaged(_)) => Ok(None),
        read => read,
    }
}

/// What one core does next.
enum ValidationTask {
    /// Reads these blocks' bodies.
    Bodies(Vec<StoredRecord>),
    /// Reads so many records from a height on.
    Records { from: u64, to: u64 },
    /// Nothing: this is what came of reading the record.
    Lost(u64, StoreError),
}

/// What there is of a block.
enum BlockState {
    /// All of it, and those of its ids that have another place in the chain.
    Whole { weighed: Box<Weighed>, elsewhere: HashMap<IdDigest, TransactionPlace> },
    /// Its record, and whether that is sound.
    Record { head: Box<RecordSummary>, fault: Option<String> },
    /// Nothing that can be used.
    Damaged(String),
    /// Nothing.
    Missing,
}

/// What judging a record needs of it.
struct RecordSummary {
    index: u64,
    hash: BlockHash,
    previous_hash: BlockHash,
    parent: Option<Parent>,
    producer: Option<PublicKey>,
    transactions: usize,
    bytes: u64,
}

impl RecordSummary {
    fn of(stored: &StoredRecord) -> Self {
        let StoredRecord { record, size_bytes, .. } = stored;
        let entry = &record.entry;
        let as_parent = |time| Parent { index: entry.index, hash: entry.hash, time };
        Self {
            index: entry.index,
            hash: entry.hash,
            previous_hash: entry.previous_hash,
            parent: entry.time().ok().map(as_parent),
            producer: record.producer,
            transactions: record.transactions.len(),
            bytes: *size_bytes,
        }
    }
}

/// Judges records on their own, and their signatures in one batch.
fn judged_records(records: &[StoredRecord]) -> Vec<BlockState> {
    let mut faults: Vec<Option<RecordFault>> =
        records.iter().map(|stored| stored.record.check_hashes().err()).collect();
    let unsigned = RecordFault::Differs { what: "the producer's signature" };
    let (mut batch, mut signed) = (sign::SignatureBatch::default(), Vec::new());
    for (stored, fault) in records.iter().zip(&mut faults) {
        match (&stored.record.producer, &stored.record.signature) {
            (None, None) => {}
            (Some(producer), Some(signature)) => {
                batch.add(producer, &stored.record.entry.signing_message(), signature);
                signed.push(fault);
            }
            _ => *fault = fault.take().or_else(|| Some(unsigned.clone())),
        }
    }
    for (fault, holds) in signed.into_iter().zip(batch.verify()) {
        if !holds {
            *fault = fault.take().or_else(|| Some(unsigned.clone()));
        }
    }
    let judged = |(stored, fault): (&StoredRecord, Option<RecordFault>)| BlockState::Record {
        head: Box::new(RecordSummary::of(stored)),
        fault: fault.map(|fault| fault.to_string()),
    };
    records.iter().zip(faults).map(judged).collect()
}

/// Divides the chain into batches.
struct Batches<'a> {
    chain: &'a dyn ChainStore,
    next: u64,
    to: u64,
    records_only: bool,
    read: VecDeque<StoredRecord>,
}

impl Batches<'_> {
    fn next(&mut self) -> Option<ValidationTask> {
        if self.next > self.to {
            return None;
        }
        let from = self.next;
        let blocks = usize::try_from(self.to - from + 1).unwrap_or(usize::MAX).min(BATCH_BLOCKS);
        if self.records_only {
            self.next += blocks as u64;
            return Some(ValidationTask::Records { from, to: self.next - 1 });
        }
        if self.read.is_empty() {
            let stretch = Stretch { from, blocks, bytes: RECORDS_BYTES };
            match self.chain.records(stretch) {
                // Below the tip every height has a block: the task that reads this one alone says what is wrong.
                Ok(records) if records.is_empty() => {
                    self.next += 1;
                    return Some(ValidationTask::Records { from, to: from });
                }
                Ok(records) => self.read.extend(records),
                Err(error) => {
                    self.next += 1;
                    return Some(ValidationTask::Lost(from, error));
                }
            }
        }
        let (mut bytes, mut records) = (0, Vec::new());
        while let Some(record) = self
            .read
            .pop_front_if(|next| records.is_empty() || bytes + next.size_bytes <= BATCH_BYTES)
        {
            bytes += record.size_bytes;
            records.push(record);
        }
        self.next += records.len() as u64;
        Some(ValidationTask::Bodies(records))
    }
}

impl ValidationTask {
    fn read(self, chain: &dyn ChainStore) -> Result<Vec<(u64, BlockState)>, StoreError> {
        match self {
            Self::Bodies(records) => read_bodies(chain, records),
            Self::Records { from, to } => read_records(chain, from, to),
            Self::Lost(height, StoreError::Damaged(damage)) => {
                Ok(vec![(height, BlockState::Damaged(damage.to_string()))])
            }
            Self::Lost(_, error) => Err(error),
        }
    }
}

fn read_records(
    chain: &dyn ChainStore,
    from: u64,
    to: u64,
) -> Result<Vec<(u64, BlockState)>, StoreError> {
    let (mut next, mut found) = (from, Vec::new());
    while next <= to {
        let blocks = usize::try_from(to - next + 1).unwrap_or(usize::MAX);
        match chain.records(Stretch { from: next, blocks, bytes: RECORDS_BYTES }) {
            Ok(records) if records.is_empty() => {
                found.push((next, BlockState::Missing));
                next += 1;
            }
            Ok(records) => {
                found.extend((next..).zip(judged_records(&records)));
                next += records.len() as u64;
            }
            Err(StoreError::Damaged(damage)) => {
                found.push((next, BlockState::Damaged(damage.to_string())));
                next += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn read_bodies(
    chain: &dyn ChainStore,
    records: Vec<StoredRecord>,
) -> Result<Vec<(u64, BlockState)>, StoreError> {
    let Some(first) = records.first().map(|stored| stored.record.entry.index) else {
        return Ok(Vec::new());
    };
    let mut bodies = VecDeque::new();
    let (mut found, mut candidates, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (height, stored) in (first..).zip(&records) {
        if bodies.is_empty() {
            let stretch = Stretch { from: height, blocks: BATCH_BLOCKS, bytes: RECORDS_BYTES };
            match chain.body_bytes(stretch) {
                Ok(read) => bodies.extend(read),
                Err(StoreError::Damaged(damage)) => {
                    found.push((height, BlockState::Damaged(damage.to_string())));
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        match bodies.pop_front() {
            None => found.push((height, BlockState::Missing)),
            Some(Body::Pruned) => {
                let judged = judged_records(std::slice::from_ref(stored));
                found.extend(judged.into_iter().map(|judged| (height, judged)));
            }
            Some(Body::Here(bytes)) => match joined(&stored.record, &bytes) {
                Err(why) => found.push((height, BlockState::Damaged(why))),
                Ok(candidate) => {
                    whole.push((found.len(), stored));
                    found.push((height, BlockState::Missing));
                    candidates.push(candidate);
                }
            },
        }
    }
    for ((at, stored), mut weighed) in whole.into_iter().zip(Weighed::of_all(candidates)) {
        let Some((height, found)) = found.get_mut(at) else { continue };
        *found = match weighed.check_record(&stored.record) {
            Err(fault) => BlockState::Damaged(fault.to_string()),
            Ok(()) => {
                let elsewhere = elsewhere(chain, *height, &weighed)?;
                BlockState::Whole { weighed: Box::new(weighed), elsewhere }
            }
        };
    }
    Ok(found)
}

/// The block of a record and a body, if they are each other's. The record is judged by the block, once that
/// is weighed ([`Weighed::check_record`]).
fn joined(record: &BlockRecord, body: &[u8]) -> Result<Candidate, String> {
    let block = decode_body(body).and_then(|body| Block::from_parts(record, body));
    block.map(Candidate::from).map_err(|fault| fault.to_string())
}

/// Ids of a block that the chain knows at another place: an id stands once in a chain, so the index
/// that names another place than this one has met it twice.
fn elsewhere(
    chain: &dyn ChainStore,
    height: u64,
    weighed: &Weighed,
) -> Result<HashMap<IdDigest, TransactionPlace>, StoreError> {
    let mut found = HashMap::new();
    for id in weighed.ids() {
        if let Some(place) = chain.find(id)?
            && place.height != height
        {
            found.insert(*id, place);
        }
    }
    Ok(found)
}

struct ChainJudging<'a> {
    /// The parent that a block is, as the chain's index knows it.
    known: &'a dyn Fn(u64) -> Result<Option<Parent>, StoreError>,
    now: Timestamp,
    asked: &'a ValidationRequest,
    genesis: Option<BlockHash>,
    report: ChainReport,
    last: Option<Parent>,
    bare: u64,
}

impl ChainJudging<'_> {
    fn take(&mut self, height: u64, found: BlockState) -> Result<(), StoreError> {
        self.report.first = self.report.first.or(Some(height));
        match found {
            BlockState::Missing => {
                self.last = None;
                self.report.missing.push(height);
            }
            BlockState::Damaged(why) => {
                // What follows is judged behind what the chain's index knows of this one.
                self.last = unless_damaged((self.known)(height))?;
                self.report.blocks += 1;
                self.refuse(height, None, WhyRefused::Damaged(why));
            }
            BlockState::Record { head, fault } => self.take_record(height, *head, fault),
            BlockState::Whole { weighed, elsewhere } => {
                self.take_whole(height, *weighed, &elsewhere)
            }
        }
        Ok(())
    }

    /// Takes the next block of a chain in which everything is as it should be so far, or says that it is not.
    fn take_new(&mut self, weighed: Weighed, seen: &mut SeenIds) -> Result<(), Unsound> {
        let height = self.report.blocks;
        self.report.first = Some(0);
        for id in weighed.ids() {
            // One that is met twice, or cannot be looked for, is for the index to judge.
            if !seen.insert(id).map_err(|_| Unsound)? {
                return Err(Unsound);
            }
        }
        if height == 0 {
            self.genesis = weighed.candidate().hash();
        }
        self.take_whole(height, weighed, &HashMap::new());
        if self.report.refused_count == 0 { Ok(()) } else { Err(Unsound) }
    }

    fn take_whole(
        &mut self,
        height: u64,
        weighed: Weighed,
        elsewhere: &HashMap<IdDigest, TransactionPlace>,
    ) {
        let claims = weighed.candidate().as_parent();
        let hash = weighed.candidate().hash();
        let context = Context {
            parent: self.last,
            genesis: self.asked.pins.genesis.or(self.genesis),
            now: self.now,
            mode: Mode::Historical,
            chained: &|id| elsewhere.contains_key(id),
            producer: self.asked.pins.producer,
        };
        let verdict = validate_weighed(weighed, &context);
        self.report.count(&verdict.coverage);
        self.report.bytes += verdict.coverage.bytes as u64;
        self.bare += verdict.coverage.bare_signatures as u64;
        if !verdict.valid {
            self.refuse(height, hash, WhyRefused::Rules(Box::new(verdict)));
        }
        self.last = claims;
    }

    fn take_record(&mut self, height: u64, record: RecordSummary, fault: Option<String>) {
        let follows = match self.last {
            Some(parent) => {
                record.previous_hash == parent.hash
                    && record.parent.is_none_or(|own| own.time >= parent.time)
            }
            None => height == 0 && record.previous_hash == BlockHash::ZERO,
        };
        let fault = fault.or_else(|| match (record.index == height, follows) {
            (false, _) => Some(format!("it says that it is block {}", record.index)),
            (_, false) => Some("it does not follow the block before it".to_owned()),
            _ => self.astray(height, &record).map(str::to_owned),
        });
        let coverage = Coverage {
            transactions: record.transactions,
            block_signature: record.producer.is_some(),
            ..Coverage::default()
        };
        self.report.count(&coverage);
        self.report.records_only += 1;
        self.report.bytes += record.bytes;
        if let Some(fault) = fault {
            self.refuse(height, Some(record.hash), WhyRefused::Damaged(fault));
        }
        self.last = record.parent;
    }

    /// Why a record that is sound in itself does not belong to the chain that was asked for.
    fn astray(&self, height: u64, record: &RecordSummary) -> Option<&'static str> {
        let Pins { genesis, producer } = self.asked.pins;
        let edge = self.now.plus_seconds(BLOCK_TIME_TOLERANCE_SECONDS);
        let is_another = genesis.or(self.genesis).is_some_and(|genesis| genesis != record.hash);
        if height == 0 && is_another {
            return Some("the chain has another genesis than the one that was named");
        }
        if producer.are_pinned() && record.producer.is_some_and(|key| !producer.have(&key)) {
            return Some("it is signed by another than the pinned producer");
        }
        let is_ahead = record.parent.is_some_and(|own| own.time >= edge);
        is_ahead.then_some("it is an hour or more ahead of the clock")
    }

    fn refuse(&mut self, height: u64, hash: Option<BlockHash>, why: WhyRefused) {
        self.report.refuse(RefusedBlock { position: height, index: Some(height), hash, why });
    }

    fn finish(mut self, records_only: bool, broke_off: bool) -> ChainReport {
        if self.bare > 0 {
            self.report.not_checked.push(format!(
                "{} a signature but no public_key to check it with",
                many_do(self.bare, "transaction", "has", "have")
            ));
        }
        match self.report.records_only {
            0 => {}
            _ if records_only => self.report.not_checked.push(
                "the transactions: only what is kept of them in the records, and not whether an id \
                 stands twice"
                    .to_owned(),
            ),
            count => self.report.not_checked.push(format!(
                "the transactions of {count} pruned blocks: only what is kept of them"
            )),
        }
        if broke_off {
            self.report.not_checked.push("what was left when validating was ended".to_owned());
        }
        self.report.last = self.last.map(|last| Tip { height: last.index, hash: last.hash });
        self.report.conclude(self.asked);
        self.report
    }
}
