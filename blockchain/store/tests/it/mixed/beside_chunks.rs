//! Power cuts and kills behind every call of a disk with a log, whose chunks are kept elsewhere.

use std::sync::Arc;

use lucid_store::StoreError;
use lucid_store::contract::blobs::Blobs;
use lucid_store::files::audit::{OtherHalf, audit_with};
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::simulated::{SimulatedDisk, SyncPoint};
use lucid_store::files::{UnopenedStore, open_with_chunks};
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;

use super::halves::ChunksAside;
use super::{Answer, Death, Told, check, fresh, sound};
use crate::bench::{Entry, Rows, SMALL, Store, chunk, facts_of, index_of, reads};

pub fn open_on(
    store: &Store,
    disk: Arc<dyn Disk>,
    chunks: Arc<dyn Blobs>,
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
    open_with_chunks(unopened, chunks, &|_, _| true)
}

pub fn open(
    store: &Store,
    disk: &SimulatedDisk,
    chunks: Arc<dyn Blobs>,
    index: &Arc<MemoryIndex>,
) -> Result<Vault, StoreError> {
    open_on(store, Arc::new(disk.clone()), chunks, index, false)
}

struct Tape {
    store: Store,
    disk: SimulatedDisk,
    chunks: Arc<ChunksAside>,
    told: Told,
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

    fn open(&self, index: &Arc<MemoryIndex>) -> Vault {
        sound(open(&self.store, &self.disk, self.chunks.clone(), index)).unwrap()
    }
}

/// Fills several log files, is refused in every way there is, closes, is killed.
fn record(encrypted: bool) -> Tape {
    let store = Store::new(encrypted);
    let disk = store.disk();
    let chunks = ChunksAside::new(&disk);
    let mut tape = Tape { store, disk, chunks, told: Vec::new(), snapshots: Vec::new() };
    let index = fresh();
    let vault = tape.open(&index);
    tape.commit(&vault, Entry::new(100, 5, vec![]));
    tape.commit(&vault, Entry::new(2, 2, vec![chunk(1, 700), chunk(2, 90)]));
    tape.snapshot(&index);
    let three = vec![chunk(3, 700), chunk(4, 600), chunk(5, 40)];
    tape.commit(&vault, Entry::new(4, 1, three));
    tape.chunks.fail_next(1);
    tape.commit(&vault, Entry::new(5, 1, vec![chunk(6, 500)]));
    tape.commit(&vault, Entry::new(6, 1, vec![chunk(6, 500), chunk(1, 700)]));
    tape.disk.set_space(Some(300));
    tape.commit(&vault, Entry::new(7, 1, vec![chunk(7, 500)]));
    tape.disk.set_space(None);
    tape.commit(&vault, Entry::new(8, 3, vec![chunk(8, 50)]));
    tape.snapshot(&index);
    tape.disk.fail_syncs(0, 1);
    tape.commit(&vault, Entry::new(15, 1, vec![chunk(9, 50)]));
    tape.commit(&vault, Entry::new(16, 1, vec![chunk(10, 600)]));
    tape.snapshot(&index);
    vault.close().unwrap();
    drop(vault);

    let vault = tape.open(&index);
    tape.commit(&vault, Entry::new(20, 1, vec![chunk(11, 1_000)]));
    tape.commit(&vault, Entry::new(21, 2, vec![]));
    tape.snapshot(&index);
    tape.disk = tape.disk.after_kill(tape.disk.calls());
    tape.chunks = tape.chunks.beside(&tape.disk);
    drop(vault);

    let vault = tape.open(&index);
    for round in 0..4 {
        let chunks = vec![chunk(20 + round, 500 + 300 * round as usize)];
        tape.commit(&vault, Entry::new(40 + 2 * round, 2, chunks));
    }
    vault.close().unwrap();
    drop(vault);
    tape.snapshot(&index);
    tape
}

fn check_audit(
    tape: &Tape,
    disk: &SimulatedDisk,
    chunks: &dyn Blobs,
    opened: bool,
) -> Result<(), String> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (cipher, other) = (Some(tape.store.cipher.as_ref()), Some(OtherHalf::Chunks(chunks)));
    let found = audit_with(&disk, cipher, tape.store.id, None, other, &|_, _| {})
        .map_err(|error| error.to_string())?;
    assert_eq!(found.unknown, [""; 0]);
    if let Some(damage) = found.damage.first() {
        return Err(format!("the audit says: {damage}"));
    }
    match found.torn.iter().find(|torn| torn.file != "CLOSED.new") {
        Some(torn) if opened => Err(format!("the audit says after opening: {torn}")),
        _ => Ok(()),
    }
}

/// Starts again with the units that were there, and perhaps the one that was on its way.
fn revive(
    tape: &Tape,
    calls: usize,
    death: Death,
    is_late: bool,
    index: Arc<MemoryIndex>,
) -> Result<(), String> {
    let disk = death.of(&tape.disk, calls);
    let chunks = Arc::new(tape.chunks.before(calls + usize::from(is_late)));
    check_audit(tape, &disk, chunks.as_ref(), false)?;
    let vault = sound(open(&tape.store, &disk, chunks.clone(), &index))?;
    check(&tape.told, calls + 1, &vault, &index)?;
    check_audit(tape, &disk, chunks.as_ref(), true)?;
    let shown = facts_of(index.as_ref());
    let again = disk.after_power_cut(disk.calls(), death.seed() + 1);
    let other = fresh();
    drop(sound(open(&tape.store, &again, chunks.clone(), &other))?);
    if facts_of(other.as_ref()) != shown {
        return Err("what was shown after a restart is gone after the next".into());
    }

    let more = Entry::new(9_000, 2, vec![chunk(900, 1_100), chunk(901, 30)]);
    more.commit(&vault).map_err(|error| format!("it takes nothing more: {error}"))?;
    let last = disk.after_power_cut(disk.calls(), death.seed() + 2);
    drop(vault);
    let index = fresh();
    let vault = sound(open(&tape.store, &last, chunks.clone(), &index))?;
    check(&tape.told, calls + 1, &vault, &index)?;
    let seen = facts_of(index.as_ref());
    if !more.facts.iter().all(|fact| seen.contains(fact)) {
        return Err("what was acknowledged after a restart is gone".into());
    }
    for bytes in &more.chunks {
        if !reads(&vault, bytes)? {
            return Err("a chunk acknowledged after a restart is gone".into());
        }
    }
    check_audit(tape, &last, chunks.as_ref(), true)
}

fn every_death_is_survived(encrypted: bool, seeds: u64) {
    let tape = record(encrypted);
    let mut lives = 0;
    for calls in 0..=tape.disk.calls() {
        for death in std::iter::once(Death::Kill).chain((0..seeds).map(Death::Power)) {
            if matches!(death, Death::Kill) && tape.disk.lies(calls) {
                continue;
            }
            for is_late in [false, true] {
                let older: Vec<_> = tape.snapshots.iter().filter(|(at, _)| *at <= calls).collect();
                let mut indexes = vec![fresh()];
                if let Some((_, index)) = older.get(calls % older.len().max(1)) {
                    indexes.push(index_of(&index.rows()));
                }
                for index in indexes {
                    lives += 1;
                    if let Err(why) = revive(&tape, calls, death, is_late, index) {
                        let story = tape.disk.story(calls.saturating_sub(12)..calls).join("\n");
                        panic!("{story}\nbehind call {calls}, {death:?}, {is_late}: {why}");
                    }
                }
            }
        }
    }
    assert!(lives > 900, "{lives} behind {} calls", tape.disk.calls());
}

#[test]
fn an_encrypted_log_beside_chunks_elsewhere_survives_death_behind_every_call() {
    every_death_is_survived(true, 3);
}

#[test]
fn a_plain_log_beside_chunks_elsewhere_survives_death_behind_every_call() {
    every_death_is_survived(false, 3);
}

#[test]
fn a_log_beside_chunks_elsewhere_without_any_one_of_its_syncs_loses_something() {
    let tape = record(true);
    let points = tape.disk.sync_points();
    for point in &points {
        let disk = tape.disk.fork();
        disk.forgetting(point.clone());
        let (store, chunks) = (tape.store.clone(), tape.chunks.clone());
        let tape = Tape { store, disk, chunks, told: tape.told.clone(), snapshots: Vec::new() };
        let loss = (0..10).find_map(|seed| {
            (0..=tape.disk.calls()).find_map(|calls| {
                [Death::Power(seed), Death::Kill]
                    .into_iter()
                    .filter(|death| !matches!(death, Death::Kill) || !tape.disk.lies(calls))
                    .find_map(|death| revive(&tape, calls, death, true, fresh()).err())
            })
        });
        assert!(loss.is_some(), "nothing is lost without {point:?}");
    }
    let expected = [
        SyncPoint::File("CLOSED.new".into()),
        SyncPoint::File("log/NNNNNNNN.log".into()),
        SyncPoint::Folder(String::new()),
        SyncPoint::Folder("log".into()),
    ];
    assert_eq!(points, expected);
}
