//! Keeping the figures of `/metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_http::errand::Errand;
use lucid_http::serve::Shutdown;

use super::round;
use crate::app::App;
use crate::ops::OpError;
use crate::ops::sessions::count_sessions::count_sessions;

/// Between two looks at what `/metrics` shows.
const BETWEEN_FIGURES: Duration = Duration::from_secs(15);

/// Keeps the figures of `/metrics` until the shutdown is asked for.
pub async fn measure(app: Arc<App>, shutdown: Shutdown) {
    while !shutdown.is_asked() {
        let read = round(&app, &Errand::of("figures"), show_figures).await;
        if let Err(error) = &read {
            tracing::warn!(%error, "the figures cannot be read");
        }
        let fault = read.err().map(|error| format!("the store cannot be read: {error}"));
        *app.felt.lock() = (Instant::now(), fault);
        tokio::select! {
            () = shutdown.asked() => return,
            () = tokio::time::sleep(BETWEEN_FIGURES) => {}
        }
    }
}

fn show_figures(app: &App) -> Result<(), OpError> {
    let totals = count_sessions(&app.opened.vault)?;
    let waiting = app.waiting_since()?;
    let age = waiting.map_or(0, |since| app.clock.now().micros_since(since).max(0));
    let figures = [
        ("lucid_data_sessions", totals.sessions.sessions as f64),
        ("lucid_data_sealed_sessions", totals.sessions.sealed as f64),
        ("lucid_data_anchored_sessions", totals.sessions.anchored as f64),
        ("lucid_data_anchored_elsewhere_sessions", totals.sessions.elsewhere as f64),
        ("lucid_data_unanchored_sessions", totals.sessions.unanchored() as f64),
        ("lucid_data_chunk_references", totals.sessions.references as f64),
        ("lucid_data_session_bytes", totals.sessions.bytes as f64),
        ("lucid_data_unique_chunks", totals.sessions.unique as f64),
        ("lucid_data_unique_bytes", totals.sessions.unique_bytes as f64),
        ("lucid_data_uploaded_chunks", totals.sessions.uploads as f64),
        ("lucid_data_stored_bytes", totals.stored_bytes as f64),
        ("lucid_data_damaged_places", app.opened.damage().len() as f64),
        ("lucid_data_unanchored_age_seconds", age as f64 / 1e6),
    ];
    for (name, value) in figures {
        metrics::gauge!(name).set(value);
    }
    Ok(())
}
