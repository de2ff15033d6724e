//! What the service says of its API is what is committed.

use serde_json::Value;

use crate::service::Service;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi/data-chain.json");

#[test]
fn the_document_that_is_served_is_the_committed_one() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let served: Value =
        serde_json::from_str(&service.get("/openapi.json").text().unwrap()).unwrap();
    service.stop();
    let served = serde_json::to_string_pretty(&served).unwrap() + "\n";
    if std::env::var_os("LUCID_RENEW_OPENAPI").is_some() {
        std::fs::write(COMMITTED, &served).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        served == committed,
        "the interface is not the one in docs/openapi/data-chain.json. If it is to change, renew that \
         with LUCID_RENEW_OPENAPI=1 cargo test -p lucid-data-chain --test it openapi, and commit it"
    );
}
