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

/// Every file below a folder, with what is in it.
fn root_keys(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    ["data-chain", "block-manager"]
        .iter()
        .map(|name| folder.join(name).join("keys/root.key"))
        .filter(|path| path.exists())
        .collect()
}

#[test]
fn a_store_that_is_made_with_a_passphrase_opens_with_it_alone() {
    let home = Home::new();
    let (first, right) =
        (home.file("first", prose(1, 50_000)), home.file("right", "correct horse\n"));
    let missing = home.at("missing");
    let refused = home.refused(74, &[&"archive", &first, &"--passphrase-file", &missing]);
    assert!(refused.contains("missing"), "{refused}");
    assert!(!home.data().join("data-chain/STORE").exists());
    let both: [&dyn AsRef<std::ffi::OsStr>; 6] =
        [&"archive", &first, &"--passphrase-file", &right, &"--key-file", &missing];
    assert!(home.refused(1, &both).contains("leave one out"));
    let plain: [&dyn AsRef<std::ffi::OsStr>; 5] =
        [&"archive", &first, &"--passphrase-file", &right, &"--no-encryption"];
    assert!(home.refused(1, &plain).contains("without encryption has no keys"));
    home.done(&[&"archive", &first, &"--session", &"first", &"--passphrase-file", &right]);
    assert!(root_keys(home.data()).is_empty());
    let none = home.refused(1, &[&"cat", &"first", &"first"]);
    assert!(none.contains("LUCID_PASSPHRASE_FILE"), "{none}");
    let right_of = [&"--passphrase-file" as &dyn AsRef<std::ffi::OsStr>, &right];
    assert_eq!(read(&home, "first", &right_of), prose(1, 50_000));
    let kept = listed(&home, &["--passphrase-file", "right"]);
    assert!(kept.iter().all(|folder| folder["kept"] == "from the passphrase"), "{kept:?}");
}

#[test]
fn a_store_that_is_made_under_a_key_file_makes_it_and_opens_with_it_alone() {
    let home = Home::new();
    let (first, key) = (home.file("first", prose(1, 50_000)), home.at("outside.key"));
    home.done(&[&"archive", &first, &"--session", &"first", &"--key-file", &key]);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(root_keys(home.data()).is_empty());
    home.refused(1, &[&"ls"]);
    let with: [&dyn AsRef<std::ffi::OsStr>; 2] = [&"--key-file", &key];
    assert_eq!(read(&home, "first", &with), prose(1, 50_000));
    // A typing error is not another key.
    let other = home.at("outside.kee");
    home.refused(74, &[&"ls", &"--key-file", &other]);
    assert!(!other.exists());
}

/// How `lucid` is told, and what each verb needs besides.
const VERBS: [(&str, &[&str]); 47] = [
    ("config show", &[]),
    ("config manual", &[]),
    ("completions", &["bash"]),
    ("archive", &["file", "--session", "again"]),
    ("append", &["file", "--session", "streamed"]),
    ("seal", &["open"]),
    ("watch", &["recordings", "--once"]),
    ("mirror", &["second-store"]),
    ("ls", &[]),
    ("tree", &["first"]),
    ("diff", &["first", "first"]),
    ("stats", &[]),
    ("find", &["*"]),
    ("query", &["blocks"]),
    ("show", &["first"]),
    ("retention", &[]),
    ("keys show", &["--public"]),
    ("cat", &["first", "file"]),
    ("follow", &["closed"]),
    ("play", &["closed", "--raw"]),
    ("restore", &["first", "-o", "restored"]),
    ("verify", &["--all"]),
    ("prove", &["first", "-o", "bundle"]),
    ("rm", &["going", "--yes"]),
    ("forget", &["--keep-last", "1"]),
    ("hold", &["first"]),
    ("release", &["first"]),
    ("retain", &["first", "--until", "2036-01-01"]),
    ("gc", &[]),
    ("optimise", &["--level", "1"]),
    ("scrub", &[]),
    ("reindex", &[]),
    ("migrate", &["--to", "folder"]),
    ("keys list", &[]),
    ("token list", &[]),
    ("keys rotate", &[]),
    ("keys export", &["exported"]),
    ("keys import", &["imported"]),
    ("keys verify-export", &["exported"]),
    ("keys rewrap", &[]),
    ("chain info", &[]),
    ("chain export", &["blocks"]),
    ("chain validate", &[]),
    ("chain begin-anew", &["--reason", "a test"]),
    ("doctor", &[]),
    ("doctor", &["--accept-clock"]),
    ("init", &[]),
];

/// Rows of the table in OPERATING: each verb, and what it does with a key file and with a passphrase.
fn table() -> std::collections::BTreeMap<String, [String; 2]> {
    let text = include_str!("../../../../docs/OPERATING.md");
    let rows = text.lines().skip_while(|line| !line.starts_with("| verb | `--key-file`"));
    let mut found = std::collections::BTreeMap::new();
    for row in rows.skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [verbs, key, passphrase] = cells.try_into().unwrap();
        for verb in verbs.split('`').skip(1).step_by(2).filter(|verb| !verb.starts_with('-')) {
            found.insert(verb.to_owned(), [key.to_owned(), passphrase.to_owned()]);
        }
    }
    found
}

#[test]
fn every_verb_honours_or_refuses_a_key_as_the_table_says() {
    use std::ffi::OsStr;
    let table = table();
    let help = filled().done(&[&"--help"]).text();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for verb in commands.take_while(|line| !line.is_empty()) {
        let verb = verb.split_whitespace().next().unwrap();
        let named = table.keys().any(|row| row.split(' ').next() == Some(verb));
        assert!(named || verb == "help", "{verb} is not in the table");
    }
    for (option, column) in [("--key-file", 0), ("--passphrase-file", 1)] {
        let store = Home::new();
        let (right, wrong) = match column {
            0 => (store.at("right"), store.at("wrong")),
            _ => (store.file("right", "right"), store.file("wrong", "wrong")),
        };
        if column == 0 {
            filled().done(&[&"keys", &"export", &wrong]);
        }
        for session in ["first", "going"] {
            let kept = store.file("file", prose(1, 5_000));
            store.done(&[&"archive", &kept, &"--session", &session, &option, &right]);
        }
        let open: [&dyn AsRef<OsStr>; 6] =
            [&"append", &"--session", &"open", &"--keep-open", &option, &right];
        assert_eq!(store.fed(&open, b"open").code, 0);
        let closed: [&dyn AsRef<OsStr>; 6] =
            [&"append", &"--session", &"closed", &"--seal-on-eof", &option, &right];
        assert_eq!(store.fed(&closed, b"{\"version\":2}\n").code, 0);
        let plain = Home::new();
        plain.done(&[&"archive", &plain.file("file", "x"), &"--no-encryption"]);
        for (verb, more) in VERBS {
            let home = Home::new();
            super::home::copy(store.data(), home.data());
            home.file("file", prose(1, 5_000));
            fs::create_dir(home.at("recordings")).unwrap();
            if verb == "keys import" {
                fs::write(home.at("imported"), "").unwrap();
            }
            let mut with: Vec<&dyn AsRef<OsStr>> =
                verb.split(' ').map(|word| Box::leak(Box::new(word.to_owned())) as _).collect();
            with.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
            let given = |file| [with.as_slice(), &[&option as &dyn AsRef<OsStr>, file]].concat();
            let (bad, good) = (home.run(&given(&wrong)), home.run(&given(&right)));
            match table[verb][column].as_str() {
                "honoured" => {
                    let said = if column == 0 { "the root key is" } else { "not the one" };
                    assert!(
                        bad.code != 0 && bad.err.contains(said),
                        "{verb} {option}: {}",
                        bad.err
                    );
                    assert_eq!(good.code, 0, "{verb} {option}: {}{}", good.err, good.text());
                    // And where it does not belong, it is not passed over.
                    let none = plain.run(&given(&wrong));
                    assert!(none.code != 0 && none.err.contains("without encryption"), "{verb}");
                }
                "refused" => {
                    for ran in [bad, good] {
                        let says = ran.err.contains(option) && ran.err.contains("leave it out");
                        assert!(ran.code == 64 && says, "{verb} {option}: {}", ran.err);
                    }
                }
                "there is no root key" => {
                    assert!(bad.code == 1 && bad.err.contains("not the one"), "{}", bad.err);
                    assert!(good.code == 1 && good.err.contains("there is no root key"));
                }
                other => panic!("{other}"),
            }
            let mut served = given(&right);
            served.extend([&"--server" as &dyn AsRef<OsStr>, &"http://127.0.0.1:1"]);
            let of_folders = ["keys", "chain", "reindex", "migrate", "doctor"];
            if !of_folders.iter().any(|of| verb.starts_with(of)) {
                let ran = home.run(&served);
                assert!(ran.code == 64 && ran.err.contains(option), "{verb}: {}", ran.err);
            }
        }
    }
    let home = filled();
    let checked: [&dyn AsRef<OsStr>; 5] =
        [&"check-proof", &"bundle", &"file", &"--key-file", &"right"];
    assert_eq!(home.run(&checked).code, 64);
    let judged: [&dyn AsRef<OsStr>; 5] =
        [&"chain", &"validate", &"file", &"--passphrase-file", &"right"];
    assert_eq!(home.run(&judged).code, 64);
}

#[test]
fn a_passphrase_that_opens_nothing_is_refused_and_no_folder_gets_what_is_not_its_own() {
    let home = filled();
    let right = home.file("right", "correct horse");
    let refused = home.refused(1, &[&"ls", &"--passphrase-file", &right]);
    assert!(refused.contains("keys rewrap"), "{refused}");
    // Of the version before there are stores whose two folders open in different ways.
    fs::rename(home.data().join("block-manager"), home.at("chain")).unwrap();
    home.done(&[&"keys", &"rewrap", &"--passphrase", &"--passphrase-file", &right]);
    fs::rename(home.at("chain"), home.data().join("block-manager")).unwrap();
    let second = home.file("second", "second");
    home.done(&[&"archive", &second, &"--passphrase-file", &right]);
    home.done(&[&"verify", &"--all", &"--passphrase-file", &right]);
}
