//! Small worlds: a session, its anchor and its block; and what bundles of them look like.
//!
//! In one file because all of its tests share the bundles they are made of.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::anchor::Anchor;
use crate::block::Block;
use crate::catalogue::{Entry, EntryKind, FileTime, Owner};
use crate::claim::Claim as _;
use crate::cut::ChunkProfile;
use crate::digest::{ChunkId, SessionRoot};
use crate::elsewhere::session_uuid;
use crate::json::Json;
use crate::manifest::{Appendix, AppendixKind, End, ExitStatus, Version};
use crate::page::PageWriter;
use crate::session::{Layout, Salt, SessionId, SessionSecret, salt};
use crate::sign::SigningKey;
use crate::time::Timestamp;
use crate::timeline::{MARK_MICROS_MIN, Mark, PlacedPage};
use crate::transaction::Transaction;

/// A sealed session, all of it, and the block that its anchor is in.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) manifest: Manifest,
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) hashes: Vec<NodeHash>,
    pub(crate) recorder: SigningKey,
    pub(crate) producer: SigningKey,
    pub(crate) block: Block,
}

/// How to make a world.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) session: &'static str,
    pub(crate) layout: Layout,
    pub(crate) chunk_bytes: usize,
    pub(crate) scale: usize,
    pub(crate) secret: Option<[u8; 32]>,
    pub(crate) recorder: u8,
    pub(crate) producer: u8,
    pub(crate) end: End,
    /// Seconds between the marks of a recording, and the bytes between them; 0 for none.
    pub(crate) marks: (i64, u64),
    /// The doubt of their times, in microseconds.
    pub(crate) doubt: u64,
}

pub(crate) const SMALL: Plan = Plan {
    session: "small",
    layout: Layout::Tree,
    chunk_bytes: 40,
    scale: 1,
    secret: Some([3; 32]),
    recorder: 1,
    producer: 2,
    end: End::Eof,
    marks: (0, 0),
    doubt: 0,
};

/// A recording with a mark every two seconds, thirty bytes apart.
pub(crate) const RECORDING: Plan = Plan { layout: Layout::Raw, marks: (2, 30), ..SMALL };

pub(crate) const T0: i64 = 1_700_000_000_000_000;

fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn files(scale: usize) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a/big", noise("big", 100 * scale)),
        ("a/empty", Vec::new()),
        ("b", noise("b", 50 * scale)),
    ]
}

fn catalogue(scale: usize) -> Vec<Vec<u8>> {
    let plain = |path: &str, kind, target: &str| Entry {
        path: path.into(),
        kind,
        mode: 0o644,
        modified: FileTime { seconds: 5, nanos: 6 },
        owner: Owner::default(),
        target: target.into(),
        ..Entry::bare()
    };
    let mut entries: BTreeMap<Vec<u8>, Entry> = [
        plain("", EntryKind::Folder, ""),
        plain("a", EntryKind::Folder, ""),
        plain("z", EntryKind::Symlink, "../elsewhere"),
    ]
    .into_iter()
    .map(|entry| (entry.key(), entry))
    .collect();
    let mut offset = 0;
    for (path, bytes) in files(scale) {
        let length = bytes.len() as u64;
        let entry =
            Entry { offset, length, changed: path == "b", ..plain(path, EntryKind::File, "") };
        offset += length;
        entries.insert(entry.key(), entry);
    }
    let mut writer = PageWriter::new();
    let mut pages = Vec::new();
    for (key, entry) in entries {
        pages.extend(writer.push(&key, &entry.encode().unwrap()).unwrap());
    }
    pages.extend(writer.finish().unwrap());
    pages
}

/// A mark every so many seconds and bytes, from [`T0`] on.
fn timeline((seconds, bytes): (i64, u64), doubt: u64, content_bytes: u64) -> Vec<Vec<u8>> {
    let mut writer = PageWriter::new();
    let mut pages = Vec::new();
    for (number, offset) in (0..).zip((0..content_bytes).step_by(bytes as usize)) {
        let mark = Mark { micros: T0 + number * seconds * MARK_MICROS_MIN, offset };
        pages.extend(writer.push(&mark.key(), &mark.encode(doubt)).unwrap());
    }
    pages.extend(writer.finish().unwrap());
    pages
}

pub(crate) fn leaves_of(chunks: &[Vec<u8>], secret: Option<&SessionSecret>) -> Vec<Leaf> {
    let mut offset = 0;
    (0..)
        .zip(chunks)
        .map(|(index, chunk)| {
            let length = chunk.len() as u32;
            let chunk_id = blake3::hash(chunk).into();
            let leaf = Leaf { index, offset, length, chunk_id, salt: salt(secret, index) };
            offset += u64::from(length);
            leaf
        })
        .collect()
}

pub(crate) fn world(plan: Plan) -> World {
    let content =
        files(plan.scale).into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>().concat();
    let mut chunks: Vec<Vec<u8>> = content.chunks(plan.chunk_bytes).map(<[u8]>::to_vec).collect();
    let kind = match plan.layout {
        Layout::Tree => AppendixKind::Catalogue,
        Layout::Raw => AppendixKind::Timeline,
    };
    let pages = match (plan.layout, plan.marks) {
        (Layout::Tree, _) => catalogue(plan.scale),
        (Layout::Raw, (0, _)) => Vec::new(),
        (Layout::Raw, marks) => timeline(marks, plan.doubt, content.len() as u64),
    };
    let appended: usize = pages.iter().map(Vec::len).sum();
    chunks.extend(pages);
    let secret = plan.secret.map(SessionSecret::new);
    let leaves = leaves_of(&chunks, secret.as_ref());
    let session_id: SessionId = plan.session.parse().unwrap();
    let hashes: Vec<NodeHash> =
        leaves.iter().map(|leaf| *leaf.hash(&session_id.key()).as_bytes()).collect();
    let content_bytes = content.len() as u64;
    let appendix =
        (appended > 0).then_some(Appendix { kind, offset: content_bytes, length: appended as u64 });
    let manifest = Manifest {
        version: if plan.end == End::Complete { Version::One } else { Version::Two },
        session_id,
        user_id: "ada".into(),
        started_at: Timestamp::from_micros(T0),
        ended_at: Timestamp::from_micros(T0 + 1),
        layout: plan.layout,
        public: plan.secret.is_none(),
        chunk_profile: ChunkProfile::default(),
        chunk_count: chunks.len() as u64,
        content_bytes,
        appendix,
        total_bytes: content_bytes + appended as u64,
        merkle_root: SessionRoot::new(tree::root::<Blake3Tree>(&hashes)),
        end: plan.end,
        metadata: BTreeMap::new(),
        previous_manifest: None,
        source: None,
        terminal: None,
        retain_until: None,
    };
    let recorder = SigningKey::from_seed([plan.recorder; 32]);
    let producer = SigningKey::from_seed([plan.producer; 32]);
    let anchor = Anchor::of(&manifest, Timestamp::from_micros(T0 + 2)).unwrap();
    let other = |id: &str| Transaction::from_json(&Json::object([("id", Json::from(id))])).unwrap();
    let transactions = vec![other("t0"), anchor.sign(&recorder).unwrap(), other("t2")];
    let block = Block::build(None, transactions, Timestamp::from_micros(T0 + 3), &producer);
    World { manifest, chunks, leaves, hashes, recorder, producer, block }
}

impl World {
    pub(crate) fn anchored(&self) -> AnchorInclusion {
        AnchorInclusion::of(&BlockRecord::of(&self.block), self.block.transactions[1].id()).unwrap()
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        let mut all = self.chunks.concat();
        all.truncate(self.manifest.content_bytes as usize);
        all
    }

    fn place<'a>(&self, leaf: &Leaf, bytes: &'a [u8]) -> PlacedPage<'a> {
        let is_first = leaf.offset == self.manifest.content_bytes;
        let is_last = leaf.index + 1 == self.manifest.chunk_count;
        PlacedPage::read(bytes, leaf.index, is_first, is_last).unwrap()
    }

    fn bytes_of(&self, span: &Span, pages: &[(Leaf, Vec<u8>)]) -> Range<u64> {
        let placed: Vec<_> = pages.iter().map(|(leaf, bytes)| self.place(leaf, bytes)).collect();
        span.bytes(&placed, self.manifest.content_bytes).map_or(0..0, |within| within.bytes)
    }

    /// For each end the page that reaches behind it and the one before; the last two, if none does.
    fn pages_around(&self, span: &Span) -> Vec<(Leaf, Vec<u8>)> {
        let all: Vec<_> = self.leaves.iter().zip(&self.chunks).collect();
        let pages: Vec<_> =
            all.iter().filter(|(leaf, _)| leaf.offset >= self.manifest.content_bytes).collect();
        let doubt = self.place(pages[0].0, pages[0].1).doubt().unwrap().unwrap_or(0);
        let mut wanted: Vec<usize> = span
            .bounds(doubt)
            .iter()
            .flat_map(|bound| {
                let reaches =
                    |page: &&&(&Leaf, &Vec<u8>)| self.place(page.0, page.1).reaches(*bound);
                let level = |n: usize| crate::page::Page::decode(pages[n].1).unwrap().level();
                let leaf_pages = (0..pages.len()).filter(|n| level(*n) == 0).count();
                let at = pages.iter().position(|page| reaches(&page)).unwrap_or(leaf_pages);
                [at.saturating_sub(1), at.min(pages.len() - 1)]
            })
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.into_iter().map(|n| (*pages[n].0, pages[n].1.clone())).collect()
    }

    fn page_of(&self, path: &str) -> (Leaf, Vec<u8>) {
        let key = crate::catalogue::path_key(path.as_bytes());
        let pages = self.leaves.iter().zip(&self.chunks);
        let mut pages = pages.filter(|(leaf, _)| leaf.offset >= self.manifest.content_bytes);
        let holds = |bytes: &[u8]| crate::page::Page::decode(bytes).unwrap().get(&key).is_some();
        let first = pages.clone().next().unwrap();
        let (leaf, bytes) = pages.find(|(_, bytes)| holds(bytes)).unwrap_or(first);
        (*leaf, bytes.clone())
    }

    pub(crate) fn try_prove(&self, subject: Subject) -> Result<Bundle, BuildFault> {
        let (range, pages) = match &subject {
            Subject::Session => (0..self.manifest.total_bytes, vec![]),
            Subject::Chunks(a, b) => {
                let end = self.leaves.get(*b as usize - 1).map_or(u64::MAX, Leaf::end);
                (self.leaves[*a as usize].offset..end, vec![])
            }
            Subject::Bytes(a, b) => (*a..*b, vec![]),
            Subject::Path(path) => {
                let path = String::from_utf8(path.clone()).unwrap();
                let (leaf, bytes) = self.page_of(&path);
                let key = crate::catalogue::path_key(path.as_bytes());
                let page = crate::page::Page::decode(&bytes).unwrap();
                let value = page.get(&key).map(<[u8]>::to_vec);
                let range = value.map_or(0..0, |value| {
                    let entry = Entry::decode(&key, &value).unwrap();
                    entry.offset..entry.offset + entry.length
                });
                (range, vec![(leaf, bytes)])
            }
            Subject::Span(span) => {
                let pages = self.pages_around(span);
                (self.bytes_of(span, &pages), pages)
            }
        };
        let leaves = covering(&range, &self.leaves).to_vec();
        let edge_chunks: Vec<&[u8]> = edges(&range, &leaves)
            .into_iter()
            .map(|leaf| self.chunks[leaf.index as usize].as_slice())
            .collect();
        Bundle::build(subject, &self.manifest, &self.hashes, leaves.clone(), &edge_chunks, pages)
    }

    /// The anchor, and what an engine says that keeps no chain of ours.
    pub(crate) fn elsewhere(&self) -> AnchoredElsewhere {
        let words = Elsewhere {
            engine: "http://engine:8084".into(),
            session: session_uuid(&self.manifest.session_id),
            status: "confirmed".into(),
            transaction: Some("0xfeed".into()),
            height: Some(7),
            confirmed_at: Some("2026-03-01T13:00:01".into()),
        };
        AnchoredElsewhere { transaction: self.anchored().transaction, words }
    }

    pub(crate) fn prove(&self, subject: Subject) -> Bundle {
        self.try_prove(subject).unwrap().anchored_in(self.anchored())
    }
}

pub(crate) fn path(text: &str) -> Subject {
    Subject::Path(text.into())
}

/// Every kind of subject, with the content it is about.
pub(crate) fn subjects(world: &World) -> Vec<(Subject, Vec<u8>)> {
    let content = world.content();
    let scale = content.len() / 150;
    let last = world.chunks.len();
    vec![
        (Subject::Session, content.clone()),
        (Subject::Chunks(1, last as u64), world.chunks[1..].concat()),
        (Subject::Bytes(10, 15), content[10..15].to_vec()),
        (Subject::Bytes(30, 130), content[30..130].to_vec()),
        (Subject::Bytes(0, content.len() as u64), content.clone()),
        (path("a/big"), content[..100 * scale].to_vec()),
        (path("b"), content[100 * scale..].to_vec()),
        (path("a/empty"), Vec::new()),
        (path("a"), Vec::new()),
        (path(""), Vec::new()),
        (path("z"), Vec::new()),
    ]
}

#[test]
fn bundles_read_back() {
    let world = world(SMALL);
    for (subject, _) in subjects(&world) {
        let bundle = world.prove(subject);
        let bytes = bundle.encode();
        assert_eq!(Bundle::decode(&bytes), Ok(bundle));
        for cut in 0..bytes.len() {
            assert!(Bundle::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn the_way_into_a_block_reads_back_alone() {
    let anchored = world(SMALL).anchored();
    let bytes = anchored.encode();
    for cut in 0..bytes.len() {
        assert!(AnchorInclusion::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert!(AnchorInclusion::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    assert_eq!(AnchorInclusion::decode(&bytes), Ok(anchored));
}

#[test]
fn a_bundle_has_a_greatest_length() {
    let most = vec![0; BUNDLE_BYTES_MAX];
    assert_eq!(Bundle::decode(&most), Err(BundleFault::Magic));
    let bytes = BUNDLE_BYTES_MAX + 1;
    assert_eq!(Bundle::decode(&vec![0; bytes]), Err(BundleFault::TooLong { bytes }));
}

#[test]
fn every_altered_byte_breaks_the_checksum() {
    let bytes = world(SMALL).prove(path("b")).encode();
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 0x20;
        assert!(Bundle::decode(&other).is_err(), "byte {at}");
    }
    let longer = [bytes.as_slice(), b"\n"].concat();
    assert_eq!(Bundle::decode(&longer), Err(BundleFault::Checksum));
}

// Frozen: a bundle must still be readable when everything else is gone.
#[test]
fn bundles_are_frozen() {
    let vectors = include_str!("../../tests/vectors/bundle.txt");
    let raw = Plan { layout: Layout::Raw, scale: 1, chunk_bytes: 100, ..SMALL };
    let marked = Plan { chunk_bytes: 100, ..RECORDING };
    let span = Subject::Span(Span { from: T0 + 2_000_000, to: T0 + 3_000_000 });
    let exited = End::Exit(ExitStatus::Code(3));
    for (name, plan, subject) in [
        ("bytes", Plan { end: End::Complete, ..raw }, Subject::Bytes(90, 110)),
        ("span", Plan { end: End::Complete, ..marked }, span.clone()),
        ("bytes 2", Plan { end: exited, ..raw }, Subject::Bytes(90, 110)),
        ("span 2", marked, span.clone()),
        ("doubt", Plan { doubt: 2_000_000, ..marked }, span),
        ("path 2", SMALL, path("b")),
    ] {
        let bundle = world(plan).prove(subject);
        let found = format!("\n{name} {}\n", hex::encode(bundle.encode()));
        assert!(vectors.contains(&found), "{found}");
        let line = vectors.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        assert_eq!(Bundle::decode(&hex::decode(line.unwrap()).unwrap()), Ok(bundle));
    }
}

// Frozen: with and without a way into a block.
#[test]
fn the_words_of_another_engine_are_a_part_of_their_own() {
    let vectors = include_str!("../../tests/vectors/bundle.txt");
    let world = world(Plan { layout: Layout::Raw, scale: 1, chunk_bytes: 100, ..SMALL });
    let without = world.try_prove(Subject::Bytes(90, 110)).unwrap();
    let with = without.clone().anchored_elsewhere(world.elsewhere());
    let both = world.prove(Subject::Bytes(90, 110)).anchored_elsewhere(world.elsewhere());
    let line = |name, bundle: &Bundle| format!("\n{name} {}\n", hex::encode(bundle.encode()));
    let found = [line("elsewhere", &with), line("both", &both)];
    assert!(found.iter().all(|found| vectors.contains(found)), "{}", found.concat());
    for bundle in [&with, &both] {
        assert_eq!(Bundle::decode(&bundle.encode()).as_ref(), Ok(bundle));
    }
    // All that was there before stands as it stood.
    let (before, bytes) = (without.encode(), with.encode());
    let end = before.len() - CHECKSUM_BYTES - 1;
    assert_eq!((&bytes[..end], bytes[end]), (&before[..end], 2));
    for wrong in [1, 3, 255] {
        let parts =
            [&before[..end], &[wrong], &bytes[end + 1..bytes.len() - CHECKSUM_BYTES]].concat();
        assert!(matches!(Bundle::decode(&sealed(&parts)), Err(BundleFault::Wire(_))), "{wrong}");
    }
    // One part of a kind, and an end behind it.
    let part = &bytes[end..bytes.len() - CHECKSUM_BYTES - 1];
    for more in [part, &[1][..], &[]] {
        let parts = [&bytes[..bytes.len() - CHECKSUM_BYTES - 1], more].concat();
        assert!(matches!(Bundle::decode(&sealed(&parts)), Err(BundleFault::Wire(_))), "{more:?}");
    }
}

#[test]
fn nothing_is_built_from_pieces_that_do_not_fit() {
    let world = world(SMALL);
    let build = |subject, hashes: &[NodeHash], leaves: &[Leaf], edges: &[&[u8]], pages| {
        Bundle::build(subject, &world.manifest, hashes, leaves.to_vec(), edges, pages)
    };
    let (hashes, leaves) = (&world.hashes, &world.leaves);
    let bytes = || Subject::Bytes(10, 15);
    let chunk = world.chunks[0].as_slice();
    assert!(build(bytes(), hashes, &leaves[..1], &[chunk], vec![]).is_ok());
    let fault = build(bytes(), &hashes[1..], &leaves[..1], &[chunk], vec![]);
    assert_eq!(fault, Err(BuildFault::Root));
    let fault = build(bytes(), hashes, &leaves[..1], &[], vec![]);
    assert_eq!(fault, Err(BuildFault::Edges { given: 0, wanted: 1 }));
    let mismatch = SliceFault::Mismatch { chunk: leaves[0].chunk_id };
    for other in [&[0; 40][..], &chunk[1..]] {
        let fault = build(bytes(), hashes, &leaves[..1], &[other], vec![]);
        assert_eq!(fault, Err(mismatch.clone().into()));
    }
    for (subject, leaves) in [
        (bytes(), &leaves[..0]),
        (bytes(), &leaves[..2]),
        (bytes(), &leaves[1..2]),
        (Subject::Chunks(1, 2), &leaves[..1]),
        (Subject::Session, &leaves[1..]),
        (path("b"), &leaves[2..4]),
    ] {
        let fault = build(subject.clone(), hashes, leaves, &[], vec![]);
        assert!(matches!(fault, Err(BuildFault::Claim(_))), "{subject:?} {fault:?}");
    }
    let past = world.manifest.content_bytes + 1;
    let beyond = world.manifest.chunk_count + 1;
    for (subject, leaves, what, start, end) in [
        (Subject::Bytes(5, 5), &leaves[..0], "bytes", 5, 5),
        (Subject::Bytes(5, past), &leaves[..], "bytes", 5, past),
        (Subject::Chunks(1, 1), &leaves[..0], "chunks", 1, 1),
        (Subject::Chunks(0, beyond), &leaves[..], "chunks", 0, beyond),
    ] {
        let fault = build(subject, hashes, leaves, &[], vec![]);
        assert_eq!(fault, Err(DemandFault::Range { what, start, end }.into()));
    }
    // 192 MiB of leaves, 84 bytes each.
    assert_eq!(LEAVES_MAX, 2_396_745);
    assert_eq!(Bundle::covers(LEAVES_MAX as u64), Ok(()));
    let many = vec![leaves[0]; LEAVES_MAX + 1];
    let fault = build(Subject::Session, hashes, &many, &[], vec![]);
    assert_eq!(fault, Err(BuildFault::TooMany { chunks: LEAVES_MAX + 1 }));
    assert!(world.try_prove(path("absent")).is_err());
    let page = world.page_of("b");
    assert!(build(Subject::Session, hashes, leaves, &[], vec![page]).is_err());
}

#[test]
fn a_leaf_in_a_place_that_the_session_has_not_is_refused() {
    let world = world(SMALL);
    let bundle = world.prove(Subject::Chunks(1, 2));
    assert!(Demand::of(&bundle, &world.manifest).is_ok());
    let leaf = bundle.leaves[0];
    for wrong in [
        Leaf { index: world.manifest.chunk_count, ..leaf },
        Leaf { offset: world.manifest.total_bytes, ..leaf },
        Leaf { index: 0, ..leaf },
        Leaf { index: world.manifest.chunk_count - 1, ..leaf },
    ] {
        let other = Bundle { leaves: vec![wrong], ..bundle.clone() };
        let rule = "one has a place that the session has not";
        let fault = Demand::of(&other, &world.manifest);
        assert_eq!(fault, Err(DemandFault::Leaves { rule }), "{wrong:?}");
    }
}

#[test]
fn the_ends_of_a_span_take_four_pages_and_no_more() {
    let world = world(Plan { marks: (1, 1), scale: 110, chunk_bytes: 1_000, ..RECORDING });
    let at = |second: i64| T0 + second * 1_000_000;
    let span = Span { from: at(4_000), to: at(14_000) };
    let bundle = world.prove(Subject::Span(span));
    assert_eq!(bundle.pages.len(), 4);
    assert_eq!(Bundle::decode(&bundle.encode()), Ok(bundle));
    let mut pages = world.pages_around(&span);
    pages.push(pages[3].clone());
    let (manifest, hashes) = (&world.manifest, &world.hashes);
    let fault = Bundle::build(Subject::Span(span), manifest, hashes, vec![], &[], pages);
    assert_eq!(fault, Err(DemandFault::PageOutOfPlace.into()));
}

#[test]
fn nothing_is_built_that_a_reader_would_refuse_for_its_length() {
    let mut bundle = world(SMALL).prove(Subject::Session);
    // The longest way into a block: its anchor, and two to the 32 transactions beside it.
    let anchored = bundle.anchored.as_mut().unwrap();
    anchored.transaction = "x".repeat(TRANSACTION_BYTES_MAX);
    anchored.path = vec![anchored.path[0]; 32];
    let room = BUNDLE_BYTES_MAX - WAY_BYTES_MAX - bundle.manifest.len();
    bundle.slices = vec![vec![0; room - bundle.leaves.len() * LEAF_BYTES]];
    assert_eq!(bundle.fits(), Ok(()));
    assert!(Bundle::decode(&bundle.encode()).is_ok());
    bundle.slices[0].push(0);
    assert_eq!(bundle.fits(), Err(BuildFault::TooLong { bytes: BUNDLE_BYTES_MAX + 1 }));
}

#[test]
fn a_session_of_nothing_has_a_bundle() {
    let world = world(SMALL);
    let manifest = Manifest {
        layout: Layout::Raw,
        chunk_count: 0,
        content_bytes: 0,
        total_bytes: 0,
        appendix: None,
        merkle_root: SessionRoot::new(tree::root::<Blake3Tree>(&[])),
        ..world.manifest
    };
    let bundle = Bundle::build(Subject::Session, &manifest, &[], vec![], &[], vec![]).unwrap();
    assert_eq!(Bundle::decode(&bundle.encode()), Ok(bundle));
}

fn any_leaf() -> impl Strategy<Value = Leaf> {
    (any::<u32>(), any::<u32>(), 1u32..1000, any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(
        |(index, offset, length, chunk, salt)| Leaf {
            index: index.into(),
            offset: offset.into(),
            length,
            chunk_id: ChunkId::new(chunk),
            salt: Salt::new(salt),
        },
    )
}

fn any_subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        Just(Subject::Session),
        any::<(u64, u64)>().prop_map(|(a, b)| Subject::Chunks(a, b)),
        any::<(u64, u64)>().prop_map(|(a, b)| Subject::Bytes(a, b)),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Subject::Path),
        any::<(i64, i64)>().prop_map(|(from, to)| Subject::Span(Span { from, to })),
    ]
}

fn any_anchored() -> impl Strategy<Value = AnchorInclusion> {
    let producer = proptest::option::of((any::<[u8; 32]>(), any::<[u8; 32]>()));
    let path = proptest::collection::vec(any::<[u8; 32]>(), 0..4);
    ("\\PC{0,20}", any::<(u32, u32)>(), path, "\\PC{0,20}", producer).prop_map(
        |(transaction, (position, count), path, entry, producer)| AnchorInclusion {
            transaction,
            position,
            count,
            path: path.into_iter().map(TransactionHash::new).collect(),
            entry,
            producer: producer.map(|(key, half)| Producer {
                key: PublicKey::new(key),
                signature: Signature::new([half, half].concat().try_into().unwrap()),
            }),
        },
    )
}

fn any_elsewhere() -> impl Strategy<Value = AnchoredElsewhere> {
    let word = || "\\PC{1,40}";
    let option = || proptest::option::of(word());
    (word(), word(), word(), option(), any::<Option<u64>>(), option(), "\\PC{0,40}").prop_map(
        |(engine, session, status, transaction, height, confirmed_at, text)| {
            let words = Elsewhere { engine, session, status, transaction, height, confirmed_at };
            AnchoredElsewhere { transaction: text, words }
        },
    )
}

proptest! {
    #[test]
    fn anything_that_is_written_reads_back(
        subject in any_subject(),
        manifest in "\\PC{0,40}",
        leaves in proptest::collection::vec(any_leaf(), 0..4),
        range_proof in proptest::collection::vec(any::<[u8; 32]>(), 0..4),
        slices in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..3),
        pages in proptest::collection::vec(
            (any_leaf(), proptest::collection::vec(any::<u8>(), 0..9)),
            0..5,
        ),
        anchored in proptest::option::of(any_anchored()),
        elsewhere in proptest::option::of(any_elsewhere()),
    ) {
        let proof = range_proof.clone();
        let shown = |(leaf, bytes)| PageProof { bytes, leaf, proof: proof.clone() };
        let pages = pages.into_iter().map(shown).collect();
        let bundle =
            Bundle { subject, manifest, leaves, range_proof, slices, pages, anchored, elsewhere };
        prop_assert_eq!(Bundle::decode(&bundle.encode()), Ok(bundle));
    }

    #[test]
    fn arbitrary_parts_under_a_right_checksum_never_panic(
        parts in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = sealed(&[MAGIC, &parts].concat());
        if let Ok(bundle) = Bundle::decode(&bytes) {
            prop_assert_eq!(bundle.encode(), bytes);
        }
    }
}

/// Bytes with a right checksum, as a forger would write them.
pub(crate) fn sealed(parts: &[u8]) -> Vec<u8> {
    [parts, blake3::hash(parts).as_bytes()].concat()
}
