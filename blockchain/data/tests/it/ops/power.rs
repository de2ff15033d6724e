//! Whatever the moment at which power fails: what was acknowledged is there, and sound.

use lucid_core::cut::ChunkProfile;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::list_sessions::get_session;
use lucid_data_chain::ops::read_session::{StoredSession, read_range};
use lucid_data_chain::ops::verify_session::verify_session;

use super::store::Store;
use crate::sample::noise;

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
        let verified = verify_session(&after.vault, &session, 1, &|_| {}).unwrap();
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
    store.disk.set_space(None);
    assert_eq!(append(6, b" after").unwrap().offset, 12);
}
