//! Snapshots of the log in the database: pieces and lists of them, each a document, and commits that lost their facts.
//!
//! Nothing is decided here. A snapshot is announced after a commit of the log has said what it is; a piece has a name
//! that was drawn for it alone; and a commit is emptied when nobody needs its facts any more, so doing that twice, or
//! in part, harms nothing.

use mongodb::bson::{Bson, Document, doc};

use crate::contract::fact_log::Place;
use crate::contract::fact_log::snapshot::{self, Piece, PieceId, Snapshot, Snapshots};
use crate::mongo::decide::{self, Inserted, NONCE, bytes};
use crate::mongo::fact_log::{LOG, MongoLog, title};
use crate::mongo::fields::{Fault, Fields, V, VERSION, number};
use crate::{Damage, StoreError};

/// The collection of lists of pieces.
const SNAPSHOTS: &str = "snapshots";
/// The collection of pieces.
const PIECES: &str = "pieces";
/// So many commits are emptied with one call.
const HOLLOWED_AT_ONCE: u64 = 1_000;
/// There are two snapshots, and one more for a moment; so many are read at most.
const SNAPSHOTS_MAX: i64 = 100;
/// What a hollow commit does not have any more.
const EMPTIED: [&str; 5] = ["facts", "chunks", "before", "incarnation", "incarnation_id"];

/// Whether a commit was emptied: it has what stays, and nothing else.
pub(super) fn is_hollow(document: &Document) -> bool {
    let stays = ["_id", V, NONCE, "digest", "log_bytes"];
    document.len() == stays.len() && stays.iter().all(|name| document.contains_key(name))
}

fn damaged(what: String, fault: Fault) -> StoreError {
    match fault {
        Fault::Newer => StoreError::newer(what),
        Fault::Wrong(why) => StoreError::Damaged(Damage::new(what, 0, why)),
    }
}

/// Numbered and listed, so one in another's place is found out.
fn digest(number: u64, list: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(&number.to_le_bytes()).update(list).finalize().as_bytes()
}

fn read(document: Document) -> Result<Snapshot, StoreError> {
    let of = || "a snapshot in the database".to_owned();
    let read = || {
        let mut fields = Fields::of(document)?;
        let number = fields.number("_id")?;
        fields.array::<16>(NONCE)?;
        let list = fields.bytes("snapshot")?;
        if fields.array("digest")? != digest(number, &list) {
            return Err(Fault::wrong("it does not match its digest"));
        }
        fields.finish()?;
        let snapshot = Snapshot::decode(&list).ok().filter(|it| it.number == number);
        snapshot.ok_or_else(|| Fault::wrong("what it lists is not understood"))
    };
    read().map_err(|fault| damaged(of(), fault))
}

impl MongoLog {
    /// Inserts a document that nothing depends on but that it is there.
    fn put_there(
        &self,
        collection: &str,
        what: &str,
        document: &Document,
    ) -> Result<(), StoreError> {
        match self.to.insert(collection, document) {
            Inserted::Here | Inserted::There(_) => Ok(()),
            Inserted::Not(reason) | Inserted::Maybe(reason) => Err(StoreError::Io {
                context: format!("putting {what} into {}", self.to.at),
                reason,
                kind: std::io::ErrorKind::NotConnected,
            }),
        }
    }

    fn delete(&self, collection: &str, id: &Bson) -> Result<(), StoreError> {
        self.to.read(|| {
            let (from, id) = (self.to.collection(collection), id.clone());
            async move { from.delete_one(doc! { "_id": id }).await.map(|_| ()) }
        })
    }
}

impl Snapshots for MongoLog {
    fn kept(&self) -> Result<Vec<Snapshot>, StoreError> {
        let all = self.to.read(|| self.to.page(SNAPSHOTS, doc! {}, SNAPSHOTS_MAX))?;
        all.into_iter().rev().take(2).map(read).collect()
    }

    fn put(&self, id: &PieceId, content: &[u8]) -> Result<Piece, StoreError> {
        let document = doc! {
            "_id": hex::encode(id),
            V: VERSION,
            NONCE: bytes(decide::new_nonce()?),
            "bytes": bytes(content),
        };
        self.put_there(PIECES, &snapshot::title(id), &document)?;
        let digest = *blake3::hash(content).as_bytes();
        Ok(Piece { id: *id, digest, bytes: content.len() as u64 })
    }

    fn piece(&self, piece: &Piece) -> Result<Vec<u8>, StoreError> {
        let title = snapshot::title(&piece.id);
        let found = self.to.find(PIECES, &Bson::String(hex::encode(piece.id)), None)?;
        let found = found.ok_or_else(|| Fault::wrong("it is missing"));
        let content = found.and_then(|document| {
            let mut fields = Fields::of(document)?;
            fields.take("_id")?;
            fields.array::<16>(NONCE)?;
            let content = fields.bytes("bytes")?;
            fields.finish().map(|()| content)
        });
        snapshot::checked(piece, content.map_err(|fault| damaged(title, fault))?)
    }

    fn remove(&self, pieces: &[PieceId]) -> Result<(), StoreError> {
        let mut ids = pieces.iter().map(|id| Bson::String(hex::encode(id)));
        ids.try_for_each(|id| self.delete(PIECES, &id))
    }

    fn announce(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let list = snapshot.encode();
        let document = doc! {
            "_id": number(snapshot.number),
            V: VERSION,
            NONCE: bytes(decide::new_nonce()?),
            "digest": bytes(digest(snapshot.number, &list)),
            "snapshot": bytes(list),
        };
        self.put_there(SNAPSHOTS, "a snapshot", &document)?;
        let all = self.to.read(|| self.to.page(SNAPSHOTS, doc! {}, SNAPSHOTS_MAX))?;
        let ids: Vec<Bson> = all.into_iter().filter_map(|mut found| found.remove("_id")).collect();
        // The newest two stay.
        ids.iter().rev().skip(2).try_for_each(|id| self.delete(SNAPSHOTS, id))
    }

    fn hollow(&self, from: u64, up_to: &Place) -> Result<u64, StoreError> {
        // Nothing is emptied of a log that is not the one which the snapshot is of.
        self.stands(up_to)??;
        let (mut from, mut hollowed) = (from, 0);
        while from < up_to.n {
            let to = up_to.n.min(from.saturating_add(HOLLOWED_AT_ONCE));
            let done = self.to.read(|| {
                let log = self.to.collection(LOG);
                let bounds = doc! { "$gt": number(from), "$lte": number(to) };
                let wanted = doc! { "_id": bounds, "facts": { "$exists": true } };
                let emptied: Document =
                    EMPTIED.iter().map(|name| ((*name).to_owned(), Bson::from(""))).collect();
                async move { log.update_many(wanted, doc! { "$unset": emptied }).await }
            })?;
            (from, hollowed) = (to, hollowed + done.modified_count);
        }
        Ok(hollowed)
    }
}

/// What is said of a hollow commit that was to be read, and no snapshot leads past it.
pub(super) fn lost(n: u64) -> StoreError {
    let why = "its facts are in a snapshot only, and there is none";
    StoreError::Damaged(Damage::new(title(n), 0, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::fact_log::Incarnation;

    #[test]
    fn the_digest_of_a_snapshot_is_of_its_number_and_its_list() {
        let incarnation = Incarnation::first([1; 16]);
        let place = Place { n: 5, digest: [2; 32], incarnation };
        let snapshot = Snapshot { number: 3, place, rows: [4; 32], pieces: Vec::new() };
        let list = snapshot.encode();
        let document = |number_of_it: u64, digest: [u8; 32]| {
            doc! {
                "_id": number(number_of_it), V: VERSION, NONCE: bytes([0; 16]),
                "digest": bytes(digest), "snapshot": bytes(list.clone()),
            }
        };
        assert_eq!(read(document(3, digest(3, &list))).unwrap(), snapshot);
        for (number, digest) in [(3, digest(4, &list)), (4, digest(4, &list)), (3, [0; 32])] {
            assert!(matches!(read(document(number, digest)), Err(StoreError::Damaged(_))));
        }
    }
}
