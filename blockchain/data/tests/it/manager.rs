//! Both services together: a session is anchored by the real block-manager, and proved without either.

use std::path::Path;
use std::time::Duration;

use lucid_api::client::{BlockManagerClient, ClientOptions};
use lucid_block_manager::config::Config;
use lucid_block_manager::service;
use lucid_core::check::{CheckVerdict, Trust, check};
use lucid_core::sign::PublicKey;
use lucid_http::config::Environment;
use lucid_http::serve::Shutdown;
use lucid_store::clock::Clock;
use tokio::runtime::Runtime;

use crate::sample::noise;
use crate::service::Service;

/// A block-manager in this folder, on any port.
pub fn config(folder: &Path) -> Config {
    let settings = [
        ("BLOCK_MANAGER_PORT", "0"),
        ("BLOCK_INTERVAL_SECONDS", "1"),
        ("LUCID_DATA_DIR", folder.to_str().unwrap()),
    ];
    let environment: Environment =
        settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Config::load(&environment, None).unwrap().config
}

#[test]
fn a_session_is_anchored_and_proved_without_either_service() {
    let (data, chain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config(chain.path());
    let (runtime, shutdown) = (Runtime::new().unwrap(), Shutdown::new());
    let manager = runtime.block_on(service::start(config, &shutdown)).unwrap();
    let url = format!("http://{}", manager.address());

    let service = Service::start_with(data.path(), &[("BLOCK_MANAGER_URL", &url)]);
    service.begin("s");
    let content = noise(1, 5_000_000);
    service.client.append("s", &Default::default(), content.clone()).unwrap();
    service.client.seal("s", &Default::default()).unwrap();
    let anchor = service.wait_anchored("s").anchor.unwrap();
    let bundle = service.client.proof("s", &Default::default()).unwrap();
    service.stop();
    shutdown.ask();
    runtime.block_on(manager.finished()).unwrap();
    // Each keeps to its own folder.
    let error = Service::try_start(chain.path(), &[]).err().unwrap().to_string();
    assert!(error.contains("belongs to block-manager"), "{error}");

    let keys = [anchor.trust.block.unwrap(), anchor.trust.recorder.unwrap()];
    let trust = keys.map(|key| Trust::Key(key.parse::<PublicKey>().unwrap()));
    let report = check(&bundle, Some(&mut content.as_slice()), &trust).unwrap();
    assert_eq!(report.verdict, CheckVerdict::Proved, "{report:?}");
    let trust = [trust[1], Trust::BlockHash(anchor.block_hash.unwrap())];
    let report = check(&bundle, Some(&mut content.as_slice()), &trust).unwrap();
    assert_eq!(report.verdict, CheckVerdict::Proved, "{report:?}");
}

#[test]
fn anchors_go_on_though_the_block_of_the_last_one_is_damaged() {
    let (data, chain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config(chain.path());
    let (runtime, shutdown) = (Runtime::new().unwrap(), Shutdown::new());
    let manager = runtime.block_on(service::start(config, &shutdown)).unwrap();
    let url = format!("http://{}", manager.address());
    let client = BlockManagerClient::new(&url, ClientOptions::default()).unwrap();

    let service = Service::start_with(data.path(), &[("BLOCK_MANAGER_URL", &url)]);
    let seal = |session: &str| {
        service.begin(session);
        service.client.append(session, &Default::default(), session.as_bytes().to_vec()).unwrap();
        service.client.seal(session, &Default::default()).unwrap();
    };
    seal("first");
    let damaged = service.wait_anchored("first").anchor.unwrap();
    // A block of another client's transaction on top, so that the damaged one is not the newest.
    client.submit_transaction(r#"{"id": "x", "type": "t"}"#).unwrap();
    service.wait(|| client.transaction("x").unwrap().block_height);

    let file = chain.path().join("blocks/00000001.blocks");
    let mut bytes = std::fs::read(&file).unwrap();
    let id = damaged.transaction_id;
    let at = bytes.windows(id.len()).position(|part| part == id.as_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let refused = client.transaction_proof(&id).unwrap_err();
    assert!(refused.is_damage(), "{refused}");

    seal("next");
    assert_eq!(service.wait_anchored("next").anchor.unwrap().block_index, Some(2));
    service.stop();
    shutdown.ask();
    runtime.block_on(manager.finished()).unwrap();
}

#[test]
fn what_it_took_from_a_seal_to_its_proof_is_counted() {
    let (data, chain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Clock::by_hand(Clock::system().now());
    let service = Service::start_by(&clock, data.path());
    service.begin("s");
    service.client.append("s", &Default::default(), b"evidence".to_vec()).unwrap();
    service.client.seal("s", &Default::default()).unwrap();
    let proofs = |service: &Service| {
        let page = service.get("/metrics").text().unwrap();
        [900, 3600].map(|within| {
            let name = format!("lucid_data_proof_seconds_bucket{{le=\"{within}\"}} ");
            let count = page.lines().find_map(|line| line.strip_prefix(&name));
            count.unwrap_or_else(|| panic!("{page}")).parse::<u64>().unwrap()
        })
    };
    let [fast, all] = proofs(&service);
    service.stop();

    // There was no block-manager, and for half an hour nobody who brought the anchor to it.
    clock.pass(Duration::from_secs(1_800));
    let config = Config { clock: clock.clone(), ..config(chain.path()) };
    let (runtime, shutdown) = (Runtime::new().unwrap(), Shutdown::new());
    let manager = runtime.block_on(service::start(config, &shutdown)).unwrap();
    let url = format!("http://{}", manager.address());
    let settings = [("BLOCK_MANAGER_URL", url.as_str())];
    let service = Service::start_by_with(&clock, data.path(), &settings);
    service.wait_anchored("s");
    // Other tests of this process have proofs, too, but none that took so long.
    let late = |[fast, all]: [u64; 2]| all - fast;
    let now = service.wait(|| Some(proofs(&service)).filter(|now| late(*now) > late([fast, all])));
    assert_eq!(late(now), late([fast, all]) + 1);
    service.stop();
    shutdown.ask();
    runtime.block_on(manager.finished()).unwrap();
}
