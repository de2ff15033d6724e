//! Sockets that systemd passes to a sink, by the real program of systemd and by hand.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Sinking;
use crate::home::{Home, wait};
use crate::server::told;

/// Fails where a program is missing, and names the package of Debian that has it.
pub fn needs(program: &str, package: &str) {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into));
        folders.into_iter().any(|folder: std::path::PathBuf| folder.join(program).exists())
    });
    assert!(found, "{program} is missing: install it with `apt-get install {package}`");
}

/// Runs a command as systemd does, with sockets as descriptors from 3 on. The shell puts its own number into
/// `LISTEN_PID`, and becomes the command.
fn activated(home: &Home, sockets: [OwnedFd; 2], names: &str) -> Command {
    let [first, second] = sockets;
    let spool = home.at("spool");
    let run = home.command(&[]);
    let mut command = Command::new("/bin/sh");
    command.env_clear().envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(home.at("."));
    let script = "exec 3<&0 4>&1 1>&2; LISTEN_PID=$$; export LISTEN_PID; exec \"$0\" \"$@\"";
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_lucid"), "--json", "sink", "--spool"])
        .arg(&spool);
    command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", names);
    command.stdin(Stdio::from(first)).stdout(Stdio::from(second)).stderr(Stdio::piped());
    command
}

#[test]
fn sockets_that_are_passed_are_listened_to_under_their_names_and_stay() {
    let home = Home::new();
    let sockets = ["one", "two"].map(|name| UnixListener::bind(home.at(name)).unwrap());
    let mut early = UnixStream::connect(home.at("one")).unwrap();
    early.write_all(b"early").unwrap();
    drop(early);
    let passed = sockets.each_ref().map(|socket| OwnedFd::from(socket.try_clone().unwrap()));
    let mut child = activated(&home, passed, "sudo:unknown").spawn().unwrap();
    // The second descriptor was its standard output: what it tells goes where its remarks go.
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let two = home.at("two").to_str().unwrap().to_owned();
    let mut next = |kind: &str| loop {
        let event = events.next().unwrap();
        if event["event"] == kind {
            return event;
        }
    };
    assert_eq!(next("sealed")["bytes"], 5);
    UnixStream::connect(home.at("two")).unwrap().write_all(b"second").unwrap();
    assert_eq!(next("sealed")["bytes"], 6);
    assert!(told(&mut child, "-TERM").success());
    assert!(home.at("one").exists() && home.at("two").exists(), "they are not its own");
    let sessions = home.sessions();
    let mut by: Vec<_> =
        sessions.values().map(|session| session["metadata"]["socket"].as_str().unwrap()).collect();
    by.sort_unstable();
    let mut wanted = ["sudo", two.as_str()];
    wanted.sort_unstable();
    assert_eq!(by, wanted);
}

#[test]
fn a_connection_or_a_socket_for_datagrams_that_is_passed_is_refused_in_words() {
    let home = Home::new();
    let listening = UnixListener::bind(home.at("passed")).unwrap();
    let (connected, _other) = UnixStream::pair().unwrap();
    let datagrams = UnixDatagram::unbound().unwrap();
    for (wrong, word) in
        [(OwnedFd::from(connected), "Accept=no"), (datagrams.into(), "ListenStream=")]
    {
        let ran = activated(&home, [listening.try_clone().unwrap().into(), wrong], "a:b")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{said}");
        assert!(said.contains(word) && said.contains("descriptor 4"), "{said}");
    }
}

#[test]
fn systemd_passes_its_socket() {
    needs("systemd-socket-activate", "systemd");
    let home = Home::new();
    let (socket, spool) = (home.at("sock"), home.at("spool"));
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--listen").arg(&socket).args(["--fdname", "web", "-E", "LUCID_DATA"]);
    command.arg(env!("CARGO_BIN_EXE_lucid")).args(["--json", "sink", "--spool"]).arg(&spool);
    command.env("LUCID_DATA", home.data()).current_dir(home.at("."));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let sinking = Sinking::of(command);
    wait(|| UnixStream::connect(&socket).ok()).write_all(b"by systemd").unwrap();
    let sealed = sinking.event("sealed");
    assert_eq!(sealed["bytes"], 10);
    drop(sinking);
    assert!(socket.exists(), "it is systemd's");
}

#[test]
fn an_own_process_for_each_connection_is_refused_in_words() {
    needs("systemd-socket-activate", "systemd");
    let home = Home::new();
    let socket = home.at("sock");
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--accept").arg("--listen").arg(&socket).args(["-E", "LUCID_DATA"]);
    command.arg(env!("CARGO_BIN_EXE_lucid")).args(["--json", "sink"]);
    command.env("LUCID_DATA", home.data()).current_dir(home.at("."));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let sinking = Sinking::of(command);
    let _connected = wait(|| UnixStream::connect(&socket).ok());
    let said = sinking.remark(&["Accept=no"]);
    assert!(said.contains("\"remedy\":\"set Accept=no"), "{said}");
}
