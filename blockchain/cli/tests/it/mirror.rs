//! `lucid mirror`: the same sessions in a second store, which lists, reads, verifies and proves them.

use serde_json::Value;

use super::home::{Home, Snapshot, noise, prose};
use super::server::Server;

fn filled(home: &Home) {
    home.file("tree/big", noise(1, 3_000_000));
    home.file("tree/a/small", prose(2, 5_000));
    home.archive("tree", &home.at("tree"));
    home.fed(&[&"append", &"--session", &"live"], &prose(3, 200_000));
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

    // And the other way.
    let home = home.with_data(second.clone());
    break_it(&second);
    assert_eq!(home.run(&[&"scrub", &"--now"]).code, 1);
    let home = home.with_data(first);
    assert_eq!(home.json(&[&"mirror", &second])["healed"], 1);
    let home = home.with_data(second);
    assert_eq!(home.done(&[&"cat", &"s", &"a"]).out, noise(5, 700_000));
}
