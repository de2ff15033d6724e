//! Reading stored bytes again: damage is named, kept from counting, and heals; a round goes on after a
//! restart.

use lucid_core::cut::ChunkProfile;
use lucid_core::session::SessionId;
use lucid_data_chain::fact::Scrubbed;
use lucid_data_chain::ops::chunks::missing_chunks::missing_chunks;
use lucid_data_chain::ops::proofs::verify_session::verify_session;
use lucid_data_chain::ops::sessions::add_references::add_references;
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::ops::upkeep::scrub_store::{
    begin_round, note_scrub, scrub_state, scrub_stretch, standings,
};
use lucid_store::vault::scrub::Standing;

use super::store::{NOW, Store};
use crate::sample::{id, noise};

/// A session of chunks of 10,000 bytes.
fn archive(store: &Store, session: &str, seeds: std::ops::Range<u64>) -> SessionId {
    let id = store.begin(session, ChunkProfile::default());
    let chunks: Vec<Vec<u8>> = seeds.map(|seed| noise(seed, 10_000)).collect();
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    add_references(&store.vault, &store.locks, &id, 0, store.store(&chunks)).unwrap();
    store.seal(&id);
    id
}

fn scrub(store: &Store) -> Scrubbed {
    let mut state = scrub_state(&store.vault).unwrap();
    begin_round(&mut state, NOW);
    while scrub_stretch(&store.vault, &mut state, NOW, 100, 1 << 20).unwrap() {}
    note_scrub(&store.vault, &state).unwrap();
    assert_eq!(scrub_state(&store.vault).unwrap(), state);
    state
}

/// Where a chunk's record is.
fn place(store: &Store, bytes: &[u8]) -> (String, u64) {
    let at = store.vault.placement(&id(bytes)).unwrap().unwrap();
    (format!("chunks/{:08}.seg", at.unit), at.offset)
}

fn flip(store: &Store, bytes: &[u8]) -> (String, u64) {
    let (file, offset) = place(store, bytes);
    assert!(store.disk.flip(&file, offset as usize + 200));
    (file, offset)
}

#[test]
fn a_sound_store_is_read_to_the_end_in_stretches_over_restarts() {
    let mut store = Store::new();
    archive(&store, "s", 0..20);
    let whole = scrub(&store);
    assert!(whole.bytes > 200_000 && whole.records > 20, "{whole:?}");
    assert_eq!((whole.round, whole.findings.len(), whole.ended_at), (1, 0, Some(NOW)));
    let mut state = scrub_state(&store.vault).unwrap();
    begin_round(&mut state, NOW.plus_seconds(1));
    let mut stretches = 1;
    while scrub_stretch(&store.vault, &mut state, NOW, 100, 30_000).unwrap() {
        note_scrub(&store.vault, &state).unwrap();
        store.vault.close().unwrap();
        store = Store::open(&store.disk);
        state = scrub_state(&store.vault).unwrap();
        stretches += 1;
    }
    assert!(stretches > 5, "{stretches}");
    assert!(state.records >= whole.records && state.findings.is_empty(), "{state:?}");
    assert_eq!(state.round, 2);
}

#[test]
fn damage_is_named_and_a_new_upload_heals_it() {
    let store = Store::new();
    let session = archive(&store, "s", 0..5);
    let bad = noise(3, 10_000);
    let at = flip(&store, &bad);
    let state = scrub(&store);
    let found: Vec<_> = standings(&store.vault, &state).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0.damage.file.clone(), found[0].0.damage.offset), at);
    assert_eq!(found[0].1, Some(Standing::Quarantined));
    assert_eq!(
        missing_chunks(&store.vault, &Sight::everything(), &[id(&bad)]).unwrap(),
        [id(&bad)]
    );
    store.store(&[&bad]);
    assert_eq!(standings(&store.vault, &state).unwrap()[0].1, Some(Standing::Healed));
    assert!(verify_session(&store.vault, &session, 1, &|_| true).unwrap().is_sound());
    // The damaged record is still there, and found again.
    let again = scrub(&store);
    assert_eq!(standings(&store.vault, &again).unwrap()[0].1, Some(Standing::Healed));
}

#[test]
fn another_copy_in_the_store_heals_at_once() {
    let store = Store::new();
    let session = archive(&store, "s", 0..5);
    let bytes = noise(3, 10_000);
    let first = flip(&store, &bytes);
    scrub(&store);
    store.store(&[&bytes]);
    // The first copy is sound again, as after a cable was changed; the second one is not.
    assert!(store.disk.flip(&first.0, first.1 as usize + 200));
    let second = flip(&store, &bytes);
    assert_ne!(first, second);
    let state = scrub(&store);
    let found = standings(&store.vault, &state).unwrap();
    assert_eq!((found[0].0.damage.offset, found[0].1), (second.1, Some(Standing::Healed)));
    assert!(verify_session(&store.vault, &session, 1, &|_| true).unwrap().is_sound());
}

#[test]
fn a_damaged_fact_is_named_too() {
    let store = Store::new();
    archive(&store, "s", 0..2);
    assert!(store.disk.flip("log/00000001.log", 600));
    let state = scrub(&store);
    let found = standings(&store.vault, &state).unwrap();
    assert!(found.iter().any(|(finding, standing)| {
        finding.damage.file == "log/00000001.log" && standing.is_none()
    }));
}
