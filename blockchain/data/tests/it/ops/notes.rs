//! What is remembered of trees and verifications stays bounded, and chunks that wait survive.

use lucid_core::digest::SessionRoot;
use lucid_core::time::Timestamp;
use lucid_data_chain::fact::{Fact, Placed, Tree, Verified};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::list_chunks::session_chunks;
use lucid_data_chain::ops::chunks::put_chunk::{AHEAD_MAX, Bounds, PutChunk, put_chunk};
use lucid_data_chain::ops::proofs::build_tree::{build_tree, find_tree};
use lucid_data_chain::ops::proofs::verify_chunk::verifications;
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::ops::upkeep::weigh_facts::matters;
use lucid_data_chain::row::{NoteBounds, TreeRow};
use lucid_store::codec::Packer;
use lucid_store::contract::index::Changes;
use lucid_store::vault::committer::Submission;

use super::store::{KEEPING, NOW, Store};

fn commit(store: &Store, facts: impl Iterator<Item = Fact>) {
    let mut packer = Packer::new();
    let facts = facts.map(|fact| store.vault.fact(&mut packer, fact.encode()).unwrap()).collect();
    store.vault.commit(Submission { facts, ..Submission::default() }).unwrap();
}

fn notes(store: &Store) -> NoteBounds {
    NoteBounds::decode(&store.vault.index().get(&NoteBounds::key()).unwrap().unwrap()).unwrap()
}

#[test]
fn only_the_latest_verifications_are_remembered() {
    let store = Store::new();
    let outcome = |n: i64| {
        Fact::Verified(Verified {
            at: Timestamp::from_micros(n),
            subject: format!("chunk-{}", n % 3),
            is_session: false,
            verified: n % 2 == 0,
            reason: String::new(),
        })
    };
    commit(&store, (0..1_005).map(outcome));
    let all = verifications(&store.vault, None, 2_000).unwrap();
    assert_eq!(all.len(), 1_000);
    assert_eq!(all.first().unwrap().at, Timestamp::from_micros(1_004), "the newest first");
    assert_eq!(all.last().unwrap().at, Timestamp::from_micros(5));
    let some = verifications(&store.vault, Some("chunk-1"), 2).unwrap();
    assert_eq!(some.iter().map(|one| one.at.as_micros()).collect::<Vec<_>>(), [1_003, 1_000]);
    let matter = (0..1_005).filter(|n| matters(&store.vault, &outcome(*n).encode()).unwrap());
    assert_eq!(matter.count(), 1_000);
    store.vault.close().unwrap();
    let again = Store::open(&store.disk);
    assert_eq!(again.index.rows(), store.index.rows(), "the log says it all");
}

#[test]
fn only_the_latest_trees_are_kept() {
    let store = Store::new();
    let root = |n: u32| {
        let mut root = [0; 32];
        root[..4].copy_from_slice(&n.to_be_bytes());
        SessionRoot::new(root)
    };
    let parts = |n, leaves| Tree::parts(root(n), None, NOW, &vec![[7; 32]; leaves]).into_iter();
    let tree = |n, leaves| parts(n, leaves).next().unwrap();
    commit(&store, (0..1_003).map(|n| Fact::Tree(tree(n, 2))));
    let (index, cipher) = (store.vault.index(), store.vault.cipher());
    let kept = |n| {
        let row = TreeRow::find(index, cipher, &root(n)).unwrap()?;
        row.leaves(index, cipher, &root(n)).unwrap().map(|leaves| leaves.len())
    };
    assert!(matches!(find_tree(&store.vault, &root(2)), Err(OpError::NoTree(_))));
    assert_eq!((kept(2), kept(3)), (None, Some(2)));
    let matter = |n| matters(&store.vault, &Fact::Tree(tree(n, 2)).encode()).unwrap();
    assert!(!matter(2) && matter(3));
    assert_eq!((notes(&store).trees, notes(&store).leaves), ((3, 1_003), 2_000));
    // The same again changes nothing; many leaves push others out, and never themselves.
    commit(&store, [Fact::Tree(tree(1_002, 2))].into_iter());
    assert_eq!(notes(&store).trees, (3, 1_003));
    commit(&store, (2_000..2_005).flat_map(|n| parts(n, 1 << 20)).map(Fact::Tree));
    assert_eq!(notes(&store).leaves, 4 << 20);
    assert_eq!((kept(2_000), kept(2_004)), (None, Some(1 << 20)));
}

#[test]
fn a_tree_that_lost_leaves_gets_them_back_when_it_is_built_again() {
    let store = Store::new();
    let chunks: Vec<String> =
        store.store(&[b"one", b"two"]).iter().map(|(id, _)| id.to_string()).collect();
    let built = build_tree(&store.vault, &Sight::everything(), NOW, None, &chunks).unwrap();
    let before = notes(&store);
    let key = TreeRow::leaves_key(&built.root, 0);
    for damaged in [None, Some(vec![7; 64])] {
        let mut changes = Changes::new(store.index.as_ref());
        match damaged {
            Some(value) => changes.put(key.clone(), value),
            None => changes.remove(key.clone()),
        }
        changes.write().unwrap();
        let Err(OpError::Unsound(why)) = find_tree(&store.vault, &built.root) else {
            panic!("there are no such leaves")
        };
        assert!(why.contains("build it over the same chunks again"), "{why}");
        let again =
            build_tree(&store.vault, &Sight::everything(), NOW.plus_seconds(9), None, &chunks)
                .unwrap();
        assert_eq!(again, built);
        assert_eq!(find_tree(&store.vault, &built.root).unwrap(), built);
        assert_eq!(notes(&store), before, "it has its place");
    }
    assert_eq!(find_tree(&Store::open(&store.disk).vault, &built.root).unwrap(), built);
}

#[test]
fn a_tree_has_a_largest_height() {
    let store = Store::new();
    let many = vec![String::new(); (1 << 20) + 1];
    let refused = build_tree(&store.vault, &Sight::everything(), NOW, None, &many);
    assert!(matches!(refused, Err(OpError::Invalid(why)) if why.contains("higher than 20")));
    // A name of an upload that was cut counts as all of its parts.
    let (parts, session) = (1 << 12, store.begin("s", Default::default()));
    let placed = Placed {
        session: session.clone(),
        index: 0,
        at: NOW,
        alias: Some("cut".into()),
        metadata: String::new(),
        chunks: vec![store.store(&[b"part"])[0]; parts],
    };
    commit(&store, [Fact::Placed(placed)].into_iter());
    let build = |names| {
        build_tree(
            &store.vault,
            &Sight::everything(),
            NOW,
            Some(&session),
            &vec!["cut".into(); names],
        )
    };
    assert_eq!(build(2).unwrap().leaves.len(), 2 * parts);
    // More leaves than one fact takes.
    let large = build(33).unwrap();
    assert_eq!(large.leaves.len(), 33 * parts);
    assert_eq!(find_tree(&store.vault, &large.root).unwrap(), large);
    let again = Store::open(&store.disk);
    assert_eq!(find_tree(&again.vault, &large.root).unwrap(), large, "the log says it all");
    let refused = build((1 << 20) / parts + 1);
    assert!(matches!(refused, Err(OpError::Invalid(why)) if why.contains("higher than 20")));
}

#[test]
fn chunks_that_wait_are_found_again_in_the_log() {
    let store = Store::new();
    let bounds = Bounds {
        most: 1_000,
        split_over: 1_000,
        splits: true,
        profile: Default::default(),
        own_copies: false,
    };
    let put = |index: u64, bytes: &[u8]| {
        let (session, index) = (Some("s".parse().unwrap()), Some(index));
        let wanted = PutChunk { session, index, ..PutChunk::default() };
        put_chunk(&store.vault, &store.locks, KEEPING, &bounds, NOW, &wanted, bytes)
    };
    put(AHEAD_MAX, b"far").unwrap();
    assert!(matches!(put(AHEAD_MAX + 1, b"too far"), Err(OpError::Invalid(_))));
    put(2, b"later").unwrap();
    put(0, b"first").unwrap();
    let session = "s".parse().unwrap();
    let listed = session_chunks(&store.vault, &session, 0, 10).unwrap();
    let places: Vec<_> = listed.iter().map(|chunk| (chunk.index.unwrap(), chunk.waits)).collect();
    assert_eq!(places, [(0, false), (2, true), (AHEAD_MAX, true)]);
    store.vault.close().unwrap();
    let again = Store::open(&store.disk);
    assert_eq!(again.index.rows(), store.index.rows(), "the log says it all");
}
