//! `lucid chain promote`: makes a follower's folder the authority of the chain it has followed.
//!
//! For when the old authority is gone for good: if it ever made another block, there would be two chains.

use lucid_block_manager::opened::{Options, promote};
use lucid_core::digest::BlockHash;
use serde::Serialize;

use super::{Where, existing};
use crate::cmd::{DONE, now};
use crate::output::Output;
use crate::text;

/// Arguments of `lucid chain promote`.
#[derive(Debug, clap::Args)]
pub struct Promote {}

#[derive(Serialize)]
struct Done {
    height: Option<u64>,
    hash: Option<BlockHash>,
    dropped: usize,
    producer: String,
}

impl Promote {
    /// Promotes, and says what the chain goes on from.
    pub(super) fn run(&self, at: &Where<'_>, output: &Output) -> anyhow::Result<u8> {
        anyhow::ensure!(
            at.manager.is_none(),
            "a folder is promoted while nobody runs it: stop its block-manager, leave --manager out, and \
             name the folder with --data"
        );
        let options: Options = at.options("promote", existing())?;
        let promoted = promote(&at.folder(), &options, now())?;
        let done = Done {
            height: promoted.tip.map(|tip| tip.height),
            hash: promoted.tip.map(|tip| tip.hash),
            dropped: promoted.dropped,
            producer: promoted.key.to_string(),
        };
        output.result(&done, |done| {
            let from = match (done.height, done.hash) {
                (Some(height), Some(hash)) => {
                    format!("the chain goes on from block {} ({hash})", text::count(height))
                }
                _ => "the chain begins with the next block: there is none yet".to_owned(),
            };
            let mut lines = vec![from, format!("its blocks are signed with {}", done.producer)];
            if done.dropped > 0 {
                lines.push(match done.dropped {
                    1 => "1 block that was not final was dropped".to_owned(),
                    count => format!(
                        "{} blocks that were not final were dropped",
                        text::count(count as u64)
                    ),
                });
            }
            lines.push(
                "the old authority must never run again: pin the new key beside the old one at every follower"
                    .into(),
            );
            lines
        })?;
        Ok(DONE)
    }
}
