//! Roots of sessions.

use serde_json::{Value, json};

use crate::service::{LATER, Server, post, transaction};

fn root(digit: char) -> String {
    std::iter::repeat_n(digit, 64).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_root_is_anchored_once_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_producing(folder.path(), LATER).await;
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
