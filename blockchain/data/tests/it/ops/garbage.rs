//! Collecting garbage: what is in use stays, regardless of what happens beside it; what is not in use
//! goes; and nothing goes while it is not known what is in use.

use lucid_core::cut::ChunkProfile;
use lucid_core::manifest::Manifest;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::Opened;
use lucid_data_chain::anchoring::AnchorEngine;
use lucid_data_chain::fact::{Fact, Forgotten, Placed, Uploaded};
use lucid_data_chain::ops::chunks::missing_chunks::missing_chunks;
use lucid_data_chain::ops::chunks::store_chunks::store_chunks;
use lucid_data_chain::ops::proofs::verify_session::verify_session;
use lucid_data_chain::ops::sessions::add_references::add_references;
use lucid_data_chain::ops::sessions::create_session::{Created, NewSession, create_session};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::hold_session::{
    hold_session, retain_at_least, retain_session,
};
use lucid_data_chain::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use lucid_data_chain::ops::sessions::remove_session::{remove_in_its_time, remove_session};
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::ops::upkeep::begin_retention::{RetentionTime, begin_by_policy};
use lucid_data_chain::ops::upkeep::collect_garbage::{
    Garbage, GarbageRequest, GarbageStage, collect_garbage,
};
use lucid_data_chain::ops::upkeep::expire_sessions::Expired;
use lucid_data_chain::ops::upkeep::expire_uploads::expire_uploads;
use lucid_data_chain::ops::upkeep::live_chunks::{in_index, in_log};
use lucid_data_chain::ops::{Clash, OpError};
use lucid_data_chain::row::SessionName;
use lucid_data_chain::row::documents;
use lucid_store::codec::Packer;
use lucid_store::contract::index::{Change, Index as _};
use lucid_store::files::disk::Disk as _;
use lucid_store::vault::committer::Submission;

use super::chain::{Chain, deliver};
use super::store::{KEEPING, NOW, Store, new_session};
use crate::sample::{id, noise};
use crate::workers::open;

const DAY: i64 = 24 * 3_600;

/// So many days later the garbage is collected.
const LATER: i64 = 30;

fn collect(store: &Store, request: GarbageRequest) -> Result<Garbage, OpError> {
    collect_at(store, NOW.plus_seconds(LATER * DAY), None, request)
}

fn collect_at(
    store: &Store,
    now: Timestamp,
    chain: Option<&Chain>,
    request: GarbageRequest,
) -> Result<Garbage, OpError> {
    let Store { vault, locks, key, .. } = store;
    let engine = chain.map(|chain| chain as &dyn AnchorEngine);
    collect_garbage(vault, locks, key, now, engine, &request, &mut |_, _, _| true)
}

/// Anchors everything now, in a chain whose clock then goes on to when the garbage is collected.
fn anchored(store: &Store) -> Chain {
    let chain = Chain::at(1, NOW);
    deliver(store, &chain);
    chain.set_clock(NOW.plus_seconds(LATER * DAY));
    chain
}

/// Collects beside such a chain.
fn collect_beside(
    store: &Store,
    chain: &Chain,
    request: GarbageRequest,
) -> Result<Garbage, OpError> {
    collect_at(store, NOW.plus_seconds(LATER * DAY), Some(chain), request)
}

const fn keep(keep_days: u32) -> GarbageRequest {
    GarbageRequest { keep_days, keep_log_days: 0, dry_run: false, confirm: false }
}

fn remove(store: &Store, id: &SessionId) {
    let Store { vault, locks, key, .. } = store;
    remove_session(vault, locks, key, (NOW, None), id, "").unwrap();
}

fn commit(store: &Store, fact: &Fact) {
    let fact = store.vault.fact(&mut Packer::new(), fact.encode()).unwrap();
    store.vault.commit(Submission { facts: vec![fact], ..Submission::default() }).unwrap();
}

/// The same store as its next process sees it: what was asked for a moment ago is not spared any more.
fn reopened(store: Store) -> Store {
    store.vault.close().unwrap();
    Store::open(&store.disk)
}

/// A session of these chunks.
fn archive(store: &Store, session: &str, chunks: &[&[u8]]) -> SessionId {
    let id = store.begin(session, ChunkProfile::default());
    let references = store.store(chunks);
    add_references(&store.vault, &store.locks, &id, 0, references).unwrap();
    store.seal(&id);
    id
}

fn assert_sound(store: &Store) {
    let page = list_sessions(&store.vault, &SessionFilter::default(), 1_000, None).unwrap();
    for session in page.sessions {
        let verified = verify_session(&store.vault, &session.id, 1, &|_| true).unwrap();
        assert!(verified.is_sound(), "{}: {:?}", session.id, verified.faults);
    }
}

#[test]
#[cfg_attr(feature = "no-locks", ignore = "it is about who asked lately, and nobody is remembered")]
fn what_nobody_refers_to_goes_and_what_is_shared_stays() {
    let store = Store::new();
    let (own, shared, kept) = (noise(1, 400_000), noise(2, 300_000), noise(3, 200_000));
    let one = archive(&store, "one", &[&own, &shared]);
    archive(&store, "two", &[&shared, &kept]);
    assert_eq!(collect(&store, GarbageRequest::default()).unwrap().survey.dead_chunks, 0);
    remove(&store, &one);
    let spared = collect(&store, GarbageRequest::default()).unwrap();
    assert_eq!((spared.collected.chunks_removed, spared.collected.chunks_spared), (0, 1));
    let store = reopened(store);
    let rows = store.index.rows();
    let dry = GarbageRequest { dry_run: true, ..GarbageRequest::default() };
    let looked = collect(&store, dry).unwrap();
    assert_eq!((looked.survey.dead_chunks, looked.collected.chunks_removed), (1, 0));
    assert_eq!(store.index.rows(), rows, "a dry run changes nothing");
    let done = collect(&store, GarbageRequest::default()).unwrap();
    assert_eq!(done.collected.chunks_removed, 1);
    assert!(done.collected.bytes_freed > 350_000, "{done:?}");
    let ids = [id(&own), id(&shared), id(&kept)];
    assert_eq!(missing_chunks(&store.vault, &Sight::everything(), &ids).unwrap(), [id(&own)]);
    assert_sound(&store);
    // The same content is stored anew.
    archive(&store, "three", &[&own]);
    assert_sound(&store);
    let again = reopened(store);
    assert_sound(&again);
    assert_eq!(again.vault.damage(), []);
}

#[test]
fn index_and_log_agree_whatever_became_of_the_sessions() {
    let store = Store::new();
    let one_shot = || NewSession {
        id: Some("again".parse().unwrap()),
        one_shot: true,
        ..new_session(ChunkProfile::default())
    };
    create_session(&store.vault, &store.locks, one_shot()).unwrap();
    let again: SessionId = "again".parse().unwrap();
    let old = store.store(&[b"before"]);
    add_references(&store.vault, &store.locks, &again, 0, old).unwrap();
    create_session(&store.vault, &store.locks, one_shot()).unwrap();
    let new = store.store(&[b"after", b"more"]);
    add_references(&store.vault, &store.locks, &again, 0, new).unwrap();
    store.seal(&again);
    let gone = archive(&store, "gone", &[b"gone"]);
    remove(&store, &gone);
    let live = store.begin("live", ChunkProfile::fixed(1_024).unwrap());
    for (number, piece) in noise(1, 5_000).chunks(500).enumerate() {
        let offset = number as u64 * 500;
        store.append(&live, offset, piece).unwrap();
    }
    // What was sent on its own is kept for a day.
    let later = NOW.plus_seconds(DAY);
    assert_eq!(in_index(&store.vault, NOW).unwrap().len(), 2 + 4 + 2);
    let index = in_index(&store.vault, later).unwrap();
    let log = in_log(&store.vault, later, &mut |_, _| true).unwrap().unwrap();
    assert_eq!((index.not_in(&log), log.not_in(&index)), (None, None));
    assert_eq!(index.len(), 2 + 4);
    let store = reopened(store);
    let done = collect(&store, GarbageRequest::default()).unwrap();
    assert_eq!(done.collected.chunks_removed, 2, "from before, and what is gone");
    let again = reopened(store);
    assert_sound(&again);
    assert_eq!(in_index(&again.vault, later).unwrap().not_in(&index), None);
}

#[test]
fn uploads_and_chunks_that_wait_are_kept_as_long_as_they_count() {
    let store = Store::new();
    let upload = |bytes: &[u8], until: Option<i64>| {
        let chunks = store.store(&[bytes]);
        let until = until.map(|seconds| NOW.plus_seconds(seconds));
        commit(
            &store,
            &Fact::Uploaded(Uploaded { sender: None, at: NOW, until, metadata: "".into(), chunks }),
        );
    };
    upload(b"for a day", Some(DAY));
    upload(b"for a year", Some(365 * DAY));
    upload(b"until it is deleted", None);
    upload(b"deleted", None);
    commit(&store, &Fact::Forgotten(Forgotten { chunks: vec![id(b"deleted")] }));
    let session = store.begin("s", ChunkProfile::default());
    let place = |index, bytes: &[u8]| {
        let chunks = store.store(&[bytes]);
        let (session, metadata) = (session.clone(), String::new());
        let placed = Placed { session, index, at: NOW, alias: None, metadata, chunks };
        commit(&store, &Fact::Placed(placed));
    };
    place(3, b"fourth");
    place(1, b"second");
    place(0, b"first");
    let store = reopened(store);
    let done = collect(&store, GarbageRequest::default()).unwrap();
    assert_eq!(done.collected.chunks_removed, 2);
    let kept = [&b"for a year"[..], b"until it is deleted", b"fourth", b"second", b"first"];
    assert!(missing_chunks(&store.vault, &Sight::everything(), &kept.map(id)).unwrap().is_empty());
    let gone = [id(b"for a day"), id(b"deleted")];
    assert_eq!(missing_chunks(&store.vault, &Sight::everything(), &gone).unwrap(), gone);
    let again = reopened(store);
    assert_eq!(collect(&again, GarbageRequest::default()).unwrap().survey.dead_chunks, 0);
}

#[test]
fn a_condensed_log_says_the_same_as_the_whole_one() {
    let store = Store::new();
    let stream = |session: &str, seed: u64| {
        let id = store.begin(session, ChunkProfile::default());
        for (number, piece) in noise(seed, 5_000_000).chunks(250_000).enumerate() {
            let offset = number as u64 * 250_000;
            store.append_at(&id, offset, piece, Some(number as f64)).unwrap();
        }
        id
    };
    let gone = stream("gone", 1);
    stream("live", 2);
    let held = stream("held", 3);
    archive(&store, "archived", &[b"one", b"two"]);
    for reason in ["a court", "another court"] {
        hold_session(&store.vault, &store.locks, NOW, &held, reason).unwrap();
    }
    store.seal(&held);
    // The manifest that was sealed last is that of a session that is gone.
    store.seal(&gone);
    remove(&store, &gone);
    let done = collect(&store, GarbageRequest::default()).unwrap();
    assert!(done.condensed.facts_removed > 30, "{done:?}");
    assert!(done.condensed.bytes_freed > 8_000_000, "{done:?}");
    // How often something changed is not the same of fewer facts, and nothing follows from it.
    let is_own = |key: &[u8]| key[0] >= 0x40 && key != documents::changes_key();
    let own = |store: &Store| -> Vec<_> {
        store.index.rows().into_iter().filter(|(key, _)| is_own(key)).collect()
    };
    let before = own(&store);
    let again = reopened(store);
    assert_eq!(own(&again), before);
    assert_eq!(again.vault.damage(), []);
    assert_sound(&again);
    let live = "live".parse().unwrap();
    again.append_at(&live, 5_000_000, b"more", Some(60.0)).unwrap();
    again.seal(&live);
    assert_sound(&again);
}

#[test]
fn an_index_that_lacks_references_frees_nothing() {
    let store = Store::new();
    let one = archive(&store, "one", &[b"first", b"second"]);
    let name = SessionName::of(store.vault.cipher(), &one);
    let lost: Vec<Change> = vec![(name.reference_key(1), None)];
    store.index.write(lost).unwrap();
    let refused = collect(&store, GarbageRequest::default()).unwrap_err();
    assert!(refused.to_string().contains("lucid reindex"), "{refused}");
    let ids = [id(b"first"), id(b"second")];
    assert!(missing_chunks(&store.vault, &Sight::everything(), &ids).unwrap().is_empty());
}

#[test]
fn an_index_that_was_found_to_be_wrong_is_built_anew_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let gather = |opened: &Opened| {
        let Opened { vault, locks, key, .. } = opened;
        // So late that only references keep the chunks.
        let (now, request) = (NOW.plus_seconds(LATER * DAY), GarbageRequest::default());
        collect_garbage(vault, locks, key, now, None, &request, &mut |_, _, _| true)
    };
    let opened = open(folder.path());
    let Opened { vault, locks, .. } = &opened;
    let session: SessionId = "one".parse().unwrap();
    let request = NewSession { id: Some(session.clone()), ..new_session(ChunkProfile::default()) };
    create_session(vault, locks, request).unwrap();
    store_chunks(vault, KEEPING, 1, NOW, None, &[b"first", b"second"]).unwrap();
    add_references(vault, locks, &session, 0, vec![(id(b"first"), 5), (id(b"second"), 6)]).unwrap();
    let name = SessionName::of(vault.cipher(), &session);
    gather(&opened).unwrap();
    opened.vault.index().write(vec![(name.reference_key(1), None)]).unwrap();
    let refused = gather(&opened).unwrap_err();
    assert!(refused.to_string().contains("next start"), "{refused}");
    opened.vault.close().unwrap();
    drop(opened);
    let opened = open(folder.path());
    assert!(opened.vault.index().get(&name.reference_key(1)).unwrap().is_some());
    gather(&opened).unwrap();
}

#[test]
#[cfg_attr(feature = "no-locks", ignore = "it is about who asked lately, and nobody is remembered")]
fn an_upload_that_is_asked_for_again_is_not_forgotten() {
    let store = Store::new();
    store.store(&[b"asked for", b"not asked for"]);
    let store = reopened(store);
    // What comes between the look at its row and the end of it has asked first.
    assert!(
        missing_chunks(&store.vault, &Sight::everything(), &[id(b"asked for")]).unwrap().is_empty()
    );
    let later = NOW.plus_seconds(2 * DAY);
    assert_eq!(expire_uploads(&store.vault, later, false).unwrap(), 1);
    assert_eq!(expire_uploads(&store.vault, later, false).unwrap(), 0);
    let store = reopened(store);
    assert_eq!(expire_uploads(&store.vault, later, false).unwrap(), 1);
}

#[test]
fn a_chunk_is_found_by_its_place_before_it_is_a_reference() {
    let store = Store::new();
    let session = store.begin("s", ChunkProfile::default());
    let chunks = store.store(&[b"placed"]);
    commit(
        &store,
        &Fact::Placed(Placed {
            session: session.clone(),
            index: 0,
            at: NOW,
            alias: None,
            metadata: String::new(),
            chunks,
        }),
    );
    // As a reader of references sees it before the gap in front of it is filled.
    let name = SessionName::of(store.vault.cipher(), &session);
    store.index.write(vec![(name.reference_key(0), None)]).unwrap();
    assert_eq!(in_index(&store.vault, NOW.plus_seconds(2 * DAY)).unwrap().len(), 1);
}

#[test]
fn references_of_a_session_that_is_gone_are_passed_over_and_those_of_a_lost_one_are_noticed() {
    let store = Store::new();
    let one = archive(&store, "one", &[b"first"]);
    archive(&store, "two", &[b"second"]);
    let name = SessionName::of(store.vault.cipher(), &one);
    store.index.write(vec![(name.session_key(), None)]).unwrap();
    assert_eq!(in_index(&store.vault, NOW.plus_seconds(2 * DAY)).unwrap().len(), 1);
    let refused = collect(&store, GarbageRequest::default()).unwrap_err();
    assert!(refused.to_string().contains("lucid reindex"), "{refused}");
}

#[test]
#[cfg_attr(feature = "no-locks", ignore = "it is about who asked lately, and nobody is remembered")]
fn a_damaged_log_frees_nothing() {
    let store = Store::new();
    let one = archive(&store, "one", &[b"first"]);
    archive(&store, "two", &[b"second"]);
    remove(&store, &one);
    assert!(store.disk.flip("log/00000001.log", 600));
    assert!(matches!(collect(&store, GarbageRequest::default()), Err(OpError::Store(_))));
    assert!(
        missing_chunks(&store.vault, &Sight::everything(), &[id(b"first")]).unwrap().is_empty()
    );
}

/// With the fact that sealed it damaged, an archive looks like one that was broken off.
#[test]
fn an_archive_whose_seal_cannot_be_read_is_not_taken_for_one_that_was_left_behind() {
    let store = Store::new();
    let request = NewSession {
        id: Some("one".parse().unwrap()),
        one_shot: true,
        ..new_session(ChunkProfile::default())
    };
    create_session(&store.vault, &store.locks, request.clone()).unwrap();
    let one: SessionId = "one".parse().unwrap();
    let references = store.store(&[b"first", b"second"]);
    add_references(&store.vault, &store.locks, &one, 0, references).unwrap();
    store.seal(&one);
    store.vault.close().unwrap();
    let log = "log/00000001.log";
    let length = store.disk.open(log).unwrap().unwrap().length().unwrap();
    let mut open = 0;
    for at in (0..length).step_by(29) {
        let disk = store.disk.fork();
        disk.flip(log, usize::try_from(at).unwrap());
        let damaged = Store::open(&disk);
        let Ok(session) = get_session(&damaged.vault, &one) else { continue };
        open += u32::from(session.sealed.is_none());
        match collect(&damaged, GarbageRequest::default()) {
            Err(_) => {}
            Ok(garbage) => assert_eq!(garbage.expired, Expired::default(), "byte {at}"),
        }
        assert!(get_session(&damaged.vault, &one).is_ok(), "byte {at}");
        // The next process meets no damage when it starts.
        let damaged = damaged.resumed();
        if session.sealed.is_none() {
            let anew = create_session(&damaged.vault, &damaged.locks, request.clone()).unwrap_err();
            let is_named = |why: String| why.contains(log) && why.contains("choose another id");
            assert!(is_named(anew.to_string()), "byte {at}: {anew}");
        }
        drop(damaged);
        // The log is put back, and everything is there.
        disk.flip(log, usize::try_from(at).unwrap());
        let whole = Store::open(&disk);
        assert!(get_session(&whole.vault, &one).unwrap().sealed.is_some(), "byte {at}");
        assert!(
            missing_chunks(&whole.vault, &Sight::everything(), &[id(b"first")]).unwrap().is_empty()
        );
    }
    assert!(open > 3, "its seal was damaged {open} times");
}

#[test]
fn an_archive_is_begun_anew_where_only_older_facts_cannot_be_read() {
    let store = Store::new();
    archive(&store, "old", &[b"first"]);
    store.vault.close().unwrap();
    assert!(store.disk.flip("log/00000001.log", 600));
    let store = Store::open(&store.disk);
    assert_ne!(store.vault.damage(), []);
    let request = NewSession {
        id: Some("one".parse().unwrap()),
        one_shot: true,
        ..new_session(ChunkProfile::default())
    };
    for _ in 0..3 {
        let created = create_session(&store.vault, &store.locks, request.clone()).unwrap();
        assert!(matches!(created, Created::Began(_)));
    }
}

#[test]
fn old_sessions_go_by_their_anchor_and_held_ones_stay() {
    let store = Store::new();
    let held = archive(&store, "held", &[b"held"]);
    archive(&store, "old", &[b"old"]);
    hold_session(&store.vault, &store.locks, NOW, &held, "").unwrap();
    store.begin("live", ChunkProfile::default());
    let interrupted = NewSession {
        id: Some("interrupted".parse().unwrap()),
        one_shot: true,
        ..new_session(ChunkProfile::default())
    };
    create_session(&store.vault, &store.locks, interrupted.clone()).unwrap();
    let chain = anchored(&store);
    let collect = |request| collect_beside(&store, &chain, request);
    let dry = GarbageRequest { dry_run: true, ..keep(29) };
    let both = Expired { retention: 1, interrupted: 1, bytes: 3 };
    assert_eq!(collect(dry).unwrap().expired, both);
    let first = collect(keep(31)).unwrap();
    assert_eq!(first.expired, Expired { interrupted: 1, ..Expired::default() });
    // It left no trace, and may be begun again.
    create_session(&store.vault, &store.locks, interrupted).unwrap();
    let height = chain.height();
    assert_eq!(collect(keep(29)).unwrap().expired, both);
    assert_eq!(chain.height(), height + 1, "the chain was asked what time it is");
    assert_eq!(collect(keep(29)).unwrap().expired, Expired::default());
    assert_eq!(chain.height(), height + 1, "and is asked only where something would go");
    let page = list_sessions(&store.vault, &SessionFilter::default(), 10, None).unwrap();
    let mut left: Vec<String> = page.sessions.into_iter().map(|row| row.id.to_string()).collect();
    left.sort();
    assert_eq!(left, ["held", "live"]);
    assert_sound(&store);
}

/// A store whose sessions are called after the day on which each was anchored.
fn anchored_on(days: &[i64], chain: &Chain) -> Store {
    let store = Store::new();
    for day in days {
        chain.set_clock(NOW.plus_seconds(day * DAY));
        archive(&store, &format!("of-{day}"), &[format!("bytes of {day}").as_bytes()]);
        deliver(&store, chain);
    }
    store
}

fn left(store: &Store) -> Vec<String> {
    let page = list_sessions(&store.vault, &SessionFilter::default(), 10, None).unwrap();
    let mut left: Vec<String> = page.sessions.into_iter().map(|row| row.id.to_string()).collect();
    left.sort();
    left
}

#[test]
fn a_clock_that_is_ahead_ends_the_time_of_no_session() {
    let year_2099 = NOW.plus_seconds(26_700 * DAY);
    let chain = Chain::at(1, NOW);
    let store = anchored_on(&[0, 40], &chain);
    let at = |clock, chain_clock, request| {
        chain.set_clock(chain_clock);
        collect_at(&store, clock, Some(&chain), request)
    };
    let (day_50, asked) = (NOW.plus_seconds(50 * DAY), keep(30));
    // The machine's own clock in 2099: the chain is not even asked.
    let height = chain.height();
    let refused = at(year_2099, day_50, asked).unwrap_err();
    assert!(matches!(&refused, OpError::Conflict(Clash::Unclear, why) if why.contains("confirm")));
    assert_eq!((chain.height(), left(&store).len()), (height, 2));
    // The clock of the blocks' producer in 2099.
    let refused = at(NOW.plus_seconds(71 * DAY), year_2099, asked).unwrap_err();
    assert!(matches!(refused, OpError::Conflict(Clash::Unclear, _)), "{refused}");
    assert_eq!(left(&store).len(), 2);
}

#[test]
fn the_age_of_a_session_is_what_the_chain_says_whatever_the_clock_says() {
    let chain = Chain::at(1, NOW);
    let store = anchored_on(&[0, 40], &chain);
    let gather = |clock: i64, on_chain: i64| {
        chain.set_clock(NOW.plus_seconds(on_chain * DAY));
        collect_at(&store, NOW.plus_seconds(clock * DAY), Some(&chain), keep(45)).unwrap().expired
    };
    assert_eq!(gather(-20_000, 50).retention, 0, "before 1970 nothing seems old");
    assert_eq!(gather(72, 41).retention, 0, "this machine is ahead, and the chain is not");
    assert_eq!(left(&store), ["of-0", "of-40"]);
    assert_eq!(gather(50, 50).retention, 1);
    assert_eq!(left(&store), ["of-40"]);
}

#[test]
fn a_session_that_began_in_the_year_9999_by_a_wrong_clock_is_removed_in_its_time() {
    let store = Store::new();
    let year_9999 = Timestamp::parse("9999-01-01T00:00:00Z").unwrap();
    let request = |session: &str, one_shot| NewSession {
        id: Some(session.parse().unwrap()),
        started_at: year_9999,
        one_shot,
        ..new_session(ChunkProfile::default())
    };
    for (session, one_shot) in [("sealed", false), ("interrupted", true)] {
        create_session(&store.vault, &store.locks, request(session, one_shot)).unwrap();
    }
    store.seal(&"sealed".parse().unwrap());
    store_chunks(&store.vault, KEEPING, 1, year_9999, None, &[b"uploaded then"]).unwrap();
    archive(&store, "known", &[b"what the store knows of the time"]);
    let chain = anchored(&store);
    let store = reopened(store);
    let done = collect_beside(&store, &chain, keep(29)).unwrap();
    assert_eq!((done.expired.retention, done.expired.interrupted), (2, 0));
    // Whether an archive goes on that began in the future nobody knows but the user.
    assert_eq!(left(&store), ["interrupted"]);
    assert!(
        missing_chunks(&store.vault, &Sight::everything(), &[id(b"uploaded then")])
            .unwrap()
            .is_empty()
    );
    let store = reopened(store);
    let confirmed = GarbageRequest { confirm: true, ..keep(29) };
    assert_eq!(collect_beside(&store, &chain, confirmed).unwrap().expired.interrupted, 1);
    assert_eq!(
        missing_chunks(&store.vault, &Sight::everything(), &[id(b"uploaded then")]).unwrap().len(),
        1
    );
}

#[test]
fn a_clock_that_steps_ahead_ends_neither_uploads_nor_archives_that_go_on() {
    let store = Store::new();
    let request = NewSession {
        id: Some("goes-on".parse().unwrap()),
        one_shot: true,
        ..new_session(ChunkProfile::default())
    };
    create_session(&store.vault, &store.locks, request).unwrap();
    store.store(&[b"not referred to yet"]);
    let store = reopened(store);
    let year_2099 = NOW.plus_seconds(26_700 * DAY);
    let done = collect_at(&store, year_2099, None, GarbageRequest::default()).unwrap();
    assert_eq!((done.expired, done.survey.dead_bytes), (Expired::default(), 0));
    assert_eq!(left(&store), ["goes-on"]);
    assert!(
        missing_chunks(&store.vault, &Sight::everything(), &[id(b"not referred to yet")])
            .unwrap()
            .is_empty()
    );
    // After a day by a clock that can be right they go.
    let store = reopened(store);
    let done = collect_at(&store, NOW.plus_seconds(2 * DAY), None, GarbageRequest::default());
    assert_eq!(done.unwrap().expired.interrupted, 1);
    assert_eq!(
        missing_chunks(&store.vault, &Sight::everything(), &[id(b"not referred to yet")])
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn without_a_chain_nothing_is_old() {
    let store = Store::new();
    archive(&store, "never-anchored", &[b"bytes"]);
    assert_eq!(collect(&store, keep(1)).unwrap().expired, Expired::default());
    let chain = Chain::at(1, NOW);
    deliver(&store, &chain);
    let refused = collect(&store, keep(1)).unwrap_err().to_string();
    assert!(refused.contains("BLOCK_MANAGER_URL"), "{refused}");
    assert_eq!(left(&store).len(), 1);
}

#[test]
fn an_archive_that_still_comes_in_after_a_day_is_not_forgotten() {
    let store = Store::new();
    let slow = NewSession {
        id: Some("slow".parse().unwrap()),
        one_shot: true,
        ..new_session(ChunkProfile::default())
    };
    let id: SessionId = "slow".parse().unwrap();
    create_session(&store.vault, &store.locks, slow).unwrap();
    let interrupted = || {
        let done = collect_at(&store, NOW.plus_seconds(3 * DAY), None, GarbageRequest::default());
        done.unwrap().expired.interrupted
    };
    store.locks.note_news(&id, NOW.plus_seconds(3 * DAY - 3_600));
    assert_eq!(interrupted(), 0);
    store.locks.note_news(&id, NOW.plus_seconds(DAY));
    assert_eq!(interrupted(), 1);
}

/// What a killed archive leaves that nobody named an id for: nobody can begin it anew.
#[test]
fn an_archive_of_an_id_that_nobody_knows_goes_with_its_chunks_after_a_day() {
    let store = Store::new();
    let fresh = NewSession { one_shot: true, ..new_session(ChunkProfile::default()) };
    let Created::Began(row) = create_session(&store.vault, &store.locks, fresh).unwrap() else {
        panic!("it is new")
    };
    let sent = store.store(&[b"sent", b"and referred to"]);
    add_references(&store.vault, &store.locks, &row.id, 0, sent).unwrap();
    store.store(&[b"sent, and not referred to yet"]);
    let keeping = archive(&store, "kept", &[b"kept"]);
    let collect = |store: &Store, seconds| {
        let done = collect_at(store, NOW.plus_seconds(seconds), None, GarbageRequest::default());
        let done = done.unwrap();
        (done.expired.interrupted, done.collected.chunks_removed)
    };
    assert_eq!(collect(&store, DAY - 1), (0, 0));
    // What was asked for a moment ago is spared once more, which a restart forgets.
    let store = reopened(store);
    assert_eq!(collect(&store, DAY + 3_600), (1, 3));
    let left = list_sessions(&store.vault, &SessionFilter::default(), 10, None).unwrap().sessions;
    assert_eq!(left.iter().map(|row| &row.id).collect::<Vec<_>>(), [&keeping]);
    assert_sound(&store);
}

/// Where something expires, the log is read three times: before it does, and twice for what is in use.
#[test]
fn a_collection_that_is_told_to_stop_while_it_reads_the_log_does_nothing_more() {
    let store = Store::new();
    archive(&store, "old", &[b"first", b"second"]);
    let chain = anchored(&store);
    let asked = keep(29);
    let stopped_at = |step: u64| {
        let Store { vault, locks, key, .. } = &store;
        let (mut steps, now) = (0, NOW.plus_seconds(LATER * DAY));
        let engine = Some(&chain as &dyn AnchorEngine);
        let done = collect_garbage(vault, locks, key, now, engine, &asked, &mut |stage, _, _| {
            assert_eq!(stage, GarbageStage::Finding);
            steps += 1;
            steps < step
        });
        let done = done.unwrap();
        assert!(done.collected.stopped && steps == step, "{step}: {done:?}, asked {steps} times");
        done.expired.retention
    };
    let mut facts = 0;
    store
        .vault
        .facts(&mut |_| Ok(()), &mut |_, _| {
            facts += 1;
            true
        })
        .unwrap();
    for step in 1..=facts {
        assert_eq!(stopped_at(step), 0, "{step}");
    }
    assert_eq!(stopped_at(facts + 1), 1);
    // Now nothing expires any more, and what is in use is looked for.
    for step in 1..=2 * facts {
        assert_eq!(stopped_at(step), 0, "{step}");
    }
    let done = collect_beside(&reopened(store), &chain, asked).unwrap();
    assert_eq!((done.collected.stopped, done.collected.chunks_removed), (false, 2));
}

#[test]
fn over_half_of_a_large_store_does_not_expire_unconfirmed() {
    let store = Store::new();
    let old = store.begin("old", ChunkProfile::default());
    let references = store.store(&[&noise(1, 1 << 20)]).repeat(300);
    add_references(&store.vault, &store.locks, &old, 0, references).unwrap();
    store.seal(&old);
    archive(&store, "small", &[b"small"]);
    let chain = anchored(&store);
    let asked = keep(29);
    let collect = |request| collect_beside(&store, &chain, request);
    let refused = collect(asked).unwrap_err();
    assert!(refused.to_string().contains("expired sessions"), "{refused}");
    assert_sound(&store);
    let there = || list_sessions(&store.vault, &SessionFilter::default(), 10, None).unwrap();
    assert_eq!(there().sessions.len(), 2);
    let done = collect(GarbageRequest { confirm: true, ..asked }).unwrap();
    assert_eq!((done.expired.retention, done.expired.bytes), (2, (300 << 20) + 5));
    assert!(there().sessions.is_empty());
}

#[test]
fn collecting_beside_ingest_and_removal_costs_no_session_a_chunk() {
    let store = Store::new();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..3_u64 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..25_u64 {
                    // Few different chunks, so that what was collected just now comes again.
                    let chunks: Vec<_> =
                        (0..4).map(|n| noise((writer + round * n) % 7, 3_000)).collect();
                    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
                    let id = store.begin(&format!("s-{writer}-{round}"), ChunkProfile::default());
                    loop {
                        let references = store.store(&chunks);
                        let Store { vault, locks, .. } = store;
                        match add_references(vault, locks, &id, 0, references) {
                            Ok(_) => break,
                            // Collected between the upload and this: what a client does then.
                            Err(OpError::Missing(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    store.seal(&id);
                    if round % 3 > 0 {
                        remove(store, &id);
                    }
                }
            });
        }
        let (store, ended) = (&store, &ended);
        let collector = scope.spawn(move || {
            let mut removed = 0;
            while !ended.load(std::sync::atomic::Ordering::SeqCst) {
                match collect(store, GarbageRequest::default()) {
                    Ok(done) => removed += done.collected.chunks_removed,
                    Err(OpError::Unsound(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            removed
        });
        // The writers are waited for by what they leave.
        let there = || list_sessions(&store.vault, &SessionFilter::default(), 100, None).unwrap();
        while there().sessions.iter().filter(|session| session.sealed.is_some()).count() < 27 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        ended.store(true, std::sync::atomic::Ordering::SeqCst);
        collector.join().unwrap();
    });
    assert_sound(&store);
    collect(&store, GarbageRequest::default()).unwrap();
    assert_sound(&store);
    let again = reopened(store);
    assert_eq!(again.vault.damage(), []);
    assert_sound(&again);
}

/// Removes what is kept until a time, by these two clocks.
fn remove_at(
    store: &Store,
    chain: &Chain,
    id: &SessionId,
    (clock, of_chain): (Timestamp, Timestamp),
) -> Result<(), OpError> {
    let Store { vault, locks, key, .. } = store;
    chain.set_clock(of_chain);
    remove_in_its_time(vault, locks, key, Some(chain), clock, id, "").map(drop)
}

#[test]
fn what_is_kept_until_a_time_is_removed_only_when_the_chain_says_that_it_has_come() {
    let day = |day| NOW.plus_seconds(day * DAY);
    let chain = Chain::at(1, NOW);
    let store = anchored_on(&[0, 10], &chain);
    let id: SessionId = "of-0".parse().unwrap();
    let Store { vault, locks, key, .. } = &store;
    retain_session(vault, locks, &id, day(20)).unwrap();
    retain_session(vault, locks, &id, day(20)).unwrap();
    let shorter = retain_session(vault, locks, &id, day(19)).unwrap_err();
    assert!(
        matches!(&shorter, OpError::Invalid(why) if why.contains("never shortened")),
        "{shorter}"
    );
    retain_at_least(vault, locks, &id, day(5)).unwrap();
    let kept = |outcome: Result<(), OpError>| match outcome {
        Err(OpError::Retained { until, .. }) => until,
        other => panic!("{other:?}"),
    };
    let height = chain.height();
    assert_eq!(kept(remove_at(&store, &chain, &id, (day(19), day(19)))), day(20));
    assert_eq!(
        chain.height(),
        height,
        "the chain is asked only where the clock says that it is worth while"
    );
    // Neither clock ends it alone: neither the service's, nor the producer's in front of it.
    kept(remove_at(&store, &chain, &id, (day(21), day(19))));
    kept(remove_at(&store, &chain, &id, (day(19), day(21))));
    let alone = remove_in_its_time(vault, locks, key, None, day(21), &id, "").map(drop);
    kept(alone);
    // What is old enough to go stays, and is not even counted.
    chain.set_clock(day(19));
    let aged = collect_at(&store, day(19), Some(&chain), keep(1)).unwrap();
    assert_eq!((aged.expired.retention, left(&store)), (1, vec!["of-0".to_owned()]));
    // A restart knows it.
    let store = reopened(store);
    kept(remove_at(&store, &chain, &id, (day(19), day(19))));
    let Store { vault, locks, .. } = &store;
    archive(&store, "later", &[b"later"]);
    chain.set_clock(day(20));
    deliver(&store, &chain);
    retain_session(vault, locks, &id, day(22)).unwrap();
    kept(remove_at(&store, &chain, &id, (day(21), day(21))));
    remove_at(&store, &chain, &id, (day(22), day(22))).unwrap();
    assert_eq!(left(&store), ["later"]);
    assert_sound(&store);
}

#[test]
fn the_chain_is_asked_for_a_policy_and_a_clock_that_is_far_ahead_is_confirmed_for_ages_alone() {
    let day = |day| NOW.plus_seconds(day * DAY);
    let chain = Chain::at(1, NOW);
    let store = anchored_on(&[0, 10], &chain);
    let ask = |(clock, of_chain): (i64, i64), confirm| {
        chain.set_clock(day(of_chain));
        begin_by_policy(&store.vault, &store.key, Some(&chain), day(clock), confirm)
    };
    let height = chain.height();
    let near = ask((12, 11), false).unwrap();
    assert_eq!(near, RetentionTime { now: day(11), ends_retention: true });
    assert_eq!(chain.height(), height + 1);
    // The service's clock, for which no block is made; then the producer's.
    for (clocks, blocks) in [((43, 12), 0), ((13, 43), 1)] {
        let height = chain.height();
        let refused = ask(clocks, false).unwrap_err();
        assert!(matches!(refused, OpError::Conflict(Clash::Unclear, _)), "{refused}");
        assert_eq!(chain.height(), height + blocks);
    }
    let far = ask((43, 44), true).unwrap();
    assert_eq!(far, RetentionTime { now: day(44), ends_retention: false });
    let none = begin_by_policy(&store.vault, &store.key, None, day(12), true).unwrap_err();
    assert!(none.to_string().contains("set BLOCK_MANAGER_URL"), "{none}");
}

#[test]
fn a_clock_that_is_far_ahead_ends_no_time_until_which_a_session_is_kept() {
    let day = |day| NOW.plus_seconds(day * DAY);
    let chain = Chain::at(1, NOW);
    let store = anchored_on(&[0], &chain);
    let id: SessionId = "of-0".parse().unwrap();
    retain_session(&store.vault, &store.locks, &id, day(20)).unwrap();
    let height = chain.height();
    // The service's; the chain is not even asked. Then the producer's. Then both, and somebody says that they are
    // right.
    for clocks in [(day(50), day(21)), (day(21), day(50))] {
        let refused = remove_at(&store, &chain, &id, clocks).unwrap_err();
        assert!(matches!(&refused, OpError::Retained { .. }), "{refused}");
    }
    assert_eq!(chain.height(), height + 1);
    let confirmed = GarbageRequest { confirm: true, ..keep(1) };
    let done = collect_at(&store, day(60), Some(&chain), confirmed).unwrap();
    assert_eq!((done.expired.retention, left(&store).len()), (0, 1));
}

#[test]
fn a_time_that_is_said_at_the_beginning_stands_in_the_manifest_and_is_in_no_ones_way() {
    let store = Store::new();
    let Store { vault, locks, .. } = &store;
    let until = NOW.plus_seconds(40 * DAY);
    let wanted = NewSession {
        id: Some("kept".parse().unwrap()),
        one_shot: true,
        retain_until: Some(until),
        ..new_session(ChunkProfile::default())
    };
    create_session(vault, locks, wanted.clone()).unwrap();
    // An archive that was interrupted is kept, too, and may be begun anew, with an earlier time as well.
    assert_eq!(collect(&store, GarbageRequest::default()).unwrap().expired, Expired::default());
    let earlier = NewSession { retain_until: Some(NOW), ..wanted.clone() };
    assert!(matches!(create_session(vault, locks, earlier.clone()).unwrap(), Created::Began(_)));
    let id = "kept".parse().unwrap();
    let references = store.store(&[b"content"]);
    add_references(vault, locks, &id, 0, references).unwrap();
    store.seal(&id);
    let again = create_session(vault, locks, earlier).unwrap();
    assert!(matches!(again, Created::Existed(_)), "{again:?}");
    let name = SessionName::of(vault.cipher(), &id);
    let manifest = vault.index().get(&name.manifest_key()).unwrap().unwrap();
    let manifest = vault.cipher().decrypt_value(&name.manifest_key(), manifest).unwrap();
    let manifest = Manifest::parse(&manifest).unwrap();
    assert_eq!(manifest.retain_until, Some(until));
}
