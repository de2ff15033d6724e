//! Values that are created once, each a document with its name as `_id`.
//!
//! Values are kept as they are given: a caller that has a secret wraps it first. Root and signing keys are given to
//! every copy of a service and are never kept here.

use mongodb::bson::{Bson, Document, doc};
use zeroize::Zeroizing;

use crate::contract::lock::{CreateError, Created, Lock};
use crate::mongo::decide::{self, Inserted, NONCE};
use crate::mongo::fields::{Fault, Fields, V, VERSION};
use crate::mongo::server::Connection;
use crate::{Damage, StoreError};

/// Their collection.
pub(super) const LOCKS: &str = "locks";

/// The values of a database.
#[derive(Clone)]
pub struct MongoLock {
    to: Connection,
}

impl MongoLock {
    pub(super) fn new(to: Connection) -> Self {
        Self { to }
    }
}

fn document(name: &str, value: &[u8]) -> Result<Document, StoreError> {
    Ok(doc! {
        "_id": name,
        V: VERSION,
        NONCE: decide::bytes(decide::new_nonce()?),
        "value": decide::bytes(value),
        "digest": decide::bytes(digest(name, value)),
    })
}

/// A value under another name is not that name's.
fn digest(name: &str, value: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(blake3::hash(name.as_bytes()).as_bytes());
    hasher.update(value);
    *hasher.finalize().as_bytes()
}

fn value(name: &str, document: Document) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let read = || {
        let mut fields = Fields::of(document)?;
        fields.take("_id")?;
        fields.array::<16>(NONCE)?;
        let value = Zeroizing::new(fields.bytes("value")?);
        let is_it = fields.array("digest")? == digest(name, &value);
        fields.finish()?;
        if is_it { Ok(value) } else { Err(Fault::wrong("it does not match its digest")) }
    };
    read().map_err(|fault| match fault {
        Fault::Newer => StoreError::newer(format_args!("the value {name} in the database")),
        Fault::Wrong(why) => {
            StoreError::Damaged(Damage::new(format!("the value {name} in the database"), 0, why))
        }
    })
}

impl Lock for MongoLock {
    fn create(&self, name: &str, given: &[u8]) -> Result<Created, CreateError> {
        let document = document(name, given).map_err(CreateError::Not)?;
        let why = |why: String| {
            let kind = std::io::ErrorKind::NotConnected;
            StoreError::Io {
                context: format!("creating {name} in {}", self.to.at),
                reason: why,
                kind,
            }
        };
        match self.to.insert(LOCKS, &document) {
            Inserted::Here => Ok(Created::Here),
            Inserted::There(there) => {
                value(name, there).map(Created::There).map_err(CreateError::Not)
            }
            Inserted::Not(said) => Err(CreateError::Not(why(said))),
            Inserted::Maybe(said) => Err(CreateError::Maybe(why(said))),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let found = self.to.find(LOCKS, &Bson::String(name.to_owned()), None)?;
        found.map(|document| value(name, document)).transpose()
    }
}
