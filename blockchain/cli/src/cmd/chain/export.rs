//! `lucid chain export FILE`: writes blocks in JSON, one a line.
//!
//! A file that is there already is gone on with, once its first and last lines were found to be blocks of
//! this chain, and what follows them the beginning of the next one. Any other file stays as it is: nothing
//! is opened for writing before all that was judged. Exit codes: 0 done; 1 not all could be written.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use lucid_api::client::BlockManagerClient;
use lucid_api::v1::sync::{BODY_BYTES_MAX, RUN_BYTES_MAX, RunQuery};
use lucid_block_manager::opened::Opened;
use lucid_core::block::Candidate;
use lucid_core::digest::BlockHash;
use lucid_core::record::{Head, decode_body};
use lucid_store::contract::chain::{KeptBlock, Stretch};
use serde::Serialize;

use super::lines::LINE_BYTES_MAX;
use super::{Where, existing, is_stream};
use crate::cmd::DONE;
use crate::output::Output;
use crate::progress::ProgressLine;
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
struct ExportSummary {
    /// Lines that were written.
    blocks: u64,
    /// The height of the file's last block, if it has one.
    height: Option<u64>,
    bytes: u64,
}

/// Where blocks come from.
enum ExportSource {
    Folder(Box<Opened>),
    Server(Box<BlockManagerClient>),
}

impl Export {
    /// Exports.
    pub(super) fn run(&self, at: &Where<'_>, output: &Output) -> anyhow::Result<u8> {
        let source = match at.client()? {
            Some(client) => ExportSource::Server(Box::new(client)),
            None => ExportSource::Folder(Box::new(at.open("export", existing(), output)?)),
        };
        let end = source.newest()?.map(|newest| self.to.map_or(newest, |to| to.min(newest)));
        let from = self.from.unwrap_or(0);
        let (mut next, end_of_whole) = match self.is_streamed()? {
            true => (from, None),
            false => self.resume_point(&source, from)?,
        };
        let first = match end.filter(|end| next <= *end) {
            Some(end) => source.texts(next, end)?,
            None => Vec::new(),
        };
        let mut to: Box<dyn Write> = match is_stream(&self.file) {
            true => Box::new(output.stream()),
            false => Box::new(BufWriter::with_capacity(1 << 20, self.open(end_of_whole)?)),
        };
        let progress = ProgressLine::start(output, "exporting", None);
        let mut done = ExportSummary { blocks: 0, height: next.checked_sub(1), bytes: 0 };
        let mut texts = first;
        while let Some(end) = end.filter(|end| next <= *end) {
            if texts.is_empty() {
                texts = source.texts(next, end)?;
            }
            for text in std::mem::take(&mut texts) {
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
        if !self.is_streamed()? {
            File::open(&self.file).and_then(|file| file.sync_all()).context("syncing the file")?;
        }
        drop(progress);
        source.close()?;
        let said = |done: &ExportSummary| {
            let (blocks, bytes) = (text::many(done.blocks, "block"), text::size(done.bytes));
            format!("wrote {blocks}, {bytes}")
        };
        match is_stream(&self.file) {
            true => output.remark(&said(&done)),
            false => output.result(&done, said)?,
        }
        Ok(DONE)
    }

    /// Whether what is written goes on to somewhere, so that there is nothing to go on with.
    fn is_streamed(&self) -> anyhow::Result<bool> {
        Ok(is_stream(&self.file)
            || match std::fs::metadata(&self.file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                seen => !seen.with_context(|| self.context())?.is_file(),
            })
    }

    fn context(&self) -> String {
        format!("\"{}\" cannot be written", self.file.display())
    }

    /// Opens the file to be written: a new one, or behind the last whole line of the one that was judged.
    fn open(&self, end: Option<u64>) -> anyhow::Result<File> {
        let mut how = File::options();
        let opened = match end {
            None if self.is_streamed()? => how.write(true).open(&self.file),
            // A file that another process made meanwhile was not judged.
            None => how.write(true).create_new(true).open(&self.file),
            Some(end) => how.write(true).open(&self.file).and_then(|mut file| {
                file.set_len(end)?;
                file.seek(SeekFrom::Start(end))?;
                Ok(file)
            }),
        };
        opened.with_context(|| self.context())
    }

    /// Says which height comes next, and for a file that is there, where its last whole line ends. Refuses
    /// what is no export of this chain.
    fn resume_point(&self, source: &ExportSource, from: u64) -> anyhow::Result<(u64, Option<u64>)> {
        let name = self.file.display();
        let mut file = match File::open(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((from, None)),
            file => file.with_context(|| self.context())?,
        };
        let (line, end) = last_line(&mut file).with_context(|| self.context())?;
        let next = match line {
            None => from,
            Some(last) => {
                let height = self.check_line(source, &last, "ends")?;
                let first = first_line(&mut file).with_context(|| self.context())?;
                self.check_line(source, &first, "begins")?;
                if let Some(from) = self.from {
                    anyhow::ensure!(
                        from <= height + 1,
                        "\"{name}\" ends with block {height}, so going on from {from} would leave a \
                         gap: leave --from out"
                    );
                }
                height + 1
            }
        };
        let mut rest = Vec::new();
        file.seek(SeekFrom::Start(end)).with_context(|| self.context())?;
        file.take(LINE_BYTES_MAX).read_to_end(&mut rest).with_context(|| self.context())?;
        if !rest.is_empty() {
            // A line that was cut off is the beginning of the block that comes next.
            let newest = source.newest()?;
            let texts = match newest.filter(|newest| next <= *newest) {
                Some(_) => source.texts(next, next)?,
                None => Vec::new(),
            };
            anyhow::ensure!(
                texts.first().is_some_and(|text| text.as_bytes().starts_with(&rest)),
                "\"{name}\" ends with no block of this chain: name another file"
            );
        }
        Ok((next, Some(end)))
    }

    /// The height of a line, which must be a block of this chain.
    fn check_line(&self, source: &ExportSource, line: &[u8], place: &str) -> anyhow::Result<u64> {
        let name = self.file.display();
        let block = Candidate::parse(line).ok().and_then(|block| block.index().zip(block.hash()));
        let Some((height, hash)) = block else {
            anyhow::bail!("\"{name}\" {place} with no block: name another file");
        };
        anyhow::ensure!(
            source.hash(height)? == Some(hash),
            "\"{name}\" {place} with block {height} ({hash}), and this chain has another there: name \
             another file"
        );
        Ok(height)
    }
}

/// The first line of a file that has a whole one.
fn first_line(file: &mut File) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    BufReader::new(file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    line.pop_if(|byte| *byte == b'\n');
    Ok(line)
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

impl ExportSource {
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

    /// The hash of the block at a height, which stays when its transactions are pruned.
    fn hash(&self, height: u64) -> anyhow::Result<Option<BlockHash>> {
        if self.newest()?.is_none_or(|newest| height > newest) {
            return Ok(None);
        }
        Ok(match self {
            Self::Folder(opened) => {
                opened.chain.record(height)?.map(|stored| stored.record.entry.hash)
            }
            Self::Server(client) => {
                let heads = client.heads(&RunQuery { from: height, limit: Some(1) })?;
                heads
                    .first()
                    .map(|head| Head::decode(head))
                    .transpose()?
                    .map(|head| head.entry.hash)
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
                    Some(KeptBlock::Whole(block)) => Ok(block.to_json_text()),
                    Some(KeptBlock::Pruned(_)) => Err(pruned(height, chain.pruned_below())),
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
