//! The life of sessions: what is refused, what may be repeated, what the counts say.

use lucid_core::cut::ChunkProfile;
use lucid_core::manifest::Manifest;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::proofs::prove_session::{manifest_text, named};
use lucid_data_chain::ops::sessions::add_references::{add_foreign_references, add_references};
use lucid_data_chain::ops::sessions::count_sessions::count_sessions;
use lucid_data_chain::ops::sessions::create_session::{Created, NewSession, create_session};
use lucid_data_chain::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use lucid_data_chain::ops::sessions::read_session::StoredSession;
use lucid_data_chain::ops::sessions::seal_session::{SealRequest, seal_session};
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::row::Counts;
use lucid_data_chain::source::SessionSource as _;

use super::store::{KEEPING, NOW, Store, moment, new_session};
use crate::sample::noise;

fn one_shot(id: &SessionId) -> NewSession {
    NewSession {
        id: Some(id.clone()),
        one_shot: true,
        ..new_session(ChunkProfile::fixed(1_024).unwrap())
    }
}

#[test]
fn an_interrupted_archive_is_begun_anew_and_its_chunks_stay_known() {
    let store = Store::new();
    let id: SessionId = "s".parse().unwrap();
    let begin = || create_session(&store.vault, &store.locks, one_shot(&id)).unwrap();
    assert!(matches!(begin(), Created::Began(_)));
    let content = noise(1, 3_000);
    let references = store.store(&[&content]);
    add_references(&store.vault, &store.locks, &id, 0, references.clone()).unwrap();
    let Created::Began(row) = begin() else { panic!("it was not begun anew") };
    assert_eq!((row.chunk_count(), row.offset()), (0, 0));
    let source = StoredSession::open(&store.vault, &id).unwrap();
    assert!(source.references(0, 10).unwrap().is_empty());
    assert_eq!(count_sessions(&store.vault).unwrap().sessions.references, 0);
    add_references(&store.vault, &store.locks, &id, 0, references).unwrap();
    store.seal(&id);
    // What is sealed is not begun anew.
    assert!(matches!(begin(), Created::Existed(row) if row.sealed.is_some()));
}

#[test]
fn a_stream_that_is_begun_anew_leaves_no_tail_behind() {
    let store = Store::new();
    let id: SessionId = "s".parse().unwrap();
    create_session(&store.vault, &store.locks, one_shot(&id)).unwrap();
    store.append(&id, 0, &noise(1, 1_500)).unwrap();
    store.append(&id, 1_500, &noise(2, 100)).unwrap();
    create_session(&store.vault, &store.locks, one_shot(&id)).unwrap();
    let fresh = noise(3, 600);
    store.append(&id, 0, &fresh).unwrap();
    let source = StoredSession::open_live(&store.vault, &store.locks, &id).unwrap();
    assert_eq!(source.tail(0..source.tail_bytes()).unwrap(), fresh.as_slice());
    assert_eq!(count_sessions(&store.vault).unwrap().sessions.bytes, 600);
}

#[test]
fn references_and_bytes_do_not_mix_in_a_stream() {
    let store = Store::new();
    let id = store.begin("s", ChunkProfile::default());
    store.append(&id, 0, b"tail").unwrap();
    let references = store.store(&[b"chunk"]);
    let refused = add_references(&store.vault, &store.locks, &id, 0, references);
    assert!(matches!(refused, Err(OpError::Conflict(..))));
}

#[test]
fn lengths_from_outside_are_held_against_the_chunks() {
    let store = Store::new();
    let id = store.begin("s", ChunkProfile::default());
    let [(chunk, length)] = store.store(&[b"chunk"])[..] else { panic!("one was stored") };
    let add = |chunks| {
        add_foreign_references(
            &store.vault,
            &store.locks,
            KEEPING,
            &Sight::everything(),
            &id,
            0,
            chunks,
        )
    };
    assert!(matches!(add(vec![(chunk, length + 1)]), Err(OpError::Invalid(_))));
    let unknown = crate::sample::id(b"unknown");
    let refused = add(vec![(unknown, 3), (chunk, length), (unknown, 3)]);
    assert!(matches!(refused, Err(OpError::Missing(ids)) if ids == [unknown]));
    assert_eq!(add(vec![(chunk, length)]).unwrap().next_index, 1);
}

#[test]
fn sealing_again_changes_nothing() {
    let store = Store::new();
    let id = store.begin("s", ChunkProfile::default());
    store.append(&id, 0, b"some bytes").unwrap();
    let first = store.seal(&id);
    let rows = store.index.rows();
    let again = store.seal(&id);
    assert_eq!((&first.sealed, first.root()), (&again.sealed, again.root()));
    assert_eq!(store.index.rows(), rows);
    let other = SealRequest { expected_chunk_count: Some(9), ..SealRequest::default() };
    let refused =
        seal_session(&store.vault, &store.locks, &store.key, KEEPING, moment(NOW), &id, &other);
    assert!(matches!(refused, Err(OpError::Conflict(..))));
}

#[test]
fn each_manifest_names_the_one_before() {
    let store = Store::new();
    let mut before = None;
    for number in 0..3 {
        let id = store.begin(&format!("s-{number}"), ChunkProfile::default());
        let sealed = store.seal(&id);
        let (name, _) = named(&store.vault, &id).unwrap();
        let text = manifest_text(&store.vault, &name).unwrap();
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.previous_manifest, before);
        before = Some(sealed.sealed.unwrap().manifest_hash);
    }
}

#[test]
fn counts_follow_every_fact_and_are_found_again_in_the_log() {
    let store = Store::new();
    let streamed = store.begin("streamed", ChunkProfile::fixed(1_024).unwrap());
    for number in 0..5 {
        let piece = noise(number, 700);
        store.append(&streamed, number * 700, &piece).unwrap();
    }
    let archived = store.begin("archived", ChunkProfile::default());
    let references = store.store(&[b"one", b"three"]);
    add_references(&store.vault, &store.locks, &archived, 0, references).unwrap();
    store.seal(&streamed);
    let wanted = Counts {
        sessions: 2,
        sealed: 1,
        references: 4 + 2,
        bytes: 3_508,
        unique: 4 + 2,
        unique_bytes: 3_508,
        chunk_bytes: 3_508,
        ..Counts::default()
    };
    let counted = count_sessions(&store.vault).unwrap();
    assert_eq!(counted.sessions, wanted);
    assert!(counted.stored_bytes > 3_508);
    store.vault.close().unwrap();
    let again = Store::open(&store.disk);
    assert_eq!(count_sessions(&again.vault).unwrap().sessions, wanted);
    assert_eq!(again.index.rows(), store.index.rows(), "the log says it all");
}

#[test]
fn a_rare_filter_gives_short_pages_and_finds_everything() {
    let store = Store::new();
    for number in 0..600 {
        let id: SessionId = format!("s-{number}").parse().unwrap();
        let user = if number % 299 == 7 { "rare" } else { "common" };
        let request = NewSession {
            id: Some(id),
            user: user.into(),
            started_at: NOW.plus_seconds(number),
            ..new_session(ChunkProfile::default())
        };
        create_session(&store.vault, &store.locks, request).unwrap();
    }
    let filter = SessionFilter { user: Some("rare".into()), ..SessionFilter::default() };
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = list_sessions(&store.vault, &filter, 1, cursor.as_deref()).unwrap();
        assert!(page.sessions.len() <= 1);
        found.extend(page.sessions.into_iter().map(|row| row.id.to_string()));
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(found, ["s-306", "s-7"]);
    let odd = list_sessions(&store.vault, &filter, 1, Some(b"\0"));
    assert!(matches!(odd, Err(OpError::Invalid(_))), "a cursor that is none is no end");
}
