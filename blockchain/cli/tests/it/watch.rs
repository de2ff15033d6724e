//! `lucid watch`: files that grow become sessions, whatever breaks in between.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::home::{Home, noise, prose};
use super::server::Server;

/// Waits for what comes about by itself.
fn wait<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come about in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends a child that a failed test leaves behind.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn grow(home: &Home, name: &str, bytes: &[u8]) {
    let path = home.at("recordings").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Sessions by the path of their file.
fn by_path(sessions: impl IntoIterator<Item = Value>) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for session in sessions {
        let path = session["metadata"]["path"].as_str().unwrap().to_owned();
        found.entry(path).or_default().push(session);
    }
    found
}

fn name(session: &Value) -> String {
    session["session_id"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_there_is_sent_once_and_sealed_when_it_is_quiet() {
    let home = Home::new();
    let (one, two) = (prose(1, 100_000), noise(2, 3_000_000));
    grow(&home, "one.log", &one);
    grow(&home, "deep/two.bin", &two);
    grow(&home, ".hidden", b"not a recording");
    grow(&home, "empty", b"");
    let folder = home.at("recordings");
    let once = |idle: &str| {
        home.done(&[
            &"watch",
            &folder,
            &"--once",
            &"--idle",
            &idle,
            &"--session-prefix",
            &"rec-",
            &"--user",
            &"ann",
            &"--meta",
            &"host=web-1",
        ])
    };
    once("3600");
    let sessions = by_path(home.sessions().into_values());
    assert_eq!(sessions.keys().collect::<Vec<_>>(), ["deep/two.bin", "one.log"]);
    let [session] = sessions["one.log"].as_slice() else { panic!("one session is wanted") };
    assert!(name(session).starts_with("rec-one.log-"), "{session}");
    assert_eq!((&session["status"], &session["offset"]), (&"active".into(), &100_000.into()));
    assert_eq!(
        (&session["user_id"], &session["metadata"]["host"]),
        (&"ann".into(), &"web-1".into())
    );
    // It has grown, and then it is quiet.
    grow(&home, "one.log", b"the end\n");
    std::thread::sleep(Duration::from_millis(100));
    once("0.05");
    once("0.05");
    let sessions = by_path(home.sessions().into_values());
    for (path, content) in [("one.log", [&one[..], b"the end\n"].concat()), ("deep/two.bin", two)] {
        let [session] = sessions[path].as_slice() else { panic!("{path} is one session") };
        assert_eq!((&session["status"], &session["end"]), (&"anchored".into(), &"eof".into()));
        assert!(home.done(&[&"cat", &name(session)]).out == content, "{path}");
    }
    // What grows after that goes on in a session of its own; what was renamed is what it was.
    grow(&home, "one.log", b"an afterthought");
    fs::rename(folder.join("deep/two.bin"), folder.join("deep/old.bin")).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    once("0.05");
    let sessions = by_path(home.sessions().into_values());
    assert_eq!(sessions.values().map(Vec::len).sum::<usize>(), 3);
    let after =
        sessions["one.log"].iter().find(|s| s["metadata"]["continues"].is_string()).unwrap();
    assert_eq!(home.done(&[&"cat", &name(after)]).text(), "an afterthought");
    // Nothing is remembered of what is gone.
    fs::remove_dir_all(folder.join("deep")).unwrap();
    once("0.05");
    let spool = fs::read_dir(folder.join(".lucid-watch")).unwrap();
    assert_eq!(spool.count(), 2, "the lock and one recording");
    home.assert_sound();
}

#[test]
fn a_watcher_goes_on_after_every_break() {
    let (behind, home) = (Home::new(), Home::new());
    // A port that is free now; the server comes back on it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start_on(&behind, port);
    let (url, folder) = (server.url.clone(), home.at("recordings"));
    fs::create_dir_all(&folder).unwrap();
    let watch = || {
        let mut command =
            home.command(&[&"watch", &folder, &"--idle", &"2", &"--interval", &"0.05"]);
        command.env("LUCID_DATA_CHAIN_URL", &url).stdout(Stdio::null()).stderr(Stdio::null());
        Watching(command.spawn().unwrap())
    };
    let listed = |server: &Server| -> BTreeMap<String, Vec<Value>> {
        let lines = String::from_utf8(server.run(&home, &[&"--json", &"ls"])).unwrap();
        by_path(lines.lines().map(|line| serde_json::from_str(line).unwrap()))
    };
    let kept = |server: &Server, path: &str, bytes: usize| {
        let sessions = listed(server);
        let session = sessions.get(path)?.first()?;
        (session["offset"].as_u64() >= Some(bytes as u64)).then_some(())
    };
    let content = noise(3, 900_000);
    let (first, rest) = content.split_at(300_000);
    let (second, third) = rest.split_at(300_000);

    let watching = watch();
    grow(&home, "live", first);
    grow(&home, "removed", b"soon gone");
    wait(|| kept(&server, "live", 300_000).and(kept(&server, "removed", 9)));
    fs::remove_file(folder.join("removed")).unwrap();
    // The server is killed while the recording goes on, and then the watcher, too.
    drop(server);
    grow(&home, "live", second);
    std::thread::sleep(Duration::from_millis(200));
    drop(watching);
    let server = Server::start_on(&behind, port);
    let watching = watch();
    wait(|| kept(&server, "live", 600_000));
    drop(watching);
    grow(&home, "live", third);
    let _watching = watch();
    let sealed = wait(|| {
        let sessions = listed(&server);
        let all = ["live", "removed"].map(|path| sessions[path].clone());
        let done = |session: &Value| session["status"] == "anchored";
        all.iter().flatten().all(done).then_some(all)
    });
    let [live, removed] = sealed;
    assert_eq!((live.len(), removed.len()), (1, 1), "each file is one session");
    assert_eq!(server.run(&home, &[&"cat", &name(&live[0])]), content);
    assert_eq!(server.run(&home, &[&"cat", &name(&removed[0])]), b"soon gone");
}

#[test]
fn two_watchers_do_not_share_a_spool() {
    let home = Home::new();
    grow(&home, "live", b"bytes");
    let folder = home.at("recordings");
    let watching = home.command(&[&"watch", &folder]).stdout(Stdio::null()).spawn().unwrap();
    let _watching = Watching(watching);
    wait(|| folder.join(".lucid-watch/lock").exists().then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    let refused = home.refused(1, &[&"watch", &folder, &"--once"]);
    assert!(refused.contains("in use by another `lucid watch`"), "{refused}");
    let absent = home.refused(1, &[&"watch", &home.at("absent")]);
    assert!(absent.contains("cannot be watched"), "{absent}");
    let wrong = home.run(&[&"watch", &folder, &"--idle", &"never"]);
    assert_eq!(wrong.code, 64, "{}", wrong.err);
}
