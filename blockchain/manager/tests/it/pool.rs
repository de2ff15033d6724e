//! What callers send in besides single transactions: batches, roots of sessions, wishes for a block.

use std::sync::Arc;
use std::time::Duration;

use lucid_block_manager::app::App;
use lucid_block_manager::config::{Config, SERVICE};
use lucid_block_manager::facts;
use lucid_block_manager::opened::{ManagerKind, UnopenedDrawers, over};
use lucid_block_manager::routes::routes;
use lucid_core::sign::SigningKey;
use lucid_http::budget::{BODIES_BYTES, FREE_BYTES};
use lucid_http::porch::Porch;
use lucid_http::serve::{Listening, Shutdown};
use lucid_store::clock::Clock;
use lucid_store::crypt::Sealer;
use lucid_store::files::disk::faulty::{Call, FaultyDisk};
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::memory::index::MemoryIndex;
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::service::{Server, ask};

const LATER: &str = "3600";

async fn post(server: &Server, path: &str, body: Value) -> (u16, Value) {
    server.raw("POST", path, Some(&body.to_string())).await
}

fn transaction(id: &str) -> Value {
    json!({ "id": id, "type": "data_storage", "timestamp": "2026-01-01T00:00:00Z", "data": {"n": 1} })
}

fn root(digit: char) -> String {
    std::iter::repeat_n(digit, 64).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_what_is_sound_and_names_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_sealing(folder.path(), LATER).await;
    let path = "/api/v1/transactions/batch";
    let mut other = transaction("a");
    other["data"] = json!({"n": 2});
    let batch = json!({ "transactions": [
        transaction("a"), { "id": "b" }, transaction("a"), other, transaction("c"), 7,
    ]});
    let (status, accepted) = post(&server, path, batch.clone()).await;
    assert_eq!(status, 202, "{accepted}");
    assert_eq!(accepted["transaction_ids"], json!(["a", "a", "c"]));
    assert_eq!((&accepted["submitted_count"], &accepted["failed_count"]), (&3.into(), &3.into()));
    let errors = accepted["errors"].as_array().unwrap();
    let named: Vec<_> = errors.iter().map(|error| (&error["index"], &error["code"])).collect();
    let (invalid, conflict) = (json!("invalid"), json!("exists"));
    assert_eq!(named, [(&1.into(), &invalid), (&3.into(), &conflict), (&5.into(), &invalid)]);
    assert!(errors[0]["detail"].as_str().unwrap().contains("type"), "{accepted}");

    let (_, pending) = server.get("/api/v1/transactions/pending?limit=1&page=2").await;
    assert_eq!(pending["transactions"][0]["tx_id"], "c");
    assert_eq!(pending["pagination"], json!({ "page": 2, "limit": 1, "total": 2, "pages": 2 }));
    assert_eq!(
        server.get("/api/v1/transactions/pending?page=3").await.1["transactions"],
        json!([])
    );
    // Posting the same batch again gives the same answer, also after its transactions are in a block.
    let (_, again) = post(&server, path, batch.clone()).await;
    assert_eq!(again, accepted);
    let (status, block) = post(&server, "/api/v1/blocks/propose", json!({})).await;
    assert_eq!((status, &block["transaction_count"]), (201, &2.into()), "{block}");
    assert_eq!(post(&server, path, batch).await.1, accepted);
    assert_eq!(server.get("/api/v1/transactions/pending").await.1["pagination"]["total"], 0);

    for wrong in
        [json!({ "transactions": [] }), json!({ "transactions": vec![transaction("x"); 101] })]
    {
        assert_eq!(post(&server, path, wrong).await.0, 422);
    }
    for query in ["page=0", "limit=0", "limit=101", "offset=1"] {
        let path = format!("/api/v1/transactions/pending?{query}");
        assert_eq!(server.get(&path).await.0, 422, "{query}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_mean_something_else_in_an_address_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_sealing(folder.path(), LATER).await;
    for id in ["pending", "batch", ".", ".."] {
        let (status, refused) = post(&server, "/api/v1/transactions", transaction(id)).await;
        assert_eq!(status, 422, "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("address"), "{refused}");
    }
    assert_eq!(post(&server, "/api/v1/transactions", transaction("pending2")).await.0, 202);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_the_texts_that_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_sealing(folder.path(), LATER).await;
    let text = r#"{"transactions": [{"type": "t", "id": "n", "timestamp": "2026-01-01T00:00:00Z", "n": 1e16, "big": 123456789012345678901234567890}]}"#;
    let (status, _) = server.raw("POST", "/api/v1/transactions/batch", Some(text)).await;
    assert_eq!(status, 202);
    let doubled = r#"{"transactions": [{"type": "t", "id": "m", "id": "o"}]}"#;
    let (_, refused) = server.raw("POST", "/api/v1/transactions/batch", Some(doubled)).await;
    assert_eq!(refused["failed_count"], 1, "{refused}");
    let found = server.call(|client| client.transaction("n").unwrap()).await.data.unwrap();
    let found = found.get();
    assert!(found.contains(r#""n": 1e+16"#), "{found}");
    assert!(found.contains(r#""big": 123456789012345678901234567890"#), "{found}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_made_when_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_sealing(folder.path(), LATER).await;
    let path = "/api/v1/blocks/propose";
    let (status, refused) = post(&server, path, json!({})).await;
    assert_eq!(status, 409, "nothing waits: {refused}");
    assert_eq!(server.raw("POST", path, None).await.0, 409, "nothing need be said");
    for (body, wanted) in [
        ("{", 400),
        ("[[]]", 422),
        (r#"{"producer":"a","producer":"b"}"#, 422),
        (r#"{"transactions": {}}"#, 422),
    ] {
        assert_eq!(server.raw("POST", path, Some(body)).await.0, wanted, "{body}");
    }
    let wrong = json!({ "transactions": [transaction("a"), { "id": "b" }] });
    let (status, refused) = post(&server, path, wrong).await;
    assert_eq!((status, &refused["error"]["details"]["index"]), (422, &1.into()), "{refused}");
    assert_eq!(server.get("/api/v1/transactions/a").await.0, 404, "nothing of it was taken");
    let sent = json!({ "transactions": [transaction("a")] });
    let (status, block) = post(&server, path, sent).await;
    assert_eq!((status, &block["index"]), (201, &0.into()), "{block}");
    assert_eq!(block["transactions"][0]["id"], "a");
    let (_, stored) = server.get("/api/v1/blocks/0").await;
    assert_eq!(stored, block);
    let producer = block["producer"].clone();
    let more = json!({ "transactions": [transaction("c")], "producer": producer });
    assert_eq!(post(&server, path, more).await.0, 201);
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let other = json!({ "transactions": [transaction("d")], "producer": key });
    assert_eq!(post(&server, path, other).await.0, 409);
    assert_eq!(post(&server, path, json!({ "producer": "me" })).await.0, 422);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_made_is_named_where_there_is_no_memory_to_answer_with_it() {
    let server = OverDisk::start().await;
    // Replies that nobody reads hold all the memory, and one of them is the one that may go beyond.
    let unread = [BODIES_BYTES + FREE_BYTES, 2 * FREE_BYTES].map(|bytes| vec![0; bytes]);
    let [most, beyond] = unread.map(|bytes| server.app.until_sent(bytes));
    let unread = (most.await.unwrap(), beyond.await.unwrap());
    let hash = server.propose_unanswered().await;
    drop(unread);
    server.has_block(&hash).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_made_is_named_though_it_cannot_be_read_again() {
    let server = OverDisk::start().await;
    server.disk.refuse(Call::Read, "blocks/", Errno::IO, 0, usize::MAX);
    let hash = server.propose_unanswered().await;
    server.disk.repair();
    server.has_block(&hash).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_that_takes_several_commits_each_transaction_says_what_became_of_it() {
    let server = OverDisk::start().await;
    let large = (0..20).map(|n| {
        let mut large = transaction(&format!("large-{n}"));
        large["data"] = json!({ "filler": "x".repeat(900 << 10) });
        large
    });
    let batch = json!({ "transactions": large.collect::<Vec<_>>() }).to_string();
    let send = || ask(&server.base, "POST", "/api/v1/transactions/batch", Some(&batch));
    server.disk.refuse(Call::Append, "log/", Errno::NOSPC, 1, usize::MAX);
    let (status, some) = send().await;
    assert_eq!(status, 202, "{some}");
    let done = some["submitted_count"].as_u64().unwrap();
    assert!(0 < done && done < 20 && some["failed_count"] == 20 - done, "{some}");
    for (error, index) in some["errors"].as_array().unwrap().iter().zip(done..) {
        assert_eq!((&error["index"], &error["code"]), (&index.into(), &"full".into()), "{error}");
    }
    let pool = facts::pool(server.app.opened().unwrap().vault.index()).unwrap();
    assert_eq!(pool.transactions, done);
    server.disk.repair();
    let (status, all) = send().await;
    assert_eq!((status, &all["submitted_count"]), (202, &20.into()), "{all}");
    assert_eq!(send().await, (202, all), "they are found again");
}

/// The routes over a disk that fails.
struct OverDisk {
    app: App,
    disk: FaultyDisk,
    base: String,
}

impl OverDisk {
    async fn start() -> Self {
        let disk = FaultyDisk::over(Arc::new(SimulatedDisk::new()));
        let parts = UnopenedDrawers {
            disk: Arc::new(disk.clone()),
            blocks: Arc::new(disk.clone()),
            store: [7; 16],
            sealer: Arc::new(Sealer::new(None)),
            index: Arc::new(MemoryIndex::new()),
            key: SigningKey::from_seed([3; 32]),
            accept_loss: false,
            block_file_bytes: 1 << 20,
            kind: ManagerKind::default(),
        };
        let shutdown = Shutdown::new();
        let app = App::new(&shutdown, Clock::system(), Duration::from_secs(3_600), 0);
        app.set_opened(over(parts, Clock::system().now()).unwrap());
        let config = Config::load(&Default::default(), None).unwrap().config;
        let probed = app.clone();
        let porch = Porch::new(SERVICE, &config.common, move || probed.report());
        let router = porch.around(routes(app.clone()));
        let listening = Listening::bind(SERVICE, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let base = format!("http://{}", listening.address());
        // It ends with the runtime of its test.
        tokio::spawn(async move { listening.serve(router, &shutdown).await });
        Self { app, disk, base }
    }

    /// Proposes a block that is made and cannot be answered with. The hash that is said of it.
    async fn propose_unanswered(&self) -> Value {
        let mut large = transaction("large");
        large["data"] = json!({ "filler": "x".repeat(4 * FREE_BYTES) });
        let wish = json!({ "transactions": [large] }).to_string();
        let (status, refused) =
            ask(&self.base, "POST", "/api/v1/blocks/propose", Some(&wish)).await;
        assert_eq!((status, &refused["code"]), (500, &"internal".into()), "{refused}");
        let details = &refused["error"]["details"];
        assert_eq!(details["index"], 0, "{refused}");
        assert!(refused["detail"].as_str().unwrap().starts_with("block 0 was made"), "{refused}");
        details["hash"].clone()
    }

    async fn has_block(&self, hash: &Value) {
        let (status, block) = ask(&self.base, "GET", "/api/v1/blocks/0", None).await;
        assert_eq!((status, &block["hash"]), (200, hash));
        assert_eq!(block["transactions"][0]["id"], "large");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_root_is_anchored_once_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_sealing(folder.path(), LATER).await;
    let path = "/api/v1/anchoring/session";
    let wanted = json!({ "session_id": "s-1", "merkle_root": root('a'), "chunk_count": 3,
                         "metadata": {"host": "h"}, "user_signature": "sig" });
    assert_eq!(server.get("/api/v1/anchoring/session/s-1").await.0, 404);
    let (status, first) = post(&server, path, wanted.clone()).await;
    assert_eq!((status, &first["status"]), (202, &"processing".into()), "{first}");
    assert!(first["estimated_confirmation_time"].is_string());
    assert_eq!(post(&server, path, wanted.clone()).await, (200, first.clone()));
    // Other words about the same root find it too; another root is a conflict.
    let less = json!({ "session_id": "s-1", "merkle_root": root('a') });
    assert_eq!(post(&server, path, less.clone()).await, (200, first.clone()));
    let other = json!({ "session_id": "s-1", "merkle_root": root('b') });
    let (status, refused) = post(&server, path, other.clone()).await;
    assert_eq!((status, &refused["error"]["details"]["merkle_root"]), (409, &root('a').into()));
    let verify = |root: String, path: Option<Value>| {
        let mut wanted = json!({ "session_id": "s-1", "merkle_root": root });
        wanted.as_object_mut().unwrap().extend(path.map(|path| ("proof_path".to_owned(), path)));
        post(&server, "/api/v1/anchoring/verify", wanted)
    };
    assert_eq!(verify(root('a'), None).await.1["verified"], false, "it is in no block yet");

    let more = json!({ "transactions": [transaction("x"), transaction("y")] });
    post(&server, "/api/v1/blocks/propose", more).await;
    let (_, found) = server.get("/api/v1/anchoring/session/s-1").await;
    assert_eq!((&found["status"], &found["block_height"]), (&"confirmed".into(), &0.into()));
    assert_eq!(found["merkle_root"], root('a'));
    assert!(found["confirmed_at"].is_string() && found["estimated_confirmation_time"].is_null());
    let (_, verified) = verify(root('a'), None).await;
    assert_eq!(
        (&verified["verified"], &verified["merkle_proof_valid"]),
        (&true.into(), &true.into())
    );
    assert_eq!(verified["transaction_id"], first["transaction_id"]);
    let id = first["transaction_id"].as_str().unwrap();
    let (_, proof) = server.get(&format!("/api/v1/transactions/{id}/proof")).await;
    assert_eq!(verify(root('a'), Some(proof["path"].clone())).await.1["verified"], true);
    let (_, wrong) = verify(root('a'), Some(json!([root('0'), root('1')]))).await;
    assert_eq!((&wrong["verified"], &wrong["merkle_proof_valid"]), (&false.into(), &false.into()));
    assert_eq!(verify(root('b'), None).await.1["verified"], false);
    assert_eq!(post(&server, path, less).await.0, 200);
    assert_eq!(post(&server, path, other).await.0, 409);

    // What a recorder anchored under an id of its own is found by its session too.
    let foreign = json!({ "id": "anchor:1", "type": "session_anchor", "session_id": "s-2",
                          "merkle_root": root('c'), "timestamp": "2026-01-01T00:00:00Z" });
    post(&server, "/api/v1/blocks/propose", json!({ "transactions": [foreign] })).await;
    let (_, found) = server.get("/api/v1/anchoring/session/s-2").await;
    assert_eq!(
        (&found["transaction_id"], &found["merkle_root"]),
        (&"anchor:1".into(), &root('c').into())
    );
    let other = json!({ "session_id": "s-2", "merkle_root": root('d') });
    assert_eq!(post(&server, path, other).await.0, 409);

    for (wrong, named) in [
        (json!({ "merkle_root": root('a') }), "session_id"),
        (json!({ "session_id": "s 1", "merkle_root": root('a') }), "session_id"),
        (json!({ "session_id": "s-3", "merkle_root": "abc" }), "merkle_root"),
        (
            json!({ "session_id": "s-3", "merkle_root": root('a'), "chunk_count": -1 }),
            "chunk_count",
        ),
        (json!({ "session_id": "s-3", "merkle_root": root('a'), "colour": 1 }), "colour"),
        (json!({ "session_id": "s-3", "merkle_root": root('a'), "timestamp": "soon" }), "soon"),
    ] {
        let (status, refused) = post(&server, path, wrong).await;
        assert_eq!(status, 422, "{named}");
        assert!(refused["detail"].as_str().unwrap().contains(named), "{refused}");
    }
    server.stop().await;
}
