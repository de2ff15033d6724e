//! Blocks in a row, as followers read them.

use lucid_core::record::{Head, decode_body};

use crate::service::{Server, anchor};

/// What stands in a reply, each behind its length.
fn framed(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (one, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        found.push(one);
        rest = behind;
    }
    assert!(rest.is_empty(), "a frame is cut short");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_come_in_a_row_from_a_height_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    for n in 0..3 {
        server.chain(&anchor(n)).await;
    }
    let get = |path: &'static str| {
        let url = format!("{}{path}", server.url());
        async move {
            let ask = move || {
                let client = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]);
                let reply = client.build().unwrap().get(url).send().unwrap();
                (reply.status().as_u16(), reply.bytes().unwrap())
            };
            tokio::task::spawn_blocking(ask).await.unwrap()
        }
    };
    let (status, heads) = get("/api/v1/blocks/heads?from=1").await;
    assert_eq!(status, 200);
    let heights: Vec<u64> =
        framed(&heads).into_iter().map(|head| Head::decode(head).unwrap().entry.index).collect();
    assert_eq!(heights, [1, 2]);
    let (_, bodies) = get("/api/v1/blocks/bodies?from=0&limit=2").await;
    let bodies = framed(&bodies);
    assert_eq!(bodies.len(), 2);
    assert!(bodies.iter().all(|body| decode_body(body).unwrap().len() == 1));
    assert_eq!(get("/api/v1/blocks/heads?from=3").await, (200, Default::default()));
    for wrong in ["/api/v1/blocks/heads?from=0&limit=0", "/api/v1/blocks/bodies?from=x"] {
        assert_eq!(get(wrong).await.0, 422, "{wrong}");
    }
    server.stop().await;
}
