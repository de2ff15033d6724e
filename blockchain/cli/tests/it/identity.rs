//! The two folders of a store belong together: another chain, an older copy of either, and blocks that are
//! not mounted are told from a new beginning, and nothing is made in their place.

use std::fs;
use std::path::{Path, PathBuf};

use lucid_api::client::{BlockManagerClient, ClientOptions};
use serde_json::Value;

use super::home::{Home, copy, prose, wait};
use super::server::Server;

/// A store with one anchored session of this name.
fn with(session: &str) -> Home {
    let home = Home::new();
    keep(&home, session);
    home
}

fn keep(home: &Home, session: &str) -> Value {
    home.archive(session, &home.file(&format!("files/{session}"), prose(7, 40_000)))
}

fn chain(home: &Home) -> PathBuf {
    home.data().join("block-manager")
}

fn sessions(home: &Home) -> PathBuf {
    home.data().join("data-chain")
}

fn info(home: &Home) -> Value {
    home.json(&[&"chain", &"info"])
}

fn faults(home: &Home) -> String {
    let ran = home.run(&[&"--json", &"verify", &"--all"]);
    assert_eq!(ran.code, 1, "{}{}", ran.text(), ran.err);
    ran.json()["faults"].to_string()
}

fn replace(folder: &Path, by: &Path) {
    fs::remove_dir_all(folder).unwrap();
    copy(by, folder);
}

#[test]
fn no_second_chain_begins_where_the_first_is_not_mounted() {
    let home = with("first");
    let before = info(&home);
    let (folder, away) = (chain(&home), home.at("away"));
    fs::rename(&folder, &away).unwrap();
    let second = home.file("second", "second");
    for is_mount_point in [false, true] {
        if is_mount_point {
            fs::create_dir(&folder).unwrap();
        }
        let refused = home.refused(1, &[&"archive", &second, &"--session", &"second"]);
        let genesis = before["genesis"].as_str().unwrap();
        assert!(refused.contains(genesis) && refused.contains("mount"), "{refused}");
        assert!(refused.contains("nothing was archived"), "{refused}");
        let made = fs::read_dir(&folder).map(Iterator::count).unwrap_or(0);
        assert_eq!((folder.exists(), made), (is_mount_point, 0));
        assert_eq!(home.sessions().len(), 1, "nothing was begun");
        assert!(faults(&home).contains(genesis));
        let up = home.refused(1, &[&"up"]);
        assert!(up.contains(genesis), "{up}");
        assert_eq!(fs::read_dir(&folder).map(Iterator::count).unwrap_or(0), 0);
    }
    // What is removed meanwhile is chained later.
    let removed = home.run(&[&"rm", &"first", &"--yes"]);
    assert_eq!(removed.code, 3, "{}", removed.err);
    assert!(removed.err.contains("not in a block yet"), "{}", removed.err);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    fs::remove_dir(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    keep(&home, "second");
    home.assert_sound();
    let after = info(&home);
    assert_eq!(after["genesis"], before["genesis"]);
    let text = home.done(&[&"show", &"first"]).text();
    assert!(text.contains("block "), "the tombstone is in a block now: {text}");
}

#[test]
fn the_chain_is_known_by_a_damaged_block_too_and_anchors_go_on() {
    let home = with("first");
    let server = Server::start(&home);
    let client = BlockManagerClient::new(&server.chain, ClientOptions::default()).unwrap();
    // A block of another client's transaction on top: the one that tells the chain is not the newest.
    client.submit_transaction(r#"{"id": "x", "type": "t"}"#).unwrap();
    wait(|| client.transaction("x").unwrap().block_height);
    drop(server);
    let file = chain(&home).join("blocks/00000001.blocks");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(7).position(|part| part == br#""first""#).unwrap();
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let kept = keep(&home, "second");
    assert_eq!(kept["block_index"], 2, "{kept:#}");
    let faults = faults(&home);
    assert!(!faults.contains("another chain") && !faults.contains("does not answer"), "{faults}");
}

#[test]
fn anchors_go_to_no_other_chain_until_the_loss_of_theirs_is_accepted() {
    let (home, other) = (with("ours"), with("theirs"));
    let (ours, theirs) = (info(&home), info(&other));
    fs::rename(chain(&home), home.at("away")).unwrap();
    copy(&chain(&other), &chain(&home));
    let refused = home.refused(1, &[&"archive", &home.file("second", "second")]);
    for chain in [&ours, &theirs] {
        assert!(refused.contains(chain["genesis"].as_str().unwrap()), "{refused}");
    }
    assert_eq!(info(&home)["blocks"], theirs["blocks"], "nothing was added to it");
    assert!(faults(&home).contains("another chain"));
    home.done(&[&"reindex"]);
    home.refused(1, &[&"archive", &home.file("third", "third")]);
    home.done(&[&"reindex", &"--accept-other-chain"]);
    keep(&home, "fourth");
    let sealed: Vec<_> = home.sessions().into_values().collect();
    assert_eq!(sealed.len(), 4);
    assert!(sealed.iter().all(|session| session["status"] == "anchored"), "{sealed:#?}");
    // And now that one is theirs.
    fs::remove_dir_all(chain(&home)).unwrap();
    fs::rename(home.at("away"), chain(&home)).unwrap();
    let refused = home.refused(1, &[&"archive", &home.file("fifth", "fifth")]);
    assert!(refused.contains(theirs["genesis"].as_str().unwrap()), "{refused}");
}

#[test]
fn the_loss_of_their_chain_is_accepted_in_a_services_own_folder_of_any_name() {
    let (home, other) = (with("ours"), with("theirs"));
    let own = home.at("sessions");
    fs::rename(home.data().join("data-chain"), &own).unwrap();
    let service = Home::new().with_data(own.clone());
    service.done(&[&"reindex", &"--accept-other-chain"]);
    assert!(!own.join("data-chain").exists() && !own.join("block-manager").exists());
    // Back beside another chain, its anchors go there.
    fs::rename(&own, home.data().join("data-chain")).unwrap();
    fs::remove_dir_all(chain(&home)).unwrap();
    copy(&chain(&other), &chain(&home));
    keep(&home, "second");

    // A block-manager's own folder is built anew, and has no anchors to send.
    let own = home.at("blocks");
    fs::rename(chain(&home), &own).unwrap();
    let service = Home::new().with_data(own);
    service.done(&[&"reindex"]);
    let refused = service.refused(1, &[&"reindex", &"--accept-other-chain"]);
    assert!(refused.contains("is a block-manager's"), "{refused}");
}

#[test]
fn an_older_copy_of_the_chain_is_named_and_not_continued() {
    let home = with("first");
    copy(&chain(&home), &home.at("older"));
    let second = keep(&home, "second");
    copy(&chain(&home), &home.at("newer"));
    replace(&chain(&home), &home.at("older"));
    let before = info(&home);
    let found = faults(&home);
    assert!(found.contains("an older copy"), "{found}");
    assert!(found.contains(second["block_hash"].as_str().unwrap()), "{found}");
    let refused = home.refused(1, &[&"archive", &home.file("third", "third")]);
    assert!(refused.contains("an older copy"), "{refused}");
    assert_eq!(info(&home), before, "no other block in the place of what is lost");
    replace(&chain(&home), &home.at("newer"));
    keep(&home, "fourth");
    home.assert_sound();
}

#[test]
fn an_older_copy_of_the_sessions_is_named_and_no_id_gets_two_roots() {
    let home = with("first");
    copy(&sessions(&home), &home.at("older"));
    let second = keep(&home, "second");
    let root = second["merkle_root"].as_str().unwrap().to_owned();
    home.done(&[&"rm", &"first", &"--yes"]);
    copy(&sessions(&home), &home.at("newer"));
    replace(&sessions(&home), &home.at("older"));
    let before = info(&home);
    let found = faults(&home);
    assert!(found.contains("data-chain/ is an older copy"), "{found}");
    assert!(found.contains(&root), "{found}");
    assert!(found.contains("session first was removed"), "{found}");
    let other = home.file("other", "other content");
    let refused = home.refused(1, &[&"archive", &other, &"--session", &"second"]);
    assert!(refused.contains(&root) && refused.contains("an older copy"), "{refused}");
    assert!(!home.sessions().contains_key("second"));
    // A stream is kept, and not anchored.
    let streamed = home.run(&[&"append", &other, &"--session", &"second"]);
    assert_eq!(streamed.code, 1, "{}", streamed.err);
    assert!(streamed.complaint().contains(&root), "{}", streamed.err);
    assert_eq!(info(&home), before);
    assert!(faults(&home).contains("session second has two roots"));
    replace(&sessions(&home), &home.at("newer"));
    keep(&home, "third");
    home.assert_sound();
}

#[test]
fn what_was_never_anchored_is_sound_without_a_chain() {
    let home = Home::new();
    let live = home.fed(&[&"append", &"--session", &"live", &"--keep-open"], b"bytes");
    assert_eq!(live.code, 0, "{}", live.err);
    assert!(!chain(&home).exists());
    home.assert_sound();
    let told = home.done(&[&"verify", &"--all"]).text();
    assert!(told.contains("not checked: the chain: nothing here was anchored yet"), "{told}");
    home.done(&[&"rm", &"live", &"--yes"]);
    home.assert_sound();
}

#[test]
fn a_mirror_is_sound_when_its_last_session_is_gone() {
    let home = with("only");
    let mirror = Home::new();
    home.done(&[&"mirror", &mirror.data()]);
    mirror.assert_sound();
    home.done(&[&"rm", &"only", &"--yes"]);
    home.done(&[&"mirror", &mirror.data(), &"--prune"]);
    assert!(mirror.sessions().is_empty());
    mirror.assert_sound();
}

#[test]
fn blocks_that_lie_elsewhere_are_found_by_every_verb_once_it_was_said_where() {
    let home = Home::new();
    let (blocks, first) = (home.at("disk/blocks"), home.file("first", "first"));
    let made = home
        .command(&[&"archive", &first, &"--session", &"first"])
        .env("BLOCK_STORAGE_PATH", &blocks)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(blocks.join("00000001.blocks").exists());
    // From here on nobody says it.
    home.assert_sound();
    assert_eq!(home.json(&[&"verify", &"--all"])["blocks"], 1);
    keep(&home, "second");
    home.done(&[&"rm", &"first", &"--yes"]);
    home.done(&[&"reindex"]);
    home.assert_sound();
    let before = info(&home);
    assert_eq!(before["blocks"], 3);
    fs::rename(&blocks, home.at("unmounted")).unwrap();
    for is_mount_point in [false, true] {
        if is_mount_point {
            fs::create_dir(&blocks).unwrap();
        }
        let refused = home.refused(1, &[&"reindex", &"--accept-loss"]);
        assert!(refused.contains("mount"), "{refused}");
        assert_ne!(home.run(&[&"chain", &"info"]).code, 0);
        assert_ne!(faults(&home), "[]");
    }
    fs::remove_dir(&blocks).unwrap();
    // The disk is mounted in another place.
    let moved = home.at("other/blocks");
    fs::create_dir(home.at("other")).unwrap();
    fs::rename(home.at("unmounted"), &moved).unwrap();
    home.done(&[&"verify", &"--all", &"--blocks", &moved]);
    assert_eq!(info(&home), before);
    home.assert_sound();
}

#[test]
fn a_store_whose_blocks_were_named_with_every_start_before_is_read() {
    let home = with("first");
    let before = info(&home);
    let blocks = home.at("blocks-elsewhere");
    fs::rename(chain(&home).join("blocks"), &blocks).unwrap();
    // Nobody says where: the loss cannot be accepted, and nothing is lost by trying.
    let refused = home.refused(1, &[&"reindex", &"--accept-loss"]);
    assert!(refused.contains("BLOCK_STORAGE_PATH"), "{refused}");
    let wrong = home.at("wrong");
    let refused = home.refused(1, &[&"chain", &"info", &"--blocks", &wrong]);
    assert!(refused.contains("does not hold the blocks") && !wrong.exists(), "{refused}");
    home.done(&[&"archive", &home.file("b", "b"), &"--blocks", &blocks]);
    home.assert_sound();
    let after = info(&home);
    assert_eq!(after["genesis"], before["genesis"]);
    assert_eq!(after["blocks"], 2);
}
