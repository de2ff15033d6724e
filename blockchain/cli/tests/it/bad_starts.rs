//! What keeps a verb or both services from starting is a sentence that ends with what helps.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lucid::place::local::{data_folder, options};
use lucid_core::time::Timestamp;
use lucid_store::StoreError;
use lucid_store::codec::Packer;
use lucid_store::contract::index::{Changes, Project};
use lucid_store::files::folder::DataFolder;
use lucid_store::files::{Limits, UnopenedStore, open_watched};
use lucid_store::vault::committer::Submission;

use crate::home::{Home, noise};

/// The newest file of a log: what was written last.
fn newest_log(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join("log")).unwrap();
    files.map(|file| file.unwrap().path()).max().unwrap()
}

#[test]
fn a_verb_that_writes_does_not_believe_a_clock_an_hour_before_the_last_commit() {
    let home = Home::new();
    let file = home.file("a", noise(1, 10_000));
    home.archive("s", &file);
    let log = newest_log(&home.data().join("data-chain"));
    let written = fs::metadata(&log).unwrap().modified().unwrap();
    let set = |time| File::options().append(true).open(&log).unwrap().set_modified(time).unwrap();
    set(written + Duration::from_secs(2 * 3_600));
    for verb in [
        &[&"archive" as &dyn AsRef<std::ffi::OsStr>, &file, &"--session", &"t"][..],
        &[&"hold", &"s", &"--reason", &"a court"],
        &[&"gc"],
    ] {
        let refused = home.run(verb);
        assert_eq!(refused.code, 1, "{}", refused.err);
        assert!(refused.err.contains("minutes before the last commit"), "{}", refused.err);
        assert!(refused.err.contains("set the clock, or `touch` that file"), "{}", refused.err);
        assert!(!refused.err.contains("looked at again"), "a verb does not wait: {}", refused.err);
    }
    // What is there can be read.
    assert_eq!(home.done(&[&"cat", &"s", &"a"]).out, noise(1, 10_000));
    // Less than an hour is believed: clocks are set.
    set(written + Duration::from_secs(3_000));
    home.archive("t", &file);
    home.assert_sound();
}

#[test]
fn a_folder_of_a_newer_version_is_not_taken_for_damaged() {
    let home = Home::new();
    let file = home.file("a", noise(1, 10_000));
    home.archive("s", &file);
    for name in ["STORE", "STORE.copy"] {
        let path = home.data().join("data-chain").join(name);
        let text = fs::read_to_string(&path).unwrap();
        let (value, _) = text.rsplit_once("checksum: ").unwrap();
        let (_, lines) = value.split_once('\n').unwrap();
        let value = format!("lucid-store/v2\n{lines}");
        let sum = blake3::hash(value.as_bytes()).to_hex();
        fs::write(&path, format!("{value}checksum: {}\n", &sum[..32])).unwrap();
    }
    for verb in [
        &[&"ls" as &dyn AsRef<std::ffi::OsStr>][..],
        &[&"archive", &file, &"--session", &"t"],
        &[&"up"],
    ] {
        let mut command = home.command(verb);
        command.env("DATA_CHAIN_PORT", "0").env("BLOCK_MANAGER_PORT", "0");
        let refused = command.output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        let why =
            "was written by a newer version of Lucid, and nothing is damaged: use that version";
        assert!(said.contains(why), "{said}");
    }
}

/// That every verb, and both services, refuse a folder of a newer version with the sentence that says so, and that not
/// a byte of its log is changed.
fn refused_as_newer(home: &Home) {
    let log = newest_log(&home.data().join("data-chain"));
    let before = fs::read(&log).unwrap();
    let file = home.file("other", noise(3, 1_000));
    for verb in [
        &[&"ls" as &dyn AsRef<std::ffi::OsStr>][..],
        &[&"archive", &file, &"--session", &"t"],
        &[&"verify", &"--all"],
        &[&"gc"],
        &[&"up"],
    ] {
        let mut command = home.command(verb);
        command.env("DATA_CHAIN_PORT", "0").env("BLOCK_MANAGER_PORT", "0");
        let refused = command.output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(matches!(refused.status.code(), Some(1 | 74)), "{said}");
        let why =
            "was written by a newer version of Lucid, and nothing is damaged: use that version";
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(fs::read(&log).unwrap(), before);
}

#[test]
fn a_record_of_a_newer_version_is_neither_damage_nor_torn() {
    // The version, the kind, the codec, the cipher.
    for (at, value) in [(4, 2), (5, 99), (6, 99), (7, 99)] {
        let home = Home::new();
        home.archive("s", &home.file("a", noise(1, 10_000)));
        let log = newest_log(&home.data().join("data-chain"));
        let mut bytes = fs::read(&log).unwrap();
        let mut header = bytes[..128].to_vec();
        header[at] = value;
        let sum = blake3::hash(&header[..120]);
        header[120..].copy_from_slice(&sum.as_bytes()[..8]);
        bytes.extend(header);
        fs::write(&log, bytes).unwrap();
        refused_as_newer(&home);
    }
}

/// What a newer version knows of facts.
struct Newer;

impl Project for Newer {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, _fact: &[u8], _changes: &mut Changes<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// It has an index that is up to date, as a version leaves it that was ended in order; and none.
#[test]
fn a_fact_of_a_newer_version_is_not_passed_over() {
    let home = Home::new();
    home.archive("s", &home.file("a", noise(1, 10_000)));
    let opened = super::clocks::opened_by(&home);
    let root = data_folder(&opened);
    let now = Timestamp::parse("2026-11-30T10:00:00Z").unwrap();
    let folder =
        DataFolder::open(&root, &options(&opened, "a newer version", now, false, true)).unwrap();
    let open = |index| {
        let unopened = UnopenedStore {
            disk: folder.disk.clone(),
            store: folder.store,
            cipher: folder.cipher.clone(),
            index,
            project: std::sync::Arc::new(Newer),
            accept_loss: false,
            limits: Limits::default(),
        };
        open_watched(unopened, &|_, _| true)
    };
    let vault = folder.join(open, |error| Some(error)).unwrap();
    let fact = vault.fact(&mut Packer::new(), vec![0x3f, 1, 2, 3]).unwrap();
    vault.commit(Submission { facts: vec![fact], ..Submission::default() }).unwrap();
    vault.close().unwrap();
    drop((vault, folder));
    refused_as_newer(&home);
    fs::remove_dir_all(root.join("index")).unwrap();
    refused_as_newer(&home);
    let reindexed = home.run(&[&"reindex", &"--accept-loss"]);
    assert!(reindexed.code != 0 && reindexed.err.contains("newer version"), "{}", reindexed.err);
}

#[test]
fn a_port_that_is_taken_is_named_with_the_setting_that_helps() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (setting, other) in
        [("DATA_CHAIN_PORT", "BLOCK_MANAGER_PORT"), ("BLOCK_MANAGER_PORT", "DATA_CHAIN_PORT")]
    {
        let mut command = home.command(&[&"up"]);
        let refused = command.env(setting, &port).env(other, "0").output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        let helps = format!("another program listens there: end it, or set {setting}");
        assert!(said.trim_end().ends_with(&helps), "{said}");
    }
}
