//! The porch of the Lucid services: everything between a socket and a handler, written once.
//!
//! A service reads its settings with [`config`], builds its routes with [`extract`] and [`reply`],
//! puts the [`porch`] around them and hands the result to [`serve`]; [`program`] is its `main`. This crate knows no
//! noun: it has never heard of a chunk or a block.
//!
//! ```no_run
//! use axum::{Json, extract::State};
//! use lucid_http::config::{CommonConfig, Key, Settings, load};
//! use lucid_http::credentials::Credentials;
//! use lucid_http::selftest::SelfTest;
//! use lucid_http::serve::{BindError, Listening, Shutdown};
//! use lucid_http::{Service, health::HealthReport, limits::Limits, porch::Porch, program::Program, reply::Reply};
//! use utoipa_axum::{router::OpenApiRouter, routes};
//!
//! const SERVICE: &Service = &Service {
//!     name: "lucid-example",
//!     title: "Lucid Example",
//!     prefix: "EXAMPLE",
//!     port: 8099,
//!     version: env!("CARGO_PKG_VERSION"),
//!     about: "Answers.",
//!     endpoints: &["/api/v1/answers"],
//! };
//!
//! struct Config {
//!     common: CommonConfig,
//!     answer: u32,
//! }
//!
//! fn read(settings: &mut Settings<'_>) -> Config {
//!     let common = CommonConfig::read(settings);
//!     let key = Key::new("answer", "EXAMPLE_ANSWER", "what is answered");
//!     let answer = settings.within(&key, 42, 1..=100);
//!     Config { common, answer }
//! }
//!
//! #[utoipa::path(get, path = "/api/v1/answers/last", responses((status = 200, body = u32)))]
//! async fn get_answer(State(answer): State<u32>) -> Reply<Json<u32>> {
//!     Ok(Json(answer))
//! }
//!
//! async fn run(config: Config, shutdown: Shutdown) -> Result<(), BindError> {
//!     let listening = Listening::bind(SERVICE, config.common.bind).await?;
//!     let routes = OpenApiRouter::new().routes(routes!(get_answer)).with_state(config.answer);
//!     let credentials = Credentials::nobody_asks();
//!     let health = || HealthReport::new().needed("store", true);
//!     let porch = Porch::new(SERVICE, &config.common, &credentials, health);
//!     tracing::info!(address = %listening.address(), "Lucid Example Service started successfully");
//!     let _drained = listening.serve(porch.around(Limits::ORDINARY.around(routes)), &shutdown).await;
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let load = |environment: &_, file: Option<&_>| load(SERVICE, environment, file, read);
//!     let selftest =
//!         SelfTest { settings: &[], vectors: || Ok(vec![]), keep: |_| Ok("answers".into()), find: |_| Ok(()) };
//!     Program { service: SERVICE, load, common: |config| &config.common, selftest }.main(run)
//! }
//! ```

pub mod ahead;
pub mod budget;
pub mod caller;
pub mod config;
pub mod credentials;
pub mod daily;
pub mod ending;
pub mod errand;
pub mod extract;
pub mod health;
pub mod healthcheck;
pub mod jobs;
pub mod layers;
pub mod limits;
pub mod long_work;
pub mod places;
pub mod porch;
pub mod process;
pub mod program;
pub mod rates;
pub mod reply;
pub mod selftest;
pub mod serve;
pub mod signals;
pub mod stream;
pub mod table;
pub mod telemetry;
pub mod tls;

mod docs;
mod looks;

/// What a service is called. One constant in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// In replies and logs: `lucid-data-chain`.
    pub name: &'static str,
    /// For people: `Lucid Data Chain`.
    pub title: &'static str,
    /// Before its own variables: `DATA_CHAIN`.
    pub prefix: &'static str,
    /// Where it listens when nothing else is said.
    pub port: u16,
    /// Its version.
    pub version: &'static str,
    /// What it is for, in a sentence or two.
    pub about: &'static str,
    /// Where its API begins, for `GET /`.
    pub endpoints: &'static [&'static str],
}
