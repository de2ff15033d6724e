//! `lucid doctor`: each thing that can be wrong is brought about, and named with what helps.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use lucid::place::StorageOptions;
use lucid_core::cut::ChunkProfile;
use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::Opened;
use lucid_data_chain::opened::{FOLDER_OWNER, SIGNING_KEY};
use lucid_data_chain::ops::sessions::create_session::{NewSession, create_session};
use lucid_data_chain::ops::sessions::seal_session::{SealRequest, seal_session};
use lucid_data_chain::ops::sight::Sight;
use lucid_store::clock::{Clock, Moment};
use lucid_store::files::folder::Options;
use lucid_store::files::room::Reserve;
use serde_json::Value;

use super::home::{Home, Ran, Snapshot, noise};
use super::server::Server;

/// What was found of one thing.
fn of<'a>(report: &'a Value, check: &str, of: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["check"] == check && found["of"] == of);
    found.unwrap_or_else(|| panic!("{check} of {of}: {report:#}"))
}

fn doctor(home: &Home, more: &[&dyn AsRef<OsStr>]) -> (i32, Value, Ran) {
    let ran = home.run(&[&[&"--json" as &dyn AsRef<OsStr>, &"doctor"], more].concat());
    let report = serde_json::from_slice(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
    (ran.code, report, ran)
}

fn filled() -> Home {
    let home = Home::new();
    home.archive("s", &home.file("s", noise(1, 300_000)));
    home
}

/// One check has this state, it is said with this word, and the exit code follows.
#[track_caller]
fn finds(
    home: &Home,
    more: &[&dyn AsRef<OsStr>],
    check: &str,
    whose: &str,
    state: &str,
    word: &str,
) {
    let (code, report, _) = doctor(home, more);
    let found = of(&report, check, whose);
    assert_eq!(found["state"], state, "{found}");
    assert!(found["found"].as_str().unwrap().contains(word), "{found}");
    if state != "ok" && state != "not_known" {
        assert!(!found["remedy"].as_str().unwrap().is_empty(), "{found}");
    }
    if state == "wrong" {
        assert_eq!((code, &report["sound"]), (1, &Value::Bool(false)), "{report:#}");
    }
}

#[test]
fn a_folder_at_rest_is_looked_at_and_what_was_done_with_it_is_known() {
    let home = filled();
    let (code, report, _) = doctor(&home, &[]);
    assert_eq!((code, &report["sound"]), (0, &Value::Bool(true)), "{report:#}");
    for (check, whose, state) in [
        ("clock", "data-chain", "ok"),
        ("clock", "block-manager", "ok"),
        ("store", "data-chain", "ok"),
        ("store", "block-manager", "ok"),
        ("anchors", "data-chain", "ok"),
        ("scrub", "data-chain", "look"),
        ("mirror", "data-chain", "look"),
        ("verified", "data-chain", "look"),
        ("keys", "data-chain", "look"),
        ("tokens", "lists of tokens", "ok"),
    ] {
        assert_eq!(of(&report, check, whose)["state"], state, "{check}: {report:#}");
    }
    for check in ["disk", "room"] {
        for whose in ["data-chain", "block-manager"] {
            of(&report, check, whose);
        }
    }
    home.assert_sound();
    home.done(&[&"mirror", &home.at("mirror")]);
    home.done(&[&"scrub", &"--now"]);
    for of in ["data-chain", "block-manager"] {
        let export = home.at(of);
        home.done(&[&"keys", &"export", &export, &"--of", &of]);
        home.done(&[&"keys", &"verify-export", &export]);
        finds(&home, &[], "keys", of, "ok", "opened it on");
    }
    // None of it is in the index.
    home.done(&[&"reindex"]);
    for check in ["mirror", "verified", "scrub"] {
        finds(&home, &[], check, "data-chain", "ok", "ago");
    }
    // One page, a line for each check, and one for what can be done about it.
    let page = home.done(&[&"doctor"]);
    let lines = page.lines();
    assert!(lines.len() < 40, "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("ok        verified     data-chain: ")));
    assert!(lines.last().unwrap().starts_with("nothing is wrong"), "{lines:#?}");
    let none = Home::new();
    assert!(none.refused(74, &[&"doctor"]).contains("holds no Lucid store"));
}

#[test]
fn a_clock_before_what_is_stored_is_named() {
    let home = filled();
    let log = home.data().join("data-chain/log/00000001.log");
    let later = SystemTime::now() + Duration::from_secs(3 * 3_600);
    File::options().append(true).open(log).unwrap().set_modified(later).unwrap();
    finds(&home, &[], "clock", "data-chain", "wrong", "before the last commit");
}

#[test]
fn a_disk_without_room_is_named() {
    let home = filled();
    let all = u64::MAX.to_string();
    finds(&home, &[&"--reserve", &all], "room", "data-chain", "wrong", "nothing is taken in");
    finds(&home, &[&"--reserve", &"0"], "room", "data-chain", "ok", "are free");
}

/// Seals a session so many seconds ago, and anchors it nowhere.
fn seal_alone(home: &Home, id: &str, seconds: i64) {
    let then = Clock::system().now().plus_seconds(-seconds);
    let now = Moment { wall: then, steady: then.as_micros() };
    let options = Options {
        service: FOLDER_OWNER,
        signing_key: SIGNING_KEY,
        create: true,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        expected: None,
        owner: "a test".into(),
        reserve: Reserve::default(),
        given: Default::default(),
        now: then.to_string(),
    };
    let opened = Opened::open(&home.data().join(FOLDER_OWNER), &options).unwrap();
    let Opened { vault, locks, key, .. } = &opened;
    let id: SessionId = id.parse().unwrap();
    let session = NewSession {
        id: Some(id.clone()),
        user: String::new(),
        layout: Layout::Raw,
        public: false,
        profile: ChunkProfile::default(),
        metadata: Default::default(),
        started_at: then,
        one_shot: false,
        own_copies: false,
        sight: Sight::everything(),
        retain_until: None,
        source: None,
        terminal: None,
    };
    create_session(vault, locks, session).unwrap();
    let storage = StorageOptions::default();
    seal_session(vault, locks, key, storage, now, &id, &SealRequest::default()).unwrap();
    opened.close().unwrap();
}

#[test]
fn sessions_that_wait_for_a_block_are_named() {
    let home = Home::new();
    fs::create_dir_all(home.data()).unwrap();
    seal_alone(&home, "new", 60);
    finds(&home, &[], "anchors", "data-chain", "look", "waits for a block is of");
    seal_alone(&home, "old", 3 * 3_600);
    finds(&home, &[], "anchors", "data-chain", "wrong", "3 hours ago");
}

#[test]
fn tokens_that_are_about_to_expire_are_named() {
    let home = filled();
    let lists = home.data().join("tokens").display().to_string();
    let create = |id: &str, expires: &str| {
        home.done(&[&"token", &"create", &"--role", &"read", &"--id", &id, &"--expires", &expires]);
    };
    create("lasting", "90d");
    finds(&home, &[], "tokens", &lists, "ok", "none is about to expire");
    create("soon", "9d");
    finds(&home, &[], "tokens", &lists, "look", "soon expires at");
    create("late", "30m");
    finds(&home, &[], "tokens", &lists, "wrong", "late expires at");
    let other = home.file("others", "no list");
    let shown = other.display().to_string();
    finds(&home, &[&"--tokens", &other], "tokens", &shown, "wrong", "line 1");
}

#[test]
fn a_certificate_that_is_about_to_end_is_named() {
    let home = filled();
    let certificate = |name: &str, days: i64| {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let end = i64::try_from(end).unwrap() + days * 86_400;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = params.not_before + Duration::from_secs((end - 1_577_836_800) as u64);
        let key = rcgen::KeyPair::generate().unwrap();
        home.file(name, params.self_signed(&key).unwrap().pem())
    };
    for (days, state, word) in [
        (-1, "wrong", "expired"),
        (1, "wrong", "within 2 days"),
        (7, "look", "within 14 days"),
        (60, "ok", "14 days and more"),
    ] {
        let file = certificate("certificate.pem", days);
        let shown = file.display().to_string();
        finds(&home, &[&"--certificate", &file], "certificate", &shown, state, word);
    }
    let none = home.file("none.pem", "");
    let shown = none.display().to_string();
    finds(&home, &[&"--certificate", &none], "certificate", &shown, "wrong", "none.pem");
}

#[test]
fn what_was_done_long_ago_or_ended_badly_is_named() {
    let home = filled();
    let run = home.data().join("data-chain/run");
    for (check, file) in [("mirror", "mirrored"), ("verified", "verified")] {
        fs::write(run.join(file), "2001-01-01T00:00:00Z sound /far\n").unwrap();
        finds(&home, &[], check, "data-chain", "wrong", "days ago");
        fs::write(run.join(file), "what nobody wrote\n").unwrap();
        finds(&home, &[], check, "data-chain", "look", "");
    }
    // A byte that the medium changed is found by verifying, and remembered.
    let segment = home.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert_eq!(home.run(&[&"verify", &"--all"]).code, 1);
    finds(&home, &[], "verified", "data-chain", "wrong", "faults found");
    home.run(&[&"scrub", &"--now"]);
    finds(&home, &[], "scrub", "data-chain", "wrong", "damaged");
    // So is a mirror that is not whole.
    assert_eq!(home.run(&[&"mirror", &home.at("mirror")]).code, 1);
    finds(&home, &[], "mirror", "data-chain", "wrong", "not all of it");
}

#[test]
fn a_service_that_hangs_is_wrong_and_one_that_was_killed_is_not_there() {
    let home = filled();
    let socket = |folder: &str| home.data().join(folder).join("run/local.sock");
    for folder in ["data-chain", "block-manager"] {
        // It listens, and never answers.
        let listening = std::os::unix::net::UnixListener::bind(socket(folder)).unwrap();
        finds(&home, &[], "service", folder, "wrong", "");
        // Nobody listens any more, and the socket is left.
        drop(listening);
        let (code, report, _) = doctor(&home, &[]);
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(of(&report, "store", folder)["state"], "ok", "{report:#}");
        fs::remove_file(socket(folder)).unwrap();
    }
}

#[test]
fn a_service_that_runs_is_asked_and_its_folder_is_left_alone() {
    let home = filled();
    let server = Server::start(&home);
    let (code, report, _) = doctor(&home, &[]);
    assert_eq!(code, 0, "{report:#}");
    for whose in ["data-chain", "block-manager"] {
        let found = of(&report, "service", whose);
        assert_eq!(found["state"], "ok", "{found}");
    }
    for check in ["store", "anchors"] {
        assert_eq!(of(&report, check, "data-chain")["state"], "ok", "{report:#}");
    }
    of(&report, "room", "data-chain");
    // From elsewhere it tells what it can, and what it cannot is not taken for good.
    let away = Home::new();
    let (code, report, _) = doctor(&away, &[&"--server", &server.url]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(of(&report, "service", &server.url)["state"], "ok");
    assert_eq!(of(&report, "anchors", &server.url)["state"], "ok");
    for check in ["disk", "keys", "mirror"] {
        assert_eq!(of(&report, check, &server.url)["state"], "not_known");
    }
    let url = server.url.clone();
    drop(server);
    // A door that a killed service left is none.
    let (code, report, _) = doctor(&home, &[]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(of(&report, "store", "data-chain")["state"], "ok", "{report:#}");
    away.refused(69, &[&"doctor", &"--server", &url]);
}

#[test]
fn a_folder_that_must_not_be_touched_is_not() {
    let home = filled();
    let before = Snapshot::of(home.data());
    let (code, report, _) = doctor(&home, &[&"--read-only"]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(of(&report, "store", "data-chain")["state"], "ok", "{report:#}");
    before.assert_same(&Snapshot::of(home.data()));
    // Nor is anything noted in one.
    home.done(&[&"verify", &"--all", &"--read-only"]);
    finds(&home, &[], "verified", "data-chain", "look", "not every byte");
}
