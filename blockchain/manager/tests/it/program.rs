//! The program itself: it is killed, and everything that was acknowledged is there again.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lucid_api::client::{BlockManagerClient, ClientOptions};
use lucid_api::v1::transactions::TransactionStatus;

struct Program {
    child: Child,
    client: BlockManagerClient,
}

fn command(folder: &Path) -> Command {
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
    let mut child = command(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.contains("started successfully"))
        .expect("it says that it started");
    let address = started.split_once("address=").unwrap().1;
    let address = address.split_whitespace().next().unwrap();
    let client = BlockManagerClient::new(&format!("http://{address}"), ClientOptions::default());
    // The rest is read, so that writing never blocks.
    std::thread::spawn(move || lines.for_each(drop));
    Program { child, client: client.unwrap() }
}

#[test]
fn a_killed_program_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for round in 0..4 {
        let mut program = start(folder.path());
        for n in 0..20 {
            let text = format!(r#"{{"id":"k-{round}-{n}","type":"data_storage","n":{n}}}"#);
            ids.push(program.client.submit_transaction(&text).unwrap().tx_id);
            std::thread::sleep(Duration::from_millis(3));
        }
        program.child.kill().unwrap();
        program.child.wait().unwrap();
    }
    let mut program = start(folder.path());
    for id in &ids {
        let confirmed = (0..500).any(|_| {
            let state = program.client.transaction(id).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            state.status == TransactionStatus::Confirmed
        });
        assert!(confirmed, "{id}");
    }
    let info = program.client.chain_info().unwrap();
    assert_eq!(info.statistics["total_transactions"], ids.len());
    let pid = program.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(program.child.wait().unwrap().success());
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
