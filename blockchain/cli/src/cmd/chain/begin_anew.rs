//! `lucid chain begin-anew`: begins another chain in the place of one that can take no more blocks.
//!
//! For when the newest block's time is far ahead, because the clock was. Nothing is removed: the old chain
//! stays beside the new one, to be read.

use lucid_block_manager::anew::begin_anew;
use lucid_core::digest::BlockHash;
use lucid_core::time::Timestamp;
use serde::Serialize;

use super::{Where, existing};
use crate::cmd::{DONE, now};
use crate::output::Output;
use crate::text;
use crate::when;

/// Arguments of `lucid chain begin-anew`.
#[derive(Debug, clap::Args)]
pub struct BeginAnew {
    /// Why; it stands in the first block of the new chain, for everyone to read.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

#[derive(Serialize)]
struct Done {
    old_height: u64,
    old_hash: BlockHash,
    old_folder: String,
    genesis: BlockHash,
    time: Timestamp,
    waiting: u64,
    refused: Vec<(String, String)>,
    store_id: String,
    producer: String,
}

impl BeginAnew {
    /// Begins, and says where the old chain is.
    pub(super) fn run(&self, at: &Where<'_>, output: &Output) -> anyhow::Result<u8> {
        anyhow::ensure!(
            at.manager.is_none(),
            "a chain is begun anew in its folder, while nobody runs that: stop its block-manager, leave \
             --manager out, and name the folder with --data"
        );
        let options = at.options("begin-anew", existing())?;
        let begun = begin_anew(&at.folder(), &options, &self.reason, now())?;
        let done = Done {
            old_height: begun.old.height,
            old_hash: begun.old.hash,
            old_folder: begun.folder.display().to_string(),
            genesis: begun.genesis,
            time: begun.time,
            waiting: begun.waiting,
            refused: begun.refused,
            store_id: begun.store,
            producer: begun.key.to_string(),
        };
        output.result(&done, |done| {
            let mut lines = vec![
                format!("a new chain begins with block {}, of {}", done.genesis, when::shown_time(done.time)),
                format!(
                    "the old one ended with block {} ({}) and is in {}: keep it, for what is anchored there",
                    text::count(done.old_height),
                    done.old_hash,
                    done.old_folder
                ),
                format!("blocks are signed with {} as before", done.producer),
            ];
            lines.push(format!(
                "the folder holds store {} from now on: where BLOCK_MANAGER_STORE_ID is set, it is to be that",
                done.store_id
            ));
            if done.waiting > 0 {
                lines.push(format!("waiting transactions, taken along: {}", text::count(done.waiting)));
            }
            for (id, why) in &done.refused {
                lines.push(format!("not taken along: {id}: {why}"));
            }
            lines.push("followers of the old chain begin with an empty folder".into());
            lines
        })?;
        Ok(DONE)
    }
}
