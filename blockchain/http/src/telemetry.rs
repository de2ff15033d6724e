//! Logs to standard output and figures to `/metrics`. Both are set up once a process, by the
//! service that comes first; a second service in the same process shares them.

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Extension, Router};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::{EnvFilter, fmt};

use crate::budget::Counted;
use crate::reply::Refusal;

/// How often the figures are tidied; without it they grow until someone asks for them.
const UPKEEP: Duration = Duration::from_secs(5);
/// Upper ends of the buckets that durations are counted in, in seconds.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What happens.
    Info,
    /// What is odd.
    Warning,
    /// What failed.
    Error,
}

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

/// `LOG_LEVEL` and `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// What is worth a line.
    pub level: LogLevel,
    /// What a line looks like.
    pub format: LogFormat,
}

/// Sets up logs and figures. Returns whether the logs are this call's.
pub fn init(config: LogConfig) -> bool {
    let filter = EnvFilter::new(match config.level {
        // The protocol's own chatter hides ours.
        LogLevel::Trace => "trace,hyper=info,hyper_util=info,h2=info,rustls=info",
        LogLevel::Debug => "debug,hyper=info,hyper_util=info,h2=info,rustls=info",
        LogLevel::Info => "info",
        LogLevel::Warning => "warn",
        LogLevel::Error => "error",
    });
    let lines = fmt().with_env_filter(filter);
    let ours = match config.format {
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
        LogFormat::Text => lines.with_ansi(std::io::stdout().is_terminal()).try_init(),
    };
    prometheus();
    ours.is_ok()
}

/// Now, as replies and logs write it (RFC 3339, UTC, microseconds).
pub fn now() -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _written = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

pub(crate) fn routes() -> Router {
    // Counting begins with the first router, not with the first look.
    prometheus();
    Router::new().route(
        paths::METRICS,
        get(|| async {
            match prometheus() {
                Some(figures) => {
                    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
                    // Few ask, and no caller makes it longer; it tells what is full.
                    (Extension(Counted), kind, figures.render()).into_response()
                }
                None => Refusal::new(ErrorCode::NotFound, "metrics are disabled").into_response(),
            }
        }),
    )
}

/// The process's figures; `None` when someone else collects them.
fn prometheus() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let start = || {
        let recorder = PrometheusBuilder::new().set_buckets(&SECONDS).ok()?;
        let handle = recorder.install_recorder().ok()?;
        let tidied = handle.clone();
        // A thread, not a task: it has to outlive any one runtime.
        std::thread::Builder::new()
            .name("metrics-upkeep".to_owned())
            .spawn(move || {
                loop {
                    std::thread::sleep(UPKEEP);
                    tidied.run_upkeep();
                }
            })
            .ok()?;
        Some(handle)
    };
    HANDLE.get_or_init(start).as_ref()
}
