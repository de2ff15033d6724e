//! What `/health` says: what is switched off is no fault, what fails is one, and peers are asked.

use std::time::{Duration, Instant};

use lucid_api::client::Append;
use lucid_data_chain::{config, service};
use lucid_http::serve::Shutdown;
use serde_json::Value;

use crate::sample::noise;
use crate::service::{Service, problem};

fn health(service: &Service) -> Value {
    service.get("/health").json().unwrap()
}

#[test]
fn a_part_that_is_switched_off_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let health = health(&service);
    assert_eq!((&health["status"], &health["anchoring"]), (&"healthy".into(), &false.into()));
    let why = health["details"]["anchoring"].as_str().unwrap();
    assert!(why.contains("disabled") && why.contains("BLOCK_MANAGER_URL"), "{why}");
    assert_eq!(health["maintenance"], true);
}

#[test]
fn a_block_manager_that_is_away_is_noticed_before_anything_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = [("BLOCK_MANAGER_URL", "http://127.0.0.1:1")];
    let service = Service::start_with(folder.path(), &nobody);
    let found = service.wait(|| Some(health(&service)).filter(|found| found["anchoring"] == false));
    assert_eq!(found["status"], "degraded", "{found}");
    assert!(found["details"]["anchoring"].as_str().unwrap().contains("does not answer"), "{found}");
}

#[test]
fn a_store_that_cannot_collect_is_not_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.client.create_session(&crate::service::named("s")).unwrap();
    service.client.append("s", &Default::default(), noise(1, 100_000)).unwrap();
    let on = Append { offset: 100_000, ..Append::default() };
    service.client.append("s", &on, noise(2, 100_000)).unwrap();
    service.stop();
    let log = folder.path().join("log/00000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let service = Service::start(folder.path());
    assert_eq!(health(&service)["maintenance"], true, "nobody has tried");
    let reply = service.post("/api/v1/maintenance/gc", serde_json::json!({}));
    let (status, code, _) = problem(reply);
    assert_eq!((status, code.as_str()), (409, "damaged"));
    let found = health(&service);
    assert_eq!((&found["status"], &found["maintenance"]), (&"degraded".into(), &false.into()));
    assert!(found["details"]["maintenance"].as_str().unwrap().starts_with("gc: "), "{found}");
}

#[test]
fn a_clock_before_the_last_commit_holds_the_start_up_which_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    service.stop();
    let log = std::fs::File::options().append(true).open(folder.path().join("log/00000001.log"));
    let log = log.unwrap();
    let soon = log.metadata().unwrap().modified().unwrap() + Duration::from_secs(2 * 3_600);
    log.set_modified(soon).unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    let values = [
        ("LUCID_DATA_DIR".to_owned(), folder.path().display().to_string()),
        ("DATA_CHAIN_PORT".to_owned(), port.to_string()),
    ];
    let config = config::load(&values.into(), None).unwrap().config;
    let (runtime, shutdown) = (tokio::runtime::Runtime::new().unwrap(), Shutdown::new());
    let asked = shutdown.clone();
    let starting = runtime.spawn(async move { service::serve(config, None, &asked).await });
    let deadline = Instant::now() + Duration::from_secs(30);
    let document = loop {
        let url = format!("http://127.0.0.1:{port}/health");
        let client = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]).build();
        if let Ok(reply) = client.unwrap().get(url).send() {
            assert_eq!(reply.status(), 503);
            let document: Value = reply.json().unwrap();
            if document["details"]["data_storage"].as_str().unwrap().contains("clock") {
                break document;
            }
        }
        assert!(Instant::now() < deadline);
    };
    assert_eq!(document["status"], "starting", "{document}");
    let why = document["details"]["data_storage"].as_str().unwrap();
    assert!(why.contains("the clock is 1") && why.contains("before the last commit"), "{why}");
    let began = Instant::now();
    shutdown.ask();
    let ended = runtime.block_on(starting).unwrap();
    assert!(matches!(ended, Err(service::StartError::Stopped)));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
