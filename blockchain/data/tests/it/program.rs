//! The program itself, as a container starts and ends it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_api::client::{ClientOptions, DataChainClient, Retry};
use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use crate::sample::{id, noise};
use crate::selftest::tries_itself;
use crate::service::{bytes, named};

pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid-data-chain"));
    command.env_clear().env("LUCID_DATA_DIR", folder).env("DATA_CHAIN_PORT", "0");
    command
}

/// What a program writes to its log, read as it comes, so that writing never waits.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<LogLines>, Condvar)>);

#[derive(Default)]
struct LogLines {
    lines: Vec<String>,
    has_ended: bool,
}

impl Log {
    pub fn of(out: ChildStdout) -> Self {
        let log = Self::default();
        let written = log.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(out).lines();
            loop {
                let line = lines.next();
                let mut kept = written.0.0.lock();
                kept.has_ended = line.is_none();
                kept.lines.extend(line.map(Result::unwrap));
                written.0.1.notify_all();
                if kept.has_ended {
                    return;
                }
            }
        });
        log
    }

    /// Waits for the first line that says this.
    pub fn line(&self, says: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut kept = self.0.0.lock();
        loop {
            if let Some(line) = kept.lines.iter().find(|line| line.contains(says)) {
                return line.clone();
            }
            let lines = &kept.lines;
            assert!(!kept.has_ended, "it ended without saying {says:?}: {lines:?}");
            let waited = self.0.1.wait_until(&mut kept, deadline);
            assert!(!waited.timed_out(), "it does not say {says:?}: {:?}", kept.lines);
        }
    }

    /// Waits for the end, and gives everything.
    pub fn whole(&self) -> Vec<String> {
        let mut kept = self.0.0.lock();
        self.0.1.wait_while(&mut kept, |kept| !kept.has_ended);
        kept.lines.clone()
    }
}

pub struct Process {
    pub child: Child,
    pub log: Log,
    pub address: String,
}

impl Process {
    pub fn start(folder: &Path) -> Self {
        Self::start_as(&mut program(folder))
    }

    pub fn start_as(program: &mut Command) -> Self {
        let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
        let log = Log::of(child.stdout.take().unwrap());
        let mut process = Self { child, log, address: String::new() };
        let line = process.log.line("Lucid Data Chain Service started successfully");
        let line: Value = serde_json::from_str(&line).unwrap();
        process.address = line["address"].as_str().unwrap().to_owned();
        process
    }

    pub fn client(&self) -> DataChainClient {
        let base = format!("http://{}", self.address);
        let retry = Retry { count: 0, delay: Duration::ZERO };
        DataChainClient::new(&base, ClientOptions { retry, ..ClientOptions::default() }).unwrap()
    }

    fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Sends a signal.
pub fn tell(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// Waits until a program has ended; one that does not in time is killed.
pub fn ended(child: &mut Child, within: Duration) -> ExitStatus {
    let asked = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if asked.elapsed() > within {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on for over {within:?} after it was told to end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Tells a program to end, and waits until it has; one that does not in time is killed.
fn terminated(child: &mut Child, within: Duration) -> ExitStatus {
    tell(child, "-TERM");
    ended(child, within)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn it_ends_in_order_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    process.client().create_session(&named("s")).unwrap();
    let check = |port: &str| {
        let how = ["healthcheck", "--http"];
        program(folder.path()).env("DATA_CHAIN_PORT", port).args(how).output().unwrap()
    };
    let healthy = check(process.port());
    assert!(healthy.status.success(), "{}", text(&healthy));
    tell(&process.child, "-TERM");
    assert!(process.child.wait().unwrap().success());
    let said = process.log.whole().join("\n");
    for wanted in [
        "no export of the root key of",
        "Received signal 15",
        "Shutting down Lucid Data Chain",
        "shutdown complete",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    assert!(folder.path().join("CLOSED").exists(), "the store was closed in order");
    assert!(!check(process.port()).status.success(), "nobody is there any more");
}

/// What it says on standard error where it does not start.
fn refused(program: &mut Command) -> String {
    let ran = program.output().unwrap();
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran));
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// How many files and folders are in a folder.
fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_folder_without_the_store_that_belongs_there_is_refused_and_stays_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let [first, second, empty, missing] =
        ["first", "second", "empty", "missing"].map(|name| home.path().join(name));
    std::fs::create_dir(&empty).unwrap();
    // Without the setting a first start makes a store.
    let id = |folder: &Path| {
        let mut process = Process::start(folder);
        let id = process.client().status().unwrap().counts["store_id"].as_str().unwrap().to_owned();
        assert!(terminated(&mut process.child, Duration::from_secs(60)).success());
        id
    };
    let (ours, other) = (id(&first), id(&second));
    for folder in [&empty, &missing] {
        let said = refused(program(folder).env("DATA_CHAIN_STORE_ID", &ours));
        let wanted = format!(
            "holds no store, and DATA_CHAIN_STORE_ID says that store {ours} is there: mount"
        );
        assert!(said.contains(folder.to_str().unwrap()) && said.contains(&wanted), "{said}");
    }
    assert!(entries(&empty) == 0 && !missing.exists());
    let said = refused(program(&second).env("LUCID_STORE_ID", &ours));
    let wanted =
        format!("holds store {other}, and LUCID_STORE_ID says that store {ours} is there: mount");
    assert!(said.contains(&wanted), "{said}");
    // The service's own variable counts, where an environment of several services has both.
    let mut both = program(&second);
    both.env("LUCID_STORE_ID", &ours).env("DATA_CHAIN_STORE_ID", &other);
    let mut process = Process::start_as(&mut both);
    assert!(terminated(&mut process.child, Duration::from_secs(60)).success());
    let said = refused(program(&empty).env("LUCID_STORE_ID", "none"));
    assert!(said.contains("Invalid DATA_CHAIN_STORE_ID value: none (the id of a store"), "{said}");
    assert_eq!(entries(&empty), 0);
}

#[test]
fn beside_a_block_manager_that_hangs_it_ends_within_the_time_that_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let mut process = Process::start_as(program(folder.path()).env("BLOCK_MANAGER_URL", url));
    // Asked, and silent: the call goes on for as long as a call may.
    let (_asked, _) = hanging.accept().unwrap();
    assert!(terminated(&mut process.child, Duration::from_secs(8)).success());
    assert!(folder.path().join("CLOSED").exists(), "the store was closed in order");
}

#[test]
fn an_opening_that_waits_ends_soon_when_it_is_told_to_and_leaves_everything_to_the_next_start() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = noise(1, 300_000);
    let process = Process::start(folder.path());
    process.client().create_session(&named("s")).unwrap();
    process.client().append("s", &Default::default(), content.clone()).unwrap();
    drop(process);
    // A key that nobody writes: the opening waits for it, and would for ever.
    let key = elsewhere.path().join("root.key");
    let owner = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &key, owner).unwrap();
    for signal in ["-TERM", "-INT"] {
        let mut waiting = program(folder.path());
        waiting.env("LUCID_MASTER_KEY_FILE", &key).stdout(Stdio::null());
        let mut child = waiting.spawn().unwrap();
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let _writer = loop {
            assert!(child.try_wait().unwrap().is_none(), "it does not wait for the key");
            let mut options = std::fs::OpenOptions::new();
            match options.write(true).custom_flags(nonblocking).open(&key) {
                Ok(writer) => break writer,
                // Nobody reads it yet.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        tell(&child, signal);
        assert!(ended(&mut child, Duration::from_secs(10)).success(), "{signal}");
    }
    let process = Process::start(folder.path());
    assert_eq!(bytes(process.client().data("s", None)), content);
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let client = process.client();
    client.create_session(&named("s")).unwrap();
    let content = noise(1, 6_000_000);
    client.append("s", &Default::default(), content.clone()).unwrap();
    // A chunk that waits for others in front of it is no less durable.
    let http = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let url = format!("http://{}/api/v1/sessions/frames/chunks/7", process.address);
    let put = http.put(url).header("content-type", "application/octet-stream").body("a frame");
    assert_eq!(put.send().unwrap().status(), 201);
    drop(process);
    let process = Process::start(folder.path());
    assert_eq!(bytes(process.client().data("s", None)), content);
    assert_eq!(bytes(process.client().chunk(id(b"a frame"), None)), b"a frame");
}

#[test]
fn a_store_that_it_makes_under_a_passphrase_or_a_key_elsewhere_opens_with_nothing_else() {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = elsewhere.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let [right, wrong] = [file("right", "a passphrase\n"), file("wrong", "another one\n")];
    let key = elsewhere.path().join("root.key");
    for (setting, given, other) in
        [("LUCID_PASSPHRASE_FILE", &right, Some(&wrong)), ("LUCID_MASTER_KEY_FILE", &key, None)]
    {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start_as(program(folder.path()).env(setting, given));
        process.client().create_session(&named("s")).unwrap();
        drop(process);
        assert!(!folder.path().join("keys/root.key").exists(), "{setting}");
        let refused = |command: &mut Command| {
            let ended = command.output().unwrap();
            assert_eq!(ended.status.code(), Some(1), "{setting}: {}", text(&ended));
            text(&ended)
        };
        refused(&mut program(folder.path()));
        if let Some(other) = other {
            let said = refused(program(folder.path()).env(setting, other));
            assert!(said.contains("the passphrase is not the one"), "{said}");
        }
        let process = Process::start_as(program(folder.path()).env(setting, given));
        assert_eq!(process.client().session("s").unwrap().session_id, "s");
    }
    // A file that is not there makes no store, under no passphrase.
    let folder = tempfile::tempdir().unwrap();
    let nowhere = elsewhere.path().join("nowhere");
    let ended = program(folder.path()).env("LUCID_PASSPHRASE_FILE", &nowhere).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended).contains("nowhere"), "{}", text(&ended));
    assert!(!folder.path().join("STORE").exists());
}

#[test]
fn mistakes_end_it_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = program(folder.path()).env("DATA_CHAIN_PORT", "80870").output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(text(&wrong), "ERROR: Invalid DATA_CHAIN_PORT value: 80870\n");
    let process = Process::start(folder.path());
    let second = program(folder.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("in use by lucid-data-chain") && said.lines().count() == 1, "{said}");
    drop(process);
    let shown = program(folder.path()).arg("--check-config").output().unwrap();
    assert!(shown.status.success() && text(&shown).contains("DATA_CHAIN_CHUNK_SIZE_BYTES=1048576"));
    let file = folder.path().join("env");
    std::fs::write(&file, "QUERY_CACHE_SIZE=7\nDATA_CHAIN_KEEP_DAYS=1\n").unwrap();
    let mut given = program(folder.path());
    let given = given.args(["--check-config", "--env-file"]).arg(&file);
    let shown = text(&given.env("DATA_CHAIN_KEEP_DAYS", "2").output().unwrap());
    let named = format!("QUERY_CACHE_SIZE=7 (QUERY_CACHE_SIZE in {})", file.display());
    assert!(shown.contains(&named), "{shown}");
    assert!(shown.contains("DATA_CHAIN_KEEP_DAYS=2 (DATA_CHAIN_KEEP_DAYS)\n"), "{shown}");
    let version = program(folder.path()).arg("--version").output().unwrap();
    assert_eq!(text(&version), format!("lucid-data-chain {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_use_is_no_failure_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let run = |argument: &str| program(folder.path()).arg(argument).output().unwrap().status.code();
    assert_eq!(run("--check-confg"), Some(64));
    assert_eq!(run("--help"), Some(0));
    // What is misspelt in the settings is said, and stops nothing.
    let mut checked = program(folder.path());
    let checked = checked.arg("--check-config").env("DATA_CHAIN_KEEP_DAY", "30").output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(0));
    assert!(said.contains("DATA_CHAIN_KEEP_DAYS may be meant"), "{said}");
}

/// Makes a label file one of another version, as that version would have written it.
pub fn to_version(path: &Path, title: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let (value, _) = text.rsplit_once("checksum: ").unwrap();
    let (_, lines) = value.split_once('\n').unwrap();
    let value = format!("{title}\n{lines}");
    let sum = blake3::hash(value.as_bytes()).to_hex();
    std::fs::write(path, format!("{value}checksum: {}\n", &sum[..32])).unwrap();
}

#[test]
fn a_port_that_is_taken_is_a_sentence_with_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = program(folder.path()).env("DATA_CHAIN_PORT", &port).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.starts_with(&format!("ERROR: lucid-data-chain: cannot listen on 127.0.0.1:{port}"))
    );
    let remedy = "another program listens there: end it, or set DATA_CHAIN_PORT\n";
    assert!(said.ends_with(remedy) && said.lines().count() == 1, "{said}");
    assert!(!folder.path().join("STORE").exists(), "nothing was made");
}

#[test]
fn a_folder_of_a_newer_version_is_not_taken_for_damaged_and_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(Process::start(folder.path()));
    // One copy is enough: it must not be healed from the other.
    for names in [&["STORE.copy"][..], &["STORE"], &["STORE", "STORE.copy"]] {
        let before: Vec<_> =
            names.iter().map(|name| std::fs::read(folder.path().join(name)).unwrap()).collect();
        names.iter().for_each(|name| to_version(&folder.path().join(name), "lucid-store/v2"));
        let ended = program(folder.path()).output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        let said = String::from_utf8(ended.stderr).unwrap();
        let why =
            "was written by a newer version of Lucid, and nothing is damaged: use that version";
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
        let log = String::from_utf8(ended.stdout).unwrap();
        assert!(!log.contains("damage found"), "{log}");
        for (name, before) in names.iter().zip(before) {
            let there = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(there.starts_with("lucid-store/v2\n"), "{name} was touched");
            std::fs::write(folder.path().join(name), before).unwrap();
        }
    }
    drop(Process::start(folder.path()));
}

#[test]
fn the_program_tries_itself_and_leaves_nothing_behind() {
    tries_itself("lucid-data-chain", program);
}
