//! A folder's role, and the chain of another block-manager.

use std::path::Path;

use lucid_block_manager::fact::Role;
use lucid_block_manager::opened::{
    ManagerKind, OpenError, Opened, Options, open, promote, reindex,
};
use lucid_block_manager::ops::produce_block::{ProduceError, produce_block};
use lucid_block_manager::ops::read_run::{Half, read_run};
use lucid_block_manager::ops::submit_transaction::submit_transaction;
use lucid_block_manager::ops::take_blocks::Pins;
use lucid_core::digest::BlockHash;
use lucid_core::record::{Head, decode_body};
use lucid_core::sign::{Producers, SigningKey};
use lucid_core::time::Timestamp;
use lucid_store::frame::{HEADER_BYTES, MAGIC};

use crate::taking::{chain_of, take, texts};

fn now() -> Timestamp {
    Timestamp::parse("2026-01-27T10:00:00Z").unwrap()
}

fn options(role: Role) -> Options {
    let kind = ManagerKind { role: Some(role), ..ManagerKind::default() };
    Options { kind, ..Options::default() }
}

fn opened(folder: &Path, role: Role) -> Result<Opened, OpenError> {
    open(folder, &options(role), now())
}

fn produce(manager: &Opened, id: &str) -> Result<(), ProduceError> {
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    let text = format!(r#"{{"id":"{id}","type":"data_storage"}}"#);
    submit_transaction(vault, chain, &manager.admissions, now(), text.as_bytes()).unwrap();
    produce_block(vault, chain, &manager.producing, &manager.key, now()).map(drop)
}

#[test]
fn a_role_counts_from_the_first_block_or_transaction_on() {
    let folder = tempfile::tempdir().unwrap();
    // While there is nothing, a start as the other corrects the one before.
    for role in [Role::Authority, Role::Follower, Role::Authority] {
        let manager = opened(folder.path(), role).unwrap();
        assert_eq!(manager.role, role);
        manager.close().unwrap();
    }
    let manager = opened(folder.path(), Role::Authority).unwrap();
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    let text = br#"{"id":"a","type":"data_storage"}"#;
    submit_transaction(vault, chain, &manager.admissions, now(), text).unwrap();
    manager.close().unwrap();
    let refused = opened(folder.path(), Role::Follower).err().unwrap();
    assert!(matches!(refused, OpenError::IsAuthority), "{refused}");
    assert!(refused.to_string().contains("LUCID_CHAIN_FOLLOW_URL"), "{refused}");
}

#[test]
fn a_role_is_written_down_and_only_promotion_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path(), Role::Follower).unwrap();
    assert!(matches!(produce(&manager, "a"), Err(ProduceError::Follower)));
    let block = texts(&chain_of(1, 1));
    assert_eq!(take(&manager, Pins::default(), &block).0.unwrap().stored, 1);
    manager.close().unwrap();
    let refused = opened(folder.path(), Role::Authority).err().unwrap();
    assert!(matches!(refused, OpenError::IsFollower));
    for named in ["lucid chain promote", "LUCID_CHAIN_FOLLOW_URL", "BLOCKCHAIN_ENGINE_URL"] {
        assert!(refused.to_string().contains(named), "{refused}");
    }

    // The role is a fact: it survives the index.
    reindex(folder.path(), &options(Role::Follower), now()).unwrap().close().unwrap();
    let running = opened(folder.path(), Role::Follower).unwrap();
    assert!(promote(folder.path(), &Options::default(), now()).is_err(), "it is being run");
    running.close().unwrap();
    let promoted = promote(folder.path(), &Options::default(), now()).unwrap();
    assert_eq!(promoted.tip.map(|tip| tip.height), Some(0));
    assert!(matches!(
        promote(folder.path(), &Options::default(), now()),
        Err(OpenError::IsAuthorityAlready)
    ));
    let refused = opened(folder.path(), Role::Follower).err().unwrap();
    assert!(matches!(refused, OpenError::IsAuthority), "{refused}");
    reindex(folder.path(), &options(Role::Authority), now()).unwrap().close().unwrap();
    let manager = opened(folder.path(), Role::Authority).unwrap();
    produce(&manager, "b").unwrap();
    assert_eq!(manager.chain.tip().unwrap().unwrap().height, 1);
}

#[test]
fn a_follower_that_lost_its_role_does_not_become_an_authority_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path(), Role::Follower).unwrap().close().unwrap();
    // The first fact of the first log file, and with it the index that remembered it.
    let log = std::fs::read_dir(folder.path().join("log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&log).unwrap();
    let second = bytes[MAGIC.len()..].windows(MAGIC.len()).position(|window| window == MAGIC);
    bytes[MAGIC.len() + second.unwrap() + HEADER_BYTES] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let accepting = Options { accept_loss: true, ..options(Role::Authority) };
    for accept in [&accepting, &options(Role::Authority)] {
        let refused = open(folder.path(), accept, now()).err().unwrap();
        assert!(matches!(refused, OpenError::RoleLost), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("lucid chain promote") && said.contains("LUCID_CHAIN_FOLLOW_URL"));
    }
    // A caller that names no role may open it to look, and makes no blocks.
    let manager = open(folder.path(), &Options::default(), now()).unwrap();
    assert!(manager.role_is_lost && manager.role == Role::Follower);
    assert!(matches!(produce(&manager, "z"), Err(ProduceError::RoleLost(_))));
    manager.close().unwrap();
    // Saying which is the remedy, either way.
    promote(folder.path(), &Options::default(), now()).unwrap();
    let manager = open(folder.path(), &Options::default(), now()).unwrap();
    assert!(!manager.role_is_lost && manager.role == Role::Authority);
    produce(&manager, "a").unwrap();
    manager.close().unwrap();
    // Its blocks are there, and nothing else.
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    std::fs::remove_dir_all(folder.path().join("log")).unwrap();
    std::fs::remove_file(folder.path().join("CLOSED")).unwrap();
    assert!(matches!(opened(folder.path(), Role::Authority), Err(OpenError::RoleLost)));
    let manager = opened(folder.path(), Role::Follower).unwrap();
    assert!(matches!(produce(&manager, "b"), Err(ProduceError::Follower)));
}

#[test]
fn pins_are_held_against_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path(), Role::Authority).unwrap();
    produce(&manager, "a").unwrap();
    let (genesis, key) = (manager.chain.tip().unwrap().unwrap().hash, manager.key.public());
    manager.close().unwrap();
    let with = |genesis, producer: Producers| {
        let kind = ManagerKind { role: Some(Role::Authority), genesis, producer };
        open(folder.path(), &Options { kind, ..Options::default() }, now()).err()
    };
    assert!(with(Some(genesis), key.into()).is_none());
    let other = BlockHash::new([9; 32]);
    let refused = with(Some(other), Producers::default()).unwrap();
    assert!(
        matches!(refused, OpenError::GenesisPin { pinned, is } if pinned == other && is == genesis)
    );
    let other = SigningKey::from_seed([1; 32]).public();
    let refused = with(None, other.into()).unwrap();
    assert!(
        matches!(refused, OpenError::Producer { pinned, own } if pinned.have(&other) && own == key)
    );
}

#[test]
fn blocks_in_a_row_are_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path(), Role::Authority).unwrap();
    for n in 0..5 {
        produce(&manager, &format!("t-{n}")).unwrap();
    }
    let chain = manager.chain.as_ref();
    let read = |half, from, limit| read_run(chain, half, from, limit).unwrap().here().unwrap();
    let heads = read(Half::Heads, 1, 3);
    let bodies = read(Half::Bodies, 1, 3);
    assert_eq!((heads.len(), bodies.len()), (3, 3));
    for (height, (head, body)) in (1..).zip(heads.iter().zip(&bodies)) {
        let block = Head::decode(head).unwrap().with_body(decode_body(body).unwrap());
        assert_eq!(chain.block(height).unwrap().unwrap().whole(), Some(block));
    }
    assert_eq!(read(Half::Heads, 3, 100).len(), 2);
    assert!(read(Half::Bodies, 5, 100).is_empty());
    assert!(read(Half::Bodies, u64::MAX, 100).is_empty());
}
