//! Blocks are added, and bodies removed.

use std::collections::BTreeMap;
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
use crate::{CommitError, Damage, StoreError};

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

    /// Removes the bodies from the second block on that are below a height: all but those of blocks that are damaged.
    /// From `read` on the damaged ones are known; what is left before that, of earlier calls, is read now.
    fn remove_bodies(
        &self,
        below: u64,
        read: u64,
        damaged: &BTreeMap<u64, Damage>,
    ) -> Result<Vec<Damage>, StoreError> {
        let (mut from, mut spared) = (1, Vec::new());
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
                return Ok(spared);
            };
            let mut to = height.saturating_add(STEP).min(below);
            let mut found = None;
            if height < read {
                to = to.min(read);
                found = Some(self.sound_between(height, to)?.damaged);
            }
            let damaged = found.as_ref().unwrap_or(damaged);
            let mut begin = height;
            for (spare, _) in damaged.range(height..to) {
                self.remove_between(begin, *spare)?;
                begin = spare + 1;
            }
            self.remove_between(begin, to)?;
            spared.extend(found.into_iter().flat_map(BTreeMap::into_values));
            from = to;
        }
    }

    /// Removing twice harms as little as reading twice.
    fn remove_between(&self, from: u64, to: u64) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let step = doc! { "_id": { "$gte": at_height(from), "$lt": at_height(to) } };
        self.to.read(|| {
            let (bodies, step) = (self.to.collection(BODIES), step.clone());
            async move { bodies.delete_many(step).await.map(|_| ()) }
        })
    }

    /// Reads the records of blocks once more, and passes over those that are damaged.
    fn sound_between(&self, from: u64, to: u64) -> Result<Sound, StoreError> {
        let mut sound = Sound { to: from, ..Sound::default() };
        while sound.to < to {
            let blocks = usize::try_from(to - sound.to).unwrap_or(usize::MAX);
            let stretch = Stretch { from: sound.to, blocks, bytes: usize::MAX };
            let bodies = self.stretch(stretch, |found| {
                self.record_of(found)?;
                Ok((found.head.body.bytes, 1))
            });
            match bodies {
                Ok(bodies) if bodies.is_empty() => break,
                Ok(bodies) => {
                    sound.to += bodies.len() as u64;
                    sound.blocks += bodies.len() as u64;
                    sound.bytes += bodies.iter().sum::<u64>();
                }
                Err(StoreError::Damaged(damage)) => {
                    sound.damaged.insert(sound.to, damage);
                    sound.to += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sound)
    }

    /// Notes that bodies below a height may be gone, and removes them. No body goes before the record of its block was
    /// read once more; where that is damaged, the body stays, and the block is named.
    pub(super) fn prune_below(&self, keep_from: u64) -> Result<Pruning, CommitError> {
        let before = self.read_pruned().map_err(failed)?.max(1);
        let end = self.end().map_err(failed)?.map_or(0, |last| last.height + 1);
        let to = keep_from.min(end);
        let Sound { to, blocks, bytes: body_bytes, damaged } =
            self.sound_between(before, to).map_err(failed)?;
        if blocks > 0 {
            let nonce = bytes(decide::new_nonce().map_err(failed)?);
            let document = doc! { "_id": number(to), V: VERSION, NONCE: nonce };
            match self.to.insert(PRUNED, &document) {
                Inserted::Here | Inserted::There(_) => {}
                Inserted::Not(why) => return Err(CommitError::Failed(why)),
                Inserted::Maybe(why) => return Err(CommitError::Maybe(why)),
            }
            self.pruned.fetch_max(to, Relaxed);
        }
        let below = self.pruned.load(Relaxed);
        let partly = |error: StoreError| CommitError::Partly(error.to_string());
        let mut spared = self.remove_bodies(below, before, &damaged).map_err(partly)?;
        spared.extend(damaged.into_values());
        Ok(Pruning { blocks, bytes: body_bytes, files: 0, spared })
    }
}

/// Blocks whose records were read once more.
#[derive(Default)]
struct Sound {
    /// The height behind the last one.
    to: u64,
    /// How many are as they were written.
    blocks: u64,
    /// The bytes of their bodies.
    bytes: u64,
    /// What is wrong with the others.
    damaged: BTreeMap<u64, Damage>,
}
