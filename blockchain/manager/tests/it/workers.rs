//! What the service does by itself goes on after a mistake of ours, and health says so meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lucid_api::v1::service::HealthState;
use lucid_block_manager::app::App;
use lucid_block_manager::config::SERVICE;
use lucid_block_manager::opened::{UnopenedManager, over};
use lucid_block_manager::ops::submit_transaction::submit_transaction;
use lucid_block_manager::workers::pulse::feel_pulse;
use lucid_block_manager::workers::{keep_up, produce_in_time};
use lucid_http::serve::Shutdown;
use lucid_store::clock::Clock;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::memory::faulty::{FaultyIndex, IndexCall};

use crate::over_disk::unopened;

/// What is to go wrong.
#[derive(Default)]
struct Wrong {
    reading: AtomicBool,
    writing: AtomicBool,
}

impl Wrong {
    /// An index that panics when it is told to.
    fn index(self: Arc<Self>) -> FaultyIndex {
        FaultyIndex::over(Arc::default(), move |call| {
            let flag = match call {
                IndexCall::Get => &self.reading,
                IndexCall::Write => &self.writing,
                _ => return Ok(()),
            };
            assert!(!flag.load(Ordering::Relaxed), "the index made a mistake");
            Ok(())
        })
    }
}

struct Service {
    app: App,
    shutdown: Shutdown,
    wrong: Arc<Wrong>,
}

impl Service {
    fn new() -> Self {
        let wrong = Arc::new(Wrong::default());
        let index = Arc::new(wrong.clone().index());
        let parts = UnopenedManager { index, ..unopened(&SimulatedDisk::new()) };
        let shutdown = Shutdown::new();
        let app = App::new(&shutdown, Clock::system(), Duration::from_secs(1), 0);
        app.set_opened(over(parts, Clock::system().now()).unwrap());
        let service = Self { app, shutdown, wrong };
        service.submit("a").unwrap();
        service
    }

    fn submit(&self, id: &str) -> Result<(), String> {
        let opened = self.app.opened().unwrap();
        let text = format!(r#"{{"id":"{id}","type":"data_storage"}}"#);
        let (vault, chain) = (&opened.vault, opened.chain.as_ref());
        submit_transaction(vault, chain, &opened.admissions, Clock::system().now(), text.as_bytes())
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// What health says: how it is, and everything it says besides.
    fn health(&self) -> (HealthState, String) {
        let report = self.app.report();
        (report.state(), serde_json::to_string(&report.document(SERVICE)).unwrap())
    }

    /// Waits until health is so.
    async fn until(&self, wanted: &str, is_so: impl Fn(HealthState, &str) -> bool) {
        for _ in 0..1_000 {
            let (state, said) = self.health();
            if is_so(state, &said) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{wanted}: {:?}", self.health());
    }

    fn height(&self) -> Option<u64> {
        self.app.opened().unwrap().chain.tip().unwrap().map(|tip| tip.height)
    }
}

#[test]
fn health_says_that_the_thread_that_writes_has_ended() {
    let service = Service::new();
    assert_eq!(service.health().0, HealthState::Healthy, "{}", service.health().1);
    service.wrong.writing.store(true, Ordering::Relaxed);
    assert!(service.submit("b").is_err());
    service.wrong.writing.store(false, Ordering::Relaxed);
    let (state, said) = service.health();
    assert_eq!(state, HealthState::Unhealthy, "{said}");
    assert!(said.contains(r#""block_storage":false"#) && said.contains("ended"), "{said}");
    assert!(service.submit("c").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn producing_goes_on_after_a_panic_and_health_says_so_until_it_does() {
    let service = Service::new();
    service.wrong.reading.store(true, Ordering::Relaxed);
    let produce = |app| produce_in_time(app, Duration::from_millis(10));
    let worker = tokio::spawn(keep_up(service.app.clone(), "producing blocks", produce));
    let tells = |_, said: &str| {
        said.contains(r#""chain_manager":false"#) && said.contains("a mistake of ours")
    };
    service.until("it tells", tells).await;
    assert_eq!((service.health().0, service.height()), (HealthState::Unhealthy, None));
    service.wrong.reading.store(false, Ordering::Relaxed);
    service.until("it goes on", |state, _| state == HealthState::Healthy).await;
    assert_eq!(service.height(), Some(0));
    service.shutdown.ask();
    worker.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pulse_goes_on_after_a_panic_and_health_says_so_until_it_does() {
    let service = Service::new();
    {
        let opened = service.app.opened().unwrap();
        let (vault, chain) = (&opened.vault, opened.chain.as_ref());
        lucid_block_manager::ops::produce_block::produce_block(
            vault,
            chain,
            &opened.producing,
            &opened.key,
            Clock::system().now(),
        )
        .unwrap();
    }
    service.wrong.reading.store(true, Ordering::Relaxed);
    let worker = tokio::spawn(keep_up(service.app.clone(), "pulse", feel_pulse));
    let tells = |_, said: &str| {
        said.contains(r#""block_storage":false"#) && said.contains("a mistake of ours")
    };
    service.until("it tells", tells).await;
    service.wrong.reading.store(false, Ordering::Relaxed);
    service.until("it goes on", |state, _| state == HealthState::Healthy).await;
    service.shutdown.ask();
    worker.await.unwrap();
}

#[tokio::test]
async fn a_worker_that_ends_by_itself_is_begun_anew() {
    let shutdown = Shutdown::new();
    let app = App::new(&shutdown, Clock::system(), Duration::from_secs(1), 0);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let worker = move |_| {
        tell.send(()).unwrap();
        async { panic!("a worker makes a mistake") }
    };
    let kept = tokio::spawn(keep_up(app, "failing", worker));
    for _ in 0..2 {
        told.recv().await.unwrap();
    }
    shutdown.ask();
    kept.await.unwrap();
}
