//! The service's clock, turned while it runs: back, ahead, before 1970, to 2099, in the middle of a stream.

use std::io::Write as _;
use std::time::Duration;

use lucid_api::client::Append;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::sessions::{CLOCK_BACK_SECONDS_MAX, SealSession};
use lucid_core::check::{CheckReport, StepOutcome, check};
use lucid_core::time::Timestamp;
use lucid_store::clock::Clock;

use crate::service::{Service, bytes};

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

fn checked(service: &Service, from: &str, to: &str) -> CheckReport {
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
        let wanted = if is_seen { StepOutcome::NotProved } else { StepOutcome::Proved };
        assert_eq!(there.outcome, wanted, "{wrong}: {}", there.sentence);
        assert_eq!(there.sentence.contains("time not known"), is_seen);
        if !is_seen {
            let quiet = time("2026-01-27T10:00:12Z", "2026-01-27T10:00:15Z");
            assert_eq!(quiet.outcome, StepOutcome::Proved);
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

/// The step of a proof of this span that says when its bytes came.
fn time(service: &Service, from: &str, to: &str) -> (StepOutcome, String) {
    let report = checked(service, from, to);
    let step = report.steps.into_iter().find(|step| step.name == "time").unwrap();
    (step.outcome, step.sentence)
}

#[test]
fn a_step_back_after_a_pause_proves_no_absence_whoever_saw_it() {
    for whose in ["ours", "the recorder's", "ours behind the last bytes", "the recorder's then"] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(at("2026-01-27T10:00:00Z"));
        let service = Service::start_by(&clock, folder.path());
        service.begin("s");
        append(&service, 0, Some("2026-01-27T10:00:00Z"));
        clock.pass(Duration::from_secs(10));
        append(&service, 5, None);
        // Ten minutes without bytes, in which a clock goes back by five.
        clock.pass(Duration::from_secs(600));
        let mut how = SealSession::default();
        if whose.starts_with("ours") {
            clock.turn(at("2026-01-27T10:05:10Z"));
        }
        match whose {
            "ours" => append(&service, 10, None),
            "the recorder's" => {
                let time = Some("2026-01-27T10:05:10Z".to_owned());
                let told = Append { offset: 10, time, clock_back: Some(300), digest: None };
                service.client.append("s", &told, "bytes").unwrap();
            }
            "the recorder's then" => how.clock_back_seconds = Some(300),
            _ => {}
        }
        service.client.seal("s", &how).unwrap();
        let content = bytes(service.client.data("s", None));
        let is_behind = whose.ends_with("bytes") || whose.ends_with("then");
        assert_eq!(content.len(), if is_behind { 10 } else { 15 });
        for (from, to) in
            [("10:00:00", "10:01:00"), ("10:04:50", "10:05:05"), ("10:10:05", "10:10:15")]
        {
            let day = |time: &str| format!("2026-01-27T{time}Z");
            let (outcome, sentence) = time(&service, &day(from), &day(to));
            if is_behind && from == "10:10:05" {
                assert_eq!(
                    outcome,
                    StepOutcome::Proved,
                    "{whose}: nothing can have come: {sentence}"
                );
                continue;
            }
            assert_eq!(outcome, StepOutcome::NotProved, "{whose}, {from}: {sentence}");
            assert!(sentence.contains("301 s"), "{whose}: {sentence}");
        }
    }
}

#[test]
fn how_far_a_clock_went_back_is_a_number_of_seconds_beside_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    service.begin("s");
    let url = service.url("/api/v1/sessions/s/append");
    let post = |headers: &[(&str, &str)]| {
        let request = service.http.post(&url).header("content-type", "application/octet-stream");
        let request = request.header("upload-offset", "0");
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    let over = (CLOCK_BACK_SECONDS_MAX + 1).to_string();
    for wrong in ["-1", "+1", "1.5", "soon", "", &over, "99999999999999999999999"] {
        let given = [("lucid-time", "2026-01-27T10:00:00Z"), ("lucid-clock-back", wrong)];
        let (status, _, document) = crate::service::problem(post(&given).body("x").send().unwrap());
        assert_eq!(status, 422, "{wrong:?}");
        let detail = document["detail"].as_str().unwrap();
        assert!(detail.contains("Lucid-Clock-Back") && detail.contains("seconds"), "{detail}");
        assert_eq!(service.client.upload_offset("s").unwrap(), 0);
    }
    let alone = post(&[("lucid-clock-back", "300")]).body("x").send().unwrap();
    assert_eq!(crate::service::problem(alone).0, 422);
    let twice = [
        ("lucid-time", "2026-01-27T10:00:00Z"),
        ("lucid-clock-back", "1"),
        ("lucid-clock-back", "2"),
    ];
    assert_eq!(crate::service::problem(post(&twice).body("x").send().unwrap()).0, 400);
    for (offset, right) in [(0, 0), (1, CLOCK_BACK_SECONDS_MAX)] {
        let time = Some("2026-01-27T10:00:00Z".to_owned());
        let told = Append { offset, time, clock_back: Some(right), digest: None };
        assert_eq!(service.client.append("s", &told, "x").unwrap().offset, offset + 1);
    }
    let how = |seconds| SealSession { clock_back_seconds: Some(seconds), ..SealSession::default() };
    let refused = service.client.seal("s", &how(CLOCK_BACK_SECONDS_MAX + 1)).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Invalid));
    service.client.seal("s", &how(CLOCK_BACK_SECONDS_MAX)).unwrap();
}

#[test]
fn what_passes_within_a_body_is_not_what_the_clock_is_set_to_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::by_hand(at("2026-01-27T10:00:00Z"));
    let service = Service::start_by(&clock, folder.path());
    service.begin("s");
    let mut stream = std::net::TcpStream::connect(&service.base[7..]).unwrap();
    stream
        .write_all(
            b"POST /api/v1/sessions/s/append HTTP/1.1\r\nHost: localhost\r\nUpload-Offset: 0\r\n\
              Content-Type: application/octet-stream\r\nLucid-Time: 2026-01-27T10:00:00Z\r\n\
              Content-Length: 10\r\n\r\nfirst",
        )
        .unwrap();
    let has = |bytes| {
        service.wait(|| (service.client.upload_offset("s").unwrap() == bytes).then_some(()))
    };
    has(5);
    // A minute passes, and the service's clock is set ahead by two hours.
    clock.pass(Duration::from_secs(60));
    clock.turn(at("2026-01-27T12:01:00Z"));
    stream.write_all(b"later").unwrap();
    has(10);
    service.client.seal("s", &SealSession::default()).unwrap();
    let came = time(&service, "2026-01-27T10:01:00Z", "2026-01-27T10:01:01Z");
    assert!(came.0 == StepOutcome::Proved && !came.1.contains("nothing"), "{}", came.1);
    let later = time(&service, "2026-01-27T12:01:00Z", "2026-01-27T12:01:01Z");
    assert!(later.0 == StepOutcome::Proved && later.1.contains("nothing"), "{}", later.1);
}
