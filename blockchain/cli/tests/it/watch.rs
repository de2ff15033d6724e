//! `lucid watch`: files that grow become sessions, regardless of what breaks in between.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::home::{Home, Ran, noise, prose, wait};
use super::only_read::{NOBODY, as_somebody, is_root};
use super::server::Server;

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
    home.let_rest("recordings");
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
    home.let_rest("recordings");
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
    assert_eq!(spool.count(), 3, "the lock, the store and one recording");
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
        command
            .env_remove("LUCID_DATA")
            .env("LUCID_DATA_CHAIN_URL", &url)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
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

/// A spool knows what was sent, and that is so for one store only.
#[test]
fn a_spool_is_of_one_store() {
    let home = Home::new();
    grow(&home, "one.log", b"sent to the first");
    let folder = home.at("recordings");
    let once = [&"watch" as &dyn AsRef<OsStr>, &folder, &"--once", &"--idle", &"0.05"];
    home.let_rest("recordings");
    home.done(&once);
    // One from before knows no store, and takes the one it is used with.
    fs::remove_file(folder.join(".lucid-watch/store")).unwrap();
    home.done(&once);
    assert_eq!(home.sessions().len(), 1);
    let (first, second) = (home.data().to_owned(), home.at("second"));
    let home = home.with_data(second);
    let refused = home.refused(1, &once);
    assert!(refused.contains("is of store") && refused.contains("--spool"), "{refused}");
    let elsewhere = home.at("another-spool");
    home.done(&[&"watch", &folder, &"--once", &"--idle", &"0.05", &"--spool", &elsewhere]);
    assert_eq!(home.sessions().len(), 1);
    // A server is known by the store behind it.
    let home = home.with_data(first);
    let server = Server::start(&home);
    server.run(&home, &once);
    let (other, empty) = (Home::new(), Server::start(&Home::new()));
    let mut command = other.command(&once);
    let ran =
        command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &empty.url).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("is of store"), "{said}");
}

/// Lines of a watcher's remarks, as they come.
fn remarks(watching: &mut Child) -> std::sync::mpsc::Receiver<String> {
    let (tell, told) = std::sync::mpsc::channel();
    let lines = BufReader::new(watching.stderr.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    told
}

fn remark(told: &std::sync::mpsc::Receiver<String>, what: &[&str]) {
    loop {
        let line = told.recv_timeout(Duration::from_secs(60)).unwrap();
        if what.iter().all(|what| line.contains(what)) {
            return;
        }
    }
}

#[test]
fn one_bad_folder_path_or_file_does_not_stop_or_slow_the_others() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let folder = home.at("recordings");
    grow(&home, "sealed/old", b"sent before");
    // A name of 255 bytes, seventeen folders deep, has no path that the system takes.
    let component = "x".repeat(255);
    let long = std::process::Command::new("/bin/sh")
        .args([
            "-c",
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do mkdir $0; cd -P $0; done; \
                      echo deep > file",
            &component,
        ])
        .current_dir(&folder)
        .status()
        .unwrap();
    assert!(long.success());
    let mut command = home.command(&[&"watch", &folder, &"--idle", &"0.3", &"--interval", &"0.05"]);
    command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url).stdout(Stdio::null());
    let mut watching = Watching(command.spawn().unwrap());
    let told = remarks(&mut watching.0);
    remark(&told, &["xxxx", "too long"]);
    let listed = || -> BTreeMap<String, Vec<Value>> {
        let lines = String::from_utf8(server.run(&home, &[&"--json", &"ls"])).unwrap();
        by_path(lines.lines().map(|line| serde_json::from_str(line).unwrap()))
    };
    let anchored = |path: &str| {
        let sessions = listed();
        let session = sessions.get(path)?.first()?;
        (session["status"] != "active").then_some(())
    };
    wait(|| anchored("sealed/old"));
    // A file that cannot be sent: its session was removed under it.
    grow(&home, "bad", b"first");
    let bad = wait(|| Some(listed().get("bad")?.first()?.clone()));
    server.run(&home, &[&"rm", &name(&bad), &"--yes"]);
    grow(&home, "bad", b"second");
    remark(&told, &["\"bad\"", "removed"]);
    for number in 0..4 {
        let path = format!("good-{number}");
        let started = Instant::now();
        grow(&home, &path, b"recorded beside it");
        wait(|| anchored(&path));
        assert!(started.elapsed() < Duration::from_secs(20), "it waited for the bad one");
    }
    // Its folder is away, and what is not there is not gone.
    let away = home.at("away");
    fs::rename(&folder, &away).unwrap();
    remark(&told, &["recordings", "is not there"]);
    fs::create_dir(&folder).unwrap();
    remark(&told, &["recordings", "another folder"]);
    fs::remove_dir(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    remark(&told, &["recordings", "well again"]);
    grow(&home, "after", b"and on it goes");
    wait(|| anchored("after"));
    assert_eq!(listed()["sealed/old"].len(), 1, "nothing is sent twice");
}

#[test]
fn what_stands_in_a_file_between_two_runs_is_told_from_its_recording() {
    let home = Home::new();
    let folder = home.at("recordings");
    let watch = |idle: &str| {
        home.done(&[&"watch", &folder, &"--once", &"--idle", &idle]);
    };
    grow(&home, "open", b"aaaa\n");
    grow(&home, "sealed", b"aaaa\n");
    watch("3600");
    // The one is still open, the other is sealed; both are written anew in their place, and longer.
    let open = by_path(home.sessions().into_values())["sealed"][0].clone();
    home.done(&[&"seal", &name(&open)]);
    watch("3600");
    for file in ["open", "sealed"] {
        fs::write(folder.join(file), b"bbbbbbbbb\n").unwrap();
    }
    home.let_rest("recordings");
    watch("0.05");
    watch("0.05");
    let sessions = by_path(home.sessions().into_values());
    for (file, end) in [("open", "unterminated"), ("sealed", "eof")] {
        let mut contents: Vec<_> = sessions[file]
            .iter()
            .map(|session| {
                assert!(session["metadata"]["continues"].is_null(), "{session}");
                (home.done(&[&"cat", &name(session)]).text(), session["end"].clone())
            })
            .collect();
        contents.sort_by(|a, b| a.0.cmp(&b.0));
        let wanted = [("aaaa\n".to_owned(), end.into()), ("bbbbbbbbb\n".to_owned(), "eof".into())];
        assert_eq!(contents, wanted, "{file}");
    }
    home.assert_sound();
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
    let absent = home.refused(74, &[&"watch", &home.at("absent")]);
    assert!(absent.contains("cannot be watched"), "{absent}");
    let wrong = home.run(&[&"watch", &folder, &"--idle", &"never"]);
    assert_eq!(wrong.code, 64, "{}", wrong.err);
}

/// Looks once at recordings that have not changed for a while.
fn once(home: &Home, idle: &str) -> Ran {
    home.let_rest("recordings");
    home.run(&[&"watch", &home.at("recordings"), &"--once", &"--idle", &idle])
}

/// What the sessions of a file keep, and how they ended; the order is that of their contents.
fn recorded(home: &Home, path: &str) -> Vec<(String, Value)> {
    let sessions = by_path(home.sessions().into_values());
    let contents = sessions[path]
        .iter()
        .map(|session| (home.done(&[&"cat", &name(session)]).text(), session["end"].clone()));
    let mut contents: Vec<_> = contents.collect();
    contents.sort_by(|a, b| a.0.cmp(&b.0));
    contents
}

#[test]
fn one_look_sends_all_of_a_large_file_and_seals_it() {
    const LENGTH: u64 = 70 << 20;
    let home = Home::new();
    grow(&home, "large", b"zeros follow");
    let file = OpenOptions::new().write(true).open(home.at("recordings/large")).unwrap();
    file.set_len(LENGTH).unwrap();
    let ran = once(&home, "0.05");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let session = by_path(home.sessions().into_values())["large"][0].clone();
    assert_eq!(
        (&session["status"], &session["content_bytes"]),
        (&"anchored".into(), &LENGTH.into())
    );
}

#[test]
fn more_files_than_may_be_open_are_all_sealed() {
    const FILES: usize = 125;
    let home = Home::new();
    for number in 0..FILES {
        grow(&home, &format!("{number:03}"), b"quiet");
    }
    home.let_rest("recordings");
    let mut command = std::process::Command::new("sh");
    command.env_clear().arg("-c").arg("ulimit -n 128 && exec \"$0\" \"$@\"");
    command.arg(env!("CARGO_BIN_EXE_lucid")).arg("--data").arg(home.data());
    command.arg("watch").arg(home.at("recordings")).args(["--once", "--idle", "0.05"]);
    let ran: Ran = command.output().unwrap().into();
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let anchored = |session: &Value| session["status"] == "anchored";
    assert_eq!(home.sessions().values().filter(|session| anchored(session)).count(), FILES);
}

#[test]
fn a_file_that_was_written_anew_at_the_same_length_is_another_recording() {
    let home = Home::new();
    for file in ["open", "sealed", "sealed by others", "touched"] {
        grow(&home, file, b"aaaa\n");
    }
    assert_eq!(once(&home, "3600").code, 0);
    let sessions = by_path(home.sessions().into_values());
    for file in ["sealed", "sealed by others", "touched"] {
        home.done(&[&"seal", &name(&sessions[file][0])]);
    }
    let anew = |file: &str, bytes: &[u8]| {
        fs::write(home.at("recordings").join(file), bytes).unwrap();
    };
    // Sealed, and nobody noted it: as when anchoring it failed.
    anew("sealed by others", b"bbbb\n");
    assert_eq!(once(&home, "3600").code, 0);
    assert_eq!(once(&home, "3600").code, 0);
    for file in ["open", "sealed"] {
        anew(file, b"bbbb\n");
    }
    anew("touched", b"aaaa\n");
    for _ in 0..3 {
        let ran = once(&home, "0.05");
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    }
    let both = |end: &str| {
        vec![("aaaa\n".to_owned(), Value::from(end)), ("bbbb\n".to_owned(), Value::from("eof"))]
    };
    assert_eq!(recorded(&home, "open"), both("unterminated"));
    assert_eq!(recorded(&home, "sealed"), both("eof"));
    assert_eq!(recorded(&home, "sealed by others"), both("eof"));
    assert_eq!(recorded(&home, "touched"), both("eof")[..1]);
    home.assert_sound();
}

/// A file that is written in its place while it is watched is sealed as what it is at last.
#[test]
fn a_file_that_is_written_over_while_it_is_watched_is_sealed_as_it_is_at_last() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let folder = home.at("recordings");
    grow(&home, "placed", b"aaaa\n");
    let mut command = home.command(&[&"watch", &folder, &"--idle", &"1", &"--interval", &"0.05"]);
    command
        .env_remove("LUCID_DATA")
        .env("LUCID_DATA_CHAIN_URL", &server.url)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _watching = Watching(command.spawn().unwrap());
    let listed = || {
        let lines = String::from_utf8(server.run(&home, &[&"--json", &"ls"])).unwrap();
        let sessions = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        sessions.collect::<Vec<_>>()
    };
    wait(|| listed().iter().any(|session| session["offset"] == 5).then_some(()));
    fs::write(folder.join("placed"), b"bbbb\n").unwrap();
    let whole = wait(|| listed().into_iter().find(|session| session["end"] == "eof"));
    assert_eq!(server.run(&home, &[&"cat", &name(&whole)]), b"bbbb\n");
}

/// Recordings in the spool.
fn remembered(spool: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

#[test]
fn an_unreadable_entry_of_the_spool_is_named_and_stops_nothing() {
    let home = Home::new();
    grow(&home, "one", b"first ");
    grow(&home, "two", b"first ");
    assert_eq!(once(&home, "3600").code, 0);
    let spool = home.at("recordings/.lucid-watch");
    let entries = remembered(&spool);
    let of_one =
        entries.iter().find(|entry| fs::read_to_string(entry).unwrap().contains("\"one\""));
    fs::write(of_one.unwrap(), b"{").unwrap();
    fs::write(spool.join("not ours.json"), b"{").unwrap();
    grow(&home, "one", b"second");
    grow(&home, "two", b"second");
    let ran = once(&home, "0.05");
    let entry = of_one.unwrap().file_name().unwrap().to_str().unwrap();
    assert!(
        ran.code != 0 && ran.err.contains(entry) && ran.err.contains("remove it"),
        "{}",
        ran.err
    );
    // The session that the entry was of is found again, and so is the entry.
    for file in ["one", "two"] {
        assert_eq!(recorded(&home, file), [("first second".to_owned(), Value::from("eof"))]);
    }
    let ran = once(&home, "0.05");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn files_are_known_again_when_their_device_has_another_number() {
    let home = Home::new();
    for file in ["lost", "open", "sealed"] {
        grow(&home, file, b"first ");
    }
    assert_eq!(once(&home, "3600").code, 0);
    let sealed = by_path(home.sessions().into_values())["sealed"][0].clone();
    home.done(&[&"seal", &name(&sealed)]);
    assert_eq!(once(&home, "3600").code, 0);
    let renumber = || {
        for entry in remembered(&home.at("recordings/.lucid-watch")) {
            let mut recording: Value = serde_json::from_slice(&fs::read(&entry).unwrap()).unwrap();
            recording["identity"]["device"] = 4_000_000_000_u64.into();
            fs::write(&entry, recording.to_string()).unwrap();
        }
    };
    renumber();
    grow(&home, "open", b"second");
    // A device's number is in the ids of sessions, so one that is begun now would have another id.
    let once = |idle: &str| {
        home.let_rest("recordings");
        let folder = home.at("recordings");
        home.run(&[&"watch", &folder, &"--once", &"--idle", &idle, &"--session-prefix", &"anew-"])
    };
    assert_eq!(once("3600").code, 0);
    assert_eq!(home.sessions().len(), 3, "nothing is sent again");
    renumber();
    fs::remove_file(home.at("recordings/lost")).unwrap();
    let ran = once("0.05");
    assert!(ran.code != 0 && ran.err.contains("\"lost\": the file system"), "{}", ran.err);
    assert_eq!(recorded(&home, "open"), [("first second".to_owned(), Value::from("eof"))]);
    assert_eq!(recorded(&home, "sealed"), [("first ".to_owned(), Value::from("eof"))]);
}

#[test]
fn a_folder_without_permission_does_not_stop_the_others() {
    let home = Home::new();
    grow(&home, "closed/one", b"not to be read");
    grow(&home, "open/two", b"to be read");
    fs::write(home.at("recordings/secret"), b"not to be read").unwrap();
    for path in ["closed", "secret"] {
        let path = home.at("recordings").join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    fs::create_dir(home.at("store")).unwrap();
    fs::create_dir(home.at("scratch")).unwrap();
    if is_root() {
        for path in ["recordings", "store", "scratch"] {
            chown(home.at(path), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    home.let_rest("recordings");
    let folder = home.at("recordings");
    let watch: [&dyn AsRef<OsStr>; 5] = [&"watch", &folder, &"--once", &"--idle", &"0.05"];
    let ran: Ran = as_somebody(&home, &watch).output().unwrap().into();
    assert!(ran.code != 0, "{}", ran.err);
    assert!(ran.err.contains("\"closed\"") && ran.err.contains("\"secret\""), "{}", ran.err);
    let listed: Ran = as_somebody(&home, &[&"--json", &"ls"]).output().unwrap().into();
    let lines = listed.lines();
    let [session] = lines.as_slice() else { panic!("one session is wanted: {lines:?}") };
    let session: Value = serde_json::from_str(session).unwrap();
    assert_eq!(session["metadata"]["path"], "open/two");
    assert_eq!(session["status"], "anchored");
    // So that the folder can be removed.
    fs::set_permissions(folder.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_server_that_died_and_came_back_is_spoken_of_though_there_was_nothing_to_send() {
    let (behind, home) = (Home::new(), Home::new());
    let mut server = Server::start(&behind);
    grow(&home, "a", b"recorded");
    let folder = home.at("recordings");
    let mut command =
        home.command(&[&"watch", &folder, &"--interval", &"0.02", &"--idle", &"0.02"]);
    command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url).stdout(Stdio::null());
    let mut watching = Watching(command.spawn().unwrap());
    let told = remarks(&mut watching.0);
    wait(|| {
        let lines = String::from_utf8(server.run(&home, &[&"--json", &"ls"])).unwrap();
        lines.contains("merkle_root\":\"").then_some(())
    });
    let port = server.url.rsplit(':').next().unwrap().parse().unwrap();
    server.kill();
    remark(&told, &["the store:", "it is looked at again"]);
    let _server = Server::start_on(&behind, port);
    remark(&told, &["the store is well again"]);
}
