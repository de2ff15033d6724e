//! Blocks that a caller gives in a row, on their way to being judged.
//!
//! [`crate::ops::take_blocks`] stores them, [`crate::ops::validate_texts`] only judges them; here is what
//! both share: batches that keep one core busy for a while, and how a refusal is told.

use std::io;

use lucid_core::block::Candidate;
use lucid_core::digest::BlockHash;
use lucid_core::json::JsonFault;
use lucid_core::sign::Producers;
use lucid_core::validate::{Verdict, Weighed};

/// A batch ends when its texts have this many bytes together: some thousands of signatures, which are
/// verified the cheaper the more there are.
const BATCH_BYTES: usize = 1 << 20;
/// Or when it has so many blocks.
const BATCH_BLOCKS: usize = 2_048;

/// A block as it is given.
#[derive(Debug)]
pub enum GivenBlock {
    /// Its JSON.
    Text(Vec<u8>),
    /// Read already.
    Read(Box<Candidate>),
}

impl GivenBlock {
    /// Bytes of its text, or of the texts of its transactions.
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Read(read) => read.transactions().map(|one| one.text().len()).sum(),
        }
    }
}

/// What a chain must be, besides valid.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pins {
    /// Its block 0.
    pub genesis: Option<BlockHash>,
    /// Who signs its blocks.
    pub producer: Producers,
}

/// A block that was refused.
#[derive(Debug)]
pub struct RefusedBlock {
    /// Its place among those given, from 0.
    pub position: u64,
    /// The height it claims, where it claims one.
    pub index: Option<u64>,
    /// The hash it claims, where it claims one.
    pub hash: Option<BlockHash>,
    /// Why.
    pub why: WhyRefused,
}

/// Why a block was refused.
#[derive(Debug)]
pub enum WhyRefused {
    /// It is no JSON object.
    Unreadable(JsonFault),
    /// It breaks a rule, or is too early.
    Rules(Box<Verdict>),
    /// The chain has another block there.
    HeightTaken(BlockHash),
    /// What is stored of it is damaged, or contradicts itself.
    Damaged(String),
    /// It is not signed and follows a block that the pinned producer signed, and no signature of that producer
    /// came behind it.
    Unvouched,
}

impl RefusedBlock {
    /// One sentence: which block, and why.
    pub fn sentence(&self) -> String {
        let which = match (self.index, self.hash) {
            (Some(index), Some(hash)) => format!("block {index} ({hash})"),
            (Some(index), None) => format!("block {index}"),
            _ => "a block".to_owned(),
        };
        match &self.why {
            WhyRefused::Unreadable(fault) => format!("it holds no block: {fault}"),
            WhyRefused::HeightTaken(hash) => {
                format!("{which} is not of this chain, which has {hash} at that height")
            }
            WhyRefused::Rules(verdict) => format!("{which} breaks {}", broken(verdict)),
            WhyRefused::Damaged(why) => format!("{which} is damaged: {why}"),
            WhyRefused::Unvouched => format!(
                "{which} is not signed, and follows blocks of the pinned producer, who signs each: no block \
                 behind it that this producer signed vouches for it"
            ),
        }
    }
}

/// The rules that a block breaks, each with its details.
pub fn broken(verdict: &Verdict) -> String {
    let failed = verdict.results.iter().filter(|result| !result.passed);
    let rules =
        failed.map(|result| format!("{} {}", result.rule.name(), result.details.canonical()));
    rules.collect::<Vec<_>>().join(", ")
}

/// Blocks that one core weighs together.
pub struct BlockBatch {
    /// Bytes of their texts.
    pub bytes: u64,
    blocks: Vec<GivenBlock>,
}

impl BlockBatch {
    /// Takes the next batch. A source that breaks off ends the last one, and the error is kept.
    pub fn take(
        given: &mut impl Iterator<Item = io::Result<GivenBlock>>,
        broke_off: &mut Option<io::Error>,
    ) -> Option<Self> {
        let (mut bytes, mut blocks) = (0, Vec::new());
        while bytes < BATCH_BYTES && blocks.len() < BATCH_BLOCKS && broke_off.is_none() {
            match given.next() {
                None => break,
                Some(Ok(block)) => {
                    bytes += block.bytes();
                    blocks.push(block);
                }
                Some(Err(error)) => *broke_off = Some(error),
            }
        }
        (!blocks.is_empty()).then_some(Self { bytes: bytes as u64, blocks })
    }

    /// Reads and weighs the blocks, signatures of all of them together.
    pub fn weigh(self) -> Vec<Result<Weighed, JsonFault>> {
        let mut candidates = Vec::with_capacity(self.blocks.len());
        let read: Vec<Result<(), JsonFault>> = self
            .blocks
            .into_iter()
            .map(|block| {
                candidates.push(match block {
                    GivenBlock::Text(text) => Candidate::parse(&text)?,
                    GivenBlock::Read(candidate) => *candidate,
                });
                Ok(())
            })
            .collect();
        let mut weighed = Weighed::of_all(candidates).into_iter();
        read.into_iter().filter_map(|read| read.map(|()| weighed.next()).transpose()).collect()
    }
}
