//! Sealed sessions with their anchors and blocks, small enough to forge all day, and what is true of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use lucid_core::anchor::Anchor;
use lucid_core::block::Block;
use lucid_core::bundle::{AnchorInclusion, BuildFault, Bundle, Subject, covering, edges};
use lucid_core::catalogue::{Entry, EntryKind, FileTime, Owner, path_key};
use lucid_core::check::Trust;
use lucid_core::claim::Claim as _;
use lucid_core::cut::ChunkProfile;
use lucid_core::digest::SessionRoot;
use lucid_core::json::Json;
use lucid_core::manifest::{Appendix, AppendixKind, End, ExitStatus, Manifest, Version};
use lucid_core::page::{Page, PageWriter};
use lucid_core::record::BlockRecord;
use lucid_core::session::{Layout, Leaf, SessionId, SessionSecret, salt};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::timeline::{Mark, Span};
use lucid_core::transaction::Transaction;
use lucid_core::tree::{self, Blake3Tree, NodeHash};

/// When all of them begin.
pub const T0: i64 = 1_700_000_000_000_000;

/// A sealed session, all of it, and the block that its anchor is in.
pub struct World {
    /// What the recorder signed.
    pub manifest: Manifest,
    /// Its text.
    pub text: String,
    /// Content, and behind it the appendix.
    pub chunks: Vec<Vec<u8>>,
    /// A leaf for each.
    pub leaves: Vec<Leaf>,
    hashes: Vec<NodeHash>,
    /// What each path holds.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where each moment is.
    pub marks: Vec<Mark>,
    /// Who sealed it.
    pub recorder: SigningKey,
    /// Who made the block.
    pub producer: SigningKey,
    /// The block.
    pub block: Block,
    /// The way from the session's anchor into it.
    pub anchored: AnchorInclusion,
}

/// How to make one.
#[derive(Clone, Copy)]
struct Plan {
    session: &'static str,
    /// What its bytes follow from.
    seed: &'static str,
    layout: Layout,
    chunk_bytes: usize,
    scale: usize,
    secret: Option<[u8; 32]>,
    keys: (u8, u8),
    end: End,
    /// Seconds between the marks of a recording, and the bytes between them.
    marks: (i64, usize),
}

const TREE: Plan = Plan {
    session: "tree",
    seed: "ours",
    layout: Layout::Tree,
    chunk_bytes: 40,
    scale: 1,
    secret: Some([3; 32]),
    keys: (1, 2),
    end: End::Eof,
    marks: (0, 0),
};
const RECORDING: Plan = Plan {
    session: "recording",
    layout: Layout::Raw,
    chunk_bytes: 9_000,
    scale: 400,
    marks: (1, 23),
    end: End::Exit(ExitStatus::Code(3)),
    ..TREE
};
const PUBLIC: Plan = Plan {
    session: "public",
    chunk_bytes: 40_000,
    scale: 700,
    secret: None,
    end: End::Complete,
    ..TREE
};
const BARE: Plan = Plan { session: "bare", layout: Layout::Raw, ..TREE };

/// Sessions of the recorder and in blocks of the producer that are trusted.
pub static OURS: LazyLock<Vec<World>> = LazyLock::new(|| {
    [TREE, RECORDING, PUBLIC, BARE].into_iter().filter_map(|plan| world(plan).ok()).collect()
});

/// Sessions of a forger that claim to be [`OURS`], with other bytes: under neither trusted key, or under one
/// of them.
pub static THEIRS: LazyLock<Vec<World>> = LazyLock::new(|| {
    let plans = [TREE, RECORDING, PUBLIC, BARE].into_iter();
    let forged = |plan: Plan| [(50, 51), (1, 51), (50, 2)].map(|keys| Plan { keys, ..plan });
    let plans = plans.flat_map(forged).map(|plan| Plan { seed: "theirs", ..plan });
    plans.filter_map(|plan| world(plan).ok()).collect()
});

/// What is trusted of ours.
pub fn trusted() -> [Trust; 2] {
    [1, 2].map(|seed| Trust::Key(SigningKey::from_seed([seed; 32]).public()))
}

fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

type Fault = Box<dyn std::error::Error>;

fn pages_of(entries: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Vec<u8>>, Fault> {
    let mut writer = PageWriter::new();
    let mut pages = Vec::new();
    for (key, value) in entries {
        pages.extend(writer.push(key, value)?);
    }
    pages.extend(writer.finish()?);
    Ok(pages)
}

fn catalogue(files: &[(&str, Vec<u8>)]) -> Result<Vec<Vec<u8>>, Fault> {
    let plain = |path: &str, kind, target: &str| Entry {
        path: path.into(),
        kind,
        mode: 0o644,
        modified: FileTime { seconds: 5, nanos: 6 },
        owner: Owner::default(),
        target: target.into(),
        ..Entry::bare()
    };
    let mut entries = vec![
        plain("", EntryKind::Folder, ""),
        plain("a", EntryKind::Folder, ""),
        plain("z", EntryKind::Symlink, "../elsewhere"),
    ];
    let mut offset = 0;
    for (path, bytes) in files {
        let length = bytes.len() as u64;
        entries.push(Entry { offset, length, ..plain(path, EntryKind::File, "") });
        offset += length;
    }
    let encoded = entries.into_iter().map(|entry| Ok((entry.key(), entry.encode()?)));
    let mut encoded = encoded.collect::<Result<Vec<_>, Fault>>()?;
    encoded.sort();
    pages_of(&encoded)
}

fn world(plan: Plan) -> Result<World, Fault> {
    let bytes = |name: &str, length| noise(&format!("{}{name}", plan.seed), length * plan.scale);
    let files = [("a/big", bytes("big", 100)), ("a/empty", Vec::new()), ("b", bytes("b", 50))];
    let content = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>();
    let content_bytes = content.len() as u64;
    let mut chunks: Vec<Vec<u8>> = content.chunks(plan.chunk_bytes).map(<[u8]>::to_vec).collect();
    let mut marks = Vec::new();
    if let (seconds @ 1.., step) = plan.marks {
        let moments = (0..).map(|number| T0 + number * seconds * 1_000_000);
        let places = (0..content_bytes).step_by(step);
        marks.extend(moments.zip(places).map(|(micros, offset)| Mark { micros, offset }));
    }
    let (kind, pages) = match plan.layout {
        Layout::Tree => (AppendixKind::Catalogue, catalogue(&files)?),
        Layout::Raw => {
            let rows: Vec<_> =
                marks.iter().map(|mark| (mark.key().to_vec(), mark.encode(0))).collect();
            (AppendixKind::Timeline, if rows.is_empty() { Vec::new() } else { pages_of(&rows)? })
        }
    };
    let length = pages.iter().map(Vec::len).sum::<usize>() as u64;
    chunks.extend(pages);
    let secret = plan.secret.map(SessionSecret::new);
    let mut leaves = Vec::new();
    let mut offset = 0;
    for (index, chunk) in (0..).zip(&chunks) {
        let length = u32::try_from(chunk.len())?;
        let (chunk_id, salt) = (blake3::hash(chunk).into(), salt(secret.as_ref(), index));
        leaves.push(Leaf { index, offset, length, chunk_id, salt });
        offset += u64::from(length);
    }
    let session_id: SessionId = plan.session.parse()?;
    let key = session_id.key();
    let hashes: Vec<NodeHash> = leaves.iter().map(|leaf| *leaf.hash(&key).as_bytes()).collect();
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
        appendix: (length > 0).then_some(Appendix { kind, offset: content_bytes, length }),
        total_bytes: content_bytes + length,
        merkle_root: SessionRoot::new(tree::root::<Blake3Tree>(&hashes)),
        end: plan.end,
        metadata: BTreeMap::new(),
        previous_manifest: None,
        source: None,
        terminal: None,
        retain_until: None,
    };
    let (recorder, producer) = plan.keys;
    let [recorder, producer] = [recorder, producer].map(|seed| SigningKey::from_seed([seed; 32]));
    let anchor = Anchor::of(&manifest, Timestamp::from_micros(T0 + 2))?.sign(&recorder)?;
    let other = |id: &str| Transaction::from_json(&Json::object([("id", Json::from(id))]));
    let id = anchor.id().to_owned();
    let block = Block::build(
        None,
        vec![other("t0")?, anchor, other("t2")?],
        Timestamp::from_micros(T0 + 3),
        &producer,
    );
    let anchored =
        AnchorInclusion::of(&BlockRecord::of(&block), &id).ok_or("the anchor is not kept")?;
    let named = files.into_iter().map(|(path, bytes)| (path.into(), bytes));
    let folders = ["", "a", "z"].map(|path| (path.into(), Vec::new()));
    let named: BTreeMap<_, _> = named.chain(folders).collect();
    Ok(World {
        text: manifest.to_text()?,
        files: if plan.layout == Layout::Tree { named } else { BTreeMap::new() },
        manifest,
        chunks,
        leaves,
        hashes,
        marks,
        recorder,
        producer,
        block,
        anchored,
    })
}

impl World {
    /// Everything, content and appendix.
    pub fn stream(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// What was recorded.
    pub fn content(&self) -> Vec<u8> {
        let mut content = self.stream();
        content.truncate(usize::try_from(self.manifest.content_bytes).unwrap_or(usize::MAX));
        content
    }

    /// The bytes that a subject is about; `None` if there is no such thing.
    pub fn truth(&self, subject: &Subject) -> Option<Vec<u8>> {
        let place = |at: u64| usize::try_from(at).ok();
        match subject {
            Subject::Session => Some(self.content()),
            Subject::Chunks(from, to) if from < to => {
                Some(self.chunks.get(place(*from)?..place(*to)?)?.concat())
            }
            Subject::Bytes(from, to) if from < to => {
                Some(self.content().get(place(*from)?..place(*to)?)?.to_vec())
            }
            Subject::Path(path) => self.files.get(path).cloned(),
            Subject::Span(span) => {
                let range = self.bytes_of(span)?;
                Some(self.content().get(place(range.start)?..place(range.end)?)?.to_vec())
            }
            _ => None,
        }
    }

    /// The bytes of a span, by its definition: those of all marks whose second touches it.
    fn bytes_of(&self, span: &Span) -> Option<Range<u64>> {
        if span.from >= span.to || self.marks.is_empty() {
            return None;
        }
        let after = |moment: i64| {
            let mark = self.marks.iter().find(|mark| mark.micros > moment);
            mark.map_or(self.manifest.content_bytes, |mark| mark.offset)
        };
        Some(after(span.from.saturating_sub(1_000_000))..after(span.to.saturating_sub(1)))
    }

    fn appendix(&self) -> impl Iterator<Item = (&Leaf, &Vec<u8>)> {
        let all = self.leaves.iter().zip(&self.chunks);
        all.filter(|(leaf, _)| leaf.offset >= self.manifest.content_bytes)
    }

    /// The pages of the appendix that a proof of it shows.
    fn pages(&self, subject: &Subject) -> Vec<(Leaf, Vec<u8>)> {
        let mut wanted = Vec::new();
        match subject {
            Subject::Path(path) => {
                let key = path_key(path);
                let holds =
                    |bytes: &[u8]| Page::decode(bytes).is_ok_and(|page| page.get(&key).is_some());
                wanted.extend(self.appendix().position(|(_, bytes)| holds(bytes)));
            }
            Subject::Span(span) => {
                let count = self.appendix().count();
                for bound in span.bounds(0) {
                    let key = Mark::key_at(bound);
                    let reaches = |bytes: &[u8]| {
                        Page::decode(bytes).is_ok_and(|page| {
                            page.level() == 0
                                && page
                                    .entries()
                                    .last()
                                    .is_some_and(|(last, _)| *last > key.as_slice())
                        })
                    };
                    let leaf_pages = self
                        .appendix()
                        .filter(|(_, bytes)| {
                            Page::decode(bytes).is_ok_and(|page| page.level() == 0)
                        })
                        .count();
                    let at = self.appendix().position(|(_, bytes)| reaches(bytes));
                    let at = at.unwrap_or(leaf_pages);
                    wanted.extend([at.saturating_sub(1), at.min(count.saturating_sub(1))]);
                }
            }
            _ => {}
        }
        wanted.sort_unstable();
        wanted.dedup();
        let all: Vec<_> = self.appendix().collect();
        let shown = wanted.into_iter().filter_map(|at| all.get(at).copied());
        shown.map(|(leaf, bytes)| (*leaf, bytes.clone())).collect()
    }

    /// The true proof of a subject.
    pub fn prove(&self, subject: Subject) -> Result<Bundle, BuildFault> {
        let offset_of = |index: u64| {
            let leaf = usize::try_from(index).ok().and_then(|index| self.leaves.get(index));
            leaf.map_or(self.manifest.total_bytes, |leaf| leaf.offset)
        };
        let range = match &subject {
            Subject::Session => 0..self.manifest.total_bytes,
            Subject::Chunks(from, to) => offset_of(*from)..offset_of(*to),
            Subject::Bytes(from, to) => *from..*to,
            Subject::Path(path) => self.place_of(path),
            Subject::Span(span) => self.bytes_of(span).unwrap_or(0..0),
        };
        let leaves = covering(&range, &self.leaves).to_vec();
        let at_edges = edges(&range, &leaves);
        let chunks =
            at_edges.iter().filter_map(|leaf| self.chunks.get(usize::try_from(leaf.index).ok()?));
        let chunks: Vec<&[u8]> = chunks.map(Vec::as_slice).collect();
        let pages = self.pages(&subject);
        let bundle =
            Bundle::build(subject, &self.manifest, &self.hashes, leaves.clone(), &chunks, pages)?;
        Ok(bundle.anchored_in(self.anchored.clone()))
    }

    fn place_of(&self, path: &[u8]) -> Range<u64> {
        let key = path_key(path);
        let mut entries = self.appendix().filter_map(|(_, bytes)| {
            Entry::decode(&key, Page::decode(bytes).ok()?.get(&key)?).ok()
        });
        entries.next().map_or(0..0, |entry| entry.offset..entry.offset + entry.length)
    }
}
