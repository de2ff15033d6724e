//! What the service does by itself, with intervals that a test can wait for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_api::v1::maintenance::{Progress, ProgressState};
use lucid_data_chain::app::App;
use lucid_data_chain::config;
use lucid_data_chain::jobs::{Jobs, Kind};
use lucid_data_chain::opened::{SERVICE, SIGNING_KEY};
use lucid_data_chain::ops::count_sessions::count_sessions;
use lucid_data_chain::ops::store_chunks::{Keeping, store_chunks};
use lucid_data_chain::workers::{Anchoring, maintenance, scrub};
use lucid_data_chain::{Opened, clock};
use lucid_http::serve::Shutdown;
use lucid_store::codec::Compression;
use lucid_store::committer::Submission;
use lucid_store::folder::Options;

const SOON: Duration = Duration::from_millis(100);

pub fn open(folder: &std::path::Path) -> Opened {
    let options = Options {
        service: SERVICE,
        signing_key: SIGNING_KEY,
        create: true,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "a test".into(),
        now: clock::now().to_string(),
    };
    Opened::open(folder, &options).unwrap()
}

fn app(folder: &std::path::Path, shutdown: &Shutdown) -> Arc<App> {
    let opened = open(folder);
    let config = config::load(&Default::default(), None).unwrap().config;
    Arc::new(App::new(opened, &config, Anchoring::default(), Jobs::new(shutdown.clone())))
}

async fn ended(app: &App, kind: Kind) -> Progress {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let shown = app.jobs.show(kind);
        if shown.state == ProgressState::Done {
            return shown;
        }
        assert!(Instant::now() < deadline, "{shown:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_segments_are_packed_more_tightly_after_each_collection() {
    let (folder, shutdown) = (tempfile::tempdir().unwrap(), Shutdown::new());
    let app = app(folder.path(), &shutdown);
    let line = |n: u32| format!("{n:08} the quick brown fox jumps over the lazy dog {}\n", n * 7);
    let text: String = (0..20_000).map(line).collect();
    let fast = Keeping { compression: Compression::Lz4, encrypt: true };
    let vault = &app.opened.vault;
    store_chunks(vault, fast, 1, clock::now(), &[text.as_bytes()]).unwrap();
    vault.commit(Submission { seal_segment: true, ..Submission::default() }).unwrap();
    let before = count_sessions(vault).unwrap().stored_bytes;

    let worker = maintenance::collect(app.clone(), Some(SOON), Some(9), shutdown.clone());
    let worker = tokio::spawn(worker);
    ended(&app, Kind::Gc).await;
    let packed = ended(&app, Kind::Optimise).await.result.unwrap();
    assert_eq!((&packed["level"], &packed["segments_rewritten"]), (&9.into(), &1.into()));
    assert!(count_sessions(vault).unwrap().stored_bytes < before);
    shutdown.ask();
    tokio::time::timeout(Duration::from_secs(5), worker).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_bytes_are_read_again_in_every_interval() {
    let (folder, shutdown) = (tempfile::tempdir().unwrap(), Shutdown::new());
    let app = app(folder.path(), &shutdown);
    let how = config::Scrub { interval: SOON, percent: 100 };
    let worker = tokio::spawn(scrub::scrub(app.clone(), Some(how), shutdown.clone()));
    // The first round after a start waits; the others follow from their interval.
    app.scrub_now.notify_one();
    let first = ended(&app, Kind::Scrub).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while app.jobs.show(Kind::Scrub).started_at == first.started_at {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.ask();
    tokio::time::timeout(Duration::from_secs(5), worker).await.unwrap().unwrap();
}
