//! What is protected: keys, passwords, and the terminal of a user who looks at what others wrote.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::home::{Home, Ran, prose};

const FORGED: &str = "ann\nblock key  AAAA=\u{1b}[2J";

#[test]
fn what_others_wrote_forges_no_line_and_steers_no_terminal() {
    let home = Home::new();
    let file = home.file(&format!("tree/{FORGED}"), "content");
    let meta = format!("k={FORGED}");
    let kept = home.json(&[
        &"archive",
        &"--session",
        &"s",
        &"--user",
        &FORGED,
        &"--meta",
        &meta,
        &file.parent().unwrap(),
    ]);
    let block_key = kept["trust_keys"]["block"].as_str().unwrap();
    home.done(&[&"hold", &"s", &"--reason", &FORGED]);
    let refused = home.run(&[&"rm", &"s", &"--yes"]);
    assert_ne!(refused.code, 0);
    let shown = home.done(&[&"show", &"s"]);
    let listed = [home.done(&[&"ls"]), home.done(&[&"ls", &"s"])];
    home.done(&[&"release", &"s"]);
    let removed = home.done(&[&"rm", &"s", &"--yes", &"--reason", &FORGED]);
    let gone = [home.done(&[&"show", &"s"]), home.done(&[&"ls", &"--removed"])];
    let missing = home.run(&[&"cat", &"s", &FORGED]);
    let said = [refused, removed, missing].into_iter().chain(listed).chain(gone);
    for Ran { out, err, .. } in said.chain([home.run(&[&"archive", &FORGED])]) {
        assert_harmless(&String::from_utf8(out).unwrap());
        assert_harmless(&err);
    }
    assert_harmless(&shown.text());
    let keys: Vec<String> =
        shown.lines().into_iter().filter(|line| line.starts_with("block key")).collect();
    assert_eq!(keys, [format!("block key  {block_key}")]);
    assert!(shown.text().contains("user       ann\\nblock key  AAAA=\\u{1b}[2J"));
}

fn assert_harmless(text: &str) {
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("block key  AAAA=")), "{text:?}");
}

#[test]
fn public_keys_are_given_to_programs() {
    let home = Home::new();
    let kept = home.archive("s", &home.file("file", "content"));
    let trusted = ["block", "recorder"].map(|key| kept["trust_keys"][key].as_str().unwrap());
    let shown = home.done(&[&"keys", &"show", &"--public"]);
    let [block, recorder] = trusted;
    assert_eq!(shown.lines(), [format!("block {block}"), format!("recorder {recorder}")]);
    for (which, key) in ["block", "recorder"].into_iter().zip(trusted) {
        let shown = home.done(&[&"keys", &"show", &"--public", &which]);
        assert_eq!(shown.text(), format!("{key}\n"));
        let shown = home.json(&[&"keys", &"show", &"--public", &which]);
        assert_eq!(shown, serde_json::json!({ "signs": which, "public_key": key }));
    }
    home.refused(64, &[&"keys", &"show"]);
    let [text, file] = [home.at("file.proof"), home.at("file")];
    home.done(&[&"prove", &"s", &"--path", &"file", &"--output", &text]);
    home.done(&[&"check-proof", &text, &file, &"--trust", &block, &"--trust", &recorder]);
}

/// Every path that a session has.
fn paths(home: &Home, session: &str) -> Vec<String> {
    let listed = home.done(&[&"--json", &"ls", &session]);
    let path = |line: &String| {
        let entry: Value = serde_json::from_str(line).unwrap();
        entry["path"].as_str().unwrap().to_owned()
    };
    listed.lines().iter().map(path).collect()
}

#[test]
fn a_store_is_left_out_wherever_it_is_and_whosever_it_is() {
    let (other, home) = (Home::new(), Home::new());
    other.archive("s", &other.file("file", "content"));
    home.file("tree/notes", "content");
    let inside = home.at("tree/below/lucid-data");
    super::home::copy(other.data(), &inside);
    // One that lost its label is known by the copy of that.
    fs::remove_file(inside.join("block-manager/STORE")).unwrap();
    let kept = home.archive("s", &home.at("tree"));
    assert_eq!(paths(&home, "s"), ["below", "below/lucid-data", "notes"], "{kept:#}");
    let left_out: Vec<_> = kept["skipped"].as_array().unwrap().iter().collect();
    let named = |at: usize| (left_out[at]["path"].as_str(), left_out[at]["loss"].as_str());
    assert_eq!(named(0), (Some("below/lucid-data/block-manager"), Some("own")));
    assert_eq!(named(1), (Some("below/lucid-data/data-chain"), Some("own")));
    for of_a_store in ["", "keys", "keys/root.key", "keys/recorder.key"] {
        let path = inside.join("data-chain").join(of_a_store);
        let said = home.refused(1, &[&"archive", &"--session", &"t", &path]);
        assert!(said.contains("is in a data folder of lucid"), "{said}");
        symlink(&path, home.at("link")).unwrap();
        home.refused(1, &[&"archive", &"--session", &"t", &home.at("link")]);
        fs::remove_file(home.at("link")).unwrap();
    }
    assert_eq!(home.sessions().len(), 1, "nothing was begun");
}

#[test]
fn a_watcher_enters_no_store_and_says_so_once() {
    let (other, home) = (Home::new(), Home::new());
    other.archive("s", &other.file("file", "content"));
    super::home::copy(other.data(), &home.at("recordings/lucid-data"));
    home.file("recordings/log", "line");
    let watch = |folder: &Path| {
        let watch: [&dyn AsRef<OsStr>; 5] = [&"watch", &folder, &"--once", &"--idle", &"0.01"];
        home.run(&watch)
    };
    home.let_rest("recordings");
    let ran = watch(&home.at("recordings"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let of_stores = |line: &&String| line.contains("it is a data folder of lucid");
    assert_eq!(ran.lines().iter().filter(of_stores).count(), 2, "{}", ran.text());
    assert_eq!(home.sessions().len(), 1);
    assert_eq!(watch(&home.at("recordings/lucid-data/data-chain/keys")).code, 1);
}

/// Everything below a folder, without following links.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        at += 1;
    }
    found
}

/// Runs `lucid` under a umask.
fn under(umask: &str, home: &Home, arguments: &[&dyn AsRef<OsStr>]) {
    let command = home.command(arguments);
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().current_dir(command.get_current_dir().unwrap());
    shell.arg("-c").arg(format!("umask {umask}; exec \"$0\" \"$@\"")).arg(command.get_program());
    let ran: Ran =
        shell.args(command.get_args()).env("LUCID_DATA", home.data()).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}{}", ran.err, ran.text());
}

#[test]
fn what_a_store_keeps_is_its_owners_alone_whatever_the_umask() {
    for umask in ["000", "002"] {
        let home = Home::new();
        let tree = home.file("tree/file", prose(1, 200_000));
        let tree = tree.parent().unwrap();
        under(umask, &home, &[&"archive", &"--session", &"s", &tree]);
        under(umask, &home, &[&"keys", &"rotate"]);
        under(umask, &home, &[&"reindex"]);
        under(umask, &home, &[&"mirror", &home.at("mirror")]);
        under(umask, &home, &[&"keys", &"export", &home.at("exported.key")]);
        home.let_rest("tree");
        let spool = home.at("spool");
        under(umask, &home, &[&"watch", &tree, &"--once", &"--idle", &"0.01", &"--spool", &spool]);
        let mut private = below(home.data());
        private.extend(below(&home.at("mirror")).into_iter().chain(below(&spool)));
        private.push(home.at("exported.key"));
        for path in private {
            let found = fs::symlink_metadata(&path).unwrap();
            // The index's library makes its files as the umask says, in a folder that is closed.
            let is_behind = path.ancestors().skip(1).any(|above| above.ends_with("index"));
            let open = if is_behind { 0 } else { found.permissions().mode() & 0o077 };
            assert_eq!(open, 0, "{umask}: {}: {:o}", path.display(), found.mode());
        }
        // What the user asks for is as the umask says.
        under(umask, &home, &[&"prove", &"s", &"--output", &home.at("proof")]);
        let mask = u32::from_str_radix(umask, 8).unwrap();
        let proof = fs::metadata(home.at("proof")).unwrap().permissions().mode() & 0o777;
        assert_eq!(proof, 0o666 & !mask);
    }
}

#[test]
fn a_store_of_a_version_before_is_closed_to_others_when_it_is_opened() {
    let home = Home::new();
    home.archive("s", &home.file("file", "content"));
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let folders: Vec<PathBuf> = ["data-chain", "block-manager"]
        .iter()
        .flat_map(|service| below(&home.data().join(service)))
        .filter(|path| path.is_dir())
        .collect();
    folders.iter().for_each(|folder| set(folder, 0o775));
    home.archive("t", &home.at("file"));
    for folder in folders {
        let mode = fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
        // The folder itself is its operator's.
        let is_own = folder.parent() == Some(home.data());
        let is_behind = folder.ancestors().skip(1).any(|above| above.ends_with("index"));
        let wanted = if is_own || is_behind { 0o775 } else { 0o700 };
        assert_eq!(mode, wanted, "{}", folder.display());
    }
}

#[test]
fn a_spool_that_others_may_write_to_or_that_leads_elsewhere_is_refused() {
    let home = Home::new();
    home.file("recordings/log", "line");
    home.let_rest("recordings");
    let (folder, spool) = (home.at("recordings"), home.at("spool"));
    let watch: [&dyn AsRef<OsStr>; 7] =
        [&"watch", &folder, &"--once", &"--idle", &"0.01", &"--spool", &spool];
    fs::create_dir(&spool).unwrap();
    for open in [0o777, 0o1777, 0o770] {
        fs::set_permissions(&spool, fs::Permissions::from_mode(open)).unwrap();
        let said = home.refused(1, &watch);
        assert!(said.contains("others may write to it"), "{said}");
    }
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o755)).unwrap();
    // What was put there before leads nowhere.
    let precious = home.file("precious", "precious");
    for name in ["lock", "store.new", "store"] {
        symlink(&precious, spool.join(name)).unwrap();
        home.run(&watch);
        assert_eq!(fs::read(&precious).unwrap(), b"precious", "{name}");
        fs::remove_file(spool.join(name)).unwrap();
    }
    home.done(&watch);
    // One that a version before made under a umask of 002.
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o775)).unwrap();
    home.done(&watch);
    assert_eq!(fs::metadata(&spool).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(home.sessions().len(), 1);
}

#[test]
fn no_password_in_an_address_is_shown() {
    let home = Home::new();
    let file = home.file("file", "content");
    home.archive("s", &file);
    let good = "http://ann:hunter2@127.0.0.1:1";
    let bad =
        ["http://ann:hunter2@127.0.0.1:1/path", "ann:hunter2@127.0.0.1:1", "http://ann:hunter2/@h"];
    for address in bad.into_iter().chain([good]) {
        let verbs: [&[&dyn AsRef<OsStr>]; 7] = [
            &[&"--server", &address, &"ls"],
            &[&"--server", &address, &"archive", &file],
            &[&"--server", &address, &"watch", &home.at("."), &"--once"],
            &[&"mirror", &"--to-server", &address],
            &[&"chain", &"--manager", &address, &"info"],
            &[&"chain", &"sync", &"--from", &address],
            &[&"chain", &"--manager", &address, &"validate"],
        ];
        for verb in verbs {
            let shown: Vec<_> = verb.iter().map(|word| word.as_ref()).collect();
            // A malformed address is told apart without waiting. A good one is waited for, except by quick verbs.
            let is_quick = ["ls", "info"].iter().any(|verb| shown.contains(&OsStr::new(verb)));
            if address == good && !is_quick {
                continue;
            }
            let ran = home.run(verb);
            let said = format!("{}{}", ran.text(), ran.err);
            assert!(ran.code != 0 && !said.contains("hunter2"), "{shown:?}: {said}");
        }
    }
    let helped: [(&str, &[&dyn AsRef<OsStr>]); 3] = [
        ("LUCID_DATA_CHAIN_URL", &[&"ls", &"--help"]),
        ("LUCID_BLOCK_MANAGER_URL", &[&"chain", &"info", &"--help"]),
        ("LUCID_CHAIN_FOLLOW_URL", &[&"chain", &"sync", &"--help"]),
    ];
    for (name, help) in helped {
        let ran: Ran = home.command(help).env(name, good).output().unwrap().into();
        assert!(ran.text().contains(name) && !ran.text().contains("hunter2"), "{}", ran.text());
    }
}
