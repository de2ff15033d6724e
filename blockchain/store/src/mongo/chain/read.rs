//! Blocks are read: at a height, from one on, by what they have, and up to the end.

use std::sync::atomic::Ordering::Relaxed;

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReadConcern;

use crate::StoreError;
use crate::contract::chain::{Body, StoredRecord, Stretch};
use crate::mongo::chain::block::{Beside, Found, Head};
use crate::mongo::chain::{BLOCKS, BODIES, MongoChain, PAGE_BLOCKS, PRUNED, RECORDS};
use crate::mongo::decide::NONCE;
use crate::mongo::fields::{Fault, Fields, number};

/// Where the parts of a block's bytes begin, in the order of heights.
pub(super) fn at_height(height: u64) -> String {
    format!("{height:016x}")
}

/// A part of the bytes beside a block.
pub(super) fn part_id(head: &Head, part: u64) -> String {
    format!("{}-{}-{part:04x}", at_height(head.height), hex::encode(head.nonce))
}

/// The height that a document has as its `_id`; zero if it has none, and then it is no document of ours.
pub(super) fn height_of(document: &Document) -> u64 {
    document.get("_id").and_then(Bson::as_i64).and_then(|id| u64::try_from(id).ok()).unwrap_or(0)
}

impl MongoChain {
    pub(super) fn read(&self, height: u64, document: Document) -> Result<Found, StoreError> {
        let wrong = |fault| self.unread(height, fault);
        if document.get("_id").and_then(Bson::as_i64) != i64::try_from(height).ok() {
            return Err(wrong(Fault::wrong("it is missing, and later ones are there")));
        }
        Found::read(document).map_err(wrong)
    }

    pub(super) fn at(&self, height: u64) -> Result<Option<Found>, StoreError> {
        let found = self.to.find(BLOCKS, &number(height), None)?;
        found.map(|document| self.read(height, document)).transpose()
    }

    /// The last block: the one behind it is known not to be there.
    pub(super) fn end(&self) -> Result<Option<Head>, StoreError> {
        let mut last = self.last.lock().clone();
        loop {
            let next = last.as_ref().map_or(0, |last| last.height + 1);
            let found = self
                .to
                .read(|| self.to.look(BLOCKS, &number(next), None, ReadConcern::linearizable()))?;
            let Some(found) = found else { break };
            // There may be many more.
            let newest = self.newest()?.filter(|newest| newest.height > next);
            last = Some(match newest {
                Some(newest) => newest,
                None => self.read(next, found)?.head,
            });
        }
        self.last.lock().clone_from(&last);
        Ok(last)
    }

    pub(super) fn newest(&self) -> Result<Option<Head>, StoreError> {
        let found = self.to.read(|| {
            let blocks = self.to.collection(BLOCKS);
            async move { blocks.find_one(doc! {}).sort(doc! { "_id": -1 }).await }
        })?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(self.read(height_of(&found), found)?.head))
    }

    /// The bytes beside a block, or that some of them are not there.
    pub(super) fn beside(
        &self,
        collection: &str,
        head: &Head,
        wanted: &Beside,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut all = Vec::new();
        for part in 0..wanted.parts() {
            let id = Bson::String(part_id(head, part));
            let Some(found) = self.to.find(collection, &id, None)? else { return Ok(None) };
            let read = || {
                let mut fields = Fields::of(found)?;
                fields.take("_id")?;
                fields.take(NONCE)?;
                let bytes = fields.bytes("bytes")?;
                fields.finish().map(|()| bytes)
            };
            all.extend(read().map_err(|fault| self.unread(head.height, fault))?);
        }
        match Beside::of(&all) == *wanted {
            true => Ok(Some(all)),
            false => {
                let why = "what is kept beside it does not match its digest";
                Err(self.unread(head.height, Fault::wrong(why)))
            }
        }
    }

    pub(super) fn record_of(&self, found: &Found) -> Result<(StoredRecord, Vec<u8>), StoreError> {
        let height = found.head.height;
        let encoded = match &found.record {
            Some(encoded) => encoded.clone(),
            None => {
                let missing = || self.unread(height, Fault::wrong("its record is missing"));
                self.beside(RECORDS, &found.head, &found.head.record)?.ok_or_else(missing)?
            }
        };
        let stored = found.stored(&encoded).map_err(|fault| self.unread(height, fault))?;
        Ok((stored, encoded))
    }

    pub(super) fn is_pruned(&self, height: u64) -> bool {
        0 < height && height < self.pruned.load(Relaxed)
    }

    pub(super) fn body_of(&self, head: &Head) -> Result<Body<Vec<u8>>, StoreError> {
        if self.is_pruned(head.height) {
            return Ok(Body::Pruned);
        }
        if let Some(body) = self.beside(BODIES, head, &head.body)? {
            return Ok(Body::Here(body));
        }
        // Another copy may have pruned it meanwhile.
        self.read_pruned()?;
        match self.is_pruned(head.height) {
            true => Ok(Body::Pruned),
            false => Err(self.unread(head.height, Fault::wrong("its transactions are missing"))),
        }
    }

    pub(super) fn read_pruned(&self) -> Result<u64, StoreError> {
        let found = self.to.read(|| {
            let pruned = self.to.collection(PRUNED);
            async move { pruned.find_one(doc! {}).sort(doc! { "_id": -1 }).await }
        })?;
        let below = found.as_ref().map_or(0, height_of);
        Ok(self.pruned.fetch_max(below, Relaxed).max(below))
    }

    /// Reads blocks from a height on until one says that it is enough, or is damaged: if that is the first, it is an
    /// error.
    pub(super) fn stretch<T>(
        &self,
        stretch: Stretch,
        each: impl Fn(&Found) -> Result<(T, usize), StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let (mut all, mut bytes, mut next) = (Vec::new(), 0, stretch.from);
        loop {
            let left = stretch.blocks - all.len();
            let most = i64::try_from(left).unwrap_or(i64::MAX).min(PAGE_BLOCKS);
            if most == 0 {
                return Ok(all);
            }
            let wanted = doc! { "_id": { "$gte": number(next) } };
            let page = self.to.read(|| self.to.page(BLOCKS, wanted.clone(), most))?;
            if page.is_empty() {
                return Ok(all);
            }
            for document in page {
                if bytes >= stretch.bytes.max(1) {
                    return Ok(all);
                }
                match self.read(next, document).and_then(|found| each(&found)) {
                    Ok((one, more)) => {
                        all.push(one);
                        bytes += more;
                    }
                    Err(StoreError::Damaged(_)) if !all.is_empty() => return Ok(all),
                    Err(error) => return Err(error),
                }
                next += 1;
            }
        }
    }

    /// What the query finds; `None` only when it is known that there is none.
    pub(super) fn query(&self, wanted: &Document) -> Result<Option<Document>, StoreError> {
        match self.ask(wanted, ReadConcern::majority())? {
            None => self.decided(wanted),
            found => Ok(found),
        }
    }

    /// The same, of a query of which a `majority` read found nothing. What blocks are found by is never changed, so a
    /// linearizable read misses none that was decided before it, whether or not it asks by an `_id`.
    pub(super) fn decided(&self, wanted: &Document) -> Result<Option<Document>, StoreError> {
        self.ask(wanted, ReadConcern::linearizable())
    }

    fn ask(&self, wanted: &Document, concern: ReadConcern) -> Result<Option<Document>, StoreError> {
        self.to.read(|| self.to.first(BLOCKS, wanted, concern.clone()))
    }

    pub(super) fn found_by(&self, wanted: &Document) -> Result<Option<Found>, StoreError> {
        let Some(document) = self.query(wanted)? else { return Ok(None) };
        self.read(height_of(&document), document).map(Some)
    }
}
