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

use crate::contract::fact_log::{
    Appended, Condensed, Condensing, FactLog, Passed, Position, Replayed, Reread, Unsettled,
};
use crate::frame::Record;
use crate::mongo::commit::{COMMIT_BYTES_MAX, Chunks, Commit, frames};
use crate::mongo::decide::{self, Inserted};
use crate::mongo::fields::{Fault, Fields, number};
use crate::mongo::server::Connection;
use crate::{CommitError, Damage, StoreError};

/// The collection of commits.
pub(super) const LOG: &str = "log";
/// So many commits are read at once at most.
const PAGE_COMMITS: i64 = 1_000;

/// The log of a database.
#[derive(Clone)]
pub struct MongoLog {
    to: Connection,
    store: [u8; 16],
    incarnation: [u8; 16],
}

/// A place in the log: behind the commit with this number and this digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    n: u64,
    digest: [u8; 32],
}

impl Place {
    fn position(&self) -> Position {
        Position::new([self.n.to_be_bytes().as_slice(), &self.digest].concat())
    }

    fn of(position: &Position) -> Result<Self, StoreError> {
        let read = || {
            let (n, digest) = position.as_bytes().split_first_chunk()?;
            Some(Self { n: u64::from_be_bytes(*n), digest: digest.try_into().ok()? })
        };
        read().ok_or_else(|| StoreError::Index("its place is in no log of a database".into()))
    }
}

/// What people know a commit by.
fn title(n: u64) -> String {
    format!("commit {n} of the log")
}

fn unread(n: u64, fault: Fault) -> StoreError {
    match fault {
        Fault::Newer => StoreError::newer(title(n)),
        Fault::Wrong(why) => StoreError::Damaged(Damage::new(title(n), 0, why)),
    }
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
        Place { n: 0, digest: *blake3::hash(&self.store).as_bytes() }
    }

    /// Bytes of the log up to a place; or what is wrong, when it is not a place of this log any more.
    fn stands(&self, at: &Place) -> Result<Result<u64, String>, StoreError> {
        let elsewhere = || format!("the log of {} is of another store", self.to.at);
        if at.n == 0 {
            return Ok(if *at == self.beginning() { Ok(0) } else { Err(elsewhere()) });
        }
        let fields = doc! { "digest": 1, "log_bytes": 1 };
        let put_back = |what: &str| {
            format!(
                "the index has followed the log of {} to commit {}, which {what}: the database was put back \
                 to older data, or is another one",
                self.to.at, at.n,
            )
        };
        let Some(found) = self.to.find(LOG, &number(at.n), Some(&fields))? else {
            return Ok(Err(put_back("is not there")));
        };
        let mut found = Fields::inner(found);
        let read = |found: &mut Fields| Ok((found.array("digest")?, found.number("log_bytes")?));
        let (digest, bytes) = read(&mut found).map_err(|fault| unread(at.n, fault))?;
        Ok(if digest == at.digest { Ok(bytes) } else { Err(put_back("is a different one there")) })
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

    /// Reads the commit that is to be behind a place.
    fn read(&self, at: &Place, document: Document) -> Result<(Commit, Place), StoreError> {
        let n = at.n + 1;
        let of = |fault| unread(n, fault);
        if document.get("_id").and_then(Bson::as_i64) != i64::try_from(n).ok() {
            return Err(of(Fault::wrong("it is missing, and later ones are there")));
        }
        let (commit, digest) = Commit::read(document).map_err(of)?;
        if commit.before != at.digest {
            return Err(of(Fault::wrong("it does not follow the commit before it")));
        }
        if commit.incarnation != self.incarnation {
            return Err(of(Fault::wrong("it is of another history of the database")));
        }
        Ok((commit, Place { n, digest }))
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
        let failed = |error: StoreError| CommitError::Failed(error.to_string());
        let after = Place::of(after).map_err(failed)?;
        for (ordinal, fact) in (0..).zip(facts.iter_mut()) {
            fact.header.sequence = ordinal;
        }
        let named = chunks.map(|chunks| Chunks {
            extent: chunks.written.extent.clone(),
            places: chunks.written.places.clone(),
        });
        let mut commit = Commit {
            n: after.n + 1,
            incarnation: self.incarnation,
            nonce: decide::new_nonce().map_err(failed)?,
            before: after.digest,
            log_bytes: 0,
            facts: frames(facts),
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
        let log_bytes = self.stands(&after).map_err(failed)?.map_err(CommitError::Broken)?;
        commit.log_bytes = log_bytes + commit.facts.len() as u64;
        let digest = commit.digest();
        match self.to.insert(LOG, &commit.document(&digest)) {
            Inserted::Here => Ok(Appended::Here(Place { n: commit.n, digest }.position())),
            Inserted::There(_) => Ok(Appended::Overtaken),
            Inserted::Not(why) => Err(CommitError::Failed(why)),
            Inserted::Maybe(why) => Err(CommitError::Maybe(why)),
        }
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
        let mut at = after.map_or(Ok(self.beginning()), Place::of)?;
        let mut done = self.stands(&at)?.map_err(StoreError::Folder)?;
        let total = self.bytes()?;
        loop {
            let page = self.page(at.n)?;
            if page.is_empty() {
                return Ok(true);
            }
            for document in page {
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
                if !each(Replayed::Commit { chunks, places, position: at.position() }, passed)? {
                    return Ok(false);
                }
            }
        }
    }

    /// What is wrong with one commit is told, and the next one is read: it is for a caller that looks for damage.
    fn reread(
        &self,
        from: (u32, u64),
        each: &mut dyn FnMut(Reread<'_>) -> Result<bool, StoreError>,
    ) -> Result<Option<(u32, u64)>, StoreError> {
        let mut behind = from.1;
        loop {
            let page = self.page(behind)?;
            if page.is_empty() {
                return Ok(None);
            }
            for document in page {
                let n = document.get("_id").and_then(Bson::as_i64);
                let n = n.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > behind);
                let n = n.ok_or_else(|| unread(behind + 1, Fault::wrong("its number is none")))?;
                let mut goes_on = true;
                if n != behind + 1 {
                    let missing = Damage::new(title(behind + 1), 0, "it is missing");
                    goes_on &= each(Reread::Damaged(missing))?;
                }
                behind = n;
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
                if !goes_on {
                    return Ok(Some((0, behind)));
                }
            }
        }
    }

    fn is_start(&self, at: &Position) -> Result<bool, StoreError> {
        Ok(Place::of(at)?.n == 0)
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let last = self.to.read(|| {
            let log = self.to.collection(LOG);
            async move {
                let last = log.find_one(doc! {}).sort(doc! { "_id": -1 });
                let last = last.projection(doc! { "log_bytes": 1 });
                last.read_concern(ReadConcern::majority()).await
            }
        })?;
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
