//! A clock that was wrong: what it did to a chain can be put right, and nothing of before is lost.

use std::fs;

use serde_json::Value;

use crate::home::Home;
use crate::server::Server;

#[test]
fn a_chain_is_begun_anew_and_everything_of_before_is_verified_and_proved_as_ever() {
    let home = Home::new();
    let file = home.file("file", b"of before");
    home.archive("before", &file);
    let shown = home.json(&[&"show", &"before"]);
    let trust = |whose: &str| shown["anchor"]["trust"][whose].as_str().unwrap().to_owned();
    let (recorder, block) = (trust("recorder"), trust("block"));
    home.done(&[&"prove", &"before", &"-o", &home.at("proof")]);

    let unreasoned = home.run(&[&"chain", &"begin-anew"]);
    assert_eq!(unreasoned.code, 64);
    assert!(unreasoned.err.contains("--reason"), "{}", unreasoned.err);
    let begun = home.json(&[&"chain", &"begin-anew", &"--reason", &"the clock was in 2099"]);
    let old = std::path::PathBuf::from(begun["old_folder"].as_str().unwrap());
    assert!(old.join("TIP").exists(), "{begun:#}");
    assert!(old.file_name().unwrap().to_string_lossy().starts_with("block-manager.until-0-"));

    // Anchors go on in the new chain, in which the old one's end is named.
    let again = home.file("again", b"of after");
    home.archive("after", &again);
    assert_eq!(home.json(&[&"show", &"after"])["anchor"]["block_index"], 1);
    let info = home.json(&[&"chain", &"info"]);
    assert_eq!(info["genesis"], begun["genesis"], "{info:#}");
    // All of it is sound: sessions of before are looked for in the old chain.
    home.assert_sound();
    // That one can be read, and a proof of before holds, made then or now.
    let there = Home::new().with_data(old.clone()).json(&[&"chain", &"info"]);
    assert_eq!(there["height"], 0, "{there:#}");
    home.done(&[&"prove", &"before", &"-o", &home.at("proof-now")]);
    for proof in ["proof", "proof-now"] {
        let trusted: [&dyn AsRef<std::ffi::OsStr>; 7] =
            [&"check-proof", &home.at(proof), &file, &"--trust", &recorder, &"--trust", &block];
        home.done(&trusted);
    }
    // Without the old chain, that is what is missing.
    fs::rename(&old, home.at("away")).unwrap();
    let said: Value = home.run(&[&"--json", &"verify", &"--all"]).json();
    assert!(said.to_string().contains("anchored in block 0"), "{said:#}");
}

#[test]
fn a_clock_is_accepted_in_a_folder_that_has_a_chain() {
    let home = Home::new();
    home.archive("one", &home.file("file", b"bytes"));
    let said = home.json(&[&"doctor", &"--accept-clock"]);
    assert_eq!(said["seals"], true, "{said:#}");
    home.archive("two", &home.file("other", b"more"));
    home.assert_sound();
}

#[test]
fn a_chain_is_not_begun_anew_beside_whoever_runs_it() {
    let home = Home::new();
    home.archive("one", &home.file("file", b"bytes"));
    let server = Server::start(&home);
    let beside = || {
        let names = fs::read_dir(home.data()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = (home.json(&[&"chain", &"info", &"--manager", &server.chain]), beside());
    let refused = home.run(&[&"--json", &"chain", &"begin-anew", &"--reason", &"none"]);
    assert_ne!(refused.code, 0);
    let error: Value = serde_json::from_str(refused.err.trim()).unwrap();
    assert!(
        error["error"].as_str().unwrap().contains("is in use by lucid-block-manager"),
        "{error}"
    );
    assert_eq!(error["remedy"], "stop that first, then run the same again");
    let after = home.json(&[&"chain", &"info", &"--manager", &server.chain]);
    assert_eq!((&after["height"], &after["genesis"]), (&before.0["height"], &before.0["genesis"]));
    assert_eq!(beside(), before.1);
}
