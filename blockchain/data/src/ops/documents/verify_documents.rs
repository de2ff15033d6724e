//! Checks documents against the records of a chain: that each is in it just as it says. That a query left none
//! out cannot be checked so.

use lucid_core::block::{Candidate, Parent};
use lucid_core::digest::BlockHash;
use lucid_core::record::Head;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;

use super::get_document::FoundDocument;
use super::heads::{Before, judge_head};
use super::query_chain::body;
use super::sync_documents::ChainPins;
use crate::chain::{Chain, ChainError};
use crate::document::{Document, DocumentKind, Source, pruned_text};

/// Heads that are asked for at once.
const HEADS: u32 = 1_000;

/// Why a chain is nothing to check documents against.
#[derive(Debug, thiserror::Error)]
pub enum CheckedChainError {
    /// It gave nothing that can be used.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It has a block that does not belong there.
    #[error("block {height} of the chain is refused: {why}")]
    Refused {
        /// Its height.
        height: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// A chain whose heads were read from the first to the last, and follow each other. It takes 32 bytes of memory a
/// block.
pub struct CheckedChain<'a> {
    chain: &'a dyn Chain,
    hashes: Vec<BlockHash>,
    /// The transactions that were looked at last.
    last: Option<(Head, Vec<Transaction>)>,
}

impl<'a> CheckedChain<'a> {
    /// Reads the heads of a chain. `progress` is told how many of how many are read.
    pub fn read(
        chain: &'a dyn Chain,
        pins: &ChainPins,
        now: Timestamp,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Self, CheckedChainError> {
        let end = chain.height()?.map_or(0, |height| height.saturating_add(1));
        let (mut hashes, mut before) = (Vec::new(), Before::default());
        while (hashes.len() as u64) < end {
            let from = hashes.len() as u64;
            let heads = chain.heads(from, HEADS)?;
            if heads.is_empty() {
                let why =
                    format!("it has {end} blocks, and does not give the head of block {from}");
                return Err(ChainError::Unreadable(why).into());
            }
            for head in heads {
                let height = hashes.len() as u64;
                let judged = judge_head(&head, &before, pins, now);
                let parent: Parent =
                    judged.map_err(|why| CheckedChainError::Refused { height, why })?;
                let is_signed = before.is_signed || head.signature.is_some();
                before = Before { parent: Some(parent), is_signed };
                hashes.push(parent.hash);
            }
            progress(hashes.len() as u64, end);
        }
        // Blocks from before its producer began to sign are vouched for by those that follow.
        if let Some(last) = end.checked_sub(1)
            && pins.producer.are_pinned()
            && !before.is_signed
        {
            let why = "no block up to it is signed by the producer that is pinned".to_owned();
            return Err(CheckedChainError::Refused { height: last, why });
        }
        Ok(Self { chain, hashes, last: None })
    }

    /// How many blocks it has.
    pub fn blocks(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Its first block.
    pub fn genesis(&self) -> Option<BlockHash> {
        self.hashes.first().copied()
    }

    /// A document as the chain bears it out: by its text, and the time of its block where that has none. `Err` within
    /// says why the chain does not.
    pub fn check(
        &mut self,
        found: &FoundDocument,
        now: Timestamp,
    ) -> Result<Result<FoundDocument, String>, ChainError> {
        if found.source != Source::Synchronised {
            return Ok(Err("a client submitted it, and nobody vouches for it".into()));
        }
        let Some(height) = found.block_index else {
            return Ok(Err("it is in no block".into()));
        };
        let place = usize::try_from(height).ok().and_then(|at| self.hashes.get(at)).copied();
        let Some(hash) = place else {
            return Ok(Err(format!("the chain has no block {height}")));
        };
        let checked = match found.kind {
            DocumentKind::Block => self.check_block(found, height, hash, now)?,
            DocumentKind::Transaction => self.check_transaction(found, height, hash, now)?,
            DocumentKind::Session => Err("a chain has no sessions".into()),
        };
        Ok(match checked {
            Err(why) => Err(why),
            Ok(head) => head.entry.time().map_err(|fault| fault.to_string()).and_then(|time| {
                let what = (found.kind, found.source);
                FoundDocument::of_text(what, &found.text, (time, time), Some(height))
                    .map_err(|fault| fault.to_string())
            }),
        })
    }

    /// A block is the chain's if the chain's head and the transactions that it has make up its text, and its
    /// hash and root cover them. Without transactions it is, if the chain has none of it either.
    fn check_block(
        &self,
        found: &FoundDocument,
        height: u64,
        hash: BlockHash,
        now: Timestamp,
    ) -> Result<Result<Head, String>, ChainError> {
        let head = self.head(height, hash)?;
        let said = Candidate::parse(found.text.as_bytes()).ok().and_then(Candidate::into_block);
        let (is_pruned, text) = match said {
            None => (true, pruned_text(&head)),
            Some(block) => (false, head.clone().with_body(block.transactions).to_json_text()),
        };
        if text != found.text {
            return Ok(Err(format!("block {height} of the chain, {hash}, says something else")));
        }
        if is_pruned {
            return Ok(match body(self.chain, height)? {
                None => Ok(head),
                Some(_) => Err(format!("block {height} of the chain has its transactions")),
            });
        }
        let read = Document::read(DocumentKind::Block, &text, now);
        Ok(read.map(|_| head).map_err(|fault| fault.to_string()))
    }

    /// The head of a block that was read before.
    fn head(&self, height: u64, hash: BlockHash) -> Result<Head, ChainError> {
        let head = self.chain.heads(height, 1)?.into_iter().next();
        let head =
            head.filter(|head| head.entry.hash == hash && head.entry.computed_hash() == hash);
        head.ok_or_else(|| {
            ChainError::Unreadable(format!("it gives another head of block {height} than before"))
        })
    }

    fn check_transaction(
        &mut self,
        found: &FoundDocument,
        height: u64,
        hash: BlockHash,
        now: Timestamp,
    ) -> Result<Result<Head, String>, ChainError> {
        let at_hand = self.last.take().filter(|(head, _)| head.entry.index == height);
        let (head, transactions) = match at_hand {
            Some(at_hand) => at_hand,
            None => match self.transactions(height, hash, now)? {
                Ok(read) => read,
                Err(why) => return Ok(Err(why)),
            },
        };
        let is_there = transactions.iter().any(|transaction| transaction.text() == found.text);
        self.last = Some((head.clone(), transactions));
        Ok(match is_there {
            true => Ok(head),
            false => Err(format!("block {height} of the chain does not have it as it is here")),
        })
    }

    /// The head and the transactions of a block, once they are found to be those that its hash covers.
    fn transactions(
        &self,
        height: u64,
        hash: BlockHash,
        now: Timestamp,
    ) -> Result<Result<(Head, Vec<Transaction>), String>, ChainError> {
        let head = self.head(height, hash)?;
        let Some(transactions) = body(self.chain, height)? else {
            return Ok(Err(format!("the transactions of block {height} are pruned")));
        };
        let text = head.clone().with_body(transactions.clone()).to_json_text();
        Ok(match Document::read(DocumentKind::Block, &text, now) {
            Ok(document) if document.id == hash.to_string() => Ok((head, transactions)),
            Ok(_) => Err(format!("block {height} of the chain has another hash than its head")),
            Err(fault) => Err(format!("block {height} of the chain: {fault}")),
        })
    }
}
