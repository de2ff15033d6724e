//! `lucid keys`: rotated, exported, lost, put back and wrapped anew, and every session stays what it was.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::home::{Home, prose};

/// What is listed, by folder.
fn listed(home: &Home, more: &[&str]) -> [Value; 2] {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"--json", &"keys", &"list"];
    arguments.extend(more.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
    let ran = home.done(&arguments);
    let lines: Vec<Value> =
        ran.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.try_into().unwrap()
}

fn filled() -> Home {
    let home = Home::new();
    home.file("first", prose(1, 50_000));
    home.archive("first", &home.at("first"));
    home
}

fn read(home: &Home, session: &str, more: &[&dyn AsRef<std::ffi::OsStr>]) -> Vec<u8> {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"cat", &session, &session];
    arguments.extend(more);
    home.done(&arguments).out
}

#[test]
fn a_rotated_key_encrypts_what_is_new_and_old_ones_open_what_is_old() {
    let home = filled();
    let [data, chain] = listed(&home, &[]);
    assert_eq!(
        (&data["folder"], &chain["folder"]),
        (&"data-chain".into(), &"block-manager".into())
    );
    assert_eq!(
        (&data["epochs"], &data["kept"]),
        (&serde_json::json!([1]), &"in the folder".into())
    );
    home.done(&[&"keys", &"rotate"]);
    home.file("second", prose(2, 50_000));
    home.archive("second", &home.at("second"));
    let [data, chain] = listed(&home, &[]);
    for folder in [data, chain] {
        assert_eq!(folder["epochs"], serde_json::json!([1, 2]));
        assert_eq!(folder["current_epoch"], 2);
    }
    assert_eq!(read(&home, "first", &[]), prose(1, 50_000));
    assert_eq!(read(&home, "second", &[]), prose(2, 50_000));
    home.assert_sound();
    home.done(&[&"reindex"]);
    home.assert_sound();
}

#[test]
fn a_lost_root_key_is_put_back_from_its_export() {
    let home = filled();
    let (ours, other) = (home.at("exported.key"), home.at("chain.key"));
    home.done(&[&"keys", &"export", &ours]);
    home.done(&[&"keys", &"export", &other, &"--of", &"block-manager"]);
    assert_eq!(fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o600);
    let again = home.refused(1, &[&"keys", &"export", &ours]);
    assert!(again.contains("is there already"), "{again}");
    let keys = home.data().join("data-chain/keys");
    for name in ["root.key", "root.key.copy"] {
        fs::remove_file(keys.join(name)).unwrap();
    }
    home.refused(1, &[&"cat", &"first", &"first"]);
    let stranger = Home::new();
    stranger.file("x", "x");
    stranger.archive("x", &stranger.at("x"));
    stranger.done(&[&"keys", &"export", &home.at("stranger.key")]);
    let wrong = home.refused(1, &[&"keys", &"import", &home.at("stranger.key")]);
    assert!(wrong.contains("another root key"), "{wrong}");
    home.done(&[&"keys", &"import", &ours]);
    assert_eq!(read(&home, "first", &[]), prose(1, 50_000));
    home.assert_sound();
}

#[test]
fn a_passphrase_opens_what_is_wrapped_under_it_and_nothing_else_does() {
    let home = filled();
    let (right, wrong) = (home.file("right", "correct horse\n"), home.file("wrong", "battery"));
    let with = |file| [&"--passphrase-file" as &dyn AsRef<std::ffi::OsStr>, file];
    home.done(&[&"keys", &"rewrap", &"--passphrase", &"--passphrase-file", &right]);
    assert!(!home.data().join("data-chain/keys/root.key").exists());
    assert_eq!(read(&home, "first", &with(&right)), prose(1, 50_000));
    let none = home.refused(1, &[&"cat", &"first", &"first"]);
    assert!(none.contains("LUCID_PASSPHRASE_FILE"), "{none}");
    let other = home.refused(1, &[&"cat", &"first", &"first", &"--passphrase-file", &wrong]);
    assert!(other.contains("not the one"), "{other}");
    home.file("second", prose(2, 50_000));
    home.done(&[
        &"archive",
        &home.at("second"),
        &"--session",
        &"second",
        &"--passphrase-file",
        &right,
    ]);
    let sound = home.json(&[&"verify", &"--all", &"--passphrase-file", &right]);
    assert_eq!(sound["damage"], serde_json::json!([]), "{sound:#}");
    let kept = listed(&home, &["--passphrase-file", "right"]);
    assert_eq!(kept[1]["kept"], "from the passphrase");
    // Another passphrase, then a key in a file, then a key in the folder.
    let new = home.file("new", "something else");
    home.done(&[
        &"keys",
        &"rewrap",
        &"--passphrase",
        &"--new-passphrase-file",
        &new,
        &"--passphrase-file",
        &right,
    ]);
    home.refused(1, &[&"ls", &"--passphrase-file", &right]);
    let outside = home.at("outside.key");
    home.done(&[&"keys", &"rewrap", &"--new-key-file", &outside, &"--passphrase-file", &new]);
    home.refused(1, &[&"ls"]);
    assert_eq!(read(&home, "second", &[&"--key-file", &outside]), prose(2, 50_000));
    home.done(&[&"keys", &"rewrap", &"--key-file", &outside]);
    assert_eq!(read(&home, "first", &[]), prose(1, 50_000));
    assert_eq!(read(&home, "second", &[]), prose(2, 50_000));
    home.assert_sound();
}

#[test]
fn keys_are_not_changed_while_the_store_is_in_use_or_has_none() {
    let home = filled();
    let mut child = home
        .command(&[&"append", &"--session", &"live"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !fs::read_to_string(home.data().join("data-chain/run/lock"))
        .is_ok_and(|text| text.contains("append"))
    {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let refused = home.refused(1, &[&"keys", &"rotate"]);
    assert!(refused.contains("in use by `lucid append`"), "{refused}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let plain = Home::new();
    plain.file("x", "x");
    plain.done(&[&"archive", &plain.at("x"), &"--no-encryption"]);
    let none = plain.refused(1, &[&"keys", &"rotate"]);
    assert!(none.contains("without encryption"), "{none}");
    assert_eq!(listed(&plain, &[])[0]["encrypted"], false);
}
