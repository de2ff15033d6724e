//! What is captured of a folder when the system gets in the way: disks that fail, descriptors that run
//! out, attributes that cannot be had. Everything that is not kept is said, and told by the exit code.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{XattrFlags, setxattr};
use serde_json::json;

use super::home::{Home, Ran, Snapshot, noise};

/// A file system of its own, gone at the end.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts it; `None`, loudly, when that is not to be had here.
    fn mount(at: &Path, arguments: &[&str]) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let done = Command::new("mount").args(arguments).arg(at).output().unwrap();
        if done.status.success() {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: mount {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs the command where no more files may be open than `limit` says.
fn limited(home: &Home, limit: &str, arguments: &[&str]) -> Ran {
    let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.env_clear().arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_lucid"));
    command.current_dir(home.at("")).arg("--data").arg(home.data()).args(arguments);
    command.output().unwrap().into()
}

fn skipped(ran: &Ran) -> Vec<(String, String, String)> {
    let field = |left: &serde_json::Value, name: &str| left[name].as_str().unwrap().to_owned();
    let found = ran.json()["skipped"].clone();
    let found = found.as_array().unwrap().iter();
    found.map(|left| (field(left, "path"), field(left, "why"), field(left, "loss"))).collect()
}

#[test]
fn an_archive_that_may_open_few_files_leaves_nothing_out() {
    let home = Home::new();
    // Folders one in another, a file in each, and many files that are too large to be read ahead.
    for number in 0..300_u64 {
        home.file(&format!("tree/folder {number}/file"), noise(number, 300));
    }
    home.file(&format!("tree/{}/file", "d/".repeat(60)), "deep");
    for number in 0..150_u64 {
        home.file(&format!("tree/large {number:03}"), noise(number, 1_100_000));
    }
    let before = Snapshot::of(&home.at("tree"));
    // The first may be raised, the second may not.
    for (limit, session) in [("-S -n 128", "soft"), ("-n 128", "hard")] {
        let arguments = ["--json", "archive", "tree", "--session", session];
        let ran = limited(&home, limit, &arguments);
        assert_eq!(ran.code, 0, "{limit}: {}{}", ran.err, ran.text());
        assert_eq!(ran.json()["skipped"], json!([]), "{limit}");
        let out = format!("out {session}");
        let ran = limited(&home, limit, &["restore", session, "-o", &out]);
        assert_eq!(ran.code, 0, "{limit}: {}", ran.err);
        Snapshot::of(&home.at(&out)).assert_same(&before);
    }
}

#[test]
fn a_file_on_a_bad_disk_is_kept_as_far_as_it_can_be_read_and_the_exit_code_tells() {
    let home = Home::new();
    let image = home.at("image");
    let done = |program: &str, arguments: &[&str]| {
        let ran = Command::new(program).args(arguments).output();
        ran.is_ok_and(|ran| ran.status.success())
    };
    let path = image.to_str().unwrap();
    let made = done("truncate", &["-s", "64M", path]) && done("mkfs.ext4", &["-q", path]);
    if !made {
        eprintln!("SKIPPED: no file system can be made here");
        return;
    }
    let Some(disk) = Mounted::mount(&home.at("disk"), &["-o", "loop", path]) else { return };
    let bytes = noise(1, 30_000_000);
    fs::write(disk.0.join("big"), &bytes).unwrap();
    fs::hard_link(disk.0.join("big"), disk.0.join("same")).unwrap();
    fs::write(disk.0.join("small"), "small").unwrap();
    rustix::fs::sync();
    // Its disk loses its end.
    fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(17 << 20).unwrap();
    if fs::write("/proc/sys/vm/drop_caches", "3").is_err() {
        eprintln!("SKIPPED: what is in memory cannot be dropped");
        return;
    }
    let readable = {
        use std::os::unix::fs::FileExt as _;
        let file = fs::File::open(disk.0.join("big")).unwrap();
        let reads = |page: &u64| file.read_exact_at(&mut [0; 1], page * 4096).is_ok();
        let first_bad = (0..30_000_000 / 4096).find(|page| !reads(page));
        let Some(first_bad) = first_bad else {
            eprintln!("SKIPPED: the disk still has everything");
            return;
        };
        first_bad * 4096
    };
    let ran = home.run(&[&"--json", &"archive", &disk.0, &"--session", &"bad"]);
    assert_eq!(ran.code, 3, "{}{}", ran.err, ran.text());
    let why = format!("only {readable} bytes could be read: Input/output error (os error 5)");
    let loss = if readable == 0 { "whole" } else { "part" };
    let wanted = ["big", "same"].map(|name| (name.to_owned(), why.clone(), loss.to_owned()));
    let found: Vec<_> = skipped(&ran).into_iter().filter(|left| left.0 != "lost+found").collect();
    assert_eq!(found, wanted);
    if readable > 0 {
        let kept = home.done(&[&"cat", &"bad", &"same"]).out;
        assert!(kept == bytes[..usize::try_from(readable).unwrap()]);
    }
    home.assert_sound();
}

#[test]
fn extended_attributes_that_cannot_be_listed_are_named_and_the_file_is_kept() {
    let home = Home::new();
    let Some(disk) = Mounted::mount(&home.at("disk"), &["-t", "tmpfs", "none"]) else { return };
    fs::write(disk.0.join("many"), "many").unwrap();
    fs::write(disk.0.join("one"), "one").unwrap();
    let set = |name: &str, attribute: &str| {
        setxattr(disk.0.join(name), attribute, b"value", XattrFlags::empty())
    };
    if set("one", "user.colour").is_err() {
        eprintln!("SKIPPED: this file system keeps no attributes");
        return;
    }
    // The kernel hands out 64 KiB of names and no more.
    for number in 0..300 {
        set("many", &format!("user.{number:0240}")).unwrap();
    }
    let ran = home.run(&[&"--json", &"archive", &disk.0, &"--session", &"many"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let left = skipped(&ran);
    assert_eq!((left.len(), &*left[0].0, &*left[0].2), (1, "many", "part"), "{left:?}");
    assert!(left[0].1.starts_with("its extended attributes cannot be read: "), "{left:?}");
    assert_eq!(home.done(&[&"cat", &"many", &"many"]).out, b"many");
    // For people, it is not said that the file was left out.
    let ran = home.run(&[&"archive", &disk.0]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("\"many\" is not kept whole: its extended"), "{}", ran.err);
}

#[test]
fn an_entry_too_large_for_the_catalogue_loses_its_attributes_and_costs_nobody_else() {
    let home = Home::new();
    let Some(disk) = Mounted::mount(&home.at("disk"), &["-t", "tmpfs", "none"]) else { return };
    fs::write(disk.0.join("heavy"), "heavy").unwrap();
    fs::write(disk.0.join("light"), "light").unwrap();
    // More than a chunk holds, and so more than an entry may have.
    let value = vec![7; 65_536];
    let filled = (0..260).all(|number| {
        let name = format!("user.{number}");
        setxattr(disk.0.join("heavy"), name.as_str(), &value, XattrFlags::empty()).is_ok()
    });
    if !filled {
        eprintln!("SKIPPED: this file system keeps too few attributes");
        return;
    }
    let ran = home.run(&[&"--json", &"archive", &disk.0, &"--session", &"heavy"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let left = skipped(&ran);
    assert_eq!((left.len(), &*left[0].0, &*left[0].2), (1, "heavy", "part"), "{left:?}");
    for name in ["heavy", "light"] {
        assert_eq!(home.done(&[&"cat", &"heavy", &name]).out, name.as_bytes());
    }
    home.assert_sound();
}
