//! `lucid rm`, `hold`, `release`, `retain` and `retention`: what is left, what is refused, and that the rest stays
//! sound.

use std::fs;

use super::home::{Home, noise};

#[test]
fn a_removed_session_leaves_a_tombstone_in_a_block_and_a_sound_store() {
    let home = Home::new();
    let file = home.file("a", noise(1, 300_000));
    let kept = home.archive("one", &file);
    home.archive("two", &file);
    let asked = home.refused(1, &[&"rm", &"one"]);
    assert!(asked.contains("--yes"), "{asked}");
    let removed = home.json(&[&"rm", &"one", &"--yes", &"--reason", &"a mistake"]);
    assert_eq!(removed["merkle_root"], kept["merkle_root"]);

    let shown = home.json(&[&"show", &"one"]);
    assert_eq!(shown["reason"], "a mistake");
    assert_eq!(shown["block_index"], 2, "behind the two anchors");
    assert!(home.done(&[&"show", &"one"]).text().contains("removed"));
    assert!(home.done(&[&"ls", &"--removed"]).text().contains("a mistake"));
    assert_eq!(home.sessions().keys().collect::<Vec<_>>(), ["two"]);
    let gone = home.refused(1, &[&"cat", &"one", &"a"]);
    assert!(gone.contains("was removed at") && gone.contains("a mistake"), "{gone}");
    let taken = home.refused(1, &[&"archive", &file, &"--session", &"one"]);
    assert!(taken.contains("was removed at"), "{taken}");
    // What it shared with the other session is still there.
    assert_eq!(home.done(&[&"cat", &"two", &"a"]).out, noise(1, 300_000));
    home.assert_sound();
    home.done(&[&"reindex"]);
    assert_eq!(home.json(&[&"show", &"one"]), shown);
    home.assert_sound();
}

#[test]
fn a_held_session_stays_and_the_others_go() {
    let home = Home::new();
    let file = home.file("a", noise(2, 10_000));
    home.archive("one", &file);
    home.archive("two", &file);
    home.done(&[&"hold", &"one", &"--reason", &"a court"]);
    assert!(home.done(&[&"ls"]).text().contains("anchored, held"));
    assert!(home.done(&[&"show", &"one"]).text().contains("a court"));
    let refused = home.refused(1, &[&"rm", &"--yes", &"one", &"two"]);
    assert!(refused.contains("session one is held (a court): release it first"), "{refused}");
    assert_eq!(home.sessions().keys().collect::<Vec<_>>(), ["one"]);
    home.done(&[&"release", &"one"]);
    home.done(&[&"rm", &"-y", &"one"]);
    assert!(home.sessions().is_empty());
    home.assert_sound();
}

#[test]
fn a_tombstone_that_cannot_be_chained_is_told_and_chained_later() {
    let home = Home::new();
    for name in ["one", "two"] {
        home.archive(name, &home.file(name, name));
    }
    let (chain, away) = (home.data().join("block-manager"), home.at("away"));
    fs::rename(&chain, &away).unwrap();
    let ran = home.run(&[&"rm", &"one", &"--yes"]);
    assert!(ran.err.contains("the tombstones are kept, but not in a block yet"), "{}", ran.err);
    assert_eq!(ran.code, 3, "{}{}", ran.err, ran.text());
    assert_eq!(home.sessions().keys().collect::<Vec<_>>(), ["two"]);
    fs::rename(&away, &chain).unwrap();
    home.done(&[&"rm", &"two", &"--yes"]);
    for name in ["one", "two"] {
        assert!(home.json(&[&"show", &name])["block_index"].is_u64(), "{name}");
    }
}

/// Keeps `one` until 2089 and `two` until a time that is over, by one way of reaching a store or the other.
fn keep_and_remove(home: &Home) {
    let file = home.file("a", noise(3, 10_000));
    let kept =
        home.json(&[&"archive", &file, &"--session", &"one", &"--retain-until", &"2089-01-01"]);
    assert_eq!(kept["session_id"], "one");
    home.archive("two", &file);
    home.done(&[&"retain", &"two", &"--until", &"2001-01-01T12:00:00Z"]);
    assert!(home.done(&[&"show", &"one"]).text().contains("until 2089-01-01T00:00:00"));
    let refused = home.refused(1, &[&"rm", &"--yes", &"one"]);
    assert!(refused.contains("session one is kept until 2089-01-01T00:00:00"), "{refused}");
    let shorter = home.refused(1, &[&"retain", &"one", &"--until", &"2088-12-31"]);
    assert!(shorter.contains("never shortened"), "{shorter}");
    let wrong = home.refused(64, &[&"retain", &"one", &"--until", &"next year"]);
    assert!(wrong.contains("--until"), "{wrong}");
    // Which goes when.
    let goes = home.done(&[&"retention", &"--keep-days", &"30", &"--json"]).text();
    let goes: Vec<serde_json::Value> =
        goes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| goes.iter().find(|going| going["session_id"] == name).unwrap();
    assert_eq!(of("one")["goes_at"], "2089-01-01T00:00:00.000000Z");
    assert!(of("two")["goes_at"].as_str() > of("two")["anchored_at"].as_str(), "{goes:?}");
    assert!(home.done(&[&"retention"]).text().contains("2089-01-01T00:00:00"));
    // The time of this one has come, and a block says so.
    let blocks = home.done(&[&"chain", &"info", &"--json"]).text();
    home.done(&[&"rm", &"--yes", &"two"]);
    assert_ne!(home.done(&[&"chain", &"info", &"--json"]).text(), blocks);
    assert_eq!(home.sessions().keys().collect::<Vec<_>>(), ["one"]);
}

#[test]
fn what_is_kept_until_a_time_stays_and_is_listed_with_it() {
    let home = Home::new();
    keep_and_remove(&home);
    home.assert_sound();
    home.done(&[&"reindex"]);
    assert!(home.refused(1, &[&"rm", &"--yes", &"one"]).contains("is kept until 2089"));
    home.assert_sound();
}
