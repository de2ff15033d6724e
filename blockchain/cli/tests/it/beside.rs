//! Reading beside the process that has a folder: every verb that only reads goes by its door, and nothing else does.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lucid_api::client::{Append, ClientError, ClientOptions, DataChainClient};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::maintenance::CollectGarbage;
use lucid_api::v1::removal::RemoveQuery;
use lucid_api::v1::sessions::{CreateSession, SealSession};
use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Home, Ran, noise, prose, wait};
use crate::server::Server;

type Word<'a> = &'a dyn AsRef<OsStr>;

const CAST: &str = "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24}}\n[0.1,\"o\",\"one\\r\\n\"]\n[0.1,\"o\",\"two\"]\n";

/// A command that has the folder; dropping it ends it.
struct Owner(Child);

impl Owner {
    /// Starts a command, and waits until others can read beside it. One that finds a reader in the folder starts again.
    fn start(home: &Home, arguments: &[Word<'_>]) -> Self {
        wait(|| {
            let mut command = home.command(arguments);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut owner = Self(command.spawn().unwrap());
            while owner.0.try_wait().unwrap().is_none() {
                if owns(home, owner.0.id()) && is_open(home) {
                    return Some(owner);
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            None
        })
    }

    fn watch(home: &Home) -> Self {
        let recordings = home.at("recordings");
        fs::create_dir_all(&recordings).unwrap();
        let idle: [Word<'_>; 4] = [&"--idle", &"1000", &"--interval", &"0.05"];
        Self::start(home, &[&[&"watch" as Word<'_>, &recordings], &idle[..]].concat())
    }

    fn input(&mut self) -> ChildStdin {
        self.0.stdin.take().unwrap()
    }

    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// A `lucid follow`; dropping it ends it.
struct Following(Owner);

impl Following {
    fn start(home: &Home, session: &str) -> Self {
        Self(Owner(home.command(&[&"follow", &session, &"--from-start"]).spawn().unwrap()))
    }

    fn next(&mut self, wanted: &[u8]) {
        let mut bytes = vec![0; wanted.len()];
        self.0.0.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, wanted);
    }

    fn ended(mut self, saying: &str) {
        let mut said = String::new();
        self.0.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains(saying), "{said}");
        assert_eq!(self.0.0.wait().unwrap().code(), Some(0), "{said}");
    }
}

fn socket(home: &Home) -> PathBuf {
    home.data().join("data-chain/run/local.sock")
}

/// Whether a process has the folder: a reader that goes on for an owner that ended has a door, too.
fn owns(home: &Home, process: u32) -> bool {
    let lock = fs::read_to_string(home.data().join("data-chain/run/lock"));
    lock.is_ok_and(|text| text.ends_with(&format!("(process {process})")))
}

fn is_open(home: &Home) -> bool {
    UnixStream::connect(socket(home)).is_ok()
}

fn client(home: &Home) -> DataChainClient {
    let door = format!("unix:{}", socket(home).display());
    DataChainClient::new(&door, ClientOptions::default()).unwrap()
}

/// A store with an archived folder, another one like it, and a recording of a terminal.
fn filled() -> Home {
    let home = Home::new();
    home.file("tree/big", noise(1, 3_000_000));
    home.file("tree/a/small", prose(2, 200));
    home.archive("tree", &home.at("tree"));
    home.file("tree/a/more", "more");
    home.archive("later", &home.at("tree"));
    home.fed(&[&"append", &"--session", &"cast", &"--seal-on-eof"], CAST.as_bytes());
    home
}

/// What verbs say of what [`filled`] made, whether or not there is an owner; each exits with its code.
fn read(home: &Home) -> Vec<(i32, String)> {
    let out = home.at("proof");
    let verbs: [&[Word<'_>]; 14] = [
        &[&"ls", &"tree"],
        &[&"tree", &"tree"],
        &[&"show", &"tree"],
        &[&"cat", &"tree", &"a/small"],
        &[&"cat", &"cast"],
        &[&"find", &"**/small"],
        &[&"stats", &"tree"],
        &[&"diff", &"tree", &"later"],
        &[&"play", &"cast", &"--raw", &"--speed", &"1000"],
        &[&"query", &"sessions"],
        &[&"prove", &"tree", &"--path", &"a/small", &"-o", &out],
        &[&"retention"],
        &[&"audit", &"ls"],
        &[&"follow", &"cast", &"--from-start"],
    ];
    let ran = verbs.map(|verb| {
        let ran = home.run(verb);
        assert!(!ran.err.contains("in use"), "{}", ran.err);
        (ran.code, String::from_utf8_lossy(&ran.out).into_owned())
    });
    ran.into()
}

/// Fails naming the verb that says something else than before.
fn same(home: &Home, before: &[(i32, String)]) {
    for (now, before) in read(home).iter().zip(before) {
        assert_eq!(now, before);
    }
}

fn grow(home: &Home, name: &str, bytes: &[u8]) {
    let path = home.at("recordings").join(name);
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// The session that a watcher made of a file, once it has so many bytes.
fn recording(home: &Home, bytes: usize) -> String {
    wait(|| {
        let sessions = home.sessions().into_iter();
        let mut live = sessions.filter(|(_, session)| session["status"] == "active");
        let found = live.find(|(_, session)| session["content_bytes"] == bytes);
        found.map(|(id, _)| id)
    })
}

#[test]
fn every_verb_that_only_reads_works_beside_a_watch_as_on_the_folder() {
    let home = filled();
    let before = read(&home);
    assert!(before.iter().all(|(code, _)| *code == 0 || *code == 1), "{before:?}");
    let watch = Owner::watch(&home);
    same(&home, &before);

    // Only the folder's owner comes in.
    let door = fs::symlink_metadata(socket(&home)).unwrap();
    assert!(door.file_type().is_socket());
    let run = fs::metadata(home.data().join("data-chain/run")).unwrap();
    assert_eq!((door.mode() & 0o777, run.mode() & 0o777), (0o600, 0o700));
    assert_eq!(door.uid(), fs::metadata(home.data().join("data-chain/STORE")).unwrap().uid());

    home.done(&[&"restore", &"tree", &"-o", &home.at("back")]);
    assert!(fs::read(home.at("back/big")).unwrap() == noise(1, 3_000_000));
    assert!(fs::read(home.at("back/a/small")).unwrap() == prose(2, 200));
    let verified = home.done(&[&"verify", &"tree"]).text();
    assert!(verified.contains("not checked: the server's own files"), "{verified}");
    assert!(verified.contains("everything is sound"), "{verified}");
    assert!(home.done(&[&"verify", &"--all"]).text().contains("everything is sound"));
    // Without a service nobody took the chain's documents in.
    let refused = home.refused(1, &[&"query", &"blocks"]);
    assert!(refused.contains("`lucid watch` has the folder"), "{refused}");
    // What is to be looked at without its owner is refused as ever.
    let refused = home.refused(1, &[&"ls", &"--read-only"]);
    assert!(refused.contains("in use by `lucid watch`"), "{refused}");

    // What is recorded is seen while it comes, and followed.
    grow(&home, "live", b"one ");
    let live = recording(&home, 4);
    assert_eq!(home.done(&[&"cat", &live]).text(), "one ");
    let mut following = Following::start(&home, &live);
    following.next(b"one ");
    grow(&home, "live", b"two ");
    following.next(b"two ");
    // Who follows waits for the next owner, and leaves the folder to it.
    assert_eq!(watch.end(Signal::TERM), Some(143));
    assert!(!socket(&home).exists(), "it is gone with its owner");
    grow(&home, "live", b"three");
    let _watch = Owner::watch(&home);
    following.next(b"three");
}

#[test]
fn nothing_is_written_through_the_door_of_a_watch() {
    let home = filled();
    let _watch = Owner::watch(&home);
    let client = client(&home);
    let new = CreateSession { session_id: Some("new".into()), ..CreateSession::default() };
    let gc = CollectGarbage::default();
    let refused: [Result<(), ClientError>; 6] = [
        client.create_session(&new).map(drop),
        client.append("cast", &Append::default(), &b"more"[..]).map(drop),
        client.put_chunks([&b"chunk"[..]]).map(drop),
        client.seal("cast", &SealSession::default()).map(drop),
        client.remove_session("tree", &RemoveQuery::default()).map(drop),
        client.collect_garbage(&gc).map(drop),
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Forbidden), "{error}");
        assert!(error.to_string().contains("lets others read, and nothing else"), "{error}");
    }
    for verb in [&[&"rm" as Word<'_>, &"tree", &"--yes"][..], &[&"gc"], &[&"seal", &"cast"]] {
        let refused = home.hindered(verb);
        assert!(refused.contains("is in use by `lucid watch`"), "{refused}");
    }
    // Having something verified is noted by a service, and not here.
    home.done(&[&"verify", &"tree"]);
    let past = client.verify_history(&Default::default()).unwrap();
    assert!(past.is_empty(), "{past:?}");
}

#[test]
fn others_read_beside_what_is_recorded_and_appended() {
    let home = filled();
    let script = "echo first; read line; echo $line; read end";
    let mut record =
        Owner::start(&home, &[&"record", &"--session", &"r", &"--", &"sh", &"-c", &script]);
    let mut input = record.input();
    let mut following = Following::start(&home, "r");
    following.next(b"first\n");
    input.write_all(b"second\n").unwrap();
    following.next(b"second\n");
    assert_eq!(home.done(&[&"cat", &"r"]).text(), "first\nsecond\n");
    assert!(home.done(&[&"ls"]).text().contains("active"));
    input.write_all(b"end\n").unwrap();
    assert_eq!(record.0.wait().unwrap().code(), Some(0));
    following.ended("session r is sealed: exit 0");
    assert!(!socket(&home).exists());

    let mut append = Owner::start(&home, &[&"append", &"--session", &"a", &"--seal-on-eof"]);
    let mut input = append.input();
    input.write_all(b"before ").unwrap();
    wait(|| (home.run(&[&"cat", &"a"]).text() == "before ").then_some(()));
    let mut following = Following::start(&home, "a");
    following.next(b"before ");
    input.write_all(b"after").unwrap();
    following.next(b"after");
    drop(input);
    assert_eq!(append.0.wait().unwrap().code(), Some(0));
    following.ended("session a is sealed: eof");
    assert!(!socket(&home).exists());
    assert!(home.done(&[&"show", &"a"]).text().contains("anchored"));
}

#[test]
fn verbs_read_beside_a_service_without_being_told() {
    let home = filled();
    let before = read(&home);
    let server = Server::start(&home);
    same(&home, &before);
    home.done(&[&"verify", &"--all"]);
    wait(|| home.done(&[&"query", &"blocks"]).text().contains("block").then_some(()));
    drop(server);
    assert!(socket(&home).exists(), "it was killed");
    same(&home, &before);
}

#[test]
fn a_door_that_a_killed_owner_left_stands_in_nobodys_way() {
    let home = filled();
    let before = read(&home);
    let watch = Owner::watch(&home);
    watch.end(Signal::KILL);
    assert!(socket(&home).exists() && !is_open(&home));
    same(&home, &before);
    home.assert_sound();
    // The next owner has its own in place of it.
    let _watch = Owner::watch(&home);
    same(&home, &before);
}

#[test]
fn owners_that_come_and_go_disturb_no_reader() {
    let home = filled();
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let went = |ran: Ran| assert_eq!(ran.code, 0, "{}{}", ran.err, ran.text());
    std::thread::scope(|scope| {
        let (home, over, rounds) = (&home, &over, &rounds);
        let _ends = Ends(over);
        let looped = |verb: &'static [&'static str]| {
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let words: Vec<Word<'_>> = verb.iter().map(|word| word as Word<'_>).collect();
                    let ran = home.run(&words);
                    if verb[0] == "cat" {
                        assert!(ran.out == noise(1, 3_000_000), "{}", ran.err);
                    }
                    went(ran);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        };
        looped(&["ls", "tree"]);
        looped(&["cat", "tree", "big"]);
        looped(&["verify", "tree"]);
        for round in 0..6 {
            let watch = Owner::watch(home);
            let done = rounds.load(Ordering::Relaxed);
            wait(|| (rounds.load(Ordering::Relaxed) > done + 4).then_some(()));
            let (signal, code) = [(Signal::TERM, 143), (Signal::INT, 130)][round % 2];
            assert_eq!(watch.end(signal), Some(code));
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// Ends loops, also where a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn beside_an_owner_no_passphrase_is_wanted_and_a_webdav_server_reads_on() {
    let home = Home::new();
    let passphrase = home.file("passphrase", "a long enough passphrase\n");
    let file = home.file("file", "content");
    home.done(&[&"--passphrase-file", &passphrase, &"archive", &file, &"--session", &"s"]);
    let recordings = home.at("recordings");
    fs::create_dir_all(&recordings).unwrap();
    let refused = home.refused(1, &[&"ls"]);
    assert!(refused.contains("passphrase"), "{refused}");
    let _watch = Owner::start(&home, &[&"--passphrase-file", &passphrase, &"watch", &recordings]);
    assert_eq!(home.done(&[&"cat", &"s", &"file"]).text(), "content");
    assert!(home.done(&[&"ls"]).text().contains("anchored"));
    let mut serve = home.command(&[&"--json", &"serve", &"--webdav", &"127.0.0.1:0"]);
    let mut serve = Owner(serve.spawn().unwrap());
    let mut line = String::new();
    let mut out = std::io::BufReader::new(serve.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = format!("{}s/file", told["webdav"].as_str().unwrap());
    let read = std::process::Command::new("curl").args(["-sS", "--fail", &url]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "content", "{url}: {read:?}");
}
