//! How everything is decided: by inserting a document, once.

use std::time::{Duration, Instant};

use mongodb::bson::{Binary, Bson, Document, spec::BinarySubtype};
use mongodb::options::ReadConcern;

use crate::StoreError;
use crate::crypt::random;
use crate::mongo::server::Connection;

/// The field that tells a writer its own document.
pub(super) const NONCE: &str = "nonce";
/// How often a document is inserted of which nothing is known.
const TRIES: u32 = 3;
/// How long is waited before the second try; longer before the next.
const PAUSE: Duration = Duration::from_millis(50);

/// What became of a document that was to be inserted.
#[derive(Debug)]
pub(super) enum Inserted {
    /// It is there, durable.
    Here,
    /// Another one has its `_id`, durably: this one will never be there.
    There(Document),
    /// It surely is not there: it was never sent, or refused each time.
    Not(String),
    /// It is not known. It may even be there later.
    Maybe(String),
}

/// Sixteen random bytes: of two documents with the same `_id`, they tell which is which.
pub(super) fn new_nonce() -> Result<[u8; 16], StoreError> {
    random()
}

/// Bytes as a field.
pub(super) fn bytes(bytes: impl Into<Vec<u8>>) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.into() })
}

impl Connection {
    /// Inserts a document with an `_id` and a nonce, and finds out what became of it. An answer is believed only when
    /// it is good; after any other the `_id` is read, and the nonce there decides. A document that is not there yet is
    /// inserted again, which is the same insert: only one of them can come true.
    pub(super) fn insert(&self, collection: &str, document: &Document) -> Inserted {
        let begun = match self.begin() {
            Ok(begun) => begun,
            Err(why) => return Inserted::Not(why),
        };
        let (mut is_sure, mut is_away, mut why) = (true, false, String::new());
        let since = Instant::now();
        let id = document.get("_id").unwrap_or(&Bson::Null);
        for tried in 1..=TRIES {
            let (to, what) = (self.collection(collection), document.clone());
            match self.call(async move { to.insert_one(what).await }) {
                Ok(_) => {
                    begun.end(None);
                    return Inserted::Here;
                }
                Err(failure) => {
                    is_away = failure.is_away();
                    is_sure &= failure.surely_not();
                    // That the place is taken, perhaps by ourselves, is no reason to tell.
                    if why.is_empty() || !failure.is_duplicate() {
                        why = failure.to_string();
                    }
                }
            }
            if let Some(there) = self.look_for(collection, id) {
                begun.end(None);
                let is_ours = there.get(NONCE).is_some_and(|it| Some(it) == document.get(NONCE));
                return if is_ours { Inserted::Here } else { Inserted::There(there) };
            }
            if since.elapsed() > self.within() * 2 {
                break;
            }
            if tried < TRIES {
                std::thread::sleep(PAUSE * tried);
            }
        }
        begun.end(is_away.then(|| why.clone()));
        if is_sure { Inserted::Not(why) } else { Inserted::Maybe(why) }
    }

    /// What has this `_id`, if that can be had now.
    fn look_for(&self, collection: &str, id: &Bson) -> Option<Document> {
        [ReadConcern::majority(), ReadConcern::linearizable()]
            .into_iter()
            .find_map(|concern| self.call(self.look(collection, id, None, concern)).ok().flatten())
    }
}
