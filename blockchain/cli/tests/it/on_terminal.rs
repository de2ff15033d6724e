//! `lucid record` where it has a terminal: the program has one, too, and what is kept is an asciicast.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

use crate::home::{Home, wait};
use crate::server::Server;

/// What a user sits at.
struct Seat {
    ours: File,
    its: std::os::fd::OwnedFd,
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Seat {
    fn new() -> Self {
        let how = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(how).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let its = ioctl_tiocgptpeer(&ours, how).unwrap();
        tcsetwinsize(&ours, size(90, 30)).unwrap();
        Self { ours: ours.into(), its }
    }

    /// Runs a shell at it, recorded.
    fn record(&self, home: &Home, session: &str, more: &[&str], script: &str) -> Child {
        let mut command = home.command(&[&"record", &"--session", &session]);
        command.args(more).args(["--", "/bin/sh", "-c", script]);
        let end = || Stdio::from(self.its.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(Stdio::piped());
        command.env("PATH", "/usr/bin:/bin").env("TERM", "xterm").process_group(0);
        command.spawn().unwrap()
    }

    /// Reads what is shown until it ends with this.
    fn until(&mut self, wanted: &str) -> String {
        let mut shown = Vec::new();
        while !String::from_utf8_lossy(&shown).contains(wanted) {
            let mut buffer = [0; 1024];
            let count = self.ours.read(&mut buffer).unwrap();
            shown.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(shown).unwrap()
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.its).unwrap().local_modes.contains(LocalModes::ICANON)
    }
}

/// The lines of an asciicast, each with its time left out.
fn events(home: &Home, session: &str) -> (Value, Vec<(String, String)>) {
    let text = home.done(&[&"cat", &session]).text();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let head = lines.next().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (head, lines.map(|event| (text(&event[1]), text(&event[2]))).collect())
}

#[test]
fn a_program_at_a_terminal_has_one_and_is_kept_as_an_asciicast() {
    let home = Home::new();
    let mut seat = Seat::new();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo all; stty size; read line; echo \"<$line>\"; \
        trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done";
    let child = seat.record(&home, "s", &[], script);
    let shown = seat.until("30 90\r\n");
    assert!(shown.contains("all\r\n"), "{shown}");
    assert!(seat.is_raw());
    seat.ours.write_all("grün\r".as_bytes()).unwrap();
    seat.until("<grün>\r\nready\r\n");
    tcsetwinsize(&seat.ours, size(100, 40)).unwrap();
    kill_process(Pid::from_child(&child), Signal::WINCH).unwrap();
    seat.until("40 100\r\n");
    let ran: crate::home::Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 7, "{}", ran.err);
    assert!(!seat.is_raw(), "the terminal is as it was");

    let (head, events) = events(&home, "s");
    assert_eq!((&head["version"], &head["term"]), (&json!(3), &json!({"cols": 90, "rows": 30})));
    assert!(head["command"].as_str().unwrap().starts_with("/bin/sh -c test -t 0"), "{head}");
    let shown: String =
        events.iter().filter(|(code, _)| code == "o").map(|(_, text)| text.as_str()).collect();
    assert_eq!(shown, "all\r\n30 90\r\ngrün\r\n<grün>\r\nready\r\n40 100\r\n");
    let resized = ("r".to_owned(), "100x40".to_owned());
    assert_eq!(events.iter().filter(|event| **event == resized).count(), 1);
    assert_eq!(events.last(), Some(&("x".to_owned(), "7".to_owned())));
    assert!(!events.iter().any(|(code, _)| code == "i"), "keys are kept when that is asked for");
    let shown = home.json(&[&"show", &"s"]);
    assert_eq!(shown["terminal"], json!({"columns": 90, "rows": 30}), "{shown:#}");
    assert_eq!((&shown["end"], &shown["exit_status"]), (&json!("exit"), &json!({"code": 7})));
    // And it can be played.
    let played = home.done(&[&"play", &"s", &"--raw", &"--max-idle", &"0.01"]).text();
    assert_eq!(played, "all\r\n30 90\r\ngrün\r\n<grün>\r\nready\r\n40 100\r\n");
    home.assert_sound();
}

#[test]
fn keys_are_kept_and_ctrl_c_is_one_that_the_program_hears() {
    let home = Home::new();
    let mut seat = Seat::new();
    let child = seat.record(&home, "keys", &["--input"], "echo ready; cat");
    seat.until("ready\r\n");
    // What the program says itself, and not the terminal, shows that it is there: a shell that is just starting it
    // may lose the signal.
    seat.ours.write_all(b"x\n").unwrap();
    seat.until("x\r\nx\r\n");
    seat.ours.write_all(b"\x03").unwrap();
    let ran: crate::home::Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 128 + 2, "{}", ran.err);
    let (_, events) = events(&home, "keys");
    assert!(events.contains(&("i".to_owned(), "\u{3}".to_owned())), "{events:?}");
    assert_eq!(events.last(), Some(&("x".to_owned(), "130".to_owned())));

    // Told to end from elsewhere, it is the program that is.
    let child = seat.record(
        &home,
        "told",
        &[],
        "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done",
    );
    seat.until("ready\r\n");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(9));
    assert!(!seat.is_raw());

    // With --plain it has pipes, and what is kept is what it wrote.
    let child = seat.record(&home, "plain", &["--plain"], "test -t 1 || echo none");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(home.done(&[&"cat", &"plain"]).text(), "none\n");
    assert!(home.json(&[&"show", &"plain"])["terminal"].is_null());
}

#[test]
fn players_make_no_longer_pause_than_the_recording_was_told() {
    let (home, seat) = (Home::new(), Seat::new());
    let child = seat.record(&home, "idle", &["--idle", "0.1"], "echo one; sleep 5; echo two");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    let (head, _) = events(&home, "idle");
    assert_eq!(head["idle_time_limit"], json!(0.1));
    let begun = Instant::now();
    assert_eq!(home.done(&[&"play", &"idle", &"--raw"]).text(), "one\r\ntwo\r\n");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // Where there is no terminal, that says nothing, which is told.
    let ran = home.run(&[&"record", &"--idle", &"1", &"--", &"true"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("--idle is for players of a terminal"), "{}", ran.err);
    home.refused(64, &[&"record", &"--idle", &"soon", &"--", &"true"]);
}

#[test]
fn a_recording_that_is_killed_leaves_a_cast_that_plays_up_to_there() {
    let behind = Home::new();
    let server = Server::start(&behind);
    let home = Home::new();
    let mut seat = Seat::new();
    let mut child = seat.record(&home, "s", &["--server", &server.url], "echo first; sleep 1000");
    seat.until("first\r\n");
    // It is shown before it is kept.
    wait(|| {
        let ran = behind.run(&[&"--server", &server.url, &"cat", &"s"]);
        ran.text().contains("first").then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let play: [&dyn AsRef<std::ffi::OsStr>; 7] =
        [&"--server", &server.url, &"play", &"s", &"--raw", &"--max-idle", &"0.01"];
    let ran = home.run(&play);
    assert_eq!((ran.code, ran.text().as_str()), (3, "first\r\n"), "{}", ran.err);
    assert!(ran.err.contains("cut short: session s is not sealed yet"), "{}", ran.err);
}
