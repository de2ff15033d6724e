//! `lucid sink`: what programs write to a socket becomes sessions, regardless of what breaks in between.

pub mod activation;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::access::create;
use super::home::{Home, noise, wait};
use super::only_read::{NOBODY, is_root};
use super::server::{Server, told};
use super::trouble::SmallDisk;

const PATIENCE: Duration = Duration::from_secs(60);

/// A sink, what it does and what it remarks. Dropping it kills it.
struct Sinking {
    child: Child,
    events: Receiver<Value>,
    remarks: Receiver<String>,
}

impl Drop for Sinking {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Sinking {
    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (tell, events) = channel();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            let lines = out.map_while(Result::ok);
            let mut events = lines.map(|line| serde_json::from_str(&line).unwrap());
            events.try_for_each(|event| tell.send(event))
        });
        let (tell, remarks) = channel();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || err.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, events, remarks }
    }

    /// Starts one that listens in the room, and waits until it does.
    fn start(home: &Home, server: Option<&str>, more: &[&dyn AsRef<OsStr>]) -> Self {
        let sinking = Self::of(command(home, server, more));
        sinking.event("listening");
        sinking
    }

    /// The next event of a kind; others are passed over.
    fn event(&self, kind: &str) -> Value {
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) if event["event"] == kind => return event,
                Ok(_) => {}
                Err(_) => {
                    panic!("{kind} is missing: {:?}", self.remarks.try_iter().collect::<Vec<_>>())
                }
            }
        }
    }

    /// Waits for a remark with these words.
    fn remark(&self, words: &[&str]) -> String {
        loop {
            let line = self.remarks.recv_timeout(PATIENCE).unwrap();
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }
}

fn command(home: &Home, server: Option<&str>, more: &[&dyn AsRef<OsStr>]) -> Command {
    let (socket, spool) = (home.at("sock"), home.at("spool"));
    let mut arguments: Vec<&dyn AsRef<OsStr>> =
        vec![&"--json", &"sink", &"--listen-unix", &socket, &"--spool", &spool];
    arguments.extend(more);
    let mut command = home.command(&arguments);
    if let Some(url) = server {
        command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", url);
    }
    command
}

fn connect(home: &Home) -> UnixStream {
    UnixStream::connect(home.at("sock")).unwrap()
}

/// Writes all of it, and closes.
fn write(home: &Home, bytes: &[u8]) {
    connect(home).write_all(bytes).unwrap();
}

fn listed(home: &Home, server: &Server) -> BTreeMap<String, Value> {
    let lines = String::from_utf8(server.run(home, &[&"--json", &"ls"])).unwrap();
    let sessions = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    sessions.map(|session| (name(&session), session)).collect()
}

fn name(session: &Value) -> String {
    session["session_id"].as_str().or(session["session"].as_str()).unwrap().to_owned()
}

/// Connections that are in the spool.
fn spooled(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.at("spool")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Bytes of all connections in the spool.
fn spooled_bytes(home: &Home) -> u64 {
    spooled(home).iter().map(|path| fs::metadata(path.join("bytes")).map_or(0, |m| m.len())).sum()
}

#[test]
fn a_connection_is_a_session_of_its_user_sealed_when_it_is_closed() {
    let home = Home::new();
    let mut sinking = Sinking::start(&home, None, &[&"--meta", &"unit=web", &"--tag", &"nightly"]);
    assert_eq!(fs::metadata(home.at("sock")).unwrap().permissions().mode() & 0o777, 0o600);
    // One that brings nothing leaves nothing.
    drop(connect(&home));
    let mut stream = connect(&home);
    stream.write_all(b"hello ").unwrap();
    let began = sinking.event("began");
    stream.write_all(b"world").unwrap();
    drop(stream);
    let sealed = sinking.event("sealed");
    assert_eq!((&sealed["session"], &sealed["bytes"]), (&began["session"], &11.into()));
    assert_eq!(sealed["unterminated"], false);
    assert!(told(&mut sinking.child, "-TERM").success());
    assert!(!home.at("sock").exists(), "the socket goes with its sink");
    assert!(spooled(&home).is_empty());
    let sessions = home.sessions();
    assert_eq!(sessions.len(), 1);
    let session = &sessions[&name(&sealed)];
    assert_eq!(name(session).len(), 15, "as ids are that nobody chose");
    assert_eq!((&session["status"], &session["end"]), (&"anchored".into(), &"eof".into()));
    let metadata = &session["metadata"];
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(metadata["uid"], uid.to_string());
    assert_eq!(metadata["pid"], std::process::id().to_string());
    assert_eq!(metadata["unit"], "web");
    assert_eq!(metadata["socket"], home.at("sock").to_str().unwrap());
    assert_eq!(session["source"]["tags"], serde_json::json!(["nightly"]));
    let known = nix::unistd::User::from_uid(uid.into()).unwrap();
    assert_eq!(session["user_id"], known.map_or(uid.to_string(), |user| user.name));
    assert_eq!(home.done(&[&"cat", &name(&sealed)]).text(), "hello world");
    home.assert_sound();
}

#[test]
fn another_user_is_recorded_as_such_and_a_number_where_there_is_no_name() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    // A user who may reach the socket.
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(home.at("sock").parent().unwrap(), open).unwrap();
    let sinking = Sinking::start(&home, None, &[&"--mode", &"0666"]);
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ns.sendall(b'x')";
    for (uid, user) in [(NOBODY, "nobody"), (54_321, "54321")] {
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(home.at("sock")).uid(uid).gid(uid);
        assert!(command.status().unwrap().success());
        let sealed = sinking.event("sealed");
        assert_eq!(sealed["user"], user);
    }
}

#[test]
fn fifty_connections_at_once_are_fifty_sessions() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    // Fewer may be read at once than there are.
    let sinking = Sinking::start(&home, Some(&server.url), &[&"--max-connections", &"20"]);
    let content = |number: u64| noise(number, 1_000 + usize::try_from(number).unwrap() * 9_001);
    std::thread::scope(|scope| {
        for number in 0..50 {
            let home = &home;
            scope.spawn(move || {
                let mut stream = connect(home);
                for part in content(number).chunks(7_000) {
                    stream.write_all(part).unwrap();
                }
            });
        }
    });
    let mut sealed: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for _ in 0..50 {
        let session = sinking.event("sealed");
        let bytes = server.run(&home, &[&"cat", &name(&session)]);
        *sealed.entry(bytes).or_default() += 1;
    }
    for number in 0..50 {
        assert_eq!(sealed.get(&content(number)), Some(&1), "{number}");
    }
    wait(|| spooled(&home).is_empty().then_some(()));
}

#[test]
fn a_sink_that_is_killed_loses_nothing_that_was_in_its_spool() {
    let (behind, home) = (Home::new(), Home::new());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Server::start_on(&behind, port);
    let url = server.url.clone();
    let sinking = Sinking::start(&home, Some(&url), &[]);
    let (first, second) = (noise(1, 700_000), noise(2, 3_000_000));
    let mut live = connect(&home);
    live.write_all(&first).unwrap();
    let began = sinking.event("began");
    wait(|| (listed(&home, &server).get(&name(&began))?["offset"] == 700_000).then_some(()));
    // The server is away: what comes stays in the spool, that of a connection which is closed, too.
    server.kill();
    live.write_all(&second).unwrap();
    write(&home, b"short, and closed");
    wait(|| (spooled_bytes(&home) == 3_700_017).then_some(()));
    wait(|| spooled(&home).iter().any(|path| path.join("eof").exists()).then_some(()));
    sinking.remark(&["nothing can be sent", "it is tried again"]);
    drop(sinking);
    // The socket of the killed one is there still, and is replaced.
    assert!(fs::symlink_metadata(home.at("sock")).unwrap().file_type().is_socket());
    assert!(UnixStream::connect(home.at("sock")).is_err());
    let sinking = Sinking::start(&home, Some(&url), &[]);
    sinking.remark(&["nothing can be sent"]);
    write(&home, b"of the second");
    let server = Server::start_on(&behind, port);
    let all: Vec<Value> = (0..3).map(|_| sinking.event("sealed")).collect();
    sinking.remark(&["can be sent again"]);
    let mut kept: Vec<(Vec<u8>, bool)> = Vec::new();
    for session in &all {
        let unterminated = session["unterminated"].as_bool().unwrap();
        kept.push((server.run(&home, &[&"cat", &name(session)]), unterminated));
    }
    let whole = [first, second].concat();
    assert!(kept.contains(&(whole, true)), "the sink died before the connection was closed");
    assert!(kept.contains(&(b"short, and closed".to_vec(), false)));
    assert!(kept.contains(&(b"of the second".to_vec(), false)));
    assert!(all.iter().any(|session| session["session"] == began["session"]));
    wait(|| spooled(&home).is_empty().then_some(()));
    assert_eq!(listed(&home, &server).len(), 3);
}

/// Killed again and again while a program writes to whichever sink is there.
#[test]
fn every_byte_that_a_killed_sink_had_read_arrives_once() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let content = noise(7, 40 << 20);
    let mut sent = BTreeMap::new();
    for round in 0_u64..6 {
        let sinking = Sinking::start(&home, Some(&server.url), &[]);
        let mut stream = connect(&home);
        let mut count = 0;
        for part in content.chunks(50_000).take(usize::try_from(round).unwrap() * 20 + 5) {
            stream.write_all(part).unwrap();
            count += part.len();
        }
        let began = sinking.event("began");
        drop(sinking);
        sent.insert(name(&began), count);
    }
    let before: BTreeMap<String, u64> = spooled(&home)
        .iter()
        .map(|path| {
            let length = fs::metadata(path.join("bytes")).unwrap().len();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), length)
        })
        .collect();
    let _sinking = Sinking::start(&home, Some(&server.url), &[]);
    wait(|| spooled(&home).is_empty().then_some(()));
    for (session, count) in sent {
        let kept = server.run(&home, &[&"cat", &session]);
        assert!(kept.len() <= count && content.starts_with(&kept), "{session}");
        if let Some(length) = before.get(&session) {
            assert_eq!(kept.len() as u64, *length, "all that was in the spool");
        }
    }
}

#[test]
fn at_the_end_what_was_written_is_read_and_what_is_left_is_said() {
    let (behind, home) = (Home::new(), Home::new());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let mut sinking = Sinking::start(&home, Some(&url), &[]);
    let mut open = connect(&home);
    open.write_all(b"before it").unwrap();
    write(&home, b"closed");
    // One that is not even accepted, perhaps, when the end is asked for.
    let mut late = connect(&home);
    late.write_all(b"late").unwrap();
    assert!(told(&mut sinking.child, "-TERM").success());
    let left = sinking.remark(&["run the same command again"]);
    assert!(left.contains("3 connections and 19 bytes"), "{left}");
    assert!(!home.at("sock").exists());
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).unwrap();
    let server = Server::start_on(&behind, port);
    let sinking = Sinking::start(&home, Some(&url), &[]);
    let mut kept = BTreeMap::new();
    for _ in 0..3 {
        let sealed = sinking.event("sealed");
        let bytes = server.run(&home, &[&"cat", &name(&sealed)]);
        kept.insert(String::from_utf8(bytes).unwrap(), sealed["unterminated"].as_bool().unwrap());
    }
    let wanted = [("before it", true), ("closed", false), ("late", true)];
    assert_eq!(kept, wanted.map(|(bytes, broken)| (bytes.to_owned(), broken)).into());
}

#[test]
fn a_spool_that_is_full_keeps_programs_waiting_and_goes_on_by_itself() {
    let (behind, home) = (Home::new(), Home::new());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let sinking = Sinking::start(&home, Some(&url), &[&"--spool-limit", &"1"]);
    let content = noise(3, 9 << 20);
    let (wrote, written) = channel();
    let (home_path, sent) = (home.at("sock"), content.clone());
    std::thread::spawn(move || {
        UnixStream::connect(home_path).unwrap().write_all(&sent).unwrap();
        wrote.send(()).unwrap();
    });
    let said = sinking.remark(&["no room", "connections wait"]);
    assert!(said.contains("1.0 MB") || said.contains("1.05 MB"), "{said}");
    // A second one waits, too.
    write(&home, b"patient");
    assert!(spooled_bytes(&home) <= 1 << 20);
    assert!(written.try_recv().is_err(), "the program is kept waiting");
    let server = Server::start_on(&behind, port);
    let mut kept: Vec<Vec<u8>> =
        (0..2).map(|_| server.run(&home, &[&"cat", &name(&sinking.event("sealed"))])).collect();
    kept.sort_by_key(Vec::len);
    assert!(kept[0] == b"patient" && kept[1] == content);
    written.recv_timeout(PATIENCE).unwrap();
    sinking.remark(&["has room again"]);
    let more: Vec<String> = sinking.remarks.try_iter().collect();
    assert!(!more.iter().any(|line| line.contains("no room")), "it is said once: {more:?}");
}

#[test]
fn a_full_disk_loses_nothing_and_is_waited_out() {
    let (behind, home) = (Home::new(), Home::new());
    let Some(disk) = SmallDisk::mount(&home.at("spool"), 2 << 20) else { return };
    fs::set_permissions(&disk.0, fs::Permissions::from_mode(0o700)).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let sinking = Sinking::start(&home, Some(&url), &[]);
    let content = noise(4, 5 << 20);
    let (socket, sent) = (home.at("sock"), content.clone());
    let writing = std::thread::spawn(move || {
        UnixStream::connect(socket).unwrap().write_all(&sent).unwrap();
    });
    sinking.remark(&["no room", "No space left"]);
    write(&home, b"patient");
    assert!(!writing.is_finished());
    // What is sent makes room, though the disk is too small for all of it.
    let server = Server::start_on(&behind, port);
    let mut kept: Vec<Vec<u8>> =
        (0..2).map(|_| server.run(&home, &[&"cat", &name(&sinking.event("sealed"))])).collect();
    kept.sort_by_key(Vec::len);
    assert!(kept[0] == b"patient" && kept[1] == content);
    writing.join().unwrap();
    sinking.remark(&["has room again"]);
    let more: Vec<String> = sinking.remarks.try_iter().collect();
    assert!(!more.iter().any(|line| line.contains("no room")), "it is said once: {more:?}");
    wait(|| spooled(&home).is_empty().then_some(()));
}

#[test]
fn a_live_socket_a_used_spool_and_what_is_no_socket_are_refused() {
    let home = Home::new();
    let sinking = Sinking::start(&home, None, &[]);
    let (socket, store) = (home.at("sock"), home.at("other-store"));
    let other = home.at("other-spool");
    let sink = |socket: &Path, spool: &Path| {
        home.refused(
            1,
            &[&"--data", &store, &"sink", &"--listen-unix", &socket, &"--spool", &spool],
        )
    };
    let live = sink(&socket, &other);
    assert!(live.contains("listened to by another program"), "{live}");
    let used = sink(&home.at("another"), &home.at("spool"));
    assert!(used.contains("in use by another"), "{used}");
    assert!(!home.at("another").exists(), "what it made goes with it");
    let file = home.file("file", "precious");
    let none = sink(&file, &other);
    assert!(none.contains("no socket"), "{none}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    home.refused(64, &[&"sink"]);
    home.refused(64, &[&"sink", &"--listen-unix", &socket, &"--mode", &"9"]);
    // The live one has noticed nothing.
    write(&home, b"still");
    assert_eq!(sinking.event("sealed")["bytes"], 5);
}

#[test]
fn a_token_that_may_append_is_enough_and_another_is_said_and_waited_for() {
    let (behind, home) = (Home::new(), Home::new());
    let made = |role: &str| home.file(role, create(&behind, &[&"--role", &role]).0);
    let (append, read) = (made("append"), made("read"));
    let server = Server::start(&behind);
    let shown = home.file("shown", fs::read(&read).unwrap());
    let sinking = Sinking::start(&home, Some(&server.url), &[&"--token-file", &shown]);
    write(&home, b"first");
    write(&home, b"second");
    let said = sinking.remark(&["cannot be sent"]);
    assert!(said.contains("append"), "{said}");
    wait(|| (spooled(&home).len() == 2).then_some(()));
    // The file of the token is read again.
    fs::write(&shown, fs::read(&append).unwrap()).unwrap();
    let mut sealed = [sinking.event("sealed"), sinking.event("sealed")];
    sealed.sort_by_key(|event| event["bytes"].as_u64());
    let more: Vec<String> = sinking.remarks.try_iter().collect();
    assert!(!more.iter().any(|line| line.contains("cannot be sent")), "once for both: {more:?}");
    let cat = [&"cat" as &dyn AsRef<OsStr>, &name(&sealed[0]), &"--token-file", &read];
    assert_eq!(server.run(&home, &cat), b"first");
    // And again with a sink that was killed while it sent.
    let mut stream = connect(&home);
    stream.write_all(b"broken ").unwrap();
    let began = sinking.event("began");
    let offset = || {
        let show = [&"--json" as &dyn AsRef<OsStr>, &"ls", &"--token-file", &read];
        let lines = String::from_utf8(server.run(&home, &show)).unwrap();
        lines.lines().any(|line| {
            let session: Value = serde_json::from_str(line).unwrap();
            name(&session) == name(&began) && session["offset"] == 7
        })
    };
    wait(|| offset().then_some(()));
    drop(sinking);
    let sinking = Sinking::start(&home, Some(&server.url), &[&"--token-file", &shown]);
    let sealed = sinking.event("sealed");
    assert_eq!((&sealed["session"], &sealed["unterminated"]), (&began["session"], &true.into()));
    assert_eq!(sealed["bytes"], 7);
}

/// A session that an operator sealed goes on in another one.
#[test]
fn what_comes_after_its_session_was_sealed_goes_on_in_another() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let sinking = Sinking::start(&home, Some(&server.url), &[]);
    let mut stream = connect(&home);
    stream.write_all(b"one ").unwrap();
    let began = name(&sinking.event("began"));
    wait(|| (listed(&home, &server).get(&began)?["offset"] == 4).then_some(()));
    server.run(&home, &[&"seal", &began]);
    stream.write_all(b"two").unwrap();
    let second = name(&sinking.event("began"));
    drop(stream);
    assert_eq!(name(&sinking.event("sealed")), second);
    assert_eq!(server.run(&home, &[&"cat", &began]), b"one ");
    assert_eq!(server.run(&home, &[&"cat", &second]), b"two");
    assert_eq!(listed(&home, &server)[&second]["metadata"]["continues"], began);
}
