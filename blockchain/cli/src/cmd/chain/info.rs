//! `lucid chain info`: how far the chain is, and what it is.

use lucid_block_manager::fact::Role;
use lucid_block_manager::ops::chain_info::chain_info;
use lucid_core::digest::BlockHash;
use serde::Serialize;

use super::{Where, existing};
use crate::cmd::{DONE, FAILED};
use crate::output::Output;
use crate::text;

/// What is said where a number or a word is not known.
const UNKNOWN: &str = "unknown";

/// Arguments of `lucid chain info`.
#[derive(Debug, clap::Args)]
pub struct Info {}

#[derive(Serialize)]
struct ChainSummary {
    /// Blocks from genesis on.
    blocks: u64,
    /// Of the newest block; none for an empty chain.
    height: Option<u64>,
    hash: Option<BlockHash>,
    genesis: Option<BlockHash>,
    /// In all blocks; unknown where the newest one is damaged.
    transactions: Option<u64>,
    /// Transactions that wait for a block.
    pending: u64,
    /// Blocks below have no transactions any more.
    pruned_below: u64,
    role: String,
    /// The key that this service would sign blocks with.
    signs_with: Option<String>,
    /// Why something is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

impl Info {
    /// Shows it.
    pub(super) fn run(&self, at: &Where<'_>, output: &Output) -> anyhow::Result<u8> {
        let found = match at.client()? {
            Some(client) => {
                let info = client.chain_info()?;
                let number =
                    |name: &str| info.statistics.get(name).and_then(serde_json::Value::as_u64);
                let word =
                    |name: &str| info.statistics.get(name).and_then(serde_json::Value::as_str);
                ChainSummary {
                    blocks: info.block_count,
                    height: info.latest_block_hash.map(|_| info.height),
                    hash: info.latest_block_hash,
                    genesis: info.genesis_hash,
                    transactions: number("total_transactions"),
                    pending: number("pending_transactions").unwrap_or(0),
                    pruned_below: info.pruned_below,
                    role: word("role").unwrap_or(UNKNOWN).to_owned(),
                    signs_with: info.producer,
                    damage: word("damage").map(str::to_owned),
                }
            }
            None => of_folder(at, output)?,
        };
        if let Some(damage) = &found.damage {
            output.warn(damage);
        }
        output.result(&found, |found| {
            let hash = |hash: Option<BlockHash>| {
                hash.map_or_else(|| "none yet".to_owned(), |hash| hash.to_string())
            };
            let mut lines = vec![
                format!("blocks        {}", text::count(found.blocks)),
                format!("transactions  {}", found.transactions.map_or(UNKNOWN.into(), text::count)),
                format!("waiting       {}", text::count(found.pending)),
                format!("newest        {}", hash(found.hash)),
                format!("genesis       {}", hash(found.genesis)),
                format!("role          {}", found.role),
            ];
            if found.pruned_below > 0 {
                let below = text::count(found.pruned_below);
                lines.push(format!("pruned        the transactions of blocks below {below}"));
            }
            if let Some(key) = &found.signs_with {
                lines.push(format!("signs with    {key}"));
            }
            lines
        })?;
        Ok(if found.damage.is_none() { DONE } else { FAILED })
    }
}

fn of_folder(at: &Where<'_>, output: &Output) -> anyhow::Result<ChainSummary> {
    let opened = at.open("info", existing(), output)?;
    for damage in opened.damage() {
        output.warn(&damage.to_string());
    }
    let known = chain_info(&opened.vault, opened.chain.as_ref())?;
    let found = ChainSummary {
        blocks: known.blocks,
        height: known.tip.map(|tip| tip.height),
        hash: known.tip.map(|tip| tip.hash),
        genesis: known.genesis,
        transactions: known.transactions,
        pending: known.pool.transactions,
        pruned_below: opened.chain.pruned_below(),
        role: if opened.role_is_lost { UNKNOWN } else { opened.role.name() }.to_owned(),
        signs_with: (opened.role == Role::Authority).then(|| opened.key.public().to_string()),
        damage: known.damage.map(|damage| format!("the newest block: {damage}")),
    };
    opened.close()?;
    Ok(found)
}
