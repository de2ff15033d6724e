//! Verifying: what is found is a verdict, what could not be looked at is no verdict, and a verdict is told
//! even if it cannot be remembered.

use std::sync::Arc;

use lucid_core::cut::ChunkProfile;
use lucid_core::session::SessionId;
use lucid_data_chain::fact::{Fact, Sealed};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::proofs::prove_chunk::prove_chunk;
use lucid_data_chain::ops::proofs::prove_session::{Allow, WantedProof, freely, prove_session};
use lucid_data_chain::ops::proofs::verify_chunk::{verifications, verify_chunk};
use lucid_data_chain::ops::proofs::verify_session::{SessionVerified, verify_session};
use lucid_data_chain::ops::sessions::add_references::add_references;
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::row::SessionName;
use lucid_store::StoreError;
use lucid_store::codec::Packer;
use lucid_store::contract::index::{Changes, Index as _};
use lucid_store::files::disk::faulty::FaultyDisk;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::vault::committer::Submission;
use rustix::io::Errno;

use super::store::{NOW, Store};
use crate::sample::{id, noise};

/// An open session of three chunks of 10,000 bytes.
fn session(store: &Store) -> (SessionId, Vec<Vec<u8>>) {
    let session = store.begin("s", ChunkProfile::default());
    let chunks: Vec<Vec<u8>> = (0..3).map(|seed| noise(seed, 10_000)).collect();
    let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    add_references(&store.vault, &store.locks, &session, 0, store.store(&slices)).unwrap();
    (session, chunks)
}

fn verify(store: &Store, session: &SessionId) -> Result<SessionVerified, OpError> {
    verify_session(&store.vault, session, 1, &|_| true)
}

fn reference_key(store: &Store, session: &SessionId, index: u64) -> Vec<u8> {
    SessionName::of(store.vault.cipher(), session).reference_key(index)
}

/// Changes rows of the index alone, as no fact of the log does.
fn set(store: &Store, key: Vec<u8>, value: Option<Vec<u8>>) {
    let mut changes = Changes::new(store.index.as_ref());
    match value {
        Some(value) => changes.put(key, value),
        None => changes.remove(key),
    }
    changes.write().unwrap();
}

#[test]
fn what_cannot_be_looked_at_now_is_no_verdict() {
    let disk = SimulatedDisk::new();
    let faulty = FaultyDisk::over(Arc::new(disk.clone()));
    let store = Store::open_over(&disk, &faulty);
    let (session, chunks) = session(&store);
    let called = id(&chunks[1]).to_string();
    let place = store.vault.placement(&id(&chunks[1])).unwrap().unwrap();
    let file = format!("chunks/{:08}.seg", place.unit);
    for errno in [Errno::MFILE, Errno::ACCESS, Errno::NOMEM] {
        faulty.break_bytes(&file, place.offset..place.offset + 1, errno);
        let refused = verify(&store, &session).unwrap_err();
        assert!(matches!(refused, OpError::Store(StoreError::Io { .. })), "{refused:?}");
        let refused =
            verify_chunk(&store.vault, &Sight::everything(), &called, None, NOW).unwrap_err();
        assert!(matches!(refused, OpError::Store(StoreError::Io { .. })), "{refused:?}");
        faulty.repair();
        assert!(verify(&store, &session).unwrap().is_sound(), "nothing was remembered of it");
    }
    assert_eq!(verifications(&store.vault, None, 10).unwrap(), []);
    // What the medium does not give back is one.
    faulty.break_bytes(&file, place.offset..place.offset + 1, Errno::IO);
    let found = verify(&store, &session).unwrap();
    assert_eq!((found.chunks_verified, found.failed.len()), (2, 1), "{found:?}");
}

#[test]
fn a_verdict_is_told_though_the_disk_has_no_room_to_remember_it() {
    let store = Store::new();
    let (_, chunks) = session(&store);
    store.disk.set_space(Some(0));
    for (chunk, is_whole) in chunks.iter().zip([true, false]) {
        let place = store.vault.placement(&id(chunk)).unwrap().unwrap();
        if !is_whole {
            let file = format!("chunks/{:08}.seg", place.unit);
            assert!(store.disk.flip(&file, place.offset as usize + 200));
        }
        let told =
            verify_chunk(&store.vault, &Sight::everything(), &id(chunk).to_string(), None, NOW)
                .unwrap();
        assert_eq!(told.verified, is_whole);
        assert!(told.reason.contains("not remembered"), "{}", told.reason);
        assert_eq!(told.reason.starts_with("chunks/"), !is_whole, "{}", told.reason);
    }
    store.disk.set_space(None);
    assert_eq!(verifications(&store.vault, None, 10).unwrap(), []);
}

#[test]
fn an_open_session_that_lost_its_last_references_is_not_whole() {
    let store = Store::new();
    let (session, _) = session(&store);
    assert!(verify(&store, &session).unwrap().is_sound());
    let key = reference_key(&store, &session, 2);
    let row = store.index.get(&key).unwrap();
    set(&store, key.clone(), None);
    let found = verify(&store, &session).unwrap();
    assert_eq!(
        (found.faults.as_slice(), found.root),
        (&["chunk 2 is missing, of 3".into()][..], None)
    );
    // Another one in its place is told by the root.
    set(&store, key, store.index.get(&reference_key(&store, &session, 1)).unwrap());
    assert!(!verify(&store, &session).unwrap().is_sound());
    assert!(row.is_some());
}

#[test]
fn rows_that_do_not_give_the_root_prove_nothing() {
    let store = Store::new();
    let (session, _) = session(&store);
    store.seal(&session);
    let prove = |index| prove_chunk(&store.vault, &session, index, &freely);
    let bundle = || prove_session(&store.vault, &session, &WantedProof::Session, &freely);
    assert!(prove(0).is_ok() && bundle().is_ok());
    let key = reference_key(&store, &session, 1);
    let row = store.index.get(&key).unwrap().unwrap();
    // A reference is its offset, its length, its chunk and its leaf, all in clear in this store.
    for byte in [0, 9, 20, 50] {
        let mut changed = row.clone();
        changed[byte] ^= 1;
        set(&store, key.clone(), Some(changed));
        for refused in [prove(1).map(drop), bundle().map(drop)] {
            let Err(OpError::Unsound(why)) = refused else { panic!("byte {byte}: {refused:?}") };
            assert!(why.contains("`lucid reindex`"), "{why}");
        }
        assert!(!verify(&store, &session).unwrap().is_sound(), "byte {byte}");
    }
    set(&store, key, None);
    assert!(matches!(prove(0), Err(OpError::Unsound(_))));
    assert!(matches!(bundle(), Err(OpError::Unsound(_))));
}

#[test]
fn a_proof_asks_for_its_memory_before_it_reads_and_ends_when_nobody_wants_it() {
    let store = Store::new();
    let (session, _) = session(&store);
    store.seal(&session);
    let asked = std::cell::RefCell::new(Vec::new());
    let prove = |allow: Allow<'_>| {
        [Some(WantedProof::Session), Some(WantedProof::Bytes(1..2)), None].map(|wanted| {
            let made = match &wanted {
                Some(part) => prove_session(&store.vault, &session, part, allow).map(|b| b.len()),
                None => prove_chunk(&store.vault, &session, 1, allow).map(|p| p.path.len() * 32),
            };
            (made, std::mem::take(&mut *asked.borrow_mut()))
        })
    };
    let note = |bytes| {
        asked.borrow_mut().push(bytes);
        Ok(())
    };
    for (made, asked) in prove(&note) {
        // Hashes of three leaves at least, and all of what is made but its fixed parts.
        assert!(asked[0] >= 3 * 32, "{asked:?}");
        let (made, asked) = (made.unwrap(), asked.iter().sum::<usize>());
        assert!(made < asked + 4_096, "{made} bytes of {asked}");
    }
    for (end, calls) in [(OpError::Busy("full".to_owned()), 1), (OpError::Abandoned, 2)] {
        let allow = |bytes| {
            asked.borrow_mut().push(bytes);
            if asked.borrow().len() == calls { Err(end.clone()) } else { Ok(()) }
        };
        for (made, asked) in prove(&allow) {
            assert_eq!(made.unwrap_err().to_string(), end.to_string());
            assert_eq!(asked.len(), calls, "nothing was done afterwards");
        }
    }
}

#[test]
fn a_manifest_that_cannot_be_read_is_named_and_its_session_is_not_gone_on_with() {
    let store = Store::new();
    let session = store.begin("s", ChunkProfile::default());
    store.append(&session, 0, b"bytes").unwrap();
    let fact = Sealed { session: session.clone(), manifest: "{}".into(), anchor: "{}".into() };
    let fact = store.vault.fact(&mut Packer::new(), Fact::Sealed(fact).encode()).unwrap();
    store.vault.commit(Submission { facts: vec![fact], ..Submission::default() }).unwrap();
    for store in [&store, &Store::open(&store.disk)] {
        assert!(get_session(&store.vault, &session).unwrap().sealed.is_none());
        let refused = store.append(&session, 5, b"more").unwrap_err();
        assert!(matches!(refused, OpError::Conflict(..)), "{refused}");
        let faults = verify(store, &session).unwrap().faults;
        assert!(faults.iter().any(|fault| fault.starts_with("the manifest")), "{faults:?}");
    }
}
