//! Ops that overtake each other, without any locks: one is interrupted at each of its looks at the index in
//! turn, and another one is done from beginning to end in between. What comes of each pair is what one
//! order of the two would have made.

mod snapshots;

use std::collections::HashSet;
use std::sync::Arc;

use lucid_core::block::Block;
use lucid_core::cut::ChunkProfile;
use lucid_core::manifest::Manifest;
use lucid_core::session::SessionId;
use lucid_core::sign::SigningKey;
use lucid_core::transaction::Transaction;
use lucid_data_chain::document::DocumentKind;
use lucid_data_chain::fact::{Fact, Forgotten};
use lucid_data_chain::opened::SessionLocks;
use lucid_data_chain::ops::Clash;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::chunks::delete_chunk::delete_chunk;
use lucid_data_chain::ops::chunks::put_chunk::{Bounds, PutChunk, put_chunk};
use lucid_data_chain::ops::documents::index_items::{Item, index_items, queue_items};
use lucid_data_chain::ops::documents::store_document::{StoreDocumentError, store_document};
use lucid_data_chain::ops::sessions::add_references::add_references;
use lucid_data_chain::ops::sessions::create_session::{Created, NewSession, create_session};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::hold_session::{hold_session, release_session};
use lucid_data_chain::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use lucid_data_chain::ops::sessions::remove_session::remove_session;
use lucid_data_chain::ops::sessions::seal_session::{SealRequest, seal_session};
use lucid_data_chain::ops::upkeep::collect_garbage::{GarbageRequest, collect_garbage};
use lucid_data_chain::ops::upkeep::expire_uploads::expire_uploads;
use lucid_data_chain::ops::upkeep::optimise::optimise;
use lucid_data_chain::row::{self, SessionName};
use lucid_store::codec::Packer;
use lucid_store::crypt::Cipher;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::memory::blobs::MemoryBlobs;
use lucid_store::memory::fact_log::{Ending, MemoryLog};
use lucid_store::memory::meddled::MeddledIndex;

use super::store::{KEEPING, NOW, Store, moment, new_session};
use crate::sample::{id, noise};

/// When garbage is collected, and uploads expire.
const LATER: i64 = 30 * 24 * 3_600;

/// What an op says when it has done something that only one of two can have done.
type Op = fn(&Store) -> Result<(), OpError>;

fn session(name: &str) -> SessionId {
    name.parse().unwrap()
}

/// `live` is a stream of 100 bytes, `open` has one chunk, `done` is sealed; `lone` is an upload that nobody
/// keeps any more, `kept` one that stays until a client deletes it.
fn prepare(store: &Store) {
    let profile = ChunkProfile::fixed(1_024).unwrap();
    for name in ["live", "open", "done"] {
        store.begin(name, profile);
    }
    store.append(&session("live"), 0, &noise(1, 100)).unwrap();
    for (name, seed) in [("open", 2), ("done", 3)] {
        let chunks = store.store(&[&noise(seed, 500)]);
        let Store { vault, locks, .. } = store;
        add_references(vault, locks, &session(name), 0, chunks).unwrap();
    }
    store.seal(&session("done"));
    store.store(&[&noise(4, 700)]);
    put(store, PutChunk::default(), &noise(5, 600)).unwrap();
}

fn put(store: &Store, wanted: PutChunk, bytes: &[u8]) -> Result<(), OpError> {
    let profile = ChunkProfile::fixed(1_024).unwrap();
    let bounds =
        Bounds { most: 10_000, split_over: 1_024, splits: true, profile, own_copies: false };
    let Store { vault, locks, .. } = store;
    put_chunk(vault, locks, KEEPING, &bounds, NOW, &wanted, bytes).map(drop)
}

fn begin(store: &Store, user: &str) -> Result<(), OpError> {
    let Store { vault, locks, .. } = store;
    let profile = ChunkProfile::fixed(1_024).unwrap();
    let new = NewSession { id: Some(session("new")), user: user.into(), ..new_session(profile) };
    let (Created::Began(row) | Created::Existed(row)) = create_session(vault, locks, new)?;
    assert_eq!(row.user, user, "another user's session is no session of this one");
    Ok(())
}

fn seal(store: &Store, name: &str) -> Result<(), OpError> {
    let Store { vault, locks, key, .. } = store;
    let request = SealRequest::default();
    seal_session(vault, locks, key, KEEPING, moment(NOW), &session(name), &request).map(drop)
}

fn remove(store: &Store, name: &str) -> Result<(), OpError> {
    let Store { vault, locks, key, .. } = store;
    remove_session(vault, locks, key, (NOW, None), &session(name), "").map(drop)
}

fn put_at(store: &Store, seed: u64) -> Result<(), OpError> {
    let wanted = PutChunk { session: Some(session("open")), index: Some(1), ..PutChunk::default() };
    put(store, wanted, &noise(seed, 300))
}

fn post(store: &Store, kind: DocumentKind, text: &str) -> Result<(), OpError> {
    match store_document(&store.vault, NOW, kind, text) {
        Ok(_) => Ok(()),
        Err(StoreDocumentError::Op(error)) => Err(error),
        Err(error) => Err(OpError::Conflict(Clash::Exists, error.to_string())),
    }
}

/// A first block, and another one.
fn post_block(store: &Store, seconds: i64) -> Result<(), OpError> {
    let key = SigningKey::from_seed([5; 32]);
    let transaction = Transaction::parse(br#"{"id": "t", "type": "data_storage"}"#).unwrap();
    let block = Block::build(None, vec![transaction], NOW.plus_seconds(seconds), &key);
    post(store, DocumentKind::Block, &block.to_json_text())
}

const OPS: [(&str, Op); 22] = [
    ("describe new", |store| {
        post(store, DocumentKind::Session, r#"{"id": "new", "status": "a", "user_id": "ann"}"#)
    }),
    ("describe new otherwise", |store| {
        post(store, DocumentKind::Session, r#"{"id": "new", "status": "b"}"#)
    }),
    ("store a block", |store| post_block(store, 0)),
    ("store another block", |store| post_block(store, 1)),
    ("queue, and index", |store| {
        let items = Item::read_all(r#"{"type": "session", "id": "new"}"#).unwrap();
        queue_items(&store.vault, NOW, &items)?;
        index_items(&store.vault, NOW, 10).map(drop)
    }),
    ("append x", |store| store.append(&session("live"), 100, &noise(6, 50)).map(drop)),
    ("append y, and cut", |store| store.append(&session("live"), 100, &noise(7, 2_000)).map(drop)),
    ("seal live", |store| seal(store, "live")),
    ("seal open", |store| seal(store, "open")),
    ("remove live", |store| remove(store, "live")),
    ("remove open", |store| remove(store, "open")),
    ("hold open", |store| {
        hold_session(&store.vault, &store.locks, NOW, &session("open"), "why").map(drop)
    }),
    ("release open", |store| {
        release_session(&store.vault, &store.locks, &session("open")).map(drop)
    }),
    ("refer to lone", |store| {
        let chunk = (id(&noise(4, 700)), 700);
        add_references(&store.vault, &store.locks, &session("open"), 1, vec![chunk]).map(drop)
    }),
    ("put at 1", |store| put_at(store, 8)),
    ("put another at 1", |store| put_at(store, 9)),
    ("begin for ann", |store| begin(store, "ann")),
    ("begin for bob", |store| begin(store, "bob")),
    ("upload lone for good", |store| put(store, PutChunk::default(), &noise(4, 700))),
    ("delete kept", |store| delete_chunk(&store.vault, &id(&noise(5, 600)).to_string(), None, NOW)),
    ("collect", |store| {
        let Store { vault, locks, key, .. } = store;
        let later = NOW.plus_seconds(LATER);
        expire_uploads(vault, later, false)?;
        let request = GarbageRequest { confirm: true, ..GarbageRequest::default() };
        collect_garbage(vault, locks, key, later, None, &request, &mut |_, _, _| true).map(drop)
    }),
    ("optimise", |store| optimise(&store.vault, 3, 1, true, &mut |_, _| true).map(drop)),
];

/// Pairs of which one at most can succeed, in either order.
const EXCLUSIVE: [(&str, &str); 6] = [
    ("store a block", "store another block"),
    ("append x", "append y, and cut"),
    ("hold open", "remove open"),
    ("refer to lone", "put another at 1"),
    ("put at 1", "put another at 1"),
    ("begin for ann", "begin for bob"),
];

/// What may be done twice, and is answered as the first time.
const TWICE: [&str; 9] = [
    "describe new",
    "store a block",
    "queue, and index",
    "seal live",
    "seal open",
    "hold open",
    "put at 1",
    "begin for ann",
    "upload lone for good",
];

/// What must be true however the ops came together.
fn check(store: &Store, what: &str) {
    let mut packer = Packer::new();
    let (index, cipher) = (store.vault.index(), store.vault.cipher());
    let mut followed = HashSet::new();
    for found in list_sessions(&store.vault, &SessionFilter::default(), 100, None).unwrap().sessions
    {
        let session = get_session(&store.vault, &found.id).unwrap();
        assert!(!session.has_gap && !session.tail_gap, "{what}: {} has a gap", session.id);
        let name = SessionName::of(cipher, &session.id);
        let references = row::references(index, cipher, &name, 0, 100).unwrap();
        assert_eq!(references.len() as u64, session.chunk_count(), "{what}: {}", session.id);
        for reference in references {
            let read = store.vault.read_chunk(&mut packer, &reference.chunk).unwrap();
            assert!(read.is_some(), "{what}: a chunk of {} is gone", session.id);
        }
        if let Some(text) = index.get(&name.manifest_key()).unwrap() {
            let manifest =
                Manifest::parse(&cipher.decrypt_value(&name.manifest_key(), text).unwrap());
            let previous = manifest.unwrap().previous_manifest;
            assert!(followed.insert(previous), "{what}: two manifests follow one");
        }
    }
}

/// The log alone, gone through anew, says what the index says.
fn check_log(store: &Store, what: &str) {
    let again = Store::open(&store.disk);
    assert!(again.index.rows() == store.index.rows(), "{what}: the log says otherwise");
}

/// Interrupts one op at one of its looks; `None` once it does not look so often.
fn race(first: Op, second: Op, look: usize) -> Option<(bool, bool, Arc<Store>)> {
    let disk = SimulatedDisk::new();
    let meddled = Arc::new(MeddledIndex::default());
    let (index, through) = (meddled.index().clone(), meddled.clone());
    let key = SigningKey::from_seed([1; 32]);
    let over = Arc::new(disk.clone());
    let locks = SessionLocks::none();
    let store = Arc::new(Store::open_with(&disk, over, key, (index, through), locks));
    prepare(&store);
    let theirs = store.clone();
    let (done, second) =
        meddled.interrupt(look, || first(&store).is_ok(), move || second(&theirs).is_ok())?;
    Some((done, second, store))
}

#[test]
fn whatever_overtakes_whatever_what_comes_of_it_is_what_one_order_makes() {
    let mut races = 0;
    for (first_name, first) in OPS {
        for (second_name, second) in OPS {
            // An op that looks often is interrupted at some of its later looks only.
            let mut look = 0;
            while let Some((done, other, store)) = race(first, second, look) {
                let what = format!("{first_name}, interrupted at look {look} by {second_name}");
                check(&store, &what);
                check_log(&store, &what);
                judge((first_name, done), (second_name, other), &what);
                races += 1;
                look += 1 + look / 8;
            }
        }
    }
    assert!(races > 1_000, "{races}");
}

/// Whether two ops may have ended so.
fn judge((first, done): (&str, bool), (second, other): (&str, bool), what: &str) {
    let is_pair = |(a, b): &(&str, &str)| [(*a, *b), (*b, *a)].contains(&(first, second));
    let is_exclusive = EXCLUSIVE.iter().any(is_pair);
    assert!(!(is_exclusive && done && other), "{what}: both succeeded");
    if first == second && TWICE.contains(&first) {
        assert!(done && other, "{what}: one of them failed");
    }
}

/// Two stores over one log: each has an index, and a point of decision, of its own.
struct Twins {
    log: Arc<MemoryLog>,
    blobs: Arc<MemoryBlobs>,
    first: Store,
    second: Arc<Store>,
    /// What the first looks at, and the second.
    looks: [Arc<MeddledIndex>; 2],
}

impl Twins {
    fn new() -> Self {
        let (log, blobs) = (Arc::new(MemoryLog::new()), Arc::new(MemoryBlobs::new()));
        let looks = [Arc::default(), Arc::default()];
        let first = Self::open(&log, &blobs, &looks[0]);
        prepare(&first);
        let second = Arc::new(Self::open(&log, &blobs, &looks[1]));
        Self { log, blobs, first, second, looks }
    }

    fn open(log: &Arc<MemoryLog>, blobs: &Arc<MemoryBlobs>, look: &Arc<MeddledIndex>) -> Store {
        Store::open_shared(log, blobs, (look.index().clone(), look.clone()))
    }

    /// Interrupts an op of the first at one of its looks by one of the second, which knows nothing of it.
    fn race(&self, first: Op, second: Op, look: usize) -> Option<(bool, bool)> {
        let theirs = self.second.clone();
        let second = move || second(&theirs).is_ok();
        self.looks[0].interrupt(look, || first(&self.first).is_ok(), second)
    }

    /// Both stores, and a third that is opened later, have the same rows once they have followed the log;
    /// and had the same at every place of it, unless units went that were there then.
    fn agree(&self, units_went: bool, what: &str) {
        self.first.vault.catch_up().unwrap();
        self.second.vault.catch_up().unwrap();
        let later = Arc::default();
        let third = Self::open(&self.log, &self.blobs, &later);
        for (which, store) in [("first", &self.first), ("second", &self.second)] {
            let (rows, of_third) = (store.index.rows(), third.index.rows());
            let differs = |(key, value): &(&Vec<u8>, &Vec<u8>)| rows.get(*key) != Some(*value);
            let other = of_third.iter().find(differs).map(|(key, _)| key);
            let more = rows.keys().find(|key| !of_third.contains_key(*key));
            assert_eq!((other, more), (None, None), "{what}: the {which} differs at these rows");
        }
        if units_went {
            return;
        }
        for look in &self.looks {
            let (seen, of_third) = (look.seen(), later.seen());
            assert!(of_third.len() >= self.log.commits(), "{what}: some places were passed over");
            for (at, rows) in &of_third {
                // One goes on from where it was opened.
                let same = seen.get(at).is_none_or(|seen| seen == rows);
                assert!(same, "{what}: the rows at {at:?} differ");
            }
        }
    }
}

#[test]
fn two_stores_over_one_log_decide_as_one_does() {
    let mut races = 0;
    for (first_name, first) in OPS {
        for (second_name, second) in OPS {
            let mut look = 0;
            loop {
                let twins = Twins::new();
                let Some((done, other)) = twins.race(first, second, look) else { break };
                let what = format!("{first_name}, at look {look}, and {second_name} elsewhere");
                let goes = |name| ["collect", "optimise"].contains(&name);
                twins.agree(goes(first_name) || goes(second_name), &what);
                check(&twins.first, &what);
                check(&twins.second, &what);
                judge((first_name, done), (second_name, other), &what);
                races += 1;
                look += 1 + look / 4;
            }
        }
    }
    assert!(races > 800, "{races}");
}

/// A store that is always overtaken answers all the same, and what it answers is so.
#[test]
fn a_store_that_is_overtaken_before_each_of_its_commits_goes_on() {
    let twins = Twins::new();
    let cipher = Cipher::new(None);
    for number in 0..20_u8 {
        // What it commits is a fact that says nothing.
        let nothing = Fact::Forgotten(Forgotten { chunks: Vec::new() }).encode();
        let fact = cipher.fact_record(&mut Packer::new(), &nothing).unwrap();
        twins.log.be_faster(vec![fact]);
        let before = twins.log.commits();
        let bytes = [number; 10];
        twins.first.append(&session("live"), 100 + 10 * u64::from(number), &bytes).unwrap();
        assert_eq!(twins.log.commits(), before + 2);
    }
    assert_eq!(get_session(&twins.first.vault, &session("live")).unwrap().offset(), 300);
    twins.agree(false, "overtaken each time");
}

/// An answer that is lost is no answer: a caller that asks again finds out, and nothing is there twice.
#[test]
fn a_commit_of_which_no_answer_came_is_there_once_or_not_at_all() {
    for (ending, length) in [(Ending::Unheard, 150), (Ending::Lost, 100), (Ending::Refused, 100)] {
        let twins = Twins::new();
        twins.log.end_next(ending);
        let first = twins.first.append(&session("live"), 100, &noise(6, 50)).unwrap_err();
        assert_eq!(first.maybe_applied(), ending != Ending::Refused, "{ending:?}: {first}");
        twins.first.vault.catch_up().unwrap();
        let there = get_session(&twins.first.vault, &session("live")).unwrap().offset();
        assert_eq!(there, length, "{ending:?}");
        let again = twins.first.append(&session("live"), there, &noise(7, 30)).unwrap();
        assert_eq!(again.offset, there + 30);
        twins.agree(false, "after an answer that was lost");
    }
}
