//! What earlier versions wrote is read for ever: a store with its chain, a mirror, a plain store, an
//! exported chain and proofs, kept as the version of a day left them.
//!
//! `tests/frozen/make.sh` made them; a format that changes gets a later archive beside this one, and
//! this one stays. What is inside was made once, so its ids, roots and sentences are asserted as they are.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use lucid_store::contract::index::Index as _;
use lucid_store::files::index::EmbeddedIndex;
use serde_json::Value;

use super::home::{Home, Snapshot};

/// What the version of 2026-11-21 wrote.
const FIRST: &[u8] = include_bytes!("../frozen/2026-11-21.tar.gz");
/// What each version wrote: the first one, and that of 2026-11-28.
const ARCHIVES: [&[u8]; 2] = [FIRST, include_bytes!("../frozen/2026-11-28.tar.gz")];

/// Unpacks everything, to work on the store in it of that name.
fn thawed(archive: &[u8], store: &str) -> Home {
    let home = Home::new();
    let data = home.at(store);
    let home = home.with_data(data);
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.unpack(home.at("")).unwrap();
    // Unpacking leaves the times of folders; all of these were made at 10:00 on 2026-11-20.
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_168_800);
    for folder in ["hollow", "sub", ""] {
        let folder = fs::File::open(home.at("in/folder").join(folder)).unwrap();
        folder.set_modified(made).unwrap();
    }
    home
}

/// Whenever these tests run, the clock is right: far ahead of the newest block it would be doubted.
fn years_later(home: &Home) {
    home.done(&[&"doctor", &"--accept-clock"]);
}

/// What the program of that day printed of its sessions.
fn listed_then(home: &Home) -> Vec<Value> {
    let text = fs::read_to_string(home.at("proofs/ls.json")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn trust(home: &Home) -> [String; 2] {
    let shown: Value =
        serde_json::from_slice(&fs::read(home.at("proofs/tree.json")).unwrap()).unwrap();
    let trust = &shown["anchor"]["trust"];
    ["recorder", "block"].map(|whose| trust[whose].as_str().unwrap().to_owned())
}

fn numbers(from: u32, to: u32) -> Vec<u8> {
    (from..=to).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

/// Everything in the store is there, whole, and provable.
fn assert_all_there(home: &Home) {
    let now = home.sessions();
    for then in listed_then(home) {
        let id = then["session_id"].as_str().unwrap();
        let session = &now[id];
        for field in
            ["merkle_root", "manifest_hash", "total_bytes", "chunk_count", "started_at", "end"]
        {
            assert_eq!(session[field], then[field], "{id}: {field}");
        }
    }
    let out = tempfile::tempdir().unwrap();
    let into = out.path().join("out");
    home.done(&[&"restore", &"tree", &"-o", &into]);
    Snapshot::of(&home.at("in/folder")).assert_same(&Snapshot::of(&into));
    assert!(home.done(&[&"cat", &"piped"]).out == numbers(1, 500));
    assert!(home.done(&[&"cat", &"held"]).out == numbers(1, 9000));
    assert_eq!(home.done(&[&"cat", &"live"]).text(), "first\nsecond\nthird\n");
    assert_eq!(home.done(&[&"cat", &"gone"]).text(), "cut off\n");
    assert!(home.done(&[&"cat", &"again", &"numbers"]).out == numbers(1, 2000));
    home.assert_sound();
    let [recorder, block] = trust(home);
    for session in ["tree", "piped", "live", "again"] {
        let proof = out.path().join(session);
        home.done(&[&"prove", &session, &"-o", &proof]);
        home.done(&[&"check-proof", &proof, &"--trust", &recorder, &"--trust", &block]);
    }
    let proof = out.path().join("path");
    home.done(&[&"prove", &"tree", &"--path", &"hello", &"-o", &proof]);
    let content = home.at("in/folder/hello");
    home.done(&[&"check-proof", &proof, &content, &"--trust", &recorder, &"--trust", &block]);
}

#[test]
fn a_store_of_an_earlier_version_opens_verifies_restores_and_proves() {
    for archive in ARCHIVES {
        let home = thawed(archive, "store");
        assert_all_there(&home);
        assert!(home.refused(1, &[&"cat", &"removed"]).contains("(not ours)"));
        assert!(home.refused(1, &[&"rm", &"held", &"--yes"]).contains("a dispute"));
        assert_eq!(home.done(&[&"cat", &"open"]).text(), "still open\n");
    }
}

#[test]
fn a_store_of_an_earlier_version_goes_on() {
    for archive in ARCHIVES {
        let home = thawed(archive, "store");
        home.fed(&[&"append", &"--session", &"open", &"--keep-open"], b"and on\n");
        home.done(&[&"seal", &"open"]);
        assert_eq!(home.done(&[&"cat", &"open"]).text(), "still open\nand on\n");
        years_later(&home);
        let again = home.archive("anew", &home.at("in/folder"));
        assert!(again["bytes_new"].as_u64().unwrap() < 5_000, "its chunks are known: {again:#}");
        home.done(&[&"rm", &"again", &"--yes"]);
        home.done(&[&"gc", &"--yes"]);
        home.done(&[&"optimise"]);
        home.done(&[&"scrub"]);
        let left = home.sessions();
        assert!(left.contains_key("anew") && !left.contains_key("again"));
        assert!(home.done(&[&"cat", &"held"]).out == numbers(1, 9000));
        home.assert_sound();
    }
}

#[test]
fn a_store_of_an_earlier_version_is_indexed_anew() {
    for archive in ARCHIVES {
        let home = thawed(archive, "store");
        for service in ["data-chain", "block-manager"] {
            fs::remove_dir_all(home.data().join(service).join("index")).unwrap();
        }
        assert_all_there(&home);
        home.done(&[&"reindex"]);
        assert_all_there(&home);
    }
}

/// Whether the rows of the indexes are encrypted each under a key of its own.
fn are_bound(home: &Home) -> [bool; 2] {
    ["data-chain", "block-manager"].map(|service| {
        let index = EmbeddedIndex::open(&home.data().join(service).join("index")).unwrap();
        index.get(&[0x06]).unwrap().is_some()
    })
}

#[test]
fn an_index_of_2026_11_21_goes_on_unbound_until_it_is_made_anew() {
    let home = thawed(FIRST, "store");
    years_later(&home);
    home.archive("anew", &home.at("in/folder/sub"));
    home.fed(&[&"append", &"--session", &"since", &"--keep-open"], b"still open\n");
    assert_eq!(are_bound(&home), [false; 2]);
    assert!(home.done(&[&"cat", &"anew", &"numbers"]).out == numbers(1, 2000));
    assert_all_there(&home);
    home.done(&[&"reindex"]);
    assert_eq!(are_bound(&home), [true; 2]);
    assert_all_there(&home);
    assert!(home.done(&[&"cat", &"anew", &"numbers"]).out == numbers(1, 2000));
    assert_eq!(home.done(&[&"cat", &"since"]).text(), "still open\n");
}

#[test]
fn a_plain_store_of_an_earlier_version_is_read() {
    for archive in ARCHIVES {
        let home = thawed(archive, "plain");
        assert_eq!(home.done(&[&"cat", &"clear"]).text(), "in clear\n");
        home.assert_sound();
    }
}

#[test]
fn a_mirror_of_an_earlier_version_is_read_and_kept_up() {
    for archive in ARCHIVES {
        let home = thawed(archive, "mirror");
        assert!(home.done(&[&"cat", &"held"]).out == numbers(1, 9000));
        home.assert_sound();
        let [recorder, block] = trust(&home);
        home.done(&[&"prove", &"tree", &"-o", &home.at("p")]);
        home.done(&[&"check-proof", &home.at("p"), &"--trust", &recorder, &"--trust", &block]);
        let mirror = home.data().to_owned();
        let store = home.at("store");
        let home = home.with_data(store);
        years_later(&home);
        home.archive("later", &home.at("in/folder/sub"));
        home.done(&[&"mirror", &mirror]);
        let fresh = home.at("fresh");
        home.done(&[&"mirror", &fresh]);
        for copy in [mirror, fresh] {
            let home = Home::new().with_data(copy);
            assert!(home.done(&[&"cat", &"later", &"numbers"]).out == numbers(1, 2000));
            home.assert_sound();
        }
    }
}

#[test]
fn proofs_of_an_earlier_version_say_what_they_said() {
    for archive in ARCHIVES {
        let home = thawed(archive, "store");
        let [recorder, block] = trust(&home);
        let trusted = ["--trust", recorder.as_str(), "--trust", block.as_str()];
        for (proof, content) in [
            ("session", None),
            ("chunk", None),
            ("range", Some("in/range")),
            ("path", Some("in/folder/sub/numbers")),
            ("span", Some("in/live")),
        ] {
            for (kind, trusted) in [("trusted", &trusted[..]), ("alone", &[])] {
                let file: PathBuf = home.at(&format!("proofs/{proof}.proof"));
                let content = content.map(|content| home.at(content));
                let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"check-proof", &file];
                arguments.extend(content.as_ref().map(|content| content as &dyn AsRef<_>));
                arguments.extend(trusted.iter().map(|word| word as &dyn AsRef<_>));
                let ran = home.run(&arguments);
                let said = format!("{}{}exit {}\n", ran.text(), ran.err, ran.code);
                let then =
                    fs::read_to_string(home.at(&format!("proofs/{proof}.{kind}.txt"))).unwrap();
                // But for one chunk, which was spoken of as many.
                let then = then.replace(
                    "1 chunks, from number 0 on, belong ",
                    "1 chunk, from number 0 on, belongs ",
                );
                let then = then.replace(" 1 chunks and ", " 1 chunk and ");
                assert_eq!(said, then, "{proof}, {kind}");
            }
        }
    }
}

#[test]
fn a_chain_of_an_earlier_version_is_validated_and_imported() {
    for archive in ARCHIVES {
        let home = thawed(archive, "store");
        let exported = home.at("proofs/chain.jsonl");
        let [_, block] = trust(&home);
        home.done(&[&"chain", &"validate", &exported, &"--producer", &block]);
        home.done(&[&"chain", &"validate"]);
        let again = home.at("again.jsonl");
        home.done(&[&"chain", &"export", &again]);
        assert!(fs::read(again).unwrap().starts_with(&fs::read(&exported).unwrap()));
        let blocks = home.json(&[&"chain", &"info"])["height"].clone();
        let fresh = Home::new();
        fresh.done(&[&"chain", &"import", &exported]);
        assert_eq!(fresh.json(&[&"chain", &"info"])["height"], blocks);
    }
}
