//! The blocks of a chain, each a document with its height as `_id`.
//!
//! A block is decided by inserting its document, which is small: what may be long, its body, is put beside it in parts
//! first, under the writer's nonce. Parts that no block names are nobody's, and go when the bodies around them are
//! pruned. A block is found by its hash, by the ids of its transactions and by the sessions that it anchors, which are
//! fields of its document with an index each: so they are there with it, or not at all.
//!
//! Where bodies may have gone is a document of its own, inserted before they go.

pub(super) mod block;
mod read;
mod write;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use lucid_core::digest::BlockHash;
use lucid_core::record::decode_body;
use lucid_core::transaction::{IdDigest, Transaction};
use lucid_core::validate::ValidBlock;
use mongodb::IndexModel;
use mongodb::bson::doc;
use parking_lot::Mutex;

use crate::contract::chain::{
    AppendedBlock, Body, ChainStore, Pruning, StoredRecord, StoredRun, Stretch, Tip,
    TransactionPlace, decide,
};
use crate::damage::DamageList;
use crate::mongo::chain::block::{Head, anchors, session_key};
use crate::mongo::chain::read::height_of;
use crate::mongo::chain::write::Put;
use crate::mongo::decide::bytes;
use crate::mongo::fields::{Fault, number};
use crate::mongo::server::Connection;
use crate::{CommitError, Damage, StoreError};

/// Blocks, by their heights.
const BLOCKS: &str = "blocks";
/// Parts of bodies.
const BODIES: &str = "bodies";
/// Parts of records that are too long for one document.
const RECORDS: &str = "records";
/// Heights that bodies were pruned below.
const PRUNED: &str = "pruned";
/// So many blocks are read at once at most.
const PAGE_BLOCKS: i64 = 256;

/// The chain of a database.
pub struct MongoChain {
    to: Connection,
    /// The last block that is known: others may be behind it, and it stays.
    last: Mutex<Option<Head>>,
    /// Bodies below this height may be gone.
    pruned: AtomicU64,
    damage: Mutex<DamageList>,
}

fn failed(error: StoreError) -> CommitError {
    CommitError::Failed(error.to_string())
}

impl MongoChain {
    pub(super) fn open(to: Connection) -> Result<Self, StoreError> {
        let indexes = ["hash", "ids", "sessions"];
        let indexes = indexes.map(|field| IndexModel::builder().keys(doc! { field: 1 }).build());
        to.read(|| {
            let (blocks, indexes) = (to.collection(BLOCKS), indexes.clone());
            async move { blocks.create_indexes(indexes).await }
        })?;
        let chain = Self {
            to,
            last: Mutex::new(None),
            pruned: AtomicU64::new(0),
            damage: Mutex::new(DamageList::default()),
        };
        chain.read_pruned()?;
        Ok(chain)
    }

    fn unread(&self, height: u64, fault: Fault) -> StoreError {
        let title = format!("block {height} of the chain");
        match fault {
            Fault::Newer => StoreError::newer(title),
            Fault::Wrong(why) => {
                let damage = Damage::new(title, 0, why);
                if self.damage.lock().note(damage.clone()) {
                    tracing::error!(%damage, "a block is damaged");
                }
                StoreError::Damaged(damage)
            }
        }
    }
}

impl ChainStore for MongoChain {
    // There is always some, or the server says otherwise.
    fn room(&self, _: u64) -> Result<(), CommitError> {
        Ok(())
    }

    fn tip(&self) -> Result<Option<Tip>, StoreError> {
        Ok(self.end()?.map(|last| last.tip()))
    }

    fn append_run(&self, blocks: &[ValidBlock]) -> Result<StoredRun, CommitError> {
        let mut run = StoredRun { stored: 0, stopped: None };
        let mut last = self.end().map_err(failed)?;
        if let Some(last) = &last {
            self.stands(last)?;
        }
        for block in blocks {
            let tip = last.as_ref().map(Head::tip);
            let is_taken = tip.is_some_and(|tip| block.index <= tip.height);
            let taken = if is_taken { self.at(block.index).map_err(failed)? } else { None };
            let taken = taken.map(|found| found.head.tip().hash);
            match decide(block, tip, taken) {
                Some(AppendedBlock::Known) => continue,
                Some(stopped) => return Ok(StoredRun { stopped: Some(stopped), ..run }),
                None => {}
            }
            let head = match self.put(block, last.as_ref())? {
                Put::Stored(head) => {
                    run.stored += 1;
                    head
                }
                // Another writer was faster.
                Put::Taken(head) if head.hash == *block.hash.as_bytes() => head,
                Put::Taken(head) => {
                    let hash = head.tip().hash;
                    let stopped = Some(AppendedBlock::HeightTaken { hash });
                    return Ok(StoredRun { stopped, ..run });
                }
            };
            last = Some(head);
            self.last.lock().clone_from(&last);
        }
        Ok(run)
    }

    fn record(&self, height: u64) -> Result<Option<StoredRecord>, StoreError> {
        let Some(found) = self.at(height)? else { return Ok(None) };
        self.record_of(&found).map(|(stored, _)| Some(stored))
    }

    fn body(&self, height: u64) -> Result<Option<Body>, StoreError> {
        let Some(found) = self.at(height)? else { return Ok(None) };
        Ok(Some(match self.body_of(&found.head)? {
            Body::Pruned => Body::Pruned,
            Body::Here(bytes) => {
                let body: Result<Vec<Transaction>, _> = decode_body(&bytes);
                let fault = |why: &dyn std::fmt::Display| Fault::Wrong(why.to_string());
                Body::Here(body.map_err(|why| self.unread(height, fault(&why)))?)
            }
        }))
    }

    fn records(&self, stretch: Stretch) -> Result<Vec<StoredRecord>, StoreError> {
        self.stretch(stretch, |found| {
            let (stored, encoded) = self.record_of(found)?;
            Ok((stored, encoded.len()))
        })
    }

    fn record_bytes(&self, stretch: Stretch) -> Result<Vec<Vec<u8>>, StoreError> {
        self.stretch(stretch, |found| {
            let (_, encoded) = self.record_of(found)?;
            let bytes = encoded.len();
            Ok((encoded, bytes))
        })
    }

    fn body_bytes(&self, stretch: Stretch) -> Result<Vec<Body<Vec<u8>>>, StoreError> {
        self.stretch(stretch, |found| {
            let body = self.body_of(&found.head)?;
            let bytes = if let Body::Here(body) = &body { body.len() } else { 1 };
            Ok((body, bytes))
        })
    }

    fn prune(&self, keep_from: u64) -> Result<Pruning, CommitError> {
        self.prune_below(keep_from)
    }

    fn pruned_below(&self) -> u64 {
        self.pruned.load(Relaxed)
    }

    /// Of the blocks' texts, those included that were pruned: it is what the last block knows.
    fn stored_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.end()?.map_or(0, |last| last.behind().1))
    }

    fn height_of(&self, hash: &BlockHash) -> Result<Option<u64>, StoreError> {
        let found = self.found_by(&doc! { "hash": bytes(*hash.as_bytes()) })?;
        Ok(found.map(|found| found.head.height))
    }

    fn find(&self, id: &IdDigest) -> Result<Option<TransactionPlace>, StoreError> {
        let Some(found) = self.found_by(&doc! { "ids": bytes(*id) })? else { return Ok(None) };
        let height = found.head.height;
        let (stored, _) = self.record_of(&found)?;
        let place = (0..).zip(&stored.record.transactions).find(|(_, digests)| digests.id == *id);
        let missing = || self.unread(height, Fault::wrong("it is found by what it does not have"));
        let (position, _) = place.ok_or_else(missing)?;
        Ok(Some(TransactionPlace { height, position }))
    }

    fn anchors_of(
        &self,
        session: &str,
        behind: Option<TransactionPlace>,
    ) -> Result<Vec<TransactionPlace>, StoreError> {
        let mut from = behind.map_or(0, |behind| behind.height);
        let order = |place: &TransactionPlace| (place.height, place.position);
        loop {
            let wanted = doc! { "sessions": session_key(session), "_id": { "$gte": number(from) } };
            let mut page = self.to.read(|| self.to.page(BLOCKS, wanted.clone(), PAGE_BLOCKS))?;
            if page.is_empty() {
                page.extend(self.decided(&wanted)?);
            }
            if page.is_empty() {
                return Ok(Vec::new());
            }
            let mut places = Vec::new();
            for document in page {
                let height = height_of(&document);
                let (stored, _) = self.record_of(&self.read(height, document)?)?;
                let of_session = anchors(&stored.record).filter(|(name, _)| *name == session);
                places
                    .extend(of_session.map(|(_, position)| TransactionPlace { height, position }));
                from = height + 1;
            }
            places.retain(|place| behind.is_none_or(|behind| order(place) > order(&behind)));
            if !places.is_empty() {
                return Ok(places);
            }
        }
    }

    fn read_only(&self) -> Option<String> {
        None
    }

    fn damage(&self) -> Vec<Damage> {
        self.damage.lock().clone().into()
    }
}

#[cfg(test)]
mod tests;
