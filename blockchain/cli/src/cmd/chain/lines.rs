//! A file of blocks, one a line.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use lucid_block_manager::given::{GivenBlock, RefusedBlock, WhyRefused};
use lucid_core::json::JsonFault;

/// The longest line that is read: a block of 16 MiB of transactions, and room for another spelling.
pub(super) const LINE_BYTES_MAX: u64 = 32 << 20;

/// Reads lines; each is a block.
pub(super) struct Lines<'a> {
    from: Box<dyn BufRead>,
    count: u64,
    /// Whether the last line had no line feed.
    cut: &'a Cell<bool>,
}

impl<'a> Lines<'a> {
    /// Opens a file, or standard input for `-`; and says how long it is, where that is known.
    pub(super) fn open(path: &Path, cut: &'a Cell<bool>) -> anyhow::Result<(Self, Option<u64>)> {
        let (from, length): (Box<dyn BufRead>, _) = match super::is_stream(path) {
            true => (Box::new(BufReader::with_capacity(1 << 20, io::stdin())), None),
            false => {
                let context = || format!("\"{}\" cannot be read", path.display());
                let file = File::open(path).with_context(context)?;
                let length = file.metadata().with_context(context)?;
                let length = length.is_file().then_some(length.len());
                (Box::new(BufReader::with_capacity(1 << 20, file)), length)
            }
        };
        Ok((Self { from, count: 0, cut }, length))
    }
}

impl Iterator for Lines<'_> {
    type Item = io::Result<GivenBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.from.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        self.count += 1;
        self.cut.set(line.pop_if(|byte| *byte == b'\n').is_none());
        if line.len() as u64 > LINE_BYTES_MAX {
            let sentence =
                format!("line {} is longer than any block: 32 MiB is the most", self.count);
            return Some(Err(io::Error::new(io::ErrorKind::InvalidData, sentence)));
        }
        Some(Ok(GivenBlock::Text(line)))
    }
}

/// What is wrong with a line, in a sentence. `cut`: it is the last one, and has no line feed.
pub(super) fn sentence(refused: &RefusedBlock, cut: bool) -> String {
    let line = refused.position + 1;
    match &refused.why {
        WhyRefused::Unreadable(JsonFault::Ended) if cut => format!(
            "line {line}: the file ends in the middle of it, so this block and whatever followed are \
             not there: get the whole file"
        ),
        _ => format!("line {line}: {}", refused.sentence()),
    }
}
