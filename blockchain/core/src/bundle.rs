//! The proof bundle: one small file that leads from bytes to a block, offline.
//!
//! data-chain builds one for every `prove`; [`crate::check`] reads it years later, when neither service
//! need exist any more. Building takes pieces that were loaded
//! already: leaf hashes, openings, the chunks at the edges of a range.
//!
//! [`Bundle::decode`] refuses any altered byte by the checksum at the end. That stops accidents, not
//! forgers: what the parts say is believed only after [`crate::check`].

use crate::block_merkle;
use crate::digest::TransactionHash;
use crate::elsewhere::Elsewhere;
use crate::limits::{BUNDLE_BYTES_MAX, PATH_BYTES_MAX, TRANSACTION_BYTES_MAX};
use crate::manifest::{Manifest, ManifestFault};
use crate::record::BlockRecord;
use crate::session::{LEAF_BYTES, Leaf};
use crate::sign::{PublicKey, Signature};
use crate::slice::{self, SliceFault};
use crate::timeline::Span;
use crate::tree::{self, Blake3Tree, NodeHash};
use crate::wire::{Reader, WireFault, Writer};
use crate::words::many_do;

mod demand;

pub(crate) use demand::leads_to_root;
pub use demand::{Demand, DemandFault, covering, edges};

/// How a bundle begins.
pub const MAGIC: &[u8] = b"lucid-proof/v1\n";
const CHECKSUM_BYTES: usize = 32;
/// The chunks that one bundle covers at most: two tebibytes at the default size. What is left of a
/// bundle's length is more than two edges, a page, a manifest and an anchor can take.
pub const LEAVES_MAX: usize = (BUNDLE_BYTES_MAX - (64 << 20)) / LEAF_BYTES;
/// The anchor's text, and everything else of a bundle that is no leaf, slice, page or manifest: ways up
/// through trees, of a few hundred hashes together.
const WAY_BYTES_MAX: usize = 2 * TRANSACTION_BYTES_MAX + (1 << 20);
/// What the rest takes as a rule.
const WAY_BYTES: usize = 16 << 10;
/// The number of the part that says what another engine says.
const ELSEWHERE: u8 = 2;
/// Ends the further parts.
const NO_MORE: u8 = 0;
/// A range has two ends.
const SLICES_MAX: u32 = 2;
/// A span has two ends, and at each of them two pages may meet.
const PAGES_MAX: usize = 4;

/// Why bytes are not a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// More bytes than any bundle has.
    #[error("{bytes} bytes are too many for a proof bundle")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// Some other file.
    #[error("this is not a proof bundle: it does not begin with lucid-proof/v1")]
    Magic,
    /// A bundle that was damaged or cut.
    #[error("the bundle is damaged: its checksum is not that of its bytes")]
    Checksum,
    /// A whole bundle with something else inside.
    #[error("the bundle is not sound: {0}")]
    Wire(#[from] WireFault),
}

/// Why pieces do not make a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildFault {
    /// More chunks than one bundle holds.
    #[error("{chunks} chunks are too many for one proof: at most {LEAVES_MAX} are; prove a part")]
    TooMany {
        /// How many there are.
        chunks: usize,
    },
    /// More bytes than a reader of bundles takes.
    #[error(
        "the proof would have {bytes} bytes, and at most {BUNDLE_BYTES_MAX} are read; prove a part"
    )]
    TooLong {
        /// How many it would have.
        bytes: usize,
    },
    /// The manifest is not sound.
    #[error(transparent)]
    Manifest(#[from] ManifestFault),
    /// The pieces do not cover what is to be proved.
    #[error(transparent)]
    Claim(#[from] DemandFault),
    /// A chunk at the edge of a range is not the one its leaf names.
    #[error(transparent)]
    Slice(#[from] SliceFault),
    /// The leaf hashes are not those that the manifest's root was made of.
    #[error("the leaf hashes do not lead to the root of the manifest")]
    Root,
    /// Chunks are missing, or there are too many.
    #[error(
        "{} given for the edges, {wanted} wanted",
        many_do(*given, "chunk", "was", "were")
    )]
    Edges {
        /// How many were given.
        given: usize,
        /// How many partly covered chunks there are.
        wanted: usize,
    },
}

/// What is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Everything.
    Session,
    /// Chunks from the first to before the second index.
    Chunks(u64, u64),
    /// Bytes of the content, from the first to before the second offset.
    Bytes(u64, u64),
    /// One path of an archived folder, and its bytes.
    Path(Vec<u8>),
    /// What was recorded in a span of time, by the recording's timeline.
    Span(Span),
}

/// A page of the appendix: the one that a path stands on, or one around an end of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageProof {
    /// The page, which is a whole chunk.
    pub bytes: Vec<u8>,
    /// That chunk's leaf.
    pub leaf: Leaf,
    /// The way from the leaf to the root.
    pub proof: Vec<NodeHash>,
}

/// Who vouches for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// The key.
    pub key: PublicKey,
    /// Its signature over the block's entry.
    pub signature: Signature,
}

/// The way from a manifest into a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorInclusion {
    /// The anchor transaction's canonical text.
    pub transaction: String,
    /// Its place in the block.
    pub position: u32,
    /// How many transactions the block has.
    pub count: u32,
    /// The siblings up to the block's Merkle root.
    pub path: Vec<TransactionHash>,
    /// The block's nine lines.
    pub entry: String,
    /// The producer that vouches for the block, if one does.
    pub producer: Option<Producer>,
}

impl AnchorInclusion {
    /// The way to the transaction with this id, if the block's record keeps it as an anchor.
    pub fn of(record: &BlockRecord, id: &str) -> Option<Self> {
        let anchor = record.anchors.iter().find(|anchor| anchor.transaction.id() == id)?;
        let hashes: Vec<_> = record.transactions.iter().map(|digests| digests.hash).collect();
        let producer = record.producer.zip(record.signature);
        Some(Self {
            transaction: anchor.transaction.text().to_owned(),
            position: anchor.position,
            count: u32::try_from(hashes.len()).ok()?,
            path: block_merkle::path(&hashes, anchor.position as usize)?,
            entry: record.entry.text(),
            producer: producer.map(|(key, signature)| Producer { key, signature }),
        })
    }

    /// The bytes as they stand in a bundle: what a store keeps once a session is anchored.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        self.write(&mut to);
        to.finish()
    }

    /// Reads [`AnchorInclusion::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let anchored = Self::read(&mut from)?;
        from.finish()?;
        Ok(anchored)
    }

    fn write(&self, to: &mut Writer) {
        to.text(&self.transaction).u32(self.position).u32(self.count);
        to.count(self.path.len());
        for sibling in &self.path {
            to.raw(sibling.as_bytes());
        }
        to.text(&self.entry).option(self.producer, |to, producer| {
            to.raw(producer.key.as_bytes()).raw(producer.signature.as_bytes());
        });
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let transaction = from.text("the anchor's text")?.to_owned();
        within("the anchor's text", transaction.len(), TRANSACTION_BYTES_MAX)?;
        let position = from.u32("the anchor's position")?;
        let count = from.u32("the block's transaction count")?;
        let steps = from.u32("the anchor's path")?;
        let mut path = Vec::new();
        for _ in 0..steps {
            path.push(TransactionHash::new(from.array("the anchor's path")?));
        }
        let entry = from.text("the block's entry")?.to_owned();
        let producer = from.option("the block's producer", |from| {
            let key = PublicKey::new(from.array("the block's producer")?);
            Ok(Producer { key, signature: Signature::new(from.array("the block's signature")?) })
        })?;
        Ok(Self { transaction, position, count, path, entry, producer })
    }
}

/// That an engine which keeps no chain of ours has the anchor: its word, for which there is no proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchoredElsewhere {
    /// The anchor transaction's canonical text, which the recorder signed.
    pub transaction: String,
    /// What the engine says.
    pub words: Elsewhere,
}

impl AnchoredElsewhere {
    fn write(&self, to: &mut Writer) {
        self.words.write(to.text(&self.transaction));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let transaction = from.text("the anchor's text")?.to_owned();
        within("the anchor's text", transaction.len(), TRANSACTION_BYTES_MAX)?;
        Ok(Self { transaction, words: Elsewhere::read(from)? })
    }
}

/// Everything that a proof needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What is proved.
    pub subject: Subject,
    /// The manifest's canonical text.
    pub manifest: String,
    /// The leaves of the chunks that hold it, in order.
    pub leaves: Vec<Leaf>,
    /// The hashes that lead from those leaves to the root, as [`tree::range_proof`] orders them.
    pub range_proof: Vec<NodeHash>,
    /// A slice for each chunk that is covered only in part, in order: at most the first and last.
    pub slices: Vec<Vec<u8>>,
    /// For a path: where it stands in the catalogue. For a span: the pages around its ends, in order.
    pub pages: Vec<PageProof>,
    /// The way into a block, once the session is anchored.
    pub anchored: Option<AnchorInclusion>,
    /// What another engine says that has the anchor, too. Bundles of before there was this have none.
    pub elsewhere: Option<AnchoredElsewhere>,
}

impl Bundle {
    /// Refuses more chunks than one bundle has, before anything of them is loaded.
    pub fn covers(chunks: u64) -> Result<(), BuildFault> {
        match usize::try_from(chunks).unwrap_or(usize::MAX) {
            chunks if chunks > LEAVES_MAX => Err(BuildFault::TooMany { chunks }),
            _ => Ok(()),
        }
    }

    /// Joins loaded pieces: the hash of every leaf of the session, the leaves of the covered chunks,
    /// the bytes of those that [`edges`] names, and the pages of a path or a span. What comes out passes
    /// [`crate::check`], or nothing does.
    pub fn build(
        subject: Subject,
        manifest: &Manifest,
        hashes: &[NodeHash],
        leaves: Vec<Leaf>,
        edge_chunks: &[&[u8]],
        pages: Vec<(Leaf, Vec<u8>)>,
    ) -> Result<Self, BuildFault> {
        Self::covers(leaves.len() as u64)?;
        if pages.len() > PAGES_MAX {
            return Err(DemandFault::PageOutOfPlace.into());
        }
        if tree::root::<Blake3Tree>(hashes) != *manifest.merkle_root.as_bytes() {
            return Err(BuildFault::Root);
        }
        let shown = |(leaf, bytes): (Leaf, Vec<u8>)| {
            let proof = tree::inclusion_proof::<Blake3Tree>(hashes, leaf.index);
            Ok(PageProof { bytes, leaf, proof: proof.ok_or(BuildFault::Root)? })
        };
        let pages = pages.into_iter().map(shown).collect::<Result<Vec<_>, BuildFault>>()?;
        let range_proof = match (leaves.first(), leaves.last()) {
            (Some(first), Some(last)) => {
                let range = first.index..last.index.saturating_add(1);
                tree::range_proof::<Blake3Tree>(hashes, range).ok_or(BuildFault::Root)?
            }
            _ => Vec::new(),
        };
        let manifest_text = manifest.to_text()?;
        let mut bundle = Self {
            subject,
            manifest: manifest_text,
            leaves,
            range_proof,
            slices: Vec::new(),
            pages,
            anchored: None,
            elsewhere: None,
        };
        let claim = Demand::of(&bundle, manifest)?;
        let partial: Vec<_> =
            bundle.leaves.iter().filter_map(|leaf| Some((leaf, claim.part_of(leaf)?))).collect();
        if partial.len() != edge_chunks.len() {
            return Err(BuildFault::Edges { given: edge_chunks.len(), wanted: partial.len() });
        }
        let mut slices = Vec::new();
        for ((leaf, range), chunk) in partial.into_iter().zip(edge_chunks) {
            if leaf.chunk_id != blake3::hash(chunk).into() || chunk.len() != leaf.length as usize {
                return Err(SliceFault::Mismatch { chunk: leaf.chunk_id }.into());
            }
            slices.push(slice::extract(chunk, range)?);
        }
        bundle.slices = slices;
        bundle.fits()?;
        Ok(bundle)
    }

    /// Whether a reader takes it, with room for what leads on into a block.
    fn fits(&self) -> Result<(), BuildFault> {
        match self.part_bytes() + WAY_BYTES_MAX {
            bytes if bytes > BUNDLE_BYTES_MAX => Err(BuildFault::TooLong { bytes }),
            _ => Ok(()),
        }
    }

    /// Bytes of the parts that may be long.
    fn part_bytes(&self) -> usize {
        let leaves = self.leaves.len() * LEAF_BYTES;
        let slices: usize = self.slices.iter().map(Vec::len).sum();
        let pages: usize = self.pages.iter().map(|page| page.bytes.len()).sum();
        self.manifest.len() + leaves + slices + pages
    }

    /// The same proof, led on into a block.
    pub fn anchored_in(self, anchored: AnchorInclusion) -> Self {
        Self { anchored: Some(anchored), ..self }
    }

    /// The same proof, with what another engine says of it.
    pub fn anchored_elsewhere(self, elsewhere: AnchoredElsewhere) -> Self {
        Self { elsewhere: Some(elsewhere), ..self }
    }

    /// The file: magic, parts in a fixed order, and BLAKE3 of everything before.
    pub fn encode(&self) -> Vec<u8> {
        // A bundle may be long, and growing to its length takes twice that.
        let mut w = Writer::with_room(self.part_bytes() + WAY_BYTES);
        w.raw(MAGIC);
        match &self.subject {
            Subject::Session => w.u8(0),
            Subject::Chunks(first, end) => w.u8(1).u64(*first).u64(*end),
            Subject::Bytes(start, end) => w.u8(2).u64(*start).u64(*end),
            Subject::Path(path) => w.u8(3).bytes(path),
            Subject::Span(span) => w.u8(4).i64(span.from).i64(span.to),
        };
        w.text(&self.manifest).count(self.leaves.len());
        for leaf in &self.leaves {
            leaf.write(&mut w);
        }
        write_hashes(&mut w, &self.range_proof);
        w.count(self.slices.len());
        for slice in &self.slices {
            w.bytes(slice);
        }
        w.u8(self.pages.len() as u8);
        for page in &self.pages {
            page.leaf.write(w.bytes(&page.bytes));
            write_hashes(&mut w, &page.proof);
        }
        w.option(self.anchored.as_ref(), |w, anchored| anchored.write(w));
        // Further parts, each behind its number; 1 is kept for the way from the block into the log over the chain.
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.write(w.u8(ELSEWHERE));
        }
        w.u8(NO_MORE);
        let mut bytes = w.finish();
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    /// Reads a whole bundle.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleFault> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleFault::TooLong { bytes: bytes.len() });
        }
        if !bytes.starts_with(MAGIC) {
            return Err(BundleFault::Magic);
        }
        let (parts, checksum) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BundleFault::Checksum)?;
        if blake3::hash(parts).as_bytes() != checksum {
            return Err(BundleFault::Checksum);
        }
        let mut r = Reader::new(parts.strip_prefix(MAGIC).ok_or(BundleFault::Magic)?);
        let bundle = Self::read(&mut r)?;
        r.finish()?;
        Ok(bundle)
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, WireFault> {
        let subject = match r.u8("the subject")? {
            0 => Subject::Session,
            1 => Subject::Chunks(r.u64("the first chunk")?, r.u64("the last chunk")?),
            2 => Subject::Bytes(r.u64("the first byte")?, r.u64("the last byte")?),
            3 => {
                let path = r.bytes("the path")?;
                within("the path", path.len(), PATH_BYTES_MAX)?;
                Subject::Path(path.to_vec())
            }
            4 => Subject::Span(Span { from: r.i64("the span")?, to: r.i64("the span")? }),
            _ => return Err(WireFault::Invalid { what: "the subject" }),
        };
        let manifest = r.text("the manifest")?.to_owned();
        // Vectors grow as their parts are found: a count alone reserves nothing.
        let mut leaves = Vec::new();
        for _ in 0..r.u32("the leaves")? {
            leaves.push(Leaf::read(r)?);
        }
        let range_proof = read_hashes(r, "the range proof")?;
        let mut slices = Vec::new();
        let count = r.u32("the slices")?;
        within("the slices", count as usize, SLICES_MAX as usize)?;
        for _ in 0..count {
            slices.push(r.bytes("a slice")?.to_vec());
        }
        let mut pages = Vec::new();
        let count = usize::from(r.u8("the pages")?);
        within("the pages", count, PAGES_MAX)?;
        for _ in 0..count {
            let bytes = r.bytes("a page")?.to_vec();
            let leaf = Leaf::read(r)?;
            pages.push(PageProof { bytes, leaf, proof: read_hashes(r, "a page's proof")? });
        }
        let anchored = r.option("the anchor", AnchorInclusion::read)?;
        let what = "a further part";
        let (elsewhere, next) = match r.u8(what)? {
            ELSEWHERE => (Some(AnchoredElsewhere::read(r)?), r.u8(what)?),
            next => (None, next),
        };
        if next != NO_MORE {
            return Err(WireFault::Invalid { what });
        }
        Ok(Self { subject, manifest, leaves, range_proof, slices, pages, anchored, elsewhere })
    }
}

/// Refuses what no sound part has, before anything grows with it.
fn within(what: &'static str, given: usize, most: usize) -> Result<(), WireFault> {
    if given <= most { Ok(()) } else { Err(WireFault::Invalid { what }) }
}

fn write_hashes(to: &mut Writer, hashes: &[NodeHash]) {
    to.count(hashes.len());
    for hash in hashes {
        to.raw(hash);
    }
}

fn read_hashes(from: &mut Reader<'_>, what: &'static str) -> Result<Vec<NodeHash>, WireFault> {
    let mut hashes = Vec::new();
    for _ in 0..from.u32(what)? {
        hashes.push(from.array(what)?);
    }
    Ok(hashes)
}

#[cfg(test)]
pub(crate) mod tests;
