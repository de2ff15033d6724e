//! Blocks are added, and bodies removed.

use std::sync::atomic::Ordering::Relaxed;

use lucid_core::record::encode_body;
use lucid_core::validate::ValidBlock;
use mongodb::bson::doc;

use crate::contract::chain::{Pruning, Stretch};
use crate::mongo::chain::block::{Beside, Head, PART_BYTES};
use crate::mongo::chain::read::{at_height, part_id};
use crate::mongo::chain::{BLOCKS, BODIES, MongoChain, PRUNED, RECORDS, failed};
use crate::mongo::decide::{self, Inserted, NONCE, bytes};
use crate::mongo::fields::{V, VERSION, number};
use crate::{CommitError, StoreError};

/// Bodies of so many heights are removed by one call.
const STEP: u64 = 256;

/// What became of a block that was to be the next.
pub(super) enum Put {
    /// It is.
    Stored(Head),
    /// Another writer's is there.
    Taken(Head),
}

impl MongoChain {
    /// Refuses to add to a chain whose last block is not there any more.
    pub(super) fn stands(&self, last: &Head) -> Result<(), CommitError> {
        let fields = doc! { "hash": 1 };
        let found = self.to.find(BLOCKS, &number(last.height), Some(&fields)).map_err(failed)?;
        let hash = found.and_then(|found| found.get_binary_generic("hash").ok().cloned());
        if hash.is_some_and(|hash| hash == last.hash) {
            return Ok(());
        }
        Err(CommitError::Broken(format!(
            "block {} is not in {} any more: the database was put back to older data, or is another one",
            last.height, self.to.at,
        )))
    }

    /// Puts bytes beside a block, in parts.
    pub(super) fn put_beside(
        &self,
        collection: &str,
        head: &Head,
        all: &[u8],
    ) -> Result<(), CommitError> {
        for (part, piece) in (0..).zip(all.chunks(PART_BYTES)) {
            let document = doc! {
                "_id": part_id(head, part),
                V: VERSION,
                NONCE: bytes(head.nonce),
                "bytes": bytes(piece),
            };
            match self.to.insert(collection, &document) {
                Inserted::Here => {}
                Inserted::There(_) => {
                    return Err(CommitError::Failed("the nonce of a block is taken".into()));
                }
                // No block names it, so the block surely is not there.
                Inserted::Not(why) | Inserted::Maybe(why) => return Err(CommitError::Failed(why)),
            }
        }
        Ok(())
    }

    /// Puts a block behind the last one.
    pub(super) fn put(&self, block: &ValidBlock, last: Option<&Head>) -> Result<Put, CommitError> {
        let (record, body) = (block.record(), encode_body(&block.transactions));
        let encoded = record.encode();
        let head = Head {
            height: block.index,
            nonce: decide::new_nonce().map_err(failed)?,
            hash: *block.hash.as_bytes(),
            count: block.transactions.len() as u64,
            size: block.size_bytes() as u64,
            before: last.map_or((0, 0), Head::behind),
            record: Beside::of(&encoded),
            body: Beside::of(&body),
        };
        self.put_beside(BODIES, &head, &body)?;
        if head.record.parts() > 1 {
            self.put_beside(RECORDS, &head, &encoded)?;
        }
        match self.to.insert(BLOCKS, &head.document(&record, encoded)) {
            Inserted::Here => Ok(Put::Stored(head)),
            Inserted::There(found) => {
                Ok(Put::Taken(self.read(block.index, found).map_err(failed)?.head))
            }
            Inserted::Not(why) => Err(CommitError::Failed(why)),
            Inserted::Maybe(why) => Err(CommitError::Maybe(why)),
        }
    }

    /// Removes the bodies from the second block on that are below a height.
    pub(super) fn remove_bodies(&self, below: u64) -> Result<(), StoreError> {
        let mut from = 1;
        loop {
            let range = doc! { "_id": { "$gte": at_height(from), "$lt": at_height(below) } };
            let first = self.to.read(|| {
                let (bodies, range) = (self.to.collection(BODIES), range.clone());
                async move {
                    let first = bodies.find_one(range).sort(doc! { "_id": 1 });
                    first.projection(doc! { "_id": 1 }).await
                }
            })?;
            let id = first.as_ref().and_then(|first| first.get_str("_id").ok());
            let height = id.and_then(|id| id.get(..16));
            let Some(height) = height.and_then(|digits| u64::from_str_radix(digits, 16).ok())
            else {
                return Ok(());
            };
            from = height.saturating_add(STEP).min(below);
            let step = doc! { "_id": { "$gte": at_height(height), "$lt": at_height(from) } };
            // Removing twice harms as little as reading twice.
            self.to.read(|| {
                let (bodies, step) = (self.to.collection(BODIES), step.clone());
                async move { bodies.delete_many(step).await }
            })?;
        }
    }

    /// Notes that bodies below a height may be gone, and removes them.
    pub(super) fn prune_below(&self, keep_from: u64) -> Result<Pruning, CommitError> {
        let mut pruning = Pruning::default();
        let before = self.read_pruned().map_err(failed)?;
        let end = self.end().map_err(failed)?.map_or(0, |last| last.height + 1);
        let mut height = before.max(1);
        // No body goes before the record of its block was read once more.
        while height < keep_from.min(end) {
            let blocks = usize::try_from(keep_from.min(end) - height).unwrap_or(usize::MAX);
            let stretch = Stretch { from: height, blocks, bytes: usize::MAX };
            let bodies = self.stretch(stretch, |found| {
                self.record_of(found)?;
                Ok((found.head.body.bytes, 1))
            });
            match bodies {
                Ok(bodies) => {
                    height += bodies.len() as u64;
                    pruning.blocks += bodies.len() as u64;
                    pruning.bytes += bodies.iter().sum::<u64>();
                    if bodies.is_empty() {
                        break;
                    }
                }
                Err(StoreError::Damaged(damage)) => {
                    pruning.spared.push(damage);
                    break;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        if pruning.blocks > 0 {
            let nonce = bytes(decide::new_nonce().map_err(failed)?);
            let document = doc! { "_id": number(height), V: VERSION, NONCE: nonce };
            match self.to.insert(PRUNED, &document) {
                Inserted::Here | Inserted::There(_) => {}
                Inserted::Not(why) => return Err(CommitError::Failed(why)),
                Inserted::Maybe(why) => return Err(CommitError::Maybe(why)),
            }
            self.pruned.fetch_max(height, Relaxed);
        }
        let below = self.pruned.load(Relaxed);
        self.remove_bodies(below).map_err(|error| CommitError::Partly(error.to_string()))?;
        Ok(pruning)
    }
}
