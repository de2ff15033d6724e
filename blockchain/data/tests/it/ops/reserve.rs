//! A store whose disk has little room left: what brings bytes in is refused, and what gives some back is not.

use lucid_core::cut::ChunkProfile;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::store_chunks::store_chunks;
use lucid_data_chain::ops::sessions::add_references::add_references;
use lucid_data_chain::ops::sessions::create_session::{NewSession, create_session};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::hold_session::{hold_session, release_session};
use lucid_data_chain::ops::sessions::remove_session::remove_session;
use lucid_data_chain::ops::upkeep::collect_garbage::{GarbageRequest, collect_garbage};

use super::store::{KEEPING, NOW, Store, new_session};
use crate::sample::noise;

#[test]
fn below_the_reserve_nothing_comes_in_and_everything_that_gives_room_back_goes_on() {
    let store = Store::new();
    let old = store.begin("old", ChunkProfile::default());
    let references = store.store(&[&noise(1, 40_000), &noise(2, 40_000)]);
    add_references(&store.vault, &store.locks, &old, 0, references).unwrap();
    store.seal(&old);
    let live = store.begin("live", ChunkProfile::fixed(1_024).unwrap());
    store.append(&live, 0, &noise(3, 5_000)).unwrap();
    let store = store.resumed();

    // A byte less is free than has to stay free.
    store.disk.set_space(Some(99_999));
    store.disk.set_reserve(100_000);
    let is_full = |error: OpError| {
        let sentence = error.to_string();
        assert!(matches!(error, OpError::Full(_)), "{sentence}");
        assert!(sentence.contains("stay free for what gives room back"), "{sentence}");
    };
    is_full(store.append(&live, 5_000, b"more").unwrap_err());
    let new =
        NewSession { id: Some("new".parse().unwrap()), ..new_session(ChunkProfile::default()) };
    is_full(create_session(&store.vault, &store.locks, new.clone()).unwrap_err());
    let chunk = noise(4, 1_000);
    let chunks: [&[u8]; 1] = [&chunk];
    is_full(store_chunks(&store.vault, KEEPING, 1, NOW, None, &chunks).unwrap_err());
    assert!(store.vault.room().is_err());
    assert_eq!(get_session(&store.vault, &live).unwrap().offset(), 5_000);

    hold_session(&store.vault, &store.locks, NOW, &live, "a while").unwrap();
    release_session(&store.vault, &store.locks, &live).unwrap();
    assert!(store.seal(&live).sealed.is_some());
    remove_session(&store.vault, &store.locks, &store.key, (NOW, None), &old, "room").unwrap();
    let Store { vault, locks, key, .. } = &store;
    let request = GarbageRequest::default();
    let watch = &mut |_, _, _| true;
    // By then no upload is remembered any more.
    let later = NOW.plus_seconds(30 * 86_400);
    let collected = collect_garbage(vault, locks, key, later, None, &request, watch).unwrap();
    assert!(collected.collected.bytes_freed > 80_000, "{collected:?}");

    store.disk.set_space(Some(200_000));
    create_session(&store.vault, &store.locks, new).unwrap();
    store_chunks(&store.vault, KEEPING, 1, NOW, None, &chunks).unwrap();
}

/// One batch may hold both: the one is refused, and the other is not.
#[test]
fn a_batch_of_both_kinds_is_decided_one_by_one() {
    use std::sync::mpsc;

    use lucid_data_chain::fact::{Fact, OwnChain};
    use lucid_store::CommitError;
    use lucid_store::codec::Packer;
    use lucid_store::vault::committer::Submission;

    let store = Store::new();
    let fact = || {
        let fact = Fact::Chain(OwnChain { known: None }).encode();
        vec![store.vault.fact(&mut Packer::new(), fact).unwrap()]
    };
    store.disk.set_space(Some(99_999));
    store.disk.set_reserve(100_000);
    let (tell, told) = mpsc::channel();
    for (number, submission) in [
        Submission { facts: fact(), ..Submission::default() },
        Submission { facts: fact(), ..Submission::upkeep() },
        Submission { facts: fact(), ..Submission::default() },
        // It brings nothing.
        Submission::default(),
    ]
    .into_iter()
    .enumerate()
    {
        let tell = tell.clone();
        store
            .vault
            .submit(submission, Box::new(move |outcome| tell.send((number, outcome)).unwrap()));
    }
    let mut outcomes: Vec<_> = told.iter().take(4).collect();
    outcomes.sort_by_key(|(number, _)| *number);
    let full: Vec<bool> =
        outcomes.iter().map(|(_, outcome)| matches!(outcome, Err(CommitError::Full(_)))).collect();
    assert_eq!(full, [true, false, true, false], "{outcomes:?}");
    assert!(outcomes[1].1.is_ok() && outcomes[3].1.is_ok(), "{outcomes:?}");
}
