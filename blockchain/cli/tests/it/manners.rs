//! How the command speaks: progress where there is no terminal, colours, verbs of other tools, times, and what is named
//! one by one.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::home::{Home, noise, prose};
use super::server::Server;

/// What standard error has while standard input brings bytes slowly, for so many seconds.
fn fed_slowly(home: &Home, more: &str, seconds: u64) -> String {
    let mut command = home.command(&[&"archive", &"-", &"--session", &"slow", &more]);
    let mut running = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = running.stdin.take().unwrap();
    for second in 0..seconds {
        input.write_all(&noise(second, 100_000)).unwrap();
        sleep(Duration::from_secs(1));
    }
    drop(input);
    let ended = running.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn progress_comes_as_events_for_programs() {
    let said = fed_slowly(&Home::new(), "--progress=json", 3);
    let events: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {said}")))
        .filter(|event: &Value| event["stage"] == "archiving")
        .collect();
    let (finished, before) = events.split_last().unwrap();
    assert_eq!(finished["event"], "finished");
    assert_eq!((&finished["unit"], &finished["done"]), (&"bytes".into(), &300_000.into()));
    assert!(finished["seconds"].as_f64().unwrap() >= 3.0, "{finished}");
    assert!(!before.is_empty(), "{said}");
    for event in before {
        assert_eq!(event["event"], "progress");
        assert!(event["done"].as_u64().unwrap() <= 300_000);
        assert!(event["total"].is_null() && event["seconds_left"].is_null(), "{event}");
    }
}

#[test]
fn without_a_terminal_progress_is_a_line_every_ten_seconds() {
    let said = fed_slowly(&Home::new(), "--no-encryption", 11);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("archiving: ")).collect();
    assert!((1..=2).contains(&lines.len()), "{said}");
    assert!(lines[0].contains("/s"), "{said}");
    assert!(!said.contains('\u{1b}') && !said.contains('\r'), "{said:?}");
    // Who wants nothing hears nothing, and what is soon done says nothing.
    let home = Home::new();
    let file = home.file("a", prose(1, 10_000));
    for more in ["--progress=none", "--progress=auto", "--quiet"] {
        let ran = home.done(&[&"archive", &file, &more]);
        assert!(!ran.err.contains("archiving"), "{more}: {}", ran.err);
    }
}

#[test]
fn colours_can_be_left_out() {
    let home = Home::new();
    let help = |more: &[&str]| {
        let mut command = home.command(&[]);
        command.env("CLICOLOR_FORCE", "1").args(more).arg("--help");
        let ended = command.output().unwrap();
        assert!(ended.status.success());
        String::from_utf8(ended.stdout).unwrap()
    };
    assert!(help(&[]).contains("\u{1b}["));
    assert!(!help(&["--no-color"]).contains('\u{1b}'));
}

#[test]
fn verbs_of_other_tools_are_answered_with_ours() {
    let home = Home::new();
    let ran = home.run(&[&"snapshots"]);
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("'snapshots'") && ran.err.contains("`lucid ls`"), "{}", ran.err);
    let ran = home.run(&[&"--json", &"backup", &"/etc"]);
    let problem: Value = serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    assert!(problem["remedy"].as_str().unwrap().contains("lucid archive PATH"), "{problem}");
    let ran = home.run(&[&"help", &"prune"]);
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("`lucid gc`"), "{}", ran.err);
}

#[test]
fn times_are_read_and_shown_in_the_zone_of_this_machine() {
    let home = Home::new();
    let tree = home.file("tree/a", prose(1, 10_000));
    let there = |arguments: &[&str]| {
        let mut command = home.command(&[]);
        command.env("TZ", "XST-1XDT,M3.5.0,M10.5.0/3").args(arguments);
        let ended = command.output().unwrap();
        let err = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{arguments:?}: {err}");
        String::from_utf8(ended.stdout).unwrap()
    };
    let folder = tree.parent().unwrap().to_str().unwrap();
    there(&["archive", folder, "--session", "s", "--retain-until", "2036-07-01"]);
    let session: Value = serde_json::from_str(&there(&["--json", "show", "s"])).unwrap();
    assert_eq!(session["retain_until"], "2036-06-30T22:00:00.000000Z");
    there(&["retain", "s", "--until", "2036-12-24 18:30"]);
    let session: Value = serde_json::from_str(&there(&["--json", "show", "s"])).unwrap();
    assert_eq!(session["retain_until"], "2036-12-24T17:30:00.000000Z");
    let shown = there(&["retention"]);
    assert!(shown.contains("2036-12-24T18:30:00+01:00"), "{shown}");
    let found = there(&["find", "a"]);
    assert!(found.contains("+01:00") || found.contains("+02:00"), "{found}");
    // So is all that people are told of a session, and of one that is gone.
    let is_local = |said: &str, beginning: &str| {
        let line =
            said.lines().find(|line| line.contains(beginning)).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains("+01:00") || line.contains("+02:00"), "{line}");
    };
    is_local(&there(&["hold", "s"]), "held since");
    let shown = there(&["show", "s"]);
    for line in ["started ", "ended ", "kept       until 2036-12-24T18:30:00+01:00", "held "] {
        is_local(&shown, line);
    }
    there(&["archive", folder, "--session", "t"]);
    let plan = there(&["forget", "-n", "--keep-last", "1", "-g", ""]);
    is_local(&plan, "t  ");
    let removing = there(&["forget", "--yes", "--unsafe-allow-remove-all", "--path", folder]);
    is_local(&removing, "held");
    is_local(&there(&["show", "t"]), "removed    ");
    there(&["token", "create", "--role", "read", "--expires", "2036-07-01T00:00:00Z"]);
    assert!(there(&["token", "list"]).contains("2036-07-01T02:00:00+02:00"));
    // What was shown can be given back.
    let began = found.split_whitespace().nth(1).unwrap();
    assert!(there(&["find", "a", "--from", began]).contains(" a\n"), "{began}");
}

#[test]
fn each_thing_that_is_done_is_named_where_that_is_wanted() {
    let home = Home::new();
    home.file("tree/a", prose(1, 10_000));
    home.file("tree/b.o", prose(2, 10_000));
    let (tree, back) = (home.at("tree"), home.at("back"));
    let archive = [&"archive" as &dyn AsRef<OsStr>, &tree, &"-e", &"*.o", &"--session", &"s"];
    let said = home.done(&[&archive[..], &[&"-v"]].concat()).err;
    assert!(said.contains("took \"a\"\n") && said.contains("excluded \"b.o\": "), "{said}");
    let named = |arguments: &[&dyn AsRef<OsStr>], what: &str| {
        assert!(!home.done(arguments).err.contains(what), "only if it is wanted");
        home.done(&[arguments, &[&"--verbose"]].concat())
    };
    // A second time both are there already.
    let said = named(&[&"restore" as &dyn AsRef<OsStr>, &"s", &"-o", &back], "\"a\"").err;
    assert!(said.contains("identical \"a\"\n"), "{said}");
    let said = home.done(&[&"-v", &"restore", &"s", &"-o", &home.at("new")]).err;
    assert!(said.contains("restored \"a\"\n"), "{said}");
    home.file("back/more", "more");
    let said = home.done(&[&"-v", &"restore", &"s", &"-o", &back, &"--delete"]).err;
    assert!(said.contains("removed \"more\"\n"), "{said}");
    let second = home.at("second");
    let said = named(&[&"mirror" as &dyn AsRef<OsStr>, &second], "session s was copied").err;
    assert!(said.contains("session s was there already"), "{said}");
    // Programs and those who want no remarks are told no more than before.
    for quiet in ["--quiet", "--json"] {
        let said = home.done(&[&"restore", &"s", &"-o", &back, &"-v", &quiet]).err;
        assert_eq!(said, "", "{quiet}");
    }

    let server = Server::start(&home);
    let secret = home.file("token", "lucid_secret");
    let with_password = server.url.replace("http://", "http://ann:geheim@");
    let asks: [&dyn AsRef<OsStr>; 6] =
        [&"-v", &"--server", &with_password, &"--token-file", &secret, &"ls"];
    let said = home.done(&asks).err;
    assert!(said.contains("asked GET http://") && said.contains(": 200 OK\n"), "{said}");
    assert!(said.contains("/api/v1/sessions?"), "{said}");
    assert!(!said.contains("geheim") && !said.contains("lucid_secret"), "{said}");
    assert!(!home.done(&asks[1..]).err.contains("asked"));
}

#[test]
fn what_is_recorded_says_in_which_folder_it_was_run() {
    let home = Home::new();
    fs::create_dir(home.at("work")).unwrap();
    let folder = home.at("work").canonicalize().unwrap();
    let mut command = home.command(&[&"record", &"--session", &"s", &"--", &"true"]);
    command.env("PATH", "/usr/bin:/bin").current_dir(&folder);
    assert!(command.output().unwrap().status.success());
    let session = home.json(&[&"show", &"s"]);
    assert_eq!(session["source"]["paths"], serde_json::json!([folder]), "{session}");
    assert!(home.done(&[&"ls", &"--path", &folder]).text().contains("s  "));
}
