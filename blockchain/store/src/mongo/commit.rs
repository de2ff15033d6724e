//! A commit of the log as a document, and its digest.
//!
//! Commits are a chain: each says the digest of the one before it, and the digest covers everything else that a commit
//! says. So a log that was put back to older data, another store's, or one of which something was changed, is known
//! by comparing one digest.

use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, Writer};
use mongodb::bson::{Document, doc};

use crate::contract::blobs::{Extent, Placement, decode_places, encode_places};
use crate::contract::fact_log::{Incarnation, read_frames};
use crate::crypt::FACT_BYTES_MAX;
use crate::frame::{NEWER_RECORD, Record};
use crate::mongo::decide::{NONCE, bytes};
use crate::mongo::fields::{Fault, Fields, V, VERSION, number};

/// What stands in front of everything that a digest covers.
const TITLE: &[u8] = b"lucid-commit/v1\n";
/// The facts and the places of a commit have so many bytes together at most: the largest fact there is has room in its
/// frame, and a document may have twice as many.
pub const COMMIT_BYTES_MAX: usize = FACT_BYTES_MAX + (64 << 10);

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its number, from one on.
    pub n: u64,
    /// Which history of the log it is of.
    pub incarnation: Incarnation,
    /// Its writer's random bytes.
    pub nonce: [u8; 16],
    /// The digest of the commit before it.
    pub before: [u8; 32],
    /// Bytes of the facts of all commits up to this one.
    pub log_bytes: u64,
    /// The records of its facts, as they would follow each other in a file.
    pub facts: Vec<u8>,
    /// The chunks it names.
    pub chunks: Option<Chunks>,
}

/// Chunks of a commit, with all that a follower has to know of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    /// Where they were written.
    pub extent: Extent,
    /// Each of them, in order, all in the extent's unit.
    pub places: Vec<(ChunkName, Placement)>,
}

impl Chunks {
    /// The places, without the unit.
    fn encode_places(&self) -> Vec<u8> {
        encode_places(&self.places)
    }

    fn decode_places(unit: u32, bytes: &[u8]) -> Option<Vec<(ChunkName, Placement)>> {
        let mut from = Reader::new(bytes);
        let places = decode_places(unit, &mut from).ok()?;
        from.finish().ok().map(|()| places)
    }
}

impl Commit {
    /// Its digest: BLAKE3 of everything it says, each field in its one encoding.
    pub fn digest(&self) -> [u8; 32] {
        let mut to = Writer::new();
        to.raw(TITLE).u64(self.n).u32(self.incarnation.number).raw(&self.incarnation.id);
        to.raw(&self.nonce).raw(&self.before);
        to.u64(self.log_bytes).count(self.facts.len());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&to.finish()).update(&self.facts);
        let mut to = Writer::new();
        to.option(self.chunks.as_ref(), |to, chunks| {
            let Extent { unit, from, to: end, digest, first_sequence } = &chunks.extent;
            to.u32(*unit).u64(*from).u64(*end).raw(digest).u64(*first_sequence);
            to.bytes(&chunks.encode_places());
        });
        *hasher.update(&to.finish()).finalize().as_bytes()
    }

    /// Bytes of what has to be bounded.
    pub fn bytes(&self) -> usize {
        let places = self.chunks.as_ref().map_or(0, |chunks| chunks.encode_places().len());
        self.facts.len() + places
    }

    /// The document, with its digest.
    pub fn document(&self, digest: &[u8; 32]) -> Document {
        let mut document = doc! {
            "_id": number(self.n),
            V: VERSION,
            "incarnation": number(self.incarnation.number.into()),
            "incarnation_id": bytes(self.incarnation.id),
            NONCE: bytes(self.nonce),
            "before": bytes(self.before),
            "digest": bytes(*digest),
            "log_bytes": number(self.log_bytes),
            "facts": bytes(self.facts.as_slice()),
        };
        if let Some(chunks) = &self.chunks {
            document.insert(
                "chunks",
                doc! {
                    "unit": number(chunks.extent.unit.into()),
                    "from": number(chunks.extent.from),
                    "to": number(chunks.extent.to),
                    "digest": bytes(chunks.extent.digest),
                    "first_sequence": number(chunks.extent.first_sequence),
                    "places": bytes(chunks.encode_places()),
                },
            );
        }
        document
    }

    /// Reads a document that was found, and its digest, which is its own.
    pub fn read(document: Document) -> Result<(Self, [u8; 32]), Fault> {
        let mut fields = Fields::of(document)?;
        let commit = Self {
            n: fields.number("_id")?,
            incarnation: read_incarnation(&mut fields)?,
            nonce: fields.array(NONCE)?,
            before: fields.array("before")?,
            log_bytes: fields.number("log_bytes")?,
            facts: fields.bytes("facts")?,
            chunks: fields.document("chunks")?.map(read_chunks).transpose()?,
        };
        let digest = fields.array("digest")?;
        fields.finish()?;
        if commit.digest() == digest {
            Ok((commit, digest))
        } else {
            Err(Fault::wrong("it does not match its digest"))
        }
    }

    /// Its facts, each with where it begins.
    pub fn records(&self) -> Result<Vec<(u64, Record)>, Fault> {
        read_frames(&self.facts).map_err(|fault| match fault.why {
            NEWER_RECORD => Fault::Newer,
            why => Fault::Wrong(format!("{why}, at byte {}", fault.at)),
        })
    }
}

/// Which incarnation a commit is of.
pub fn read_incarnation(fields: &mut Fields) -> Result<Incarnation, Fault> {
    let number = u32::try_from(fields.number("incarnation")?);
    let number = number.map_err(|_| Fault::wrong("the number of its incarnation is none"))?;
    Ok(Incarnation { number, id: fields.array("incarnation_id")? })
}

fn read_chunks(document: Document) -> Result<Chunks, Fault> {
    let mut fields = Fields::inner(document);
    let wrong = || Fault::wrong("what it says of its chunks is not understood");
    let extent = Extent {
        unit: u32::try_from(fields.number("unit")?).map_err(|_| wrong())?,
        from: fields.number("from")?,
        to: fields.number("to")?,
        digest: fields.array("digest")?,
        first_sequence: fields.number("first_sequence")?,
    };
    let places = fields.bytes("places")?;
    fields.finish()?;
    let places = Chunks::decode_places(extent.unit, &places).ok_or_else(wrong)?;
    Ok(Chunks { extent, places })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::Bson;

    use super::*;
    use crate::contract::fact_log::frames;
    use crate::frame::RecordKind;

    fn commit() -> Commit {
        let fact = Record::plain(RecordKind::Fact, [5; 32], b"a fact".to_vec()).unwrap();
        let placement = |offset| Placement {
            unit: 3,
            offset,
            stored_length: 7,
            plain_length: 9,
            encrypted: true,
        };
        let places = [(6, 0), (7, 135)].map(|(n, at)| (ChunkName::new([n; 32]), placement(at)));
        let extent = Extent { unit: 3, from: 0, to: 270, digest: [8; 32], first_sequence: 11 };
        Commit {
            n: 2,
            incarnation: Incarnation { number: 2, id: [1; 16] },
            nonce: [2; 16],
            before: [3; 32],
            log_bytes: 1_000,
            facts: frames(&[fact]),
            chunks: Some(Chunks { extent, places: places.to_vec() }),
        }
    }

    /// The answers are of another implementation, which was written after `docs/FORMATS.md`.
    #[test]
    fn the_digest_of_a_commit_never_changes() {
        let hex = |commit: &Commit| hex::encode(commit.digest());
        assert_eq!(
            hex(&commit()),
            "e2eb3a5e885f182f9c3dff39b733b7655872f2d24db6ee9f571d5080cb0c5406"
        );
        let bare = Commit { facts: Vec::new(), chunks: None, ..commit() };
        assert_eq!(hex(&bare), "51f56ed887269dd1ba29363a7b7f0e53ab5d67fd806b19b1343738bd97283656");
    }

    #[test]
    fn a_commit_reads_back_and_nothing_else_does() {
        let (commit, digest) = (commit(), commit().digest());
        let document = commit.document(&digest);
        assert_eq!(Commit::read(document.clone()), Ok((commit.clone(), digest)));
        assert_eq!(commit.records().unwrap().len(), 1);
        let other = |name: &str, value: Option<Bson>| {
            let mut other = document.clone();
            match value {
                Some(value) => drop(other.insert(name, value)),
                None => drop(other.remove(name)),
            }
            Commit::read(other)
        };
        let fields: Vec<String> = document.keys().cloned().collect();
        assert_eq!(fields.len(), 10);
        for name in fields {
            // Without its chunks it is another commit, which has another digest.
            assert!(matches!(other(&name, None), Err(Fault::Wrong(_))), "{name}");
            assert!(matches!(other(&name, Some(Bson::Null)), Err(Fault::Wrong(_))), "{name}");
        }
        for (name, value) in [
            ("_id", number(3)),
            ("incarnation", number(1)),
            ("incarnation", number(1 << 33)),
            ("incarnation_id", bytes([0; 16])),
            (NONCE, bytes([0; 16])),
            ("before", bytes([0; 32])),
            ("digest", bytes([0; 32])),
            ("log_bytes", number(1_001)),
            ("facts", bytes([0; 3])),
            ("log_bytes", Bson::Int64(-1)),
            ("more", number(1)),
            (V, Bson::Int32(0)),
        ] {
            assert!(matches!(other(name, Some(value)), Err(Fault::Wrong(_))), "{name}");
        }
        assert_eq!(other(V, Some(Bson::Int32(VERSION + 1))), Err(Fault::Newer));
        let chunks = document.get_document("chunks").unwrap();
        for name in chunks.keys() {
            let mut changed = chunks.clone();
            changed.insert(name, if name.contains("d") { bytes([9; 32]) } else { number(1) });
            let changed = other("chunks", Some(Bson::Document(changed)));
            assert!(matches!(changed, Err(Fault::Wrong(_))), "{name}");
        }
    }

    #[test]
    fn facts_that_are_not_whole_are_not_read() {
        let facts = commit().facts;
        for to in 1..facts.len() {
            let cut = Commit { facts: facts[..to].to_vec(), ..commit() };
            assert!(matches!(cut.records(), Err(Fault::Wrong(_))), "{to}");
        }
        for at in 0..facts.len() {
            let mut flipped = commit();
            flipped.facts[at] ^= 1;
            assert!(matches!(flipped.records(), Err(Fault::Wrong(_))), "{at}");
        }
    }
}
