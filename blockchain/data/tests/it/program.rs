//! The program itself, as a container starts and ends it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use lucid_api::client::{ClientOptions, DataChainClient};

use crate::sample::{id, noise};
use crate::service::{bytes, named};

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid-data-chain"));
    command.env_clear().env("LUCID_DATA_DIR", folder).env("DATA_CHAIN_PORT", "0");
    command
}

struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

impl Process {
    fn start(folder: &Path) -> Self {
        Self::start_as(&mut program(folder))
    }

    fn start_as(program: &mut Command) -> Self {
        let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, out, address: String::new() };
        while process.address.is_empty() {
            let mut line = String::new();
            assert!(process.out.read_line(&mut line).unwrap() > 0, "it ended");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "Lucid Data Chain Service started successfully" {
                process.address = line["address"].as_str().unwrap().to_owned();
            }
        }
        process
    }

    fn client(&self) -> DataChainClient {
        let base = format!("http://{}", self.address);
        DataChainClient::new(&base, ClientOptions::default()).unwrap()
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

/// Tells a program to end, and waits until it has; one that does not in time is killed.
fn terminated(child: &mut Child, within: Duration) -> ExitStatus {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
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
    let pid = process.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(process.child.wait().unwrap().success());
    let lines: Vec<String> = (&mut process.out).lines().map(Result::unwrap).collect();
    let said = lines.join("\n");
    for wanted in ["Received signal 15", "Shutting down Lucid Data Chain", "shutdown complete"] {
        assert!(said.contains(wanted), "{said}");
    }
    assert!(folder.path().join("CLOSED").exists(), "the store was closed in order");
    assert!(!check(process.port()).status.success(), "nobody is there any more");
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
    assert!(terminated(&mut child, Duration::from_secs(10)).success());
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
