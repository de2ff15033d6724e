//! Logs to standard output and figures to `/metrics`. Both are set up once a process, by the
//! service that comes first; a second service in the same process shares them.
//!
//! What happens is counted where it happens, with the macros of the `metrics` crate; [`announce`] says what each
//! figure means. What is looked up when it is asked for is written onto a [`Page`].

mod page;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::{EnvFilter, fmt};

pub use self::page::Page;
use crate::budget::Counted;
use crate::places::Places;
use crate::process;
use crate::reply::Refusal;

/// How often the figures are tidied; without it they grow until someone asks for them.
const UPKEEP: Duration = Duration::from_secs(5);
/// Upper ends of the buckets that durations are counted in, in seconds: those of requests.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// Figures whose names end so take other times: upper ends of their buckets, in seconds.
const OTHER_SECONDS: [(&str, &[f64]); 4] = [
    // Calls of a store: from a row that is in memory to a sync of a disk that is busy.
    (
        "_call_seconds",
        &[
            0.000_001, 0.000_004, 0.000_016, 0.000_064, 0.000_25, 0.001, 0.004, 0.016, 0.064, 0.25,
            1.0, 10.0,
        ],
    ),
    // Stages of the pipeline: from packing a small chunk to sealing a large session.
    (
        "_stage_seconds",
        &[0.000_01, 0.000_05, 0.000_2, 0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0],
    ),
    // From a seal to the proof of its block: from the next block to one that waited for a day.
    (
        "_proof_seconds",
        &[0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 86_400.0],
    ),
    // Looking after all there is.
    ("_maintenance_seconds", &[0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0]),
];

/// A disk may be that of a server that is away, and who asks how full it is then waits, on a thread that nobody gets
/// back. So many wait at most.
const SCRAPES_MAX: usize = 4;

/// How a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often, and how long.
    Histogram,
}

/// A figure that is counted where something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// How it counts.
    pub kind: FigureKind,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Its label and the values that this has, where it has one and they are known. A figure is there with each of
    /// them from the start: what was never counted is zero then, and not absent, which no rule can compare.
    pub label: Option<(&'static str, &'static [&'static str])>,
}

impl Figure {
    /// Something that is counted, without a label.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: FigureKind::Counter, help, label: None }
    }

    /// Something that is more or less, without a label.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: FigureKind::Gauge, help, label: None }
    }
}

/// How long the stages of a service's work take: a histogram with the stage as its label.
#[derive(Debug, Clone, Copy)]
pub struct Stages(pub &'static str);

impl Stages {
    /// Does the work of a stage, and notes how long it took.
    pub fn run<T>(self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.took(stage, began.elapsed());
        done
    }

    /// Notes how long a stage took.
    pub fn took(self, stage: &'static str, time: Duration) {
        metrics::histogram!(self.0, "stage" => stage).record(time);
    }
}

/// Says what figures mean, and begins them at zero.
pub fn announce(figures: &[Figure]) {
    if prometheus().is_some() {
        figures.iter().for_each(begin);
    }
}

/// A figure without a label is one figure; one with labels that nobody knows beforehand begins when it is counted.
fn begin(figure: &Figure) {
    let Figure { name, kind, help, label } = *figure;
    match kind {
        FigureKind::Counter => metrics::describe_counter!(name, help),
        FigureKind::Gauge => metrics::describe_gauge!(name, help),
        FigureKind::Histogram => metrics::describe_histogram!(name, help),
    }
    let sets = match label {
        None => vec![Vec::new()],
        Some((label, values)) => values.iter().map(|value| vec![(label, *value)]).collect(),
    };
    for labels in sets {
        match kind {
            FigureKind::Counter => metrics::counter!(name, &labels).increment(0),
            FigureKind::Gauge => metrics::gauge!(name, &labels).increment(0),
            FigureKind::Histogram => drop(metrics::histogram!(name, &labels)),
        }
    }
}

/// The figures of every service.
const FIGURES: [Figure; 3] = [
    Figure {
        name: "lucid_http_connections",
        kind: FigureKind::Gauge,
        help: "Connections that are open.",
        label: Some(("service", &[])),
    },
    Figure {
        name: "lucid_http_requests_total",
        kind: FigureKind::Counter,
        help: "Requests that were answered.",
        label: Some(("route", &[])),
    },
    Figure {
        name: "lucid_http_request_seconds",
        kind: FigureKind::Histogram,
        help: "How long it took until a reply began.",
        label: Some(("route", &[])),
    },
];

/// Writes what a service looks up onto a page. It may block for a moment.
pub(crate) type Look = Box<dyn Fn(&mut Page) + Send + Sync>;
/// All that one service looks up.
type Looks = Vec<Look>;

/// The services of this process, and what each of them looks up.
static SERVICES: Mutex<BTreeMap<&'static str, Weak<Looks>>> = Mutex::new(BTreeMap::new());

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
    /// Whether lines on a terminal may have colours; `NO_COLOR` forbids them as well.
    pub colours: bool,
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
        // As it stands, the subscriber has colours unless `NO_COLOR` is set.
        LogFormat::Text if config.colours && std::io::stdout().is_terminal() => lines.try_init(),
        LogFormat::Text => lines.with_ansi(false).try_init(),
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

/// `/metrics`: what was counted in this process, and what its services look up. Where two services run in one
/// process, each address shows all of it, since what is counted is the process's.
pub(crate) fn routes(service: &'static str, looks: Looks) -> Router {
    // Counting begins with the first router, not with the first look.
    announce(&FIGURES);
    let looks = Arc::new(looks);
    SERVICES.lock().insert(service, Arc::downgrade(&looks));
    let scrapes = Places::new("scrapes", SCRAPES_MAX);
    Router::new().route(paths::METRICS, get(move || show(service, looks.clone(), scrapes.clone())))
}

/// What this service looks up, and every other one that is still there.
fn all_looks(service: &str, own: Arc<Looks>) -> Vec<Arc<Looks>> {
    let services = SERVICES.lock();
    let others = services.iter().filter(|(name, _)| **name != service);
    [own].into_iter().chain(others.filter_map(|(_, looks)| looks.upgrade())).collect()
}

async fn show(service: &'static str, looks: Arc<Looks>, scrapes: Places) -> Response {
    let Some(counted) = prometheus() else {
        return Refusal::new(ErrorCode::NotFound, "metrics are disabled").into_response();
    };
    let Some(place) = scrapes.take_now() else {
        let detail = "the figures of this service are being looked up already, and that takes long";
        return Refusal::new(ErrorCode::Busy, detail).into_response();
    };
    let looked_up = tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut page = Page::default();
        process::show(&mut page, &process::Figures::read(Path::new("/")));
        let all = all_looks(service, looks);
        all.iter().flat_map(|looks| looks.iter()).for_each(|look| look(&mut page));
        page.to_string()
    });
    // What is counted is told even where a look fails, and the log has why it did.
    let looked_up = looked_up.await.unwrap_or_else(|error| {
        tracing::error!(%error, "some figures could not be looked up");
        String::new()
    });
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    // Few ask, and no caller makes it longer; it tells what is full.
    (Extension(Counted), kind, counted.render() + &looked_up).into_response()
}

/// The process's figures; `None` when someone else collects them.
fn prometheus() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let start = || {
        let handle = builder().ok()?.install_recorder().ok()?;
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

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let builder = PrometheusBuilder::new().set_buckets(&SECONDS)?;
    OTHER_SECONDS.iter().try_fold(builder, |builder, (end, buckets)| {
        builder.set_buckets_for_metric(Matcher::Suffix((*end).to_owned()), buckets)
    })
}
