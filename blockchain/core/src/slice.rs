//! Proofs for a few bytes of a chunk: BLAKE3 slices.
//!
//! [`crate::bundle`] carries them for the chunks at the edges of a byte range, so that ten bytes
//! cost some kilobytes and not the chunk. A chunk's id already is the root of the tree that a slice
//! walks, so nothing is stored for it.
//!
//! A slice is what `bao-tree` encodes with groups of 16 KiB: from the root down, in order, the pair
//! of children of every inner node above the wanted groups, and the groups themselves. The groups
//! that touch the range are disclosed as a whole, and the hashes beside them are not salted.

use std::ops::Range;

use bao_tree::io::outboard::PreOrderMemOutboard;
use bao_tree::io::sync::{DecodeResponseIter, encode_ranges_validated};
use bao_tree::io::{BaoContentItem, Leaf};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};

use crate::digest::ChunkId;
use crate::words::{many, many_do};

/// BLAKE3's own chunks have 1 KiB; sixteen of them are one group.
const GROUP: BlockSize = BlockSize::from_chunk_log(4);
/// A group in bytes: the unit in which content is disclosed.
pub const GROUP_BYTES: u32 = 16 << 10;
const BLAKE3_CHUNKS_IN_GROUP: u64 = 16;

/// Why a slice proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SliceFault {
    /// A range that is empty or reaches beyond the chunk.
    #[error("bytes {start}..{end} are not in a chunk of {}", many(*length, "byte"))]
    Range {
        /// The first byte asked for.
        start: u32,
        /// The byte after the last one.
        end: u32,
        /// How long the chunk is.
        length: u32,
    },
    /// Bytes or hashes that do not lead to the chunk's id.
    #[error("the slice does not belong to chunk {chunk}")]
    Mismatch {
        /// The chunk it was meant for.
        chunk: ChunkId,
    },
    /// Bytes after the end of the slice.
    #[error("{} the end of the slice", many_do(*count, "byte", "follows", "follow"))]
    Trailing {
        /// How many are left over.
        count: usize,
    },
}

/// The groups that touch a range, which must lie in the chunk and hold something.
fn groups(length: u32, range: &Range<u32>) -> Result<ChunkRanges, SliceFault> {
    if range.start >= range.end || range.end > length {
        return Err(SliceFault::Range { start: range.start, end: range.end, length });
    }
    let first = u64::from(range.start / GROUP_BYTES) * BLAKE3_CHUNKS_IN_GROUP;
    let end = u64::from(range.end.div_ceil(GROUP_BYTES)) * BLAKE3_CHUNKS_IN_GROUP;
    Ok(ChunkRanges::from(ChunkNum(first)..ChunkNum(end)))
}

/// The slice of a chunk that proves `range` of it.
pub fn extract(chunk: &[u8], range: Range<u32>) -> Result<Vec<u8>, SliceFault> {
    // No chunk is that long, and what no leaf can say is no range of any.
    let outside = |_| SliceFault::Range { start: range.start, end: range.end, length: u32::MAX };
    let length = u32::try_from(chunk.len()).map_err(outside)?;
    let groups = groups(length, &range)?;
    let outboard = PreOrderMemOutboard::create(chunk, GROUP);
    let mut slice = Vec::new();
    // Encoding checks every group against the tree that was just built from the same bytes, and
    // writes to memory: it has no way to fail, but saying so would be a promise of the library's.
    encode_ranges_validated(chunk, &outboard, &groups, &mut slice)
        .map_err(|_| SliceFault::Mismatch { chunk: outboard.root.into() })?;
    Ok(slice)
}

/// Exactly the bytes of `range`, taken from a slice of the chunk `chunk`.
///
/// The length is part of the tree's shape but is only bound as far as the slice reaches: a session's
/// leaf is what binds it.
pub fn verify(
    chunk: &ChunkId,
    length: u32,
    range: Range<u32>,
    slice: &[u8],
) -> Result<Vec<u8>, SliceFault> {
    let groups = groups(length, &range)?;
    let tree = BaoTree::new(u64::from(length), GROUP);
    let root = blake3::Hash::from_bytes(*chunk.as_bytes());
    let mismatch = || SliceFault::Mismatch { chunk: *chunk };
    let mut rest = slice;
    let mut bytes = Vec::new();
    let mut next = u64::from(range.start / GROUP_BYTES) * u64::from(GROUP_BYTES);
    for item in DecodeResponseIter::new(root, tree, &mut rest, &groups) {
        if let BaoContentItem::Leaf(Leaf { offset, data }) = item.map_err(|_| mismatch())? {
            if offset != next {
                return Err(mismatch());
            }
            next += data.len() as u64;
            bytes.extend_from_slice(&data);
        }
    }
    if !rest.is_empty() {
        return Err(SliceFault::Trailing { count: rest.len() });
    }
    let skipped = (range.start % GROUP_BYTES) as usize;
    let wanted = skipped..skipped + (range.end - range.start) as usize;
    bytes.get(wanted).map(<[u8]>::to_vec).ok_or_else(mismatch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(b"slice").finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn the_root_is_the_plain_hash_of_the_chunk() {
        for length in [1, 1024, 1025, 16_384, 16_385, 100_000, 1 << 20] {
            let bytes = chunk(length);
            let id = blake3::hash(&bytes).into();
            let all = 0..length as u32;
            let slice = extract(&bytes, all.clone()).unwrap();
            assert_eq!(verify(&id, length as u32, all, &slice).unwrap(), bytes, "{length}");
        }
    }

    #[test]
    fn ten_bytes_of_a_mebibyte_cost_kilobytes() {
        let bytes = chunk(1 << 20);
        let slice = extract(&bytes, 500_000..500_010).unwrap();
        assert!(slice.len() < 20 << 10, "{}", slice.len());
        let id = blake3::hash(&bytes).into();
        let found = verify(&id, 1 << 20, 500_000..500_010, &slice).unwrap();
        assert_eq!(found, &bytes[500_000..500_010]);
    }

    #[test]
    fn every_altered_byte_is_refused() {
        let bytes = chunk(40_000);
        let id = blake3::hash(&bytes).into();
        let slice = extract(&bytes, 20_000..20_010).unwrap();
        for at in (0..slice.len()).step_by(13) {
            let mut wrong = slice.clone();
            wrong[at] ^= 1;
            assert!(verify(&id, 40_000, 20_000..20_010, &wrong).is_err(), "{at}");
        }
    }

    #[test]
    fn wrong_ranges_lengths_and_leftovers_are_refused() {
        let bytes = chunk(100_000);
        let id = blake3::hash(&bytes).into();
        let slice = extract(&bytes, 10..20).unwrap();
        for range in [10..10, 99_999..100_001] {
            assert!(extract(&bytes, range.clone()).is_err());
            assert!(verify(&id, 100_000, range, &slice).is_err());
        }
        assert!(verify(&id, 0, 0..0, &[]).is_err());
        assert!(verify(&id, 100_000, 40_000..40_010, &slice).is_err());
        assert!(verify(&id, 20_000, 10..20, &slice).is_err());
        assert!(verify(&ChunkId::ZERO, 100_000, 10..20, &slice).is_err());
        let mut longer = slice;
        longer.push(0);
        assert_eq!(verify(&id, 100_000, 10..20, &longer), Err(SliceFault::Trailing { count: 1 }));
    }

    proptest! {
        #[test]
        fn any_range_of_any_chunk_is_proved(length in 1u32..200_000, a in any::<u32>(), b in any::<u32>()) {
            let (a, b) = (a % length, b % length);
            let range = a.min(b)..a.max(b) + 1;
            let bytes = chunk(length as usize);
            let slice = extract(&bytes, range.clone()).unwrap();
            let id = blake3::hash(&bytes).into();
            let found = verify(&id, length, range.clone(), &slice).unwrap();
            prop_assert_eq!(found, &bytes[range.start as usize..range.end as usize]);
            prop_assert!(verify(&id, length, range, &slice[..slice.len() - 1]).is_err());
        }

        #[test]
        fn arbitrary_slices_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..40_000),
            length in any::<u32>(),
            a in any::<u32>(),
            b in any::<u32>(),
        ) {
            let _ = verify(&ChunkId::ZERO, length, a.min(b)..a.max(b), &bytes);
        }
    }
}
