//! `lucid up` on ports of its own, and every verb against it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::home::{Home, Snapshot, noise, prose};

/// Both services in a process of their own; dropping it ends them.
pub struct Server {
    pub child: Child,
    pub url: String,
    /// Of the block-manager.
    pub chain: String,
    /// What they say after it, until they end.
    pub log: Receiver<String>,
}

impl Server {
    pub fn start(home: &Home) -> Self {
        Self::start_on(home, 0)
    }

    /// Starts on a port that callers know already.
    pub fn start_on(home: &Home, port: u16) -> Self {
        Self::start_with(home, port, &[])
    }

    /// Starts with settings of its own.
    pub fn start_with(home: &Home, port: u16, settings: &[(&str, &str)]) -> Self {
        let mut command = home.command(&[&"up"]);
        command.envs(settings.iter().copied());
        command.env("DATA_CHAIN_PORT", port.to_string()).env("BLOCK_MANAGER_PORT", "0");
        command.env("BLOCK_INTERVAL_SECONDS", "1");
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut chain = String::new();
        let url = loop {
            let line = lines.next().unwrap().unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            let address = || format!("http://{}", event["address"].as_str().unwrap());
            if event["message"] == "Lucid Block Manager Service started successfully" {
                chain = address();
            }
            if event["message"] == "Lucid Data Chain Service started successfully" {
                break address();
            }
        };
        // What the server says later must not fill the pipe, even where the test does not want it.
        let (say, log) = mpsc::channel();
        std::thread::spawn(move || lines.for_each(|line| drop(say.send(line.unwrap()))));
        Self { child, url, chain, log }
    }

    /// A command against the server; its own `--data` holds nothing.
    pub fn run(&self, home: &Home, arguments: &[&dyn AsRef<OsStr>]) -> Vec<u8> {
        let mut command = home.command(arguments);
        let ran = command
            .env_remove("LUCID_DATA")
            .env("LUCID_DATA_CHAIN_URL", &self.url)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        ran.stdout
    }
}

impl Server {
    /// Ends it without a warning, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn every_verb_works_against_a_server_as_it_does_on_a_folder() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    home.file("tree/big", noise(1, 6_000_000));
    home.file("tree/a/small", prose(2, 5_000));
    home.file("tree/a/empty", "");
    let tree = home.at("tree");

    let kept: Value = serde_json::from_slice(
        &server.run(&home, &[&"--json", &"archive", &tree, &"--session", &"s", &"--verify"]),
    )
    .unwrap();
    assert_eq!(kept["block_index"], 0);
    assert_eq!(kept["bytes_in"], 6_005_000);
    // The same command again finds it whole, and other content under its name is refused.
    server.run(&home, &[&"archive", &tree, &"--session", &"s"]);
    let again: Value =
        serde_json::from_slice(&server.run(&home, &[&"--json", &"archive", &tree])).unwrap();
    assert_eq!(again["bytes_new"], 0, "everything is known");

    let listed = server.run(&home, &[&"ls", &"s"]);
    assert!(String::from_utf8(listed).unwrap().contains("a/small"));
    assert_eq!(server.run(&home, &[&"cat", &"s", &"a/small"]), prose(2, 5_000));
    server.run(&home, &[&"restore", &"s", &"-o", &home.at("back")]);
    Snapshot::of(&tree).assert_same(&Snapshot::of(&home.at("back")));
    server.run(&home, &[&"hold", &"s", &"--reason", &"a court"]);
    assert!(String::from_utf8(server.run(&home, &[&"ls"])).unwrap().contains("anchored, held"));
    server.run(&home, &[&"release", &"s"]);
    server.run(&home, &[&"archive", &home.at("tree/a"), &"--session", &"short"]);
    server.run(&home, &[&"retain", &"short", &"--until", &"2001-01-01"]);
    let listed = String::from_utf8(server.run(&home, &[&"retention"])).unwrap();
    assert!(listed.contains("2001-01-01T00:00:00"), "{listed}");
    server.run(&home, &[&"rm", &"short", &"--yes", &"--reason", &"done"]);
    let shown = String::from_utf8(server.run(&home, &[&"show", &"short"])).unwrap();
    assert!(shown.contains("status     removed") && shown.contains("done"), "{shown}");
    let scrubbed: Value =
        serde_json::from_slice(&server.run(&home, &[&"--json", &"scrub", &"--now"])).unwrap();
    assert_eq!((&scrubbed["complete"], &scrubbed["round"]), (&true.into(), &1.into()));
    let freed: Value = serde_json::from_slice(&server.run(&home, &[&"--json", &"gc"])).unwrap();
    assert_eq!(freed["stopped"], false);
    let packed = server.run(&home, &[&"--json", &"optimise", &"--level", &"5"]);
    let packed: Value = serde_json::from_slice(&packed).unwrap();
    assert_eq!(packed["level"], 5);
    assert!(packed["segments_rewritten"].as_u64().unwrap() > 0, "{packed}");
    server.run(&home, &[&"verify", &"s"]);
    server.run(&home, &[&"verify", &"--all"]);

    server.run(&home, &[&"prove", &"s", &"--path", &"a/small", &"-o", &home.at("proof")]);
    let key = |name: &str| kept["trust_keys"][name].as_str().unwrap().to_owned();
    let checked = home.done(&[
        &"check-proof",
        &home.at("proof"),
        &home.at("tree/a/small"),
        &"--trust",
        &key("block"),
        &"--trust",
        &key("recorder"),
    ]);
    assert!(checked.text().contains("everything is proved"));
    assert!(!home.data().exists(), "nothing is kept on the client's side");
}

#[test]
fn a_stream_to_a_server_goes_on_where_it_was_broken_off() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let whole = noise(3, 9_000_000);
    let path = home.file("stream", &whole[..5_000_000]);
    server.run(&home, &[&"append", &path, &"--session", &"live", &"--keep-open"]);
    // The server is killed, and the recording has grown when it is back.
    drop(server);
    home.file("stream", &whole);
    let server = Server::start(&behind);
    server.run(&home, &[&"append", &path, &"--session", &"live"]);
    assert_eq!(server.run(&home, &[&"cat", &"live"]), whole);
}

/// Runs both services with settings and flags of their own until health answers, and ends them. What they
/// wrote to their log, line by line.
fn log_of(home: &Home, flags: &[&dyn AsRef<OsStr>], settings: &[(&str, &str)]) -> Vec<String> {
    // Where little is said, nobody hears which ports were chosen.
    let ports = {
        let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        held.map(|held| held.local_addr().unwrap().port())
    };
    let mut command = home.command(flags);
    command.arg("up").envs(settings.iter().copied()).stderr(Stdio::null());
    command.env("DATA_CHAIN_PORT", ports[0].to_string());
    command.env("BLOCK_MANAGER_PORT", ports[1].to_string());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reading = std::thread::spawn(move || lines.map(Result::unwrap).collect());
    let begun = Instant::now();
    while !answers(ports[0]) {
        assert!(begun.elapsed() < Duration::from_secs(30) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(terminated(&mut child).success());
    reading.join().unwrap()
}

/// Sends a signal.
pub fn tell(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// Tells both to end, and waits until they have; where they do not within what is documented, they are
/// killed.
fn terminated(child: &mut Child) -> ExitStatus {
    told(child, "-TERM")
}

/// Tells them to end by a signal, and waits as long.
pub fn told(child: &mut Child, signal: &str) -> ExitStatus {
    tell(child, signal);
    let asked = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if asked.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("they go on after they were told to end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a data-chain is there, and has its folder open.
fn answers(port: u16) -> bool {
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        let request = format!("GET /health HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    });
    asked.is_ok_and(|line| line.starts_with("HTTP/1.1 200"))
}

#[test]
fn both_services_log_as_json_or_quiet_as_they_are_told() {
    let home = Home::new();
    let as_text = ("LOG_FORMAT", "text");
    let text = log_of(&home, &[], &[as_text]);
    assert!(text.iter().any(|line| line.contains("started successfully")), "{text:?}");
    assert!(text.iter().all(|line| !line.starts_with('{')), "{text:?}");

    let json = log_of(&home, &[&"--json"], &[as_text]);
    let events: Vec<Value> = json.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for service in ["Lucid Block Manager Service", "Lucid Data Chain Service"] {
        for what in ["started successfully", "shutdown complete"] {
            let said = format!("{service} {what}");
            assert!(events.iter().any(|event| event["message"] == *said), "{said}: {json:?}");
        }
    }

    // A remark of these settings is a warning, and stays.
    let odd = [("DATA_CHAIN_ENCRYPTION_ENABLED", "false"), as_text];
    let warning = "DATA_CHAIN_ENCRYPTION_ENABLED is off";
    for flags in [&[&"--quiet" as &dyn AsRef<OsStr>][..], &[&"--quiet", &"--json"]] {
        let quiet = log_of(&home, flags, &odd);
        let (kept, rest): (Vec<_>, Vec<_>) = quiet.iter().partition(|line| line.contains(warning));
        assert_eq!(kept.len(), 1, "{quiet:?}");
        assert!(rest.iter().all(|line| !line.contains("INFO")), "{quiet:?}");
        assert!(rest.iter().all(|line| !line.contains("successfully")), "{quiet:?}");
        assert_eq!(kept[0].starts_with('{'), flags.len() == 2, "{quiet:?}");
    }
    // Who wants less still has less.
    let silent = log_of(&home, &[&"--quiet"], &[odd[0], ("LOG_LEVEL", "ERROR")]);
    assert_eq!(silent, Vec::<String>::new());

    let wrong = home.command(&[&"--json", &"up"]).env("DATA_CHAIN_PORT", "x").output().unwrap();
    let said: Value = serde_json::from_slice(&wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(said["error"].as_str().unwrap().contains("Invalid DATA_CHAIN_PORT value: x"), "{said}");
}

#[test]
fn both_services_end_soon_while_a_folder_opens_and_beside_a_block_manager_that_hangs() {
    let home = Home::new();
    home.archive("s", &home.file("a", noise(1, 100_000)));
    // A key that nobody writes: the opening waits for it, and would for ever.
    let key = home.at("key");
    let owner = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &key, owner).unwrap();
    let start = |setting: (&str, &OsStr)| {
        let mut command = home.command(&[&"up"]);
        command.env("DATA_CHAIN_PORT", "0").env("BLOCK_MANAGER_PORT", "0");
        command.env(setting.0, setting.1).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    for signal in ["-TERM", "-INT"] {
        let mut child = start(("LUCID_MASTER_KEY_FILE", key.as_os_str()));
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let writer = loop {
            assert!(child.try_wait().unwrap().is_none(), "they do not wait for the key");
            let mut options = std::fs::OpenOptions::new();
            match options.write(true).custom_flags(nonblocking).open(&key) {
                Ok(writer) => break writer,
                // Nobody reads it yet.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        assert!(told(&mut child, signal).success(), "{signal}");
        drop(writer);
    }

    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let mut child = start(("BLOCK_MANAGER_URL", url.as_ref()));
    // Asked, and silent.
    let (_asked, _) = hanging.accept().unwrap();
    assert!(terminated(&mut child).success());
    assert_eq!(home.done(&[&"cat", &"s", &"a"]).out, noise(1, 100_000));
    home.assert_sound();
}
