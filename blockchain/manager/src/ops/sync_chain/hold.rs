//! Which of the blocks that come in are final: the others are held back.
//!
//! A block is final once it, or a block above it, carries the pinned producer's signature, for a block's
//! hash covers all blocks before it. Any other is final when six blocks follow it, or when it was there
//! unchanged for an hour; but not behind a block that the producer signed, since it signs them all.
//!
//! Blocks are only given away in order, and only while each names the one before it as its parent.

use std::collections::VecDeque;

use lucid_core::block::Candidate;
use lucid_core::digest::BlockHash;
use lucid_core::sign::Producers;
use lucid_core::time::Timestamp;
use lucid_core::validate::{Context, Mode, validate};
use lucid_store::contract::chain::Tip;

use super::fetch::Fetched;
use super::{FINAL_AFTER_SECONDS, FINAL_DEPTH, SyncError};
use crate::ops::take_blocks::GivenBlock;
use crate::staging::{STAGED_BLOCKS_MAX, STAGED_BYTES_MAX, Staged, Staging};

/// A block that came in.
pub(super) struct HeldBlock {
    pub(super) height: u64,
    pub(super) candidate: Candidate,
    pub(super) first_seen: Timestamp,
    pub(super) is_staged: bool,
    bytes: usize,
}

impl HeldBlock {
    /// One that has just been fetched.
    pub(super) fn new(fetched: Fetched, now: Timestamp) -> Self {
        let Fetched { height, candidate, bytes } = fetched;
        Self { height, candidate, first_seen: now, is_staged: false, bytes }
    }

    /// One that was tentative before.
    pub(super) fn staged(staging: &Staging, staged: Staged) -> Result<Self, SyncError> {
        let Staged { height, first_seen, bytes, .. } = staged;
        let gone =
            || SyncError::Outrun(format!("the tentative block {height} was removed meanwhile"));
        let candidate = match staging.read(height)? {
            Some(candidate) => candidate,
            None => {
                staging.cut(height)?;
                return Err(gone());
            }
        };
        Ok(Self { height, candidate, first_seen, is_staged: true, bytes })
    }
}

/// Holds back what is not final, and gives away the rest.
pub(super) struct Hold<I> {
    source: I,
    producer: Producers,
    /// Whether the producer has signed a block already.
    signs: bool,
    now: Timestamp,
    /// The block that the next one must follow.
    last: Option<(u64, BlockHash)>,
    /// How many of the oldest are final.
    ready: usize,
    ended: bool,
    /// What is not final.
    pub(super) held: VecDeque<HeldBlock>,
    /// Why nothing more came.
    pub(super) failed: Option<SyncError>,
}

impl<I: Iterator<Item = Result<HeldBlock, SyncError>>> Hold<I> {
    /// Behind the newest block that is committed. `signs`: whether the producer has signed one.
    pub(super) fn new(
        source: I,
        producer: Producers,
        now: Timestamp,
        tip: Option<Tip>,
        signs: bool,
    ) -> Self {
        let last = tip.map(|tip| (tip.height, tip.hash));
        let (held, failed) = (VecDeque::new(), None);
        Self { source, producer, signs, now, last, ready: 0, ended: false, held, failed }
    }

    fn receive(&mut self, block: HeldBlock) {
        let (height, hash) = (block.height, block.candidate.hash());
        let (next, parent) =
            self.last.map_or((0, BlockHash::ZERO), |(height, hash)| (height + 1, hash));
        if height != next || block.candidate.previous_hash() != Some(parent) {
            let why = format!(
                "it does not follow block {}: the peer's chain changed while it was read, or has a gap",
                next.saturating_sub(1)
            );
            self.failed = Some(SyncError::Refused { height, why });
            self.ended = true;
            return;
        }
        // A block whose hash is not its own vouches for nothing below it. What is wrong with it the rules
        // say, when it is its turn.
        let own = hash.filter(|_| block.candidate.expected_hash() == hash);
        let signed = own.is_some() && self.is_signed(&block.candidate);
        self.held.push_back(block);
        let Some(hash) = own else {
            self.ended = true;
            return;
        };
        self.last = Some((height, hash));
        self.signs |= signed;
        self.ready = match (signed, self.signs) {
            (true, _) => self.held.len(),
            (false, true) => 0,
            (false, false) => {
                let since = self.now.plus_seconds(-FINAL_AFTER_SECONDS);
                let old = self.held.iter().take_while(|held| held.first_seen <= since).count();
                old.max(self.held.len().saturating_sub(FINAL_DEPTH))
            }
        };
        let waiting = self.held.iter().skip(self.ready);
        let bytes: usize = waiting.map(|held| held.bytes).sum();
        let count = self.held.len() - self.ready;
        if count >= STAGED_BLOCKS_MAX || bytes >= STAGED_BYTES_MAX {
            let height = height + 1 - count as u64;
            let why =
                format!("neither it nor the {count} blocks from it on are signed by the producer");
            self.failed = Some(SyncError::Refused { height, why });
            self.ended = true;
        }
    }

    /// Whether the block carries the pinned producer's signature. With nothing held back below it, that
    /// is for the rules to find out, once.
    fn is_signed(&self, candidate: &Candidate) -> bool {
        if !candidate.producer().is_some_and(|key| self.producer.have(&key)) {
            return false;
        }
        if self.held.is_empty() {
            return true;
        }
        let context = Context {
            parent: None,
            genesis: None,
            now: self.now,
            mode: Mode::Historical,
            chained: &|_| false,
            producer: self.producer,
        };
        validate(candidate.clone(), &context).coverage.producer_pinned
    }
}

impl<I: Iterator<Item = Result<HeldBlock, SyncError>>> Iterator for Hold<I> {
    type Item = std::io::Result<GivenBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.ready > 0 {
                self.ready -= 1;
                let held = self.held.pop_front()?;
                return Some(Ok(GivenBlock::Read(Box::new(held.candidate))));
            }
            if self.ended {
                return None;
            }
            match self.source.next() {
                Some(Ok(block)) => self.receive(block),
                Some(Err(error)) => {
                    self.failed = Some(error);
                    self.ended = true;
                }
                None => self.ended = true,
            }
        }
    }
}
