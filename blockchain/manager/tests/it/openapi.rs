//! What the service says of its API is what is committed.

use crate::service::Server;

const COMMITTED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi/block-manager.json");

#[tokio::test]
async fn the_document_that_is_served_is_the_committed_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let (_, served) = server.get("/openapi.json").await;
    server.stop().await;
    let served = serde_json::to_string_pretty(&served).unwrap() + "\n";
    if std::env::var_os("LUCID_RENEW_OPENAPI").is_some() {
        std::fs::write(COMMITTED, &served).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        served == committed,
        "the interface is not the one in docs/openapi/block-manager.json. If it is to change, renew \
         that with LUCID_RENEW_OPENAPI=1 cargo test -p lucid-block-manager --test it openapi, and \
         commit it"
    );
}
