//! A block when it is asked for.

use lucid_http::budget::{BODIES_BYTES, FREE_BYTES};
use lucid_store::files::disk::faulty::Call;
use rustix::io::Errno;
use serde_json::json;

use crate::over_disk::OverDisk;
use crate::service::{LATER, Server, post, transaction};

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_made_when_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_producing(folder.path(), LATER).await;
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
