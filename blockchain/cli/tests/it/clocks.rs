//! A clock that was wrong: what it did to a chain can be put right, and nothing of before is lost; and what
//! it told of a recording is doubted.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use lucid::place::local::Local;
use lucid::place::remote::Remote;
use lucid::place::{Place, StorageOptions, WriteSessions as _};
use lucid::watch::spool::Spool;
use lucid::watch::{WatchEvent, WatchPlan, Watcher};
use lucid_core::time::Timestamp;
use lucid_store::clock::Clock;
use serde_json::Value;

use crate::home::Home;
use crate::server::Server;

#[test]
fn a_chain_is_begun_anew_and_everything_of_before_is_verified_and_proved_as_ever() {
    let home = Home::new();
    let file = home.file("file", b"of before");
    home.archive("before", &file);
    let shown = home.json(&[&"show", &"before"]);
    let trust = |whose: &str| shown["anchor"]["trust"][whose].as_str().unwrap().to_owned();
    let (recorder, block) = (trust("recorder"), trust("block"));
    home.done(&[&"prove", &"before", &"-o", &home.at("proof")]);

    let unreasoned = home.run(&[&"chain", &"begin-anew"]);
    assert_eq!(unreasoned.code, 64);
    assert!(unreasoned.err.contains("--reason"), "{}", unreasoned.err);
    let begun = home.json(&[&"chain", &"begin-anew", &"--reason", &"the clock was in 2099"]);
    let old = std::path::PathBuf::from(begun["old_folder"].as_str().unwrap());
    assert!(old.join("TIP").exists(), "{begun:#}");
    assert!(old.file_name().unwrap().to_string_lossy().starts_with("block-manager.until-0-"));

    // Anchors go on in the new chain, in which the old one's end is named.
    let again = home.file("again", b"of after");
    home.archive("after", &again);
    assert_eq!(home.json(&[&"show", &"after"])["anchor"]["block_index"], 1);
    let info = home.json(&[&"chain", &"info"]);
    assert_eq!(info["genesis"], begun["genesis"], "{info:#}");
    // All of it is sound: sessions of before are looked for in the old chain.
    home.assert_sound();
    // That one can be read, and a proof of before holds, made then or now.
    let there = Home::new().with_data(old.clone()).json(&[&"chain", &"info"]);
    assert_eq!(there["height"], 0, "{there:#}");
    home.done(&[&"prove", &"before", &"-o", &home.at("proof-now")]);
    for proof in ["proof", "proof-now"] {
        let trusted: [&dyn AsRef<std::ffi::OsStr>; 7] =
            [&"check-proof", &home.at(proof), &file, &"--trust", &recorder, &"--trust", &block];
        home.done(&trusted);
    }
    // Without the old chain, that is what is missing.
    fs::rename(&old, home.at("away")).unwrap();
    let said: Value = home.run(&[&"--json", &"verify", &"--all"]).json();
    assert!(said.to_string().contains("anchored in block 0"), "{said:#}");
}

#[test]
fn a_clock_is_accepted_in_a_folder_that_has_a_chain() {
    let home = Home::new();
    home.archive("one", &home.file("file", b"bytes"));
    let said = home.json(&[&"doctor", &"--accept-clock"]);
    assert_eq!(said["produces"], true, "{said:#}");
    home.archive("two", &home.file("other", b"more"));
    home.assert_sound();
}

#[test]
fn a_chain_is_not_begun_anew_beside_whoever_runs_it() {
    let home = Home::new();
    home.archive("one", &home.file("file", b"bytes"));
    let server = Server::start(&home);
    let beside = || {
        let names = fs::read_dir(home.data()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = (home.json(&[&"chain", &"info", &"--manager", &server.chain]), beside());
    let refused = home.run(&[&"--json", &"chain", &"begin-anew", &"--reason", &"none"]);
    assert_ne!(refused.code, 0);
    let error: Value = serde_json::from_str(refused.err.trim()).unwrap();
    assert!(
        error["error"].as_str().unwrap().contains("is in use by lucid-block-manager"),
        "{error}"
    );
    assert_eq!(error["remedy"], "stop that first, then run the same again");
    let after = home.json(&[&"chain", &"info", &"--manager", &server.chain]);
    assert_eq!((&after["height"], &after["genesis"]), (&before.0["height"], &before.0["genesis"]));
    assert_eq!(beside(), before.1);
}

/// Watches a file at this place while a clock is set back by five minutes after ten without bytes, and by
/// ten more before the file is gone; says which sessions were made.
fn watch_beside_a_clock(home: &Home, name: &str, place: &dyn Place) -> String {
    let folder = home.at(name);
    fs::create_dir(&folder).unwrap();
    // Of before the file was written: what it tells is what counts.
    let clock = Clock::by_hand(Timestamp::parse("2026-01-27T10:00:00Z").unwrap());
    let plan = WatchPlan {
        folder: folder.clone(),
        not: Vec::new(),
        naming: "{path}-{tail}".parse().unwrap(),
        group_by: None,
        user: String::new(),
        metadata: Default::default(),
        source: Default::default(),
        idle: Duration::ZERO,
        interval: Duration::ZERO,
        polls: true,
        once: true,
        clock: clock.clone(),
    };
    let spool = Spool::open(&home.at(&format!("{name}.spool"))).unwrap();
    let storage = StorageOptions::default();
    let mut watcher = Watcher::start(place, storage, plan, spool).unwrap();
    let mut sealed = String::new();
    let mut round = || {
        let mut tell = |event: &WatchEvent| {
            if let WatchEvent::Sealed { session, .. } = event {
                sealed = session.clone();
            }
            Ok(())
        };
        watcher
            .round(&mut tell, &mut |subject, trouble| panic!("{subject:?}: {trouble:?}"))
            .unwrap();
    };
    let step = |set: i64| {
        clock.pass(Duration::from_secs(600));
        clock.turn(clock.now().plus_seconds(set));
    };
    let mut file = fs::File::create(folder.join("recording")).unwrap();
    file.write_all(b"one ").unwrap();
    round();
    step(-300);
    file.write_all(b"two").unwrap();
    round();
    step(-600);
    fs::remove_file(folder.join("recording")).unwrap();
    round();
    sealed
}

/// The folder of a home, as the verbs open it by the clock that this is given.
pub fn opened_by(home: &Home) -> lucid::cmd::Home {
    lucid::cmd::Home {
        data: home.data().to_owned(),
        server: None,
        key_file: None,
        limit_upload: None,
        limit_download: None,
        token_file: None,
        ca: None,
        pin: None,
        passphrase_file: None,
        profile: None,
        expected: None,
        blocks: None,
        reserve: None,
        read_only: false,
        reading: None,
        beside: false,
        typed: None,
        heard: Default::default(),
        given: Default::default(),
    }
}

#[test]
fn a_folder_that_is_opened_by_a_clock_in_2099_makes_no_block_and_goes_on_when_it_is_right() {
    let home = Home::new();
    home.archive("before", &home.file("file", b"of before"));
    home.fed(&[&"append", &"--session", &"open", &"--keep-open"], b"what was recorded");
    let clock = Clock::by_hand(Timestamp::parse("2099-01-01T00:00:00Z").unwrap());
    let anchored = |clock: &Clock| {
        let local = Local::create(&opened_by(&home), "seal", clock, true).unwrap();
        let id = "open".parse().unwrap();
        local.seal(&id, &Default::default()).unwrap();
        let session = local.anchor(&id).map_err(|error| error.to_string());
        Box::new(local).close().unwrap();
        session.map(|session| session.anchor.and_then(|anchor| anchor.block_index))
    };
    let refused = anchored(&clock).unwrap_err();
    assert!(refused.contains("so no block is made: set the clock"), "{refused}");
    clock.turn(Clock::system().now());
    assert_eq!(anchored(&clock), Ok(Some(1)));
    home.assert_sound();
}

#[test]
fn a_step_back_in_a_quiet_time_of_a_watched_file_is_told_here_and_to_a_server() {
    let home = Home::new();
    let local_home = opened_by(&home);
    let local = Local::create(&local_home, "watch", &Clock::system(), true).unwrap();
    let here = watch_beside_a_clock(&home, "here", &local);
    Box::new(local).close().unwrap();
    let shown = |session: &str| {
        // It came at 10:10, and the clock told 10:05.
        let span: [&dyn AsRef<std::ffi::OsStr>; 6] = [
            &"cat",
            &session,
            &"--from",
            &"2026-01-27T10:09:50Z",
            &"--to",
            &"2026-01-27T10:10:10Z",
        ];
        let read = home.done(&span);
        assert_eq!(read.text(), "one two", "{}", read.err);
        read.err
    };
    let said = shown(&here);
    assert!(said.contains("time not known") && said.contains("901 s"), "{said}");
    home.assert_sound();
    let times = |session: &str| {
        let shown = home.json(&[&"show", &session])["times"].clone();
        assert_eq!(shown["from"], "2026-01-27T10:00:00.000000Z", "{shown}");
        assert_eq!(shown["to"], "2026-01-27T10:10:00.000000Z", "as the clock would have told");
        assert_eq!(shown["doubt_seconds"], 901);
    };
    times(&here);

    let server = Server::start(&home);
    // A user who asks a server is told the same.
    let told = String::from_utf8(server.run(&home, &[&"show", &here])).unwrap();
    let wanted = "times      2026-01-27T10:00:00Z to 2026-01-27T10:10:00Z; each may be \
                  wrong by up to 901 s";
    assert!(told.contains(wanted), "{told}");
    let remote = Remote::connect_briefly(&server.url.parse().unwrap(), Default::default()).unwrap();
    let there = watch_beside_a_clock(&home, "there", &remote);
    drop(server);
    times(&there);
    let said = shown(&there);
    assert!(said.contains("time not known") && said.contains("901 s"), "{said}");
}
