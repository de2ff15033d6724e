//! The program itself: it is killed, and everything that was acknowledged is there again.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use lucid_api::client::{BlockManagerClient, ClientOptions, Retry};
use lucid_api::v1::transactions::TransactionStatus;
use serde_json::Value;

use crate::selftest::tries_itself;

pub struct Program {
    pub child: Child,
    pub client: BlockManagerClient,
    pub address: String,
    /// What it says, until it ends.
    pub log: Receiver<String>,
}

pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lucid-block-manager"));
    command
        .env_clear()
        .env("BLOCK_MANAGER_PORT", "0")
        .env("BLOCK_INTERVAL_SECONDS", "0.05")
        .env("LUCID_DATA_DIR", folder)
        .env("LOG_FORMAT", "text");
    command
}

fn start(folder: &Path) -> Program {
    start_as(&mut command(folder))
}

pub fn start_as(command: &mut Command) -> Program {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Everything is read, so that writing never blocks, even where the test does not want it.
    let (say, log) = mpsc::channel();
    let (address, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map(Result::unwrap) {
            if line.contains("Service started successfully") {
                let named = line.split_once("address=").unwrap().1;
                drop(address.send(named.split_whitespace().next().unwrap().to_owned()));
            }
            drop(say.send(line));
        }
    });
    let address = told.recv().expect("it says that it started");
    let retry = Retry { count: 0, delay: Duration::ZERO };
    let options = ClientOptions { retry, ..ClientOptions::default() };
    let client = BlockManagerClient::new(&format!("http://{address}"), options);
    Program { child, client: client.unwrap(), address, log }
}

#[test]
fn no_password_in_an_address_is_shown_by_the_settings_or_their_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let address = "http://ann:hunter2@127.0.0.1:1";
    let said = |pairs: &[(&str, &str)]| {
        let mut command = command(folder.path());
        let ran = command.arg("--check-config").envs(pairs.iter().copied()).output().unwrap();
        [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
    };
    let sound = said(&[("LUCID_CHAIN_FOLLOW_URL", address), ("BLOCK_MANAGER_URL", address)]);
    assert!(sound.contains("LUCID_CHAIN_FOLLOW_URL=http://***@127.0.0.1:1"), "{sound}");
    assert!(sound.contains("BLOCK_MANAGER_URL=http://***@127.0.0.1:1"), "{sound}");
    let no_address = "http://ann:hunter2@127.0.0.1:1/path";
    let mistaken = said(&[("LUCID_CHAIN_FOLLOW_URL", no_address)]);
    assert!(mistaken.contains("Invalid LUCID_CHAIN_FOLLOW_URL"), "{mistaken}");
    for text in [sound, mistaken, said(&[("LUCID_CHAIN_FOLLOW_URL", "ann:hunter2@h")])] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_start_warns_that_no_export_of_the_root_key_was_verified() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let warned = lines.find(|line| line.contains("no export of the root key"));
    child.kill().unwrap();
    child.wait().unwrap();
    let warned = warned.expect("it says so before it ends");
    assert!(
        warned.contains("WARN") && warned.contains(folder.path().to_str().unwrap()),
        "{warned}"
    );
}

/// What it says on standard error where it does not start.
fn refused(command: &mut Command) -> String {
    let ran = command.output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!((ran.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    said
}

#[test]
fn a_folder_without_the_store_that_belongs_there_is_refused_and_stays_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let [first, second, empty] = ["first", "second", "empty"].map(|name| home.path().join(name));
    std::fs::create_dir(&empty).unwrap();
    // Without the setting a first start makes a store.
    let id = |command: &mut Command| {
        let mut program = start_as(command);
        let id = program.client.status().unwrap().counts["store_id"].as_str().unwrap().to_owned();
        program.child.kill().unwrap();
        program.child.wait().unwrap();
        id
    };
    let (ours, other) = (id(&mut command(&first)), id(&mut command(&second)));
    let said = refused(command(&empty).env("BLOCK_MANAGER_STORE_ID", &ours));
    let wanted = format!(
        "holds no store, and BLOCK_MANAGER_STORE_ID says that store {ours} is there: mount"
    );
    assert!(said.contains(empty.to_str().unwrap()) && said.contains(&wanted), "{said}");
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);
    let said = refused(command(&second).env("LUCID_STORE_ID", &ours));
    let wanted =
        format!("holds store {other}, and LUCID_STORE_ID says that store {ours} is there: mount");
    assert!(said.contains(&wanted), "{said}");
    assert_eq!(id(command(&first).env("LUCID_STORE_ID", &ours)), ours);
}

/// How often it is killed; `LUCID_KILLS` says otherwise.
fn kills() -> u64 {
    std::env::var("LUCID_KILLS").map_or(6, |kills| kills.parse().unwrap())
}

/// Clients that submit at the same time.
const CLIENTS: u64 = 8;

#[test]
fn a_killed_program_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let accepted = Mutex::new(Vec::new());
    for round in 0..kills() {
        let mut program = start(folder.path());
        // Anything from a few commits to many blocks.
        let lives = Duration::from_millis(20 + round * 97 % 300);
        std::thread::scope(|scope| {
            for writer in 0..CLIENTS {
                let (client, accepted) = (program.client.clone(), &accepted);
                scope.spawn(move || {
                    for n in 0.. {
                        let id = format!("k-{round}-{writer}-{n}");
                        let text = format!(r#"{{"id":"{id}","type":"data_storage","n":{n}}}"#);
                        // It was killed: whether this one is in is not known.
                        if client.submit_transaction(&text).is_err() {
                            return;
                        }
                        accepted.lock().unwrap().push(id);
                    }
                });
            }
            std::thread::sleep(lives);
            program.child.kill().unwrap();
            program.child.wait().unwrap();
        });
    }
    let mut program = start(folder.path());
    let accepted = accepted.into_inner().unwrap();
    for id in &accepted {
        let confirmed = (0..500).any(|_| {
            let state = program.client.transaction(id).unwrap();
            if state.status == TransactionStatus::Confirmed {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
            false
        });
        assert!(confirmed, "{id}");
    }
    // Each is in one block, once; so is every other that is there, though no client was told that it is.
    let height = program.client.chain_height().unwrap().height;
    let mut chained = HashSet::new();
    for index in 0..=height {
        let block: Value = serde_json::from_str(&program.client.block(index).unwrap()).unwrap();
        for transaction in block["transactions"].as_array().unwrap() {
            let id = transaction["id"].as_str().unwrap().to_owned();
            assert!(chained.insert(id), "{transaction} is there twice");
        }
    }
    assert!(accepted.iter().all(|id| chained.contains(id)));
    println!("{} accepted, {} chained, {} kills", accepted.len(), chained.len(), kills());
    assert!(accepted.len() > 20);
    let pid = program.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn a_tip_that_is_gone_is_refused_with_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = start(folder.path());
    for n in 0..3 {
        let text = format!(r#"{{"id":"t-{n}","type":"data_storage"}}"#);
        let id = program.client.submit_transaction(&text).unwrap().tx_id;
        while program.client.transaction(&id).unwrap().status != TransactionStatus::Confirmed {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let height = program.client.chain_height().unwrap().height;
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    let blocks = folder.path().join("blocks");
    let copy = tempfile::tempdir().unwrap();
    let mut files: Vec<_> =
        std::fs::read_dir(&blocks).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    // Genesis has files of its own, so its loss is another matter.
    let last = files.iter().rfind(|path| path.extension().is_some_and(|kind| kind == "blocks"));
    let last = last.unwrap();
    let kept = copy.path().join("kept");
    std::fs::copy(last, &kept).unwrap();
    let bytes = std::fs::read(last).unwrap();
    std::fs::write(last, &bytes[..bytes.len() - 10]).unwrap();
    for _ in 0..2 {
        let refused = command(folder.path()).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8(refused.stderr).unwrap();
        let named = last.file_name().unwrap().to_str().unwrap();
        assert!(said.contains(&format!("committed up to block {height}")), "{said}");
        assert!(said.contains(named), "{said}");
    }
    std::fs::copy(&kept, last).unwrap();
    let mut program = start(folder.path());
    assert_eq!(program.client.chain_height().unwrap().height, height);
    program.child.kill().unwrap();
    program.child.wait().unwrap();
}

#[test]
fn the_program_answers_about_itself() {
    let folder = tempfile::tempdir().unwrap();
    let version = command(folder.path()).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), "lucid-block-manager 1.0.0\n");
    let checked = command(folder.path()).arg("--check-config").output().unwrap();
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains("BLOCK_INTERVAL_SECONDS=0.05"), "{text}");
    let wrong = command(folder.path()).env("BLOCK_MANAGER_PORT", "port").output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(said.trim(), "ERROR: Invalid BLOCK_MANAGER_PORT value: port");
    // Nobody listens on the discard port.
    let check =
        command(folder.path()).env("BLOCK_MANAGER_PORT", "9").arg("healthcheck").output().unwrap();
    assert_eq!(check.status.code(), Some(1));
}

#[test]
fn a_port_that_is_taken_is_a_sentence_with_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = command(folder.path()).env("BLOCK_MANAGER_PORT", &port).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    let remedy = "another program listens there: end it, or set BLOCK_MANAGER_PORT\n";
    assert!(said.ends_with(remedy) && said.lines().count() == 1, "{said}");
}

#[test]
fn wrong_use_is_no_failure_of_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let run = |argument: &str| command(folder.path()).arg(argument).output().unwrap().status.code();
    assert_eq!(run("--check-confg"), Some(64));
    assert_eq!(run("--help"), Some(0));
}

#[test]
fn the_program_tries_itself_and_leaves_nothing_behind() {
    tries_itself("lucid-block-manager", command);
}
