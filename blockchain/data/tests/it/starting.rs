//! What a service says while its folder is being opened, and what it had to read for that.

use std::cell::Cell;
use std::sync::Arc;

use lucid_api::v1::maintenance::{JobKind, Maintenance, ProgressState};
use lucid_data_chain::Opened;
use lucid_data_chain::opened::{FOLDER_OWNER, SIGNING_KEY};
use lucid_data_chain::{app, config};
use lucid_http::credentials::Credentials;
use lucid_http::serve::{Late, Listening, Shutdown};
use lucid_store::StoreError;
use lucid_store::clock::Clock;
use lucid_store::files::folder::Options;
use reqwest::Method;
use serde_json::Value;

use crate::sample::noise;
use crate::service::{Service, problem};

fn ask(method: Method, url: &str) -> reqwest::blocking::Response {
    let client = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]).build();
    client.unwrap().request(method, url).send().unwrap()
}

fn get(url: &str) -> reqwest::blocking::Response {
    ask(Method::GET, url)
}

#[test]
fn until_the_folder_is_open_callers_hear_how_far_that_is() {
    // Makes sure of the provider of TLS, which every client needs.
    let folder = tempfile::tempdir().unwrap();
    drop(Service::start(folder.path()));
    let shutdown = Shutdown::new();
    let jobs = Arc::new(app::jobs(&shutdown, &Clock::system()));
    let config = config::load(&Default::default(), None).unwrap().config;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listening = Listening::bind(config::SERVICE, "127.0.0.1:0".parse().unwrap());
    let listening = runtime.block_on(listening).unwrap();
    let base = format!("http://{}", listening.address());
    let late = Late::default();
    let router = {
        let _within = runtime.enter();
        late.clone().or(app::starting(&jobs, &config, &Credentials::nobody_asks(), None))
    };
    let until = shutdown.clone();
    let serving = runtime.spawn(async move { listening.serve(router, &until).await });

    let health = || -> (u16, Value) {
        let reply = get(&format!("{base}/health"));
        (reply.status().as_u16(), serde_json::from_str(&reply.text().unwrap()).unwrap())
    };
    let (status, document) = health();
    assert_eq!((status, &document["status"]), (503, &"starting".into()), "{document}");
    assert_eq!(document["data_storage"], false);
    let run = jobs.begin(JobKind::Reindex).unwrap();
    run.step("reading the log", 5, 10);
    let (_, document) = health();
    assert_eq!(document["details"]["data_storage"], "5 of 10 bytes of the log are read");
    let listed: Maintenance = serde_json::from_str(
        &get(&format!("{base}/api/v1/data-chain/maintenance")).text().unwrap(),
    )
    .unwrap();
    let reindex = listed.items.iter().find(|item| item.kind == JobKind::Reindex).unwrap();
    assert_eq!((reindex.state, reindex.done), (ProgressState::Running, 5));
    let (status, code, _) = problem(get(&format!("{base}/api/v1/sessions/s")));
    assert_eq!((status, code.as_str()), (503, "unavailable"));
    // Also where an API begins: a client that is told that a method is not allowed there does not come again.
    for path in config::SERVICE.endpoints {
        for method in [Method::GET, Method::POST] {
            let (status, code, _) = problem(ask(method.clone(), &format!("{base}{path}")));
            assert_eq!((status, code.as_str()), (503, "unavailable"), "{method} {path}");
        }
    }

    let other = axum::Router::new().route("/health", axum::routing::get(|| async { "other" }));
    late.set(other);
    assert_eq!(get(&format!("{base}/health")).text().unwrap(), "other");
    shutdown.ask();
    runtime.block_on(serving).unwrap();
}

#[test]
fn an_opening_that_is_told_to_stop_leaves_everything_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.client.create_session(&crate::service::named("s")).unwrap();
    let content = noise(1, 100_000);
    service.client.append("s", &Default::default(), content.clone()).unwrap();
    service.stop();
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let options = Options {
        service: FOLDER_OWNER,
        signing_key: SIGNING_KEY,
        expected: None,
        create: false,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "a test".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: "2026-03-01T12:00:00Z".into(),
    };
    for steps in 0..4 {
        let told = Cell::new(0);
        let opened = Opened::open_watched(folder.path(), &options, None, &|_, _| {
            told.set(told.get() + 1);
            told.get() <= steps
        });
        assert!(matches!(opened, Err(StoreError::Stopped)), "after {steps} steps");
    }
    let service = Service::start(folder.path());
    assert_eq!(crate::service::bytes(service.client.data("s", None)), content);
}

#[test]
fn a_start_without_an_index_says_what_it_read() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.client.create_session(&crate::service::named("s")).unwrap();
    service.client.append("s", &Default::default(), noise(1, 100_000)).unwrap();
    service.stop();
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let service = Service::start(folder.path());
    let listed = service.get("/api/v1/maintenance").text().unwrap();
    let listed: Maintenance = serde_json::from_str(&listed).unwrap();
    let reindex = listed.items.iter().find(|item| item.kind == JobKind::Reindex).unwrap();
    assert_eq!(reindex.state, ProgressState::Done, "{reindex:?}");
    assert!(reindex.total >= reindex.done && reindex.done > 100_000, "{reindex:?}");
}
