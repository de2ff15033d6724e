//! `lucid archive`: which paths are taken, what of them is not wanted, and what a run that only looks says.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::home::{Home, Snapshot, noise, prose};
use super::server::Server;

/// The paths in an archive.
fn listed(home: &Home, session: &str) -> Vec<String> {
    let listed = home.done(&[&"--json", &"ls", &session]);
    let line = |line: String| -> Value { serde_json::from_str(&line).unwrap() };
    listed.lines().into_iter().map(|at| line(at)["path"].as_str().unwrap().to_owned()).collect()
}

/// A path as it stands in an archive of several.
fn inside(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap().to_owned()
}

/// A folder with something for every way to exclude.
fn make_mixed(home: &Home) -> PathBuf {
    for (name, bytes) in [
        ("main.c", &b"int main"[..]),
        ("main.o", b"object"),
        ("Photo.JPG", b"light"),
        ("foo/x/bar/deep", b"1"),
        ("foo/bar", b"2"),
        ("keep/main.o", b"kept"),
        ("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n# x"),
        ("cache/big", b"3"),
        ("no cache/CACHEDIR.TAG", b"Signature: none"),
        ("no cache/file", b"4"),
        ("marked/.nobackup", b""),
        ("marked/file", b"5"),
        ("git/.gitignore", b"*.log\n!keep.log\n/build/\n"),
        ("git/a.log", b"6"),
        ("git/keep.log", b"7"),
        ("git/build/out", b"8"),
        ("git/sub/build/out", b"9"),
        ("git/sub/.gitignore", b"!b.log\n[\\"),
        ("git/sub/b.log", b"10"),
        ("large", &[7; 5000]),
    ] {
        home.file(&format!("mixed/{name}"), bytes);
    }
    home.at("mixed")
}

#[test]
fn what_is_excluded_is_counted_and_everything_else_comes_back() {
    let home = Home::new();
    let top = make_mixed(&home);
    let file = home.file("patterns", "# C\n*.o\n!keep/*.o\n\nfoo/**/bar\n");
    let kept = home.json(&[
        &"archive",
        &top,
        &"--session",
        &"s",
        &"--exclude-file",
        &file,
        &"--iexclude",
        &"*.jpg",
        &"--exclude-caches",
        &"--exclude-if-present",
        &".nobackup",
        &"--exclude-larger-than",
        &"4k",
        &"--git-ignore",
        &"-v",
    ]);
    let wanted = json!({
        "patterns": 4, "caches": 1, "marked": 1, "large": 1, "other_file_systems": 0, "git_ignored": 2
    });
    assert_eq!(kept["excluded"], wanted, "{kept:#}");
    let mut excluded: Vec<_> = kept["excluded_paths"].as_array().unwrap().iter().collect();
    excluded.sort_by_key(|path| path["path"].as_str());
    let excluded: Vec<_> = excluded.iter().map(|path| path["path"].as_str().unwrap()).collect();
    assert_eq!(
        excluded,
        [
            "Photo.JPG",
            "cache",
            "foo/bar",
            "foo/x/bar",
            "git/a.log",
            "git/build",
            "large",
            "main.o",
            "marked"
        ]
    );
    // A line that is no pattern is passed over, and said.
    assert_eq!(kept["skipped"][0]["loss"], "none", "{kept:#}");
    let mut paths = listed(&home, "s");
    paths.retain(|path| top.join(path).is_file());
    assert_eq!(
        paths,
        [
            "cache/CACHEDIR.TAG",
            "git/.gitignore",
            "git/keep.log",
            "git/sub/.gitignore",
            "git/sub/b.log",
            "git/sub/build/out",
            "keep/main.o",
            "main.c",
            "marked/.nobackup",
            "no cache/CACHEDIR.TAG",
            "no cache/file",
        ]
    );
    let said = home.done(&[&"archive", &top, &"-e", &"*.o", &"-v"]);
    assert!(said.text().contains("excluded   2 paths: 2 by patterns"), "{}", said.text());
    assert!(said.err.contains("excluded \"main.o\": a pattern excludes it"), "{}", said.err);
    // Without any of that everything is kept, and nothing is said of it.
    let all = home.done(&[&"archive", &top, &"--session", &"all"]);
    assert!(!all.text().contains("excluded"), "{}", all.text());
    Snapshot::of(&top).assert_same(&Snapshot::of(&home.restore("all", "back")));
}

#[test]
fn several_paths_stand_at_their_absolute_places_and_come_back_below_the_target() {
    let home = Home::new();
    home.file("a/one", prose(1, 5_000));
    home.file("a/sub/two", "2");
    home.file("b", "3");
    home.file("far/c/x/y", "4");
    home.file("far/c/z", "5");
    symlink(home.at("far"), home.at("link")).unwrap();
    let top = home.at("").canonicalize().unwrap();
    // One is in another, one is behind a link, and one is named twice.
    let named =
        [top.join("b"), top.join("a"), top.join("a/sub"), top.join("link/c/x"), top.join("b")];
    let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"--json", &"archive", &"--session", &"s"];
    arguments.extend(named.iter().map(|path| path as &dyn AsRef<OsStr>));
    let ran = home.done(&arguments);
    assert_eq!(ran.json()["skipped"], json!([]));
    let below = |path: &str| inside(&top.join(path)).to_str().unwrap().to_owned();
    let paths = listed(&home, "s");
    let wanted =
        ["a", "a/one", "a/sub", "a/sub/two", "b", "link", "link/c", "link/c/x", "link/c/x/y"];
    assert!(paths.ends_with(&wanted.map(below)), "{paths:#?}");
    assert_eq!(paths.len(), wanted.len() + top.iter().count() - 1, "only the way there besides");
    let back = home.restore("s", "back").join(inside(&top));
    Snapshot::of(&home.at("a")).assert_same(&Snapshot::of(&back.join("a")));
    assert_eq!(fs::read(back.join("link/c/x/y")).unwrap(), b"4");
    assert!(!back.join("link/c/z").exists());
    let shown = home.json(&[&"show", &"s"]);
    assert_eq!(shown["source"]["paths"][0], named[0].to_str().unwrap(), "{shown:#}");

    // One path alone stands at the top, as it always did.
    home.archive("alone", &home.at("a"));
    assert_eq!(listed(&home, "alone"), ["one", "sub", "sub/two"]);
    // What is not there is named, and costs the others nothing.
    let ran = home.run(&[&"--json", &"archive", &"a", &"none", &"none/below", &"b"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    let skipped = ran.json()["skipped"].clone();
    assert_eq!(skipped.as_array().unwrap().len(), 2, "{skipped:#}");
    assert_eq!(skipped[0]["path"], below("none"));
    assert_eq!(skipped[0]["why"], "there is no such file or folder");
    assert!(home.refused(74, &[&"archive", &"none", &"nor this"]).contains("none of the 2 paths"));
    home.assert_sound();
}

#[test]
fn paths_come_from_lists() {
    let home = Home::new();
    for name in ["d/a1", "d/a2", "d/b", "d/#c", "e"] {
        home.file(name, name);
    }
    let top = home.at("").canonicalize().unwrap();
    let ends = |session: &str, names: &[&str]| {
        let mut paths = listed(&home, session);
        paths.retain(|path| Path::new("/").join(path).is_file());
        let wanted = names.iter().map(|name| inside(&top.join(name)));
        let wanted: Vec<_> = wanted.map(|path| path.to_str().unwrap().to_owned()).collect();
        assert_eq!(paths, wanted);
    };
    home.file("list", "# these\nd/a*\n");
    home.done(&[&"archive", &"--files-from", &"list", &"e", &"--session", &"globs"]);
    ends("globs", &["d/a1", "d/a2", "e"]);
    home.file("list", "d/#c\nd/a*\n");
    let ran = home.run(&[&"archive", &"--files-from-verbatim", &"list", &"--session", &"plain"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("/d/a*\" was left out: there is no such"), "{}", ran.err);
    ends("plain", &["d/#c"]);
    // A list of one path is a list all the same.
    let raw = [&"archive" as &dyn AsRef<OsStr>, &"--files-from-raw", &"-", &"--session", &"raw"];
    assert_eq!(home.fed(&raw, b"d/b\0").code, 0);
    ends("raw", &["d/b"]);
    home.file("empty", "\n# nothing\n");
    let told = home.refused(64, &[&"archive", &"--files-from", &"empty"]);
    assert!(told.contains("the lists name no path"), "{told}");
    assert!(home.refused(74, &[&"archive", &"--files-from", &"nowhere"]).contains("nowhere"));
}

#[test]
fn what_makes_no_sense_is_refused_in_a_sentence_that_names_it() {
    let home = Home::new();
    home.file("d/f", "1");
    home.file("list", "ok\n[x\n");
    home.file("unset", "$NOBODY_SET_THIS/x\n");
    for (arguments, named) in [
        (&["d", "-e", "[a"][..], "--exclude: \"[a\" is not a pattern"),
        (&["d", "--iexclude", ""], "--iexclude: \"\" is not a pattern"),
        (&["d", "--exclude-file", "list"], "\"list\", line 2: \"[x\" is not a pattern"),
        (&["d", "--iexclude-file", "unset"], "\"unset\", line 1: no variable"),
        (&["d", "-e", "d"], "excludes \"d\" itself"),
        (&["d", "--exclude-if-present", "a/b"], "--exclude-if-present: \"a/b\""),
        (&["d", "--exclude-larger-than", "much"], "\"much\" is no size"),
        (&["-", "d"], "archived alone"),
        (&["-", "--files-from", "-"], "standard input is named twice"),
        (&["-", "-e", "x"], "nothing can be excluded"),
        (&["d", "--stdin-filename", "x"], "--stdin-filename"),
        (&["-", "--stdin-filename", "a/b"], "without slashes"),
        (&["-", "--stdin-filename", ".."], "without slashes"),
        (&[""], "PATH"),
        (&[], "required"),
        (&["d", "--dry-run", "--verify"], "cannot be used with"),
        (&["d", "--limit-upload", "1"], "--limit-upload"),
        (&["d", "--limit-download", "fast"], "--limit-download"),
    ] {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"archive"];
        all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<OsStr>));
        let ran = home.run(&all);
        assert_eq!(ran.code, 64, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(named), "{arguments:?}: {}", ran.err);
    }
    assert!(!home.data().exists(), "nothing was made");
}

#[test]
fn a_run_that_only_looks_says_what_would_be_new_and_leaves_no_trace() {
    let home = Home::new();
    home.file("d/old", noise(1, 3_000_000));
    home.file("d/x.tmp", "1");
    let look = [&"archive" as &dyn AsRef<OsStr>, &"d", &"-e", &"*.tmp", &"-n"];
    let would = home.json(&look);
    assert_eq!((&would["dry_run"], &would["files"]), (&json!(true), &json!(1)));
    assert_eq!(would["excluded_paths"][0]["path"], "x.tmp");
    assert!(!home.data().exists(), "no store is made");
    let kept = home.json(&look[..4]);
    for what in ["bytes_in", "bytes_new", "chunk_count"] {
        assert_eq!(would[what], kept[what], "{what}");
    }
    home.file("d/new", noise(2, 500_000));
    let before = Snapshot::of(home.data());
    let would = home.json(&look);
    Snapshot::of(home.data()).assert_same(&before);
    let kept = home.json(&look[..4]);
    assert_eq!(would["bytes_new"], kept["bytes_new"]);
    let new = would["bytes_new"].as_u64().unwrap();
    assert!((500_000..1_000_000).contains(&new), "{would:#}");
    let said = home.done(&[&"archive", &"d", &"-n", &"-v", &"-e", &"*.tmp"]);
    assert!(said.err.contains("excluded \"x.tmp\""), "{}", said.err);
    assert!(said.text().contains("would keep 3.50 MB in 2 files"), "{}", said.text());
    let stream = home.fed(&[&"--json", &"archive", &"-", &"-n"], b"words");
    assert_eq!((stream.code, &stream.json()["bytes_new"]), (0, &json!(5)));
    assert_eq!(home.run(&[&"archive", &"d", &"none", &"-n"]).code, 3);
    // It only reads, so it may be told to.
    home.done(&[&"archive", &"d", &"-n", &"--read-only"]);
    assert_eq!(home.sessions().len(), 2);
}

#[test]
fn a_server_is_asked_what_it_has_and_bodies_keep_the_pace_that_is_set() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    let bytes = noise(3, 1_500_000);
    home.file("d/file", &bytes);
    let look = |arguments: &[&dyn AsRef<OsStr>]| -> Value {
        serde_json::from_slice(&server.run(&home, arguments)).unwrap()
    };
    let would = look(&[&"--json", &"archive", &"d", &"-n"]);
    assert!(would["bytes_new"].as_u64().unwrap() > 1_500_000, "{would:#}");
    // A quarter of a second's worth goes at once; a machine that is slow only takes longer.
    let least = Duration::from_secs_f64(1_500_000.0 / (512.0 * 1024.0) - 0.25);
    let begun = Instant::now();
    let kept = look(&[&"--json", &"archive", &"d", &"--session", &"s", &"--limit-upload", &"512"]);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    assert_eq!(would["bytes_new"], kept["bytes_new"]);
    let again = look(&[&"--json", &"archive", &"d", &"-n"]);
    assert_eq!((&again["bytes_new"], &again["chunks_new"]), (&json!(0), &json!(0)));
    let begun = Instant::now();
    let out = server.run(&home, &[&"cat", &"s", &"file", &"--limit-download", &"512"]);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    assert_eq!(out, bytes);
    assert!(!home.data().exists(), "nothing is kept on the client's side");
}

#[test]
fn standard_input_may_be_a_file_of_an_archive() {
    let home = Home::new();
    for (session, bytes) in [("full", noise(4, 3_000_000)), ("hollow", Vec::new())] {
        let arguments: [&dyn AsRef<OsStr>; 7] =
            [&"--json", &"archive", &"-", &"--stdin-filename", &"dump.sql", &"--session", &session];
        let ran = home.fed(&arguments, &bytes);
        assert_eq!((ran.code, &ran.json()["bytes_in"]), (0, &json!(bytes.len())), "{}", ran.err);
        assert_eq!(home.json(&[&"show", &session])["layout"], "tree");
        assert_eq!(listed(&home, session), ["dump.sql"]);
        assert_eq!(home.done(&[&"cat", &session, &"dump.sql"]).out, bytes);
        let back = home.restore(session, &format!("back {session}")).join("dump.sql");
        assert_eq!(fs::read(&back).unwrap(), bytes);
        assert_eq!(fs::metadata(back).unwrap().mode() & 0o777, 0o600);
    }
    home.assert_sound();
}

#[test]
fn a_walk_stays_on_the_file_system_of_what_is_named() {
    let device = |path: &str| fs::metadata(path).map(|seen| seen.dev()).ok();
    if device("/dev/pts").is_none() || device("/dev/pts") == device("/dev") {
        eprintln!("SKIPPED: /dev/pts is no file system of its own");
        return;
    }
    let home = Home::new();
    let count = |arguments: &[&dyn AsRef<OsStr>]| {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"--json", &"archive", &"-n"];
        all.extend(arguments);
        let ran = home.run(&all);
        let would = ran.json();
        let paths = would["excluded_paths"].as_array().unwrap().clone();
        let paths: Vec<_> = paths.iter().map(|path| path["path"].clone()).collect();
        (would["excluded"]["other_file_systems"].as_u64().unwrap(), paths)
    };
    let (alone, excluded) = count(&[&"/dev", &"-x"]);
    assert!(excluded.contains(&json!("pts")), "{excluded:?}");
    // What is named itself is looked into.
    let (named, excluded) = count(&[&"/dev", &"/dev/pts", &"-x"]);
    assert_eq!(named, alone - 1);
    assert!(!excluded.contains(&json!("dev/pts")), "{excluded:?}");
}

#[test]
fn zeros_become_holes_where_that_is_wanted() {
    let home = Home::new();
    let mut bytes = vec![0; 8 << 20];
    bytes[3 << 20..4 << 20].fill(7);
    home.file("d/zeros", &bytes);
    home.archive("s", &home.at("d"));
    home.done(&[&"restore", &"s", &"-o", &home.at("plain")]);
    home.done(&[&"restore", &"s", &"-o", &home.at("sparse"), &"--sparse"]);
    assert!(fs::read(home.at("sparse/zeros")).unwrap() == bytes);
    let room = |path: &str| {
        let file = fs::File::open(home.at(path)).unwrap();
        file.sync_all().unwrap();
        file.metadata().unwrap().blocks() * 512
    };
    assert!(room("plain/zeros") >= 8 << 20);
    assert!(room("sparse/zeros") <= 3 << 20, "{}", room("sparse/zeros"));
}
