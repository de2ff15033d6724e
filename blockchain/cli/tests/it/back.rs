//! Getting back: what is chosen, what stands there already, what is removed, and how much of it is proved.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::Value;

use super::home::{Home, Snapshot, noise, prose};

/// Every file and link below a folder, by its path, in order.
fn files(top: &Path) -> Vec<String> {
    let (mut found, mut waiting) = (Vec::new(), vec![top.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => waiting.push(entry.path()),
                false => found.push(entry.path().strip_prefix(top).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}

/// A store with one session "s" of a folder "tree".
fn kept() -> Home {
    let home = Home::new();
    home.file("tree/etc/a.conf", "a");
    home.file("tree/etc/b.txt", "b");
    home.file("tree/etc/deep/C.CONF", "c");
    home.file("tree/etc/deep/d.conf", "d");
    home.file("tree/other/a[1].txt", prose(1, 200_000));
    home.file("tree/other/large", noise(2, 3 << 20));
    home.file("tree/other/empty", "");
    fs::hard_link(home.at("tree/etc/a.conf"), home.at("tree/other/same.conf")).unwrap();
    symlink("large", home.at("tree/other/link")).unwrap();
    home.archive("s", &home.at("tree"));
    home
}

fn into(home: &Home, name: &str, more: &[&str]) -> Vec<String> {
    let out = home.at(name);
    let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"restore", &"s", &"-o", &out];
    arguments.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
    home.done(&arguments);
    files(&out)
}

#[test]
fn patterns_choose_what_comes_back() {
    let home = kept();
    assert_eq!(into(&home, "1", &["*.conf"]), ["etc/a.conf", "etc/deep/d.conf", "other/same.conf"]);
    // A folder that matches comes with what is in it, and a name that is there is no pattern.
    assert_eq!(
        into(&home, "2", &["d*p", "other/a[1].txt"]),
        ["etc/deep/C.CONF", "etc/deep/d.conf", "other/a[1].txt"]
    );
    assert_eq!(
        into(&home, "3", &["etc", "--include", "*.conf", "--iinclude", "c.conf"]),
        ["etc/a.conf", "etc/deep/C.CONF", "etc/deep/d.conf"]
    );
    assert_eq!(
        into(&home, "4", &["--exclude", "/etc/deep", "--exclude", "l*", "--iexclude", "*.TXT"]),
        ["etc/a.conf", "other/empty", "other/same.conf"]
    );
    // Where the first name stays behind, another one has the bytes.
    assert_eq!(into(&home, "5", &["other", "--include", "*.conf"]), ["other/same.conf"]);
    assert_eq!(fs::read(home.at("5/other/same.conf")).unwrap(), b"a");
    let tar = home.done(&[&"restore", &"s", &"--tar", &"-", &"--include", &"*.conf"]).out;
    let mut tar = tar::Archive::new(tar.as_slice());
    let names = tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
    let names: Vec<_> = names.map(|name| name.display().to_string()).collect();
    assert_eq!(names, ["etc/a.conf", "etc/deep/d.conf", "other/same.conf"]);
}

#[test]
fn a_pattern_without_a_hit_is_named_and_nothing_is_done() {
    let home = kept();
    let out = home.at("out");
    for more in [&["*.nothing"][..], &["--include", "*.nothing"], &["etc", "no/*", "--delete"]] {
        home.file("out/extra", "mine");
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"restore", &"s", &"-o", &out];
        arguments.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
        let said = home.refused(1, &arguments);
        assert!(said.starts_with("nothing in session s is like \""), "{said}");
        assert_eq!(files(&out), ["extra"], "{more:?}");
    }
    let said = home.refused(64, &[&"restore", &"s", &"-o", &out, &"--include", &"a["]);
    assert!(said.contains("cannot be read"), "{said}");
    let several = home.refused(1, &[&"restore", &"--where", &"no=thing", &"-o", &out]);
    assert!(several.starts_with("there is no session with no=thing"), "{several}");
}

#[test]
fn files_that_are_there_are_left_and_get_what_is_not_right() {
    let home = kept();
    let out = home.restore("s", "out");
    let before = Snapshot::of(&out);
    let inode = fs::metadata(out.join("other/large")).unwrap().ino();
    let again: [&dyn AsRef<OsStr>; 4] = [&"restore", &"s", &"-o", &out];
    let said = home.json(&again);
    assert_eq!((&said["files"], &said["links"], &said["bytes"]), (&0.into(), &0.into(), &0.into()));
    assert_eq!((&said["identical"], &said["proved"]), (&9.into(), &9.into()), "{said:#}");
    before.assert_same(&Snapshot::of(&out));
    // A mode and a time that are wrong are set right, and the file stays the same one.
    let large = out.join("other/large");
    fs::set_permissions(&large, fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::open(&large).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(home.json(&again)["identical"], 9);
    before.assert_same(&Snapshot::of(&out));
    assert_eq!(fs::metadata(&large).unwrap().ino(), inode);
    // One byte in the last chunk is another one, and so is a small file beside one that is the same.
    let mut bytes = fs::read(&large).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&large, &bytes).unwrap();
    fs::write(out.join("etc/b.txt"), "X").unwrap();
    let ran = home.run(&again);
    assert_eq!(ran.code, 1, "{}", ran.err);
    for name in ["other/large", "etc/b.txt"] {
        assert!(ran.err.contains(&format!("\"{name}\" exists already")), "{}", ran.err);
    }
    assert_eq!(fs::read(&large).unwrap(), bytes);
    let said = home.json(&[&"restore", &"s", &"-o", &out, &"--overwrite"]);
    assert_eq!((&said["files"], &said["identical"]), (&2.into(), &7.into()), "{said:#}");
    before.assert_same(&Snapshot::of(&out));
}

#[test]
fn what_is_the_same_is_not_read_from_the_store() {
    let home = kept();
    let out = home.restore("s", "out");
    // A chunk of the large file, which nobody can read any more.
    let segment = home.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[1_500_000] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ran = home.run(&[&"restore", &"s", &"-o", &home.at("fresh")]);
    assert!(ran.code == 1 && ran.err.contains("\"other/large\""), "{}", ran.err);
    assert_eq!(home.json(&[&"restore", &"s", &"-o", &out])["identical"], 9);
}

#[test]
fn a_file_with_a_name_outside_gets_nothing_set() {
    let home = kept();
    let out = home.restore("s", "out");
    let outside = home.at("outside");
    fs::hard_link(out.join("etc/b.txt"), &outside).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
    let ran = home.run(&[&"restore", &"s", &"-o", &out]);
    assert!(ran.code == 1 && ran.err.contains("\"etc/b.txt\" exists already"), "{}", ran.err);
    home.done(&[&"restore", &"s", &"-o", &out, &"--overwrite"]);
    assert_eq!(fs::metadata(&outside).unwrap().permissions().mode() & 0o777, 0o600);
    assert_ne!(
        fs::metadata(out.join("etc/b.txt")).unwrap().ino(),
        fs::metadata(outside).unwrap().ino()
    );
}

#[test]
fn times_are_trusted_only_where_that_is_asked_for() {
    let home = kept();
    let out = home.restore("s", "out");
    let path = out.join("etc/b.txt");
    let then = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "X").unwrap();
    fs::File::open(&path).unwrap().set_modified(then).unwrap();
    let said = home.json(&[&"restore", &"s", &"-o", &out, &"--trust-times"]);
    assert_eq!((&said["identical"], &said["unread"]), (&9.into(), &6.into()), "{said:#}");
    // What was not read is not proved: two links are left, and a file without a byte.
    assert_eq!(said["proved"], 3);
    assert_eq!(fs::read(&path).unwrap(), b"X");
    assert_eq!(home.run(&[&"restore", &"s", &"-o", &out]).code, 1);
}

#[test]
fn a_dry_run_says_everything_and_does_nothing() {
    let home = kept();
    let out = home.at("out");
    let dry: [&dyn AsRef<OsStr>; 5] = [&"restore", &"s", &"-o", &out, &"--dry-run"];
    let lines = home.done(&dry).lines();
    assert!(lines.contains(&"write    other/large".to_owned()), "{lines:?}");
    assert!(lines.contains(&"nothing was changed".to_owned()), "{lines:?}");
    assert!(!out.exists());
    home.restore("s", "out");
    fs::write(out.join("etc/b.txt"), "X").unwrap();
    fs::remove_file(out.join("other/empty")).unwrap();
    home.file("out/etc/extra", "mine");
    let before = Snapshot::of(&out);
    let mut all = dry.to_vec();
    all.extend([&"--overwrite" as &dyn AsRef<OsStr>, &"--delete"]);
    let ran = home.done(&all);
    for line in [
        "replace  etc/b.txt",
        "write    other/empty",
        "leave    other/large",
        "leave    other/link",
    ] {
        assert!(ran.lines().contains(&line.to_owned()), "{line}: {}", ran.text());
    }
    assert!(ran.lines().contains(&"delete   etc/extra".to_owned()), "{}", ran.text());
    let last = ran.lines();
    assert!(
        last.iter().any(|line| line.starts_with("would restore 2 files, 0 folders")),
        "{last:?}"
    );
    assert!(last.contains(&"would remove 1 path".to_owned()), "{last:?}");
    // Without leave to replace it, what would be refused is.
    let ran = home.run(&dry);
    assert!(ran.code == 1 && ran.err.contains("\"etc/b.txt\" exists already"), "{}", ran.err);
    before.assert_same(&Snapshot::of(&out));
}

#[test]
fn what_the_session_does_not_have_is_removed_only_on_request_and_only_there() {
    let home = kept();
    let out = home.restore("s", "out");
    let fill = || {
        home.file("outside/stays", "mine");
        home.file("out/extra", "1");
        home.file("out/etc/more/deep/extra", "2");
        home.file("out/etc/kept.log", "3");
        home.file("out/etc/more2/kept.log", "4");
        for name in ["out/other/way", "out/gone"] {
            let _ = fs::remove_file(home.at(name));
            symlink(home.at("outside"), home.at(name)).unwrap();
        }
    };
    fill();
    let before = files(&out);
    home.done(&[&"restore", &"s", &"-o", &out]);
    assert_eq!(files(&out), before, "nobody asked for it");
    // A store stays, whole, and so does what a pattern leaves out.
    let other = Home::new().with_data(home.at("out/mine"));
    other.archive("x", &home.at("tree/etc/b.txt"));
    home.file("out/mine/secrets", "5");
    let ran = home.run(&[&"restore", &"s", &"etc", &"-o", &out, &"--delete"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!out.join("etc/more").exists() && !out.join("etc/kept.log").exists());
    assert!(out.join("extra").exists() && out.join("other/way").is_symlink());
    fill();
    let ran = home.run(&[&"restore", &"s", &"-o", &out, &"--delete", &"--exclude", &"*.log"]);
    assert!(
        ran.code == 1 && ran.err.contains("\"mine\" was not removed: a data folder"),
        "{}",
        ran.err
    );
    assert!(out.join("mine/secrets").exists() && out.join("etc/kept.log").exists());
    assert!(out.join("etc/more2/kept.log").exists());
    for gone in ["extra", "etc/more", "other/way", "gone"] {
        assert!(fs::symlink_metadata(out.join(gone)).is_err(), "{gone}");
    }
    assert_eq!(fs::read(home.at("outside/stays")).unwrap(), b"mine");
    other.assert_sound();
    fs::remove_dir_all(home.at("out/mine")).unwrap();
    let said = home.json(&[&"restore", &"s", &"-o", &out, &"--delete"]);
    assert_eq!(said["deleted"], 3, "{said:#}");
    assert_eq!(files(&out), files(&home.at("tree")));
    for more in [&["--tar", "x"][..], &["-o", "/"]] {
        let mut arguments: Vec<&dyn AsRef<OsStr>> =
            vec![&"restore", &"s", &"--delete", &"--dry-run"];
        arguments.extend(more.iter().map(|word| word as &dyn AsRef<OsStr>));
        let ran = home.run(&arguments);
        assert_eq!(ran.code, 64, "{}", ran.err);
    }
}

#[test]
fn nothing_is_removed_where_the_catalogue_cannot_be_read() {
    let home = kept();
    let out = home.restore("s", "out");
    home.file("out/etc/extra", "mine");
    let segment = home.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    // The catalogue is what was stored last.
    let at = bytes.len() - 400;
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ran = home.run(&[&"restore", &"s", &"-o", &out, &"--delete"]);
    assert_ne!(ran.code, 0, "{}", ran.text());
    assert!(out.join("etc/extra").exists());
}

#[test]
fn how_much_is_proved_is_said() {
    let home = kept();
    let trusted = home.json(&[&"show", &"s"])["anchor"]["trust"].clone();
    let [block, recorder] =
        ["block", "recorder"].map(|key| trusted[key].as_str().unwrap().to_owned());
    let out = home.at("out");
    let ran = home.done(&[&"restore", &"s", &"-o", &out]);
    assert!(ran.text().contains("9 of 9 proved: session s is in block "), "{}", ran.text());
    let by: [&dyn AsRef<OsStr>; 4] = [&"--trust", &block, &"--trust", &recorder];
    let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"--json", &"restore", &"s", &"-o", &out];
    arguments.extend(by);
    let said = home.done(&arguments).json();
    assert_eq!((&said["proved"], &said["not_proved"]), (&9.into(), &Value::Array(Vec::new())));
    // A key that signed nothing here proves nothing, and where one is named, that is a failure.
    let other = kept();
    let foreign = other.json(&[&"show", &"s"])["anchor"]["trust"]["block"].clone();
    let ran =
        home.run(&[&"restore", &"s", &"-o", &home.at("2"), &"--trust", &foreign.as_str().unwrap()]);
    assert!(
        ran.code == 1 && ran.text().contains("nothing is proved: "),
        "{}{}",
        ran.err,
        ran.text()
    );
    assert_eq!(files(&home.at("2")), files(&home.at("tree")));
    // What is not in a block yet is restored, and that is said.
    home.fed(&[&"append", &"--session", &"open", &"--keep-open"], b"live");
    let ran = home.done(&[&"restore", &"open", &"-o", &home.at("3")]);
    assert!(
        ran.text().contains("nothing is proved: session open is not sealed yet"),
        "{}",
        ran.text()
    );
    assert_eq!(home.json(&[&"restore", &"open", &"-o", &home.at("3")])["identical"], 1);
}

#[test]
fn many_sessions_come_back_in_one_call() {
    let home = kept();
    let keep = |session: &str, path: &str, bytes: &[u8]| {
        let path = format!("path={path}");
        let arguments: [&dyn AsRef<OsStr>; 8] =
            [&"archive", &"-", &"--session", &session, &"--meta", &"group=day", &"--meta", &path];
        assert_eq!(home.fed(&arguments, bytes).code, 0);
    };
    keep("one", "cam/1.mp4", b"first");
    keep("two", "cam/2.mp4", b"second");
    keep("three", "cam/2.mp4", b"third");
    keep("four", "../outside", b"fourth");
    home.done(&[
        &"archive",
        &home.at("tree/etc"),
        &"--session",
        &"folder",
        &"--meta",
        &"group=day",
    ]);
    let out = home.at("out");
    let said = home.json(&[&"restore", &"--group", &"day", &"-o", &out]);
    assert_eq!((&said["files"], &said["proved"]), (&8.into(), &8.into()), "{said:#}");
    assert_eq!(
        files(&out),
        [
            "folder/a.conf",
            "folder/b.txt",
            "folder/deep/C.CONF",
            "folder/deep/d.conf",
            "four",
            "one",
            "three",
            "two"
        ]
    );
    let by_path = home.at("paths");
    let ran =
        home.run(&[&"restore", &"--where", &"group=day", &"--original-paths", &"-o", &by_path]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("session two was not restored: a newer session"), "{}", ran.err);
    assert!(ran.err.contains("session four was not restored: "), "{}", ran.err);
    assert_eq!(fs::read(by_path.join("cam/2.mp4")).unwrap(), b"third");
    assert_eq!(fs::read(by_path.join("cam/1.mp4")).unwrap(), b"first");
    assert!(!home.at("outside").exists());
    let one = home.at("single");
    home.done(&[&"restore", &"one", &"--original-paths", &"-o", &one]);
    assert_eq!(files(&one), ["cam/1.mp4"]);
    // Twice: everything is there.
    assert_eq!(home.json(&[&"restore", &"--group", &"day", &"-o", &out])["identical"], 8);
    let wrong = home.run(&[&"restore", &"one", &"--group", &"day", &"-o", &out]);
    assert_eq!(wrong.code, 64, "{}", wrong.err);
}
