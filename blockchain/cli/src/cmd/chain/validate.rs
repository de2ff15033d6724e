//! `lucid chain validate [FILE]`: judges blocks by the six rules.
//!
//! Exit codes: 0 everything is valid; 1 something is not. An error that keeps it from judging has another.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lucid_api::v1::validation::{ChainValidation, ValidateChain};
use lucid_block_manager::given::Pins;
use lucid_block_manager::ops::validate_chain::{validate_chain, validate_scan};
use lucid_block_manager::ops::validate_texts::{ChainReport, ValidationRequest, validate_texts};
use lucid_block_manager::reply;
use lucid_core::digest::BlockHash;
use lucid_core::sign::{Producers, PublicKey};
use lucid_store::files::chain::scan::ChainScan;

use super::lines::{Lines, sentence};
use super::{Where, existing, scratch};
use crate::cmd::{DONE, FAILED, now};
use crate::output::Output;
use crate::place::reading::FORBIDDEN;
use crate::progress::ProgressLine;
use crate::text;

/// Arguments of `lucid chain validate`.
#[derive(Debug, clap::Args)]
pub struct Validate {
    /// A file of blocks in JSON, one a line, or `-` for standard input; without one, the stored chain.
    file: Option<PathBuf>,
    /// Begin with the block at this height, and believe which block it follows.
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// End with the block at this height.
    #[arg(long, value_name = "HEIGHT")]
    to: Option<u64>,
    /// The hash of the newest block, from a source you trust: finds out whether the end is missing.
    #[arg(long, value_name = "HASH")]
    expect_tip: Option<BlockHash>,
    /// The hash of block 0, from a source you trust.
    #[arg(long, value_name = "HASH")]
    genesis: Option<BlockHash>,
    /// The key in base64 that signs the blocks: those that another key signed are refused.
    #[arg(long, value_name = "KEY")]
    producer: Vec<PublicKey>,
    /// Judge only what is kept of stored blocks for ever, and not their transactions.
    #[arg(long, conflicts_with = "file")]
    records: bool,
    /// Compute the RFC 9162 root over the entries of the file's blocks, too.
    #[arg(long, requires = "file")]
    log_root: bool,
}

impl Validate {
    /// Whether the blocks are in a file.
    pub(super) fn is_of_a_file(&self) -> bool {
        self.file.is_some()
    }

    /// Judges, and says what is wrong and what was not looked at.
    pub(super) fn run(&self, at: &Where<'_>, output: &Output) -> anyhow::Result<u8> {
        let asked = ValidationRequest {
            pins: Pins { genesis: self.genesis, producer: Producers::of(&self.producer)? },
            from: self.from,
            to: self.to,
            expected_tip: self.expect_tip,
            log_root: self.log_root,
        };
        let progress = ProgressLine::start(output, "validating", None);
        let found = match (&self.file, at.client()?) {
            (Some(file), _) => of_file(file, &asked, &progress)?,
            (None, Some(client)) => {
                anyhow::ensure!(
                    self.expect_tip.or(self.genesis).is_none() && self.producer.is_empty(),
                    "--expect-tip, --genesis and --producer are for files and folders: leave them out, \
                     or export the blocks and validate the file"
                );
                let (start, end) = (self.from, self.to);
                client.validate_chain(&ValidateChain { start, end, records: self.records })?
            }
            (None, None) => self.of_folder(at, &asked, &progress, output)?,
        };
        let elapsed = progress.elapsed();
        drop(progress);
        for block in &found.invalid {
            output.warn(&block.reason);
        }
        output.result(&found, |found| said(found, elapsed))?;
        Ok(if found.valid { DONE } else { FAILED })
    }

    /// A chain in which nothing is wrong is judged from its files, even while another process writes to it.
    /// Any other chain is opened, and says itself what is wrong.
    fn of_folder(
        &self,
        at: &Where<'_>,
        asked: &ValidationRequest,
        progress: &ProgressLine,
        output: &Output,
    ) -> anyhow::Result<ChainValidation> {
        at.needs_folder()?;
        if let Some(scan) = self.scan(at) {
            let (tip, owner) = (scan.tip(), scan.owner().map(str::to_owned));
            let why = match at.home.read_only {
                true => Some(FORBIDDEN),
                false => scan.unwritable(),
            };
            let shown = |so_far: &ChainReport| show(progress, so_far);
            if let Some(report) = validate_scan(scan, now(), asked, scratch(), shown) {
                if let Some(why) = why {
                    let root = at.folder();
                    output.note(&format!("nothing is written to {}: {why}", root.display()));
                }
                if let Some(owner) = owner {
                    let height = tip.height;
                    output.note(&format!(
                        "the chain is in use by {owner}: what was committed when validating began is \
                         judged, up to block {height}"
                    ));
                }
                return Ok(reply::chain_validation(&report, now()));
            }
        }
        let opened = at.open("validate", existing(), output)?;
        let report = validate_chain(opened.chain.as_ref(), now(), asked, self.records, |so_far| {
            show(progress, so_far);
            ControlFlow::Continue(())
        })?;
        opened.close()?;
        Ok(reply::chain_validation(&report, now()))
    }

    /// The files of the chain, where all of it is to be judged. A key that is given is one that the chain is to
    /// be opened with.
    fn scan(&self, at: &Where<'_>) -> Option<ChainScan> {
        let is_keyed = at.home.key_file.is_some() || at.home.passphrase().is_some();
        let is_plain = !self.records && at.home.blocks.is_none() && !is_keyed;
        if is_plain { ChainScan::begin(&at.folder()).ok() } else { None }
    }
}

fn show(progress: &ProgressLine, report: &ChainReport) {
    progress.add(report.bytes.saturating_sub(progress.done()));
}

fn of_file(
    file: &Path,
    asked: &ValidationRequest,
    progress: &ProgressLine,
) -> anyhow::Result<ChainValidation> {
    let cut = Cell::new(false);
    let (lines, length) = Lines::open(file, &cut)?;
    if let Some(length) = length {
        progress.set_total(length);
    }
    let now = now();
    let report = validate_texts(now, asked, scratch(), lines, |report| show(progress, report))?;
    anyhow::ensure!(report.blocks > 0, "\"{}\" holds no block to be judged", file.display());
    let mut found = reply::chain_validation(&report, now);
    for (told, refused) in found.invalid.iter_mut().zip(&report.refused) {
        told.line = Some(refused.position + 1);
        told.reason = sentence(refused, cut.get());
    }
    Ok(found)
}

fn said(found: &ChainValidation, elapsed: Duration) -> Vec<String> {
    let range = match (found.start, found.end) {
        (Some(start), Some(end)) => format!(" ({start} to {end})"),
        _ => String::new(),
    };
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let mut lines = vec![format!(
        "judged {}{range} with {} and {} in {} ({}/s)",
        text::many(found.blocks_checked, "block"),
        text::many(found.transactions_checked, "transaction"),
        text::many(found.transaction_signatures + found.signed_blocks, "signature"),
        text::duration(elapsed),
        text::count((found.transactions_checked as f64 / seconds) as u64),
    )];
    if let Some(hash) = &found.end_hash {
        lines.push(format!("the last one is {hash}"));
    }
    if let Some(root) = &found.log_root {
        lines.push(format!("the RFC 9162 root over their entries is {root}"));
    }
    lines.extend(found.missing.iter().map(|height| format!("block {height} is missing")));
    lines.extend(found.wrong_end.clone());
    lines.extend(found.not_checked.iter().map(|what| format!("not checked: {what}")));
    lines.push(match (found.valid, found.invalid_count) {
        (true, _) => "valid".to_owned(),
        (false, 0) => "NOT valid".to_owned(),
        (false, count) => format!("NOT valid: {} refused", text::many(count, "block")),
    });
    lines
}
