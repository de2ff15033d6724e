//! Live recordings: times, spans of time, many writers at once, and writers that are gone.

use lucid_api::client::Append;
use lucid_api::v1::proofs::ProofQuery;
use lucid_api::v1::sessions::{SealSession, SessionStatus, SessionsQuery};
use lucid_core::check::{CheckVerdict, StepOutcome, Trust, check};

use crate::engine::Engine;
use crate::sample::noise;
use crate::service::{Service, bytes};

fn timed(offset: u64, time: &str) -> Append {
    Append { offset, time: Some(time.into()), ..Append::default() }
}

#[test]
fn a_span_of_time_is_proved_offline() {
    let (place, engine) = (tempfile::tempdir().unwrap(), Engine::start());
    let service = Service::start_with(place.path(), &[("BLOCK_MANAGER_URL", &engine.url())]);
    service.begin("s");
    let mut offset = 0;
    for (time, piece) in [
        ("2026-03-01T14:00:00Z", "before "),
        ("2026-03-01T14:03:10Z", "wanted "),
        ("2026-03-01T15:06:59+01:00", "this too "),
        ("2026-03-01T14:07:00Z", "after"),
    ] {
        offset = service.client.append("s", &timed(offset, time), piece).unwrap().offset;
    }
    service.client.seal("s", &SealSession::default()).unwrap();
    let shown = service.wait_anchored("s");
    assert_eq!((shown.content_bytes, shown.end.as_deref()), (28, Some("eof")));
    assert!(shown.total_bytes > 28);
    let anchor = shown.anchor.unwrap();
    let trust = [anchor.trust.block.unwrap(), anchor.trust.recorder.unwrap()]
        .map(|key| Trust::Key(key.parse().unwrap()));
    let span = |from: &str, to: &str| {
        let query = ProofQuery::Time { from: from.into(), to: to.into() };
        service.client.proof("s", &query).unwrap()
    };
    let bundle = span("2026-03-01T14:03:00Z", "2026-03-01T14:07:00Z");
    let report = check(&bundle, Some(&mut &b"wanted this too "[..]), &trust).unwrap();
    assert_eq!(report.verdict, CheckVerdict::Proved, "{report:?}");
    let time = report.steps.iter().find(|step| step.name == "time").unwrap();
    assert_eq!(time.outcome, StepOutcome::Proved);
    assert!(time.sentence.contains("14:03:00") && time.sentence.contains("14:07:00"), "{time:?}");
    for other in ["before wanted this too ", "wanted ", "wanted this too after"] {
        let report = check(&bundle, Some(&mut other.as_bytes()), &trust).unwrap();
        assert_eq!(report.verdict.exit_code(), 1, "{other}");
    }
    // That nothing was recorded is proved, too.
    let quiet = span("2026-03-01T14:04:00Z", "2026-03-01T14:06:00Z");
    let report = check(&quiet, Some(&mut &b""[..]), &trust).unwrap();
    assert_eq!(report.verdict, CheckVerdict::Proved, "{report:?}");
    assert_eq!(bytes(service.client.data("s", None)), b"before wanted this too after");
}

#[test]
fn a_hundred_writers_of_keystrokes_each_find_their_own() {
    const WRITERS: usize = 100;
    const STROKES: usize = 20;
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(place.path());
    let typed = |writer: usize| noise(writer as u64, STROKES * 3);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let client = service.client.clone();
            let begin = || service.begin(&format!("s-{writer}"));
            begin();
            scope.spawn(move || {
                let name = format!("s-{writer}");
                for (number, stroke) in typed(writer).chunks(3).enumerate() {
                    let how = Append { offset: number as u64 * 3, ..Append::default() };
                    let done = client.append(&name, &how, stroke.to_vec()).unwrap();
                    assert_eq!(done.offset, number as u64 * 3 + 3);
                }
            });
        }
    });
    service.stop();
    let service = Service::start(place.path());
    for writer in 0..WRITERS {
        let name = format!("s-{writer}");
        assert_eq!(bytes(service.client.data(&name, None)), typed(writer), "{name}");
    }
}

#[test]
fn a_writer_that_is_gone_leaves_an_unterminated_session() {
    let place = tempfile::tempdir().unwrap();
    let settings = [("DATA_CHAIN_SESSION_TIMEOUT_SECONDS", "1")];
    let service = Service::start_with(place.path(), &settings);
    for name in ["goes-on", "gone", "quiet"] {
        service.begin(name);
    }
    for name in ["goes-on", "gone"] {
        service.client.append(name, &Append::default(), "bytes").unwrap();
    }
    let status = |name: &str| service.client.session(name).unwrap().status;
    service.wait(|| (status("gone") == SessionStatus::Unterminated).then_some(()));
    assert_eq!(status("quiet"), SessionStatus::Active, "it was never appended to");
    let query =
        SessionsQuery { status: Some(SessionStatus::Unterminated), ..SessionsQuery::default() };
    let listed = service.client.list_sessions(&query).unwrap();
    assert_eq!(listed.items.len(), 2);
    // It survives a restart of the service.
    service.stop();
    let service = Service::start_with(place.path(), &settings);
    let status = |name: &str| service.client.session(name).unwrap().status;
    assert_eq!(status("goes-on"), SessionStatus::Unterminated);
    let more = Append { offset: 5, ..Append::default() };
    service.client.append("goes-on", &more, " and more").unwrap();
    assert_eq!(status("goes-on"), SessionStatus::Active);
    let how = SealSession { unterminated: true, ..SealSession::default() };
    service.client.seal("gone", &how).unwrap();
    let shown = service.client.session("gone").unwrap();
    assert_eq!(shown.status, SessionStatus::Sealed);
    assert_eq!(shown.end.as_deref(), Some("unterminated"));
    assert_eq!(shown.ended_at, shown.appended_at);
    let manifest = service.client.manifest("gone", &Default::default()).unwrap();
    assert_eq!(manifest.end_marker.as_deref(), Some("unterminated"));
}
