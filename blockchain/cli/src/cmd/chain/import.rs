//! `lucid chain import FILE`: takes blocks in, judged like any others.
//!
//! What the chain has already is held against the file and passed over, so an import that was broken
//! off is simply begun again. Exit codes: 0 every block of the file is in the chain; 1 at least one is
//! not.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::PathBuf;

use lucid_block_manager::fact::Role;
use lucid_block_manager::opened::{ManagerKind, Options};
use lucid_block_manager::ops::take_blocks::{Heard, Pins, TakeProgress, take_blocks};
use lucid_core::digest::BlockHash;
use lucid_core::sign::{Producers, PublicKey};
use lucid_core::words::many_do;
use serde::Serialize;

use super::Where;
use super::lines::{Lines, sentence};
use crate::cmd::{DONE, FAILED, now};
use crate::output::Output;
use crate::progress::ProgressLine;
use crate::text;

/// So many refused blocks are named; a file of another chain has millions.
const NAMED_MAX: u64 = 100;

/// Arguments of `lucid chain import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// A file of blocks in JSON, one a line, or `-` for standard input.
    file: PathBuf,
    /// The hash of block 0, from a source you trust: another chain is refused.
    #[arg(long, value_name = "HASH")]
    genesis: Option<BlockHash>,
    /// The key in base64 that signs the blocks: those that another key signed are refused.
    #[arg(long, value_name = "KEY")]
    producer: Vec<PublicKey>,
    /// Make a new folder a follower's, that will go on from another block-manager.
    #[arg(long)]
    follower: bool,
}

#[derive(Serialize)]
struct Imported {
    blocks: u64,
    known: u64,
    stored: u64,
    refused: u64,
    transactions: u64,
    height: Option<u64>,
    hash: Option<BlockHash>,
}

impl Import {
    /// Imports, and names every block that is refused.
    pub(super) fn run(&self, at: &Where<'_>, output: &Output) -> anyhow::Result<u8> {
        anyhow::ensure!(
            at.manager.is_none(),
            "a running block-manager takes no history: stop it, leave --manager out, and import into \
             its folder with --data"
        );
        let cut = Cell::new(false);
        // First the file: a mistake in its name makes no folder.
        let (lines, length) = Lines::open(&self.file, &cut)?;
        let role = self.follower.then_some(Role::Follower);
        let kind = ManagerKind { role, genesis: self.genesis, ..ManagerKind::default() };
        let opened = at.open("import", Options { kind, ..Options::default() }, output)?;
        if let Some(why) = opened.read_only() {
            anyhow::bail!("the chain takes no blocks now: {why}");
        }
        let progress = ProgressLine::start(output, "importing", length);
        let pins = Pins { genesis: self.genesis, producer: Producers::of(&self.producer)? };
        let mut named = 0;
        let chain = opened.chain.as_ref();
        let taken = take_blocks(&opened.vault, chain, now(), pins, None, lines, |heard| {
            match heard {
                Heard::Progress(so_far) => {
                    progress.add(so_far.bytes.saturating_sub(progress.done()));
                }
                Heard::Refused(refused) => {
                    named += 1;
                    if named <= NAMED_MAX {
                        output.warn(&sentence(&refused, cut.get()));
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        let elapsed = progress.elapsed();
        drop(progress);
        let tip = chain.tip()?;
        opened.close()?;
        if named > NAMED_MAX {
            let more = many_do(named - NAMED_MAX, "more block", "was", "were");
            output.warn(&format!("{more} refused"));
        }
        let TakeProgress { given, known, stored, refused, transactions, .. } = taken;
        anyhow::ensure!(given > 0, "\"{}\" holds no block", self.file.display());
        let imported = Imported {
            blocks: given,
            known,
            stored,
            refused,
            transactions,
            height: tip.map(|tip| tip.height),
            hash: tip.map(|tip| tip.hash),
        };
        output.result(&imported, |imported| {
            let mut lines = vec![format!(
                "stored {} with {}; there already: {}, refused: {}; in {}",
                text::many(imported.stored, "block"),
                text::many(imported.transactions, "transaction"),
                text::count(imported.known),
                text::count(imported.refused),
                text::duration(elapsed),
            )];
            if let (Some(height), Some(hash)) = (imported.height, imported.hash) {
                lines.push(format!("the newest block is {height} ({hash})"));
            }
            lines
        })?;
        Ok(if refused == 0 { DONE } else { FAILED })
    }
}
