//! Power cuts and kills behind every single call, on every kind of store.
//!
//! A script of commits, refusals, closes and kills is recorded once. Then the machine dies behind each
//! call of it, in several ways, and is started again: everything that had been acknowledged must be there,
//! nothing that had been refused may be, and of the rest each submission must be there as a whole or not at
//! all. And because a test that cannot fail proves nothing, every sync is left out once: then it must fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_store::CommitError;
use lucid_store::files::audit::audit;
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::faulty::{Call, FaultyDisk};
use lucid_store::files::disk::simulated::{SimulatedDisk, SyncPoint};
use lucid_store::files::disk::view::{Settled, View};
use lucid_store::files::segment_rows::watermark;
use lucid_store::files::watermark::Watermark;
use lucid_store::files::watermark::read_mark;
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use parking_lot::Mutex;
use rustix::io::Errno;

use crate::bench::{Entry, SMALL, Store, chunk, facts_of, index_of, reads};

/// What an index holds.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// When something was acknowledged or refused: behind so many calls.
#[derive(Clone, Debug)]
enum Answer {
    Durable(usize),
    Refused(usize),
}

/// Everything that happened, and when.
struct Recording {
    store: Store,
    disk: SimulatedDisk,
    entries: Vec<(Entry, Answer)>,
    /// When the store was closed in order, and how far the log went.
    closes: Vec<(usize, Watermark)>,
    /// The rows of the index at some moments.
    snapshots: Vec<(usize, Rows)>,
}

impl Recording {
    fn commit(&mut self, vault: &Vault, entry: Entry) -> Result<(), CommitError> {
        let outcome = entry.commit(vault);
        let calls = self.disk.calls();
        let answer = if outcome.is_ok() { Answer::Durable(calls) } else { Answer::Refused(calls) };
        self.entries.push((entry, answer));
        outcome.map(|_| ())
    }

    /// Hands several over at once, so that they share a commit.
    fn commit_together(&mut self, vault: &Vault, entries: Vec<Entry>) {
        let answers = Arc::new(Mutex::new(Vec::new()));
        for entry in &entries {
            let (answers, disk) = (answers.clone(), self.disk.clone());
            let done = move |outcome: Result<_, CommitError>| {
                outcome.expect("the disk is sound");
                answers.lock().push(disk.calls());
            };
            vault.submit(entry.submission(vault), Box::new(done));
        }
        while answers.lock().len() < entries.len() {
            std::thread::yield_now();
        }
        let answers = answers.lock().clone();
        self.entries.extend(entries.into_iter().zip(answers.into_iter().map(Answer::Durable)));
    }

    fn snapshot(&mut self, index: &MemoryIndex) {
        self.snapshots.push((self.disk.calls(), index.rows()));
    }

    fn close(&mut self, vault: Vault, index: &MemoryIndex) {
        vault.close().unwrap();
        self.closes.push((self.disk.calls(), watermark(index).unwrap()));
        drop(vault);
        self.snapshot(index);
    }

    /// Goes on as the process after a kill does: with what is on the disk, in the page cache or not.
    fn kill(&mut self, vault: Vault) {
        self.disk = self.disk.after_kill(self.disk.calls());
        // The old vault closes a disk that nobody looks at any more.
        drop(vault);
    }
}

impl Recording {
    /// A copy of this recording, on a disk that forgets a sync.
    fn forgetting(&self, point: &SyncPoint) -> Self {
        let disk = self.disk.fork();
        disk.forgetting(point.clone());
        Self {
            store: self.store.clone(),
            disk,
            entries: self.entries.clone(),
            closes: self.closes.clone(),
            snapshots: self.snapshots.clone(),
        }
    }
}

/// Fills several segments and log files, is refused twice, closes, is killed.
fn record(encrypted: bool) -> Recording {
    let store = Store::new(encrypted);
    let disk = store.disk();
    let mut tape = Recording {
        store: store.clone(),
        disk,
        entries: Vec::new(),
        closes: Vec::new(),
        snapshots: Vec::new(),
    };
    let index = Arc::new(MemoryIndex::new());
    let vault = store.open(&tape.disk, &index).unwrap();
    // Long enough that its commit is not in the sector of the file's first record.
    tape.commit(&vault, Entry::new(100, 5, vec![])).unwrap();
    tape.commit(&vault, Entry::new(2, 2, vec![chunk(1, 700), chunk(2, 90)])).unwrap();
    tape.snapshot(&index);
    // Known chunks, a new one, and the same one twice.
    tape.commit(&vault, Entry::new(4, 1, vec![chunk(1, 700), chunk(3, 600), chunk(3, 600)]))
        .unwrap();
    tape.commit(&vault, Entry::new(5, 0, vec![chunk(4, 1_300)])).unwrap();
    tape.commit_together(
        &vault,
        vec![
            Entry::new(10, 2, vec![chunk(5, 400)]),
            Entry::new(12, 1, vec![]),
            Entry::new(13, 1, vec![chunk(6, 800), chunk(5, 400)]),
        ],
    );
    tape.snapshot(&index);
    tape.close(vault, &index);

    let vault = store.open(&tape.disk, &index).unwrap();
    tape.commit(&vault, Entry::new(20, 1, vec![chunk(7, 1_000)])).unwrap();
    tape.disk.set_space(Some(300));
    tape.commit(&vault, Entry::new(21, 1, vec![chunk(8, 500)])).unwrap_err();
    tape.disk.set_space(None);
    tape.commit(&vault, Entry::new(22, 3, vec![chunk(9, 50)])).unwrap();
    tape.snapshot(&index);
    tape.disk.fail_syncs(0, 1);
    tape.commit(&vault, Entry::new(25, 1, vec![])).unwrap_err();
    tape.commit(&vault, Entry::new(26, 1, vec![chunk(10, 600)])).unwrap();
    tape.disk.fail_syncs(0, 2);
    tape.commit(&vault, Entry::new(27, 1, vec![chunk(11, 600)])).unwrap_err();
    tape.disk.fail_syncs(0, 0);
    // Two failing syncs may have met the files' syncs, or the first cut: then the store is closed.
    let vault = if vault.read_only().is_some() {
        tape.entries.pop();
        tape.kill(vault);
        store.open(&tape.disk, &index).unwrap()
    } else {
        vault
    };
    tape.commit(&vault, Entry::new(30, 1, vec![chunk(12, 900)])).unwrap();
    tape.snapshot(&index);
    tape.kill(vault);

    let vault = store.open(&tape.disk, &index).unwrap();
    for round in 0..4 {
        let chunks = vec![chunk(20 + round, 500 + 300 * round as usize)];
        tape.commit(&vault, Entry::new(40 + 2 * round, 2, chunks)).unwrap();
    }
    tape.close(vault, &index);
    tape
}

/// How the machine died.
#[derive(Clone, Copy, Debug)]
enum Death {
    Power(u64),
    Kill,
}

impl Death {
    fn of(self, disk: &SimulatedDisk, calls: usize) -> SimulatedDisk {
        match self {
            Self::Power(seed) => disk.after_power_cut(calls, seed),
            Self::Kill => disk.after_kill(calls),
        }
    }

    fn seed(self) -> u64 {
        match self {
            Self::Power(seed) => seed,
            Self::Kill => 77,
        }
    }
}

/// Everything that was acknowledged by then is there; what was refused is not; the rest is whole or absent.
fn check(tape: &Recording, calls: usize, vault: &Vault, index: &MemoryIndex) -> Result<(), String> {
    let seen = facts_of(index);
    let mut gone: Option<usize> = None;
    for (number, (entry, answer)) in tape.entries.iter().enumerate() {
        let there = entry.facts.iter().filter(|fact| seen.contains(fact)).count();
        let acknowledged = matches!(answer, Answer::Durable(at) if *at <= calls);
        if there != 0 && there != entry.facts.len() {
            return Err(format!("of entry {number}, {there} facts are there"));
        }
        if acknowledged && there != entry.facts.len() {
            return Err(format!("entry {number} was acknowledged and is gone"));
        }
        if there > 0 {
            match answer {
                Answer::Refused(at) if *at <= calls => {
                    return Err(format!("entry {number} was refused and is there"));
                }
                _ => {}
            }
            if let Some(earlier) = gone {
                return Err(format!("entry {number} is there and {earlier} before it is not"));
            }
        } else if !entry.facts.is_empty() && matches!(answer, Answer::Durable(_)) {
            gone = Some(number);
        }
        for bytes in &entry.chunks {
            let read = reads(vault, bytes).map_err(|why| format!("entry {number}: {why}"))?;
            if !read && (acknowledged || there > 0) {
                return Err(format!("a chunk of entry {number} is gone"));
            }
        }
    }
    Ok(())
}

/// What the audit says must agree: nothing here is damaged.
fn check_audit(tape: &Recording, disk: &SimulatedDisk, opened: bool) -> Result<(), String> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let cipher = Some(tape.store.cipher.as_ref());
    let found = audit(&disk, cipher, tape.store.id, None, &|_, _| {}).map_err(|e| e.to_string())?;
    assert_eq!(found.unknown, [""; 0]);
    if let Some(damage) = found.damage.first() {
        return Err(format!("the audit says: {damage}"));
    }
    match found.torn.iter().find(|torn| torn.file != "CLOSED.new") {
        Some(torn) if opened => Err(format!("the audit says after opening: {torn}")),
        _ => Ok(()),
    }
}

fn open(tape: &Recording, disk: &SimulatedDisk, index: &Arc<MemoryIndex>) -> Result<Vault, String> {
    let vault = tape.store.open(disk, index).map_err(|e| format!("it does not open: {e}"))?;
    if let Some(why) = vault.read_only() {
        return Err(format!("it is read-only: {why}"));
    }
    match vault.damage().first() {
        Some(damage) => Err(format!("false damage: {damage}")),
        None => Ok(vault),
    }
}

/// Opens what is left without writing: it holds what was acknowledged, and is as it was afterwards.
fn look(
    tape: &Recording,
    calls: usize,
    disk: &SimulatedDisk,
    index: &Arc<MemoryIndex>,
) -> Result<Arc<MemoryIndex>, String> {
    let before = disk.calls();
    let settled = Settled::not_yet("it is only looked at".into());
    let view: Arc<dyn Disk> = Arc::new(View::of(Arc::new(disk.clone()), settled.clone()));
    let vault = tape
        .store
        .open_on(view.clone(), index.clone(), SMALL, false)
        .map_err(|error| format!("it cannot be looked at: {error}"))?;
    settled.settle();
    if vault.loss().is_some() || vault.read_only().is_none() || !vault.damage().is_empty() {
        return Err(format!("looked at: {:?} {:?}", vault.loss(), vault.damage()));
    }
    check(tape, calls, &vault, index)?;
    let found = audit(&view, Some(&tape.store.cipher), tape.store.id, None, &|_, _| {}).unwrap();
    if !found.damage.is_empty() || found.torn.iter().any(|torn| torn.file != "CLOSED.new") {
        return Err(format!("looked at, the audit says: {:?} {:?}", found.damage, found.torn));
    }
    let refused = Entry::new(9_000, 1, vec![]).commit(&vault).unwrap_err();
    assert_eq!(refused.to_string(), "writing failed: it is only looked at");
    vault.close().unwrap();
    drop(vault);
    assert_eq!(disk.calls(), before, "{:?}", disk.story(before..disk.calls()));
    Ok(index.clone())
}

/// Starts the machine again, with the index that is left, and goes on.
fn revive(
    tape: &Recording,
    calls: usize,
    death: Death,
    index: Arc<MemoryIndex>,
) -> Result<(), String> {
    let disk = death.of(&tape.disk, calls);
    check_audit(tape, &disk, false)?;
    if let Some((_, closed)) = tape.closes.iter().rev().find(|(at, _)| *at <= calls) {
        let mark = read_mark(&disk, &mut Vec::new()).map_err(|e| e.to_string())?;
        if mark.is_none_or(|mark| mark.place() < closed.place()) {
            return Err("the mark of an orderly close is gone".into());
        }
    }
    let looked = look(tape, calls, &disk, &index_of(&index.rows()))?;
    let vault = open(tape, &disk, &index)?;
    if looked.rows() != index.rows() {
        return Err("whoever only reads sees something else than a start does".into());
    }
    check(tape, calls, &vault, &index)?;
    check_audit(tape, &disk, true)?;

    // What has been shown once stays, even if the power goes at once.
    let shown = facts_of(index.as_ref());
    let again = disk.after_power_cut(disk.calls(), death.seed() + 1);
    let fresh = Arc::new(MemoryIndex::new());
    let reopened = open(tape, &again, &fresh)?;
    check(tape, calls, &reopened, &fresh)?;
    if facts_of(fresh.as_ref()) != shown {
        return Err("what was shown after a restart is gone after the next".into());
    }
    drop(reopened);

    // It goes on, and what it acknowledges now survives as well.
    let more = Entry::new(9_000, 2, vec![chunk(900, 1_100), chunk(901, 30)]);
    more.commit(&vault).map_err(|e| format!("it takes nothing more: {e}"))?;
    let even_more = Entry::new(9_010, 1, vec![]);
    even_more.commit(&vault).map_err(|e| format!("it takes nothing more: {e}"))?;
    let last = disk.after_power_cut(disk.calls(), death.seed() + 2);
    let fresh = Arc::new(MemoryIndex::new());
    let vault = open(tape, &last, &fresh)?;
    check(tape, calls, &vault, &fresh)?;
    let seen = facts_of(fresh.as_ref());
    for entry in [&more, &even_more] {
        if !entry.facts.iter().all(|fact| seen.contains(fact)) {
            return Err("what was acknowledged after a restart is gone".into());
        }
        for bytes in &entry.chunks {
            if !reads(&vault, bytes)? {
                return Err("a chunk acknowledged after a restart is gone".into());
            }
        }
    }
    check_audit(tape, &last, true)
}

fn indexes(tape: &Recording, calls: usize, seed: u64) -> Vec<Arc<MemoryIndex>> {
    let older: Vec<_> = tape.snapshots.iter().filter(|(at, _)| *at <= calls).collect();
    let mut indexes = vec![Arc::new(MemoryIndex::new())];
    if !older.is_empty() {
        let (_, rows) = older[usize::try_from(seed).unwrap() % older.len()];
        indexes.push(index_of(rows));
    }
    indexes
}

fn every_death_is_survived(encrypted: bool, seeds: u64) {
    let tape = record(encrypted);
    let deaths: Vec<Death> =
        std::iter::once(Death::Kill).chain((0..seeds).map(Death::Power)).collect();
    let mut lives = 0;
    for calls in 0..=tape.disk.calls() {
        for death in &deaths {
            // Killed between a sync that failed and the cut that takes back what it was for, the next
            // process reads bytes that are not on the disk. They were never acknowledged, so nothing
            // was promised; but no program can keep them.
            if matches!(death, Death::Kill) && tape.disk.lies(calls) {
                continue;
            }
            for index in indexes(&tape, calls, death.seed() + calls as u64) {
                lives += 1;
                if let Err(why) = revive(&tape, calls, *death, index.clone()) {
                    let story = tape.disk.story(calls.saturating_sub(12)..calls).join("\n");
                    panic!("{story}\nbehind call {calls}, {death:?}: {why}");
                }
            }
        }
    }
    assert!(lives > 850, "{lives} deaths behind {} calls", tape.disk.calls());
}

#[test]
fn an_encrypted_store_survives_death_behind_every_call() {
    every_death_is_survived(true, 3);
}

#[test]
fn a_plain_store_survives_death_behind_every_call() {
    every_death_is_survived(false, 3);
}

/// The first death that a disk without this sync does not survive.
fn loss_without(tape: &Recording, point: &SyncPoint, seeds: u64) -> Option<String> {
    let tape = tape.forgetting(point);
    for seed in 0..seeds {
        for calls in 0..=tape.disk.calls() {
            for death in [Death::Power(seed), Death::Kill] {
                if matches!(death, Death::Kill) && tape.disk.lies(calls) {
                    continue;
                }
                let fresh = Arc::new(MemoryIndex::new());
                if let Err(why) = revive(&tape, calls, death, fresh) {
                    return Some(format!("behind call {calls}, {death:?}: {why}"));
                }
            }
        }
    }
    None
}

#[test]
fn a_store_without_any_one_of_its_syncs_loses_something() {
    let tape = record(true);
    let points = tape.disk.sync_points();
    for point in &points {
        let loss = loss_without(&tape, point, 10);
        assert!(loss.is_some(), "nothing is lost without {point:?}");
    }
    assert_eq!(points.len(), 6);
}

/// Which line of the code a sync comes from, told from what was done to its file before.
fn origin(disk: &SimulatedDisk, call: usize, point: &SyncPoint) -> String {
    let told = |at: usize| {
        let story = disk.story(at..at + 1).concat();
        story.split_once(": ").map_or(String::new(), |(_, what)| what.to_owned())
    };
    let this = told(call);
    let before: Vec<String> = (0..call).map(told).collect();
    let why = match point {
        SyncPoint::Folder(_) => match before.last() {
            Some(last) if last.starts_with("Rename") => "replace",
            Some(last) if last.starts_with("sync") && before[call - 2].starts_with("append") => {
                "begin"
            }
            _ => "recovery",
        },
        _ => {
            let path = this.trim_start_matches("sync ");
            let touched = before.iter().rposition(|what| what.contains(path)).unwrap();
            let new = touched > 0 && before[touched - 1].starts_with("Create");
            let with_log = before[touched..].iter().any(|what| what.contains("to log/"));
            match &before[touched] {
                last if last.starts_with("cut") => "cut",
                last if !last.starts_with("append") => "recovery",
                _ if new => "begin",
                _ if with_log => "commit",
                _ => "end",
            }
        }
    };
    format!("{why}: {point:?}")
}

#[test]
fn every_line_that_syncs_is_needed() {
    let tape = record(true);
    let mut needed: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (at, point) in tape.disk.sync_calls() {
        let origin = origin(&tape.disk, at, &point);
        if origin.starts_with("recovery") && point != SyncPoint::Folder(String::new()) {
            // After kills only: the next test.
            continue;
        }
        let known = needed.entry(origin).or_default();
        if known.is_some() {
            continue;
        }
        let forgetful = tape.forgetting(&SyncPoint::Call(at));
        *known = (0..30).find_map(|seed| {
            (at + 1..tape.disk.calls().min(at + 12)).find_map(|calls| {
                let fresh = Arc::new(MemoryIndex::new());
                revive(&forgetful, calls, Death::Power(seed), fresh).err()
            })
        });
    }
    let origins: Vec<&str> = needed.keys().map(String::as_str).collect();
    assert_eq!(
        origins,
        [
            r#"begin: File("CLOSED.new")"#,
            r#"begin: File("chunks/NNNNNNNN.seg")"#,
            r#"begin: File("log/NNNNNNNN.log")"#,
            r#"begin: Folder("chunks")"#,
            r#"begin: Folder("log")"#,
            r#"commit: File("chunks/NNNNNNNN.seg")"#,
            r#"commit: File("log/NNNNNNNN.log")"#,
            r#"cut: File("chunks/NNNNNNNN.seg")"#,
            r#"cut: File("log/NNNNNNNN.log")"#,
            r#"end: File("chunks/NNNNNNNN.seg")"#,
            r#"recovery: Folder("")"#,
            r#"replace: Folder("")"#,
        ]
    );
    for (origin, loss) in needed {
        // After a power cut the first mark has synced the root already; after a kill it may not have,
        // which the next test shows.
        let is_for_kills = origin == r#"recovery: Folder("")"#;
        assert!(loss.is_some() || is_for_kills, "nothing is lost without {origin}");
    }
}

/// Kills the process behind this call, opens the store with these syncs left out, goes on or not, and
/// cuts the power: what is gone of what it had shown, or acknowledged?
fn loss_in_recovery(
    tape: &Recording,
    point: &SyncPoint,
    calls: usize,
    goes_on: bool,
    seed: u64,
) -> Result<(), String> {
    let disk = tape.disk.after_kill(calls);
    let index = Arc::new(MemoryIndex::new());
    let vault = open(tape, &disk, &index).unwrap();
    for (at, kind) in disk.sync_calls() {
        if at >= calls && kind == *point {
            disk.forgetting(SyncPoint::Call(at));
        }
    }
    if goes_on {
        Entry::new(9_000, 1, vec![]).commit(&vault).unwrap();
    }
    let shown = facts_of(index.as_ref());
    let cut = disk.after_power_cut(disk.calls(), seed);
    drop(vault);
    let fresh = Arc::new(MemoryIndex::new());
    let vault = open(tape, &cut, &fresh)?;
    check(tape, calls, &vault, &fresh)?;
    check_audit(tape, &cut, true)?;
    if facts_of(fresh.as_ref()) == shown { Ok(()) } else { Err("shown, and gone".into()) }
}

#[test]
fn every_sync_of_recovery_is_needed() {
    let tape = record(true);
    let disk = tape.disk.after_kill(0);
    drop(open(&tape, &disk, &Arc::default()).unwrap());
    let points = [
        SyncPoint::File("chunks/NNNNNNNN.seg".into()),
        SyncPoint::File("log/NNNNNNNN.log".into()),
        SyncPoint::Folder(String::new()),
        SyncPoint::Folder("log".into()),
    ];
    for point in points {
        let honest: Vec<usize> = (0..=tape.disk.calls()).filter(|c| !tape.disk.lies(*c)).collect();
        let lost = (0..10).any(|seed| {
            honest.iter().any(|calls| {
                [false, true]
                    .iter()
                    .any(|goes_on| loss_in_recovery(&tape, &point, *calls, *goes_on, seed).is_err())
            })
        });
        assert!(lost, "nothing is lost without {point:?}");
    }
    // And it syncs nothing else: a segment's name is durable before a commit refers to it.
    let synced = disk.sync_calls().into_iter().map(|(_, point)| point).collect::<Vec<_>>();
    // The first two are the mark that every store begins with.
    let root = || SyncPoint::Folder(String::new());
    let mark = SyncPoint::File("CLOSED.new".into());
    assert_eq!(synced, [mark, root(), SyncPoint::Folder("log".into()), root()]);
}

/// Starts over a disk on which this read and those behind it fail for a while, and then over a sound one.
fn start_twice(
    tape: &Recording,
    calls: usize,
    death: Death,
    (errno, good, times): (Errno, usize, usize),
) -> Result<bool, String> {
    let disk = death.of(&tape.disk, calls);
    let bad = FaultyDisk::over(Arc::new(disk.clone()));
    bad.refuse(Call::Read, "", errno, good, times);
    let index = Arc::new(MemoryIndex::new());
    let first = tape.store.open_on(Arc::new(bad.clone()), index, SMALL, false);
    let failed = bad.failed() > 0;
    bad.repair();
    // This start dies too, regardless of how it ended.
    let again = disk.after_power_cut(disk.calls(), death.seed() + 3);
    drop(first);
    let fresh = Arc::new(MemoryIndex::new());
    let vault = tape.store.open(&again, &fresh).map_err(|e| format!("it does not open: {e}"))?;
    if let Some(why) = vault.read_only() {
        return Err(format!("it is read-only: {why}"));
    }
    let seen = facts_of(fresh.as_ref());
    for (number, (entry, answer)) in tape.entries.iter().enumerate() {
        let there = entry.facts.iter().filter(|fact| seen.contains(fact)).count();
        match answer {
            Answer::Durable(at) if *at <= calls => {
                if there != entry.facts.len() {
                    return Err(format!("entry {number} was acknowledged and is gone"));
                }
                for bytes in &entry.chunks {
                    if reads(&vault, bytes) != Ok(true) {
                        return Err(format!("a chunk of entry {number} is gone"));
                    }
                }
            }
            Answer::Refused(at) if *at <= calls && there > 0 => {
                return Err(format!("entry {number} was refused and is there"));
            }
            // Half of what nobody was told of may have been kept, since it could not be read.
            _ => {}
        }
    }
    let more = Entry::new(9_000, 1, vec![chunk(900, 1_100)]);
    more.commit(&vault).map_err(|e| format!("it takes nothing more: {e}"))?;
    Ok(failed)
}

#[test]
fn a_start_that_meets_reads_that_fail_leaves_everything_to_the_next_one() {
    let tape = record(true);
    let mut failed = 0;
    for calls in (0..=tape.disk.calls()).step_by(5) {
        for (round, death) in [Death::Kill, Death::Power(calls as u64)].into_iter().enumerate() {
            if matches!(death, Death::Kill) && tape.disk.lies(calls) {
                continue;
            }
            for errno in [Errno::IO, Errno::MFILE] {
                for times in [1, usize::MAX] {
                    for good in [0, 1 + round, 5 + calls % 7, 12 + calls % 11] {
                        let how = (errno, good, times);
                        match start_twice(&tape, calls, death, how) {
                            Ok(met) => failed += usize::from(met),
                            Err(why) => panic!("behind call {calls}, {death:?}, {how:?}: {why}"),
                        }
                    }
                }
            }
        }
    }
    assert!(failed > 300, "{failed} starts met one");
}
