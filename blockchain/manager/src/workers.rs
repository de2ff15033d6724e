//! What the service does without being asked: it produces blocks, looks after them, and feels its own pulse.
//!
//! Invariant: after any failure a worker goes on with its next round, and health says what went wrong until a
//! round goes well.

pub(crate) mod maintenance;
pub mod pulse;
pub mod validation;

pub(crate) mod follow;

use std::time::{Duration, Instant};

use lucid_core::digest::BlockHash;

use lucid_http::daily::say_daily;

use crate::app::App;
use crate::figures;
use crate::limits::POOL_PRODUCE_AT;
use crate::ops::produce_block::{Production, produce_block};

/// How a round went that panicked: the cause is in the log.
pub const MISTAKE: &str = "the last round ended in a mistake of ours; the log has it";
/// A worker that ended though nobody asked for that is begun anew after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Runs a worker until the shutdown is asked for, however often it ends before.
pub async fn keep_up<W>(app: App, name: &'static str, worker: impl Fn(App) -> W)
where
    W: Future<Output = ()> + Send + 'static,
{
    loop {
        let ended = tokio::spawn(worker(app.clone())).await;
        if app.shutdown().is_asked() {
            return;
        }
        let why = ended.err().map_or_else(|| "it just ended".to_owned(), |error| error.to_string());
        tracing::error!(worker = name, why, "a worker ended and is begun anew");
        tokio::select! {
            () = app.shutdown().asked() => return,
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
}

/// Produces a block every `interval` when something waits, or as soon as a block's worth does. Ends
/// when the shutdown is asked for; what waits then is durable, and in a block after the next start.
pub async fn produce_in_time(app: App, interval: Duration) {
    loop {
        tokio::select! {
            () = app.shutdown().asked() => return,
            () = tokio::time::sleep(interval) => {}
            () = app.pool_is_full().notified() => {}
        }
        while produce(&app).await.is_some_and(|produced| produced.left >= POOL_PRODUCE_AT) {
            if app.shutdown().is_asked() {
                return;
            }
        }
    }
}

/// Tells the log every day that no export of the root key was verified, if so: that changes only while nobody runs the
/// folder. Whether a day has passed is looked at every `look`.
pub async fn tell_of_export(app: App, look: Duration) {
    let Some(opened) = app.opened() else { return };
    if let Some(warning) = opened.export_warning() {
        let seconds = || opened.clock.moment().steady / 1_000_000;
        say_daily(seconds, look, app.shutdown(), || tracing::warn!("{warning}")).await;
    }
    app.shutdown().asked().await;
}

async fn produce(app: &App) -> Option<Production> {
    let producer = app.clone();
    let produced = app
        .run_blocking(move |manager| {
            let (vault, chain) = (&manager.vault, manager.chain.as_ref());
            let began = Instant::now();
            let produced =
                produce_block(vault, chain, &manager.producing, &manager.key, manager.clock.now());
            if produced.as_ref().is_ok_and(|produced| produced.block.is_some()) {
                figures::STAGES.took("produce", began.elapsed());
            }
            // A failure is health's business, and the log's; nobody asked for this block.
            Ok(match produced {
                Ok(produced) => {
                    producer.set_producing_fault(None);
                    Some(produced)
                }
                Err(error) => {
                    tracing::error!(%error, "no block could be produced");
                    producer.set_producing_fault(Some(error.to_string()));
                    None
                }
            })
        })
        .await;
    let Ok(produced) = produced else {
        app.set_producing_fault(Some(format!("no block could be produced: {MISTAKE}")));
        return None;
    };
    let produced = produced?;
    note_produced(&produced);
    Some(produced)
}

/// Tells log and metrics that the chain has one block more.
pub fn note_stored(height: u64, hash: &BlockHash, transactions: usize) {
    metrics::counter!("lucid_blocks_stored_total").increment(1);
    tracing::info!(
        block.height = height,
        block.hash = %hash,
        block.transactions = transactions,
        "Stored block {height}"
    );
}

/// Tells log and metrics what producing a block did.
pub fn note_produced(produced: &Production) {
    if let Some(block) = &produced.block {
        metrics::counter!("lucid_transactions_chained_total").increment(block.transactions as u64);
        note_stored(block.height, &block.hash, block.transactions);
    }
    for damage in &produced.damage {
        tracing::warn!(%damage, waiting = produced.held_up, "transactions wait for damage to be mended");
    }
    metrics::counter!("lucid_transactions_failed_total").increment(produced.failed);
    if produced.failed > 0 {
        tracing::warn!(
            transactions = produced.failed,
            "transactions failed when a block was produced"
        );
    }
}
