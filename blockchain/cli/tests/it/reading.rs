//! `ls`, `show`, `cat` and `restore`: what was kept is found and comes out, and nothing else is touched.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, chown, symlink},
    },
};

use serde_json::json;

use super::home::{Home, Ran, Snapshot, noise, prose};
use super::only_read::{NOBODY, as_somebody, is_root};

fn some_tree(home: &Home) {
    home.file("tree/a", "the first");
    home.file("tree/docs/one", prose(1, 50_000));
    home.file("tree/docs/deep/two", noise(2, 50_000));
    home.file("tree/docs-not", "beside");
    home.file("tree/large", noise(3, 5 << 20));
    fs::hard_link(home.at("tree/docs/one"), home.at("tree/another name")).unwrap();
    symlink("a", home.at("tree/link")).unwrap();
    home.archive("s", &home.at("tree"));
}

#[test]
fn sessions_and_files_are_listed() {
    let home = Home::new();
    some_tree(&home);
    home.archive("t", &home.at("tree/docs"));
    let table = home.done(&[&"ls"]).text();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("anchored"), "{table}");
    assert_eq!(home.sessions().into_keys().collect::<Vec<_>>(), ["s", "t"]);

    let paths = |arguments: &[&dyn AsRef<OsStr>]| -> Vec<String> {
        let lines = home.done(arguments).lines();
        lines
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|entry| entry["path"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = paths(&[&"--json", &"ls", &"s"]);
    let wanted = [
        "a",
        "another name",
        "docs",
        "docs/deep",
        "docs/deep/two",
        "docs/one",
        "docs-not",
        "large",
        "link",
    ];
    assert_eq!(all, wanted);
    let docs = ["docs", "docs/deep", "docs/deep/two", "docs/one"];
    for spelling in ["docs", "docs/", "./docs"] {
        assert_eq!(paths(&[&"--json", &"ls", &"s", &spelling]), docs);
    }
    assert_eq!(paths(&[&"--json", &"ls", &"s", &"docs/one"]), ["docs/one"]);
    assert!(home.refused(1, &[&"ls", &"s", &"doc"]).contains("has no file \"doc\""));
    assert!(home.refused(1, &[&"ls", &"u"]).contains('u'));
    assert!(home.refused(1, &[&"show", &"u"]).contains('u'));
}

#[test]
fn one_file_is_printed_whatever_it_is_called() {
    let home = Home::new();
    let name = OsStr::from_bytes(b"a \n\xff b");
    fs::create_dir(home.at("tree")).unwrap();
    fs::write(home.at("tree").join(name), "odd").unwrap();
    fs::write(home.at("tree/plain"), "plain").unwrap();
    fs::hard_link(home.at("tree/plain"), home.at("tree/too")).unwrap();
    home.archive("s", &home.at("tree"));
    assert_eq!(home.done(&[&"cat", &"s", &name]).out, b"odd");
    assert_eq!(home.done(&[&"cat", &"s", &"too"]).out, b"plain");
    assert!(home.refused(1, &[&"cat", &"s"]).contains("name a file in it"));
    assert!(home.refused(1, &[&"cat", &"s", &"absent"]).contains("absent"));
    let shown = home.done(&[&"ls", &"s"]).text();
    assert!(shown.contains("a \\n\\xff b"), "{shown}");
    let restored = home.at("out");
    home.done(&[&"restore", &"s", &name, &"-o", &restored]);
    assert_eq!(fs::read(restored.join(name)).unwrap(), b"odd");
    assert_eq!(fs::read_dir(restored).unwrap().count(), 1);
}

#[test]
fn chosen_paths_are_restored_alone() {
    let home = Home::new();
    some_tree(&home);
    let out = home.at("out");
    home.done(&[&"restore", &"s", &"docs", &"link", &"-o", &out]);
    assert_eq!(fs::read(out.join("docs/deep/two")).unwrap(), noise(2, 50_000));
    // Its first name stays behind, so it comes with bytes of its own.
    assert_eq!(fs::read(out.join("docs/one")).unwrap(), prose(1, 50_000));
    assert_eq!(fs::read_link(out.join("link")).unwrap(), OsStr::new("a"));
    let mut names: Vec<OsString> =
        fs::read_dir(&out).unwrap().map(|found| found.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["docs", "link"]);
    let absent = home.run(&[&"restore", &"s", &"absent", &"-o", &home.at("none")]);
    assert_eq!(absent.code, 1);
    assert!(absent.err.contains("\"absent\" was not restored"), "{}", absent.err);
}

#[test]
fn files_that_are_there_are_left_alone_unless_told_otherwise() {
    let home = Home::new();
    some_tree(&home);
    let out = home.at("out");
    home.file("out/a", "mine");
    let ran = home.run(&[&"restore", &"s", &"a", &"large", &"-o", &out]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("\"a\""), "{}", ran.err);
    assert_eq!(fs::read(out.join("a")).unwrap(), b"mine");
    assert_eq!(fs::read(out.join("large")).unwrap(), noise(3, 5 << 20));
    home.done(&[&"restore", &"s", &"a", &"large", &"-o", &out, &"--overwrite"]);
    assert_eq!(fs::read(out.join("a")).unwrap(), b"the first");
}

/// Naming a thing twice asks for it once.
#[test]
fn what_is_named_twice_or_below_another_comes_once() {
    let home = Home::new();
    some_tree(&home);
    let wanted: [&dyn AsRef<OsStr>; 5] = [&"docs/deep", &"docs", &"docs/deep/two", &"docs/", &"a"];
    let out = home.at("out");
    let into: Vec<&dyn AsRef<OsStr>> =
        [&"restore" as &dyn AsRef<OsStr>, &"s", &"-o", &out].into_iter().chain(wanted).collect();
    let restored = home.json(&into);
    assert_eq!((&restored["failed"], &restored["warnings"]), (&json!([]), &json!([])));
    assert_eq!(fs::read(out.join("docs/deep/two")).unwrap(), noise(2, 50_000));
    let tar = home.at("tar");
    let tarred: Vec<&dyn AsRef<OsStr>> =
        [&"restore" as &dyn AsRef<OsStr>, &"s", &"--tar", &tar].into_iter().chain(wanted).collect();
    home.done(&tarred);
    let listed = std::process::Command::new("tar").arg("-tf").arg(&tar).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let twos = listed.lines().filter(|line| *line == "docs/deep/two").count();
    assert_eq!(twos, 1, "{listed}");
    // What is not there is said, also below what is.
    let absent = home.run(&[&"restore", &"s", &"docs", &"docs/typo", &"-o", &home.at("more")]);
    assert_eq!(absent.code, 1, "{}", absent.err);
    assert!(absent.err.contains("\"docs/typo\" was not restored"), "{}", absent.err);
    assert_eq!(fs::read(home.at("more/docs/deep/two")).unwrap(), noise(2, 50_000));
}

#[test]
fn folders_that_are_there_keep_their_mode_unless_told_otherwise() {
    let home = Home::new();
    home.file("tree/sub/file", "of the archive");
    let mode = |path: &str, mode| {
        fs::set_permissions(home.at(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("tree/sub", 0o777);
    home.archive("s", &home.at("tree"));
    home.file("out/sub/mine", "private");
    mode("out/sub", 0o700);
    let modes = || fs::metadata(home.at("out/sub")).unwrap().permissions().mode() & 0o7777;
    home.done(&[&"restore", &"s", &"-o", &home.at("out")]);
    assert_eq!(modes(), 0o700, "what is there was opened to everybody");
    assert_eq!(fs::read(home.at("out/sub/file")).unwrap(), b"of the archive");
    home.done(&[&"restore", &"s", &"-o", &home.at("out"), &"--overwrite"]);
    assert_eq!(modes(), 0o777);
}

#[test]
fn folders_that_nobody_may_write_to_are_restored_over_a_second_time() {
    let home = Home::new();
    let home = {
        let data = home.at("mine/store");
        home.with_data(data)
    };
    home.file("mine/tree/locked/deeper/file", "first");
    for path in ["mine/tree/locked/deeper", "mine/tree/locked"] {
        fs::set_permissions(home.at(path), fs::Permissions::from_mode(0o555)).unwrap();
    }
    if is_root() {
        chown(home.at("mine"), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let run = |arguments: &[&dyn AsRef<OsStr>]| -> Ran {
        as_somebody(&home, arguments).output().unwrap().into()
    };
    let kept = run(&[&"archive", &home.at("mine/tree"), &"--session", &"s"]);
    assert_eq!(kept.code, 0, "{}", kept.err);
    for _ in 0..2 {
        let again = run(&[&"restore", &"s", &"-o", &home.at("mine/out"), &"--overwrite"]);
        assert_eq!(again.code, 0, "{}", again.err);
        Snapshot::of(&home.at("mine/tree")).assert_same(&Snapshot::of(&home.at("mine/out")));
    }
    for path in ["mine/tree", "mine/out"] {
        for folder in ["locked", "locked/deeper"] {
            let folder = home.at(path).join(folder);
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_once_however_many_chunks_it_has() {
    let home = Home::new();
    some_tree(&home);
    let segment = home.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let length = bytes.len();
    bytes[length / 8..length / 8 * 7].iter_mut().step_by(50_000).for_each(|byte| *byte ^= 1);
    fs::write(&segment, bytes).unwrap();
    let ran = home.run(&[&"restore", &"s", &"large", &"-o", &home.at("out")]);
    assert_ne!(ran.code, 0);
    let named = ran.err.lines().filter(|line| line.contains("\"large\"")).count();
    assert_eq!(named, 1, "{}", ran.err);
}

#[test]
fn restoring_never_leaves_its_folder() {
    let home = Home::new();
    // In the archive, `sub` is a folder with files and `way` a link out of the tree.
    home.file("tree/sub/file", "from the archive");
    home.file("tree/sub/deeper/file", "from the archive");
    home.file("outside/file", "untouched");
    symlink(home.at("outside"), home.at("tree/way")).unwrap();
    symlink("../../outside/file", home.at("tree/zz")).unwrap();
    home.archive("s", &home.at("tree"));
    // In the target, `sub` is a link to the outside, and so is what `zz` would be written through.
    fs::create_dir(home.at("out")).unwrap();
    symlink(home.at("outside"), home.at("out/sub")).unwrap();
    symlink(home.at("outside/file"), home.at("out/zz")).unwrap();
    let before = Snapshot::of(&home.at("outside"));
    for overwrite in [false, true] {
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"restore", &"s", &"-o", &"out"];
        if overwrite {
            arguments.push(&"--overwrite");
        }
        let ran = home.run(&arguments);
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        assert!(overwrite || ran.code == 1, "{}", ran.err);
        before.assert_same(&Snapshot::of(&home.at("outside")));
    }
    // Restoring once more over links that the archive itself brought changes nothing outside either.
    home.done(&[&"restore", &"s", &"-o", &home.at("fresh")]);
    home.run(&[&"restore", &"s", &"-o", &home.at("fresh"), &"--overwrite"]);
    before.assert_same(&Snapshot::of(&home.at("outside")));
}

#[test]
fn a_tar_stream_holds_the_same_tree() {
    let home = Home::new();
    super::folder::make_varied(&home.at("tree"));
    fs::write(home.at("tree/large"), noise(4, 3 << 20)).unwrap();
    home.archive("s", &home.at("tree"));
    let tar = home.done(&[&"restore", &"s", &"--tar", &"-"]).out;
    home.done(&[&"restore", &"s", &"--tar", &home.at("s.tar")]);
    assert!(fs::read(home.at("s.tar")).unwrap() == tar);
    let mut archive = tar::Archive::new(tar.as_slice());
    archive.set_preserve_permissions(true);
    archive.unpack(home.at("out")).unwrap();
    // This reader keeps whole seconds only.
    let (wanted, found) = (Snapshot::of(&home.at("tree")), Snapshot::of(&home.at("out")));
    wanted.without_times().assert_same(&found.without_times());
    let part = home.done(&[&"restore", &"s", &"folder/below", &"--tar", &"-"]).out;
    let mut archive = tar::Archive::new(part.as_slice());
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().into_owned().into_os_string())
        .collect();
    assert_eq!(names, ["folder/below/", "folder/below/large"]);
    assert!(home.refused(1, &[&"restore", &"s", &"absent", &"--tar", &"-"]).contains("absent"));
}

#[test]
fn a_store_that_is_not_there_is_not_made_by_reading() {
    let home = Home::new();
    let verbs: [&[&dyn AsRef<OsStr>]; 6] = [
        &[&"ls"],
        &[&"show", &"s"],
        &[&"cat", &"s"],
        &[&"restore", &"s", &"-o", &"out"],
        &[&"verify", &"--all"],
        &[&"reindex"],
    ];
    for verb in verbs {
        let why = home.hindered(verb);
        assert!(why.contains("holds no Lucid store"), "{why}");
        assert!(!home.data().exists());
    }
}
