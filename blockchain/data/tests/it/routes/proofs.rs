//! Proof bundles, checked as an auditor would: offline, with two trusted keys.

use lucid_api::problem::ErrorCode;
use lucid_api::v1::proofs::ProofQuery;
use lucid_core::check::{Trust, Verdict, check};
use lucid_core::sign::PublicKey;

use crate::engine::Engine;
use crate::sample::{folder, noise};
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
        assert_eq!(report.verdict, Verdict::Proved, "{query:?}: {report:?}");
        let mut wrong = &b"something else"[..];
        let report = check(&bundle, Some(&mut wrong), &trust).unwrap();
        assert!(matches!(report.verdict, Verdict::Refused { .. }), "{query:?}");
        let report = check(&bundle, None, &[]).unwrap();
        assert_eq!(report.verdict, Verdict::OriginOrRecorderNotProved);
    }
}

#[test]
fn what_cannot_be_proved_is_refused_with_a_sentence() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    service.begin("s");
    service.client.append("s", &Default::default(), b"bytes".to_vec()).unwrap();
    let code = |query: &ProofQuery| service.client.proof("s", query).unwrap_err().code();
    assert_eq!(code(&ProofQuery::Session), Some(ErrorCode::Conflict), "it is not sealed");
    service.client.seal("s", &Default::default()).unwrap();
    for query in [
        ProofQuery::Chunk(1),
        ProofQuery::Range { first: 0, last: 5 },
        ProofQuery::Range { first: 0, last: u64::MAX },
        ProofQuery::Time { from: "soon".into(), to: "2027-01-01".into() },
    ] {
        assert_eq!(code(&query), Some(ErrorCode::Invalid), "{query:?}");
    }
    assert_eq!(code(&ProofQuery::Path(b"a".to_vec())), Some(ErrorCode::Conflict));
    let span = ProofQuery::Time { from: "2026-01-01".into(), to: "2027-01-01".into() };
    assert_eq!(code(&span), Some(ErrorCode::Conflict), "it was appended to without times");
    let (status, ..) = problem(service.get("/api/v1/sessions/s/proof?chunk=0&path=a"));
    assert_eq!(status, 422);
    assert!(service.client.proof("none", &ProofQuery::Session).unwrap_err().is_not_found());
    // Not anchored is not refused: the bundle says so itself.
    let bundle = service.client.proof("s", &ProofQuery::Session).unwrap();
    let report = check(&bundle, Some(&mut &b"bytes"[..]), &[]).unwrap();
    assert_eq!(report.verdict, Verdict::OriginOrRecorderNotProved);
}
