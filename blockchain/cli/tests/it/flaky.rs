//! A stream through a server that starts, is busy, breaks off or is killed comes whole all the same.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::home::{Home, Ran, Snapshot, noise, wait};
use super::server::Server;

/// What becomes of one request that appends.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is answered with this status, and goes no further.
    Refused(u16),
    /// It is carried out, and nobody hears of it.
    TakenAndBroken,
    /// The connection breaks. Half of the body arrives even so, behind the requests that come before the next
    /// append.
    ArrivesLate,
    /// Of one that seals: it never arrives.
    NeverSealed,
}

/// A door before a server. Requests that append meet their fates, one after the other; when there are
/// none left, and for all others, it is open.
struct Door {
    url: String,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

impl Door {
    fn before(server: &Server, fates: &[Fate]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fates = Arc::new(Mutex::new(fates.iter().copied().collect::<VecDeque<_>>()));
        let (host, all) = (server.url.strip_prefix("http://").unwrap().to_owned(), fates.clone());
        std::thread::spawn(move || {
            let mut late = None;
            for stream in listener.incoming() {
                // A client that breaks off first is no failure of the test.
                let _ = pass(stream.unwrap(), &host, &all, &mut late);
            }
        });
        Self { url, fates }
    }

    fn run(&self, home: &Home, arguments: &[&dyn AsRef<OsStr>], input: &[u8]) -> Ran {
        let mut command = home.command(arguments);
        command
            .env_remove("LUCID_DATA")
            .env("LUCID_DATA_CHAIN_URL", &self.url)
            .stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = stdin.write_all(input);
            });
            child.wait_with_output().unwrap().into()
        })
    }
}

/// One request, and its answer.
fn pass(
    mut client: TcpStream,
    host: &str,
    fates: &Mutex<VecDeque<Fate>>,
    late: &mut Option<Vec<u8>>,
) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut request = Vec::new();
    let head = loop {
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let mut part = [0; 65_536];
        let count = client.read(&mut part)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&part[..count]);
    };
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while request.len() < head + length {
        let mut part = [0; 65_536];
        let count = client.read(&mut part)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&part[..count]);
    }
    let appends = text.starts_with("post ") && text.contains("/append http");
    let seals = text.starts_with("post ") && text.contains("/seal http");
    let fate = {
        let mut fates = fates.lock().unwrap();
        let is_met = match fates.front() {
            Some(Fate::NeverSealed) => seals,
            _ => appends,
        };
        if is_met { fates.pop_front() } else { None }
    };
    if appends && let Some(waiting) = late.take() {
        ask(host, &waiting)?;
    }
    match fate {
        Some(Fate::Refused(status)) => {
            let reply =
                format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return client.write_all(reply.as_bytes());
        }
        Some(Fate::NeverSealed) => return Ok(()),
        Some(Fate::TakenAndBroken) => return ask(host, &request).map(drop),
        Some(Fate::ArrivesLate) => {
            let half = length / 2;
            let shorter = String::from_utf8_lossy(&request[..head])
                .replace(&format!("content-length: {length}"), &format!("content-length: {half}"));
            *late = Some([shorter.as_bytes(), &request[head..head + half]].concat());
            return Ok(());
        }
        None => {}
    }
    client.write_all(&ask(host, &request)?)
}

/// Asks the server itself.
fn ask(host: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let end = request.windows(2).position(|window| window == b"\r\n").unwrap();
    let mut server = TcpStream::connect(host)?;
    server.write_all(&[&request[..end], b"\r\nconnection: close", &request[end..]].concat())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_stream_waits_out_what_time_mends_and_comes_whole() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let bytes = noise(1, 3_500_000);
    let fates: &[(&str, &[Fate])] = &[
        ("starting", &[Fate::Refused(503), Fate::Refused(503)]),
        ("busy", &[Fate::Refused(429), Fate::Refused(502), Fate::Refused(507)]),
        ("taken", &[Fate::TakenAndBroken, Fate::TakenAndBroken]),
        ("late", &[Fate::ArrivesLate]),
    ];
    for (session, fates) in fates {
        let door = Door::before(&server, fates);
        let ran = door.run(&home, &[&"append", &"--session", session, &"--seal-on-eof"], &bytes);
        assert_eq!(ran.code, 0, "{session}: {}", ran.err);
        assert!(door.fates.lock().unwrap().is_empty(), "{session}");
        assert!(server.run(&home, &[&"cat", session]) == bytes, "{session}");
        assert!(ran.err.contains("waiting for"), "{session}: {}", ran.err);
        assert!(ran.err.contains("answers again"), "{session}: {}", ran.err);
    }
}

#[test]
fn a_stream_ends_with_what_time_does_not_mend() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    for status in [401, 403, 404, 410, 422] {
        let door = Door::before(&server, &[Fate::Refused(status)]);
        let session = format!("s{status}");
        let ran = door.run(&home, &[&"append", &"--session", &session], b"bytes");
        assert_eq!(ran.code, 1, "{status}: {}", ran.err);
        assert!(ran.complaint().contains(&status.to_string()), "{}", ran.err);
        assert!(!ran.err.contains("waiting for"), "{status}: {}", ran.err);
    }
}

#[test]
fn a_stream_outlives_its_server_and_may_begin_before_it() {
    let (behind, home) = (Home::new(), Home::new());
    // Below those that the system gives out, so that no other test is given it meanwhile.
    let port =
        (20_000..30_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let mut command = home.command(&[&"append", &"--session", &"live", &"--seal-on-eof"]);
    command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &url).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = noise(2, 6_000_000);
    // It cannot write more than is taken, so it ends only when the second server has come.
    let writer = std::thread::spawn({
        let bytes = bytes.clone();
        move || input.write_all(&bytes)
    });
    let server = Server::start_on(&behind, port);
    let kept = |server: &Server| {
        let mut command = home.command(&[&"--json", &"show", &"live"]);
        let ran: Ran = command
            .env_remove("LUCID_DATA")
            .env("LUCID_DATA_CHAIN_URL", &server.url)
            .output()
            .unwrap()
            .into();
        if ran.code == 0 { ran.json()["offset"].as_u64().unwrap() } else { 0 }
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while kept(&server) < 1_500_000 {
        if child.try_wait().unwrap().is_some() {
            let ran: Ran = child.wait_with_output().unwrap().into();
            panic!("the stream ended: {}", ran.err);
        }
        assert!(Instant::now() < deadline, "the stream did not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(server);
    let server = Server::start_on(&behind, port);
    let written = writer.join().unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.err);
    written.unwrap();
    assert!(server.run(&home, &[&"cat", &"live"]) == bytes);
}

#[test]
fn an_archive_that_was_killed_begins_anew_under_its_id_though_the_folder_has_changed() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let door = Door::before(&server, &[Fate::NeverSealed]);
    let tree = home.file("tree/one", noise(1, 300_000)).parent().unwrap().to_owned();
    let mut archive = home.command(&[&"archive", &tree, &"--session", &"s"]);
    let mut child =
        archive.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &door.url).spawn().unwrap();
    wait(|| door.fates.lock().unwrap().is_empty().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    home.file("tree/one", noise(2, 300_000));
    home.file("tree/a", "a new one, and the first");
    server.run(&home, &[&"archive", &tree, &"--session", &"s"]);
    server.run(&home, &[&"restore", &"s", &"-o", &home.at("back")]);
    Snapshot::of(&tree).assert_same(&Snapshot::of(&home.at("back")));
}
