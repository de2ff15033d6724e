//! Real trouble: a folder in motion, a full disk, a store in use. Each ends in success or in one clear
//! sentence, with nothing lost.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use lucid_core::time::Timestamp;
use lucid_data_chain::Opened;
use lucid_data_chain::opened::{FOLDER_OWNER, SIGNING_KEY};
use lucid_store::files::folder::Options;

use super::home::{Home, noise, prose};

#[test]
fn a_folder_that_changes_while_it_is_read_is_kept_as_it_was_found() {
    let home = Home::new();
    for number in 0..40 {
        home.file(&format!("tree/still/{number}"), noise(number, 200_000));
    }
    let growing = home.file("tree/growing", prose(1, 24 << 20));
    fs::create_dir_all(home.at("tree/moving")).unwrap();
    let over = AtomicBool::new(false);
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            // Appends to one file, and makes, renames and removes others, until told to stop.
            let mut file = OpenOptions::new().append(true).open(&growing).unwrap();
            for turn in 0_u64.. {
                file.write_all(b"one more line\n").unwrap();
                let name = |turn: u64| home.at(&format!("tree/moving/{turn}"));
                fs::write(name(turn), noise(turn, 1_000)).unwrap();
                if turn % 3 == 0 {
                    fs::rename(name(turn), home.at(&format!("tree/moving/renamed {turn}")))
                        .unwrap();
                } else if turn % 3 == 1 {
                    fs::remove_file(name(turn)).unwrap();
                }
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let ran = home.run(&[&"--json", &"archive", &home.at("tree"), &"--session", &"s"]);
        over.store(true, Ordering::Relaxed);
        ran
    });
    assert!(ran.code == 0 || ran.code == 3, "{}", ran.err);
    let kept = ran.json();
    let changed = kept["changed"].as_array().unwrap();
    assert!(changed.iter().any(|path| path == "growing"), "{changed:?}");
    for left in kept["skipped"].as_array().unwrap() {
        assert!(left["path"].as_str().unwrap().starts_with("moving/"), "{left}");
    }
    home.assert_sound();
    let out = home.restore("s", "out");
    for number in 0..40 {
        assert!(fs::read(out.join(format!("still/{number}"))).unwrap() == noise(number, 200_000));
    }
    let (grown, now) = (fs::read(out.join("growing")).unwrap(), fs::read(&growing).unwrap());
    assert!(grown.len() >= 24 << 20 && now.starts_with(&grown), "what was read is what was there");
}

/// A small file system of its own, gone at the end.
pub(super) struct SmallDisk(pub(super) PathBuf);

impl SmallDisk {
    /// Mounts it; `None` when that is not permitted.
    pub(super) fn mount(at: &Path, bytes: u64) -> Option<Self> {
        Self::of("tmpfs", at, bytes)
    }

    /// Mounts one of a kind.
    pub(super) fn of(kind: &str, at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let done = Command::new("mount")
            .args(["-t", kind, "-o", &format!("size={bytes}"), "lucid-test"])
            .arg(at)
            .output();
        match done {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: mount cannot be run: {error}");
                None
            }
        }
    }

    fn resize(&self, bytes: u64) {
        let done = Command::new("mount")
            .args(["-o", &format!("remount,size={bytes}")])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Fills what is left with a file.
    fn fill_up(&self) {
        let mut file = fs::File::create(self.0.join("ballast")).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that a failed test that still has files open leaves nothing behind.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_the_work_in_one_sentence_and_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&place.path().join("disk"), 1 << 30) else { return };
    let home = Home::new().with_data(disk.0.join("store"));
    let before = home.file("before", noise(1, 2_000_000));
    home.archive("before", &before);
    let used = rustix::fs::statvfs(&disk.0).map(|now| (now.f_blocks - now.f_bfree) * now.f_frsize);
    let used = used.unwrap();
    let input = home.file("input", noise(2, 40 << 20));
    let stream = home.file("stream", noise(3, 40 << 20));
    // From hardly anything to nearly enough, so that different files are the first to find no room.
    for room in [4_096, 65_536, 600_000, 5 << 20, 23 << 20] {
        disk.resize(used + room);
        for verb in ["archive", "append"] {
            let input = if verb == "archive" { &input } else { &stream };
            let ran = home.run(&[&verb, input, &"--session", &verb]);
            assert_eq!(ran.code, 74, "{verb} with {room}: {}{}", ran.err, ran.text());
            let why = ran.complaint();
            let told = ["full", "No space left", "no space left"].iter().any(|w| why.contains(w));
            assert!(told, "{verb} with {room}: {why}");
        }
        // What interrupted writing left may have to be tidied up first, which may need room, too.
        let cat = home.run(&[&"cat", &"before", &"before"]);
        if cat.code == 0 {
            assert!(cat.out == noise(1, 2_000_000));
        } else {
            assert!(cat.complaint().contains("the disk is full"), "with {room}: {}", cat.err);
        }
    }
    disk.resize(1 << 30);
    assert!(home.done(&[&"cat", &"before", &"before"]).out == noise(1, 2_000_000));
    home.archive("archive", &input);
    home.done(&[&"append", &stream, &"--session", &"append"]);
    assert!(home.done(&[&"cat", &"archive", &"input"]).out == noise(2, 40 << 20));
    assert!(home.done(&[&"cat", &"append"]).out == noise(3, 40 << 20));
    home.assert_sound();
}

#[test]
fn what_is_removed_from_a_full_disk_gives_room_back_and_archiving_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&place.path().join("disk"), 192 << 20) else { return };
    let home = Home::new().with_data(disk.0.join("store"));
    let free = || {
        let now = rustix::fs::statvfs(&disk.0).unwrap();
        now.f_bavail * now.f_frsize
    };
    let mut kept = 0;
    loop {
        let file = home.file("file", noise(kept, 6 << 20));
        let ran = home.run(&[&"archive", &file, &"--session", &format!("s{kept}")]);
        if ran.code == 0 {
            kept += 1;
            continue;
        }
        assert_eq!(ran.code, 74, "{}{}", ran.err, ran.text());
        assert!(ran.complaint().contains("stay free for what gives room back"), "{}", ran.err);
        break;
    }
    assert!(kept > 20, "{kept} sessions fitted");
    // A sixteenth of the disk was to stay free, and most of it did: the index grows, too.
    assert!(free() > 8 << 20, "{} bytes are free", free());
    // What stays of the segment has to fit into the reserve, until the old one is gone.
    for gone in 1..kept {
        home.done(&[&"rm", &"--yes", &format!("s{gone}")]);
    }
    let collected = home.json(&[&"gc"]);
    assert!(collected["bytes_freed"].as_u64().unwrap() > 100 << 20, "{collected}");
    assert!(free() > 100 << 20, "{} bytes are free", free());
    assert!(home.done(&[&"cat", &"s0", &"file"]).out == noise(0, 6 << 20));
    home.archive("more", &home.file("more", noise(100, 12 << 20)));
    assert!(home.done(&[&"cat", &"more", &"more"]).out == noise(100, 12 << 20));
    home.assert_sound();

    // A reserve that is named counts instead.
    let file = home.file("little", "little");
    let why = home.refused(74, &[&"--reserve", &"200000000", &"archive", &file]);
    assert!(why.contains("190 MiB stay free"), "{why}");
    home.done(&[&"--reserve", &"0", &"archive", &file]);
}

#[test]
fn on_a_disk_that_others_filled_to_the_last_byte_sessions_can_still_be_removed() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&place.path().join("disk"), 128 << 20) else { return };
    let home = Home::new().with_data(disk.0.join("store"));
    home.archive("s", &home.file("a", noise(1, 20 << 20)));
    home.archive("t", &home.file("b", noise(2, 1 << 20)));
    disk.fill_up();
    home.done(&[&"rm", &"--yes", &"s"]);
    home.done(&[&"gc"]);
    let now = rustix::fs::statvfs(&disk.0).unwrap();
    assert!(now.f_bavail * now.f_frsize > 16 << 20, "{} blocks are free", now.f_bavail);
    home.archive("u", &home.file("c", noise(3, 1 << 20)));
    home.assert_sound();
}

#[test]
fn a_store_on_a_disk_without_a_single_free_byte_can_still_be_read() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&place.path().join("disk"), 256 << 20) else { return };
    let home = Home::new().with_data(disk.0.join("store"));
    let file = home.file("a", noise(1, 2_000_000));
    home.archive("s", &file);
    disk.fill_up();
    assert_eq!(home.sessions().len(), 1);
    assert!(home.done(&[&"cat", &"s", &"a"]).out == noise(1, 2_000_000));
    home.restore("s", "out");
    home.done(&[&"prove", &"s", &"-o", &home.at("bundle")]);
    home.assert_sound();
    fs::remove_file(disk.0.join("ballast")).unwrap();
    home.archive("t", &file);
    home.assert_sound();
}

#[test]
fn a_restore_onto_a_full_disk_says_what_is_missing() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&place.path().join("disk"), 3 << 20) else { return };
    let home = Home::new();
    home.file("tree/a", noise(1, 1 << 20));
    home.file("tree/b", noise(2, 6 << 20));
    home.file("tree/c", noise(3, 1 << 20));
    home.archive("s", &home.at("tree"));
    let ran = home.run(&[&"restore", &"s", &"-o", &disk.0.join("out")]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("\"b\"") && ran.err.contains("No space left"), "{}", ran.err);
}

#[test]
fn a_store_in_use_names_who_uses_it() {
    let home = Home::new();
    let file = home.file("a", "a");
    home.archive("s", &file);
    let held = Opened::open(
        &home.data().join(FOLDER_OWNER),
        &Options {
            service: FOLDER_OWNER,
            signing_key: SIGNING_KEY,
            expected: None,
            create: false,
            encrypt: true,
            root_key_file: None,
            passphrase: None,
            owner: "`lucid up`".into(),
            reserve: Default::default(),
            given: Default::default(),
            now: Timestamp::from_micros(0).to_string(),
        },
    )
    .unwrap();
    let out = home.at("out");
    let verbs: [&[&dyn AsRef<std::ffi::OsStr>]; 9] = [
        &[&"ls"],
        &[&"show", &"s"],
        &[&"cat", &"s", &"a"],
        &[&"archive", &file],
        &[&"append", &file],
        &[&"restore", &"s", &"-o", &out],
        &[&"verify", &"--all"],
        &[&"prove", &"s", &"-o", &out],
        &[&"reindex"],
    ];
    let held_by = format!("is in use by `lucid up` (process {})", std::process::id());
    // Those that only read wait a while for a door.
    for verb in verbs {
        let why = home.hindered(verb);
        assert!(why.contains(&held_by), "{why}");
    }
    held.close().unwrap();
    home.assert_sound();
    assert_eq!(home.sessions().len(), 1);
}

#[test]
fn a_store_that_was_begun_and_broken_off_is_begun_again() {
    // The files of a new store come in this order; what a kill leaves of them must do no harm.
    let whole = Home::new();
    let file = whole.file("a", "a");
    whole.archive("s", &file);
    let data = whole.data().join("data-chain");
    let all = ["recorder.key.copy", "recorder.key", "root.key.copy", "root.key", "data.keys.copy"];
    for count in 0..=all.len() {
        let home = Home::new();
        let place = home.data().join("data-chain");
        fs::create_dir_all(place.join("keys")).unwrap();
        fs::create_dir_all(place.join("run")).unwrap();
        fs::write(place.join("run/making"), "").unwrap();
        for name in &all[..count] {
            fs::copy(data.join("keys").join(name), place.join("keys").join(name)).unwrap();
        }
        if count == all.len() {
            fs::copy(data.join("STORE.copy"), place.join("STORE.copy")).unwrap();
        }
        let file = home.file("a", "a");
        assert!(home.refused(1, &[&"ls"]).contains("holds no Lucid store"));
        home.archive("s", &file);
        home.assert_sound();
        assert_eq!(home.done(&[&"cat", &"s", &"a"]).out, b"a");
    }
}
