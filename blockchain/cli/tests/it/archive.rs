//! `lucid archive`: what is kept, what is left out and said so, and what is printed.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener, process::CommandExt as _},
    path::Path,
};

use serde_json::json;

use super::home::{Home, Ran, Snapshot, noise, prose};

/// A folder with every kind of name, mode, time and link.
fn make_odd(top: &Path) {
    super::folder::make_varied(top);
    fs::write(top.join("folder/mixed"), [noise(1, 300_000), prose(2, 300_000)].concat()).unwrap();
    fs::write(top.join("big"), noise(3, 6 << 20)).unwrap();
    fs::write(top.join("-o"), "a name like an option").unwrap();
    fs::write(top.join(std::ffi::OsStr::from_bytes(b"\x01\x1b[31m\xc3\x28")), "6").unwrap();
}

#[test]
fn a_folder_comes_back_with_its_names_modes_times_links_and_empty_folders() {
    let home = Home::new();
    make_odd(&home.at("odd"));
    home.archive("odd", &home.at("odd"));
    let restored = home.restore("odd", "restored");
    Snapshot::of(&home.at("odd")).assert_same(&Snapshot::of(&restored));
    home.assert_sound();
}

#[test]
fn the_object_that_is_printed_names_everything_an_auditor_needs() {
    let home = Home::new();
    let file = home.file("folder/a", prose(1, 100_000));
    let kept = home.json(&[&"archive", &home.at("folder"), &"--session", &"one"]);
    let mut keys: Vec<_> = kept.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    let mut wanted = [
        "session_id",
        "merkle_root",
        "manifest_hash",
        "block_index",
        "block_hash",
        "trust_keys",
        "chunk_count",
        "bytes_in",
        "bytes_new",
        "bytes_stored",
        "seconds",
        "skipped",
        "changed",
        "excluded",
    ];
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
    assert_eq!(kept["session_id"], "one");
    assert_eq!(kept["bytes_in"], 100_000);
    assert_eq!(kept["block_index"], 0);
    for hash in ["merkle_root", "manifest_hash", "block_hash"] {
        assert_eq!(kept[hash].as_str().unwrap().len(), 64, "{hash}");
    }
    for key in ["block", "recorder"] {
        assert!(kept["trust_keys"][key].is_string(), "{key}");
    }
    assert_eq!((&kept["skipped"], &kept["changed"]), (&json!([]), &json!([])));
    let shown = home.json(&[&"show", &"one"]);
    assert_eq!(shown["merkle_root"], kept["merkle_root"]);
    assert_eq!(shown["anchor"]["block_hash"], kept["block_hash"]);

    // A second session is anchored in the next block, and its known chunks are not stored again.
    fs::copy(&file, home.at("folder/b")).unwrap();
    let again = home.json(&[&"archive", &home.at("folder"), &"--session", &"two"]);
    assert_eq!(again["block_index"], 1);
}

#[test]
fn a_file_is_a_tree_of_one_entry() {
    let home = Home::new();
    let bytes = noise(4, 3_000_000);
    let file = home.file("only one", &bytes);
    home.archive("file", &file);
    let listed = home.done(&[&"--json", &"ls", &"file"]);
    assert_eq!(listed.lines().len(), 1);
    assert_eq!(listed.json()["path"], "only one");
    assert_eq!(home.done(&[&"cat", &"file", &"only one"]).out, bytes);
    assert_eq!(fs::read(home.restore("file", "out").join("only one")).unwrap(), bytes);
}

#[test]
fn standard_input_is_kept_raw() {
    let home = Home::new();
    let bytes = [noise(5, 5_000_000), prose(6, 1_000_000)].concat();
    let kept = home.fed(&[&"--json", &"archive", &"-", &"--session", &"stream"], &bytes);
    assert_eq!((kept.code, &kept.json()["bytes_in"]), (0, &json!(bytes.len())), "{}", kept.err);
    assert_eq!(home.json(&[&"show", &"stream"])["layout"], "raw");
    assert_eq!(home.done(&[&"cat", &"stream"]).out, bytes);
    assert_eq!(fs::read(home.restore("stream", "out").join("stream")).unwrap(), bytes);
    let tar = home.done(&[&"restore", &"stream", &"--tar", &"-"]).out;
    assert!(tar.windows(64).any(|found| found == &bytes[..64]), "a recording has a tar, too");
    assert!(home.refused(1, &[&"ls", &"stream"]).contains("not an archived folder"));
    home.assert_sound();
}

#[test]
fn empty_things_are_kept_like_others() {
    let home = Home::new();
    fs::create_dir(home.at("hollow")).unwrap();
    let empty = home.file("nothing", "");
    for (session, path) in [("folder", home.at("hollow")), ("file", empty)] {
        let kept = home.archive(session, &path);
        assert_eq!((&kept["bytes_in"], &kept["skipped"]), (&json!(0), &json!([])));
        assert!(kept["block_hash"].is_string());
        home.restore(session, &format!("{session} restored"));
    }
    assert_eq!(fs::read_dir(home.at("folder restored")).unwrap().count(), 0);
    assert_eq!(fs::read(home.at("file restored/nothing")).unwrap(), b"");
    assert_eq!(home.done(&[&"ls", &"folder"]).out, b"");
    let stream = home.fed(&[&"archive", &"-", &"--session", &"stream"], b"");
    assert_eq!(stream.code, 0, "{}", stream.err);
    assert_eq!(home.done(&[&"cat", &"stream"]).out, b"");
    for session in ["folder", "file", "stream"] {
        let bundle = home.at("bundle");
        home.done(&[&"prove", &session, &"-o", &bundle]);
        let hash = home.json(&[&"show", &session])["anchor"]["block_hash"].clone();
        let key = home.json(&[&"show", &session])["anchor"]["trust"]["recorder"].clone();
        let trust = [hash.as_str().unwrap(), key.as_str().unwrap()];
        home.done(&[&"check-proof", &bundle, &"--trust", &trust[0], &"--trust", &trust[1]]);
    }
    home.assert_sound();
}

#[test]
fn sockets_pipes_and_devices_are_left_out_and_named_and_a_failure_only_where_that_is_wanted() {
    let home = Home::new();
    home.file("mixed/kept", "kept");
    let top = home.at("mixed");
    let _socket = UnixListener::bind(top.join("socket")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    let make = |name: &str, kind, device| {
        rustix::fs::mknodat(rustix::fs::CWD, top.join(name), kind, 0o600.into(), device)
    };
    make("pipe", fifo, 0).unwrap();
    let mut wanted = vec!["pipe", "socket"];
    let null = rustix::fs::makedev(1, 3);
    if make("device", rustix::fs::FileType::CharacterDevice, null).is_ok() {
        wanted.insert(0, "device");
    } else {
        eprintln!("SKIPPED in part: only root makes devices");
    }
    let ran = home.done(&[&"--json", &"archive", &top, &"--session", &"mixed"]);
    let skipped = ran.json()["skipped"].clone();
    let paths: Vec<_> = skipped.as_array().unwrap().iter().map(|left| &left["path"]).collect();
    assert_eq!(paths, wanted);
    for (left, what) in skipped.as_array().unwrap().iter().rev().zip(["socket", "pipe", "device"]) {
        assert!(left["why"].as_str().unwrap().contains(what), "{left}");
        assert_eq!(left["loss"], "kind");
    }
    assert!(ran.json()["block_hash"].is_string(), "the rest is anchored all the same");
    assert_eq!(home.done(&[&"cat", &"mixed", &"kept"]).out, b"kept");

    // For people, each is a line of its own.
    let ran = home.run(&[&"archive", &"--strict", &top]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("\"socket\" was left out: it is a socket"), "{}", ran.err);
    let alone = home.refused(1, &[&"archive", &top.join("pipe")]);
    assert!(alone.contains("neither a folder nor a file"), "{alone}");
}

#[test]
fn files_and_folders_that_cannot_be_read_are_left_out_named_and_told_by_the_exit_code() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    home.file("private/open", "open");
    home.file("private/closed", "closed");
    home.file("private/shut/inside", "inside");
    let closed = fs::Permissions::from_mode(0o000);
    fs::set_permissions(home.at("private/closed"), closed.clone()).unwrap();
    fs::set_permissions(home.at("private/shut"), closed).unwrap();
    let ran = as_nobody(&home, &["--json", "archive", "private", "--session", "private"]);
    let opened = fs::Permissions::from_mode(0o700);
    fs::set_permissions(home.at("private/shut"), opened).unwrap();
    let Some(ran) = ran else {
        eprintln!("SKIPPED: root reads everything, and nobody else may start the command");
        return;
    };
    assert_eq!(ran.code, 3, "{}", ran.err);
    let skipped = ran.json()["skipped"].clone();
    for (left, path) in skipped.as_array().unwrap().iter().zip(["closed", "shut"]) {
        assert_eq!(left["path"], path);
        assert!(left["why"].as_str().unwrap().contains("cannot be read"), "{left}");
    }
    assert_eq!(skipped.as_array().unwrap().len(), 2, "{skipped}");
    let cat = as_nobody(&home, &["cat", "private", "open"]).unwrap();
    assert_eq!((cat.code, cat.out.as_slice()), (0, &b"open"[..]), "{}", cat.err);
}

/// Runs the command as a user for whom modes count; `None` when it cannot be run so.
fn as_nobody(home: &Home, arguments: &[&str]) -> Option<Ran> {
    const NOBODY: u32 = 65_534;
    let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
        arguments.iter().map(|argument| argument as _).collect();
    let mut command = home.command(&arguments);
    if rustix::process::geteuid().is_root() {
        for path in ["", "private", "private/open", "private/closed", "private/shut"] {
            std::os::unix::fs::lchown(home.at(path), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().ok().map(Ran::from)
}

#[test]
fn what_is_given_with_a_session_is_kept_with_it() {
    let home = Home::new();
    let file = home.file("a", "a");
    let kept = home.json(&[
        &"archive",
        &file,
        &"--session",
        &"described",
        &"--user",
        &"anna",
        &"--meta",
        &"room=4",
        &"--meta",
        &"why=a=b",
        &"--verify",
    ]);
    assert_eq!(kept["session_id"], "described");
    let shown = home.json(&[&"show", &"described"]);
    assert_eq!(shown["user_id"], "anna");
    assert_eq!(shown["metadata"], json!({ "room": "4", "why": "a=b" }));
    let named = home.json(&[&"archive", &file])["session_id"].as_str().unwrap().to_owned();
    assert_eq!(named.len(), 15, "{named}");
    assert!(home.sessions().contains_key(&named));
    for wrong in [&["--meta", "novalue"], &["--session", "a/b"], &["--compression", "best"]] {
        let ran = home.run(&[&"archive", &file, &wrong[0], &wrong[1]]);
        assert_eq!(ran.code, 64, "{wrong:?}: {}", ran.err);
    }
}

#[test]
fn every_way_to_compress_gives_the_same_bytes_back() {
    let bytes = prose(7, 2_000_000);
    let mut stored = Vec::new();
    for how in ["none", "lz4", "gzip", "zstd", "zstd:1", "zstd:12"] {
        let home = Home::new();
        let file = home.file("log", &bytes);
        let kept = home.json(&[&"archive", &file, &"--session", &"s", &"--compression", &how]);
        assert_eq!(home.done(&[&"cat", &"s", &"log"]).out, bytes);
        home.assert_sound();
        stored.push(kept["bytes_stored"].as_u64().unwrap());
    }
    assert!(
        stored[0] >= 2_000_000 && stored[1..].iter().all(|size| *size < 1_000_000),
        "{stored:?}"
    );
}

#[test]
fn content_and_names_are_encrypted_unless_told_otherwise() {
    let secret = b"nobody else should ever read this sentence";
    let found = |home: &Home| {
        let mut waiting = vec![home.data().to_owned()];
        let mut hits = 0;
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                let bytes = fs::read(path).unwrap();
                hits += [&secret[..], b"telling name"]
                    .iter()
                    .filter(|needle| bytes.windows(needle.len()).any(|window| window == **needle))
                    .count();
            }
        }
        hits
    };
    for (option, expected) in [(&[][..], false), (&["--no-encryption"], true)] {
        let home = Home::new();
        let file = home.file("telling name", secret);
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"archive", &file, &"--session", &"s", &"--compression", &"none"];
        arguments.extend(option.iter().map(|option| option as &dyn AsRef<std::ffi::OsStr>));
        home.done(&arguments);
        assert_eq!(found(&home) > 0, expected, "{option:?}");
        assert_eq!(home.data().join("data-chain/keys/root.key").exists(), !expected);
        home.assert_sound();
        let next = home.run(&[&"archive", &file, &"--session", &"t"]);
        if expected {
            assert!(next.complaint().contains("without encryption"), "{}", next.err);
        } else {
            assert_eq!(next.code, 0, "{}", next.err);
        }
    }
}

#[test]
fn a_touched_copy_of_a_tree_adds_next_to_nothing() {
    let home = Home::new();
    for number in 0..300 {
        home.file(&format!("tree/{}/{number}", number % 7), noise(number, 20_000));
    }
    home.file("tree/large", noise(1_000, 6 << 20));
    let first = home.archive("first", &home.at("tree"));
    assert!(first["bytes_new"].as_u64().unwrap() > 12_000_000);
    super::home::copy(&home.at("tree"), &home.at("copy"));
    for (number, found) in fs::read_dir(home.at("copy/3")).unwrap().enumerate() {
        let seconds = 1_000_000_000 + i64::try_from(number).unwrap();
        super::folder::set_time(&found.unwrap().path(), seconds, 0);
    }
    let second = home.archive("second", &home.at("copy"));
    let (new, stored) = (&second["bytes_new"], &second["bytes_stored"]);
    assert!(new.as_u64().unwrap() < 100_000 && stored.as_u64().unwrap() < 50_000, "{second:#}");
    Snapshot::of(&home.at("copy")).assert_same(&Snapshot::of(&home.restore("second", "out")));
}

#[test]
fn the_same_command_again_finds_its_session_sealed() {
    let home = Home::new();
    let file = home.file("tree/a", prose(8, 500_000));
    let first = home.archive("s", &home.at("tree"));
    let again = home.archive("s", &home.at("tree"));
    for same in ["merkle_root", "manifest_hash", "block_index", "block_hash"] {
        assert_eq!(first[same], again[same], "{same}");
    }
    assert_eq!(again["bytes_new"], 0);
    fs::write(file, prose(9, 500_000)).unwrap();
    let other = home.refused(1, &[&"archive", &home.at("tree"), &"--session", &"s"]);
    assert!(other.contains("sealed with other content"), "{other}");
    home.assert_sound();
}

#[test]
fn a_store_inside_the_folder_does_not_archive_itself() {
    let home = Home::new();
    let data = home.at("tree/store");
    let home = home.with_data(data);
    home.file("tree/a", "a");
    let kept = home.archive("s", &home.at("tree"));
    assert_eq!(kept["skipped"][0]["path"], "store");
    let listed = home.done(&[&"ls", &"s"]).text();
    assert!(listed.ends_with(" a\n") && listed.lines().count() == 1, "{listed}");
}

#[test]
fn what_is_not_there_is_refused_before_a_store_is_made() {
    let home = Home::new();
    let why = home.refused(74, &[&"archive", &home.at("absent")]);
    assert!(why.contains("absent"), "{why}");
    assert!(!home.data().exists());
    assert_eq!(home.run(&[&"archive"]).code, 64);
    assert_eq!(home.run(&[&"no-such-verb"]).code, 64);
    assert_eq!(home.run(&[&"--help"]).code, 0);
}

#[test]
fn a_link_that_is_named_is_followed_and_links_inside_are_not() {
    let home = Home::new();
    home.file("outside/secret", "secret");
    home.file("tree/a", "a");
    symlink(home.at("outside"), home.at("tree/way out")).unwrap();
    symlink(home.at("tree"), home.at("to the tree")).unwrap();
    home.archive("s", &home.at("to the tree"));
    let listed = home.done(&[&"ls", &"s"]).text();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("way out -> "), "{listed}");
}

#[test]
fn a_second_name_of_a_symbolic_link_comes_out_without_the_first() {
    let home = Home::new();
    let top = home.at("top");
    fs::create_dir_all(top.join("d")).unwrap();
    symlink("somewhere", top.join("a-link")).unwrap();
    fs::hard_link(top.join("a-link"), top.join("d/second")).unwrap();
    fs::hard_link(top.join("a-link"), top.join("d/third")).unwrap();
    home.archive("s", &top);
    let back = home.at("back");
    home.done(&[&"restore", &"s", &"d", &"-o", &back]);
    for name in ["second", "third"] {
        let target = fs::read_link(back.join("d").join(name)).unwrap();
        assert_eq!(target, Path::new("somewhere"), "{name}");
    }
    home.done(&[&"restore", &"s", &"d", &"--tar", &home.at("tar")]);
    home.done(&[&"restore", &"s", &"--tar", &home.at("whole")]);
    Snapshot::of(&top).assert_same(&Snapshot::of(&home.restore("s", "all")));
}

#[test]
fn what_was_left_out_is_named_although_nothing_could_be_anchored() {
    let home = Home::new();
    home.archive("first", &home.file("a", "a"));
    home.file("top/file", "b");
    let _pipe = UnixListener::bind(home.at("top/socket")).unwrap();
    super::reindex::break_index(&home, "block-manager");
    let ran = home.run(&[&"archive", &home.at("top")]);
    assert_eq!(ran.code, 74, "{}", ran.text());
    assert!(ran.err.contains("not anchored yet"), "{}", ran.err);
    assert!(ran.err.contains("socket\" was left out"), "{}", ran.err);
}

#[test]
fn another_session_whose_anchor_is_refused_is_named() {
    let home = Home::new();
    home.archive("first", &home.file("a", "a"));
    let (now, older) = (home.data().join("data-chain"), home.at("older"));
    super::home::copy(&now, &older);
    home.done(&[&"append", &home.file("b", "b"), &"--session", &"twice"]);
    // An older copy of one of the two folders lets a session have two roots.
    fs::remove_dir_all(&now).unwrap();
    super::home::copy(&older, &now);
    let refused = home.run(&[&"append", &home.file("c", "c"), &"--session", &"twice"]);
    assert_eq!(refused.code, 1, "{}{}", refused.err, refused.text());
    let ran = home.run(&[&"archive", &home.at("a"), &"--session", &"other"]);
    assert!(ran.err.contains("session twice is sealed, but not anchored yet"), "{}", ran.err);
    assert_eq!(ran.code, 0, "{}{}", ran.err, ran.text());
    // Every verb that brings sessions into blocks names it, `watch`, too.
    fs::create_dir(home.at("recordings")).unwrap();
    home.file("recordings/d", "d");
    home.let_rest("recordings");
    let ran = home.run(&[&"watch", &home.at("recordings"), &"--once", &"--idle", &"0.05"]);
    assert!(ran.err.contains("session twice is sealed, but not anchored yet"), "{}", ran.err);
    assert_eq!(ran.code, 0, "{}{}", ran.err, ran.text());
}
