//! What is there stays until the new is whole: full disks, wrong arguments, and kill -9 in the middle of
//! everything that writes a file of the user.

use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    home::{Home, Snapshot, noise, prose, seed},
    trouble::SmallDisk,
};

#[test]
fn restoring_over_a_file_on_a_full_disk_leaves_the_old_one() {
    let place = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&place.path().join("disk"), 4 << 20) else { return };
    let home = Home::new();
    home.file("tree/small", noise(1, 100_000));
    home.file("tree/large", noise(2, 6 << 20));
    home.archive("s", &home.at("tree"));
    let out = disk.0.join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("large"), "damaged").unwrap();
    fs::write(out.join("small"), "damaged").unwrap();
    let ran = home.run(&[&"restore", &"s", &"-o", &out, &"--overwrite"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("No space left"), "{}", ran.err);
    assert_eq!(fs::read(out.join("large")).unwrap(), b"damaged");
    // Whether there was room for it depends on who was first.
    let small = fs::read(out.join("small")).unwrap();
    assert!(small == b"damaged" || small == noise(1, 100_000));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2, "nothing else is left");

    // A tar and a bundle leave the old file, too.
    let file = disk.0.join("file");
    fs::write(&file, "precious").unwrap();
    let why = home.refused(74, &[&"restore", &"s", &"--tar", &file]);
    assert!(why.contains("No space left"), "{why}");
    disk_filled(&disk.0);
    let why = home.refused(74, &[&"prove", &"s", &"-o", &file]);
    assert!(why.contains("No space left"), "{why}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let why = home.refused(74, &[&"keys", &"export", &disk.0.join("key")]);
    assert!(why.contains("No space left"), "{why}");
    assert!(!disk.0.join("key").exists(), "the next try would be refused");
}

fn disk_filled(disk: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(disk.join("ballast")).unwrap();
    for size in [4_096, 1] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
}

#[test]
fn wrong_arguments_leave_the_files_they_name_as_they_are() {
    let home = Home::new();
    home.archive("s", &home.file("tree/a", "a"));
    let file = home.file("file", "precious");
    let wrong: [&[&dyn AsRef<OsStr>]; 6] = [
        &[&"restore", &"none", &"--tar", &file],
        &[&"restore", &"s", &"b", &"--tar", &file],
        &[&"restore", &"s", &"--from", &"14:00", &"--tar", &file],
        &[&"prove", &"none", &"-o", &file],
        &[&"prove", &"s", &"--path", &"b", &"-o", &file],
        &[&"chain", &"export", &file],
    ];
    for arguments in wrong {
        home.hindered(arguments);
        assert_eq!(fs::read(&file).unwrap(), b"precious");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 3);
    }
    let folder = home.refused(1, &[&"restore", &"s", &"--tar", &home.at("tree")]);
    assert!(folder.contains("is a folder: name a file"), "{folder}");
}

/// Numbers that look random, from a seed.
fn shares(seed: u64) -> impl Iterator<Item = f64> {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    std::iter::repeat_with(move || {
        let mut bytes = [0; 4];
        stream.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
    })
}

fn kills() -> usize {
    std::env::var("LUCID_KILLS").map_or(10, |count| count.parse().unwrap())
}

/// Runs a command once to its end and then, killed, at moments up to that; `check` sees what is left.
fn kill_often(home: &Home, arguments: &[&dyn AsRef<OsStr>], name: &str, mut check: impl FnMut()) {
    let started = Instant::now();
    home.done(arguments);
    let (whole, mut unfinished) = (started.elapsed(), 0);
    check();
    for share in shares(seed(name)).take(kills()) {
        let mut child = home.spawn(arguments);
        thread::sleep(whole.mul_f64(share));
        child.kill().unwrap();
        unfinished += usize::from(!child.wait().unwrap().success());
        check();
    }
    println!("{name}: {} kills within {whole:?}, {unfinished} before the end", kills());
}

#[test]
fn a_restore_that_is_killed_leaves_every_file_whole_the_old_one_or_the_new() {
    let home = Home::new();
    for number in 0..400 {
        home.file(&format!("tree/{}/{number}", number % 7), prose(number, 3_000));
    }
    for number in 0..4 {
        home.file(&format!("tree/large/{number}"), noise(number, 3 << 20));
    }
    home.archive("s", &home.at("tree"));
    let (tree, out) = (home.at("tree"), home.at("out"));
    let relative = |path: &Path| path.strip_prefix(&out).unwrap().to_owned();
    let look = |may_be_old: bool| {
        let mut waiting = vec![out.clone()];
        while let Some(folder) = waiting.pop() {
            let Ok(found) = fs::read_dir(&folder) else { continue };
            for found in found {
                let path = found.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                    continue;
                }
                let content = fs::read(&path).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                let is_temporary = name.starts_with(".lucid-") && name.ends_with(".tmp");
                let is_new = || content == fs::read(tree.join(relative(&path))).unwrap();
                assert!(
                    is_temporary || (may_be_old && content == b"old") || is_new(),
                    "{path:?} is neither the old nor the new"
                );
            }
        }
    };
    let restore: [&dyn AsRef<OsStr>; 4] = [&"restore", &"s", &"-o", &out];
    kill_often(&home, &restore, "restore", || {
        look(false);
        let _ = fs::remove_dir_all(&out);
    });
    let fill = || {
        for number in 0..400 {
            home.file(&format!("out/{}/{number}", number % 7), "old");
        }
        for number in 0..4 {
            home.file(&format!("out/large/{number}"), "old");
        }
    };
    fill();
    let overwrite: [&dyn AsRef<OsStr>; 5] = [&"restore", &"s", &"-o", &out, &"--overwrite"];
    kill_often(&home, &overwrite, "restore --overwrite", || {
        let mut names = Vec::new();
        for number in 0..400 {
            names.push(format!("out/{}/{number}", number % 7));
        }
        names.extend((0..4).map(|number| format!("out/large/{number}")));
        assert!(names.iter().all(|name| home.at(name).exists()), "a file is gone");
        look(true);
        fill();
    });
    // What was left under a temporary name goes with the next run.
    home.done(&overwrite);
    Snapshot::of(&tree).assert_same(&Snapshot::of(&out));
}

#[test]
fn a_tar_a_bundle_and_an_export_that_are_killed_leave_what_was_there() {
    let home = Home::new();
    home.file("tree/a", noise(1, 6 << 20));
    home.archive("s", &home.at("tree"));
    for verb in ["tar", "prove"] {
        let file = home.at(verb);
        let tar: [&dyn AsRef<OsStr>; 4] = [&"restore", &"s", &"--tar", &file];
        let prove: [&dyn AsRef<OsStr>; 4] = [&"prove", &"s", &"-o", &file];
        let arguments = if verb == "tar" { tar } else { prove };
        home.done(&arguments);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, "old").unwrap();
        kill_often(&home, &arguments, verb, || {
            let now = fs::read(&file).unwrap();
            assert!(now == b"old" || now == whole, "{verb}: {} bytes", now.len());
            fs::write(&file, "old").unwrap();
        });
    }
    let file = home.at("blocks");
    let export: [&dyn AsRef<OsStr>; 3] = [&"chain", &"export", &file];
    home.done(&export);
    let whole = fs::read(&file).unwrap();
    kill_often(&home, &export, "chain export", || {
        let now = fs::read(&file).unwrap_or_default();
        assert!(whole.starts_with(&now));
        home.done(&export);
        assert_eq!(fs::read(&file).unwrap(), whole);
        fs::remove_file(&file).unwrap();
    });
}

#[test]
fn a_chosen_second_name_of_a_file_has_its_content_in_a_folder_and_in_a_tar() {
    let home = Home::new();
    let first = home.file("tree/a/first", "shared");
    for name in ["tree/b/second", "tree/b/third"] {
        fs::create_dir_all(home.at("tree/b")).unwrap();
        fs::hard_link(&first, home.at(name)).unwrap();
    }
    let set = rustix::fs::setxattr(&first, "user.colour", b"blue", rustix::fs::XattrFlags::empty());
    home.archive("s", &home.at("tree"));
    home.done(&[&"restore", &"s", &"b", &"-o", &home.at("out")]);
    home.done(&[&"restore", &"s", &"b", &"--tar", &home.at("tar")]);
    let unpacked = home.at("unpacked");
    fs::create_dir(&unpacked).unwrap();
    tar::Archive::new(fs::File::open(home.at("tar")).unwrap()).unpack(&unpacked).unwrap();
    for folder in [home.at("out"), unpacked] {
        assert!(!folder.join("a").exists());
        for name in ["b/second", "b/third"] {
            assert_eq!(fs::read(folder.join(name)).unwrap(), b"shared");
            assert_eq!(fs::metadata(folder.join(name)).unwrap().nlink(), 2, "one file still");
        }
    }
    if set.is_ok() {
        let mut value = [0; 8];
        let path = home.at("out/b/second");
        let length = rustix::fs::getxattr(&path, "user.colour", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"blue");
    }
}

#[test]
fn a_restored_recording_is_of_the_time_when_it_ended_in_a_tar_too() {
    let home = Home::new();
    home.fed(&[&"append", &"--session", &"s", &"-"], b"words");
    let session = home.json(&[&"show", &"s"]);
    let ended = session["ended_at"].as_str().or(session["appended_at"].as_str()).unwrap();
    let ended: lucid_core::time::Timestamp = ended.parse().unwrap();
    let out = home.restore("s", "out");
    let seen = fs::metadata(out.join("s")).unwrap();
    assert_eq!(seen.mtime() * 1_000_000 + seen.mtime_nsec() / 1_000, ended.as_micros());
    home.done(&[&"restore", &"s", &"--tar", &home.at("tar")]);
    let mut archive = tar::Archive::new(fs::File::open(home.at("tar")).unwrap());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let seconds = u64::try_from(ended.as_micros() / 1_000_000).unwrap();
    assert_eq!(entry.header().mtime().unwrap(), seconds);
    assert_eq!(entry.path_bytes().as_ref(), b"s");
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    assert_eq!(content, b"words");
    let refused = home.refused(1, &[&"restore", &"s", &"x", &"--tar", &home.at("tar")]);
    assert!(refused.contains("no files to choose from"), "{refused}");
}

/// As long as nothing is replaced, a file system that makes files without names is left as it was.
#[test]
fn a_restore_that_is_killed_leaves_nothing_that_has_no_name_of_its_own() {
    let home = Home::new();
    home.file("tree/large", noise(1, 24 << 20));
    home.archive("s", &home.at("tree"));
    let out = home.at("out");
    let mut child = home.spawn(&[&"restore", &"s", &"-o", &out]);
    let started = Instant::now();
    while !out.exists() && started.elapsed() < Duration::from_secs(30) {
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left: Vec<_> =
        fs::read_dir(&out).unwrap().map(|found| found.unwrap().file_name()).collect();
    assert!(left.is_empty() || left == ["large"], "{left:?}");
    let large = out.join("large");
    assert!(!large.exists() || fs::metadata(large).unwrap().len() == 24 << 20);
}
