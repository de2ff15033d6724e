//! The service's clock, turned while it runs: back, ahead, before 1970, to 2099, in the middle of a stream.

use lucid_core::check::{Outcome, Report, check};
use lucid_core::time::Timestamp;
use lucid_store::clock::Clock;

use crate::service::Service;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn append(service: &Service, offset: u64, time: Option<&str>) {
    let request = service.http.post(service.url("/api/v1/sessions/s/append"));
    let request = request
        .header("content-type", "application/octet-stream")
        .header("upload-offset", offset.to_string());
    let request = match time {
        Some(time) => request.header("lucid-time", time),
        None => request,
    };
    let reply = request.body("bytes").send().unwrap();
    assert_eq!(reply.status(), 200, "{}", reply.text().unwrap());
}

fn checked(service: &Service, from: &str, to: &str) -> Report {
    let reply = service.get(&format!("/api/v1/sessions/s/proof?from={from}&to={to}"));
    assert_eq!(reply.status(), 200);
    check(&reply.bytes().unwrap(), None, &[]).unwrap()
}

#[test]
fn a_stream_over_which_the_clock_moves_proves_no_absence_that_was_none() {
    for (wrong, is_seen) in [
        ("2099-01-01T00:00:00Z", true),
        ("1969-07-20T20:17:00Z", true),
        ("2026-01-27T08:00:00Z", true),
        ("2026-01-27T10:00:20Z", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(at("2026-01-27T10:00:00Z"));
        let service = Service::start_by(&clock, folder.path());
        let began = service.begin("s");
        assert_eq!(began.started_at, "2026-01-27T10:00:00.000000Z");
        append(&service, 0, Some("2026-01-27T10:00:00Z"));
        // What comes without a time has that of its coming.
        clock.turn(at("2026-01-27T10:00:10Z"));
        append(&service, 5, None);
        clock.turn(at(wrong));
        append(&service, 10, None);
        clock.turn(at("2026-01-27T10:00:30Z"));
        append(&service, 15, None);
        clock.turn(at("2026-01-27T10:00:40Z"));
        service.client.seal("s", &Default::default()).unwrap();
        let time = |from: &str, to: &str| {
            let report = checked(&service, from, to);
            report.steps.into_iter().find(|step| step.name == "time").unwrap()
        };
        // Bytes came in it, and never is their absence proved.
        let there = time("2026-01-27T10:00:25Z", "2026-01-27T10:00:35Z");
        assert!(!there.sentence.contains("nothing"), "{wrong}: {}", there.sentence);
        let wanted = if is_seen { Outcome::NotProved } else { Outcome::Proved };
        assert_eq!(there.outcome, wanted, "{wrong}: {}", there.sentence);
        assert_eq!(there.sentence.contains("time not known"), is_seen);
        if !is_seen {
            let quiet = time("2026-01-27T10:00:12Z", "2026-01-27T10:00:15Z");
            assert_eq!(quiet.outcome, Outcome::Proved);
            assert!(quiet.sentence.contains("nothing"), "{}", quiet.sentence);
        }
    }
}

#[test]
fn a_clock_that_is_turned_before_1970_stops_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(at("2026-01-27T10:00:00Z"));
    let service = Service::start_by(&clock, folder.path());
    service.begin("s");
    append(&service, 0, None);
    clock.turn(at("1969-07-20T20:17:00Z"));
    assert_eq!(service.get("/api/v1/sessions/s").status(), 200);
    assert_eq!(service.get("/api/v1/sessions").status(), 200);
    let status = service.get("/api/v1/status");
    assert_eq!(status.status(), 200);
}
