//! Removing and holding: what goes, what stays, what is refused, and what a reindex finds again.

use lucid_core::claim::Signed;
use lucid_core::cut::ChunkProfile;
use lucid_core::session::SessionId;
use lucid_core::tombstone::Tombstone;
use lucid_core::transaction::Transaction;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::sessions::add_references::add_references;
use lucid_data_chain::ops::sessions::count_sessions::count_sessions;
use lucid_data_chain::ops::sessions::create_session::{Created, NewSession, create_session};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::hold_session::{hold_session, release_session};
use lucid_data_chain::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use lucid_data_chain::ops::sessions::list_tombstones::list_tombstones;
use lucid_data_chain::ops::sessions::remove_session::remove_session;
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::row::{Counts, TombstoneRow};

use super::store::{NOW, Store, new_session};
use crate::sample::noise;

fn remove(store: &Store, id: &SessionId) -> Result<TombstoneRow, OpError> {
    remove_session(
        &store.vault,
        &store.locks,
        &store.key,
        (NOW.plus_seconds(9), None),
        id,
        "why not",
    )
}

/// A sealed session of two chunks and a live one with chunks and a tail.
fn filled() -> (Store, SessionId, SessionId) {
    let store = Store::new();
    let sealed = store.begin("sealed", ChunkProfile::default());
    let references = store.store(&[b"one", b"three"]);
    add_references(&store.vault, &store.locks, &sealed, 0, references).unwrap();
    store.seal(&sealed);
    let live = store.begin("live", ChunkProfile::fixed(1_024).unwrap());
    for (number, piece) in noise(1, 3_500).chunks(500).enumerate() {
        let offset = number as u64 * 500;
        store.append_at(&live, offset, piece, Some(number as f64 * 2.0)).unwrap();
    }
    (store, sealed, live)
}

#[test]
fn a_removed_session_leaves_its_signed_tombstone_and_nothing_else() {
    let (store, sealed, live) = filled();
    let root = get_session(&store.vault, &live).unwrap().root();
    let tombstone = remove(&store, &live).unwrap();
    assert_eq!((tombstone.root, tombstone.reason.as_str()), (root, "why not"));
    let transaction = Transaction::parse(tombstone.text.as_bytes()).unwrap();
    let signed = Signed::<Tombstone>::parse(&transaction).unwrap();
    assert_eq!((signed.claim.session_id, signed.key), (live.clone(), store.key.public()));
    assert!(matches!(
        get_session(&store.vault, &live),
        Err(OpError::Removed(row)) if *row == tombstone
    ));
    remove(&store, &sealed).unwrap();
    assert_eq!(count_sessions(&store.vault).unwrap().sessions, Counts::default());
    // Two tombstones with their orders and queues, what belongs to no session, and uploads, which are
    // kept for a day.
    let own = store.index.rows().into_iter().filter(|(key, _)| key[0] >= 0x50);
    let mut kinds: Vec<u8> = own.map(|(key, _)| key[0]).collect();
    kinds.dedup();
    assert_eq!(kinds, [0x58, 0x59, 0x5a, 0x60, 0x62, 0x63]);
    let listed = list_sessions(&store.vault, &SessionFilter::default(), 10, None).unwrap();
    assert!(listed.sessions.is_empty());
    store.vault.close().unwrap();
    let again = Store::open(&store.disk);
    assert_eq!(again.index.rows(), store.index.rows(), "the log says it all");
}

#[test]
fn removing_again_is_answered_as_the_first_time_and_the_id_is_not_used_again() {
    let (store, _, live) = filled();
    let first = remove(&store, &live).unwrap();
    assert_eq!(remove(&store, &live).unwrap(), first);
    let request = NewSession { id: Some(live.clone()), ..new_session(ChunkProfile::default()) };
    let refused = create_session(&store.vault, &store.locks, request).unwrap_err();
    assert!(matches!(refused, OpError::Removed(_)), "{refused}");
    let late = store.append(&live, 3_500, b"more");
    assert!(matches!(late, Err(OpError::Removed(_))));
    let unknown = "unknown".parse().unwrap();
    assert!(matches!(remove(&store, &unknown), Err(OpError::NoSession(_))));
}

#[test]
fn a_held_session_is_neither_removed_nor_begun_anew() {
    let store = Store::new();
    let id: SessionId = "s".parse().unwrap();
    let one_shot = || NewSession {
        id: Some(id.clone()),
        one_shot: true,
        ..new_session(ChunkProfile::default())
    };
    create_session(&store.vault, &store.locks, one_shot()).unwrap();
    let hold = |at, reason| hold_session(&store.vault, &store.locks, at, &id, reason).unwrap();
    hold(NOW, "a court");
    hold(NOW.plus_seconds(5), "another court");
    let refused = remove(&store, &id).unwrap_err();
    assert!(matches!(&refused, OpError::Held { reason, .. } if reason == "another court"));
    let anew = create_session(&store.vault, &store.locks, one_shot());
    assert!(matches!(anew, Err(OpError::Held { .. })));
    let rows = store.index.rows();
    hold(NOW.plus_seconds(9), "another court");
    assert_eq!(store.index.rows(), rows, "what is held so already stays as it is");
    release_session(&store.vault, &store.locks, &id).unwrap();
    release_session(&store.vault, &store.locks, &id).unwrap();
    let anew = create_session(&store.vault, &store.locks, one_shot()).unwrap();
    assert!(matches!(anew, Created::Began(_)));
    remove(&store, &id).unwrap();
    let long = "x".repeat(2_000);
    let refused = hold_session(&store.vault, &store.locks, NOW, &id, &long);
    assert!(matches!(refused, Err(OpError::Invalid(_))));
}

#[test]
fn tombstones_are_listed_page_by_page_the_last_one_first() {
    let store = Store::new();
    for number in 0..5 {
        let id = store.begin(&format!("s-{number}"), ChunkProfile::default());
        let at = NOW.plus_seconds(number);
        remove_session(&store.vault, &store.locks, &store.key, (at, None), &id, "").unwrap();
    }
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page =
            list_tombstones(&store.vault, &Sight::everything(), 2, cursor.as_deref()).unwrap();
        found.extend(page.tombstones.into_iter().map(|row| row.id.to_string()));
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(found, ["s-4", "s-3", "s-2", "s-1", "s-0"]);
}
