//! Recordings of one folder are a group: listed, verified, proved, restored, played and removed as one. And ids by
//! templates.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::home::Home;
use crate::server::Server;

const SHOWN: &str = "$ ls\r\nnotes\r\n";

/// Two recordings as sudo makes them, and a file beside their folders.
fn record(home: &Home) {
    for (number, shown) in [("01", SHOWN), ("02", "other\r\n")] {
        let folder = home.at(&format!("recordings/00/00/{number}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("log"), "1769508000:ann:root::/dev/pts/0\n/home/ann\n/bin/bash\n")
            .unwrap();
        fs::write(folder.join("timing"), format!("4 0.001 {}\n", shown.len())).unwrap();
        fs::write(folder.join("ttyout"), shown).unwrap();
    }
    fs::write(home.at("recordings/seq"), "000002\n").unwrap();
    home.let_rest("recordings");
}

fn watch(home: &Home, options: &[&str]) {
    let folder = home.at("recordings");
    let mut command = home.command(&[&"watch", &folder, &"--once", &"--idle", &"0.05"]);
    let ran = command.args(options).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// Sessions by the group they are in, or none.
fn by_group(home: &Home) -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for session in home.sessions().into_values() {
        let group = session["metadata"]["group"].as_str().unwrap_or_default().to_owned();
        found.entry(group).or_default().push(session);
    }
    found
}

#[test]
fn recordings_of_a_folder_are_one_thing_wherever_they_are_used() {
    let home = Home::new();
    record(&home);
    watch(&home, &["--group-by", "folder"]);
    let groups = by_group(&home);
    let [none, first, second] = groups.keys().map(String::as_str).collect::<Vec<_>>()[..] else {
        panic!("{groups:?}");
    };
    assert_eq!((none, groups[none].len()), ("", 1));
    assert!(first.starts_with("00_00_01-") && second.starts_with("00_00_02-"), "{first} {second}");
    // Listed.
    let listed = home.done(&[&"ls", &"--group", &first]).text();
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 4, "{listed}");
    assert!(
        lines[0].contains("group") && lines[1..].iter().all(|line| line.contains(first)),
        "{listed}"
    );
    home.refused(64, &[&"ls", &"--group", &first, &"--meta", &"group=x"]);
    // Verified.
    let verified = home.json(&[&"verify", &"--group", &first]);
    assert_eq!(verified["sessions"], 3);
    let told = home.hindered(&[&"verify", &"--group", &"nothing"]);
    assert!(told.contains("no session with group=nothing"), "{told}");
    // Restored and proved: every file has its bundle.
    let (out, proofs) = (home.at("out"), home.at("proofs"));
    home.done(&[&"restore", &"--group", &first, &"-o", &out]);
    home.done(&[&"prove", &"--group", &first, &"-o", &proofs]);
    assert_eq!(fs::read_dir(&proofs).unwrap().count(), 3);
    let checked = |code: i32| {
        let ran = home.run(&[&"check-proof", &proofs, &out]);
        assert_eq!(ran.code, code, "{} {}", ran.text(), ran.complaint());
        ran.text()
    };
    // Its times and hashes hold; who made it is known by no key that was given.
    assert!(!checked(2).contains("REFUSED"));
    let spoiled = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    fs::write(&spoiled, "other bytes").unwrap();
    assert!(checked(1).contains("REFUSED"));
    // Played.
    let play = ["play", "--raw", "--speed", "1000", "--group", first];
    let shown = home.command(&[]).args(play).output().unwrap();
    assert_eq!(String::from_utf8(shown.stdout).unwrap(), SHOWN);
    // Removed: all of it, or nothing.
    let held = groups[first][1]["session_id"].as_str().unwrap();
    home.done(&[&"hold", &held, &"--reason", &"evidence"]);
    let told = home.hindered(&[&"rm", &"--group", &first, &"--yes"]);
    assert!(told.contains(held) && told.contains("nothing was removed"), "{told}");
    assert_eq!(home.sessions().len(), 7);
    home.done(&[&"release", &held]);
    home.done(&[&"rm", &"--group", &first, &"--yes"]);
    assert_eq!(by_group(&home).keys().collect::<Vec<_>>(), ["", second]);
    home.refused(64, &[&"rm"]);
}

#[test]
fn a_group_is_the_same_through_a_server() {
    let (behind, home) = (Home::new(), Home::new());
    let server = Server::start(&behind);
    record(&home);
    let folder = home.at("recordings");
    server
        .run(&home, &[&"watch", &folder, &"--once", &"--idle", &"0.05", &"--group-by", &"folder"]);
    let listed = String::from_utf8(server.run(&home, &[&"--json", &"ls"])).unwrap();
    let sessions: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let group = sessions.iter().find_map(|s| s["metadata"]["group"].as_str()).unwrap();
    let verified = server.run(&home, &[&"--json", &"verify", &"--group", &group]);
    assert_eq!(serde_json::from_slice::<Value>(&verified).unwrap()["sessions"], 3);
    let shown = server.run(&home, &[&"play", &"--raw", &"--speed", &"1000", &"--group", &group]);
    assert!(!shown.is_empty());
    server.run(&home, &[&"rm", &"--yes", &"--group", &group]);
    let left = String::from_utf8(server.run(&home, &[&"--json", &"ls"])).unwrap();
    assert_eq!(left.lines().count(), 4);
}

#[test]
fn groups_of_other_folders_and_hosts_are_others_though_they_are_called_alike() {
    let home = Home::new();
    record(&home);
    watch(&home, &["--group-by", "folder", "--host", "one"]);
    let of = |home: &Home| by_group(home).into_keys().nth(1).unwrap();
    let first = of(&home);
    let other = Home::new();
    record(&other);
    watch(&other, &["--group-by", "folder", "--host", "one"]);
    assert_ne!(first, of(&other));
    let elsewhere = Home::new();
    let folder = home.at("recordings");
    let spool = elsewhere.at("spool");
    elsewhere.done(&[
        &"watch",
        &folder,
        &"--spool",
        &spool,
        &"--once",
        &"--idle",
        &"0.05",
        &"--group-by",
        &"folder",
    ]);
    assert_ne!(first, of(&elsewhere));
}

#[test]
fn ids_are_made_by_a_template_and_stay_apart() {
    let home = Home::new();
    record(&home);
    watch(&home, &["--as", "{host}-{folder}-{stem}", "--host", "web 1"]);
    let ids: Vec<String> = home.sessions().into_keys().collect();
    assert_eq!(ids.len(), 7);
    let logs = ids.iter().filter(|id| id.starts_with("web_1-00_00_01-log-")).count();
    assert_eq!(logs, 1, "{ids:?}");
    // Files that a template does not tell apart are told apart all the same.
    let other = Home::new();
    record(&other);
    watch(&other, &["--as", "sudo.{tail}.{name}"]);
    let ids: Vec<String> = other.sessions().into_keys().collect();
    assert_eq!(
        ids.iter().filter(|id| id.starts_with("sudo.") && id.ends_with(".timing")).count(),
        2,
        "{ids:?}"
    );
    let folder = other.at("recordings");
    for (wrong, why) in [("{nmae}", "{name}"), ("a b", "letters"), ("{name", "open"), ("", "empty")]
    {
        let told = other.refused(64, &[&"watch", &folder, &"--once", &"--as", &wrong]);
        assert!(told.contains(why), "{told}");
    }
    // For what is kept once, a template is the whole id.
    let kept = other.json(&[&"archive", &folder, &"--as", &"{host}.{name}", &"--host", &"here"]);
    assert_eq!(kept["session_id"], "here.recordings");
    let told = other.hindered(&[&"append", &folder.join("seq"), &"--as", &"{user}"]);
    assert!(told.contains("--as gives no id"), "{told}");
    let told = other.refused(64, &[&"watch", &folder, &"--once", &"--session-prefix", &"a b"]);
    assert!(told.contains("--session-prefix"), "{told}");
}
