//! Chunks that are put by index: what is said of them stays with them, regardless of what happens to their
//! bytes.

use lucid_core::cut::ChunkProfile;
use lucid_data_chain::fact::{Fact, Placed, Removed};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::find_chunk::{FoundChunk, find_chunk, read_found};
use lucid_data_chain::ops::chunks::put_chunk::{Bounds, PutChunk, Taken, put_chunk};
use lucid_data_chain::row::{Alias, PlacedRow, SessionName};
use lucid_store::StoreError;
use lucid_store::codec::Packer;
use lucid_store::contract::index::{Changes, Index as _};
use lucid_store::vault::committer::Submission;

use super::store::{KEEPING, NOW, Store};
use crate::sample::noise;

/// Puts bytes into the session `s`; cut above 1,024.
fn put(store: &Store, wanted: PutChunk, bytes: &[u8]) -> Result<Taken, OpError> {
    let bounds = Bounds {
        most: 10_000,
        split_over: 1_024,
        splits: true,
        profile: ChunkProfile::fixed(1_024).unwrap(),
        own_copies: false,
    };
    let wanted = PutChunk { session: Some("s".parse().unwrap()), ..wanted };
    put_chunk(&store.vault, &store.locks, KEEPING, &bounds, NOW.plus_seconds(5), &wanted, bytes)
}

fn at(index: u64) -> PutChunk {
    PutChunk { index: Some(index), ..PutChunk::default() }
}

fn named(index: u64, alias: &str) -> PutChunk {
    PutChunk { alias: Some(alias.into()), metadata: r#"{"k": 1}"#.into(), ..at(index) }
}

fn find(store: &Store, called: &str) -> FoundChunk {
    find_chunk(&store.vault, called, None, NOW).unwrap()
}

fn commit(store: &Store, fact: Fact) {
    let fact = store.vault.fact(&mut Packer::new(), fact.encode()).unwrap();
    store.vault.commit(Submission { facts: vec![fact], ..Submission::default() }).unwrap();
}

#[test]
fn a_chunk_that_is_healed_keeps_its_name_its_parts_and_what_was_said_of_it() {
    let store = Store::new();
    let bytes = noise(1, 3_000);
    let taken = put(&store, named(0, "cut"), &bytes).unwrap();
    assert_eq!(taken.parts.len(), 3);
    let before = find(&store, "cut");
    let place = store.vault.placement(&taken.parts[1].id).unwrap().unwrap();
    let file = format!("chunks/{:08}.seg", place.unit);
    assert!(store.disk.flip(&file, place.offset as usize + 200));
    let damaged = read_found(&store.vault, &before).unwrap_err();
    assert!(matches!(damaged, OpError::Store(StoreError::Damaged(_))), "{damaged}");
    // Once it is noted.
    store.vault.commit(Submission::default()).unwrap();
    let healed = put(&store, at(0), &bytes).unwrap();
    assert!(!healed.is_new && healed.parts[1].stored_bytes > 0, "{healed:?}");
    assert_eq!(find(&store, "cut"), before);
    assert_eq!(read_found(&store.vault, &before).unwrap(), bytes);
    // The version before wrote a fact that said nothing of it.
    let chunks = taken.parts.iter().map(|part| (part.id, part.length)).collect();
    let (session, metadata) = ("s".parse().unwrap(), String::new());
    let placed = Placed { session, index: 0, at: NOW, alias: None, metadata, chunks };
    let first = Placed { chunks: placed.chunks[..1].to_vec(), ..placed.clone() };
    commit(&store, Fact::Placed(placed));
    commit(&store, Fact::Placed(first));
    let again = Store::open(&store.disk);
    for store in [&store, &again] {
        assert_eq!(find(store, "cut"), before);
        assert_eq!(read_found(&store.vault, &before).unwrap(), bytes);
    }
    assert_eq!(again.index.rows(), store.index.rows(), "the log says it all");
}

#[test]
fn a_chunk_has_one_name_and_gets_it_late_if_it_had_none() {
    let store = Store::new();
    let (cut, one) = (noise(1, 3_000), noise(2, 500));
    put(&store, at(0), &cut).unwrap();
    put(&store, at(3), &one).unwrap();
    put(&store, named(0, "cut"), &cut).unwrap();
    put(&store, named(3, "one"), &one).unwrap();
    assert_eq!(find(&store, "cut").length(), 3_000);
    assert_eq!((find(&store, "one").length(), find(&store, "one").metadata.len()), (500, 8));
    // A part of what has a name is no other chunk of that name.
    for (wanted, bytes) in [(named(3, "two"), &one[..]), (named(0, "part"), &cut[..1_024])] {
        let refused = put(&store, wanted, bytes).unwrap_err();
        assert!(matches!(refused, OpError::Conflict(..)), "{refused}");
        assert!(refused.to_string().contains("is called"), "{refused}");
    }
    assert_eq!(put(&store, at(0), &cut[..1_024]).unwrap().parts.len(), 1);
    assert_eq!(find(&store, "cut").length(), 3_000);
}

/// Earlier versions took a second name for a chunk that had one.
#[test]
fn every_name_that_an_earlier_version_took_goes_on_to_find_its_chunk() {
    let store = Store::new();
    let bytes = noise(1, 500);
    let taken = put(&store, named(0, "a"), &bytes).unwrap();
    let chunks: Vec<_> = taken.parts.iter().map(|part| (part.id, part.length)).collect();
    let alias = Some("b".to_owned());
    let (session, metadata) = ("s".parse().unwrap(), String::new());
    commit(&store, Fact::Placed(Placed { session, index: 0, at: NOW, alias, metadata, chunks }));
    for store in [&store, &Store::open(&store.disk)] {
        for name in ["a", "b"] {
            assert_eq!(find(store, name).length(), 500, "{name}");
            put(store, named(0, name), &bytes).unwrap();
        }
    }
}

#[test]
fn no_name_of_a_chunk_outlives_its_session_whichever_version_gave_it() {
    let store = Store::new();
    let bytes = noise(1, 500);
    let taken = put(&store, named(0, "a"), &bytes).unwrap();
    let chunks: Vec<_> = taken.parts.iter().map(|part| (part.id, part.length)).collect();
    let session: lucid_core::session::SessionId = "s".parse().unwrap();
    for alias in ["b", "c", "b"] {
        let placed = Placed {
            session: session.clone(),
            index: 0,
            at: NOW,
            alias: Some(alias.to_owned()),
            metadata: String::new(),
            chunks: chunks.clone(),
        };
        commit(&store, Fact::Placed(placed));
    }
    commit(&store, Fact::Removed(Removed { session, tombstone: None }));
    let key_of = |name: &str| {
        let session = SessionName::of(store.vault.cipher(), &"s".parse().unwrap());
        Alias::key(store.vault.cipher(), name, &session)
    };
    for name in ["a", "b", "c"] {
        assert_eq!(store.index.get(&key_of(name)).unwrap(), None, "{name}");
    }
    // Begun anew, it has other chunks, and gives the names to whichever it likes.
    put(&store, named(0, "x"), &noise(2, 300)).unwrap();
    assert!(matches!(find_chunk(&store.vault, "b", None, NOW), Err(OpError::NoChunk(_))));
    put(&store, named(1, "b"), &noise(3, 400)).unwrap();
    for store in [&store, &Store::open(&store.disk)] {
        assert_eq!(find(store, "b").length(), 400);
    }
}

#[test]
fn a_chunk_whose_place_cannot_be_read_is_not_said_to_be_absent() {
    let store = Store::new();
    let (id, _) = store.store(&[b"upload"])[0];
    let called = id.to_string();
    find(&store, &called);
    let name = store.vault.cipher().chunk_name(&id);
    let rows = store.index.rows();
    // Rows of lower kinds are the store's: where the chunk is.
    let is_place = |key: &&Vec<u8>| key[0] < 0x40 && key.ends_with(name.as_bytes());
    let key = rows.keys().find(is_place).unwrap().clone();
    let mut changes = Changes::new(store.index.as_ref());
    changes.put(key, vec![1]);
    changes.write().unwrap();
    let refused = find_chunk(&store.vault, &called, None, NOW).unwrap_err();
    assert!(matches!(refused, OpError::Store(StoreError::Index(_))), "{refused:?}");
}

#[test]
fn a_session_whose_waiting_rows_are_lost_is_forgotten_all_the_same() {
    let store = Store::new();
    put(&store, at(7), b"waits").unwrap();
    let session: lucid_core::session::SessionId = "s".parse().unwrap();
    let name = SessionName::of(store.vault.cipher(), &session);
    let mut changes = Changes::new(store.index.as_ref());
    changes.remove(PlacedRow::key(&name, 7));
    changes.write().unwrap();
    commit(&store, Fact::Removed(Removed { session, tombstone: None }));
    assert_eq!(store.index.get(&name.session_key()).unwrap(), None);
}
