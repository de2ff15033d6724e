//! What every log and every keeper of chunks must do: one suite, run for each back-end.

use std::sync::Arc;

use lucid_core::digest::{ChunkId, ChunkName};
use rustix::io::Errno;

use crate::codec::{Compression, Packer};
use crate::contract::blobs::Blobs;
use crate::contract::fact_log::{Appended, FactLog, Position, Replayed, Unsettled};
use crate::contract::index::{Changes, Project};
use crate::crypt::Sealer;
use crate::files::disk::Disk;
use crate::files::disk::faulty::{Call, FaultyDisk};
use crate::files::disk::simulated::SimulatedDisk;
use crate::files::{self, Limits, ToOpen};
use crate::frame::Sealed;
use crate::memory::blobs::MemoryBlobs;
use crate::memory::fact_log::{Ending, MemoryLog};
use crate::memory::index::MemoryIndex;
use crate::{CommitError, StoreError};

/// Two or three commits a file, so that every test crosses files.
const TINY: Limits = Limits { segment_bytes: 1_500, segment_records: 4, log_bytes: 1_500 };

/// A log with its chunks, and where it ends.
struct Kept {
    log: Arc<dyn FactLog>,
    blobs: Arc<dyn Blobs>,
    at: Position,
}

/// Makes nothing of facts.
struct Nothing;

impl Project for Nothing {
    fn project(&self, _fact: &[u8], _changes: &mut Changes<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

fn in_files(disk: Arc<dyn Disk>) -> Kept {
    let opened = files::open(ToOpen {
        disk: &disk,
        store: [7; 16],
        sealer: &Sealer::new(None),
        index: &MemoryIndex::new(),
        project: &Nothing,
        accept_loss: false,
        limits: TINY,
        progress: &|_, _| true,
    });
    let files::Opened { log, blobs, at, loss, damage, .. } = opened.unwrap();
    assert_eq!((loss, Vec::from(damage)), (None, vec![]));
    Kept { log: Arc::new(log), blobs: Arc::new(blobs), at }
}

fn in_memory() -> Kept {
    let (log, blobs) = (Arc::new(MemoryLog::new()), Arc::new(MemoryBlobs::new()));
    Kept { log, blobs, at: MemoryLog::start() }
}

/// Back-ends that hold nothing yet, each under its name.
fn every_back_end(test: impl Fn(&str, Kept)) {
    test("memory", in_memory());
    test("files", in_files(Arc::new(SimulatedDisk::new())));
    let slow = FaultyDisk::over(Arc::new(SimulatedDisk::new()));
    slow.shorten_reads(301);
    test("files, read in pieces", in_files(Arc::new(slow)));
}

fn fact(text: &str) -> Sealed {
    Sealer::new(None).seal_fact(&mut Packer::new(), text.as_bytes()).unwrap()
}

fn chunk(number: u8) -> (ChunkName, Sealed) {
    let mut bytes = vec![0; 300];
    blake3::Hasher::new().update(&[number]).finalize_xof().fill(&mut bytes);
    let (sealer, id) = (Sealer::new(None), ChunkId::from(blake3::hash(&bytes)));
    let how = Compression::default();
    (
        sealer.chunk_name(&id),
        sealer.seal_chunk(&mut Packer::new(), how, false, &id, &bytes).unwrap(),
    )
}

impl Kept {
    /// Commits facts and chunks as the vault does.
    fn commit(&mut self, facts: &[&str], chunks: &[u8]) -> Result<Appended, CommitError> {
        self.log.ready()?;
        let mut records: Vec<Sealed> = chunks.iter().map(|number| chunk(*number).1).collect();
        let mut written = None;
        if !records.is_empty() {
            if self.blobs.fits(&records) < records.len() {
                self.blobs.seal(true)?;
            }
            assert_eq!(self.blobs.fits(&records), records.len());
            written = Some(self.blobs.write(&mut records)?);
        }
        let blobs = self.blobs.as_ref();
        let unsettled = written.as_ref().map(|written| Unsettled { blobs, written });
        let mut facts: Vec<Sealed> = facts.iter().map(|text| fact(text)).collect();
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
        let (sealer, mut packer) = (Sealer::new(None), Packer::new());
        let (mut all, mut facts) = (Vec::new(), Vec::new());
        let shown = self.log.replay(place, &mut |found, passed| {
            assert!(passed.done <= passed.total);
            match found {
                Replayed::Damaged(damage) => panic!("{damage}"),
                Replayed::Fact { record, .. } => {
                    let plain = sealer.open(&mut packer, &record.header, record.payload).unwrap();
                    facts.push(String::from_utf8(plain).unwrap());
                }
                Replayed::Commit { chunks, position } => {
                    let places = chunks.map(|extent| self.blobs.places(&extent).unwrap());
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
                kept.blobs.seal(true).unwrap();
            }
            let names: Vec<ChunkName> = chunks.iter().map(|number| chunk(*number).0).collect();
            expected.push((texts, names));
            places.push(kept.at.clone());
        }
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

/// Every single call of the disk fails once, with another error each time: what is said of a commit is so, now
/// and at the next start.
#[test]
fn files_that_fail_say_what_happened() {
    for call in [Call::Append, Call::Sync, Call::Create, Call::Truncate] {
        for errno in [Errno::IO, Errno::NOSPC] {
            for (good, times) in (0..14).flat_map(|good| [(good, 1), (good, 2)]) {
                let simulated = SimulatedDisk::new();
                let disk = FaultyDisk::over(Arc::new(simulated.clone()));
                let mut kept = in_files(Arc::new(disk.clone()));
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
                let again = in_files(Arc::new(killed)).facts();
                assert!(again.starts_with(&there), "{what}: {again:?} instead of {there:?}");
                assert!(again.len() <= there.len() + usize::from(is_broken), "{what}: {again:?}");
            }
        }
    }
}

#[test]
fn a_log_in_memory_ends_as_it_is_told_to() {
    let log = Arc::new(MemoryLog::new());
    let (log_of, blobs) = (log.clone(), Arc::new(MemoryBlobs::new()));
    let mut kept = Kept { log: log_of, blobs: blobs.clone(), at: MemoryLog::start() };
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
    // It is found out by whoever goes on.
    assert_eq!(kept.commit(&["next"], &[4]).unwrap(), Appended::Overtaken);
    assert_eq!(kept.facts(), ["unheard"]);
    kept.at = kept.behind(None).pop().unwrap().2;
    log.be_faster(vec![fact("of somebody who is faster")]);
    assert_eq!(kept.commit(&["next"], &[4]).unwrap(), Appended::Overtaken);
    assert_eq!(kept.facts(), ["unheard", "of somebody who is faster"]);
}
