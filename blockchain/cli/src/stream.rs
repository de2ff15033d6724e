//! What the recording verbs share: holding an input against what its session keeps already.
//!
//! `append` and `watch` go on behind what is kept, and only the same recording may go on: an input that
//! begins with other bytes is another one. Chunks are compared by their ids, so that only what is not
//! cut yet has to be read back.

use std::io::{self, Read};

use anyhow::Context as _;
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;

use crate::place::{KeptPart, WriteSessions};

/// How an input stands to what its session keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputStanding {
    /// It begins with all that is kept, and has been read so far.
    Same,
    /// It begins with something else.
    Differs,
    /// It is shorter, and begins as what is kept does.
    Short(u64),
    /// It is long enough, and has been read so far; what is kept may not be read back.
    Unseen,
}

/// What is said then.
pub const UNSEEN: &str = "what is kept cannot be held against what comes: these credentials may add, and not read \
    back";

/// Reads from the beginning of an input what a session keeps, and compares it.
pub fn hold_against(
    place: &dyn WriteSessions,
    id: &SessionId,
    input: &mut dyn Read,
) -> anyhow::Result<InputStanding> {
    let (mut standing, mut total) = (InputStanding::Same, 0);
    let mut read = Vec::new();
    place.kept(id, &mut |kept| {
        let wanted = match kept {
            KeptPart::Chunk(_, length) => length,
            KeptPart::Bytes(bytes) => bytes.len() as u64,
            KeptPart::Unseen(length) => length,
        };
        read.clear();
        (&mut *input).take(wanted).read_to_end(&mut read).context("the input cannot be read")?;
        total += read.len() as u64;
        let is_same = match kept {
            KeptPart::Chunk(chunk, _) => ChunkId::from(blake3::hash(&read)) == chunk,
            KeptPart::Bytes(bytes) => read == bytes,
            KeptPart::Unseen(_) => {
                standing = InputStanding::Unseen;
                read.len() as u64 == wanted
            }
        };
        standing = match (is_same, (read.len() as u64) < wanted) {
            (true, _) => return Ok(true),
            (false, true) => InputStanding::Short(total),
            (false, false) => InputStanding::Differs,
        };
        Ok(false)
    })?;
    Ok(standing)
}

/// Reads on where `at` says, from a file that others read, too.
#[derive(Debug)]
pub struct ReadFrom<'a> {
    /// The file.
    pub file: &'a std::fs::File,
    /// Where the next byte is.
    pub at: u64,
}

impl Read for ReadFrom<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
