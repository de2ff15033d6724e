//! `ls`, `show`, `cat` and `restore`: what was kept is found and comes out, and nothing else is touched.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
};

use super::home::{Home, Snapshot, noise, prose};

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
