//! A block as a document: its record, where its transactions are, and what it is found by.

use lucid_core::digest::BlockHash;
use lucid_core::record::BlockRecord;
use lucid_core::transaction::SESSION_ANCHOR;
use lucid_core::wire::Writer;
use mongodb::bson::{Bson, Document, doc};

use crate::contract::chain::{StoredRecord, Tip};
use crate::mongo::decide::{NONCE, bytes};
use crate::mongo::fields::{Fault, Fields, V, VERSION, number};

/// What stands in front of everything that a digest covers.
const TITLE: &[u8] = b"lucid-stored-block/v1\n";
/// What is longer lies in parts of this length: in front of the block, which is decided last.
pub(super) const PART_BYTES: usize = 8 << 20;

/// A session's anchors are found by so much of the BLAKE3 of its name.
pub(super) fn session_key(session: &str) -> Bson {
    let key: Vec<u8> =
        blake3::hash(session.as_bytes()).as_bytes().iter().take(16).copied().collect();
    bytes(key)
}

/// The sessions that a record anchors, and where.
pub(super) fn anchors(record: &BlockRecord) -> impl Iterator<Item = (&str, u32)> {
    record.anchors.iter().filter_map(|kept| {
        let is_anchor = kept.transaction.kind() == Some(SESSION_ANCHOR);
        is_anchor.then(|| Some((kept.transaction.session_id()?, kept.position))).flatten()
    })
}

/// Bytes that are kept beside a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// How many there are.
    pub bytes: u64,
    /// Their BLAKE3.
    pub digest: [u8; 32],
}

impl Beside {
    /// What is to be kept of these.
    pub fn of(all: &[u8]) -> Self {
        Self { bytes: all.len() as u64, digest: *blake3::hash(all).as_bytes() }
    }

    /// How many parts they lie in.
    pub fn parts(&self) -> u64 {
        self.bytes.div_ceil(PART_BYTES as u64)
    }

    fn document(&self) -> Document {
        doc! { "bytes": number(self.bytes), "digest": bytes(self.digest) }
    }

    fn read(document: Document) -> Result<Self, Fault> {
        let mut fields = Fields::inner(document);
        let read = Self { bytes: fields.number("bytes")?, digest: fields.array("digest")? };
        fields.finish()?;
        Ok(read)
    }
}

/// What a block in the database is, but for its record and its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub height: u64,
    /// Its writer's random bytes.
    pub nonce: [u8; 16],
    /// Its hash.
    pub hash: [u8; 32],
    /// Its transactions.
    pub count: u64,
    /// The length of their texts.
    pub size: u64,
    /// How many transactions all blocks before it have, and the length of their texts.
    pub before: (u64, u64),
    /// Its record's bytes, which lie in the document unless they are long.
    pub record: Beside,
    /// Its body's bytes.
    pub body: Beside,
}

impl Head {
    /// What it is when no block is behind it.
    pub fn tip(&self) -> Tip {
        Tip { height: self.height, hash: BlockHash::new(self.hash) }
    }

    /// What is before the block behind it.
    pub fn behind(&self) -> (u64, u64) {
        (self.before.0 + self.count, self.before.1 + self.size)
    }

    /// BLAKE3 of everything that it says, each field in its one encoding.
    pub fn digest(&self) -> [u8; 32] {
        let mut to = Writer::new();
        to.raw(TITLE).u64(self.height).raw(&self.nonce).raw(&self.hash).u64(self.count);
        to.u64(self.size).u64(self.before.0).u64(self.before.1);
        for beside in [&self.record, &self.body] {
            to.u64(beside.bytes).raw(&beside.digest);
        }
        *blake3::hash(&to.finish()).as_bytes()
    }

    /// The document of a block with this record.
    pub fn document(&self, record: &BlockRecord, encoded: Vec<u8>) -> Document {
        let (ids, sessions) = found_by(record);
        let mut document = doc! {
            "_id": number(self.height),
            V: VERSION,
            NONCE: bytes(self.nonce),
            "hash": bytes(self.hash),
            "count": number(self.count),
            "size": number(self.size),
            "count_before": number(self.before.0),
            "size_before": number(self.before.1),
            "record": self.record.document(),
            "body": self.body.document(),
            "digest": bytes(self.digest()),
            "ids": ids,
            "sessions": sessions,
        };
        if self.record.parts() == 1 {
            document.insert("record_bytes", bytes(encoded));
        }
        document
    }
}

/// What the documents say that a block with this record is found by.
fn found_by(record: &BlockRecord) -> (Bson, Bson) {
    let ids: Vec<Bson> = record.transactions.iter().map(|digests| bytes(digests.id)).collect();
    let sessions: Vec<Bson> = anchors(record).map(|(name, _)| session_key(name)).collect();
    (ids.into(), sessions.into())
}

/// A document that was found.
#[derive(Debug)]
pub struct Found {
    /// What it says of its block.
    pub head: Head,
    /// The record's bytes, where they are not long.
    pub record: Option<Vec<u8>>,
    found_by: (Bson, Bson),
}

impl Found {
    /// Reads it.
    pub fn read(document: Document) -> Result<Self, Fault> {
        let mut fields = Fields::of(document)?;
        let beside = |fields: &mut Fields, name: &str| {
            let missing = || Fault::Wrong(format!("its field {name} is missing"));
            Beside::read(fields.document(name)?.ok_or_else(missing)?)
        };
        let head = Head {
            height: fields.number("_id")?,
            nonce: fields.array(NONCE)?,
            hash: fields.array("hash")?,
            count: fields.number("count")?,
            size: fields.number("size")?,
            before: (fields.number("count_before")?, fields.number("size_before")?),
            record: beside(&mut fields, "record")?,
            body: beside(&mut fields, "body")?,
        };
        let is_it = fields.array("digest")? == head.digest();
        let found_by = (fields.take("ids")?, fields.take("sessions")?);
        let record = match head.record.parts() {
            1 => Some(fields.bytes("record_bytes")?),
            _ => None,
        };
        fields.finish()?;
        match is_it {
            true => Ok(Self { head, record, found_by }),
            false => Err(Fault::wrong("it does not match its digest")),
        }
    }

    /// The record of the block, of its bytes.
    pub fn stored(&self, encoded: &[u8]) -> Result<StoredRecord, Fault> {
        if Beside::of(encoded) != self.head.record {
            return Err(Fault::wrong("its record does not match its digest"));
        }
        let record = BlockRecord::decode(encoded).map_err(|why| Fault::Wrong(why.to_string()))?;
        let is_it = record.entry.index == self.head.height
            && *record.entry.hash.as_bytes() == self.head.hash
            && found_by(&record) == self.found_by;
        if !is_it {
            return Err(Fault::wrong("it is not what its record says"));
        }
        let (transactions_before, bytes_before) = self.head.before;
        let size_bytes = self.head.size;
        Ok(StoredRecord { record, size_bytes, transactions_before, bytes_before })
    }
}
