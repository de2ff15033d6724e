//! What a data-chain acknowledges: the life of sessions and of single chunks, and what was found out about
//! them, as bytes in the log.
//!
//! `docs/FORMATS.md` gives each fact byte by byte. A fact never changes once it is written; what it
//! means for the index is decided in [`crate::projection`].
//!
//! In one file because the enumeration, its writing and its reading have to be held against each other; a third are
//! its tests.

mod chain;
mod chunks;
mod documents;
mod elsewhere;
mod indexing;
pub(crate) mod live;
mod origin;
mod removal;
mod scrub;

use std::collections::BTreeMap;

use lucid_core::cut::ChunkProfile;
use lucid_core::digest::{BlockHash, ChunkId};
use lucid_core::manifest::{Source, Terminal};
use lucid_core::session::{Layout, SessionId, SessionSecret};
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::crypt::Owner;
use lucid_store::frame::NUMBER_MAX;
use lucid_store::registry::data_chain::fact as kind;

use crate::row::SessionRow;

pub use chain::{KnownChain, OwnChain};
pub use chunks::{Forgotten, Placed, Tree, Uploaded, Verified};
pub use documents::{PART_BYTES, Stored};
pub use elsewhere::AnchoredElsewhere;
pub use indexing::{Indexing, ItemName};
pub use live::Marked;
pub(crate) use origin::{read_origin, read_source, write_origin, write_source};
pub use removal::{Held, Released, Removed, Retained};
pub use scrub::Scrubbed;

/// One acknowledged thing.
#[derive(Debug, Clone)]
pub enum Fact {
    /// A session began, or began anew in the place of an unsealed one.
    Started(Started),
    /// Chunks were added to a session.
    Referenced(Referenced),
    /// Bytes of a live stream that are not cut yet.
    Tail(Tail),
    /// A session is whole, and will never change.
    Sealed(Sealed),
    /// A session's anchor, or the tombstone of a removed one, is in a committed block.
    Anchored(Anchored),
    /// Another engine has a session's anchor, by its word alone.
    Elsewhere(AnchoredElsewhere),
    /// A session was removed.
    Removed(Removed),
    /// A session must not be removed.
    Held(Held),
    /// A session may be removed again.
    Released(Released),
    /// A session is kept until a time.
    Retained(Retained),
    /// Stored bytes were read again.
    Scrubbed(Scrubbed),
    /// Chunks are kept although no session refers to them.
    Uploaded(Uploaded),
    /// Such chunks are not kept any more.
    Forgotten(Forgotten),
    /// Chunks were put into a session by their index.
    Placed(Placed),
    /// A tree was built.
    Tree(Tree),
    /// Something was verified.
    Verified(Verified),
    /// A recording came to a moment.
    Marked(Marked),
    /// Which chain anchors are in.
    Chain(OwnChain),
    /// A document was stored, or a part of one.
    Stored(Stored),
    /// Items wait to be indexed, or do not any more.
    Indexing(Indexing),
}

/// The beginning of a session.
#[derive(Debug, Clone)]
pub struct Started {
    /// The session.
    pub session: SessionId,
    /// Whose recording it is; may be empty.
    pub user: String,
    /// What it consists of.
    pub layout: Layout,
    /// What its leaves are salted with; a public session has none.
    pub secret: Option<SessionSecret>,
    /// How it is cut.
    pub profile: ChunkProfile,
    /// When it began.
    pub started_at: Timestamp,
    /// What its owner wants to be kept with it.
    pub metadata: BTreeMap<String, String>,
    /// Whether it is filled in one go: then an interrupted one may be begun anew. Any other session is
    /// kept, whole or not, until it is sealed or removed.
    pub one_shot: bool,
    /// Whose copies its chunks are: its own, or everyone's.
    pub owner: Owner,
    /// What the credentials are called of who began it, where any were asked for.
    pub begun_by: Option<String>,
    /// Its host, paths and tags, if its recorder said.
    pub source: Option<Source>,
    /// How large the recorded terminal was, if there was one.
    pub terminal: Option<Terminal>,
}

/// Chunks of a session, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referenced {
    /// The session.
    pub session: SessionId,
    /// The index of the first chunk.
    pub start_index: u64,
    /// Where the first chunk begins in the session.
    pub start_offset: u64,
    /// The chunks, with their lengths.
    pub chunks: Vec<(ChunkId, u32)>,
}

/// Bytes at the end of a live stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The session.
    pub session: SessionId,
    /// Where they begin in the session.
    pub offset: u64,
    /// When they were taken, by this service's clock.
    pub at: Timestamp,
    /// The bytes; none, where all were cut.
    pub bytes: Vec<u8>,
}

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The session.
    pub session: SessionId,
    /// Its manifest's text.
    pub manifest: String,
    /// The text of the transaction that anchors it, built once.
    pub anchor: String,
}

/// Where a session's anchor is, or its tombstone: the proof names the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// The session.
    pub session: SessionId,
    /// The block's index.
    pub block_index: u64,
    /// The block's hash.
    pub block_hash: BlockHash,
    /// The part of the proof that leads from the transaction to the block.
    pub proof: Vec<u8>,
}

/// Chunks in one fact: a few megabytes, however large the chunks are.
pub const CHUNKS_MAX: usize = 100_000;
/// How far ahead of a session's end a chunk may be put: bounds what waits, and who looks for it.
pub const AHEAD_MAX: u64 = 100_000;
/// Bytes of a stream in one fact.
const TAIL_BYTES_MAX: usize = 4 << 20;

impl Referenced {
    /// Chunks that a session gets at its end, in as many facts as they take.
    pub fn at_end(row: &SessionRow, chunks: &[(ChunkId, u32)]) -> Vec<Fact> {
        let (mut start_index, mut start_offset) = (row.chunk_count(), row.cut_bytes);
        let mut facts = Vec::new();
        for chunks in chunks.chunks(CHUNKS_MAX) {
            let (session, chunks) = (row.id.clone(), chunks.to_vec());
            let (count, bytes) = (chunks.len() as u64, chunks.iter().map(|(_, n)| u64::from(*n)));
            let (from, offset) = (start_index, start_offset);
            (start_index, start_offset) = (from + count, offset + bytes.sum::<u64>());
            let fact = Self { session, start_index: from, start_offset: offset, chunks };
            facts.push(Fact::Referenced(fact));
        }
        facts
    }
}

impl Tail {
    /// Bytes of a stream, in as many facts as they take: one, if there are none.
    pub fn of(session: &SessionId, offset: u64, at: Timestamp, bytes: &[u8]) -> Vec<Fact> {
        let tail = |offset, bytes: &[u8]| {
            Fact::Tail(Self { session: session.clone(), offset, at, bytes: bytes.to_vec() })
        };
        if bytes.is_empty() {
            return vec![tail(offset, bytes)];
        }
        let pieces = (offset..).step_by(TAIL_BYTES_MAX).zip(bytes.chunks(TAIL_BYTES_MAX));
        pieces.map(|(offset, bytes)| tail(offset, bytes)).collect()
    }
}

impl Fact {
    /// The fact's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        match self {
            Self::Started(fact) => {
                to.u8(kind::STARTED).text(fact.session.as_str()).text(&fact.user);
                to.text(fact.layout.as_str());
                to.option(fact.secret.as_ref(), |to, secret| {
                    to.raw(secret.as_bytes());
                });
                to.text(&fact.profile.to_string()).i64(fact.started_at.as_micros());
                to.count(fact.metadata.len());
                for (key, value) in &fact.metadata {
                    to.text(key).text(value);
                }
                to.u8(u8::from(fact.one_shot));
                write_owner(&mut to, fact.owner);
                let begun_by = fact.begun_by.as_deref();
                write_origin(&mut to, begun_by, fact.source.as_ref(), fact.terminal);
            }
            Self::Referenced(fact) => {
                to.u8(kind::REFERENCED).text(fact.session.as_str());
                to.u64(fact.start_index).u64(fact.start_offset);
                to.count(fact.chunks.len());
                for (id, length) in &fact.chunks {
                    to.raw(id.as_bytes()).u32(*length);
                }
            }
            Self::Tail(fact) => {
                to.u8(kind::TAIL).text(fact.session.as_str()).u64(fact.offset);
                to.i64(fact.at.as_micros()).bytes(&fact.bytes);
            }
            Self::Sealed(fact) => {
                to.u8(kind::SEALED).text(fact.session.as_str());
                to.text(&fact.manifest).text(&fact.anchor);
            }
            Self::Anchored(fact) => {
                to.u8(kind::ANCHORED).text(fact.session.as_str());
                to.u64(fact.block_index).raw(fact.block_hash.as_bytes()).bytes(&fact.proof);
            }
            Self::Elsewhere(fact) => fact.write(to.u8(kind::ELSEWHERE).text(fact.session.as_str())),
            Self::Removed(fact) => fact.encode(&mut to),
            Self::Held(fact) => fact.encode(&mut to),
            Self::Released(fact) => fact.encode(&mut to),
            Self::Retained(fact) => fact.encode(&mut to),
            Self::Scrubbed(fact) => fact.write(&mut to),
            Self::Chain(fact) => fact.write(&mut to),
            Self::Stored(fact) => fact.write(&mut to),
            Self::Indexing(fact) => fact.write(&mut to),
            Self::Uploaded(fact) => fact.write(&mut to),
            Self::Forgotten(fact) => fact.write(&mut to),
            Self::Placed(fact) => fact.write(&mut to),
            Self::Tree(fact) => fact.write(&mut to),
            Self::Verified(fact) => fact.write(&mut to),
            Self::Marked(fact) => fact.write(to.u8(kind::MARKED).text(fact.session.as_str())),
        }
        to.finish()
    }

    /// Reads [`Fact::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let fact = match from.u8("a fact's kind")? {
            kind::UPLOADED => Self::Uploaded(Uploaded::read(&mut from)?),
            kind::FORGOTTEN => Self::Forgotten(Forgotten::read(&mut from)?),
            kind::PLACED => Self::Placed(Placed::read(&mut from)?),
            kind::NOTED => chunks::read_noted(&mut from)?,
            kind::SCRUBBED => Self::Scrubbed(Scrubbed::read(&mut from)?),
            kind::CHAIN => Self::Chain(OwnChain::read(&mut from)?),
            kind::STORED => Self::Stored(Stored::read(&mut from)?),
            kind::INDEXING => Self::Indexing(Indexing::read(&mut from)?),
            of_session => Self::decode_of_session(of_session, &mut from)?,
        };
        from.finish()?;
        Ok(fact)
    }

    /// The facts that begin with their session.
    fn decode_of_session(of_session: u8, from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let session: SessionId = from
            .text("a session id")?
            .parse()
            .map_err(|_| WireFault::Invalid { what: "a session id" })?;
        Ok(match of_session {
            kind::STARTED => Self::Started(read_started(session, from)?),
            kind::REFERENCED => {
                let start_index = read_number(from, "a start index")?;
                let start_offset = read_number(from, "a start offset")?;
                let count = from.u32("a chunk count")?;
                let mut chunks = Vec::new();
                for _ in 0..count {
                    let id = ChunkId::new(from.array("a chunk id")?);
                    chunks.push((id, from.u32("a chunk length")?));
                }
                Self::Referenced(Referenced { session, start_index, start_offset, chunks })
            }
            kind::TAIL => Self::Tail(Tail {
                session,
                offset: read_number(from, "a tail's offset")?,
                at: from.time("a tail's time")?,
                bytes: from.bytes("a tail")?.to_vec(),
            }),
            kind::SEALED => Self::Sealed(Sealed {
                session,
                manifest: from.text("a manifest")?.to_owned(),
                anchor: from.text("an anchor")?.to_owned(),
            }),
            kind::ANCHORED => Self::Anchored(Anchored {
                session,
                block_index: from.u64("a block index")?,
                block_hash: BlockHash::new(from.array("a block hash")?),
                proof: from.bytes("a proof")?.to_vec(),
            }),
            kind::ELSEWHERE => Self::Elsewhere(AnchoredElsewhere::read(session, from)?),
            kind::REMOVED => Self::Removed(Removed::decode(session, from)?),
            kind::HELD => Self::Held(Held::decode(session, from)?),
            kind::RETAINED => Self::Retained(Retained::decode(session, from)?),
            kind::RELEASED => Self::Released(Released { session }),
            kind::MARKED => Self::Marked(Marked::read(session, from)?),
            _ => return Err(WireFault::Invalid { what: "a fact's kind" }),
        })
    }
}

fn read_started(session: SessionId, from: &mut Reader<'_>) -> Result<Started, WireFault> {
    let invalid = |what| WireFault::Invalid { what };
    let user = from.text("a user")?.to_owned();
    let layout = from.text("a layout")?.parse().map_err(|_| invalid("a layout"))?;
    let secret = from.option("a secret", |from| from.array("a secret").map(SessionSecret::new))?;
    let profile = from.text("a profile")?.parse().map_err(|_| invalid("a profile"))?;
    let started_at = from.time("a time")?;
    let metadata = read_metadata(from)?;
    let one_shot = read_flag(from, "a manner")?;
    let owner = read_owner(from)?;
    let origin = read_origin(from)?;
    Ok(Started {
        session,
        user,
        layout,
        secret,
        profile,
        started_at,
        metadata,
        one_shot,
        owner,
        begun_by: origin.begun_by,
        source: origin.source,
        terminal: origin.terminal,
    })
}

/// Writes what credentials are called behind everything else: nothing, where none were asked for.
pub(crate) fn write_name_at_end(to: &mut Writer, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        to.text(name);
    }
}

/// Reads [`write_name_at_end`].
pub(crate) fn read_name_at_end(from: &mut Reader<'_>) -> Result<Option<String>, WireFault> {
    if from.is_empty() {
        return Ok(None);
    }
    match from.text("a caller")? {
        "" => Err(WireFault::Invalid { what: "a caller" }),
        name => Ok(Some(name.to_owned())),
    }
}

/// Reads what is kept with a session. Its keys ascend: one fact has one spelling.
pub(crate) fn read_metadata(from: &mut Reader<'_>) -> Result<BTreeMap<String, String>, WireFault> {
    let mut metadata = BTreeMap::new();
    for _ in 0..from.u32("a metadata count")? {
        let key = from.text("a metadata key")?.to_owned();
        if metadata.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(WireFault::Invalid { what: "a metadata key" });
        }
        metadata.insert(key, from.text("a metadata value")?.to_owned());
    }
    Ok(metadata)
}

/// Reads a number that something is added to: one so high that this could overflow is no place and no count.
pub(crate) fn read_number(from: &mut Reader<'_>, what: &'static str) -> Result<u64, WireFault> {
    let number = from.u64(what)?;
    if number < NUMBER_MAX { Ok(number) } else { Err(WireFault::Invalid { what }) }
}

/// Reads yes or no, each of which has one byte.
pub(crate) fn read_flag(from: &mut Reader<'_>, what: &'static str) -> Result<bool, WireFault> {
    match from.u8(what)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireFault::Invalid { what }),
    }
}

/// Writes an owner; that everyone shares takes one byte.
pub(crate) fn write_owner(to: &mut Writer, owner: Owner) {
    to.option((!owner.is_shared()).then_some(owner), |to, owner| {
        to.raw(owner.as_bytes());
    });
}

/// Reads [`write_owner`].
pub(crate) fn read_owner(from: &mut Reader<'_>) -> Result<Owner, WireFault> {
    match from.option("an owner", |from| from.array("an owner"))? {
        None => Ok(Owner::SHARED),
        Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => {
            Err(WireFault::Invalid { what: "an owner" })
        }
        Some(owner) => Ok(Owner::new(owner)),
    }
}

#[cfg(test)]
mod tests {
    use lucid_core::digest::{ChunkName, SessionRoot};
    use lucid_core::elsewhere::Elsewhere;
    use lucid_core::timeline::Mark;
    use lucid_store::Damage;
    use lucid_store::vault::scrub::{Cursor, Finding};

    use super::*;
    use crate::document::{DocumentKind, Source as DocumentSource};

    fn elsewhere() -> AnchoredElsewhere {
        let words = Elsewhere {
            engine: "http://e".into(),
            session: "u".into(),
            status: "confirmed".into(),
            transaction: Some("t".into()),
            height: Some(7),
            confirmed_at: None,
        };
        AnchoredElsewhere { session: "s-1".parse().unwrap(), words }
    }

    #[test]
    fn an_anchor_elsewhere_has_its_bytes() {
        assert_eq!(
            hex::encode(Fact::Elsewhere(elsewhere()).encode()),
            "2303000000732d3108000000687474703a2f2f65010000007509000000636f6e6669726d6564\
             0101000000740107000000000000000\
             0"
        );
    }

    #[test]
    fn every_fact_reads_back_and_no_cut_one_does() {
        let session: SessionId = "s-1".parse().unwrap();
        let facts = [
            Fact::Started(Started {
                session: session.clone(),
                user: "ann".into(),
                layout: Layout::Tree,
                secret: Some(SessionSecret::new([7; 32])),
                profile: ChunkProfile::default(),
                started_at: Timestamp::from_micros(5),
                metadata: BTreeMap::from([("k".into(), "v".into())]),
                one_shot: true,
                owner: Owner::new([8; 16]),
                begun_by: None,
                source: None,
                terminal: None,
            }),
            Fact::Referenced(Referenced {
                session: session.clone(),
                start_index: 3,
                start_offset: 900,
                chunks: vec![(ChunkId::new([1; 32]), 10), (ChunkId::new([2; 32]), 20)],
            }),
            Fact::Tail(Tail {
                session: session.clone(),
                offset: 4,
                at: Timestamp::from_micros(-7),
                bytes: b"tail".to_vec(),
            }),
            Fact::Marked(Marked {
                session: session.clone(),
                mark: Mark { micros: -5, offset: 900 },
            }),
            Fact::Sealed(Sealed {
                session: session.clone(),
                manifest: "{}".into(),
                anchor: "{}".into(),
            }),
            Fact::Removed(Removed { session: session.clone(), tombstone: Some("{}".into()) }),
            Fact::Retained(Retained { session: session.clone(), until: Timestamp::from_micros(9) }),
            Fact::Held(Held {
                session: session.clone(),
                reason: "a court".into(),
                since: Timestamp::from_micros(7),
            }),
            Fact::Released(Released { session: session.clone() }),
            Fact::Scrubbed(Scrubbed {
                round: 2,
                next: Some(Cursor { chunks: true, number: 3, offset: 4 }),
                ended_at: Some(Timestamp::from_micros(9)),
                findings: vec![(
                    1,
                    Finding {
                        damage: Damage::new("chunks/00000001.seg", 7, "flipped"),
                        chunk: Some(ChunkName::new([4; 32])),
                    },
                )],
                ..Scrubbed::default()
            }),
            Fact::Anchored(Anchored {
                session: session.clone(),
                block_index: 9,
                block_hash: BlockHash::new([3; 32]),
                proof: vec![1, 2, 3],
            }),
            Fact::Elsewhere(elsewhere()),
            Fact::Uploaded(Uploaded {
                at: Timestamp::from_micros(5),
                until: Some(Timestamp::from_micros(6)),
                metadata: "{}".into(),
                chunks: vec![(ChunkId::new([1; 32]), 10)],
                sender: None,
            }),
            Fact::Forgotten(Forgotten { chunks: vec![ChunkId::new([1; 32])] }),
            Fact::Chain(OwnChain::default()),
            Fact::Chain(OwnChain {
                known: Some(KnownChain {
                    genesis: Some(BlockHash::new([6; 32])),
                    block_index: 9,
                    block_hash: BlockHash::new([3; 32]),
                    transaction: "anchor:1".into(),
                }),
            }),
            Fact::Placed(Placed {
                session: session.clone(),
                index: 7,
                at: Timestamp::from_micros(5),
                alias: Some("s-1_chunk_000007".into()),
                metadata: String::new(),
                chunks: vec![(ChunkId::new([1; 32]), 10), (ChunkId::new([2; 32]), 20)],
            }),
            Fact::Tree(Tree {
                root: SessionRoot::new([4; 32]),
                session: Some(session.clone()),
                at: Timestamp::from_micros(5),
                first: 0,
                count: 2,
                leaves: vec![[5; 32], [6; 32]],
            }),
            Fact::Tree(Tree {
                root: SessionRoot::new([4; 32]),
                session: Some(session),
                at: Timestamp::from_micros(5),
                first: 1 << 17,
                count: 1 << 18,
                leaves: vec![[5; 32], [6; 32]],
            }),
            Fact::Stored(Stored {
                kind: DocumentKind::Block,
                source: DocumentSource::Synchronised,
                at: Timestamp::from_micros(5),
                id: "h".into(),
                part: 1,
                parts: 2,
                bytes: b"{}".to_vec(),
            }),
            Fact::Indexing(Indexing::Queued {
                at: Timestamp::from_micros(5),
                items: vec![(ItemName([1; 16]), DocumentKind::Transaction, "{}".into())],
            }),
            Fact::Indexing(Indexing::Indexed {
                at: Timestamp::from_micros(5),
                names: vec![ItemName([3; 16])],
                entries: vec![(DocumentKind::Session, "s".into(), "{}".into())],
            }),
            Fact::Indexing(Indexing::Buried {
                at: Timestamp::from_micros(5),
                name: ItemName([3; 16]),
                why: "why".into(),
            }),
            Fact::Indexing(Indexing::Revived {
                at: Timestamp::from_micros(5),
                name: ItemName([3; 16]),
            }),
            Fact::Verified(Verified {
                at: Timestamp::from_micros(5),
                subject: "s-1".into(),
                is_session: true,
                verified: false,
                reason: "why".into(),
            }),
        ];
        for fact in facts {
            let bytes = fact.encode();
            assert_eq!(Fact::decode(&bytes).unwrap().encode(), bytes);
            for cut in 0..bytes.len() {
                assert!(Fact::decode(&bytes[..cut]).is_err());
            }
        }
    }

    #[test]
    fn documents_and_items_have_their_bytes() {
        let at = Timestamp::from_micros(0x0102);
        let stored = Stored::of(DocumentKind::Session, DocumentSource::Submitted, at, "s", "{}");
        assert_eq!(
            hex::encode(Fact::Stored(stored[0].clone()).encode()),
            "2002000201000000000000010000007300000000010000000200000\
             07b7d"
        );
        let name = ItemName::new(at, [7; 4], 9);
        let queued =
            Indexing::Queued { at, items: vec![(name, DocumentKind::Transaction, "{}".into())] };
        assert_eq!(
            hex::encode(Fact::Indexing(queued).encode()),
            "2100020100000000000001000000\
             80000000000001020707070700000009\
             01020000007b7d"
        );
        let buried = Indexing::Buried { at, name, why: "w".into() };
        assert_eq!(
            hex::encode(Fact::Indexing(buried).encode()),
            "2102020100000000000080000000000001020707070700000009\
             0100000077"
        );
        let mut beyond = Fact::Stored(stored[0].clone()).encode();
        // The part of one is the part of none.
        let part = beyond.len() - 2 - 4 - 8;
        beyond[part] = 1;
        assert!(Fact::decode(&beyond).is_err());
    }

    fn fits(facts: &[Fact]) -> usize {
        for fact in facts {
            let bytes = fact.encode();
            assert!(bytes.len() <= lucid_store::crypt::FACT_BYTES_MAX, "{} bytes", bytes.len());
            assert_eq!(Fact::decode(&bytes).unwrap().encode(), bytes);
        }
        facts.len()
    }

    #[test]
    fn a_second_spelling_of_a_fact_is_refused() {
        let session = "s-1".parse().unwrap();
        let edge = Timestamp::from_micros(i64::MAX);
        let sound = Fact::Held(Held { session, reason: "r".into(), since: edge }).encode();
        let mut beyond = sound.clone();
        let at =
            sound.windows(8).position(|bytes| bytes == edge.as_micros().to_le_bytes()).unwrap();
        beyond[at..at + 8].copy_from_slice(&(edge.as_micros() + 1).to_le_bytes());
        assert!(Fact::decode(&sound).is_ok());
        assert!(Fact::decode(&beyond).is_err(), "a time behind the last one is not that one");

        let read = |keys: &[&str]| {
            let mut to = Writer::new();
            to.count(keys.len());
            for key in keys {
                to.text(key).text("v");
            }
            read_metadata(&mut Reader::new(&to.finish()))
        };
        assert_eq!(read(&["a", "b"]).unwrap().len(), 2);
        assert!(read(&["b", "a"]).is_err() && read(&["a", "a"]).is_err());
        assert!(read_flag(&mut Reader::new(&[2]), "a flag").is_err());
        let number = |number: u64| read_number(&mut Reader::new(&number.to_le_bytes()), "a number");
        assert_eq!(number(NUMBER_MAX - 1), Ok(NUMBER_MAX - 1));
        assert!(number(NUMBER_MAX).is_err(), "adding to it could overflow");
    }

    #[test]
    fn what_is_too_much_for_one_fact_takes_several_and_each_reads_back() {
        let session: SessionId = "s".repeat(128).parse().unwrap();
        let at = Timestamp::from_micros(5);
        let tail = |length| Tail::of(&session, 7, at, &vec![1; length]);
        for (length, count) in [(0, 1), (TAIL_BYTES_MAX, 1), (TAIL_BYTES_MAX + 1, 2), (16 << 20, 4)]
        {
            let facts = tail(length);
            assert_eq!(fits(&facts), count, "{length}");
            let mut next = 7;
            for fact in &facts {
                let Fact::Tail(tail) = fact else { panic!("{fact:?}") };
                assert_eq!(tail.offset, next);
                next += tail.bytes.len() as u64;
            }
            assert_eq!(next, 7 + length as u64);
        }
        let chunk = (ChunkId::new([1; 32]), 10);
        let uploaded = |count| {
            Uploaded::of(at, None, "", &vec![chunk; count], None)
                .into_iter()
                .map(Fact::Uploaded)
                .collect()
        };
        for (count, facts) in [(CHUNKS_MAX, 1), (CHUNKS_MAX + 1, 2), (CHUNKS_MAX * 3, 3)] {
            let uploaded: Vec<Fact> = uploaded(count);
            assert_eq!(fits(&uploaded), facts);
        }
        let root = SessionRoot::new([4; 32]);
        for (leaves, facts) in [(1 << 17, 1), ((1 << 17) + 1, 2), (1 << 20, 8)] {
            let parts = Tree::parts(root, Some(&session), at, &vec![[5; 32]; leaves]);
            let read: usize = parts.iter().map(|part| part.leaves.len()).sum();
            assert_eq!(read, leaves);
            assert_eq!(fits(&parts.into_iter().map(Fact::Tree).collect::<Vec<_>>()), facts);
        }
    }
}
