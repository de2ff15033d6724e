//! Trees over chunks.

use lucid_core::digest::{ChunkId, SessionKey};
use lucid_core::session::{Leaf, Salt};
use lucid_core::tree::{Blake3Tree, root};
use serde_json::{Value, json};

use super::chunk::body;
use crate::sample::{id, noise};
use crate::service::{Service, problem};

fn chunks(service: &Service, count: u64) -> Vec<Vec<u8>> {
    let chunks: Vec<Vec<u8>> = (0..count).map(|n| noise(n, 700 + n as usize)).collect();
    service.client.put_chunks(chunks.iter().map(Vec::as_slice)).unwrap();
    chunks
}

fn names(chunks: &[Vec<u8>]) -> Value {
    chunks.iter().map(|chunk| id(chunk).to_string()).collect()
}

/// What anyone who has the chunks computes.
fn expected(chunks: &[Vec<u8>]) -> String {
    let key = SessionKey::from(blake3::hash(b""));
    let (mut offset, mut leaves) = (0, Vec::new());
    for (index, chunk) in (0..).zip(chunks) {
        let (length, chunk_id): (u32, ChunkId) = (chunk.len() as u32, id(chunk));
        let leaf = Leaf { index, offset, length, chunk_id, salt: Salt::PUBLIC };
        leaves.push(*leaf.hash(&key).as_bytes());
        offset += u64::from(length);
    }
    root::<Blake3Tree>(&leaves).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_leaf_of_every_tree_is_proved() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let all = chunks(&service, 9);
    for count in [1, 2, 3, 5, 8, 9] {
        let wanted = json!({ "chunk_ids": names(&all[..count]) });
        let built = body(service.post("/api/v1/merkle/build", wanted));
        assert_eq!(built["root_hash"], expected(&all[..count]));
        assert_eq!(built["leaf_count"], count);
        let path = format!("/api/v1/merkle/{}", built["root_hash"].as_str().unwrap());
        let shown = body(service.get(&format!("{path}?include_leaves=true")));
        assert_eq!(shown["leaves"].as_array().unwrap().len(), count);
        for leaf in 0..count {
            let proof = body(service.get(&format!("{path}/proof/{leaf}")));
            assert_eq!(proof["leaf_hash"], shown["leaves"][leaf]);
            let verify = |change: &dyn Fn(&mut Value)| {
                let mut given = json!({
                    "root_hash": proof["root_hash"], "leaf_hash": proof["leaf_hash"],
                    "proof_path": proof["proof_hashes"], "leaf_index": leaf, "leaf_count": count,
                });
                change(&mut given);
                body(service.post("/api/v1/merkle/verify", given))["verified"] == true
            };
            assert!(verify(&|_| {}));
            assert!(verify(&|given| given["proof_directions"] = proof["proof_directions"].clone()));
            assert!(verify(&|given| {
                given["proof_directions"] = proof["proof_directions"].clone();
                given.as_object_mut().unwrap().remove("leaf_count");
            }));
            let without =
                verify(&|given| drop(given.as_object_mut().unwrap().remove("leaf_count")));
            assert!(without || !count.is_power_of_two(), "a full tree needs no count");
            assert!(!verify(&|given| given["leaf_hash"] = "00".repeat(32).into()));
            assert!(!verify(&|given| given["leaf_index"] = json!(leaf + 1)));
            assert!(!verify(&|given| given["root_hash"] = "11".repeat(32).into()));
        }
    }
}

#[test]
fn trees_are_bound_to_sessions_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let parts: Vec<Vec<u8>> = (0..5).map(|n| noise(n, 1_000)).collect();
    service.add("s", 0, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let sealed = service.client.seal("s", &Default::default()).unwrap();
    let wanted = json!({ "session_id": "s", "chunk_hashes": names(&parts) });
    let built = body(service.post("/api/v1/merkle/build", wanted.clone()));
    assert_eq!(built["root_hash"], sealed.merkle_root.to_string(), "the session's own root");
    assert_eq!((&built["tree_depth"], &built["session_id"]), (&json!(3), &json!("s")));
    assert_eq!(built["algorithm"], "lucid-session-tree/v1");
    let alone = body(service.post("/api/v1/merkle/build", json!({ "chunk_ids": names(&parts) })));
    assert_ne!(alone["root_hash"], built["root_hash"]);
    assert_eq!(alone["root_hash"], expected(&parts));
    service.stop();
    let service = Service::start(folder.path());
    let path = format!("/api/v1/merkle/{}", sealed.merkle_root);
    let mut shown = body(service.get(&path));
    assert_eq!(shown.get("leaves"), None);
    assert_eq!(shown, built);
    shown = body(service.post("/api/v1/merkle/build", wanted));
    assert_eq!(shown, built, "built again it is the same, and as old");
}

#[test]
fn what_makes_no_tree_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let known = chunks(&service, 1);
    let build = |wanted: Value| problem(service.post("/api/v1/merkle/build", wanted));
    assert_eq!(build(json!({})).0, 422, "no leaves");
    let (x, y) = (id(b"x").to_string(), "a-name".to_owned());
    let (status, _, document) = build(json!({ "chunk_ids": [x, names(&known)[0], y] }));
    assert_eq!(status, 404);
    assert_eq!(document["error"]["details"]["unknown"], json!([x, y]));
    let twice = json!({ "chunk_ids": names(&known), "chunk_hashes": names(&known) });
    assert_eq!(build(twice).0, 422);
    assert_eq!(build(json!({ "chunk_ids": names(&known), "session_id": "no id" })).0, 422);
    let nothing = "00".repeat(32);
    assert_eq!(problem(service.get(&format!("/api/v1/merkle/{nothing}"))).0, 404);
    assert_eq!(problem(service.get(&format!("/api/v1/merkle/{nothing}/proof/0"))).0, 404);
    assert_eq!(problem(service.get("/api/v1/merkle/abc")).0, 422);
    let built = body(service.post("/api/v1/merkle/build", json!({ "chunk_ids": names(&known) })));
    let root = built["root_hash"].as_str().unwrap();
    assert_eq!(problem(service.get(&format!("/api/v1/merkle/{root}/proof/1"))).0, 422);
    let verify = |path: Value| {
        let given = json!({ "root_hash": root, "leaf_hash": root, "proof_path": path });
        problem(service.post("/api/v1/merkle/verify", given)).0
    };
    assert_eq!(verify(json!(["zz"])), 422);
    assert_eq!(verify(json!(vec![nothing; 21])), 422);
}
