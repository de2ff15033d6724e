//! `lucid chain export FILE`: writes blocks in JSON, one a line.
//!
//! A file that is there already is gone on with, once its last line was found to be a block of this
//! chain; a line that was cut off is written again. Exit codes: 0 done; 1 not all could be written.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use lucid_api::client::BlockManagerClient;
use lucid_api::v1::sync::{BODY_BYTES_MAX, RUN_BYTES_MAX, RunQuery};
use lucid_block_manager::state::Opened;
use lucid_core::block::Candidate;
use lucid_core::record::{Head, decode_body};
use lucid_store::chain::{Kept, Stretch};
use serde::Serialize;

use super::lines::LINE_BYTES_MAX;
use super::{Where, existing, is_stream};
use crate::cmd::DONE;
use crate::output::Output;
use crate::progress::Progress;
use crate::text;

/// Blocks that are asked for at once.
const RUN_BLOCKS: u32 = 500;
/// Bytes that are read in one pass.
const RUN_BYTES: usize = 8 << 20;

/// Bytes that a server's bodies are believed to have: a reply's worth, or one of the longest.
const BODIES_BYTES_MAX: u64 = (RUN_BYTES_MAX + BODY_BYTES_MAX) as u64;

/// Arguments of `lucid chain export`.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The file, or `-` for standard output.
    file: PathBuf,
    /// The first height. A file that is there already goes on where it ends.
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// The last height; the newest block's, unless it is given.
    #[arg(long, value_name = "HEIGHT")]
    to: Option<u64>,
}

#[derive(Serialize)]
struct Exported {
    /// Lines that were written.
    blocks: u64,
    /// The height of the file's last block, if it has one.
    height: Option<u64>,
    bytes: u64,
}

/// Where blocks come from.
enum Source {
    Folder(Box<Opened>),
    Server(BlockManagerClient),
}

impl Export {
    /// Exports.
    pub(super) fn run(&self, at: &Where<'_>, output: &Output) -> anyhow::Result<u8> {
        let source = match at.client()? {
            Some(client) => Source::Server(client),
            None => Source::Folder(Box::new(at.open("export", existing())?)),
        };
        let end = source.newest()?.map(|newest| self.to.map_or(newest, |to| to.min(newest)));
        let mut next = self.from.unwrap_or(0);
        let mut to: Box<dyn Write> = match is_stream(&self.file) {
            true => Box::new(output.stream()),
            false => {
                let (file, after) = self.open(&source)?;
                next = after.unwrap_or(next);
                Box::new(BufWriter::with_capacity(1 << 20, file))
            }
        };
        let progress = Progress::start(output, "exporting", None);
        let mut done = Exported { blocks: 0, height: next.checked_sub(1), bytes: 0 };
        while let Some(end) = end.filter(|end| next <= *end) {
            for text in source.texts(next, end)? {
                to.write_all(text.as_bytes()).and_then(|()| to.write_all(b"\n"))?;
                done.blocks += 1;
                done.height = Some(next);
                done.bytes += text.len() as u64 + 1;
                progress.add(text.len() as u64 + 1);
                next += 1;
            }
        }
        to.flush()?;
        drop(to);
        if !is_stream(&self.file) {
            File::open(&self.file).and_then(|file| file.sync_all()).context("syncing the file")?;
        }
        drop(progress);
        source.close()?;
        let said = |done: &Exported| {
            let (blocks, bytes) = (text::count(done.blocks), text::size(done.bytes));
            format!("wrote {blocks} blocks, {bytes}")
        };
        match is_stream(&self.file) {
            true => output.remark(&said(&done)),
            false => output.result(&done, said)?,
        }
        Ok(DONE)
    }

    /// Opens the file to be written behind its last whole line; says which height comes next, if it has
    /// a line.
    fn open(&self, source: &Source) -> anyhow::Result<(File, Option<u64>)> {
        let name = self.file.display();
        let context = || format!("\"{name}\" cannot be written");
        let mut file = File::options();
        let file = file.read(true).write(true).create(true).truncate(false).open(&self.file);
        let mut file = file.with_context(context)?;
        let (line, end) = last_line(&mut file).with_context(context)?;
        file.set_len(end).with_context(context)?;
        file.seek(SeekFrom::Start(end)).with_context(context)?;
        let Some(line) = line else {
            anyhow::ensure!(end == 0, "\"{name}\" ends with no block: name another file");
            return Ok((file, None));
        };
        let last = Candidate::parse(&line).ok().and_then(|block| block.index().zip(block.hash()));
        let Some((height, hash)) = last else {
            anyhow::bail!("\"{name}\" ends with no block: name another file");
        };
        let there = source.texts(height, height)?;
        let there = there.first().and_then(|text| Candidate::parse(text.as_bytes()).ok());
        anyhow::ensure!(
            there.and_then(|block| block.hash()) == Some(hash),
            "\"{name}\" ends with block {height} ({hash}), and this chain has another there: name \
             another file"
        );
        if let Some(from) = self.from {
            anyhow::ensure!(
                from <= height + 1,
                "\"{name}\" ends with block {height}, so going on from {from} would leave a gap: \
                 leave --from out"
            );
        }
        Ok((file, Some(height + 1)))
    }
}

/// The last line that has a line feed, and where it ends. What follows it was cut off.
fn last_line(file: &mut File) -> io::Result<(Option<Vec<u8>>, u64)> {
    const STRETCH: u64 = 1 << 20;
    let length = file.metadata()?.len();
    let (mut start, mut tail) = (length, Vec::new());
    loop {
        let feeds =
            || tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        let last = feeds().next_back();
        let before = last.and_then(|last| feeds().take_while(|at| *at < last).last());
        let whole = start == 0 || before.is_some();
        if let (true, Some(last)) = (whole, last) {
            let from = before.map_or(0, |before| before + 1);
            let line = tail.get(from..last).unwrap_or_default().to_vec();
            return Ok((Some(line), start + last as u64 + 1));
        }
        if start == 0 {
            return Ok((None, 0));
        }
        if length - start > 2 * LINE_BYTES_MAX {
            let sentence = "its last line is longer than any block";
            return Err(io::Error::new(io::ErrorKind::InvalidData, sentence));
        }
        let from = start.saturating_sub(STRETCH);
        let mut stretch = vec![0; usize::try_from(start - from).unwrap_or(usize::MAX)];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut stretch)?;
        stretch.append(&mut tail);
        (start, tail) = (from, stretch);
    }
}

impl Source {
    /// The height of the newest block.
    fn newest(&self) -> anyhow::Result<Option<u64>> {
        Ok(match self {
            Self::Folder(opened) => opened.chain.tip()?.map(|tip| tip.height),
            Self::Server(client) => {
                let at = client.chain_height()?;
                (!at.empty).then_some(at.height)
            }
        })
    }

    /// The texts of the blocks from one height to another, or of the first ones of them.
    fn texts(&self, from: u64, to: u64) -> anyhow::Result<Vec<String>> {
        let count = u32::try_from(to - from + 1).unwrap_or(u32::MAX).min(RUN_BLOCKS);
        match self {
            Self::Folder(opened) => {
                let chain = opened.chain.as_ref();
                let stretch = Stretch { from, blocks: count as usize, bytes: RUN_BYTES };
                let count = chain.body_bytes(stretch)?.len().max(1) as u64;
                let blocks = (from..from + count).map(|height| match chain.block(height)? {
                    Some(Kept::Whole(block)) => Ok(block.to_json_text()),
                    Some(Kept::Pruned(_)) => Err(pruned(height, chain.pruned_below())),
                    None => Err(anyhow::anyhow!("the chain has no block at height {height}")),
                });
                blocks.collect()
            }
            Self::Server(client) => {
                let heads = client.heads(&RunQuery { from, limit: Some(count) })?;
                let bodies =
                    client.bodies(&RunQuery { from, limit: Some(count) }, BODIES_BYTES_MAX)?;
                anyhow::ensure!(!heads.is_empty() && !bodies.is_empty(), "the server ends early");
                let blocks = heads.iter().zip(&bodies).map(|(head, body)| {
                    let block = Head::decode(head)?.with_body(decode_body(body)?);
                    Ok(block.to_json_text())
                });
                blocks.collect()
            }
        }
    }

    fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Folder(opened) => Ok(opened.close()?),
            Self::Server(_) => Ok(()),
        }
    }
}

fn pruned(height: u64, below: u64) -> anyhow::Error {
    anyhow::anyhow!(
        "the transactions of block {height} were pruned: export from {below} on (--from {below}), or \
         from somebody who keeps them all"
    )
}
