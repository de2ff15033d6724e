//! Answers a query from a chain itself, block by block, without taking anything in: what a folder has beside it
//! and no service has taken from there yet. One block is in memory at a time.

use std::ops::Range;

use lucid_core::record::Head;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;

use super::filter::Filter;
use super::get_document::FoundDocument;
use crate::chain::{Chain, ChainError};
use crate::document::{Document, DocumentFault, DocumentKind, Facets, Source, pruned_text};
use crate::ops::OpError;

/// Heads that are asked for at once.
const HEADS: u64 = 256;

/// What is wanted of a chain.
#[derive(Debug, Clone)]
pub struct ChainQuery {
    /// Documents about what; a chain has none of sessions.
    pub kind: DocumentKind,
    /// Which of them.
    pub filter: Filter,
    /// In which blocks.
    pub heights: Range<u64>,
    /// The newest first.
    pub descending: bool,
}

/// Why a chain could not be looked through.
#[derive(Debug, thiserror::Error)]
pub enum QueryChainError {
    /// It gave nothing that can be used.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It has a block that is no document.
    #[error("block {height}: {fault}")]
    Block {
        /// Its height.
        height: u64,
        /// What is wrong.
        fault: DocumentFault,
    },
    /// What was found could not be handed over.
    #[error(transparent)]
    Op(#[from] OpError),
}

/// Gives the documents of a chain that a query wants, in the chain's order, until `give` fails.
pub fn query_chain(
    chain: &dyn Chain,
    wanted: &ChainQuery,
    give: &mut dyn FnMut(FoundDocument) -> Result<(), OpError>,
) -> Result<(), QueryChainError> {
    let mut left = wanted.within();
    while !left.is_empty() {
        let next = match wanted.descending {
            true => left.end.saturating_sub(HEADS).max(left.start)..left.end,
            false => left.start..left.start.saturating_add(HEADS).min(left.end),
        };
        let mut heads = read_heads(chain, next.clone())?;
        if wanted.descending {
            heads.reverse();
            left.end = next.start;
        } else {
            left.start = next.end;
        }
        for head in heads {
            for found in wanted.in_block(chain, head)? {
                give(found)?;
            }
        }
    }
    Ok(())
}

/// Heads from one height to before another.
fn read_heads(chain: &dyn Chain, heights: Range<u64>) -> Result<Vec<Head>, ChainError> {
    let mut heads: Vec<Head> = Vec::new();
    loop {
        let from = heights.start + heads.len() as u64;
        if from >= heights.end {
            return Ok(heads);
        }
        let more = chain.heads(from, (heights.end - from) as u32)?;
        let is_next = more.first().is_some_and(|head| head.entry.index == from);
        if !is_next {
            return Err(ChainError::Unreadable(format!(
                "it does not give the head of block {from}"
            )));
        }
        heads.extend(more);
    }
}

impl ChainQuery {
    /// The blocks that can have what is wanted.
    fn within(&self) -> Range<u64> {
        let Range { start, end } = self.heights;
        match (self.kind, self.filter.index_range) {
            (DocumentKind::Session, _) => 0..0,
            (DocumentKind::Block, Some((from, to))) => {
                start.max(from)..end.min(to.saturating_add(1))
            }
            _ => start..end,
        }
    }

    /// What a block has of it, in order.
    fn in_block(
        &self,
        chain: &dyn Chain,
        head: Head,
    ) -> Result<Vec<FoundDocument>, QueryChainError> {
        let height = head.entry.index;
        let no_block = |fault| QueryChainError::Block { height, fault };
        let time = head.entry.time();
        let time = time.map_err(|fault| no_block(DocumentFault::Invalid(fault.to_string())))?;
        if self.kind == DocumentKind::Block && !self.filter.compares(&facets_of(&head), time) {
            return Ok(Vec::new());
        }
        let transactions = body(chain, height)?;
        if self.kind == DocumentKind::Block {
            let (document, text) = match transactions {
                Some(transactions) => {
                    let block = head.with_body(transactions);
                    let text = block.to_json_text();
                    (Document::of_block(block), text)
                }
                None => {
                    let (kind, text) = (self.kind, pruned_text(&head));
                    (Document::of_taken(kind, Source::Synchronised, &text), text)
                }
            };
            let document = document.map_err(no_block)?;
            return Ok(self.taken(document, text, height, time).into_iter().collect());
        }
        // Transactions that were pruned are not known any more.
        let transactions = transactions.unwrap_or_default();
        let documents = transactions.iter().filter_map(|transaction| {
            let (document, text) = (Document::of_transaction(transaction), transaction.text());
            self.taken(document, text.to_owned(), height, time)
        });
        let mut documents: Vec<FoundDocument> = documents.collect();
        if self.descending {
            documents.reverse();
        }
        Ok(documents)
    }

    fn taken(
        &self,
        document: Document,
        text: String,
        height: u64,
        block_time: Timestamp,
    ) -> Option<FoundDocument> {
        let at = document.instant.unwrap_or(block_time);
        self.filter.compares(&document.facets, at).then_some(FoundDocument {
            kind: document.kind,
            id: document.id,
            text,
            source: Source::Synchronised,
            indexed_at: block_time,
            block_index: Some(height),
            at,
            facets: document.facets,
        })
    }
}

/// What a block can be found by.
fn facets_of(head: &Head) -> Facets {
    let entry = &head.entry;
    Facets::Block {
        index: entry.index,
        hash: entry.hash,
        previous_hash: entry.previous_hash,
        merkle_root: entry.merkle_root.to_string(),
        transactions: entry.transaction_count,
    }
}

/// The transactions of a block; `None` if they were pruned.
pub(super) fn body(chain: &dyn Chain, height: u64) -> Result<Option<Vec<Transaction>>, ChainError> {
    match chain.bodies(height, 1) {
        Err(ChainError::Pruned(_)) => Ok(None),
        Err(error) => Err(error),
        Ok(bodies) => match bodies.into_iter().next() {
            Some(transactions) => Ok(Some(transactions)),
            None => {
                let why = format!("it does not give the transactions of block {height}");
                Err(ChainError::Unreadable(why))
            }
        },
    }
}
