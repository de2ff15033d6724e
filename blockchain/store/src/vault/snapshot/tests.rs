//! Snapshots of a log in memory that copies share, and what ends while one is made.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use lucid_core::digest::{ChunkId, ChunkName};
use lucid_core::time::Timestamp;

use super::*;
use crate::codec::Compression;
use crate::contract::index::{Changes, Project};
use crate::crypt::Cipher;
use crate::memory::blobs::MemoryBlobs;
use crate::memory::fact_log::{Ending, MemoryLog};
use crate::memory::faulty::{FaultyIndex, IndexCall};
use crate::memory::index::MemoryIndex;
use crate::vault::Elsewhere;
use crate::vault::collect::Names;

/// A fact is a key and a value; of two with one key the later one counts.
struct Values;

impl Project for Values {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, fact: &[u8], changes: &mut Changes<'_>) -> Result<(), StoreError> {
        changes.put(vec![0x40, fact[1]], fact[2..].to_vec());
        Ok(())
    }
}

fn matters(index: &dyn Index, fact: &[u8]) -> Result<bool, StoreError> {
    Ok(index.get(&[0x40, fact[1]])?.as_deref() == Some(&fact[2..]))
}

#[derive(Clone, Default)]
struct Shared {
    log: Arc<MemoryLog>,
    blobs: MemoryBlobs,
}

impl Shared {
    fn of(&self, index: Arc<dyn Index>) -> Elsewhere {
        Elsewhere {
            log: self.log.clone(),
            blobs: Arc::new(self.blobs.clone()),
            start: MemoryLog::start(),
            cipher: Arc::new(Cipher::new(None)),
            index,
            project: Arc::new(Values),
        }
    }

    fn open(&self, index: &Arc<MemoryIndex>) -> Result<Vault, StoreError> {
        Vault::open_elsewhere(self.of(index.clone()))
    }

    /// A copy that starts with nothing, and its rows.
    fn anew(&self) -> (Vault, Arc<MemoryIndex>) {
        let index = Arc::default();
        (self.open(&index).unwrap(), index)
    }

    /// What is wrong with a copy that starts with nothing, which has the rows of this one if nothing is.
    fn differs(&self, from: &MemoryIndex) -> bool {
        let (vault, index) = self.anew();
        let digests = [index.as_ref(), from]
            .map(|index| rows::digest(index, vault.cipher(), &vault.projection).unwrap());
        let places = [index.as_ref(), from].map(|index| Position::of(index).unwrap());
        digests[0] != digests[1] || places[0] != places[1]
    }
}

fn keep(vault: &Vault, key: u8, value: &str) {
    let fact = [&[0x10, key], value.as_bytes()].concat();
    let facts = vec![vault.fact(&mut Packer::new(), fact).unwrap()];
    vault.commit(Submission { facts, ..Submission::default() }).unwrap();
}

fn keep_chunks(vault: &Vault, chunks: &[u8]) {
    let chunks = chunks.iter().map(|number| chunk(*number).1).collect();
    vault.commit(Submission { chunks, ..Submission::default() }).unwrap();
}

fn chunk(number: u8) -> (ChunkName, Record) {
    let (cipher, bytes) = (Cipher::new(None), [number; 40]);
    let id = ChunkId::from(blake3::hash(&bytes));
    let (name, how) = (cipher.chunk_name(&id), Compression::None);
    (name, cipher.chunk_record(&mut Packer::new(), how, false, &id, &bytes).unwrap())
}

fn has(vault: &Vault, number: u8) -> bool {
    let id = ChunkId::from(blake3::hash(&[number; 40]));
    vault.read_chunk(&mut Packer::new(), &id).unwrap().is_some()
}

fn try_snapshot(vault: &Vault) -> Result<Snapped, StoreError> {
    vault.snapshot(Snapshotting {
        matters: &matters,
        scratch: Arc::new(MemoryIndex::new()),
        least: 1,
        step: &mut |_, _| true,
    })
}

fn snapshot(vault: &Vault) -> Snapped {
    try_snapshot(vault).unwrap()
}

#[test]
fn a_copy_that_starts_with_nothing_comes_to_the_same_rows_from_a_snapshot_alone() {
    let shared = Shared::default();
    let (vault, index) = shared.anew();
    assert_eq!(snapshot(&vault), Snapped::default(), "of nothing");
    for round in 0..5_u8 {
        for key in 0..40 {
            keep(&vault, key, &format!("value {key} of round {round}"));
        }
        keep_chunks(&vault, &[round, round + 1]);
        let done = snapshot(&vault);
        assert_eq!(done.number, u64::from(round) + 1);
        // All values of the round before are others now, and so are all pieces.
        assert!(done.pieces_written > 1 && done.facts_left_out >= u64::from(round.min(1)) * 40);
        assert!(!shared.differs(&index), "{round}");
    }
    let kept = shared.log.kept().unwrap();
    assert_eq!(kept.iter().map(|one| one.number).collect::<Vec<_>>(), [5, 4]);
    // What is hollow is what the snapshot before the newest has.
    assert_eq!(shared.log.hollow_commits() as u64, kept[1].place.n);
    let (vault, _) = shared.anew();
    assert!((0..6).all(|number| has(&vault, number)));
    let mut facts = 0;
    let all = vault
        .facts(
            &mut |_| {
                facts += 1;
                Ok(())
            },
            &mut |_, _| true,
        )
        .unwrap();
    assert!(all && facts < 5 * 40, "{facts}: what does not matter is gone");
}

#[test]
fn only_pieces_of_which_over_a_third_does_not_matter_are_written_anew() {
    let shared = Shared::default();
    let (vault, index) = shared.anew();
    for key in 0..200 {
        keep(&vault, key, "for ever");
    }
    let first = snapshot(&vault);
    assert!(first.pieces_written > 10 && first.pieces_kept == 0, "{first:?}");
    keep(&vault, 3, "another");
    let second = snapshot(&vault);
    assert_eq!(second.pieces_kept, first.pieces_written);
    assert!(second.pieces_written <= 2, "{second:?}");
    for key in 0..20 {
        keep(&vault, key, "yet another");
    }
    let third = snapshot(&vault);
    assert!(third.pieces_kept > 5 && third.pieces_kept < first.pieces_written, "{third:?}");
    assert!(third.facts_left_out >= 20, "{third:?}");
    assert!(!shared.differs(&index));
    // Nothing new, nothing to do.
    let commits = shared.log.commits();
    assert_eq!((snapshot(&vault), shared.log.commits()), (Snapped::default(), commits));
}

#[test]
fn a_copy_that_slept_over_hollow_commits_makes_its_index_anew() {
    let shared = Shared::default();
    let ((vault, _), (late, behind)) = (shared.anew(), shared.anew());
    keep(&vault, 1, "one");
    late.catch_up().unwrap();
    for round in 0..3 {
        keep(&vault, 2, &format!("two {round}"));
        snapshot(&vault);
    }
    assert!(shared.log.hollow_commits() > 1);
    // It wanted to write where it stood.
    let fact = late.fact(&mut Packer::new(), vec![0x10, 3, 3]).unwrap();
    let refused = late.commit(Submission { facts: vec![fact], ..Submission::default() });
    let Err(CommitError::Broken(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("is in a snapshot only"), "{why}");
    drop(late);
    assert!(matches!(shared.open(&behind).map(|_| ()), Err(StoreError::Anew(_))));
    let (again, _) = shared.anew();
    keep(&again, 3, "three");
}

#[test]
fn what_would_lose_a_row_is_given_up_and_nothing_is_hollowed() {
    let shared = Shared::default();
    let (vault, index) = shared.anew();
    for round in 0..4 {
        keep(&vault, 1, "stays");
        keep(&vault, 2, &format!("goes {round}"));
        let wrong = |index: &dyn Index, fact: &[u8]| match fact[1] {
            1 => Ok(false),
            _ => matters(index, fact),
        };
        let refused = vault.snapshot(Snapshotting {
            matters: &wrong,
            scratch: Arc::new(MemoryIndex::new()),
            least: 1,
            step: &mut |_, _| true,
        });
        let Err(StoreError::Index(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("was given up"), "{why}");
    }
    assert_eq!((shared.log.hollow_commits(), shared.log.kept().unwrap()), (0, Vec::new()));
    assert_eq!(snapshot(&vault).number, 1);
    assert!(!shared.differs(&index));
}

/// A snapshot ends at every commit that it makes, in every way that a commit may end, and by being told to stop. The
/// next ones are made all the same, and no piece is left over.
#[test]
fn a_snapshot_that_ended_half_way_is_in_nobodys_way() {
    for ending in [Ending::Refused, Ending::Lost, Ending::Unheard] {
        for good in 0..4 {
            let shared = Shared::default();
            let (vault, index) = shared.anew();
            for round in 0..8_u8 {
                for key in 0..30 {
                    keep(&vault, key, &format!("{key} of {round}"));
                }
                if round == 2 {
                    shared.log.end_behind(good, ending);
                    let ended = try_snapshot(&vault);
                    shared.log.end_well();
                    assert!(ended.is_err() || good > 1, "{ending:?} {good}: {ended:?}");
                    // What nobody knows is found out by following.
                    vault.catch_up().unwrap();
                } else {
                    snapshot(&vault);
                }
                assert!(!shared.differs(&index), "{ending:?} {good} {round}");
            }
            let kept = shared.log.kept().unwrap();
            assert_eq!(kept.len(), 2);
            // Those that went with the last one are still there, and nothing else.
            let row = Pieces::of(index.as_ref()).unwrap();
            let needed = row.needed();
            shared.log.meddle_with_pieces(|pieces| {
                assert!(needed.iter().all(|id| pieces.contains_key(id)));
                assert!(pieces.keys().all(|id| needed.contains(id) || row.going.contains(id)));
            });
        }
    }
}

#[test]
fn a_snapshot_that_is_told_to_stop_makes_none() {
    let shared = Shared::default();
    let (vault, index) = shared.anew();
    (0..30).for_each(|key| keep(&vault, key, "value"));
    let mut steps = 0;
    let stopped = vault.snapshot(Snapshotting {
        matters: &matters,
        scratch: Arc::new(MemoryIndex::new()),
        least: 1,
        step: &mut |_, _| {
            steps += 1;
            steps < 10
        },
    });
    assert_eq!((stopped.unwrap().number, steps), (0, 10));
    assert_eq!(shared.log.kept().unwrap(), Vec::new());
    assert_eq!(snapshot(&vault).number, 1);
    assert!(!shared.differs(&index));
}

#[test]
fn of_two_copies_that_make_one_at_once_one_gives_up() {
    for good in 0..2 {
        let shared = Shared::default();
        let ((vault, index), (other, _)) = (shared.anew(), shared.anew());
        (0..30).for_each(|key| keep(&vault, key, "value"));
        snapshot(&vault);
        (0..30).for_each(|key| keep(&vault, key, "another"));
        let theirs = Arc::new(AtomicU64::new(0));
        let number = theirs.clone();
        // While the commit is on its way that names the first pieces, or the one that publishes the snapshot.
        shared.log.meanwhile(good, move || {
            other.catch_up().unwrap();
            number.store(snapshot(&other).number, Relaxed);
        });
        let ours = snapshot(&vault).number;
        assert_eq!((ours, theirs.load(Relaxed)), (0, 2), "{good}");
        vault.catch_up().unwrap();
        assert!(!shared.differs(&index), "{good}");
        assert_eq!(shared.log.kept().unwrap()[0].number, 2);
        (0..30).for_each(|key| keep(&vault, key, "a third"));
        assert_eq!(snapshot(&vault).number, 3);
        assert!(!shared.differs(&index), "{good}");
    }
}

#[test]
fn a_piece_that_is_damaged_or_missing_is_named_and_nothing_is_made_of_it() {
    for removes in [true, false] {
        let shared = Shared::default();
        let (vault, _) = shared.anew();
        (0..30).for_each(|key| keep(&vault, key, "value"));
        snapshot(&vault);
        shared.log.meddle_with_pieces(|pieces| {
            let (id, mut bytes) = pieces.pop_first().unwrap();
            bytes[9] ^= 1;
            if !removes {
                pieces.insert(id, bytes);
            }
        });
        let Err(StoreError::Damaged(damage)) = shared.open(&Arc::default()).map(|_| ()) else {
            panic!("it was opened")
        };
        assert!(damage.file.starts_with("piece ") && damage.file.ends_with(" of a snapshot"));
        // Nor is a snapshot made of one.
        keep(&vault, 1, "another");
        assert!(matches!(try_snapshot(&vault), Err(StoreError::Damaged(_))));
        assert_eq!(shared.log.hollow_commits(), 0);
    }
}

#[test]
fn an_index_that_was_made_half_way_from_a_snapshot_is_made_anew() {
    let shared = Shared::default();
    let (vault, index) = shared.anew();
    for round in 0..3 {
        (0..30).for_each(|key| keep(&vault, key, &format!("value {round}")));
        snapshot(&vault);
    }
    let mut half_way = 0;
    for good in 0..12 {
        let (rows, writes) = (Arc::new(MemoryIndex::new()), AtomicUsize::new(0));
        let faulty = FaultyIndex::over(rows.clone(), move |call| {
            match call == IndexCall::Write && writes.fetch_add(1, Relaxed) >= good {
                true => Err(StoreError::Index("the disk under it is away".into())),
                false => Ok(()),
            }
        });
        let first = Vault::open_elsewhere(shared.of(Arc::new(faulty))).map(|_| ());
        assert!(first.is_err(), "{good}");
        // With nothing written but that values are bound, it is new.
        let is_new = Position::of(rows.as_ref()).unwrap().is_none();
        match shared.open(&rows).map(|_| ()) {
            Ok(()) => assert!(is_new, "{good}"),
            Err(error) => {
                assert!(matches!(error, StoreError::Anew(_)) && !is_new, "{good}: {error}");
                half_way += 1;
            }
        }
    }
    assert!(half_way > 5 && !shared.differs(&index), "{half_way}");
}

#[test]
fn collections_and_snapshots_go_together() {
    let shared = Shared::default();
    for day in 1..9_i64 {
        let round = u8::try_from(day).unwrap();
        let (vault, index) = shared.anew();
        keep_chunks(&vault, &[3 * round, 3 * round + 1, 3 * round + 2]);
        keep(&vault, 1, &format!("day {day}"));
        drop(vault);
        let vault = shared.open(&index).unwrap();
        let collection = vault.begin_collection().unwrap();
        let mut live = Names::default();
        (3..=3 * round + 2).filter(|n| n % 3 == 0).for_each(|n| live.add(&chunk(n).0));
        live.settle();
        collection.run(&live, &|_, _| Ok(true), &mut |_, _| true).unwrap();
        collection.clear(Timestamp::from_micros(day * 86_400_000_000)).unwrap();
        drop(collection);
        if day % 2 == 0 {
            snapshot(&vault);
        }
        assert!(!shared.differs(&index), "{day}");
        let (fresh, _) = shared.anew();
        for number in 3..=3 * round + 2 {
            assert_eq!(has(&fresh, number), number % 3 == 0, "{day} {number}");
        }
    }
    assert!(shared.log.hollow_commits() > 0);
}
