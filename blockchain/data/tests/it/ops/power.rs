//! At every moment at which power may fail: what was acknowledged is there, and sound.

use lucid_core::block::Block;
use lucid_core::cut::ChunkProfile;
use lucid_core::sign::SigningKey;
use lucid_core::transaction::Transaction;
use lucid_data_chain::document::DocumentKind;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::delete_chunk::delete_chunk;
use lucid_data_chain::ops::chunks::find_chunk::{find_chunk, read_found};
use lucid_data_chain::ops::chunks::put_chunk::{Bounds, PutChunk, Taken, put_chunk};
use lucid_data_chain::ops::documents::get_document::get_document;
use lucid_data_chain::ops::documents::index_items::{Item, get_entry, index_items, queue_items};
use lucid_data_chain::ops::documents::store_document::store_document;
use lucid_data_chain::ops::proofs::verify_session::verify_session;
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::read_session::{StoredSession, read_range};

use super::store::{KEEPING, NOW, Store};
use crate::sample::{id, noise};

/// Puts a chunk into a session, or keeps it on its own.
fn put(store: &Store, place: Option<(&str, u64)>, bytes: &[u8]) -> Result<Taken, OpError> {
    let bounds = Bounds {
        most: 1 << 20,
        split_over: 1 << 20,
        splits: true,
        profile: ChunkProfile::default(),
        own_copies: place.is_some_and(|(session, _)| session == "own"),
    };
    let wanted = PutChunk {
        session: place.map(|(session, _)| session.parse().unwrap()),
        index: place.map(|(_, index)| index),
        ..PutChunk::default()
    };
    put_chunk(&store.vault, &store.locks, KEEPING, &bounds, NOW, &wanted, bytes)
}

#[test]
fn an_acknowledged_chunk_survives_a_power_cut() {
    let store = Store::new();
    // In front of gaps and behind them, of its own and shared, on its own; and one that is deleted.
    let places =
        [Some(("s", 3)), None, Some(("s", 0)), Some(("own", 0)), Some(("s", 2)), Some(("s", 1))];
    let deleted = noise(99, 700);
    put(&store, None, &deleted).unwrap();
    delete_chunk(&store.vault, &id(&deleted).to_string(), None, NOW).unwrap();
    let mut acknowledged = vec![store.disk.calls()];
    for (number, place) in (0..).zip(places) {
        put(&store, place, &noise(number, 700)).unwrap();
        acknowledged.push(store.disk.calls());
    }
    for calls in acknowledged[0]..=store.disk.calls() {
        let after = Store::open(&store.disk.after_power_cut(calls, calls as u64));
        let find = |bytes: &[u8]| find_chunk(&after.vault, &id(bytes).to_string(), None, NOW);
        let count = acknowledged.iter().filter(|at| **at <= calls).count() - 1;
        for number in 0..count as u64 {
            let bytes = noise(number, 700);
            let found = find(&bytes).unwrap();
            assert_eq!(read_found(&after.vault, &found).unwrap(), bytes, "after {calls} calls");
        }
        assert!(matches!(find(&deleted), Err(OpError::NoChunk(_))), "what was deleted stays so");
        for session in ["s", "own"] {
            let session = session.parse().unwrap();
            if get_session(&after.vault, &session).is_ok() {
                let verified = verify_session(&after.vault, &session, 1, &|_| true).unwrap();
                assert!(verified.is_sound(), "{:?}", verified.faults);
            }
        }
        if count == places.len() {
            let row = get_session(&after.vault, &"s".parse().unwrap()).unwrap();
            assert_eq!((row.chunk_count(), row.pending), (4, 0));
        }
    }
}

#[test]
fn an_acknowledged_append_survives_a_power_cut() {
    let store = Store::new();
    let profile = ChunkProfile::fixed(1_024).unwrap();
    let session = store.begin("s", profile);
    let content = noise(1, 9_000);
    // How many calls the disk had seen when so many bytes were acknowledged.
    let mut acknowledged = vec![(store.disk.calls(), 0)];
    for (number, piece) in content.chunks(900).enumerate() {
        let offset = number as u64 * 900;
        store.append(&session, offset, piece).unwrap();
        acknowledged.push((store.disk.calls(), offset + piece.len() as u64));
    }
    let sealed = store.seal(&session);
    let sealed_at = store.disk.calls();
    let first = acknowledged[0].0;
    for calls in first..=sealed_at {
        let after = Store::open(&store.disk.after_power_cut(calls, calls as u64));
        let row = get_session(&after.vault, &session).unwrap();
        let least = acknowledged.iter().rev().find(|(at, _)| *at <= calls).unwrap().1;
        assert!(row.offset() >= least, "after {calls} calls: {} of {least} bytes", row.offset());
        assert!(!row.has_gap && !row.tail_gap);
        let source = StoredSession::open_live(&after.vault, &after.locks, &session).unwrap();
        let mut read = Vec::new();
        read_range(&source, 0..row.offset(), |bytes| {
            read.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!(read, content[..read.len()]);
        let verified = verify_session(&after.vault, &session, 1, &|_| true).unwrap();
        assert!(verified.is_sound(), "{:?}", verified.faults);
        if calls == sealed_at {
            assert_eq!(row.sealed, sealed.sealed);
        }
    }
}

#[test]
fn a_full_disk_refuses_and_keeps_what_was_there() {
    let store = Store::new();
    let session = store.begin("s", ChunkProfile::default());
    let append = |offset, bytes: &[u8]| store.append(&session, offset, bytes);
    append(0, b"before").unwrap();
    store.disk.set_space(Some(100));
    assert!(matches!(append(6, &noise(1, 50_000)), Err(OpError::Full(_))));
    assert_eq!(get_session(&store.vault, &session).unwrap().offset(), 6);
    assert!(matches!(put(&store, None, &noise(2, 50_000)), Err(OpError::Full(_))));
    assert!(matches!(put(&store, Some(("t", 0)), &noise(2, 50_000)), Err(OpError::Full(_))));
    let unknown = find_chunk(&store.vault, &id(&noise(2, 50_000)).to_string(), None, NOW);
    assert!(matches!(unknown, Err(OpError::NoChunk(_))));
    store.disk.set_space(None);
    assert_eq!(append(6, b" after").unwrap().offset, 12);
}

#[test]
fn a_document_that_was_acknowledged_survives_a_power_cut_and_half_of_one_is_none() {
    let store = Store::new();
    // In several parts; one that takes the place of another; and one that is queued.
    let large = format!(r#"{{"id":"t","type":"a","data":"{}"}}"#, "x".repeat(900_000));
    let transaction = Transaction::parse(large.as_bytes()).unwrap();
    let more = Transaction::parse(large.replace("\"t\"", "\"u\"").as_bytes()).unwrap();
    let block = Block::build(None, vec![transaction, more], NOW, &SigningKey::from_seed([5; 32]));
    let described = |status: &str| format!(r#"{{"id":"s","status":"{status}"}}"#);
    let mut acknowledged = vec![store.disk.calls()];
    let texts = [
        (DocumentKind::Block, block.to_json_text()),
        (DocumentKind::Session, described("a")),
        (DocumentKind::Session, described("b")),
    ];
    for (kind, text) in &texts {
        store_document(&store.vault, NOW, *kind, text).unwrap();
        acknowledged.push(store.disk.calls());
    }
    let items = Item::read_all(r#"{"type":"session","id":"i"}"#).unwrap();
    queue_items(&store.vault, NOW, &items).unwrap();
    acknowledged.push(store.disk.calls());
    index_items(&store.vault, NOW, 10).unwrap();
    for calls in acknowledged[0]..=store.disk.calls() {
        let after = Store::open(&store.disk.after_power_cut(calls, calls as u64));
        let count = acknowledged.iter().filter(|at| **at <= calls).count() - 1;
        let get =
            |kind, id: &str| get_document(&after.vault, kind, id, NOW).map(|found| found.text);
        match get(DocumentKind::Block, "0") {
            Ok(text) => {
                assert_eq!(text, texts[0].1, "after {calls} calls");
                assert!(get(DocumentKind::Transaction, "u").is_ok(), "after {calls} calls");
            }
            Err(OpError::NoDocument { .. }) => assert_eq!(count, 0, "after {calls} calls"),
            Err(error) => panic!("{error}"),
        }
        let session = get(DocumentKind::Session, "s").ok();
        let wanted = [None, None, Some(described("a")), Some(described("b"))];
        assert!(wanted[count.min(3)..].contains(&session), "after {calls} calls: {session:?}");
        // Whether it waits or is indexed, it is not lost, and ends as an entry.
        index_items(&after.vault, NOW, 10).unwrap();
        let entry = get_entry(&after.vault, DocumentKind::Session, "i");
        assert!(entry.is_ok() || count < 4, "after {calls} calls");
    }
}
