//! What every log and every keeper of chunks must do: one suite, run for each back-end.

mod back_ends;
mod incarnations;
mod lines;
mod snapshots;

use std::collections::BTreeSet;
use std::sync::Arc;

use lucid_core::digest::{ChunkId, ChunkName};
use parking_lot::Mutex;
use rustix::io::Errno;

use self::back_ends::{Tried, beside_chunks, every_back_end, in_files, under_a_log};
use crate::codec::{Compression, Packer};
use crate::contract::blobs::{Blobs, Contents, Entry, Origin, UnitKind, UnitState};
use crate::contract::fact_log::{Appended, Position, Replayed, Reread, Unsettled};
use crate::crypt::Cipher;
use crate::files::disk::Disk;
use crate::files::disk::faulty::{Call, FaultyDisk};
use crate::files::disk::simulated::SimulatedDisk;
use crate::frame::{Record, RecordKind};
use crate::memory::blobs::MemoryBlobs;
use crate::memory::fact_log::{Ending, MemoryLog};
use crate::{CommitError, StoreError};

fn fact(text: &str) -> Record {
    Cipher::new(None).fact_record(&mut Packer::new(), text.as_bytes()).unwrap()
}

fn chunk(number: u8) -> (ChunkName, Record) {
    let mut bytes = vec![0; 300];
    blake3::Hasher::new().update(&[number]).finalize_xof().fill(&mut bytes);
    let (cipher, id) = (Cipher::new(None), ChunkId::from(blake3::hash(&bytes)));
    let how = Compression::default();
    (
        cipher.chunk_name(&id),
        cipher.chunk_record(&mut Packer::new(), how, false, &id, &bytes).unwrap(),
    )
}

impl Tried {
    /// Commits facts and chunks as the vault does.
    fn commit(&mut self, facts: &[&str], chunks: &[u8]) -> Result<Appended, CommitError> {
        self.log.ready()?;
        let mut records: Vec<Record> = chunks.iter().map(|number| chunk(*number).1).collect();
        let mut written = None;
        if !records.is_empty() {
            if self.blobs.fits(&records) < records.len() {
                self.blobs.end(true)?;
            }
            assert_eq!(self.blobs.fits(&records), records.len());
            written = Some(self.blobs.write(&mut records)?);
        }
        let blobs = self.blobs.as_ref();
        let unsettled = written.as_ref().map(|written| Unsettled { blobs, written });
        let mut facts: Vec<Record> = facts.iter().map(|text| fact(text)).collect();
        let appended = self.log.commit(&self.at, &mut facts, unsettled);
        match &appended {
            Ok(Appended::Here(at)) => self.at = at.clone(),
            Err(error) if error.maybe_applied() => {}
            _ => written.iter().try_for_each(|written| self.blobs.take_back(written))?,
        }
        appended
    }

    fn commits(&mut self, facts: &[&str], chunks: &[u8]) {
        let appended = self.commit(facts, chunks);
        assert!(matches!(appended, Ok(Appended::Here(_))), "{appended:?}");
    }

    /// What is there behind a place: of every commit its facts, its chunks and the place behind it.
    fn behind(&self, place: Option<&Position>) -> Vec<(Vec<String>, Vec<ChunkName>, Position)> {
        let (cipher, mut packer) = (Cipher::new(None), Packer::new());
        let (mut all, mut facts) = (Vec::new(), Vec::new());
        let shown = self.log.replay(place, &mut |found, passed| {
            assert!(passed.done <= passed.total);
            match found {
                Replayed::Damaged(damage) => panic!("{damage}"),
                Replayed::Fact { record, .. } => {
                    let plain = cipher.open(&mut packer, &record.header, record.payload).unwrap();
                    facts.push(String::from_utf8(plain).unwrap());
                }
                Replayed::Commit { chunks, places: told, position } => {
                    let places = chunks.map(|extent| self.blobs.places(&extent).unwrap());
                    // What is left of a commit in a snapshot says nothing else of its chunks.
                    let is_same = told.is_none() || places.is_none() || told == places;
                    assert!(is_same, "a commit says where its chunks are");
                    let places = places.unwrap_or_default();
                    for (name, place) in &places {
                        let (header, _) = self.blobs.read(name, place).unwrap();
                        assert_eq!(header.name, *name.as_bytes());
                    }
                    let names = places.into_iter().map(|(name, _)| name).collect();
                    all.push((std::mem::take(&mut facts), names, position));
                }
            }
            Ok(true)
        });
        assert!(shown.unwrap() && facts.is_empty());
        all
    }

    fn facts(&self) -> Vec<String> {
        self.behind(None).into_iter().flat_map(|(facts, ..)| facts).collect()
    }
}

#[test]
fn commits_are_shown_in_their_order_from_any_place_on() {
    every_back_end(|name, mut kept| {
        assert!(kept.log.is_start(&kept.at).unwrap(), "{name}");
        let mut places = vec![kept.at.clone()];
        let mut expected = Vec::new();
        for number in 0..12_u8 {
            let texts: Vec<String> =
                (0..number % 3).map(|n| format!("fact {number}.{n}")).collect();
            let chunks: Vec<u8> = (0..(number + 1) % 3).map(|n| 10 * number + n).collect();
            let facts: Vec<&str> = texts.iter().map(String::as_str).collect();
            kept.commits(&facts, &chunks);
            if number == 5 {
                kept.log.begin_part().unwrap();
                kept.blobs.end(true).unwrap();
            }
            let names: Vec<ChunkName> = chunks.iter().map(|number| chunk(*number).0).collect();
            expected.push((texts, names));
            places.push(kept.at.clone());
        }
        assert!(!kept.log.is_start(&places[1]).unwrap(), "{name}");
        assert_eq!(kept.behind(None), kept.behind(places.first()), "{name}");
        for (from, place) in places.iter().enumerate() {
            let found = kept.behind(Some(place));
            let found: Vec<_> = found.into_iter().map(|(facts, names, _)| (facts, names)).collect();
            assert_eq!(found, expected[from..], "{name}, from {from}");
        }
        // A place that is read is as good as the one that was told.
        let last = kept.behind(None).pop().map(|(.., place)| place);
        kept.at = last.unwrap();
        kept.commits(&["behind what was read"], &[]);
        kept.log.close().unwrap();
    });
}

#[test]
fn whoever_shows_enough_is_shown_no_more() {
    every_back_end(|name, mut kept| {
        kept.commits(&["one", "two"], &[]);
        kept.commits(&["three"], &[]);
        let mut seen = 0;
        let shown = kept.log.replay(None, &mut |_, _| {
            seen += 1;
            Ok(seen < 2)
        });
        assert_eq!((shown.unwrap(), seen), (false, 2), "{name}");
    });
}

#[test]
fn what_is_to_follow_a_place_that_was_passed_is_overtaken_and_leaves_nothing() {
    every_back_end(|name, mut kept| {
        kept.commits(&["first"], &[1]);
        let early = kept.at.clone();
        kept.commits(&["second"], &[]);
        let late = std::mem::replace(&mut kept.at, early);
        assert_eq!(kept.commit(&["never"], &[2]).unwrap(), Appended::Overtaken, "{name}");
        kept.at = late;
        kept.commits(&["third"], &[3]);
        assert_eq!(kept.facts(), ["first", "second", "third"], "{name}");
        let names: Vec<ChunkName> =
            kept.behind(None).into_iter().flat_map(|(_, names, _)| names).collect();
        assert_eq!(names, [chunk(1).0, chunk(3).0], "{name}");
    });
}

#[test]
fn a_chunk_is_read_by_its_name_and_place_and_not_when_it_was_taken_back() {
    every_back_end(|name, mut kept| {
        kept.commits(&[], &[1, 2]);
        let mut records = vec![chunk(3).1];
        let written = kept.blobs.write(&mut records).unwrap();
        let place = written.places[0].1;
        kept.blobs.settle(&written).unwrap();
        assert_eq!(kept.blobs.read(&chunk(3).0, &place).unwrap().1, chunk(3).1.payload, "{name}");
        let other = kept.blobs.read(&chunk(1).0, &place);
        assert!(matches!(other, Err(StoreError::Damaged(_))), "{name}: {other:?}");
        kept.blobs.take_back(&written).unwrap();
        let gone = kept.blobs.read(&chunk(3).0, &place);
        assert!(matches!(gone, Err(StoreError::Damaged(_))), "{name}: {gone:?}");
        kept.commits(&["after it"], &[4]);
        assert_eq!(kept.behind(None).len(), 2, "{name}");
    });
}

#[test]
fn of_two_copies_of_a_chunk_the_later_has_the_higher_sequence() {
    every_back_end(|name, mut kept| {
        let mut sequences = Vec::new();
        for number in 0..3 {
            kept.commits(&[], &[number, 9]);
            kept.blobs.end(number == 1).unwrap();
        }
        for unit in kept.blobs.numbers().unwrap() {
            let contents = kept.blobs.contents(unit, 0).unwrap().unwrap();
            let copies = contents.chunks.iter().filter(|(found, _)| *found == chunk(9).0);
            sequences.extend(copies.map(|(found, at)| kept.blobs.sequence(found, at).unwrap()));
        }
        assert_eq!(sequences.len(), 3, "{name}");
        assert!(sequences.is_sorted_by(|a, b| a < b), "{name}: {sequences:?}");
    });
}

/// The records of units that have ended, in the order of their places.
fn entries_of(blobs: &dyn Blobs, units: &[u32]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for unit in units {
        let UnitState::Ended(found) = blobs.state(*unit).unwrap() else { panic!("it has ended") };
        assert!(found.bytes >= found.records_bytes);
        let bytes = found.entries.iter().map(|entry| entry.placement.record_bytes()).sum::<u64>();
        assert!(found.records_bytes >= bytes);
        let mut listed = blobs.entries(*unit).unwrap().unwrap();
        listed.sort_by_key(|entry| entry.placement.place());
        let mut of_unit = found.entries;
        of_unit.sort_by_key(|entry| entry.placement.place());
        assert_eq!(listed, of_unit);
        let mut seen = blobs.contents(*unit, 0).unwrap().unwrap();
        seen.chunks.sort_by_key(|(_, placement)| placement.place());
        let named = of_unit.iter().map(|entry| (entry.name, entry.placement));
        assert_eq!(seen, Contents { chunks: named.collect(), damage: Vec::new() });
        entries.extend(of_unit);
    }
    entries
}

#[test]
fn a_unit_is_made_of_the_records_of_others_and_they_go() {
    every_back_end(|name, mut kept| {
        for number in 0..6 {
            kept.commits(&[], &[2 * number, 2 * number + 1]);
        }
        let blobs = kept.blobs.clone();
        let there = blobs.numbers().unwrap();
        if let Some((open, bytes)) = blobs.open_unit().unwrap() {
            assert!(bytes > 0 && there.contains(&open), "{name}");
            assert_eq!(blobs.state(open).unwrap(), UnitState::Open, "{name}");
            assert!(!blobs.contents(open, 0).unwrap().unwrap().chunks.is_empty(), "{name}");
        }
        kept.blobs.end(true).unwrap();
        assert_eq!(blobs.open_unit().unwrap(), None, "{name}");
        assert!(blobs.numbers().unwrap() == there && there.is_sorted(), "{name}");
        for unit in &there {
            assert_eq!(blobs.kind(*unit), Some(UnitKind::Written), "{name}");
            assert_eq!(blobs.origin(*unit).unwrap(), Ok(Origin::default()), "{name}");
        }
        let old = entries_of(blobs.as_ref(), &there);
        let names: Vec<_> = old.iter().map(|entry| entry.name).collect();
        assert_eq!(names, (0..12).map(|number| chunk(number).0).collect::<Vec<_>>(), "{name}");

        // One that is given up is not there, and nothing is lost by it.
        let stays = Origin { replaces: there.clone(), level: 3 };
        let given_up = blobs.begin(0, stays.clone()).unwrap();
        let number_of_it = given_up.number();
        drop(given_up);
        blobs.remove(&[number_of_it]).unwrap();
        assert_eq!(blobs.numbers().unwrap(), there, "{name}");

        let mut making = blobs.begin(number_of_it, stays.clone()).unwrap();
        let made = making.number();
        assert!(made > number_of_it, "{name}: a number is one unit's for ever");
        let records: Vec<_> =
            old.iter().map(|entry| blobs.read(&entry.name, &entry.placement).unwrap()).collect();
        records.iter().for_each(|(header, payload)| making.add(header, payload).unwrap());
        let bytes = making.finish().unwrap();
        assert_eq!(blobs.kind(made), Some(UnitKind::Made), "{name}");
        assert_eq!(blobs.origin(made).unwrap(), Ok(stays), "{name}");
        let new = entries_of(blobs.as_ref(), &[made]);
        let same = |entries: &[Entry]| -> Vec<_> {
            entries.iter().map(|entry| (entry.name, entry.sequence)).collect()
        };
        assert_eq!(same(&new), same(&old), "{name}: a copy keeps its sequence");
        let before = blobs.bytes().unwrap();
        blobs.remove(&there).unwrap();
        assert_eq!(blobs.numbers().unwrap(), [made], "{name}");
        assert!(before > blobs.bytes().unwrap() && bytes == blobs.bytes().unwrap(), "{name}");
        for (entry, record) in new.iter().zip(&records) {
            let (header, payload) = blobs.read(&entry.name, &entry.placement).unwrap();
            assert_eq!((header.encode(), &payload), (record.0.encode(), &record.1), "{name}");
            let sequence = blobs.sequence(&entry.name, &entry.placement).unwrap();
            assert_eq!(sequence, Some(entry.sequence), "{name}");
        }
        for (entry, unit) in old.iter().zip(there.iter().cycle()) {
            let gone = blobs.read(&entry.name, &entry.placement);
            let Err(StoreError::Damaged(damage)) = gone else { panic!("{name}: {gone:?}") };
            assert_eq!(blobs.place_of(&damage), Some(entry.placement.place()), "{name}");
            assert_eq!(blobs.sequence(&entry.name, &entry.placement).unwrap(), None, "{name}");
            assert_eq!(blobs.state(*unit).unwrap(), UnitState::Damaged, "{name}");
            assert_eq!(blobs.entries(*unit).unwrap(), None, "{name}");
            assert!(blobs.contents(*unit, 0).unwrap().is_err(), "{name}");
        }
        kept.commits(&["goes on"], &[20]);
        assert!(blobs.numbers().unwrap().iter().all(|unit| !there.contains(unit)), "{name}");
    });
}

#[test]
fn units_that_are_begun_at_once_have_numbers_of_their_own() {
    every_back_end(|name, kept| {
        let made: Vec<_> = std::thread::scope(|scope| {
            let begin = || kept.blobs.begin(0, Origin::default()).unwrap();
            let all: Vec<_> = (0..6).map(|_| scope.spawn(begin)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let numbers: BTreeSet<u32> = made.iter().map(|unit| unit.number()).collect();
        assert_eq!(numbers.len(), made.len(), "{name}");
    });
}

#[test]
fn what_is_read_again_is_all_of_the_log_wherever_it_was_stopped() {
    every_back_end(|name, mut kept| {
        let texts: Vec<String> = (0..12).map(|number| format!("fact {number}")).collect();
        for text in &texts {
            kept.commits(&[text], &[]);
        }
        let (cipher, mut packer) = (Cipher::new(None), Packer::new());
        let (mut seen, mut bytes, mut at) = (Vec::new(), 0, Some((0, 0)));
        while let Some(from) = at {
            at = kept
                .log
                .reread(from, &mut |found| {
                    let Reread::Record { header, payload, .. } = found else { panic!("{found:?}") };
                    bytes += header.record_bytes();
                    if header.kind == RecordKind::Fact {
                        let plain = cipher.open(&mut packer, &header, payload.unwrap()).unwrap();
                        seen.push(String::from_utf8(plain).unwrap());
                    }
                    Ok(false)
                })
                .unwrap();
        }
        assert_eq!((seen, bytes), (texts, kept.log.bytes().unwrap()), "{name}");
    });
}

/// Every single call of the disk fails once, with another error each time: what is said of a commit is so, now
/// and at the next start.
fn says_what_happened(open: &dyn Fn(Arc<dyn Disk>) -> Tried) {
    for call in [Call::Append, Call::Sync, Call::Create, Call::Truncate] {
        for errno in [Errno::IO, Errno::NOSPC] {
            for (good, times) in (0..14).flat_map(|good| [(good, 1), (good, 2)]) {
                let simulated = SimulatedDisk::new();
                let disk = FaultyDisk::over(Arc::new(simulated.clone()));
                let mut kept = open(Arc::new(disk.clone()));
                let mut there = Vec::new();
                disk.refuse(call, "", errno, good, times);
                let mut is_broken = false;
                for number in 0..8_u8 {
                    let text = format!("fact {number}");
                    match kept.commit(&[&text], &[2 * number, 2 * number + 1]) {
                        Ok(Appended::Here(_)) if !is_broken => there.push(text),
                        Ok(appended) => panic!("{appended:?} by a log that is broken"),
                        Err(CommitError::Broken(_)) => is_broken = true,
                        Err(error) => {
                            assert!(!error.maybe_applied(), "{error}");
                            assert_eq!(
                                matches!(error, CommitError::Full(_)),
                                errno == Errno::NOSPC
                            );
                        }
                    }
                    if is_broken {
                        break;
                    }
                }
                disk.repair();
                let what = format!("{call:?} {errno} {times} after {good}");
                if !is_broken {
                    assert_eq!(kept.facts(), there, "{what}");
                }
                let killed = simulated.after_kill(simulated.calls());
                drop(kept);
                let again = open(Arc::new(killed)).facts();
                assert!(again.starts_with(&there), "{what}: {again:?} instead of {there:?}");
                assert!(again.len() <= there.len() + usize::from(is_broken), "{what}: {again:?}");
            }
        }
    }
}

#[test]
fn files_that_fail_say_what_happened() {
    says_what_happened(&in_files);
}

#[test]
fn segments_that_fail_under_a_log_elsewhere_say_what_happened() {
    let log = Mutex::new(Arc::new(MemoryLog::new()));
    says_what_happened(&|disk| {
        // A disk that holds nothing yet is that of another store.
        let mut log = log.lock();
        if disk.list("").unwrap().is_empty() {
            *log = Arc::new(MemoryLog::new());
        }
        under_a_log(disk, log.clone(), MemoryLog::start())
    });
}

#[test]
fn a_log_that_fails_beside_chunks_elsewhere_says_what_happened() {
    let blobs = Mutex::new(Arc::new(MemoryBlobs::new()));
    says_what_happened(&|disk| {
        let mut blobs = blobs.lock();
        if disk.list("").unwrap().is_empty() {
            *blobs = Arc::new(MemoryBlobs::new());
        }
        beside_chunks(disk, blobs.clone())
    });
}

#[test]
fn a_log_in_memory_ends_as_it_is_told_to() {
    let log = Arc::new(MemoryLog::new());
    let (log_of, blobs) = (log.clone(), Arc::new(MemoryBlobs::new()));
    let mut kept = Tried { log: log_of, blobs: blobs.clone(), at: MemoryLog::start() };
    log.end_next(Ending::Refused);
    assert!(!kept.commit(&["refused"], &[1]).unwrap_err().maybe_applied());
    assert_eq!((log.commits(), blobs.units()), (0, 0));
    log.end_next(Ending::Lost);
    assert!(kept.commit(&["lost"], &[2]).unwrap_err().maybe_applied());
    // Nobody knows, so its chunks stay.
    assert_eq!((log.commits(), blobs.units()), (0, 1));
    log.end_next(Ending::Unheard);
    assert!(kept.commit(&["unheard"], &[3]).unwrap_err().maybe_applied());
    assert_eq!(log.commits(), 1);
    // The next commit finds it out.
    assert_eq!(kept.commit(&["next"], &[4]).unwrap(), Appended::Overtaken);
    assert_eq!(kept.facts(), ["unheard"]);
    kept.at = kept.behind(None).pop().unwrap().2;
    log.be_faster(vec![fact("of somebody who is faster")]);
    assert_eq!(kept.commit(&["next"], &[4]).unwrap(), Appended::Overtaken);
    assert_eq!(kept.facts(), ["unheard", "of somebody who is faster"]);
}
