//! A store moves into a database and a bucket, and back: what is kept, its roots and its proofs are the same.

use std::fs;

use super::home::{Home, Snapshot, noise};
use super::real_servers::Remote;

#[test]
fn a_move_that_nobody_said_where_to_is_refused_and_changes_nothing() {
    let home = Home::new();
    let file = home.file("file", noise(1, 100_000));
    home.archive("s", &file);
    let refused = home.refused(64, &[&"migrate", &"--to", &"remote"]);
    assert!(refused.contains("set MONGO_URL"), "{refused}");
    home.refused(64, &[&"migrate"]);
    assert_eq!(home.json(&[&"migrate", &"--to", &"folder"])["stores"], serde_json::json!([]));
    home.assert_sound();
}

#[test]
fn a_store_moves_there_and_back_with_its_proofs() {
    let Some(remote) = Remote::new() else { return };
    let home = Home::new();
    for (name, bytes) in [("a", noise(1, 300_000)), ("b/c", noise(2, 2_000_000))] {
        home.file(&format!("files/{name}"), bytes);
    }
    let files = home.at("files");
    let kept = home.archive("s", &files);
    home.archive("gone", &home.file("other", noise(3, 800_000)));
    home.done(&[&"rm", &"gone", &"--yes"]);
    home.done(&[&"gc"]);
    let root = |home: &Home| home.json(&[&"show", &"s"])["root"].clone();
    let before = root(&home);
    let proof = home.at("proof");
    home.done(&[&"prove", &"s", &"--path", &"b/c", &"-o", &proof]);
    let trust = |which: &str| kept["trust_keys"][which].as_str().unwrap().to_owned();
    let (block, recorder) = (trust("block"), trust("recorder"));
    let label = fs::read(home.data().join("data-chain/STORE")).unwrap();

    let home = home.with_variables(&remote.variables());
    let refused = home.run(&[&"ls"]);
    assert!(refused.err.contains("lucid migrate"), "{}", refused.err);
    let planned = home.json(&[&"migrate", &"--to", &"remote", &"--dry-run"]);
    assert_eq!(planned["stores"][0]["is_there"], false, "{planned:#}");
    assert_eq!(fs::read(home.data().join("data-chain/STORE")).unwrap(), label);
    let there = home.json(&[&"migrate", &"--to", &"remote"]);
    assert_eq!(there["stores"][0]["chunks"], planned["stores"][0]["chunks"], "{there:#}");
    assert_eq!(there["stores"][1]["blocks"], planned["stores"][1]["blocks"], "{there:#}");
    assert_eq!(root(&home), before);
    home.assert_sound();
    assert_eq!(Snapshot::of(&home.restore("s", "there")), Snapshot::of(&files));
    let again = home.json(&[&"migrate", &"--to", &"remote"]);
    assert_eq!(again["stores"], serde_json::json!([]), "{again:#}");
    // It is a store like any other.
    let more = home.file("more", noise(4, 700_000));
    home.archive("t", &more);

    let back = home.json(&[&"migrate", &"--to", &"folder"]);
    assert_eq!(back["stores"].as_array().unwrap().len(), 2, "{back:#}");
    assert_eq!(fs::read(home.data().join("data-chain/STORE")).unwrap(), label);
    let home = home.with_variables(&[]);
    assert_eq!(root(&home), before);
    home.assert_sound();
    assert_eq!(Snapshot::of(&home.restore("s", "back")), Snapshot::of(&files));
    home.done(&[&"reindex"]);
    home.assert_sound();
    let checked = home.run(&[
        &"check-proof",
        &proof,
        &files.join("b/c"),
        &"--trust",
        &block,
        &"--trust",
        &recorder,
    ]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    // What was there before the first move stays until it is removed, and no other move writes over it.
    assert!(home.data().join("data-chain/before-move/log").is_dir());
    let home = home.with_variables(&remote.variables());
    let refused = home.run(&[&"migrate", &"--to", &"remote"]);
    assert!(refused.code != 0 && refused.err.contains("before-move"), "{}", refused.err);
}
