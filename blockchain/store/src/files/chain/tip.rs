//! The chain's tip mark: the file that says how far the chain is committed.
//!
//! `TIP` is replaced by rename when a block's two records are durable, and only then is the block
//! acknowledged. What it names is final: recovery never cuts there, and a chain that lacks it is not
//! written to. It also says which bodies were pruned, before they go, so that their absence is told
//! from damage. The same [`TipMark`] is the index's watermark.

use lucid_core::digest::BlockHash;
use lucid_core::wire::{Reader, WireFault, Writer};

use crate::files::disk::{self, Disk};
use crate::files::log::FILE_MAX;
use crate::{Damage, StoreError, frame};

/// The file, at the root of the data folder.
pub const TIP: &str = "TIP";

const MAGIC: &[u8; 8] = b"LCDRtip2";

/// The end of a record in one of the numbered files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FilesEnd {
    pub(super) file: u32,
    pub(super) offset: u64,
}

impl FilesEnd {
    /// Before anything was written.
    pub(super) const START: Self = Self { file: 0, offset: 0 };
}

/// Which bodies may be gone because they were pruned. Files of bodies are removed whole, and never the
/// first, which holds the genesis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pruned {
    /// The first file behind those that may be gone.
    pub(super) file: u32,
    /// The height that this file begins with.
    pub(super) below: u64,
}

impl Pruned {
    /// Whether a file of bodies may be missing without anything being wrong.
    pub(super) fn covers(&self, file: u32) -> bool {
        1 < file && file < self.file
    }

    /// The later of two.
    pub(super) fn later(self, other: Self) -> Self {
        std::cmp::max(self, other)
    }
}

/// A block that is committed, where its two records end, and what was pruned before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TipMark {
    pub(super) height: u64,
    pub(super) hash: BlockHash,
    pub(super) blocks: FilesEnd,
    pub(super) bodies: FilesEnd,
    pub(super) pruned: Pruned,
}

impl TipMark {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.u64(self.height).raw(self.hash.as_bytes());
        to.u32(self.blocks.file).u64(self.blocks.offset);
        to.u32(self.bodies.file).u64(self.bodies.offset);
        to.u32(self.pruned.file).u64(self.pruned.below);
        to.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut from = Reader::new(bytes);
        let end = |from: &mut Reader<'_>| -> Result<FilesEnd, WireFault> {
            let (file, offset) = (from.u32("file")?, frame::number(from, "offset")?);
            let invalid = WireFault::Invalid { what: "file" };
            if file <= FILE_MAX { Ok(FilesEnd { file, offset }) } else { Err(invalid) }
        };
        let mark = Self {
            height: frame::number(&mut from, "height")?,
            hash: BlockHash::new(from.array("hash")?),
            blocks: end(&mut from)?,
            bodies: end(&mut from)?,
            pruned: Pruned { file: from.u32("file")?, below: frame::number(&mut from, "height")? },
        };
        from.finish()?;
        Ok(mark)
    }
}

/// What `TIP` says.
#[derive(Debug)]
pub(super) enum FoundTip {
    /// There is none.
    Absent,
    /// The chain is committed up to here.
    At(TipMark),
    /// It cannot be believed.
    Damaged(Damage),
}

/// Reads `TIP`.
pub(super) fn read(disk: &dyn Disk) -> Result<FoundTip, StoreError> {
    let read = disk::read_all(disk, TIP).map_err(StoreError::io(format!("reading {TIP}")))?;
    let Some(bytes) = read else { return Ok(FoundTip::Absent) };
    let mark = bytes.split_last_chunk::<32>().and_then(|(covered, digest)| {
        let sound = blake3::hash(covered) == blake3::Hash::from(*digest);
        TipMark::decode(covered.strip_prefix(MAGIC).filter(|_| sound)?).ok()
    });
    Ok(match mark {
        Some(mark) => FoundTip::At(mark),
        None => FoundTip::Damaged(Damage::new(TIP, 0, "the tip mark does not match its checksum")),
    })
}

/// Puts `TIP` at this block, durably.
pub(super) fn write(disk: &dyn Disk, mark: &TipMark) -> std::io::Result<()> {
    let covered = [MAGIC.as_slice(), &mark.encode()].concat();
    let bytes = [covered.as_slice(), blake3::hash(&covered).as_bytes()].concat();
    disk::replace(disk, "", TIP, &bytes)
}
