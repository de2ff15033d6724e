//! `lucid watch` is told of changes by the system: a watcher that looks by itself only every ten minutes sends what
//! comes as it comes.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::access::create;
use super::home::Home;
use super::server::Server;

/// Until then everything comes, on a slow machine too.
const DEADLINE: Duration = Duration::from_secs(60);

/// A watcher whose events can be waited for.
struct Watching {
    child: Child,
    told: Receiver<Value>,
}

impl Watching {
    fn start(home: &Home, options: &[&str]) -> Self {
        let mut command = home.command(&[&"--json", &"watch", &home.at("recordings")]);
        command.args(options).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, told) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _over = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, told }
    }

    /// Waits for an event of a kind about a path; others are passed over.
    fn wait(&self, event: &str, path: &str) -> Value {
        loop {
            let told = self
                .told
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|_| panic!("{event} {path} did not come"));
            if told["event"] == event && (path.is_empty() || told["path"] == path) {
                return told;
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn grow(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn what_comes_grows_moves_and_goes_is_seen_to_though_nobody_looks() {
    let home = Home::new();
    let root = home.at("recordings");
    grow(&root.join("there"), b"from the beginning");
    let watching = Watching::start(&home, &["--interval", "600", "--idle", "1"]);
    watching.wait("began", "there");
    // In folders that were made since.
    grow(&root.join("new/deep/one"), b"one");
    watching.wait("began", "new/deep/one");
    assert_eq!(watching.wait("sealed", "new/deep/one")["bytes"], 3);
    // One that was sealed goes on.
    grow(&root.join("new/deep/one"), b", and more");
    watching.wait("began", "new/deep/one");
    assert_eq!(watching.wait("sealed", "new/deep/one")["bytes"], 10);
    // What was moved in comes from nowhere, and a folder that was moved is followed.
    grow(&home.at("elsewhere/in"), b"moved");
    fs::rename(home.at("elsewhere"), root.join("moved")).unwrap();
    watching.wait("sealed", "moved/in");
    fs::rename(root.join("moved"), root.join("again")).unwrap();
    grow(&root.join("again/two"), b"in a folder of another name");
    watching.wait("sealed", "again/two");
    // What is removed is sealed with all that it had.
    grow(&root.join("gone"), b"short");
    watching.wait("began", "gone");
    fs::remove_file(root.join("gone")).unwrap();
    assert_eq!(watching.wait("sealed", "gone")["bytes"], 5);
}

#[test]
fn a_folder_is_looked_at_again_and_again_where_that_is_asked_for() {
    let home = Home::new();
    let root = home.at("recordings");
    fs::create_dir_all(&root).unwrap();
    let watching = Watching::start(&home, &["--interval", "0.1", "--idle", "0.3", "--poll"]);
    grow(&root.join("deep/one"), b"one");
    assert_eq!(watching.wait("sealed", "deep/one")["bytes"], 3);
    // It asks the system for nothing: of what it has open, nothing is a watch.
    let open = fs::read_dir(format!("/proc/{}/fd", watching.child.id())).unwrap();
    let open: Vec<_> = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).collect();
    assert!(open.iter().all(|to| !to.to_string_lossy().contains("inotify")), "{open:?}");
}

#[test]
fn a_watcher_that_the_system_tells_nothing_says_so_and_looks_by_itself() {
    let home = Home::new();
    // Of a file system of the kernel's own it tells nothing.
    let folder = "/proc/sys/fs/inotify";
    let mut command = home.command(&[&"--json", &"watch", &folder, &"--interval", &"0.2"]);
    command.args(["--spool".as_ref(), home.at("spool").as_os_str()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["event"], "polled");
    assert!(told["why"].as_str().unwrap().contains("does not tell"), "{told}");
}

#[test]
fn a_refusal_is_said_once_however_often_it_is_met() {
    let (behind, home) = (Home::new(), Home::new());
    let (token, _) = create(&behind, &[&"--role", &"read"]);
    let token = home.file("token", token);
    let server = Server::start(&behind);
    grow(&home.at("recordings/one"), b"one");
    let mut command = home.command(&[&"--server", &server.url, &"--token-file", &token, &"watch"]);
    command
        .arg(home.at("recordings"))
        .args(["--interval", "0.05"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (send, told) = channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
    let first = told.recv_timeout(DEADLINE).unwrap();
    assert!(first.contains("\"one\"") && first.contains("request"), "{first}");
    // It is tried again with pauses of 0.05 s and more: what comes of that is no news.
    let again = told.recv_timeout(Duration::from_secs(1));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(again.is_err(), "{again:?}");
}
