//! `lucid record -- CMD`: a program runs as if nobody recorded it, and what it wrote is sealed with how it
//! ended.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};

use super::home::{Home, Ran, noise, wait};
use super::server::Server;

fn shell<'a>(session: &'a &'a str, script: &'a &'a str) -> [&'a dyn AsRef<OsStr>; 7] {
    [&"record", &"--session", session, &"--", &"/bin/sh", &"-c", script]
}

fn ended(home: &Home, session: &str) -> (Value, Value) {
    let shown = home.json(&[&"show", &session]);
    (shown["end"].clone(), shown["exit_status"].clone())
}

#[test]
fn a_program_runs_as_without_it_and_is_sealed_with_how_it_ended() {
    let home = Home::new();
    let script = "echo out; echo err >&2; cat; exit 3";
    let ran = home.fed(&shell(&"three", &script), b"what was typed\n");
    assert_eq!((ran.code, ran.text().as_str()), (3, "out\nwhat was typed\n"), "{}", ran.err);
    assert!(ran.err.starts_with("err\n") || ran.err.contains("\nerr\n"), "{}", ran.err);
    assert!(ran.err.contains("session three: kept") && ran.err.contains("exit 3"), "{}", ran.err);
    let mut lines = home.done(&[&"cat", &"three"]).lines();
    lines.sort();
    assert_eq!(lines, ["err", "out", "what was typed"]);
    assert_eq!(ended(&home, "three"), ("exit".into(), json!({"code": 3})));

    let killed = home.run(&shell(&"killed", &"echo first; kill -9 $$"));
    assert_eq!((killed.code, killed.text().as_str()), (128 + 9, "first\n"), "{}", killed.err);
    assert_eq!(ended(&home, "killed"), ("exit".into(), json!({"signal": 9})));
    home.done(&shell(&"fine", &"true"));
    assert_eq!(ended(&home, "fine"), ("exit".into(), json!({"code": 0})));

    // It is shown everywhere: in lists, of single sessions, and to an auditor who checks a proof without the store.
    let listed = home.done(&[&"ls"]).text();
    for told in ["exit 3", "exit by signal 9", "exit 0"] {
        assert!(listed.contains(told), "{listed}");
    }
    assert!(home.done(&[&"show", &"three"]).text().contains("(exit 3)"));
    home.done(&[&"prove", &"three", &"-o", &home.at("bundle")]);
    let checked = home.run(&[&"check-proof", &home.at("bundle")]);
    assert!(checked.text().contains("ended exit (code 3)"), "{}", checked.text());
    // A mirror has it verbatim.
    let second = home.at("second");
    home.done(&[&"mirror", &second]);
    let before = home.json(&[&"show", &"killed"]);
    let home = home.with_data(second);
    let after = home.json(&[&"show", &"killed"]);
    assert_eq!(before["manifest_hash"], after["manifest_hash"]);
    assert_eq!(ended(&home, "killed"), ("exit".into(), json!({"signal": 9})));
    home.assert_sound();
}

#[test]
fn of_what_cannot_be_run_nothing_is_made() {
    let home = Home::new();
    let plain = home.file("plain", "no program");
    let refused = |code, program: &dyn AsRef<OsStr>| {
        let said = home.refused(code, &[&"record", &"--session", &"s", &"--", program]);
        assert!(!home.data().exists(), "{said}");
    };
    refused(127, &"no-such-program");
    refused(127, &"./no-such-program");
    refused(126, &plain);
    assert_eq!(home.run(&[&"record", &"--session", &"s"]).code, 64);
}

#[test]
fn a_session_is_of_one_run() {
    let home = Home::new();
    home.fed(&[&"append", &"--session", &"begun"], b"of another run");
    let ran = home.run(&shell(&"begun", &"echo must not run > ran"));
    assert_eq!(ran.code, 125, "{}", ran.err);
    assert!(ran.complaint().contains("14 bytes already"), "{}", ran.err);
    home.done(&shell(&"sealed", &"true"));
    let ran = home.run(&shell(&"sealed", &"echo must not run > ran"));
    assert_eq!(ran.code, 125, "{}", ran.err);
    assert!(ran.complaint().contains("sealed"), "{}", ran.err);
    assert!(!home.at("ran").exists(), "what cannot be recorded was run");
}

#[test]
fn large_output_comes_whole_on_both_ways() {
    let home = Home::new();
    let bytes = noise(1, 20_000_000);
    home.file("bytes", &bytes);
    let ran = home.done(&shell(&"large", &"cat bytes"));
    assert!(ran.out == bytes);
    assert!(home.done(&[&"cat", &"large"]).out == bytes);
    home.assert_sound();
}

/// Through a server: what was written is there while the program runs.
#[test]
fn what_it_writes_is_durable_and_marked_before_it_ends() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let script = "echo first; read line; echo $line; exit 7";
    let mut command = home.command(&shell(&"live", &script));
    command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    let read = || {
        let mut command = home.command(&[&"cat", &"live"]);
        let ran: Ran = command
            .env_remove("LUCID_DATA")
            .env("LUCID_DATA_CHAIN_URL", &server.url)
            .output()
            .unwrap()
            .into();
        (ran.code == 0 && ran.out == b"first\n").then_some(())
    };
    wait(read);
    let mut input = child.stdin.take().unwrap();
    // Marks of a timeline are a second apart.
    std::thread::sleep(Duration::from_millis(1_200));
    input.write_all(b"second\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let shown: Value =
        serde_json::from_slice(&server.run(&home, &[&"--json", &"show", &"live"])).unwrap();
    assert_eq!((&shown["end"], &shown["exit_status"]), (&"exit".into(), &json!({"code": 7})));
    assert_eq!(server.run(&home, &[&"cat", &"live"]), b"first\nsecond\n");
    let from = shown["started_at"].as_str().unwrap();
    let part = server.run(&home, &[&"cat", &"live", &"--from", &from]);
    assert!(String::from_utf8(part).unwrap().contains("second"), "it has a timeline");
    server.run(&home, &[&"verify", &"live"]);
}

/// Waits for a line of what the program writes.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

#[test]
fn signals_reach_the_program_and_what_came_until_then_is_sealed() {
    let home = Home::new();
    // To the recorder alone: it is sent on. The program decides what it does with it.
    let script = "trap 'echo asked to end; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = home.command(&shell(&"asked", &script)).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    out.read_to_string(&mut line).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert_eq!(ended(&home, "asked"), ("exit".into(), json!({"code": 5})));
    assert_eq!(home.done(&[&"cat", &"asked"]).text(), "ready\nasked to end\n");
    // To the whole group, as a terminal does.
    let mut command = home.command(&shell(&"typed", &"echo ready; exec sleep 60"));
    let mut child = command.process_group(0).spawn().unwrap();
    assert_eq!(first_line(&mut child), "ready\n");
    kill_process_group(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
    assert_eq!(ended(&home, "typed"), ("exit".into(), json!({"signal": 2})));
    assert_eq!(home.done(&[&"cat", &"typed"]).text(), "ready\n");
}

#[test]
fn a_recorder_that_is_killed_leaves_its_session_open() {
    let home = Home::new();
    let mut child = home.command(&shell(&"s", &"echo ready; exec sleep 5")).spawn().unwrap();
    assert_eq!(first_line(&mut child), "ready\n");
    // What was written is durable in a moment, which the store itself cannot be asked for meanwhile.
    std::thread::sleep(Duration::from_millis(1_500));
    child.kill().unwrap();
    child.wait().unwrap();
    let shown = home.json(&[&"show", &"s"]);
    assert_eq!((&shown["end"], &shown["offset"]), (&Value::Null, &6.into()));
    home.done(&[&"seal", &"s", &"--unterminated"]);
    assert_eq!(ended(&home, "s"), ("unterminated".into(), Value::Null));
}

#[test]
fn a_recorder_that_is_ended_while_the_server_is_away_says_what_is_lost() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let mut command =
        home.command(&shell(&"s", &"echo ready; read go; echo never kept; touch written"));
    command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(server);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    wait(|| home.at("written").exists().then_some(()));
    // At first a signal is taken for one that was meant for the program.
    std::thread::sleep(Duration::from_millis(300));
    let status = wait(|| {
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        child.try_wait().unwrap()
    });
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(128 + 2), "{said}");
    assert!(said.contains("session s has what was kept so far"), "{said}");
    assert!(said.contains("lost") && said.contains("lucid seal s --unterminated"), "{said}");
}

#[test]
fn output_that_a_process_left_behind_holds_is_not_awaited_for_ever() {
    let home = Home::new();
    let started = Instant::now();
    let mut command = home.command(&shell(&"s", &"echo done; sleep 100 & exit 4"));
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(started.elapsed() < Duration::from_secs(60));
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("left behind") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
    }
    assert_eq!(ended(&home, "s"), ("exit".into(), json!({"code": 4})));
    assert_eq!(home.done(&[&"cat", &"s"]).text(), "done\n");
}

/// Nobody reads on: the program is told as if it wrote there itself.
#[test]
fn a_program_whose_reader_is_gone_ends_as_it_would() {
    let home = Home::new();
    let mut child = home.command(&shell(&"s", &"exec yes")).spawn().unwrap();
    let mut first = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 13));
    assert_eq!(ended(&home, "s"), ("exit".into(), json!({"signal": 13})));
}

#[test]
fn a_program_goes_on_when_its_recording_fails() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let script = "echo first; read line; for i in 1 2 3; do echo $i; done; exit 0";
    let mut command = home.command(&shell(&"s", &script));
    command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let shown = || {
        let mut command = home.command(&[&"--json", &"show", &"s"]);
        let ran: Ran = command
            .env_remove("LUCID_DATA")
            .env("LUCID_DATA_CHAIN_URL", &server.url)
            .output()
            .unwrap()
            .into();
        (ran.code == 0 && ran.json()["offset"] == 6).then_some(())
    };
    wait(shown);
    server.run(&home, &[&"rm", &"s", &"--yes"]);
    input.write_all(b"\n").unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!((ran.code, ran.text().as_str()), (125, "first\n1\n2\n3\n"), "{}", ran.err);
    assert!(ran.err.contains("recording ends at byte 6"), "{}", ran.err);
    assert!(ran.err.contains("code 0"), "{}", ran.err);
}
