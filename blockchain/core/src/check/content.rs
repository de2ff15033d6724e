//! Comparing content with the chunks that a bundle names, as a stream.
//!
//! Whole chunks are hashed as they pass; chunks that are covered in part are compared with the bytes
//! of their slices. At most one buffer and the two edges are in memory.

use std::io::{self, Read};

use super::Stop;
use crate::bundle::{Bundle, Demand};
use crate::digest::ChunkId;
use crate::session::Leaf;
use crate::slice;
use crate::words::many;

const BUFFER_BYTES: usize = 64 << 10;

/// The bytes of every slice, verified: one for each chunk that is covered in part.
pub(super) fn verify_slices(bundle: &Bundle, claim: &Demand) -> Result<Vec<Vec<u8>>, String> {
    let mut slices = bundle.slices.iter();
    let mut parts = Vec::new();
    for leaf in &bundle.leaves {
        if let Some(range) = claim.part_of(leaf) {
            let missing = || format!("chunk {} is covered in part and has no slice", leaf.index);
            let slice = slices.next().ok_or_else(missing)?;
            let bytes = slice::verify(&leaf.chunk_id, leaf.length, range, slice);
            parts.push(bytes.map_err(|fault| fault.to_string())?);
        }
    }
    match slices.next() {
        None => Ok(parts),
        Some(_) => Err("there are more slices than chunks that are covered in part".to_owned()),
    }
}

/// Compares all of `given` with the claimed bytes, and says how many there were. Content may end
/// before the first chunk at or after `optional_from`.
pub(super) fn compare(
    bundle: &Bundle,
    claim: &Demand,
    parts: Vec<Vec<u8>>,
    optional_from: Option<u64>,
    given: &mut dyn Read,
) -> Result<u64, Stop> {
    let mut stream = Stream { given, buffer: vec![0; BUFFER_BYTES], compared: 0 };
    let mut parts = parts.into_iter();
    for leaf in &bundle.leaves {
        match claim.part_of(leaf) {
            Some(_) => stream.part(leaf, &parts.next().unwrap_or_default())?,
            None => {
                if !stream.whole(leaf, optional_from == Some(leaf.offset))? {
                    return Ok(stream.compared);
                }
            }
        }
    }
    stream.end()?;
    Ok(stream.compared)
}

fn refused(reason: String) -> Stop {
    Stop::Refused { name: "content", reason }
}

struct Stream<'a> {
    given: &'a mut dyn Read,
    buffer: Vec<u8>,
    compared: u64,
}

impl Stream<'_> {
    /// Up to `most` bytes; none only at the end.
    fn read(&mut self, most: usize) -> Result<&[u8], Stop> {
        let room = self.buffer.len().min(most);
        let buffer = self.buffer.get_mut(..room).unwrap_or_default();
        let count = loop {
            match self.given.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Stop::Unreadable(error)),
                Ok(count) => break count,
            }
        };
        self.compared = self.compared.saturating_add(count as u64);
        Ok(self.buffer.get(..count).unwrap_or_default())
    }

    fn too_short(&self) -> Stop {
        refused(format!(
            "the content ends after {}, before the claimed end",
            many(self.compared, "byte")
        ))
    }

    /// A whole chunk; `false` if there was nothing where there need not be anything.
    fn whole(&mut self, leaf: &Leaf, may_be_absent: bool) -> Result<bool, Stop> {
        let mut hasher = blake3::Hasher::new();
        let mut missing = leaf.length as usize;
        while missing > 0 {
            let untouched = missing == leaf.length as usize;
            let bytes = self.read(missing)?;
            if bytes.is_empty() {
                return if untouched && may_be_absent { Ok(false) } else { Err(self.too_short()) };
            }
            hasher.update(bytes);
            missing = missing.saturating_sub(bytes.len());
        }
        if ChunkId::from(hasher.finalize()) == leaf.chunk_id {
            Ok(true)
        } else {
            Err(differs(leaf))
        }
    }

    /// A part of a chunk, whose bytes are known from its slice.
    fn part(&mut self, leaf: &Leaf, known: &[u8]) -> Result<(), Stop> {
        let mut rest = known;
        while !rest.is_empty() {
            let bytes = self.read(rest.len())?;
            if bytes.is_empty() {
                return Err(self.too_short());
            }
            rest = rest.strip_prefix(bytes).ok_or_else(|| differs(leaf))?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        if self.read(1)?.is_empty() {
            return Ok(());
        }
        Err(refused(format!(
            "the content goes on after the claimed {}",
            many(self.compared - 1, "byte")
        )))
    }
}

fn differs(leaf: &Leaf) -> Stop {
    refused(format!("the content differs in chunk {}, at byte {}", leaf.index, leaf.offset))
}
