//! `lucid play`: recordings of terminals, as asciinema, `script` and sudo make them.

use std::time::{Duration, Instant};

use crate::home::Home;
use crate::server::Server;

const CAST: &str = "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n\
    [0.1,\"o\",\"\\u001b[1mone\\r\\n\"]\n[100000.0,\"o\",\"two\"]\n[0.1,\"r\",\"90x30\"]\n[0.1,\"o\",\" three\"]\n";
const SHOWN: &str = "\u{1b}[1mone\r\ntwo three";
const TIMING: &str = "0.1 4\n100000 3\n0.1 6\n";
const TYPESCRIPT: &str = "Script started on 2026-01-27 10:00:00\none\ntwo three\nScript done on";

fn keep(home: &Home, session: &str, text: &str) {
    home.fed(&[&"append", &"--session", &session, &"--seal-on-eof"], text.as_bytes());
}

#[test]
fn what_was_recorded_is_shown_byte_for_byte_and_pauses_are_as_they_are_asked_for() {
    let home = Home::new();
    keep(&home, "cast", CAST);
    keep(
        &home,
        "second",
        &CAST.replace("\"version\":3,", "\"version\":2,\"idle_time_limit\":0.2,"),
    );
    keep(&home, "timing", TIMING);
    keep(&home, "typescript", TYPESCRIPT);
    keep(&home, "sudo", "4 0.1 4\n3 0.1 1\n4 9 3\n4 0.1 6\n");
    let brief: [&dyn AsRef<std::ffi::OsStr>; 3] = [&"--raw", &"--max-idle", &"0.2"];
    let play = |sessions: &[&'static str], more: &[&dyn AsRef<std::ffi::OsStr>]| {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"play"];
        all.extend(sessions.iter().map(|session| session as &dyn AsRef<std::ffi::OsStr>));
        all.extend(more);
        home.done(&all).text()
    };
    let began = Instant::now();
    assert_eq!(play(&["cast"], &brief), SHOWN);
    // Never faster than it was: 0.1 s, what is left of the long pause, and twice 0.1 s.
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(play(&["cast"], &[&"--raw", &"--speed", &"1000000"]), SHOWN);
    assert_eq!(play(&["cast"], &[&"--raw", &"--from", &"27:46:40.2"]), SHOWN);
    // By what it says of itself.
    assert_eq!(play(&["second"], &[&"--raw"]), SHOWN);
    for sessions in [["timing", "typescript"], ["typescript", "timing"], ["typescript", "sudo"]] {
        assert_eq!(play(&sessions, &brief), "one\ntwo three", "{sessions:?}");
    }
    let behind = Home::new();
    let server = Server::start(&behind);
    server.run(&home, &[&"append", &home.file("cast", CAST), &"--session", &"there"]);
    let shown = server.run(&home, &[&"play", &"there", &"--raw", &"--max-idle", &"0.1"]);
    assert_eq!(String::from_utf8(shown).unwrap(), SHOWN);
}

#[test]
fn a_recording_that_is_cut_short_is_played_up_to_there_and_said_to_be() {
    let home = Home::new();
    let brief: [&dyn AsRef<std::ffi::OsStr>; 3] = [&"--raw", &"--max-idle", &"0.01"];
    let cut = |sessions: &[&dyn AsRef<std::ffi::OsStr>]| {
        let ran = home.run(&[&[&"play" as &dyn AsRef<_>], sessions, &brief].concat());
        assert_eq!(ran.code, 3, "{}", ran.err);
        let why: Vec<_> = ran.err.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert!(why.len() == 1 && why[0].contains("the recording is cut short"), "{}", ran.err);
        (ran.text(), why[0].to_owned())
    };
    keep(&home, "cast", &CAST[..CAST.len() - 5]);
    let (shown, why) = cut(&[&"cast"]);
    assert_eq!(shown, "\u{1b}[1mone\r\ntwo");
    assert!(why.contains("its line 5 is no event"), "{why}");
    keep(&home, "timing", TIMING);
    keep(&home, "typescript", &TYPESCRIPT[..TYPESCRIPT.len() - 17]);
    let (shown, why) = cut(&[&"timing", &"typescript"]);
    assert_eq!(shown, "one\ntwo thr");
    assert!(why.contains("line 3 of its timing"), "{why}");
    // It reads well to its end, and nobody knows whether that is one.
    home.fed(&[&"append", &"--session", &"open", &"--keep-open"], CAST.as_bytes());
    let (shown, why) = cut(&[&"open"]);
    assert!(shown == SHOWN && why.contains("session open is not sealed yet"), "{why}");
    home.done(&[&"seal", &"open", &"--unterminated"]);
    assert!(cut(&[&"open"]).1.contains("nobody ended session open"));
    let ended = format!("{CAST}[0.1,\"x\",\"0\"]\n");
    home.fed(&[&"append", &"--session", &"ended", &"--keep-open"], ended.as_bytes());
    home.done(&[&[&"play" as &dyn AsRef<_>, &"ended"], &brief[..]].concat());
}

#[test]
fn what_cannot_be_played_is_refused_in_a_sentence() {
    let home = Home::new();
    keep(&home, "text", "just text\n");
    keep(&home, "first", "{\"version\":1,\"width\":80,\"height\":24,\"stdout\":[]}\n");
    home.archive("tree", &home.file("file", "x"));
    for (code, sessions, sentence) in [
        (1, &["text"][..], "is no asciicast"),
        (1, &["first"], "only versions 2 and 3 are played"),
        (1, &["text", "first"], "neither session text nor first is a timing"),
        (1, &["tree"], "is a folder"),
        (1, &["none"], "no session"),
    ] {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"play", &"--raw"];
        all.extend(sessions.iter().map(|session| session as &dyn AsRef<std::ffi::OsStr>));
        let why = home.refused(code, &all);
        assert!(why.contains(sentence), "{sessions:?}: {why}");
    }
    let why = home.refused(64, &[&"play", &"text"]);
    assert!(why.contains("standard output is none: pass --raw"), "{why}");
    for wrong in [["--speed", "0"], ["--from", "soon"], ["--max-idle", "-1"]] {
        assert_eq!(home.run(&[&"play", &"text", &"--raw", &wrong[0], &wrong[1]]).code, 64);
    }
}
