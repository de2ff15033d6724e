//! `lucid chain sync`: brings what another block-manager has here, once.
//!
//! Into a data folder, which becomes a follower's at the first time; or, with `--manager`, by asking a
//! follower that runs. A round that was broken off is simply begun again. Exit codes: 0 everything that the
//! peer has is here; 1 it failed.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context as _;
use lucid_api::address::Address;
use lucid_api::client::{BlockManagerClient, ClientOptions};
use lucid_api::v1::sync::SyncReport;
use lucid_block_manager::fact::Role;
use lucid_block_manager::opened::{ManagerKind, Options};
use lucid_block_manager::ops::sync_chain::{Following, RoundOutcome, sync_chain};
use lucid_block_manager::ops::take_blocks::Pins;
use lucid_block_manager::peer::http::HttpPeer;
use lucid_core::digest::BlockHash;
use lucid_core::sign::{Producers, PublicKey};

use super::Where;
use crate::cmd::{DONE, FAILED, now};
use crate::output::Output;
use crate::progress::ProgressLine;
use crate::showing::client_options;
use crate::text;

/// Arguments of `lucid chain sync`.
#[derive(Debug, clap::Args)]
pub struct Sync {
    /// The block-manager to follow, or an engine that gives one block at a time.
    #[arg(long, env = "LUCID_CHAIN_FOLLOW_URL", hide_env_values = true, value_name = "URL")]
    from: Option<Address>,
    /// The hash of block 0, from a source you trust: another chain is refused.
    #[arg(long, env = "LUCID_CHAIN_GENESIS", value_name = "HASH")]
    genesis: Option<BlockHash>,
    /// The key in base64 that signs the blocks: they are final at once, and those that another key signed
    /// are refused.
    #[arg(long, env = "LUCID_CHAIN_PRODUCER_KEY", value_name = "KEY", value_delimiter = ',')]
    producer: Vec<PublicKey>,
    /// Seconds that an answer may take.
    #[arg(long, env = "SYNC_TIMEOUT", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    timeout: u64,
    /// Bodies that are asked for in one request at most.
    #[arg(long, env = "SYNC_BATCH_SIZE", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "COUNT")]
    batch: u32,
}

impl Sync {
    /// Brings the blocks.
    pub(super) fn run(&self, at: &Where<'_>, output: &Output) -> anyhow::Result<u8> {
        let report = match at.client()? {
            Some(client) => bring_there(&client)?,
            None => self.bring_to_folder(at, output)?,
        };
        output.result(&report, |report| {
            let mut lines =
                vec![format!("{} committed", text::many(report.synced_blocks, "block"))];
            lines.push(match report.local_height {
                Some(height) => format!("the newest block is {}", text::count(height)),
                None => "no block is final yet".to_owned(),
            });
            lines.extend(report.message.clone());
            lines
        })?;
        Ok(if report.synchronized { DONE } else { FAILED })
    }

    fn bring_to_folder(&self, at: &Where<'_>, output: &Output) -> anyhow::Result<SyncReport> {
        let url = self.from.as_ref();
        let url =
            url.context("nobody is named to follow: give --from URL (LUCID_CHAIN_FOLLOW_URL)")?;
        let timeout = Duration::from_secs(self.timeout);
        let options = ClientOptions { timeout, ..client_options(at.home, url)? };
        let peer = HttpPeer::new(url.expose(), options)?;
        let (genesis, producer) = (self.genesis, Producers::of(&self.producer)?);
        let kind = ManagerKind { role: Some(Role::Follower), genesis, producer };
        let opened = at.open("sync", Options { kind, ..Options::default() }, output)?;
        if let Some(why) = opened.read_only() {
            anyhow::bail!("the chain takes no blocks now: {why}");
        }
        let following = Following {
            vault: &opened.vault,
            chain: opened.chain.as_ref(),
            staging: &opened.staging,
            peer: &peer,
            pins: Pins { genesis, producer },
            batch: self.batch,
            slow: 0,
        };
        let progress = ProgressLine::counting(output, "synchronising", "blocks");
        let before = opened.chain.tip()?.map_or(0, |tip| tip.height + 1);
        let mut brought = 0;
        let last = loop {
            let round = sync_chain(&following, now(), &|so_far| {
                let total = so_far.remote.map_or(0, |height| height.saturating_add(1));
                progress.set_count(before + brought + so_far.blocks, total);
                ControlFlow::Continue(())
            });
            let round = round.with_context(|| format!("following {url}"))?;
            brought += round.blocks;
            if round.outcome != RoundOutcome::More || round.blocks == 0 {
                break round;
            }
        };
        drop(progress);
        let local_height = opened.chain.tip()?.map(|tip| tip.height);
        let tentative = opened.staging.list().len();
        opened.close()?;
        let message = match (last.outcome, tentative) {
            (RoundOutcome::PeerBehind, _) => {
                Some("the peer has fewer blocks, and the same ones".to_owned())
            }
            (_, 0) => None,
            (_, 1) => Some("1 more block is not final yet".to_owned()),
            (_, count) => {
                Some(format!("{} more blocks are not final yet", text::count(count as u64)))
            }
        };
        Ok(SyncReport {
            success: true,
            synchronized: last.outcome != RoundOutcome::More,
            synced_blocks: brought,
            local_height,
            remote_height: last.remote,
            message,
        })
    }
}

/// Has a follower ask its peer, round by round, as long as that brings something.
fn bring_there(client: &BlockManagerClient) -> anyhow::Result<SyncReport> {
    let mut report = client.sync()?;
    let mut brought = report.synced_blocks;
    while !report.synchronized && report.synced_blocks > 0 {
        report = client.sync()?;
        brought += report.synced_blocks;
    }
    Ok(SyncReport { synced_blocks: brought, ..report })
}
