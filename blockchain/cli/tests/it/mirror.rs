//! `lucid mirror`: the same sessions in a second store, which lists, reads, verifies and proves them.

use std::ffi::OsStr;
use std::time::Duration;

use serde_json::Value;

use super::home::{Home, Snapshot, noise, prose};
use super::server::Server;

fn filled(home: &Home) {
    home.file("tree/big", noise(1, 3_000_000));
    home.file("tree/a/small", prose(2, 5_000));
    home.archive("tree", &home.at("tree"));
    home.fed(&[&"append", &"--session", &"live", &"--seal-on-eof"], &prose(3, 200_000));
    home.fed(&[&"append", &"--session", &"open", &"--keep-open"], b"not sealed yet");
}

fn check_proof(home: &Home, from: &Value) {
    let key = |name: &str| from["anchor"]["trust"][name].as_str().unwrap().to_owned();
    let checked = home.done(&[
        &"check-proof",
        &home.at("bundle"),
        &home.at("tree/a/small"),
        &"--trust",
        &key("block"),
        &"--trust",
        &key("recorder"),
    ]);
    assert!(checked.text().contains("everything is proved"), "{}", checked.text());
}

#[test]
fn a_mirror_lists_reads_verifies_and_proves_the_same_sessions() {
    let home = Home::new();
    filled(&home);
    let second = home.at("second");
    let done = home.json(&[&"mirror", &second]);
    assert_eq!((&done["copied"], &done["open"], &done["known"]), (&2.into(), &1.into(), &0.into()));
    let again = home.json(&[&"mirror", &second]);
    assert_eq!((&again["copied"], &again["known"]), (&0.into(), &2.into()));
    assert_eq!(again["bytes_sent"], 0);

    let before = home.sessions();
    let first = home.data().to_owned();
    let home = home.with_data(second.clone());
    let mirrored = home.sessions();
    assert_eq!(mirrored.keys().collect::<Vec<_>>(), ["live", "tree"]);
    for (id, session) in &mirrored {
        for field in ["merkle_root", "manifest_hash", "status", "started_at", "anchor", "end"] {
            assert_eq!(session[field], before[id][field], "{id}: {field}");
        }
    }
    home.restore("tree", "back");
    Snapshot::of(&home.at("tree")).assert_same(&Snapshot::of(&home.at("back")));
    assert_eq!(home.done(&[&"cat", &"live"]).out, prose(3, 200_000));
    home.done(&[&"verify", &"tree"]);
    home.assert_sound();
    home.done(&[&"prove", &"tree", &"--path", &"a/small", &"-o", &home.at("bundle")]);
    check_proof(&home, &before["tree"]);
    home.done(&[&"reindex"]);
    home.assert_sound();

    // What was removed is removed in the mirror when that is asked for, and only then.
    let home = home.with_data(first.clone());
    home.done(&[&"rm", &"live", &"--yes"]);
    home.done(&[&"mirror", &second]);
    let home = home.with_data(second.clone());
    assert_eq!(home.sessions().len(), 2);
    let home = home.with_data(first);
    assert_eq!(home.json(&[&"mirror", &second, &"--prune"])["removed"], 1);
    let home = home.with_data(second);
    assert_eq!(home.sessions().keys().collect::<Vec<_>>(), ["tree"]);
}

#[test]
fn what_must_not_be_removed_does_not_keep_the_rest_from_it() {
    let home = Home::new();
    for session in ["a", "b", "c"] {
        home.archive(session, &home.file(session, prose(4, 10_000)));
    }
    let (first, second) = (home.data().to_owned(), home.at("second"));
    home.done(&[&"mirror", &second]);
    let home = home.with_data(second.clone());
    home.done(&[&"hold", &"b", &"--reason", &"a court"]);
    let home = home.with_data(first);
    home.done(&[&"rm", &"a", &"b", &"c", &"--yes"]);
    let ran = home.run(&[&"--json", &"mirror", &second, &"--prune"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let done = ran.json();
    assert_eq!(done["removed"], 2, "{done}");
    let failed = done["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{done}");
    assert!(failed[0].as_str().unwrap().contains("session b"), "{done}");
    let home = home.with_data(second);
    assert_eq!(home.sessions().keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_server_is_mirrored_while_it_is_in_use_and_an_interrupted_copy_goes_on() {
    let (behind, other, home) = (Home::new(), Home::new(), Home::new());
    filled(&behind);
    home.file("tree/a/small", prose(2, 5_000));
    let (from, to) = (Server::start(&behind), Server::start(&other));
    let mirror = || {
        let lines = from.run(&home, &[&"--json", &"mirror", &"--to-server", &to.url]);
        serde_json::from_slice::<Value>(&lines).unwrap()
    };
    // A copy that was interrupted: the session began there, and some of its chunks came.
    let client = lucid_api_client(&to.url);
    let source = lucid_api_client(&from.url);
    let exported = source.export_session("tree").unwrap();
    client.import_session("tree", &exported).unwrap();
    let begun: Value =
        serde_json::from_slice(&to.run(&home, &[&"--json", &"show", &"tree"])).unwrap();
    assert_eq!((&begun["status"], &begun["chunk_count"]), (&"active".into(), &0.into()));
    assert_eq!(mirror()["copied"], 2);
    let (ours, theirs): (Value, Value) = (
        serde_json::from_slice(&from.run(&home, &[&"--json", &"show", &"tree"])).unwrap(),
        serde_json::from_slice(&to.run(&home, &[&"--json", &"show", &"tree"])).unwrap(),
    );
    assert_eq!(ours["merkle_root"], theirs["merkle_root"]);
    assert_eq!(ours["anchor"], theirs["anchor"]);
    assert_eq!(to.run(&home, &[&"cat", &"live"]), prose(3, 200_000));
    to.run(&home, &[&"verify", &"tree"]);
    to.run(&home, &[&"prove", &"tree", &"--path", &"a/small", &"-o", &home.at("bundle")]);
    check_proof(&home, &ours);
    assert_eq!(mirror()["known"], 2);

    // Nothing that is handed in is believed.
    let mut forged = source.export_session("live").unwrap();
    forged.chunk_count += 1;
    assert!(client.import_session("other", &forged).is_err(), "it is about another session");
    forged.started = exported.started.clone();
    assert!(client.import_session("live", &forged).is_err());
}

fn lucid_api_client(url: &str) -> lucid_api::client::DataChainClient {
    lucid_api::client::DataChainClient::new(url, Default::default()).unwrap()
}

#[test]
fn what_is_damaged_in_one_store_comes_back_from_the_other() {
    let home = Home::new();
    home.archive("s", &home.file("a", noise(5, 700_000)));
    let second = home.at("second");
    assert_eq!(home.json(&[&"mirror", &second])["healed"], 0);
    let break_it = |data: &std::path::Path| {
        let path = data.join("data-chain/chunks/00000001.seg");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[300_000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    let first = home.data().to_owned();
    break_it(&first);
    assert_eq!(home.run(&[&"scrub", &"--now"]).code, 1);
    assert_eq!(home.json(&[&"mirror", &second])["healed"], 1);
    assert_eq!(home.done(&[&"cat", &"s", &"a"]).out, noise(5, 700_000));
    assert_eq!(home.json(&[&"scrub", &"--now"])["damage"][0]["state"], "healed");
    // The damaged bytes are still in their file, until that is tidied up.
    assert_eq!(home.run(&[&"verify", &"--all"]).code, 1);
    home.done(&[&"gc"]);
    home.assert_sound();
    assert_eq!(home.json(&[&"scrub", &"--now"])["damage"].as_array().unwrap().len(), 0);

    // And the other way.
    let home = home.with_data(second.clone());
    break_it(&second);
    assert_eq!(home.run(&[&"scrub", &"--now"]).code, 1);
    let home = home.with_data(first);
    assert_eq!(home.json(&[&"mirror", &second])["healed"], 1);
    let home = home.with_data(second);
    assert_eq!(home.done(&[&"cat", &"s", &"a"]).out, noise(5, 700_000));
}

/// Copies that a session keeps to itself are neither seen nor healed by what others send.
#[test]
fn copies_of_a_sessions_own_come_back_too() {
    let (behind, home) = (Home::new(), Home::new());
    let own = [("DATA_CHAIN_DEDUPLICATION_ENABLED", "false")];
    let chunks = [noise(6, 300_000), noise(7, 200_000)];
    let start = || Server::start_with(&behind, 0, &own);
    let server = start();
    let client = lucid_api_client(&server.url);
    for (index, chunk) in (0..).zip(&chunks) {
        client.put_session_chunk("s", index, chunk.clone(), None).unwrap();
    }
    client.seal("s", &Default::default()).unwrap();
    let second = home.at("second");
    let mirror = |server: &Server| {
        let lines = server.run(&home, &[&"--json", &"mirror", &second]);
        serde_json::from_slice::<Value>(&lines).unwrap()
    };
    assert_eq!(mirror(&server)["copied"], 1);
    drop(server);
    let path = behind.data().join("data-chain/chunks/00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[150_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let server = start();
    let client = lucid_api_client(&server.url);
    assert!(!client.verify_session("s", None).unwrap().verified);
    let scrub = [&"scrub" as &dyn AsRef<OsStr>, &"--now"];
    let scrub = home
        .command(&scrub)
        .env_remove("LUCID_DATA")
        .env("LUCID_DATA_CHAIN_URL", &server.url)
        .status()
        .unwrap();
    assert_eq!(scrub.code(), Some(1), "damage was found");
    assert_eq!(mirror(&server)["healed"], 1);
    assert!(client.verify_session("s", None).unwrap().verified);
    assert_eq!(server.run(&home, &[&"cat", &"s"]), chunks.concat());
}

/// Both processes die at random moments of the copy; what is there afterwards is whole or goes on.
#[test]
fn a_mirror_killed_at_any_moment_goes_on() {
    let home = Home::new();
    for number in 0..4 {
        home.archive(&format!("s{number}"), &home.file("a", noise(10 + number, 4_000_000)));
    }
    let second = home.at("second");
    let kills = std::env::var("LUCID_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let mut died = 0;
    for round in 0..kills {
        let mut child = home.spawn(&[&"mirror", &second]);
        std::thread::sleep(Duration::from_millis(5 + round * 97 % 400));
        died += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 4 == 3 && round + 1 < kills {
            std::fs::remove_dir_all(&second).unwrap();
        }
    }
    println!("{died} of {kills} died before the end");
    let done = home.json(&[&"mirror", &second]);
    assert_eq!((&done["sessions"], done["failed"].as_array().unwrap().len()), (&4.into(), 0));
    let before = home.sessions();
    home.assert_sound();
    let home = home.with_data(second);
    home.assert_sound();
    for (id, session) in home.sessions() {
        assert_eq!(session["merkle_root"], before[&id]["merkle_root"]);
        assert_eq!(session["status"], "anchored");
    }
    assert_eq!(home.done(&[&"cat", &"s3", &"a"]).out, noise(13, 4_000_000));
}

#[test]
fn a_session_of_the_second_stores_own_is_not_pruned_for_its_id() {
    for is_open in [false, true] {
        let home = Home::new();
        home.archive("s", &home.file("a", prose(4, 10_000)));
        home.done(&[&"rm", &"s", &"--yes"]);
        let (first, second) = (home.data().to_owned(), home.at("second"));
        let home = home.with_data(second.clone());
        let keep: &[&dyn AsRef<OsStr>] = &[&"append", &"--session", &"s", &"--keep-open"];
        let seal: &[&dyn AsRef<OsStr>] = &[&"append", &"--session", &"s", &"--seal-on-eof"];
        let kept = home.fed(if is_open { keep } else { seal }, &prose(5, 20_000));
        assert_eq!(kept.code, 0, "{}", kept.err);
        let home = home.with_data(first);
        let ran = home.run(&[&"--json", &"mirror", &second, &"--prune"]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        let done = ran.json();
        assert_eq!(done["removed"], 0, "{done}");
        let why = done["failed"][0].as_str().unwrap();
        assert!(why.contains("session s") && why.contains("another one"), "{why}");
        let home = home.with_data(second);
        assert_eq!(home.done(&[&"cat", &"s"]).out, prose(5, 20_000));
    }
}

#[test]
fn a_mirror_of_a_store_that_lost_facts_does_not_count_as_whole() {
    let home = Home::new();
    for session in ["a", "b", "c"] {
        home.archive(session, &home.file(session, prose(4, 10_000)));
    }
    let (second, whole) = (home.at("second"), home.at("whole"));
    home.done(&[&"mirror", &whole]);
    let log = home.data().join("data-chain/log/00000001.log");
    let length = std::fs::metadata(&log).unwrap().len();
    let file = std::fs::File::options().write(true).open(&log).unwrap();
    file.set_len(length - 300).unwrap();
    let ran = home.run(&[&"mirror", &second]);
    assert_eq!(ran.code, 1, "{}{}", ran.err, ran.text());
    assert!(ran.err.contains("may not be all there was"), "{}", ran.err);
    // The second store is told apart from the first.
    let (lossy, home) = (home.data().to_owned(), home.with_data(whole));
    let ran = home.run(&[&"mirror", &lossy]);
    assert_eq!(ran.code, 1, "{}{}", ran.err, ran.text());
    assert!(ran.err.contains("second store"), "{}", ran.err);
}

#[test]
fn a_chunk_that_is_sound_nowhere_does_not_keep_the_others_from_healing() {
    let home = Home::new();
    home.archive("s", &home.file("a", noise(5, 3_000_000)));
    let second = home.at("second");
    home.done(&[&"mirror", &second]);
    let break_it = |data: &std::path::Path, count: usize| {
        let path = data.join("data-chain/chunks/00000001.seg");
        let mut bytes = std::fs::read(&path).unwrap();
        let places = (100_000..bytes.len()).step_by(20_000).take(count);
        places.for_each(|at| bytes[at] ^= 1);
        std::fs::write(&path, bytes).unwrap();
    };
    // In which order chunks lie in a segment is not the same in every run. So all of them are damaged in
    // the first store, and one of them, whichever it is, in the second.
    break_it(home.data(), usize::MAX);
    break_it(&second, 1);
    assert_eq!(home.run(&[&"scrub", &"--now"]).code, 1);
    let ran = home.run(&[&"--json", &"mirror", &second]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let done = ran.json();
    assert!(done["healed"].as_u64().unwrap() > 0, "{done}");
    let failed = done["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{done}");
    assert!(failed[0].as_str().unwrap().contains("in the other store either"), "{done}");
}
