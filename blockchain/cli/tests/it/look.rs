//! Looking at what is kept: how sessions differ, what they take, of which chunks they are, and their files as people
//! know them. All of it over a folder and over a server.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};

use super::home::{Home, Ran, noise};
use super::server::Server;

/// A folder or a server that is asked.
struct Asked<'a> {
    home: &'a Home,
    server: Option<&'a Server>,
}

impl Asked<'_> {
    fn run(&self, arguments: &[&dyn AsRef<OsStr>]) -> Ran {
        let mut command = self.home.command(arguments);
        if let Some(server) = self.server {
            command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url);
        }
        command.output().unwrap().into()
    }

    fn text(&self, code: i32, arguments: &[&dyn AsRef<OsStr>]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{}{}", ran.err, ran.text());
        ran.text()
    }

    /// One object a line.
    fn objects(&self, code: i32, arguments: &[&dyn AsRef<OsStr>]) -> Vec<Value> {
        let arguments: Vec<_> =
            [&"--json" as &dyn AsRef<OsStr>].into_iter().chain(arguments.iter().copied()).collect();
        let text = self.text(code, &arguments);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Has the same asked of a folder, and then of a server that has it.
fn on_both(home: &Home, ask: impl Fn(&Asked<'_>)) {
    ask(&Asked { home, server: None });
    let server = Server::start(home);
    ask(&Asked { home, server: Some(&server) });
}

fn set_mode(home: &Home, name: &str, mode: u32) {
    fs::set_permissions(home.at(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// Two archives of a folder, between which all sorts of things changed; and two recordings.
fn changed() -> Home {
    let home = Home::new();
    for number in 0..300 {
        home.file(&format!("in/many/{number:03}"), format!("the file with the number {number}"));
    }
    home.file("in/docs/kept", noise(1, 300_000));
    home.file("in/docs/grown", noise(2, 300_000));
    home.file("in/gone", "soon");
    home.file("in/thing", "a file");
    home.file("in/private", "mine");
    set_mode(&home, "in/private", 0o600);
    symlink("gone", home.at("in/link")).unwrap();
    home.done(&[&"archive", &"in", &"--session", &"one", &"--user", &"ann", &"--host", &"web-1"]);
    home.file("in/many/150", "the file with the number XYZ");
    home.file("in/docs/grown", [noise(2, 300_000), b"more".to_vec()].concat());
    home.file("in/docs/new", "12345678");
    fs::remove_file(home.at("in/gone")).unwrap();
    fs::remove_file(home.at("in/thing")).unwrap();
    home.file("in/thing/inside", "1234");
    set_mode(&home, "in/private", 0o640);
    fs::remove_file(home.at("in/link")).unwrap();
    symlink("docs/new", home.at("in/link")).unwrap();
    home.done(&[&"archive", &"in", &"--session", &"two", &"--user", &"bob", &"--host", &"web-1"]);
    for (id, text) in [("raw", "hello"), ("same", "hello"), ("other", "hullo")] {
        home.fed(&[&"append", &"--session", &id, &"--seal-on-eof"], text.as_bytes());
    }
    home
}

#[test]
fn a_diff_says_each_path_with_the_sign_that_restic_has_for_it() {
    let home = changed();
    on_both(&home, |asked| {
        let text = asked.text(1, &[&"diff", &"one", &"two"]);
        let (paths, summary) = text.split_once("\n\n").unwrap();
        assert_eq!(
            paths.lines().collect::<Vec<_>>(),
            [
                "M    docs/grown",
                "+    docs/new",
                "-    gone",
                "M    link",
                "M    many/150",
                "T    thing/",
                "+    thing/inside",
            ]
        );
        let summary: Vec<_> = summary.lines().collect();
        assert_eq!(summary[0], "Files:       2 new,      1 removed,      2 changed");
        assert_eq!(summary[1], "Dirs:        0 new,      0 removed");
        let more = asked.text(1, &[&"diff", &"one", &"two", &"--metadata"]);
        for line in ["U    ./", "U    docs/", "TU   thing/", "U    private"] {
            assert!(more.lines().any(|found| found == line), "{line}: {more}");
        }
        // What is below a path, and nothing else.
        let docs = asked.text(1, &[&"diff", &"one", &"two", &"docs/"]);
        assert!(docs.starts_with("M    docs/grown\n+    docs/new\n\n"), "{docs}");
        let said = asked.objects(1, &[&"diff", &"one", &"two", &"docs"]);
        assert_eq!(
            said,
            [
                json!({ "message_type": "change", "path": "docs/grown", "modifier": "M" }),
                json!({ "message_type": "change", "path": "docs/new", "modifier": "+" }),
                json!({
                    "message_type": "statistics", "source_session": "one", "target_session": "two",
                    "changed_files": 1,
                    "added": { "files": 1, "dirs": 0, "others": 0, "bytes": 300_012 },
                    "removed": { "files": 0, "dirs": 0, "others": 0, "bytes": 300_000 },
                }),
            ]
        );
    });
}

#[test]
fn a_diff_ends_with_0_where_nothing_differs_and_is_no_verdict_where_it_cannot_be_known() {
    let home = changed();
    on_both(&home, |asked| {
        let none = asked.objects(0, &[&"diff", &"one", &"one"]);
        assert_eq!(none.len(), 1, "{none:?}");
        assert_eq!(none[0]["changed_files"], 0);
        let still = asked.text(0, &[&"diff", &"one", &"two", &"docs/kept"]);
        assert!(still.starts_with('\n'), "{still}");
        let of_mode = asked.text(0, &[&"diff", &"one", &"two", &"private"]);
        assert!(of_mode.starts_with('\n'), "{of_mode}");
        asked.text(1, &[&"diff", &"one", &"two", &"private", &"--metadata"]);
        assert_eq!(asked.objects(0, &[&"diff", &"raw", &"same"]).len(), 1);
        let differ = asked.objects(1, &[&"diff", &"raw", &"other"]);
        assert_eq!((&differ[0]["modifier"], &differ[0]["path"]), (&json!("M"), &json!("")));
        for (why, wrong) in [
            ("name two of a kind", ["raw", "one", ""]),
            ("leave the path out", ["raw", "same", "docs"]),
            ("no session", ["one", "nobody", ""]),
            ("has a file \"none\"", ["one", "two", "none"]),
        ] {
            let given: Vec<&dyn AsRef<OsStr>> = [&"diff" as &dyn AsRef<OsStr>]
                .into_iter()
                .chain(wrong.iter().filter(|word| !word.is_empty()).map(|word| word as _))
                .collect();
            let ran = asked.run(&given);
            assert_eq!(ran.code, 74, "{wrong:?}: {}", ran.err);
            assert!(ran.err.contains(why), "{wrong:?}: {}", ran.err);
        }
    });
}

#[test]
fn a_stream_that_goes_on_is_compared_with_what_it_has_so_far() {
    let home = changed();
    home.fed(&[&"append", &"--session", &"live"], b"hello");
    on_both(&home, |asked| {
        asked.text(0, &[&"diff", &"raw", &"live"]);
        asked.text(1, &[&"diff", &"live", &"other"]);
    });
}

#[test]
fn damage_is_no_difference() {
    let home = changed();
    let segment = home.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    let length = bytes.len();
    // All that is in it, so the catalogues too.
    bytes[length / 4..].iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(&segment, bytes).unwrap();
    let ran = home.run(&[&"diff", &"one", &"two"]);
    assert_eq!(ran.code, 74, "{}{}", ran.err, ran.text());
}

#[test]
fn stats_say_what_sessions_take_and_what_their_removal_frees() {
    let home = Home::new();
    home.file("a/shared", noise(1, 5_000_000));
    home.file("a/own", noise(2, 2_000_000));
    home.file("b/shared", noise(1, 5_000_000));
    home.file("b/own", noise(3, 1_000_000));
    for (id, folder, user, host) in [
        ("first", "a", "ann", "web-1"),
        ("second", "b", "bob", "web-1"),
        ("third", "b", "ann", "h"),
    ] {
        home.done(&[&"archive", &folder, &"--session", &id, &"--user", &user, &"--host", &host]);
    }
    let number = |line: &Value, name: &str| line[name].as_u64().unwrap();
    on_both(&home, |asked| {
        let all = asked.objects(0, &[&"stats", &"--files"]);
        let names: Vec<_> = all.iter().map(|line| line["name"].as_str()).collect();
        assert_eq!(names, [Some("third"), Some("second"), Some("first"), None]);
        let (third, second, first, total) = (&all[0], &all[1], &all[2], &all[3]);
        assert_eq!(number(first, "content_bytes"), 7_000_000);
        assert_eq!([first, second, third, total].map(|line| number(line, "files")), [2, 2, 2, 6]);
        // The second and the third have the same files: neither frees what the other keeps.
        assert!(number(first, "freed_bytes") >= 2_000_000, "{first}");
        assert!(number(first, "freed_bytes") < 5_000_000, "{first}");
        assert!(number(second, "freed_bytes") < 1_000_000, "{second}");
        // All of them together free all that there is.
        assert_eq!(total["freed_bytes"], total["stored_bytes"]);
        assert!(number(total, "stored_bytes") > 8_000_000, "{total}");
        assert!(number(total, "stored_bytes") < 9_000_000, "{total}");
        assert!(total["deduplication"].as_f64().unwrap() > 2.0, "{total}");
        // The two together free what they have in common.
        let both = asked.objects(0, &[&"stats", &"second", &"third", &"second"]);
        assert_eq!(both.len(), 3, "{both:?}");
        assert!(number(&both[2], "freed_bytes") >= 1_000_000, "{both:?}");
        assert!(number(&both[2], "freed_bytes") < 5_000_000, "{both:?}");
        assert_eq!(both[0], without_files(second));
        // Some, or all of them: both ways say the same.
        let named = asked.objects(0, &[&"stats", &"third", &"second", &"first"]);
        let without: Vec<_> = all.iter().map(without_files).collect();
        assert_eq!(named, without);
        let users = asked.objects(0, &[&"stats", &"--by", &"user"]);
        let names: Vec<_> = users.iter().map(|line| line["name"].as_str()).collect();
        assert_eq!(names, [Some("ann"), Some("bob"), None]);
        assert_eq!((number(&users[0], "sessions"), number(&users[1], "sessions")), (2, 1));
        let hosts = asked.objects(0, &[&"stats", &"--by", &"host"]);
        assert_eq!((&hosts[0]["name"], &hosts[1]["name"]), (&json!("h"), &json!("web-1")));
        let table = asked.text(0, &[&"stats", &"--by", &"host"]);
        assert!(table.starts_with("host ") && table.contains("would free"), "{table}");
        assert!(table.lines().last().unwrap().starts_with("all "), "{table}");
        assert!(asked.run(&[&"stats", &"nobody"]).err.contains("no session nobody"));
        assert_eq!(asked.run(&[&"stats", &"--by", &"tag"]).code, 64);
    });
    // And so it is: what is said to be freed is what is freed.
    let said = Asked { home: &home, server: None }.objects(0, &[&"stats", &"first"]);
    home.done(&[&"rm", &"first", &"--yes"]);
    let collected = home.json(&[&"gc", &"--dry-run"]);
    assert_eq!(collected["bytes_dead"], said[0]["freed_bytes"], "{collected:#} {said:?}");
}

fn without_files(line: &Value) -> Value {
    let mut line = line.clone();
    line.as_object_mut().unwrap().remove("files");
    line
}

#[test]
fn the_chunks_of_a_session_are_listed_in_order() {
    let home = changed();
    on_both(&home, |asked| {
        let chunks = asked.objects(0, &[&"show", &"--chunks", &"one"]);
        let session = &asked.text(0, &[&"--json", &"show", &"one"]);
        let session: Value = serde_json::from_str(session).unwrap();
        assert_eq!(chunks.len() as u64, session["chunk_count"].as_u64().unwrap());
        let mut offset = 0;
        for (index, chunk) in (0_u64..).zip(&chunks) {
            assert_eq!((&chunk["index"], &chunk["offset"]), (&json!(index), &json!(offset)));
            assert!(chunk["stored_bytes"].as_u64().unwrap() > 0, "{chunk}");
            // Where it is, is for those who have the folder.
            assert_eq!(chunk["unit"].is_u64(), asked.server.is_none(), "{chunk}");
            offset += chunk["length"].as_u64().unwrap();
        }
        assert_eq!(json!(offset), session["total_bytes"]);
        let table = asked.text(0, &[&"show", &"--chunks", &"one"]);
        assert_eq!(table.lines().count(), chunks.len() + 1);
        assert!(table.contains(chunks[0]["chunk_id"].as_str().unwrap()), "{table}");
    });
}

#[test]
fn files_are_listed_as_ls_lists_them() {
    let home = changed();
    on_both(&home, |asked| {
        let long = asked.text(0, &[&"ls", &"-l", &"two"]);
        let line = |path: &str| {
            let end = format!(" {path}");
            long.lines()
                .find(|line| line.ends_with(&end))
                .unwrap_or_else(|| panic!("{path}: {long}"))
        };
        assert!(line("private").starts_with("-rw-r----- "), "{long}");
        assert!(line("docs").starts_with('d'), "{long}");
        assert!(line("link -> docs/new").starts_with("lrwxrwxrwx "), "{long}");
        assert!(line("docs/grown").contains(" 300004 "), "{long}");
        let human = asked.text(0, &[&"ls", &"-l", &"--human", &"two", &"docs/grown"]);
        assert!(human.contains(" 300 kB "), "{human}");
        let plain = asked.text(0, &[&"ls", &"two", &"docs/grown", &"--human-readable"]);
        assert!(plain.starts_with("-0") && plain.contains(" 300 kB "), "{plain}");
        let told = &asked.objects(0, &[&"ls", &"two", &"private"])[0];
        assert!(told["uid"].is_u64() && told["gid"].is_u64(), "{told}");
        assert_eq!(asked.run(&[&"ls", &"-l"]).code, 64);
    });
}

#[test]
fn a_tree_is_drawn_as_tree_draws_it() {
    let home = Home::new();
    for path in ["in/a/b/c", "in/a/d", "in/.hidden/x", "in/z"] {
        home.file(path, "1");
    }
    symlink("a/d", home.at("in/m")).unwrap();
    home.archive("s", &home.at("in"));
    on_both(&home, |asked| {
        assert_eq!(
            asked.text(0, &[&"tree", &"s"]),
            ".\n├── a\n│   ├── b\n│   │   └── c\n│   └── d\n├── m -> a/d\n└── z\n\n\
             2 directories, 4 files\n"
        );
        assert_eq!(
            asked.text(0, &[&"tree", &"s", &"--ascii", &"-a", &"--depth", &"1"]),
            ".\n|-- .hidden\n|-- a\n|-- m -> a/d\n`-- z\n\n2 directories, 2 files\n"
        );
        assert_eq!(
            asked.text(0, &[&"tree", &"s", &"a/b"]),
            "a/b\n└── c\n\n0 directories, 1 file\n"
        );
        let told = asked.objects(0, &[&"tree", &"s", &"-L", &"1"]);
        assert_eq!(told[0]["path"], "a");
        assert_eq!(told.last(), Some(&json!({ "directories": 1, "files": 2 })));
        assert!(asked.run(&[&"tree", &"s", &"none"]).err.contains("no file \"none\""));
        assert_eq!(asked.run(&[&"tree", &"s", &"--depth", &"0"]).code, 64);
    });
}
