//! What is left over goes, and nothing else, whatever other copies do meanwhile.

use std::sync::Arc;

use lucid_core::digest::{ChunkId, ChunkName};

use super::*;
use crate::codec::Compression;
use crate::contract::blobs::Blobs as _;
use crate::contract::index::{Changes, Project};
use crate::crypt::Cipher;
use crate::frame::Record;
use crate::memory::blobs::MemoryBlobs;
use crate::memory::fact_log::MemoryLog;
use crate::memory::index::MemoryIndex;
use crate::vault::collect::Names;
use crate::vault::{Elsewhere, Vault};

/// Makes nothing of facts.
struct Nothing;

impl Project for Nothing {
    fn knows(&self, _kind: u8) -> bool {
        true
    }

    fn project(&self, _fact: &[u8], _changes: &mut Changes<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Default, Clone)]
struct Shared {
    log: Arc<MemoryLog>,
    blobs: MemoryBlobs,
}

impl Shared {
    fn open(&self) -> Vault {
        let opened = Vault::open_elsewhere(Elsewhere {
            log: self.log.clone(),
            blobs: Arc::new(self.blobs.clone()),
            start: MemoryLog::start(),
            cipher: Arc::new(Cipher::new(None)),
            index: Arc::new(MemoryIndex::new()),
            project: Arc::new(Nothing),
        });
        opened.unwrap()
    }

    /// Collects as of a day with a copy of its own, which is asked for no chunk lately: only these stay.
    fn collect(&self, day: i64, live: &[u8]) -> Cleared {
        let vault = self.open();
        let mut names = Names::default();
        live.iter().for_each(|number| names.add(&chunk(*number).0));
        names.settle();
        let collection = vault.begin_collection().unwrap();
        collection.run(&names, &|_, _| Ok(true), &mut |_, _| true).unwrap();
        let now = Timestamp::from_micros(day * i64::try_from(REST.as_micros()).unwrap());
        collection.clear(now).unwrap()
    }

    fn numbers(&self) -> Vec<u32> {
        self.blobs.numbers().unwrap()
    }
}

fn bytes(number: u8) -> Vec<u8> {
    vec![number; 40]
}

fn chunk(number: u8) -> (ChunkName, Record) {
    let (cipher, id) = (Cipher::new(None), ChunkId::from(blake3::hash(&bytes(number))));
    let (name, how) = (cipher.chunk_name(&id), Compression::None);
    (name, cipher.chunk_record(&mut Packer::new(), how, false, &id, &bytes(number)).unwrap())
}

fn keep(vault: &Vault, chunks: &[u8]) {
    let chunks = chunks.iter().map(|number| chunk(*number).1).collect();
    vault.commit(Submission { chunks, ..Submission::default() }).unwrap();
}

fn has(vault: &Vault, number: u8) -> bool {
    let id = ChunkId::from(blake3::hash(&bytes(number)));
    vault.read_chunk(&mut Packer::new(), &id).unwrap().is_some_and(|read| read == bytes(number))
}

fn cleared(units_removed: u64, units_going: u64) -> Cleared {
    Cleared { units_removed, units_going }
}

#[test]
fn a_unit_that_nothing_names_goes_two_lines_later_and_by_its_name() {
    let shared = Shared::default();
    keep(&shared.open(), &[1, 2]);
    let mut orphan = [chunk(3).1];
    let orphan = shared.blobs.write(&mut orphan).unwrap().extent.unit;
    let there = shared.numbers();
    // Until a line is above it, nobody knows that it is not about to be named.
    assert_eq!(shared.collect(1, &[1, 2]), cleared(0, 0));
    // It is named to go, and goes with the line after that one.
    assert_eq!(shared.collect(2, &[1, 2]), cleared(0, 1));
    assert_eq!(shared.collect(2, &[1, 2]), cleared(0, 0), "a day has not passed");
    assert_eq!(shared.numbers(), there);
    assert_eq!(shared.collect(3, &[1, 2]), cleared(1, 0));
    assert_eq!(shared.numbers(), [there[0]]);
    assert_ne!(there[0], orphan);
    assert_eq!(shared.collect(4, &[1, 2]), cleared(0, 0));
    let vault = shared.open();
    assert!(has(&vault, 1) && has(&vault, 2));
}

#[test]
fn units_that_others_stand_for_stay_until_the_collection_behind_the_next() {
    let shared = Shared::default();
    let vault = shared.open();
    keep(&vault, &[1, 2, 3]);
    keep(&vault, &[4, 5, 6]);
    let old = shared.numbers();
    assert_eq!(shared.collect(1, &[1, 4]), cleared(0, 2));
    let there = shared.numbers();
    assert!(there.len() == 3 && old.iter().all(|unit| there.contains(unit)), "{there:?}");
    // A copy that has not followed yet reads where it knows the chunks to be.
    assert!([1, 4].into_iter().all(|number| has(&vault, number)));
    assert_eq!(shared.collect(2, &[1, 4]), cleared(2, 0));
    assert_eq!(shared.numbers().len(), 1);
    vault.catch_up().unwrap();
    for vault in [&vault, &shared.open()] {
        assert!([1, 4].into_iter().all(|number| has(vault, number)));
        assert!(![2, 3, 5, 6].into_iter().any(|number| has(vault, number)));
    }
}

#[test]
fn a_unit_of_which_all_was_dropped_is_gone_in_the_end() {
    let shared = Shared::default();
    keep(&shared.open(), &[1]);
    keep(&shared.open(), &[2]);
    for day in 1..5 {
        shared.collect(day, &[1]);
    }
    let vault = shared.open();
    assert!(has(&vault, 1) && !has(&vault, 2));
    assert!(shared.numbers().len() <= 2, "{:?}", shared.numbers());
}

#[test]
fn a_copy_whose_commit_is_on_its_way_while_lines_are_drawn_writes_its_chunks_above_them() {
    for days in 1..5 {
        let shared = Shared::default();
        keep(&shared.open(), &[9]);
        let (vault, others) = (shared.open(), shared.clone());
        shared.log.meanwhile(0, move || {
            for day in 1..=days {
                others.collect(day, &[9]);
            }
        });
        keep(&vault, &[1, 2]);
        for day in days + 1..days + 4 {
            shared.collect(day, &[9, 1, 2]);
            assert!(
                [9, 1, 2].into_iter().all(|number| has(&shared.open(), number)),
                "{days} {day}"
            );
        }
        assert_eq!(shared.numbers().len(), 2, "{days}: what it wrote first is gone");
    }
}

#[test]
fn a_unit_that_is_made_while_lines_are_drawn_does_not_come_to_stand_for_others() {
    let shared = Shared::default();
    let vault = shared.open();
    keep(&vault, &[1, 2, 3]);
    drop(vault);
    let vault = shared.open();
    let mut live = Names::default();
    live.add(&chunk(1).0);
    live.settle();
    let collection = vault.begin_collection().unwrap();
    let (others, mut is_first) = (shared.clone(), true);
    let refused = collection.run(&live, &|_, _| Ok(true), &mut |_, _| {
        if std::mem::take(&mut is_first) {
            // The unit that is being made has a number already, and is not named yet.
            for day in 1..4 {
                others.collect_nothing(day);
            }
        }
        true
    });
    assert!(refused.is_err(), "{refused:?}");
    drop(collection);
    for day in 4..8 {
        shared.collect(day, &[1]);
    }
    assert!(has(&shared.open(), 1));
}

impl Shared {
    /// Draws the line of a day, and rewrites nothing.
    fn collect_nothing(&self, day: i64) -> Cleared {
        let vault = self.open();
        let now = Timestamp::from_micros(day * i64::try_from(REST.as_micros()).unwrap());
        vault.begin_collection().unwrap().clear(now).unwrap()
    }
}

#[test]
fn a_line_of_a_wrong_clock_is_followed_by_one_of_a_right_one() {
    let shared = Shared::default();
    keep(&shared.open(), &[1]);
    shared.collect(50_000, &[1]);
    assert!(!is_due(Timestamp::from_micros(0), Timestamp::from_micros(1)));
    shared.collect(1, &[1]);
    let line = Line::of(shared.open().index()).unwrap().unwrap();
    assert_eq!(line.drawn_at, Timestamp::from_micros(i64::try_from(REST.as_micros()).unwrap()));
}
