//! The figures of this service in `/metrics`: what is counted where it happens, and what is looked up for each
//! scrape.

use lucid_http::telemetry::{Figure, FigureKind, Page, Stages};
use lucid_store::StoreError;

use crate::app::App;
use crate::config::SERVICE;
use crate::fact::{self, forks};
use crate::opened::Opened;
use crate::ops::validate_block::parent_at;

/// What the stages take.
pub(crate) const STAGES: Stages = Stages("lucid_chain_stage_seconds");

/// What is counted where it happens.
pub(crate) const FIGURES: &[Figure] = &[
    Figure {
        name: STAGES.0,
        kind: FigureKind::Histogram,
        help: "What a stage took: making a transaction durable in the pool, making a block of what waits, judging and \
               storing a block that was posted, a round of following another chain.",
        label: Some(("stage", &["submit", "produce", "take", "follow"])),
    },
    Figure::counter(
        "lucid_blocks_stored_total",
        "Blocks that were made here, or posted and stored.",
    ),
    Figure::counter(
        "lucid_transactions_chained_total",
        "Transactions of blocks that were made here.",
    ),
    Figure::counter("lucid_transactions_failed_total", "Transactions that no block could take."),
    Figure::counter(
        "lucid_sync_blocks_total",
        "Blocks that were brought here from the chain that is followed.",
    ),
    Figure::counter("lucid_sync_failures_total", "Rounds of following another chain that failed."),
    Figure::gauge(
        "lucid_sync_lag_blocks",
        "Blocks of the chain that is followed that are not here.",
    ),
    Figure::gauge(
        "lucid_chain_faults",
        "Stored blocks that break a rule, as the last cycle of upkeep found.",
    ),
    Figure {
        name: "lucid_maintenance_cycles_total",
        kind: FigureKind::Counter,
        help: "Cycles of upkeep.",
        label: Some(("result", &["completed", "failed"])),
    },
    Figure {
        name: "lucid_maintenance_seconds",
        kind: FigureKind::Histogram,
        help: "What a cycle of upkeep took.",
        label: None,
    },
    Figure::counter("lucid_blocks_checked_total", "Stored blocks that upkeep judged again."),
    Figure::counter("lucid_blocks_pruned_total", "Blocks whose transactions upkeep removed."),
];

/// What is looked up when it is asked for.
pub(crate) fn look(app: &App, page: &mut Page) {
    app.show_places(page);
    let Some(opened) = app.opened() else { return };
    for figure in opened.vault.figures() {
        let note = if figure.is_count { Page::counter } else { Page::gauge };
        note(page, figure.name, figure.help, &[("service", SERVICE.name)], figure.value);
    }
    if let Err(error) = look_at_chain(opened, page) {
        tracing::warn!(%error, "some figures of the chain cannot be read");
    }
}

fn look_at_chain(opened: &Opened, page: &mut Page) -> Result<(), StoreError> {
    let (chain, index) = (opened.chain.as_ref(), opened.vault.index());
    let damaged = opened.damage().len();
    let help = "Places that are damaged, as far as known.";
    page.gauge("lucid_chain_damaged_places", help, &[], damaged as f64);
    let help = "Blocks below this height may have no transactions any more.";
    page.gauge("lucid_chain_pruned_below", help, &[], chain.pruned_below() as f64);
    let pool = fact::pool(index)?;
    let help = "Transactions that wait for a block.";
    page.gauge("lucid_pool_transactions", help, &[], pool.transactions as f64);
    let help = "Bytes of transactions that wait for a block.";
    page.gauge("lucid_pool_bytes", help, &[], pool.bytes as f64);
    let help = "Heights at which the chain that is followed has another block than this one.";
    page.gauge("lucid_chain_forks", help, &[], forks(index)?.len() as f64);
    let help = "Blocks of a follower that are not final yet.";
    page.gauge("lucid_chain_tentative_blocks", help, &[], opened.staging.list().len() as f64);
    let tip = chain.tip()?;
    let blocks = tip.map_or(0, |tip| tip.height + 1);
    page.gauge("lucid_chain_blocks", "Blocks of the chain.", &[], blocks as f64);
    let Some(tip) = tip else { return Ok(()) };
    page.gauge("lucid_chain_height", "Height of the newest block.", &[], tip.height as f64);
    if let Some(stored) = chain.record(tip.height)? {
        let transactions = stored.transactions_before + stored.record.entry.transaction_count;
        let help = "Transactions of all blocks.";
        page.gauge("lucid_chain_transactions", help, &[], transactions as f64);
    }
    if let Some(parent) = parent_at(chain, tip.height)? {
        let age = opened.clock.now().micros_since(parent.time);
        let help = "How old the newest block is, by its own time; a chain without transactions makes none.";
        page.gauge("lucid_chain_tip_age_seconds", help, &[], age as f64 / 1e6);
    }
    Ok(())
}
