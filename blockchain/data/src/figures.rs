//! The figures of this service in `/metrics`: what is counted where it happens, and what is looked up for each
//! scrape. What takes longer to find is kept by `workers/figures.rs`.

use lucid_core::time::Timestamp;
use lucid_http::telemetry::{Figure, FigureKind, Page, Stages};

use crate::app::App;
use crate::config::SERVICE;
use crate::row::indexing::IndexingCounts;

/// What the stages take.
pub(crate) const STAGES: Stages = Stages("lucid_data_stage_seconds");

/// What it takes from a seal to its proof.
const PROOFS: &str = "lucid_data_proof_seconds";

/// Notes that the proofs of sessions were stored that were sealed at these times.
pub(crate) fn note_proofs(sealed_at: &[Timestamp], now: Timestamp) {
    for sealed in sealed_at {
        // A clock that was set back between the two tells nothing of how long it took.
        metrics::histogram!(PROOFS).record(now.micros_since(*sealed).max(0) as f64 / 1e6);
    }
}

/// What is counted where it happens.
pub(crate) const FIGURES: &[Figure] = &[
    Figure {
        name: STAGES.0,
        kind: FigureKind::Histogram,
        help: "What a stage took until what it did was durable: taking bytes of a stream, storing chunks, sealing a \
               session, a round of bringing anchors away that had some.",
        label: Some(("stage", &["append", "store", "seal", "deliver"])),
    },
    Figure {
        name: PROOFS,
        kind: FigureKind::Histogram,
        help: "What it took from the seal of a session until the proof of its block was stored.",
        label: None,
    },
    Figure::counter("lucid_read_log_entries_total", "Entries of the read log that were written."),
    Figure::counter(
        "lucid_read_log_lost_total",
        "Entries of the read log for which there was no room.",
    ),
    Figure::counter(
        "lucid_data_anchors_delivered_total",
        "Sessions and tombstones whose proof was stored.",
    ),
    Figure::gauge("lucid_data_sessions", "Sessions."),
    Figure::gauge("lucid_data_sealed_sessions", "Sessions that are sealed."),
    Figure::gauge("lucid_data_anchored_sessions", "Sessions whose anchor is in a block."),
    Figure::gauge(
        "lucid_data_anchored_elsewhere_sessions",
        "Sessions whose anchor is in no block, and that an engine of another kind says it has.",
    ),
    Figure::gauge(
        "lucid_data_unanchored_sessions",
        "Sessions that are sealed and that nobody has anchored yet.",
    ),
    Figure::gauge("lucid_data_chunk_references", "Places in sessions that chunks are at."),
    Figure::gauge("lucid_data_session_bytes", "Bytes of all sessions, before deduplication."),
    Figure::gauge("lucid_data_unique_chunks", "Chunks that are kept."),
    Figure::gauge(
        "lucid_data_unique_bytes",
        "Bytes of the chunks that are kept, before compression.",
    ),
    Figure::gauge("lucid_data_uploaded_chunks", "Single chunks that wait for their deletion."),
    Figure::gauge("lucid_data_stored_bytes", "Bytes of log and segments on the disk."),
    Figure::gauge("lucid_data_damaged_places", "Places that are damaged, as far as known."),
    Figure::gauge(
        "lucid_data_unanchored_age_seconds",
        "For how long the oldest anchor or tombstone waits for its block.",
    ),
];

/// What is looked up when it is asked for: how full things are.
pub(crate) fn look(app: &App, page: &mut Page) {
    let service = SERVICE.name;
    for figure in app.opened.vault.figures() {
        let note = if figure.is_count { Page::counter } else { Page::gauge };
        note(page, figure.name, figure.help, &[("service", service)], figure.value);
    }
    let rooms = &app.rooms;
    for places in [
        &rooms.ops,
        &rooms.large,
        &rooms.reading,
        &rooms.small,
        &rooms.tars,
        &rooms.searches,
        &rooms.followers,
        &rooms.verifying,
    ] {
        places.show(page, service);
    }
    for (sort, memory) in
        [("streams", &app.streams), ("downloads", &app.downloads), ("answers", &app.making)]
    {
        memory.show(page, service, sort);
    }
    let log = app.read_log.figures();
    let failing = f64::from(u8::from(app.read_log.fault().is_some()));
    for (name, help, value) in [
        ("lucid_read_log_queue_entries", "Entries of the read log that wait.", log.entries as f64),
        (
            "lucid_read_log_queue_bytes",
            "Bytes of entries of the read log that wait, or are being written.",
            log.bytes as f64,
        ),
        (
            "lucid_read_log_queue_max_bytes",
            "From so many bytes of waiting entries on, nothing is given that would have to be noted.",
            log.bytes_max as f64,
        ),
        (
            "lucid_read_log_failing",
            "1 while the read log cannot be written, and nothing is given that has to be noted; else 0.",
            failing,
        ),
        (
            "lucid_data_sync_lag_blocks",
            "Blocks of the block-manager that were not taken in as documents yet.",
            app.synchronising.figures().lag() as f64,
        ),
    ] {
        page.gauge(name, help, &[], value);
    }
    match IndexingCounts::find(app.opened.vault.index()) {
        Ok(counts) => {
            let help = "Items that wait to be indexed.";
            page.gauge("lucid_data_index_queue_items", help, &[], counts.queued as f64);
            let help = "Items that cannot be indexed, and are laid aside.";
            page.gauge("lucid_data_index_dead_letters", help, &[], counts.dead as f64);
        }
        Err(error) => tracing::warn!(%error, "the queue of the index cannot be counted"),
    }
    let queries = app.answers.figures();
    let help = "Queries for documents that were answered.";
    page.counter("lucid_data_queries_total", help, &[], queries.queries as f64);
    let help = "Queries that were answered by an answer that was at hand.";
    page.counter("lucid_data_query_cache_hits_total", help, &[], queries.hits as f64);
    let help = "Answers that are at hand.";
    page.gauge("lucid_data_query_cache_answers", help, &[], queries.kept as f64);
}
