//! A chain that takes the place of another one: nothing of the old is lost, and a crash anywhere leaves
//! one or the other.

use std::fs;
use std::path::Path;

use lucid_block_manager::anew::{BeginError, BegunAnew, begin_anew, earlier};
use lucid_block_manager::fact::{self, Role};
use lucid_block_manager::opened::{ManagerKind, Opened, Options, open};
use lucid_block_manager::ops::anchor_proof::anchor_proof;
use lucid_block_manager::ops::produce_block::{ProduceError, Production, produce_block};
use lucid_block_manager::ops::submit_transaction::{SubmitError, submit_transaction};
use lucid_core::claim::Signed;
use lucid_core::succession::Succession;
use lucid_core::time::Timestamp;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn now() -> Timestamp {
    at("2026-01-27T10:00:00Z")
}

fn opened(folder: &Path) -> Opened {
    open(folder, &Options::default(), now()).unwrap()
}

fn submit(manager: &Opened, n: u32) {
    let text = format!(r#"{{"id":"a-{n}","type":"session_anchor","session_id":"s-{n}"}}"#);
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    let time = at("2026-01-27T09:00:00Z");
    submit_transaction(vault, chain, &manager.admissions, time, text.as_bytes()).unwrap();
}

fn produce(manager: &Opened, now: Timestamp) -> Result<Production, ProduceError> {
    produce_block(&manager.vault, manager.chain.as_ref(), &manager.producing, &manager.key, now)
}

/// A chain of two blocks, the second of 2099, and two transactions that wait.
fn stuck(folder: &Path) {
    let manager = opened(folder);
    submit(&manager, 0);
    produce(&manager, at("2098-12-01T00:00:00Z")).unwrap();
    submit(&manager, 1);
    produce(&manager, at("2099-01-01T00:00:00Z")).unwrap();
    submit(&manager, 2);
    submit(&manager, 3);
    assert!(matches!(produce(&manager, now()), Err(ProduceError::ParentAhead { .. })));
    manager.close().unwrap();
}

fn begin(root: &Path) -> Result<BegunAnew, BeginError> {
    begin_anew(root, &Options::default(), "the clock was in 2099", now())
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let names = fs::read_dir(folder.join("blocks")).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().path()).collect();
    names.push(folder.join("TIP"));
    names.sort();
    names.into_iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

fn contents(folder: &Path) -> Vec<Vec<u8>> {
    files(folder).into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn what_waited_goes_on_in_the_new_chain_and_the_old_one_stays_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("block-manager");
    stuck(&root);
    let (before, key) = (contents(&root), opened(&root).key.public());
    let begun = begin(&root).unwrap();
    assert_eq!((begun.old.height, begun.waiting, begun.key), (1, 2, key));
    assert_eq!(begun.refused, []);
    assert_eq!(contents(&begun.folder), before, "no committed block is touched");
    assert_eq!(earlier(&root).unwrap(), std::slice::from_ref(&begun.folder));

    let new = opened(&root);
    assert_eq!(new.chain.record(0).unwrap().unwrap().record.entry.hash, begun.genesis);
    let old = opened(&begun.folder);
    let genesis = fact::genesis(old.vault.index()).unwrap().unwrap();
    let proof = anchor_proof(new.chain.as_ref(), &Succession::id_after(&genesis)).unwrap().unwrap();
    assert_eq!((proof.block_index, proof.position), (0, 0), "it is the first transaction");
    let Signed { claim: said, key: signed_by } =
        Signed::<Succession>::parse(&proof.transaction).unwrap();
    assert_eq!((said.height, said.hash), (1, begun.old.hash));
    assert_eq!((said.reason.as_str(), signed_by), ("the clock was in 2099", key));
    // What waited is in a block.
    assert_eq!(produce(&new, now()).unwrap().block.unwrap().transactions, 2);
    for n in [2, 3] {
        let proof = anchor_proof(new.chain.as_ref(), &format!("a-{n}")).unwrap().unwrap();
        assert_eq!(proof.block_index, 1);
    }
    // The old one is whole, can be read, and gets no more blocks, regardless of what the clock says.
    for n in [0, 1] {
        assert!(anchor_proof(old.chain.as_ref(), &format!("a-{n}")).unwrap().is_some());
    }
    let ended = produce(&old, at("2099-06-01T00:00:00Z")).unwrap_err();
    assert!(
        matches!(ended, ProduceError::Ended(successor) if successor == begun.genesis),
        "{ended}"
    );
    let (vault, chain) = (&old.vault, old.chain.as_ref());
    let late = br#"{"id":"late","type":"note"}"#;
    let refused = submit_transaction(vault, chain, &old.admissions, now(), late).unwrap_err();
    assert!(matches!(refused, SubmitError::Ended(_)), "{refused}");
}

#[test]
fn a_chain_that_is_begun_anew_again_names_every_one_before() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("block-manager");
    stuck(&root);
    let first = fact::genesis(opened(&root).vault.index()).unwrap().unwrap();
    let second = begin(&root).unwrap().genesis;
    let third = begin(&root).unwrap();
    assert_eq!(third.old.hash, second);
    let new = opened(&root);
    for genesis in [first, second] {
        let proof = anchor_proof(new.chain.as_ref(), &Succession::id_after(&genesis)).unwrap();
        assert_eq!(proof.unwrap().block_index, 0);
    }
    assert_eq!(earlier(&root).unwrap().len(), 2);
}

#[test]
fn what_a_crash_left_before_the_exchange_is_made_anew_and_the_old_chain_makes_no_block_meanwhile() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("block-manager");
    stuck(&root);
    let before = contents(&root);
    let begun = begin(&root).unwrap();
    // As after a crash right before the folders changed places: the old one knows that it has ended.
    let aside = home.path().join("aside");
    fs::rename(&root, &aside).unwrap();
    fs::rename(&begun.folder, &root).unwrap();
    fs::rename(&aside, &begun.folder).unwrap();
    let old = opened(&root);
    assert!(matches!(produce(&old, at("2099-06-01T00:00:00Z")), Err(ProduceError::Ended(_))));
    old.close().unwrap();
    // The chain that is made beside it is marked until it is in its place. Until then it does not count as one
    // of the chains that ended here, even if making or removing it was broken off.
    assert!(!begun.folder.join("run/succeeding").exists());
    fs::write(begun.folder.join("run/succeeding"), "").unwrap();
    assert_eq!(earlier(&root).unwrap(), Vec::<std::path::PathBuf>::new());
    // One that broke off earlier left less.
    for rest in ["index", "log", "STORE"] {
        let path = begun.folder.join(rest);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        let again = begin(&root).unwrap();
        assert_eq!((again.folder.as_path(), again.waiting), (begun.folder.as_path(), 2));
        assert_eq!(contents(&again.folder), before);
        assert_ne!(opened(&root).chain.tip().unwrap().unwrap().hash, again.old.hash);
        fs::rename(&root, &aside).unwrap();
        fs::rename(&again.folder, &root).unwrap();
        fs::rename(&aside, &again.folder).unwrap();
    }
}

#[test]
fn a_chain_is_begun_anew_only_where_there_is_one_to_take_the_place_of() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("block-manager");
    opened(&root).close().unwrap();
    assert!(matches!(begin(&root), Err(BeginError::Empty)));
    assert!(matches!(begin(&home.path().join("none")), Err(BeginError::Open(_))));
    let follower = home.path().join("follower");
    let kind = ManagerKind { role: Some(Role::Follower), ..ManagerKind::default() };
    let options = Options { kind, ..Options::default() };
    open(&follower, &options, now()).unwrap().close().unwrap();
    assert!(matches!(begin(&follower), Err(BeginError::Follower)));
    // A copy under the name that the old chain would get is not written over.
    stuck(&root);
    let begun = begin(&root).unwrap();
    let new = home.path().join("new");
    fs::rename(&root, &new).unwrap();
    copy(&begun.folder, &root);
    assert!(matches!(begin(&root), Err(BeginError::Copied(folder)) if folder == begun.folder));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}
