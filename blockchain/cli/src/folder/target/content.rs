//! Writes a file's bytes, but leaves holes where the file had them.
//!
//! Called by the target for small files and pieces of large ones. Invariant: what is left out is zeros,
//! regardless of what the catalogue says of holes.

use std::{fs::File, io, os::unix::fs::FileExt};

use lucid_core::catalogue::Hole;

/// Writes bytes that begin at `at` in the file. The file must have its length if it has holes.
pub(super) fn write(file: &File, holes: &[Hole], mut at: u64, bytes: &[u8]) -> io::Result<()> {
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
        if hollow.iter().any(|byte| *byte != 0) {
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

    fn written(holes: &[Hole], pieces: usize, bytes: &[u8]) -> (Vec<u8>, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(bytes.len() as u64).unwrap();
        for (number, piece) in bytes.chunks(pieces).enumerate() {
            write(file.as_file(), holes, (number * pieces) as u64, piece).unwrap();
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
            let (read, room) = written(&holes, pieces, &bytes);
            assert!(read == bytes, "in pieces of {pieces}");
            assert!(room <= 5 * STEP as u64, "{room} bytes in pieces of {pieces}");
        }
        // A catalogue that says hole where there is content does not cost a byte.
        bytes[4 * STEP + 5] = 1;
        assert!(written(&holes, 999, &bytes).0 == bytes);
        let beyond = [Hole { offset: 5, length: u64::MAX }];
        assert!(written(&beyond, 999, &bytes).0 == bytes);
    }
}
