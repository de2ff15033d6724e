//! Power cuts and kills behind every call of a disk with segments, whose log is kept elsewhere: at that moment it may
//! have the commit that was on its way, or not, or get it later.

use std::sync::Arc;

use lucid_store::files::audit::{OtherHalf, audit_with};
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::simulated::{SimulatedDisk, SyncPoint};
use lucid_store::files::{LogElsewhere, UnopenedStore, open_with_log};
use lucid_store::memory::fact_log::{Ending, MemoryLog};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::{CommitError, StoreError};

use super::halves::{LogAside, Made};
use super::{Answer, Death, Told, check, fresh, sound};
use crate::bench::{Entry, Rows, SMALL, Store, chunk, facts_of, index_of, reads};

pub fn open(
    store: &Store,
    disk: &SimulatedDisk,
    log: &Arc<LogAside>,
    index: &Arc<MemoryIndex>,
) -> Result<Vault, StoreError> {
    open_on(store, Arc::new(disk.clone()), log, index, false)
}

pub fn open_on(
    store: &Store,
    disk: Arc<dyn Disk>,
    log: &Arc<LogAside>,
    index: &Arc<MemoryIndex>,
    accept_loss: bool,
) -> Result<Vault, StoreError> {
    let unopened = UnopenedStore {
        disk,
        store: store.id,
        cipher: store.cipher.clone(),
        index: index.clone(),
        project: Arc::new(Rows),
        accept_loss,
        limits: SMALL,
    };
    let elsewhere = LogElsewhere { log: log.clone(), start: MemoryLog::start() };
    open_with_log(unopened, elsewhere, &|_, _| true)
}

struct Tape {
    store: Store,
    disk: SimulatedDisk,
    log: Arc<LogAside>,
    told: Told,
    /// Commits of which no answer came, and that did not happen: with how many commits were before each.
    lost: Vec<(usize, Made)>,
    snapshots: Vec<(usize, Arc<MemoryIndex>)>,
}

impl Tape {
    fn commit(&mut self, vault: &Vault, entry: Entry) {
        let answer = match entry.commit(vault) {
            Ok(_) => Answer::Durable(self.disk.calls()),
            Err(error) if error.maybe_applied() => Answer::Unheard,
            Err(_) => Answer::Refused(self.disk.calls()),
        };
        self.told.push((entry, answer));
    }

    fn snapshot(&mut self, index: &MemoryIndex) {
        self.snapshots.push((self.disk.calls(), index_of(&index.rows())));
    }

    fn kill(&mut self, vault: Vault) {
        let made = self.log.made();
        self.lost.append(&mut self.log.lost());
        self.disk = self.disk.after_kill(self.disk.calls());
        self.log = LogAside::with(made, &self.disk);
        drop(vault);
    }

    fn open(&self, index: &Arc<MemoryIndex>) -> Vault {
        sound(open(&self.store, &self.disk, &self.log, index)).unwrap()
    }
}

/// Fills several segments, is refused in every way there is, closes, is killed.
fn record(encrypted: bool) -> Tape {
    let store = Store::new(encrypted);
    let disk = store.disk();
    let log = LogAside::with(Vec::new(), &disk);
    let (told, lost, snapshots) = (Vec::new(), Vec::new(), Vec::new());
    let mut tape = Tape { store, disk, log, told, lost, snapshots };
    let index = fresh();
    let vault = tape.open(&index);
    tape.commit(&vault, Entry::new(100, 2, vec![]));
    tape.commit(&vault, Entry::new(2, 2, vec![chunk(1, 700), chunk(2, 90)]));
    tape.snapshot(&index);
    tape.commit(&vault, Entry::new(4, 1, vec![chunk(1, 700), chunk(3, 600), chunk(3, 600)]));
    tape.log.end_next(Ending::Refused);
    tape.commit(&vault, Entry::new(5, 1, vec![chunk(4, 500)]));
    tape.commit(&vault, Entry::new(6, 1, vec![chunk(4, 500), chunk(5, 1_500)]));
    tape.log.end_next(Ending::Unheard);
    tape.commit(&vault, Entry::new(7, 1, vec![chunk(6, 300)]));
    tape.commit(&vault, Entry::new(8, 1, vec![chunk(7, 300)]));
    tape.snapshot(&index);
    tape.log.end_next(Ending::Lost);
    tape.commit(&vault, Entry::new(9, 1, vec![chunk(8, 300)]));
    tape.commit(&vault, Entry::new(10, 1, vec![chunk(9, 900)]));
    tape.disk.set_space(Some(300));
    tape.commit(&vault, Entry::new(11, 1, vec![chunk(10, 500)]));
    tape.disk.set_space(None);
    tape.commit(&vault, Entry::new(12, 1, vec![chunk(10, 500), chunk(11, 1_200)]));
    tape.disk.fail_syncs(0, 1);
    tape.commit(&vault, Entry::new(13, 1, vec![chunk(12, 600)]));
    tape.commit(&vault, Entry::new(14, 1, vec![chunk(13, 600)]));
    tape.snapshot(&index);
    vault.close().unwrap();
    drop(vault);

    let vault = tape.open(&index);
    tape.commit(&vault, Entry::new(20, 1, vec![chunk(14, 1_000)]));
    tape.commit(&vault, Entry::new(21, 1, vec![chunk(15, 1_000)]));
    tape.log.end_next(Ending::Lost);
    tape.commit(&vault, Entry::new(22, 1, vec![chunk(16, 400)]));
    tape.snapshot(&index);
    tape.kill(vault);

    let vault = tape.open(&index);
    for round in 0..4 {
        let chunks = vec![chunk(20 + round, 500 + 300 * round as usize)];
        tape.commit(&vault, Entry::new(40 + round, 1, chunks));
    }
    vault.close().unwrap();
    drop(vault);
    tape.snapshot(&index);
    tape.lost.append(&mut tape.log.lost());
    tape
}

/// What the log has at the moment of death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    /// Everything that can have come.
    Late,
    /// Nothing that may be on its way still.
    Early,
    /// The same, and what was on its way comes to it before the next commit.
    Landing,
}

fn check_audit(
    tape: &Tape,
    disk: &SimulatedDisk,
    log: &LogAside,
    opened: bool,
) -> Result<(), String> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (cipher, other) = (Some(tape.store.cipher.as_ref()), Some(OtherHalf::Log(log)));
    let found = audit_with(&disk, cipher, tape.store.id, None, other, &|_, _| {})
        .map_err(|error| error.to_string())?;
    assert_eq!((found.unknown, found.not_checked), (vec![], vec![]));
    match (found.damage.first(), found.torn.first()) {
        (Some(damage), _) => Err(format!("the audit says: {damage}")),
        (None, Some(torn)) if opened => Err(format!("the audit says after opening: {torn}")),
        _ => Ok(()),
    }
}

fn revive(
    tape: &Tape,
    calls: usize,
    death: Death,
    log: Log,
    index: Arc<MemoryIndex>,
) -> Result<(), String> {
    let disk = death.of(&tape.disk, calls);
    let before = if log == Log::Late { calls + 1 } else { calls };
    let all = tape.log.made();
    let made: Vec<Made> = all.iter().filter(|made| made.calls < before).cloned().collect();
    let aside = LogAside::with(made.clone(), &disk);
    check_audit(tape, &disk, &aside, false)?;
    let vault = sound(open(&tape.store, &disk, &aside, &index))?;
    check(&tape.told, before, &vault, &index)?;
    check_audit(tape, &disk, &aside, true)?;

    if log == Log::Landing {
        let is_next =
            |(number, lost): &&(usize, Made)| *number == made.len() && lost.calls <= calls;
        let lost = tape.lost.iter().find(is_next).map(|(_, lost)| lost);
        match all.get(made.len()).filter(|made| made.calls == calls).or(lost) {
            Some(late) => aside.come_late(late.clone()),
            None => return Ok(()),
        }
    }
    let more = Entry::new(9_000, 2, vec![chunk(900, 1_100), chunk(901, 30)]);
    let even_more = Entry::new(9_010, 1, vec![chunk(902, 1_700)]);
    for entry in [&more, &even_more] {
        entry.commit(&vault).map_err(|error| format!("it takes nothing more: {error}"))?;
    }
    let checked = |vault: &Vault, index: &MemoryIndex| {
        check(&tape.told, before, vault, index)?;
        let seen = facts_of(index);
        for entry in [&more, &even_more] {
            if !entry.facts.iter().all(|fact| seen.contains(fact)) {
                return Err("what was acknowledged after a restart is gone".to_owned());
            }
            for bytes in &entry.chunks {
                if !reads(vault, bytes)? {
                    return Err("a chunk acknowledged after a restart is gone".into());
                }
            }
        }
        Ok(())
    };
    checked(&vault, &index)?;
    let last = disk.after_power_cut(disk.calls(), death.seed() + 2);
    drop(vault);
    // With an index that is made anew, and with the one that is left.
    for index in [fresh(), index] {
        let vault = sound(open(&tape.store, &last, &aside, &index))?;
        checked(&vault, &index)?;
        check_audit(tape, &last, &aside, true)?;
    }
    Ok(())
}

fn indexes(tape: &Tape, calls: usize, log: Log, seed: u64) -> Vec<Arc<MemoryIndex>> {
    let before = if log == Log::Late { calls + 1 } else { calls };
    let older: Vec<_> = tape.snapshots.iter().filter(|(at, _)| *at < before).collect();
    let mut indexes = vec![fresh()];
    if !older.is_empty() {
        indexes.push(index_of(&older[usize::try_from(seed).unwrap() % older.len()].1.rows()));
    }
    indexes
}

fn every_death_is_survived(encrypted: bool, seeds: u64) {
    let tape = record(encrypted);
    let (mut lives, mut landed) = (0, 0);
    for calls in 0..=tape.disk.calls() {
        for death in std::iter::once(Death::Kill).chain((0..seeds).map(Death::Power)) {
            // What was read after a sync that failed may not be on the disk: no program can keep that.
            if matches!(death, Death::Kill) && tape.disk.lies(calls) {
                continue;
            }
            for log in [Log::Late, Log::Early, Log::Landing] {
                for index in indexes(&tape, calls, log, death.seed() + calls as u64) {
                    lives += 1;
                    landed += usize::from(log == Log::Landing);
                    if let Err(why) = revive(&tape, calls, death, log, index) {
                        let story = tape.disk.story(calls.saturating_sub(12)..calls).join("\n");
                        panic!("{story}\nbehind call {calls}, {death:?}, {log:?}: {why}");
                    }
                }
            }
        }
    }
    assert!(lives > 900 && landed > 300, "{lives} {landed} behind {} calls", tape.disk.calls());
}

#[test]
fn encrypted_segments_under_a_log_survive_death_behind_every_call() {
    every_death_is_survived(true, 3);
}

#[test]
fn plain_segments_under_a_log_survive_death_behind_every_call() {
    every_death_is_survived(false, 3);
}

#[test]
fn segments_under_a_log_without_any_one_of_their_syncs_lose_something() {
    let tape = record(true);
    let points = tape.disk.sync_points();
    for point in &points {
        let disk = tape.disk.fork();
        disk.forgetting(point.clone());
        let (store, told) = (tape.store.clone(), tape.told.clone());
        let (log, lost) = (tape.log.clone(), tape.lost.clone());
        let tape = Tape { store, disk, log, told, lost, snapshots: Vec::new() };
        let loss = (0..10).find_map(|seed| {
            (0..=tape.disk.calls()).find_map(|calls| {
                revive(&tape, calls, Death::Power(seed), Log::Late, fresh()).err()
            })
        });
        assert!(loss.is_some(), "nothing is lost without {point:?}");
    }
    let expected = [
        SyncPoint::File("chunks/NNNNNNNN.seg".into()),
        SyncPoint::Folder(String::new()),
        SyncPoint::Folder("chunks".into()),
    ];
    assert_eq!(points, expected);
}

#[test]
fn every_kind_of_answer_was_given() {
    let tape = record(false);
    let count = |is: fn(&Answer) -> bool| tape.told.iter().filter(|(_, told)| is(told)).count();
    assert_eq!(count(|told| matches!(told, Answer::Refused(_))), 3);
    assert_eq!(count(|told| matches!(told, Answer::Unheard)), 3);
    assert_eq!(count(|told| matches!(told, Answer::Durable(_))), 14);
    assert!(CommitError::Maybe(String::new()).maybe_applied());
}
