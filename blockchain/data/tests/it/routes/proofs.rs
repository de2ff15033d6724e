//! Proof bundles, checked as an auditor would: offline, with two trusted keys.

use std::time::Duration;

use lucid_api::problem::ErrorCode;
use lucid_api::v1::proofs::ProofQuery;
use lucid_api::v1::transactions::TransactionProof;
use lucid_core::anchor::Anchor;
use lucid_core::block_merkle::verify_path;
use lucid_core::check::{CheckVerdict, Trust, check};
use lucid_core::claim::Signed;
use lucid_core::digest::SessionRoot;
use lucid_core::session::{Leaf, Salt, session_key};
use lucid_core::sign::PublicKey;
use lucid_core::transaction::Transaction;
use lucid_core::tree::{Blake3Tree, root_from_inclusion};
use lucid_http::budget::{BODIES_BYTES, Budget, FREE_BYTES, HeldMemory};

use crate::engine::Engine;
use crate::sample::{folder, id, noise};
use crate::service::{Service, problem};

#[test]
fn every_part_of_an_anchored_session_is_proved_offline() {
    let (place, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    let service = Service::start_with(place.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
    let big = noise(1, 300_000);
    let tree = folder(&[(b"a", b"first"), (b"d/big", &big), (b"e", b"last")]);
    service.archive("s", &tree, 70_000);
    let anchor = service.wait_anchored("s").anchor.unwrap();
    let keys = [anchor.trust.block.unwrap(), anchor.trust.recorder.unwrap()];
    let trust = keys.map(|key| Trust::Key(key.parse::<PublicKey>().unwrap()));

    let prove = |query: &ProofQuery| service.client.proof("s", query).unwrap();
    let content = &tree.content;
    let parts: Vec<(ProofQuery, &[u8])> = vec![
        (ProofQuery::Session, content),
        (ProofQuery::Chunk(1), &content[70_000..140_000]),
        (ProofQuery::Range { first: 69_999, last: 140_000 }, &content[69_999..=140_000]),
        (ProofQuery::Range { first: 0, last: 0 }, &content[..1]),
        (ProofQuery::Path(b"d/big".to_vec()), &big),
        (ProofQuery::Path(b"e".to_vec()), b"last"),
    ];
    for (query, mut bytes) in parts {
        let bundle = prove(&query);
        let report = check(&bundle, Some(&mut bytes), &trust).unwrap();
        assert_eq!(report.verdict, CheckVerdict::Proved, "{query:?}: {report:?}");
        let mut wrong = &b"something else"[..];
        let report = check(&bundle, Some(&mut wrong), &trust).unwrap();
        assert!(matches!(report.verdict, CheckVerdict::Refused { .. }), "{query:?}");
        let report = check(&bundle, None, &[]).unwrap();
        assert_eq!(report.verdict, CheckVerdict::OriginOrRecorderNotProved);
    }
}

#[test]
fn one_chunk_is_proved_in_values() {
    let (place, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    let service = Service::start_with(place.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
    service.begin("s");
    let content = noise(1, 1_000);
    let code = || service.client.chunk_proof("s", 0).unwrap_err().code();
    service.add("s", 0, &content.chunks(200).collect::<Vec<_>>());
    assert_eq!(code(), Some(ErrorCode::Unsealed), "it is not sealed");
    let root = service.client.seal("s", &Default::default()).unwrap().merkle_root;
    service.wait_anchored("s");
    for index in 0..5 {
        let proof = service.client.chunk_proof("s", index).unwrap();
        let chunk = &proof.chunk;
        let bytes = &content[chunk.offset as usize..][..chunk.length as usize];
        assert_eq!(chunk.chunk_id, id(bytes));
        let bytes_of = |hex: &str| *hex.parse::<SessionRoot>().unwrap().as_bytes();
        let leaf = Leaf {
            index,
            offset: chunk.offset,
            length: chunk.length,
            chunk_id: chunk.chunk_id,
            salt: Salt::new(bytes_of(&chunk.salt)),
        };
        let leaf = leaf.hash(&session_key(&"s".parse().unwrap()));
        let way = &proof.merkle_proof;
        let path: Vec<_> = way.proof_hashes.iter().map(|hash| bytes_of(hash)).collect();
        let found =
            root_from_inclusion::<Blake3Tree>(leaf.as_bytes(), index, way.leaf_count, &path);
        assert_eq!(found, Some(*root.as_bytes()));
        let anchor = proof.anchor.unwrap();
        let transaction = Transaction::parse(anchor.tx_proof.transaction.as_bytes()).unwrap();
        assert_eq!(Signed::<Anchor>::parse(&transaction).unwrap().claim.merkle_root, root);
        assert_eq!(anchor.block_hash, anchor.tx_proof.block_hash);
        let TransactionProof { position, count, path, merkle_root, .. } = anchor.tx_proof;
        let found = verify_path(transaction.hash(), position as usize, count as usize, &path);
        assert_eq!(found, Some(merkle_root));
    }
    assert_eq!(service.client.chunk_proof("s", 5).unwrap_err().code(), Some(ErrorCode::NotFound));
}

#[test]
fn what_cannot_be_proved_is_refused_with_a_sentence() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    service.begin("s");
    service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    let code = |query: &ProofQuery| service.client.proof("s", query).unwrap_err().code();
    assert_eq!(code(&ProofQuery::Session), Some(ErrorCode::Unsealed), "it is not sealed");
    service.client.seal("s", &Default::default()).unwrap();
    for query in [
        ProofQuery::Chunk(1),
        ProofQuery::Range { first: 0, last: 5 },
        ProofQuery::Range { first: 0, last: u64::MAX },
        ProofQuery::Time { from: "soon".into(), to: "2027-01-01".into() },
    ] {
        assert_eq!(code(&query), Some(ErrorCode::Invalid), "{query:?}");
    }
    assert_eq!(code(&ProofQuery::Path(b"a".to_vec())), Some(ErrorCode::Kind));
    let span = ProofQuery::Time { from: "2026-01-01".into(), to: "2027-01-01".into() };
    assert_eq!(code(&span), Some(ErrorCode::Kind), "it was appended to without times");
    let (status, ..) = problem(service.get("/api/v1/sessions/s/proof?chunk=0&path=a"));
    assert_eq!(status, 422);
    assert!(service.client.proof("none", &ProofQuery::Session).unwrap_err().is_not_found());
    // Not anchored is not refused: the bundle says so itself.
    let bundle = service.client.proof("s", &ProofQuery::Session).unwrap();
    let report = check(&bundle, Some(&mut &b"bytes"[..]), &[]).unwrap();
    assert_eq!(report.verdict, CheckVerdict::OriginOrRecorderNotProved);
}

/// Two callers who take all the memory there is for something, and more.
fn exhaust(service: &Service, budget: &Budget) -> [HeldMemory; 2] {
    [BODIES_BYTES + FREE_BYTES, BODIES_BYTES].map(|bytes| service.take(budget, bytes))
}

#[test]
fn a_proof_is_made_once_there_is_memory_for_it() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    service.begin("s");
    let content = noise(1, 40_000);
    service.add("s", 0, &content.chunks(100).collect::<Vec<_>>());
    service.client.seal("s", &Default::default()).unwrap();
    let ids: Vec<String> = content.chunks(100).map(|chunk| id(chunk).to_string()).collect();
    let tree = service.post("/api/v1/merkle/build", serde_json::json!({ "chunk_ids": ids }));
    let tree: serde_json::Value = tree.json().unwrap();
    let tree =
        format!("/api/v1/merkle/{}?include_leaves=true", tree["root_hash"].as_str().unwrap());
    let app = service.app();
    for (path, budget) in [
        (tree.as_str(), &app.making),
        // 400 leaves are counted before any of them is read.
        ("/api/v1/sessions/s/proof", &app.making),
        // What is made counts until it is sent.
        ("/api/v1/sessions/s/proof", &app.replies),
    ] {
        let held = exhaust(&service, budget);
        std::thread::scope(|scope| {
            let (told, tells) = std::sync::mpsc::channel();
            let asked = &service;
            scope.spawn(move || told.send(asked.get(path).status().as_u16()));
            let early = tells.recv_timeout(Duration::from_millis(500));
            assert!(early.is_err(), "{path} is answered without memory for it: {early:?}");
            // Small ones need none.
            assert_eq!(service.get("/api/v1/sessions/s/proof?chunk=3").status(), 200);
            drop(held);
            assert_eq!(tells.recv_timeout(Duration::from_secs(8)), Ok(200));
        });
    }
}
