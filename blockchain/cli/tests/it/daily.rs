//! What both services tell their log every day, seen in a day that a test lets pass.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, Once};
use std::time::Duration;

use lucid_block_manager::config::Config as ChainConfig;
use lucid_block_manager::service::start;
use lucid_data_chain::service::serve;
use lucid_http::config::Environment;
use lucid_http::serve::Shutdown;
use lucid_store::clock::Clock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::home::wait;

/// What was warned of in this process.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps every warning: what a log has of an event, as far as this test asks for it.
struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        *of.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut said = Said(String::new());
        event.record(&mut said);
        WARNINGS.lock().unwrap().push(said.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event.
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

/// How often it was told that no export of this folder's root key was verified.
fn told(folder: &Path) -> usize {
    let folder = folder.display().to_string();
    let warnings = WARNINGS.lock().unwrap();
    let is_told =
        |said: &&String| said.contains("no export of the root key") && said.contains(&folder);
    warnings.iter().filter(is_told).count()
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Ear).unwrap());
}

/// Lets days pass beside a service that runs over the folder, and wants one line a day.
fn days_pass(clock: &Clock, folder: &Path) {
    wait(|| (told(folder) == 1).then_some(()));
    for day in 2..5 {
        // What is short of a day is none.
        clock.pass(Duration::from_secs(86_399));
        assert_eq!(told(folder), day - 1);
        clock.pass(Duration::from_secs(1));
        wait(|| (told(folder) >= day).then_some(()));
        assert_eq!(told(folder), day);
    }
}

/// The settings of a service on any free port.
fn environment(folder: &Path) -> Environment {
    let settings = [("DATA_CHAIN_PORT", "0"), ("BLOCK_MANAGER_PORT", "0")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let folder = ("LUCID_DATA_DIR".to_owned(), folder.display().to_string());
    settings.into_iter().chain([folder]).collect()
}

#[test]
fn both_services_tell_every_day_that_no_export_of_the_root_key_was_verified() {
    listen();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let look = Some(Duration::from_millis(1));

    let (clock, folder) = (Clock::by_hand(Clock::system().now()), home.path().join("data-chain"));
    let mut config = lucid_data_chain::config::load(&environment(&folder), None).unwrap().config;
    (config.clock, config.tells_of_export) = (clock.clone(), look);
    let shutdown = Shutdown::new();
    let running = runtime.block_on(serve(config, None, &shutdown)).unwrap();
    days_pass(&clock, &folder);
    shutdown.ask();
    runtime.block_on(running.ended()).unwrap();

    let (clock, folder) =
        (Clock::by_hand(Clock::system().now()), home.path().join("block-manager"));
    let mut config = ChainConfig::load(&environment(&folder), None).unwrap().config;
    (config.clock, config.tells_of_export) = (clock.clone(), look);
    let shutdown = Shutdown::new();
    let running = runtime.block_on(start(config, &shutdown)).unwrap();
    days_pass(&clock, &folder);
    shutdown.ask();
    runtime.block_on(running.finished()).unwrap();
}
