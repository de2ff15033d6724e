//! The log of facts: commits 1, 2, 3, …, each a document with its number as `_id`.
//!
//! A commit is to follow the place where its writer's index stands: a number, and the digest of the commit that has
//! it. Its writer inserts the next number; of any number of writers one has it, and the others follow first. What
//! stands at a place is compared with its digest before anything is written or read behind it, so a database that was
//! put back to older data, and another store's, are told from one that goes on.
//!
//! Nothing is remembered between calls. A commit of which nobody knows whether it happened is found out by the next:
//! both would have the same number.

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReadConcern;

use crate::contract::fact_log::snapshot::{self, Snapshots};
use crate::contract::fact_log::{
    Appended, Condensed, Condensing, FactLog, Following, Incarnation, Passed, Place, Position,
    Replayed, Reread, Unsettled, frames, gone,
};
use crate::crypt::random;
use crate::frame::Record;
use crate::mongo::commit::{self, COMMIT_BYTES_MAX, Chunks, Commit};
use crate::mongo::decide::{self, Inserted};
use crate::mongo::fields::{Fault, Fields, number};
use crate::mongo::server::Connection;
use crate::mongo::snapshots;
use crate::{CommitError, Damage, StoreError, threads};

/// The collection of commits.
pub(super) const LOG: &str = "log";
/// So many commits are read at once at most.
const PAGE_COMMITS: i64 = 1_000;

/// The log of a database.
#[derive(Clone)]
pub struct MongoLog {
    pub(super) to: Connection,
    store: [u8; 16],
    /// The id of its first incarnation.
    incarnation: [u8; 16],
}

/// What people know a commit by.
pub(super) fn title(n: u64) -> String {
    format!("commit {n} of the log")
}

fn unread(n: u64, fault: Fault) -> StoreError {
    match fault {
        Fault::Newer => StoreError::newer(title(n)),
        Fault::Wrong(why) => StoreError::Damaged(Damage::new(title(n), 0, why)),
    }
}

const NO_NUMBER: &str = "its number is none";

fn number_of(document: &Document) -> Option<u64> {
    u64::try_from(document.get("_id").and_then(Bson::as_i64)?).ok()
}

impl MongoLog {
    pub(super) fn new(to: Connection, store: [u8; 16], incarnation: [u8; 16]) -> Self {
        Self { to, store, incarnation }
    }

    /// The first commit, if there is any: no field of it but its number.
    pub(super) fn first(to: &Connection) -> Result<Option<Document>, StoreError> {
        to.find(LOG, &number(1), Some(&doc! { "_id": 1 }))
    }

    /// Where a log without commits ends. It is another place for every store.
    pub fn start(&self) -> Position {
        self.beginning().position()
    }

    fn beginning(&self) -> Place {
        let incarnation = Incarnation::first(self.incarnation);
        Place { n: 0, digest: *blake3::hash(&self.store).as_bytes(), incarnation }
    }

    /// Bytes of the log up to a place; or what is wrong, when it is not a place of this log any more.
    pub(super) fn stands(&self, at: &Place) -> Result<Result<u64, StoreError>, StoreError> {
        let beginning = self.beginning();
        if at.n == 0 && at.digest != beginning.digest {
            let elsewhere = format!("the log of {} is of another store", self.to.at);
            return Ok(Err(StoreError::Folder(elsewhere)));
        }
        let found = if at.n == 0 { Some((beginning.digest, 0)) } else { self.digest(at.n)? };
        match found {
            Some((digest, bytes)) if digest == at.digest => Ok(Ok(bytes)),
            found => {
                let log = format!("the log of {}", self.to.at);
                Ok(Err(gone(&log, at, found.is_some(), &self.end()?)))
            }
        }
    }

    /// The digest of the commit with a number, and bytes of the log up to it.
    fn digest(&self, n: u64) -> Result<Option<([u8; 32], u64)>, StoreError> {
        let fields = doc! { "digest": 1, "log_bytes": 1 };
        let Some(found) = self.to.find(LOG, &number(n), Some(&fields))? else { return Ok(None) };
        let mut found = Fields::inner(found);
        let read = |found: &mut Fields| Ok((found.array("digest")?, found.number("log_bytes")?));
        read(&mut found).map(Some).map_err(|fault| unread(n, fault))
    }

    /// The last commit, as much of it as is asked for.
    fn last(&self, fields: &Document) -> Result<Option<Document>, StoreError> {
        self.to.read(|| {
            let (log, fields) = (self.to.collection(LOG), fields.clone());
            async move {
                let last = log.find_one(doc! {}).sort(doc! { "_id": -1 }).projection(fields);
                last.read_concern(ReadConcern::majority()).await
            }
        })
    }

    /// The place behind the last commit that one read sees: for people, and nothing is decided by it.
    fn end(&self) -> Result<Place, StoreError> {
        let fields = doc! { "digest": 1, "incarnation": 1, "incarnation_id": 1 };
        let Some(last) = self.last(&fields)? else { return Ok(self.beginning()) };
        let mut last = Fields::inner(last);
        let n = last.number("_id").unwrap_or(0);
        let mut read = || {
            let incarnation = commit::read_incarnation(&mut last)?;
            Ok(Place { n, digest: last.array("digest")?, incarnation })
        };
        read().map_err(|fault| unread(n, fault))
    }

    /// Appends a commit behind a place of this log.
    fn append(
        &self,
        after: &Place,
        incarnation: Incarnation,
        facts: Vec<u8>,
        chunks: Option<Unsettled<'_>>,
    ) -> Result<Appended, CommitError> {
        let failed = |error: StoreError| CommitError::Failed(error.to_string());
        let named = chunks.map(|chunks| Chunks {
            extent: chunks.written.extent.clone(),
            places: chunks.written.places.clone(),
        });
        let mut commit = Commit {
            n: after.n + 1,
            incarnation,
            nonce: decide::new_nonce().map_err(failed)?,
            before: after.digest,
            log_bytes: 0,
            facts,
            chunks: named,
        };
        if commit.bytes() > COMMIT_BYTES_MAX {
            let (bytes, most) = (commit.bytes() as u64, COMMIT_BYTES_MAX as u64);
            return Err(failed(StoreError::TooLarge { what: "a commit", bytes, most }));
        }
        if let Some(chunks) = chunks {
            chunks.settle()?;
        }
        // Nothing is ever added to a log that this one did not go on from.
        let stands = self.stands(after).map_err(failed)?;
        let log_bytes = stands.map_err(|gone| CommitError::Broken(gone.to_string()))?;
        commit.log_bytes = log_bytes + commit.facts.len() as u64;
        let digest = commit.digest();
        match self.to.insert(LOG, &commit.document(&digest)) {
            Inserted::Here => {
                Ok(Appended::Here(Place { n: commit.n, digest, incarnation }.position()))
            }
            Inserted::There(_) => Ok(Appended::Overtaken),
            Inserted::Not(why) => Err(CommitError::Failed(why)),
            Inserted::Maybe(why) => Err(CommitError::Maybe(why)),
        }
    }

    /// The commits behind a number, in order. None only when there are none.
    fn page(&self, behind: u64) -> Result<Vec<Document>, StoreError> {
        let later = doc! { "_id": { "$gt": number(behind) } };
        let found = self.to.read(|| self.to.page(LOG, later.clone(), PAGE_COMMITS))?;
        if !found.is_empty() {
            return Ok(found);
        }
        Ok(self.to.find(LOG, &number(behind + 1), None)?.into_iter().collect())
    }

    /// Shows the commits behind a number, in order, until it is enough: whether it was shown all of them. While one
    /// page is worked on, the next is on its way.
    fn walk(
        &self,
        behind: u64,
        each: &mut dyn FnMut(Document) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let mut page = self.page(behind)?;
        while let Some(last) = page.last() {
            let last = number_of(last);
            let next = std::thread::scope(|scope| {
                let ahead = last.and_then(|last| {
                    threads::start_scoped(scope, "log page", move || self.page(last)).ok()
                });
                for document in page {
                    if !each(document)? {
                        return Ok(None);
                    }
                }
                let last = last.ok_or_else(|| unread(behind + 1, Fault::wrong(NO_NUMBER)))?;
                // Where there is no thread to be had, it is read here.
                let read = ahead.and_then(|ahead| ahead.join().ok());
                read.unwrap_or_else(|| self.page(last)).map(Some)
            })?;
            match next {
                Some(next) => page = next,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads the commit that is to be behind a place.
    fn read(&self, at: &Place, document: Document) -> Result<(Commit, Place), StoreError> {
        let n = at.n + 1;
        let of = |fault| unread(n, fault);
        if number_of(&document) != Some(n) {
            return Err(of(Fault::wrong("it is missing, and later ones are there")));
        }
        let (commit, digest) = Commit::read(document).map_err(of)?;
        if commit.before != at.digest {
            return Err(of(Fault::wrong("it does not follow the commit before it")));
        }
        if !at.incarnation.leads_to(&commit.incarnation) {
            return Err(of(Fault::wrong("it is of another history of the database")));
        }
        let incarnation = commit.incarnation;
        Ok((commit, Place { n, digest, incarnation }))
    }
}

impl FactLog for MongoLog {
    // There is always some, or the server says otherwise.
    fn room(&self, _: u64) -> Result<(), CommitError> {
        Ok(())
    }

    /// What is not known of the commit before is found out by the next one.
    fn ready(&self) -> Result<(), CommitError> {
        Ok(())
    }

    /// Chunks are settled first: a reader of the commit may ask for them.
    fn commit(
        &self,
        after: &Position,
        facts: &mut [Record],
        chunks: Option<Unsettled<'_>>,
    ) -> Result<Appended, CommitError> {
        let after = Place::of(after).map_err(|error| CommitError::Failed(error.to_string()))?;
        for (ordinal, fact) in (0..).zip(facts.iter_mut()) {
            fact.header.sequence = ordinal;
        }
        self.append(&after, after.incarnation, frames(facts), chunks)
    }

    fn begin_part(&self) -> Result<(), CommitError> {
        Ok(())
    }

    /// A commit that is missing, not whole or not understood ends it: copies that passed over one would differ for
    /// ever.
    fn replay(
        &self,
        after: Option<&Position>,
        each: &mut dyn FnMut(Replayed, Passed) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let newest = if after.is_none() { self.kept()?.into_iter().next() } else { None };
        let mut at = match (after, &newest) {
            (Some(after), _) => Place::of(after)?,
            (None, Some(newest)) => newest.place,
            (None, None) => self.beginning(),
        };
        let mut done = self.stands(&at)??;
        let total = self.bytes()?;
        if let Some(newest) = &newest
            && !snapshot::show(self, newest, total, each)?
        {
            return Ok(false);
        }
        self.walk(at.n, &mut |document| {
            if snapshots::is_hollow(&document) {
                let n = at.n + 1;
                return Err(match after {
                    Some(_) => snapshot::hollow(&format!("the log of {}", self.to.at), n),
                    None => snapshots::lost(n),
                });
            }
            let (commit, behind) = self.read(&at, document)?;
            let passed = Passed { done, total: total.max(done) };
            let records = commit.records().map_err(|fault| unread(behind.n, fault))?;
            for (offset, record) in records {
                if !each(Replayed::Fact { record, file: title(behind.n), offset }, passed)? {
                    return Ok(false);
                }
            }
            let (chunks, places) =
                commit.chunks.map(|chunks| (chunks.extent, chunks.places)).unzip();
            (at, done) = (behind, commit.log_bytes);
            each(Replayed::Commit { chunks, places, position: at.position() }, passed)
        })
    }

    /// What is wrong with one commit is told, and the next one is read: it is for a caller that looks for damage.
    fn reread(
        &self,
        from: (u32, u64),
        each: &mut dyn FnMut(Reread<'_>) -> Result<bool, StoreError>,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        let mut behind = from.1;
        let is_all = self.walk(from.1, &mut |document| {
            let n = number_of(&document).filter(|n| *n > behind);
            let n = n.ok_or_else(|| unread(behind + 1, Fault::wrong(NO_NUMBER)))?;
            let mut goes_on = true;
            if n != behind + 1 {
                let missing = Damage::new(title(behind + 1), 0, "it is missing");
                goes_on &= each(Reread::Damaged(missing))?;
            }
            behind = n;
            if snapshots::is_hollow(&document) {
                return Ok(goes_on);
            }
            let read = Commit::read(document).and_then(|(commit, _)| commit.records());
            match read.map_err(|fault| unread(n, fault)) {
                Err(StoreError::Damaged(damage)) => goes_on &= each(Reread::Damaged(damage))?,
                Err(error) => return Err(error),
                Ok(records) => {
                    let file = title(n);
                    for (offset, Record { header, payload }) in records {
                        let (payload, file) = (Ok(payload), file.as_str());
                        goes_on &= each(Reread::Record { header, payload, file, offset })?;
                    }
                }
            }
            Ok(goes_on)
        })?;
        Ok((!is_all).then_some((0, behind)))
    }

    fn following(&self, at: &Position) -> Result<Following, StoreError> {
        match Place::of(at).and_then(|place| self.stands(&place)?) {
            Ok(_) => Ok(Following::GoesOn),
            Err(StoreError::Anew(why)) => Ok(Following::Anew(why)),
            Err(gone) => Err(gone),
        }
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn place(&self, at: &Position) -> Result<Option<Place>, StoreError> {
        Place::of(at).map(Some)
    }

    fn has(&self, place: &Place) -> Result<Option<bool>, StoreError> {
        if place.n == 0 {
            return Ok(Some(place.digest == self.beginning().digest));
        }
        Ok(self.digest(place.n)?.map(|(digest, _)| digest == place.digest))
    }

    fn begin_incarnation(&self, after: &Position) -> Result<Appended, CommitError> {
        let failed = |error: StoreError| CommitError::Failed(error.to_string());
        let after = Place::of(after).map_err(failed)?;
        let next = after.incarnation.next(random().map_err(failed)?);
        let next = next.ok_or_else(|| CommitError::Failed("no incarnation is left".into()))?;
        self.append(&after, next, Vec::new(), None)
    }

    fn is_start(&self, at: &Position) -> Result<bool, StoreError> {
        Ok(Place::of(at)?.n == 0)
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let last = self.last(&doc! { "log_bytes": 1 })?;
        let Some(last) = last else { return Ok(0) };
        let mut last = Fields::inner(last);
        let n = last.number("_id").unwrap_or(0);
        last.number("log_bytes").map_err(|fault| unread(n, fault))
    }

    /// Another writer that shares the log may still have to follow facts that do not matter any more: nothing goes.
    fn condense(&self, _how: &mut Condensing<'_>) -> Result<Condensed, StoreError> {
        Ok(Condensed::default())
    }

    fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
