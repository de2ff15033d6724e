//! Telling sessions apart: where they come from, how they are listed, and how one is named.

use std::ffi::OsStr;
use std::fs;

use serde_json::{Value, json};

use super::home::{Home, Ran};
use super::server::Server;

/// This machine's name, as the system tells it.
fn this_host() -> String {
    rustix::system::uname().nodename().to_str().unwrap().to_owned()
}

#[test]
fn every_way_in_says_where_its_session_comes_from() {
    let home = Home::new();
    let tree = home.file("in/a", "1");
    let tree = tree.parent().unwrap();
    let of = |id: &str| home.json(&[&"show", &id])["source"].clone();
    home.done(&[&"archive", &"in", &"--session", &"tree", &"--tag", &"b", &"--tag", &"a"]);
    let wanted = json!({ "host": this_host(), "paths": [tree], "tags": ["a", "b"] });
    assert_eq!(of("tree"), wanted);
    home.fed(&[&"archive", &"-", &"--session", &"piped", &"--host", &"web-1"], b"x");
    assert_eq!(of("piped"), json!({ "host": "web-1", "paths": [], "tags": [] }));
    home.fed(&[&"append", &"--session", &"live", &"--host", &"web-1"], b"x");
    assert_eq!(of("live"), json!({ "host": "web-1", "paths": [], "tags": [] }));
    home.done(&[&"append", &home.at("in/a"), &"--session", &"file"]);
    assert_eq!(of("file")["paths"], json!([home.at("in/a")]));
    home.done(&[&"record", &"--session", &"ran", &"--tag", &"ci", &"--", &"/bin/true"]);
    assert_eq!(of("ran")["tags"], json!(["ci"]));
    home.let_rest("in");
    let spool = home.at("spool");
    home.done(&[&"watch", &"in", &"--once", &"--spool", &spool, &"--tag", &"w", &"--host", &"h"]);
    let watched = home.sessions().into_values().find(|one| one["source"]["host"] == "h").unwrap();
    let paths = json!([home.at("in/a").canonicalize().unwrap()]);
    assert_eq!(watched["source"], json!({ "host": "h", "paths": paths, "tags": ["w"] }));
    home.assert_sound();
}

#[test]
fn a_server_and_a_copy_keep_where_a_session_comes_from() {
    let home = Home::new();
    home.file("in/a", "1");
    let server = Server::start(&home);
    let archive: [&dyn AsRef<OsStr>; 8] =
        [&"archive", &"in", &"--session", &"s", &"--tag", &"t", &"--host", &"h"];
    server.run(&home, &archive);
    // The same once more finds it the same.
    server.run(&home, &archive);
    let shown: Value =
        serde_json::from_slice(&server.run(&home, &[&"--json", &"show", &"s"])).unwrap();
    let wanted = json!({ "host": "h", "paths": [home.at("in")], "tags": ["t"] });
    assert_eq!(shown["source"], wanted);
    drop(server);
    let copy = home.at("copy");
    home.done(&[&"mirror", &copy]);
    let copied = Home::new().with_data(copy);
    assert_eq!(copied.json(&[&"show", &"s"])["source"], wanted);
    copied.assert_sound();
}

#[test]
fn what_cannot_be_kept_of_a_source_is_wrong_use() {
    let home = Home::new();
    home.file("in/a", "1");
    let long = "h".repeat(256);
    assert!(home.refused(64, &[&"archive", &"in", &"--host", &long]).contains("--host"));
    assert!(home.refused(64, &[&"archive", &"in", &"--tag", &""]).contains("--tag"));
}

/// Runs a verb on a folder and against a server that has the same sessions, and expects the same of both.
struct Both<'a> {
    home: &'a Home,
    server: &'a Server,
}

impl Both<'_> {
    fn run(&self, arguments: &[&str], remote: bool) -> Ran {
        let arguments: Vec<_> = arguments.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
        let mut command = self.home.command(&arguments);
        if remote {
            command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &self.server.url);
        }
        command.output().unwrap().into()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let [folder, server] = [false, true].map(|remote| {
            let ran = self.run(arguments, remote);
            assert_eq!(ran.code, 0, "{arguments:?} {remote}: {}", ran.err);
            ran.text()
        });
        assert_eq!(folder, server, "{arguments:?}");
        folder
    }

    /// What both refuse, and say this of.
    fn refused(&self, code: i32, arguments: &[&str], wanted: &[&str]) {
        for remote in [false, true] {
            let ran = self.run(arguments, remote);
            assert_eq!(ran.code, code, "{arguments:?} {remote}: {}{}", ran.err, ran.text());
            let said = ran.complaint();
            for wanted in wanted {
                assert!(said.contains(wanted), "{arguments:?} {remote}: {wanted}: {said}");
            }
        }
    }

    /// The ids of the sessions that are listed.
    fn listed(&self, more: &[&str]) -> Vec<String> {
        let lines = self.done(&[&["--json", "ls"], more].concat());
        let id = |line: &str| {
            let session: Value = serde_json::from_str(line).unwrap();
            session["session_id"].as_str().unwrap().to_owned()
        };
        lines.lines().map(id).collect()
    }
}

/// A store with these sessions, each of a line of its own, the first one the oldest.
fn with(sessions: &[(&str, &[&str])]) -> Home {
    let home = Home::new();
    for (id, more) in sessions {
        let fixed: [&dyn AsRef<OsStr>; 4] = [&"append", &"--session", id, &"--seal-on-eof"];
        let more: Vec<_> = more.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
        let kept = home.fed(&[&fixed[..], &more].concat(), format!("{id}\n").as_bytes());
        assert_eq!(kept.code, 0, "{}", kept.err);
    }
    home
}

/// A copy of a store behind a server, beside the store itself.
fn served(home: &Home) -> (Server, Home) {
    let behind = Home::new();
    super::home::copy(home.data(), behind.data());
    (Server::start(&behind), behind)
}

#[test]
fn sessions_are_listed_by_what_tells_them_apart() {
    let home = with(&[
        ("one", &["--host", "web-1", "--tag", "os", "--tag", "nightly", "--user", "ann"]),
        ("two", &["--host", "web-2", "--tag", "nightly", "--meta", "case=7"]),
        ("three", &["--host", "web-1", "--user", "bob"]),
    ]);
    home.file("in/a", "12345678901234567890");
    home.done(&[&"archive", &"in", &"--session", &"folder", &"--host", &"web-2"]);
    home.fed(&[&"append", &"--session", &"open", &"--host", &"a-0"], b"x");
    let (server, _behind) = served(&home);
    let both = Both { home: &home, server: &server };
    let lists: &[(&[&str], &str)] = &[
        (&[], "open folder three two one"),
        (&["--host", "web-1"], "three one"),
        (&["--host", "web"], ""),
        (&["--tag", "nightly"], "two one"),
        (&["--tag", "nightly", "--tag", "os"], "one"),
        (&["--tag", "nightly", "--host", "web-2"], "two"),
        (&["--user", "ann"], "one"),
        (&["--meta", "case=7"], "two"),
        (&["--path", "in"], "folder"),
        (&["--path", "in/"], "folder"),
        (&["--path", "elsewhere"], ""),
        (&["--status", "active"], "open"),
        (&["--status", "anchored", "--host", "web-2"], "folder two"),
        (&["--from", "2020-01-01", "--user", "bob"], "three"),
        (&["--to", "2020-01-01"], ""),
        (&["--last", "2"], "open folder"),
        (&["--last", "1", "--host", "web-1"], "three"),
        (&["--sort", "id"], "folder one open three two"),
        (&["--sort", "started", "--reverse"], "one two three folder open"),
        (&["--sort", "host", "--last", "3"], "open three folder"),
        (&["--sort", "size", "--last", "2"], "folder open"),
        (&["--sort", "user", "--reverse", "--host", "web-1"], "three one"),
        (&["--sort", "status", "--last", "2"], "open folder"),
    ];
    for (more, wanted) in lists {
        assert_eq!(both.listed(more), wanted.split_whitespace().collect::<Vec<_>>(), "{more:?}");
    }
    let table = both.done(&["ls", "--tag", "nightly"]);
    for shown in ["host", "tags", "web-1", "nightly, os"] {
        assert!(table.contains(shown), "{shown}: {table}");
    }
    assert!(!table.contains("paths"), "what none has takes no room: {table}");
    let of_folder = both.done(&["ls", "--path", "in"]);
    let path = home.at("in").display().to_string();
    assert!(of_folder.contains("paths") && of_folder.contains(&path), "{of_folder}");
    assert!(both.done(&["show", "one"]).contains("tag        nightly\n"));
    for wrong in [
        &["ls", "one", "--sort", "id"][..],
        &["ls", "one", "--host", "web-1"],
        &["ls", "--removed", "--host", "web-1"],
        &["ls", "--sort", "colour"],
        &["ls", "--last", "0"],
        &["ls", "--meta", "a=1", "--meta", "a=2"],
    ] {
        both.refused(64, wrong, &[]);
    }
}

#[test]
fn a_session_is_named_by_a_beginning_of_its_id_that_no_other_has() {
    let home = with(&[
        ("abcd-one", &["--host", "web-1"]),
        ("abcd-two", &[]),
        ("abcdefghi-one", &[]),
        ("abcdefghi-two", &[]),
        ("abcdefghijklmnopq", &[]),
        ("whole", &[]),
        ("whole-one", &[]),
        ("xyz", &[]),
    ]);
    let (server, _behind) = served(&home);
    let both = Both { home: &home, server: &server };
    for (named, wanted) in [
        ("abcd-o", "abcd-one"),
        ("abcdefghi-t", "abcdefghi-two"),
        ("abcdefghij", "abcdefghijklmnopq"),
        ("abcdefghijklmnop", "abcdefghijklmnopq"),
        // A whole id means its session, whatever else begins so.
        ("whole", "whole"),
        ("=whole", "whole"),
        ("whole-", "whole-one"),
    ] {
        assert_eq!(both.done(&["cat", named]), format!("{wanted}\n"), "{named}");
    }
    let shown = ["abcd-one (", "web-1", "abcd-two (", "; name more of the one"];
    both.refused(1, &["cat", "abcd-"], &shown);
    let all =
        ["abcd-one (", "abcd-two (", "abcdefghi-one (", "abcdefghi-two (", "abcdefghijklmnopq ("];
    both.refused(1, &["cat", "abcd"], &all);
    // Not so many characters, and not that way: it is said what is not there.
    for absent in ["xy", "abc", "=abcd-o", "nothing-of-that"] {
        both.refused(1, &["cat", absent], &["no session"]);
    }
    for remote in [false, true] {
        let held = both.run(&["hold", "abcd-t", "--reason", "a court"], remote).text();
        assert!(held.contains("abcd-two is held"), "{held}");
    }
    both.done(&["release", "abcd-tw"]);
    // What is removed is still what its id means.
    home.done(&[&"rm", &"whole", &"--yes"]);
    assert!(home.done(&[&"rm", &"whole", &"--yes"]).text().contains("removed whole:"));
    assert!(home.done(&[&"show", &"whole"]).text().contains("removed"));
    assert_eq!(home.done(&[&"cat", &"whole-"]).text(), "whole-one\n");
    // All are known before the first one goes.
    home.refused(1, &[&"rm", &"abcd-one", &"abcd-", &"--yes"]);
    assert_eq!(home.done(&[&"cat", &"abcd-one"]).text(), "abcd-one\n");
}

#[test]
fn the_latest_session_is_the_latest_of_those_that_are_meant() {
    let home = with(&[
        ("latest", &["--host", "web-1", "--tag", "t"]),
        ("second", &["--host", "web-2", "--tag", "t"]),
        ("third", &["--host", "web-1", "--user", "ann"]),
    ]);
    home.file("in/file", "in the folder");
    home.done(&[&"archive", &"in", &"--session", &"tree", &"--host", &"web-3"]);
    let (server, _behind) = served(&home);
    let both = Both { home: &home, server: &server };
    let cat: &[(&[&str], &str)] = &[
        (&["latest", "file"], "in the folder"),
        (&["latest", "--host", "web-2"], "second\n"),
        (&["latest", "--tag", "t"], "second\n"),
        (&["latest", "--user", "ann"], "third\n"),
        (&["latest", "file", "--path", "in", "--host", "web-3"], "in the folder"),
        (&["=latest"], "latest\n"),
    ];
    for (more, wanted) in cat {
        assert_eq!(both.done(&[&["cat"], *more].concat()), *wanted, "{more:?}");
    }
    assert!(both.done(&["ls", "latest"]).contains("file"));
    assert!(both.done(&["show", "latest", "--host", "web-1"]).contains("session    third\n"));
    both.done(&["prove", "latest", "--path", "file", "--host", "web-3", "-o", "bundle"]);
    assert_eq!(both.run(&["verify", "latest", "--tag", "t"], false).code, 0);
    home.done(&[&"restore", &"latest", &"--path", &home.at("in"), &"-o", &home.at("back")]);
    assert_eq!(fs::read_to_string(home.at("back/file")).unwrap(), "in the folder");
    both.refused(1, &["cat", "latest", "--host", "none"], &["no session is of"]);
    both.refused(64, &["cat", "second", "--host", "web-2"], &["name `latest`"]);
    both.refused(64, &["verify", "--all", "--tag", "t"], &["--all"]);
    for verb in ["rm", "hold", "release", "seal"] {
        both.refused(64, &[verb, "latest"], &["name its id"]);
    }
    let empty = Home::new();
    empty.file("a/b", "c");
    empty.done(&[&"archive", &"a", &"--session", &"going"]);
    empty.done(&[&"rm", &"going", &"--yes"]);
    assert!(empty.refused(1, &[&"cat", &"latest"]).contains("there is no session"));
}

#[test]
fn ids_that_nobody_chose_are_short_and_sort_by_their_beginning() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut command = home.command(&[&"--json", &"append", &"-", &"--seal-on-eof"]);
        command.env_remove("LUCID_DATA").env("LUCID_DATA_CHAIN_URL", &server.url);
        command.stdin(fs::File::open(home.file("line", "x")).unwrap());
        let kept = Ran::from(command.output().unwrap()).json();
        ids.push(kept["session_id"].as_str().unwrap().to_owned());
    }
    assert!(ids.iter().all(|id| id.len() == 15), "{ids:?}");
    let seconds: Vec<&str> = ids.iter().map(|id| &id[..7]).collect();
    assert!(seconds.is_sorted() && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}
