//! Writes a file's bytes, but leaves holes where the file had them, or wherever there are zeros.
//!
//! Called by the target for small files and pieces of large ones. Invariant: what is left out is zeros,
//! regardless of what the catalogue says of holes.

use std::{fs::File, io, os::unix::fs::FileExt};

use lucid_core::catalogue::Hole;

/// Zeros are left out block by block: smaller holes no file system has.
const BLOCK: u64 = 4096;

/// What of a file is not written if it is zeros.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hollow<'a> {
    /// These parts of it.
    Holes(&'a [Hole]),
    /// Every whole block.
    Blocks,
}

impl Hollow<'_> {
    /// Whether the file must have its length before it is written.
    pub(super) fn is_some(&self) -> bool {
        match self {
            Self::Holes(holes) => !holes.is_empty(),
            Self::Blocks => true,
        }
    }
}

/// Writes bytes that begin at `at` in the file. The file must have its length if anything is left out.
pub(super) fn write(file: &File, hollow: Hollow<'_>, at: u64, bytes: &[u8]) -> io::Result<()> {
    match hollow {
        Hollow::Holes(holes) => write_around(file, holes, at, bytes),
        Hollow::Blocks => write_blocks(file, at, bytes),
    }
}

/// Writes what is not zeros, in runs of blocks; the ends of the bytes are written in any case, because their
/// blocks may go on behind them.
fn write_blocks(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    let before = usize::try_from(at.next_multiple_of(BLOCK) - at).unwrap_or(usize::MAX);
    let (head, rest) = bytes.split_at(before.min(bytes.len()));
    file.write_all_at(head, at)?;
    let (mut at, mut rest) = (at + head.len() as u64, rest);
    while !rest.is_empty() {
        let mut blocks = rest.chunks(BLOCK as usize);
        let is_hollow = |block: &&[u8]| block.len() as u64 == BLOCK && are_zeros(block);
        let skipped: usize = blocks.by_ref().take_while(is_hollow).map(<[u8]>::len).sum();
        let (_, behind) = rest.split_at(skipped);
        let filled = behind.chunks(BLOCK as usize).take_while(|block| !is_hollow(block));
        let filled: usize = filled.map(<[u8]>::len).sum();
        let (content, behind) = behind.split_at(filled);
        file.write_all_at(content, at + skipped as u64)?;
        at += (skipped + filled) as u64;
        rest = behind;
    }
    Ok(())
}

fn are_zeros(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

fn write_around(file: &File, holes: &[Hole], mut at: u64, bytes: &[u8]) -> io::Result<()> {
    let end = |hole: &Hole| hole.offset.saturating_add(hole.length);
    let first = holes.partition_point(|hole| end(hole) <= at);
    let mut rest = bytes;
    for hole in holes.get(first..).unwrap_or_default() {
        let before = usize::try_from(hole.offset.saturating_sub(at)).unwrap_or(usize::MAX);
        let Some((content, behind)) = rest.split_at_checked(before) else { break };
        file.write_all_at(content, at)?;
        at += content.len() as u64;
        let inside = usize::try_from(end(hole) - at).unwrap_or(usize::MAX).min(behind.len());
        let (hollow, behind) = behind.split_at(inside);
        if !are_zeros(hollow) {
            file.write_all_at(hollow, at)?;
        }
        at += hollow.len() as u64;
        rest = behind;
    }
    file.write_all_at(rest, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    const STEP: usize = 64 << 10;

    fn written(hollow: Hollow<'_>, pieces: usize, bytes: &[u8]) -> (Vec<u8>, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(bytes.len() as u64).unwrap();
        for (number, piece) in bytes.chunks(pieces).enumerate() {
            write(file.as_file(), hollow, (number * pieces) as u64, piece).unwrap();
        }
        file.as_file().sync_all().unwrap();
        (std::fs::read(file.path()).unwrap(), file.as_file().metadata().unwrap().blocks() * 512)
    }

    #[test]
    fn holes_stay_holes_and_everything_else_is_written() {
        let hole = |from: usize, to: usize| Hole {
            offset: (from * STEP) as u64,
            length: ((to - from) * STEP) as u64,
        };
        let holes = [hole(0, 2), hole(3, 7), hole(9, 12)];
        let mut bytes = vec![0; 12 * STEP];
        for step in [2, 7, 8] {
            bytes[step * STEP..][..STEP].fill(7);
        }
        for pieces in [bytes.len(), STEP, 3 * STEP, STEP + 1, 1000] {
            let (read, room) = written(Hollow::Holes(&holes), pieces, &bytes);
            assert!(read == bytes, "in pieces of {pieces}");
            assert!(room <= 5 * STEP as u64, "{room} bytes in pieces of {pieces}");
        }
        // A catalogue that says hole where there is content does not cost a byte.
        bytes[4 * STEP + 5] = 1;
        assert!(written(Hollow::Holes(&holes), 999, &bytes).0 == bytes);
        let beyond = [Hole { offset: 5, length: u64::MAX }];
        assert!(written(Hollow::Holes(&beyond), 999, &bytes).0 == bytes);
    }

    #[test]
    fn every_whole_block_of_zeros_may_become_a_hole() {
        let mut bytes = vec![0; 12 * STEP + 100];
        for step in [2, 7, 8] {
            bytes[step * STEP..][..STEP].fill(7);
        }
        bytes[5 * STEP + 4095] = 1;
        for pieces in [bytes.len(), STEP, 3 * STEP] {
            let (read, room) = written(Hollow::Blocks, pieces, &bytes);
            assert!(read == bytes, "in pieces of {pieces}");
            assert!(room < 4 * STEP as u64, "{room} bytes in pieces of {pieces}");
        }
        // Where pieces end within blocks, those are written.
        for pieces in [STEP + 1, 10_000, 5000, 4095, 100] {
            assert!(written(Hollow::Blocks, pieces, &bytes).0 == bytes, "in pieces of {pieces}");
        }
    }
}
