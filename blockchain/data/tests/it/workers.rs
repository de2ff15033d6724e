//! What the service does by itself, with intervals that a test can wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lucid_api::v1::maintenance::JobKind;
use lucid_api::v1::maintenance::{Progress, ProgressState};
use lucid_core::digest::BlockHash;
use lucid_core::session::Layout;
use lucid_data_chain::Opened;
use lucid_data_chain::anchoring::{AnchorEngine, Confirmed, EngineError};
use lucid_data_chain::app::{App, jobs};
use lucid_data_chain::config;
use lucid_data_chain::fact::KnownChain;
use lucid_data_chain::opened::{FOLDER_OWNER, SIGNING_KEY};
use lucid_data_chain::ops::chunks::store_chunks::{StorageOptions, store_chunks};
use lucid_data_chain::ops::sessions::count_sessions::count_sessions;
use lucid_data_chain::ops::sessions::create_session::{NewSession, create_session};
use lucid_data_chain::ops::sessions::seal_session::{SealRequest, seal_session};
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::row::scrub_key;
use lucid_data_chain::workers::anchoring::{Anchoring, deliver};
use lucid_data_chain::workers::{maintenance, scrub, start};
use lucid_http::serve::Shutdown;
use lucid_store::clock::Clock;
use lucid_store::codec::Compression;
use lucid_store::files::folder::Options;
use lucid_store::vault::committer::Submission;

const SOON: Duration = Duration::from_millis(100);

pub fn open(folder: &std::path::Path) -> Opened {
    let options = Options {
        service: FOLDER_OWNER,
        signing_key: SIGNING_KEY,
        expected: None,
        create: true,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "a test".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: Clock::system().now().to_string(),
    };
    Opened::open(folder, &options).unwrap()
}

fn app(folder: &std::path::Path, shutdown: &Shutdown) -> Arc<App> {
    let opened = open(folder);
    let config = config::load(&Default::default(), None).unwrap().config;
    Arc::new(App::new(opened, &config, Anchoring::default(), jobs(shutdown, &Clock::system())))
}

async fn ended(app: &App, kind: JobKind) -> Progress {
    reached(app, kind, ProgressState::Done).await
}

async fn reached(app: &App, kind: JobKind, state: ProgressState) -> Progress {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let shown = app.jobs.show(kind);
        if shown.state == state {
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
    let fast = StorageOptions { compression: Compression::Lz4, encrypt: true };
    let vault = &app.opened.vault;
    store_chunks(vault, fast, 1, Clock::system().now(), None, &[text.as_bytes()]).unwrap();
    vault.commit(Submission { end_unit: true, ..Submission::default() }).unwrap();
    let before = count_sessions(vault).unwrap().stored_bytes;

    let worker = maintenance::collect(app.clone(), Some(SOON), Some(9), shutdown.clone());
    let worker = tokio::spawn(worker);
    ended(&app, JobKind::Gc).await;
    let packed = ended(&app, JobKind::Optimise).await.result.unwrap();
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
    let first = ended(&app, JobKind::Scrub).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while app.jobs.show(JobKind::Scrub).started_at == first.started_at {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.ask();
    tokio::time::timeout(Duration::from_secs(5), worker).await.unwrap().unwrap();
}

/// Breaks the row that says how far scrubbing has come, or takes it away.
fn set_scrub_row(app: &App, value: Option<&[u8]>) {
    let row = (scrub_key(), value.map(<[u8]>::to_vec));
    app.opened.vault.index().write(vec![row]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scrubbing_goes_on_after_its_state_could_not_be_read() {
    let (folder, shutdown) = (tempfile::tempdir().unwrap(), Shutdown::new());
    let app = app(folder.path(), &shutdown);
    set_scrub_row(&app, Some(b"no state"));
    let worker = tokio::spawn(scrub::scrub(app.clone(), None, shutdown.clone()));
    let failed = reached(&app, JobKind::Scrub, ProgressState::Failed).await;
    assert!(failed.error.unwrap().contains("how far it has come"));
    set_scrub_row(&app, None);
    app.scrub_now.notify_one();
    ended(&app, JobKind::Scrub).await;
    shutdown.ask();
    tokio::time::timeout(Duration::from_secs(5), worker).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_after_a_fault_in_the_code_and_one_that_cannot_is_named_by_health() {
    struct Faulty(AtomicUsize);
    impl AnchorEngine for Faulty {
        fn submit(&self, _text: &str) -> Result<(), EngineError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("a fault in the code")
        }
        fn keeps(&self, _known: &KnownChain) -> Result<bool, EngineError> {
            Ok(true)
        }
        fn genesis(&self) -> Result<Option<BlockHash>, EngineError> {
            Ok(None)
        }
        fn confirmed(&self, _id: &str) -> Result<Option<Confirmed>, EngineError> {
            Ok(None)
        }
    }
    let (folder, shutdown) = (tempfile::tempdir().unwrap(), Shutdown::new());
    let engine = Arc::new(Faulty(AtomicUsize::new(0)));
    let opened = open(folder.path());
    let config = config::load(&Default::default(), None).unwrap().config;
    let anchoring = Anchoring::new(Some(engine.clone()));
    let app = Arc::new(App::new(opened, &config, anchoring, jobs(&shutdown, &Clock::system())));
    seal(&app);
    let (_, worker) = start(&app, "anchors", deliver(app.clone(), shutdown.clone()));
    let deadline = Instant::now() + Duration::from_secs(30);
    while engine.0.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < deadline && !worker.is_finished());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let health = app.report().document(config::SERVICE);
    let health = serde_json::to_value(&health).unwrap();
    assert!(health["details"]["anchoring"].as_str().unwrap().contains("fault in the code"));
    assert_eq!(health["workers"], true, "{health}");
    shutdown.ask();
    tokio::time::timeout(Duration::from_secs(5), worker).await.unwrap().unwrap();
    start(&app, "figures", async { panic!("a fault in the code") }).1.await.unwrap();
    let health = serde_json::to_value(app.report().document(config::SERVICE)).unwrap();
    assert_eq!((&health["status"], &health["workers"]), (&"degraded".into(), &false.into()));
    assert!(health["details"]["workers"].as_str().unwrap().contains("figures"), "{health}");
}

/// Lets one anchor wait.
fn seal(app: &App) {
    let Opened { vault, locks, key, .. } = &*app.opened;
    let session = NewSession {
        sight: Sight::everything(),
        retain_until: None,
        source: None,
        terminal: None,
        id: Some("s".parse().unwrap()),
        user: String::new(),
        layout: Layout::Raw,
        public: false,
        profile: Default::default(),
        metadata: Default::default(),
        started_at: Clock::system().now(),
        one_shot: false,
        own_copies: false,
    };
    create_session(vault, locks, session).unwrap();
    let id = "s".parse().unwrap();
    let request = SealRequest::default();
    seal_session(vault, locks, key, app.storage, Clock::system().moment(), &id, &request).unwrap();
}
