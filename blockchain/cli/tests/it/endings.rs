//! How commands end: a verdict is told from trouble, and a closed pipe is neither.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use super::home::{Home, Ran, noise};
use super::only_read::as_somebody;

#[test]
fn what_keeps_a_verdict_from_being_found_is_not_the_verdict_wrong() {
    let home = Home::new();
    home.archive("s", &home.file("a", noise(1, 10_000)));
    let bundle = home.at("bundle");
    home.done(&[&"prove", &"s", &"-o", &bundle]);
    let run = |arguments: &[&dyn AsRef<std::ffi::OsStr>]| {
        let ran = home.run(arguments);
        assert!(!ran.complaint().is_empty());
        ran.code
    };
    // A folder is opened like a file, and read like none.
    assert_eq!(run(&[&"check-proof", &bundle, &home.at("")]), 74);
    assert_eq!(run(&[&"check-proof", &bundle, &home.at("gone")]), 74);
    assert_eq!(run(&[&"check-proof", &home.at("gone")]), 74);
    assert_eq!(run(&[&"verify", &"none"]), 74);
    assert_eq!(run(&[&"--server", &"http://127.0.0.1:1", &"verify", &"s"]), 69);
    assert_eq!(run(&[&"chain", &"validate", &home.at("gone")]), 74);
    assert_eq!(run(&[&"chain", &"--manager", &"http://127.0.0.1:1", &"validate"]), 69);
    assert_eq!(run(&[&"archive", &home.at("gone")]), 74);
    assert_eq!(run(&[&"--server", &"http://127.0.0.1:1", &"ls"]), 69);
    assert_eq!(run(&[&"show", &"none"]), 1, "this verb judges nothing");
    // Verdicts stay low.
    assert_eq!(home.run(&[&"check-proof", &bundle, &home.file("b", noise(2, 10_000))]).code, 1);
    assert_eq!(home.run(&[&"check-proof", &bundle, &home.at("a")]).code, 2);
    assert_eq!(home.run(&[&"verify", &"s"]).code, 0);
}

#[test]
fn arguments_that_contradict_each_other_are_wrong_use() {
    let home = Home::new();
    home.archive("s", &home.file("a", noise(1, 1_000)));
    assert_eq!(home.run(&[&"--read-only", &"seal", &"s"]).code, 64);
    assert_eq!(home.run(&[&"--read-only", &"--server", &"http://127.0.0.1:1", &"ls"]).code, 64);
    // One that took it for nothing would serve, but for this port.
    let mut up = home.command(&[&"--server", &"http://127.0.0.1:1", &"up"]);
    let up: Ran = up.env("BLOCK_MANAGER_PORT", "none").output().unwrap().into();
    assert_eq!(up.code, 64, "{}", up.err);
    assert!(up.err.contains("--server names a server"), "{}", up.err);
}

/// Runs a command whose output nobody reads.
fn unheard(home: &Home, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Ran {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = home.command(arguments).stdout(writer).stderr(Stdio::piped()).spawn();
    child.unwrap().wait_with_output().unwrap().into()
}

#[test]
fn who_closes_the_pipe_early_has_seen_enough_and_a_verdict_is_told_all_the_same() {
    let home = Home::new();
    let content = noise(1, 300_000);
    home.done(&[&"append", &home.file("a", &content), &"--session", &"s"]);
    home.archive("t", &home.file("b", noise(2, 300_000)));
    for arguments in [
        &[&"ls" as &dyn AsRef<std::ffi::OsStr>][..],
        &[&"--json", &"ls"],
        &[&"show", &"s"],
        &[&"cat", &"s"],
        &[&"restore", &"s", &"--tar", &"-"],
        &[&"chain", &"export", &"-"],
        &[&"verify", &"--all"],
    ] {
        let ran = unheard(&home, arguments);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(!ran.err.contains("roken pipe"), "{}", ran.err);
    }
    let segment = home.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert_eq!(unheard(&home, &[&"verify", &"--all"]).code, 1);
}

#[test]
fn a_store_is_made_below_a_folder_that_may_only_be_passed_through() {
    let home = Home::new();
    let file = home.file("a", "content");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let above = home.at("above");
    fs::create_dir(&above).unwrap();
    fs::set_permissions(&above, Permissions::from_mode(0o733)).unwrap();
    let home = home.with_data(above.join("store"));
    let ran: Ran = as_somebody(&home, &[&"archive", &file]).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn a_variable_that_is_empty_says_nothing() {
    let home = Home::new();
    home.archive("s", &home.file("a", noise(1, 1_000)));
    let mut command = home.command(&[&"ls"]);
    for name in [
        "LUCID_DATA_CHAIN_URL",
        "LUCID_MASTER_KEY_FILE",
        "LUCID_PASSPHRASE_FILE",
        "BLOCK_STORAGE_PATH",
    ] {
        command.env(name, "");
    }
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut command = home.command(&[&"chain", &"info"]);
    for name in ["LUCID_BLOCK_MANAGER_URL", "LUCID_CHAIN_GENESIS", "LUCID_CHAIN_PRODUCER_KEY"] {
        command.env(name, "");
    }
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.err);
}
