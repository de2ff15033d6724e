//! Who is let in: every route, as callers of every kind.

use lucid_api::client::{BlockManagerClient, ClientOptions};
use lucid_block_manager::routes;
use reqwest::blocking::Client;

use crate::access::{SECRET, list, token};
use crate::every_route::wrong_answers;
use crate::service::Server;

#[tokio::test]
async fn every_route_lets_in_whom_the_table_says_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = list(folder.path());
    let tokens = tokens.to_str().unwrap();
    let settings = [("LUCID_TOKENS_FILE", tokens), ("LUCID_JWT_SECRET", SECRET)];
    let service = Server::start_with(&folder.path().join("data"), &settings).await;
    let base = service.url();
    let ask = move || {
        // It also gives this process what TLS needs.
        let client = BlockManagerClient::new(&base, ClientOptions::default()).unwrap();
        assert!(client.health().is_ok(), "who asks for health needs no credentials");
        let http = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        for open in ["/", "/health", "/api/v1/health", "/openapi.json", "/docs/"] {
            let status = http.get(format!("{base}{open}")).send().unwrap().status().as_u16();
            assert_eq!(status, 200, "{open}");
        }
        for hidden in ["/metrics", "/api/v1/nothing", "/api/v1/chain"] {
            let get = || http.get(format!("{base}{hidden}"));
            assert_eq!(get().send().unwrap().status().as_u16(), 401, "{hidden}");
            let known = get().bearer_auth(token("admin").expose()).send().unwrap();
            assert!(known.status().as_u16() != 401, "{hidden}");
        }
        wrong_answers(&http, &base, &routes::access())
    };
    let wrong = tokio::task::spawn_blocking(ask).await.unwrap();
    assert_eq!(wrong, Vec::<String>::new());
    service.stop().await;
}
