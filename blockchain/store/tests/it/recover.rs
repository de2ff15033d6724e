//! Disks that are full or fail to sync: what was refused surely did not happen, and the rest goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use lucid_store::CommitError;
use lucid_store::files::audit::audit;
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;
use lucid_store::vault::collect::Names;

use crate::bench::{Entry, Store, chunk, facts_of, files, id_of, reads, without};

/// A store with two commits, closed, and the index that goes with it.
fn begun(store: &Store) -> (SimulatedDisk, Arc<MemoryIndex>, Vec<Entry>) {
    let disk = store.disk();
    let index = Arc::new(MemoryIndex::new());
    let vault = store.open(&disk, &index).unwrap();
    let entries =
        vec![Entry::new(1, 1, vec![chunk(1, 600)]), Entry::new(2, 2, vec![chunk(2, 900)])];
    for entry in &entries {
        entry.commit(&vault).unwrap();
    }
    vault.close().unwrap();
    (disk, index, entries)
}

/// All of these are there, and nothing else.
fn holds(store: &Store, disk: &SimulatedDisk, entries: &[Entry], what: &str) {
    let index = Arc::new(MemoryIndex::new());
    let vault = store.open(disk, &index).unwrap();
    assert_eq!(vault.damage(), [], "{what}");
    assert_eq!(vault.read_only(), None, "{what}");
    let wanted: Vec<_> = entries.iter().flat_map(|entry| entry.facts.clone()).collect();
    assert_eq!(facts_of(index.as_ref()), wanted, "{what}");
    for bytes in entries.iter().flat_map(|entry| &entry.chunks) {
        assert_eq!(reads(&vault, bytes), Ok(true), "{what}");
    }
    drop(vault);
    let audited: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = audit(&audited, Some(&store.cipher), store.id, None, &|_, _| {}).unwrap();
    assert_eq!(found.damage, [], "{what}");
}

/// After a restart in order, after a kill and after power cuts.
fn holds_for_good(store: &Store, disk: &SimulatedDisk, entries: &[Entry], what: &str) {
    for seed in 0..3 {
        let cut = disk.after_power_cut(disk.calls(), seed);
        holds(store, &cut, entries, &format!("{what}, power cut {seed}"));
    }
    holds(store, &disk.after_kill(disk.calls()), entries, &format!("{what}, killed"));
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let store = Store::new(true);
    let (origin, _, entries) = begun(&store);
    let refused = Entry::new(10, 2, vec![chunk(10, 500), chunk(11, 200)]);
    let later = Entry::new(20, 1, vec![chunk(10, 500), chunk(20, 100)]);
    let mut fitted = None;
    for budget in 0.. {
        let disk = origin.fork();
        let index = Arc::new(MemoryIndex::new());
        let vault = store.open(&disk, &index).unwrap();
        disk.set_space(Some(budget));
        let what = format!("{budget} bytes free");
        match refused.commit(&vault) {
            Err(error) => {
                assert!(matches!(error, CommitError::Full(_)), "{what}: {error}");
                assert!(!error.maybe_applied());
                assert!(error.to_string().starts_with("the disk is full: "), "{error}");
            }
            Ok(_) => {
                fitted = Some(budget);
                break;
            }
        }
        assert_eq!(facts_of(index.as_ref()).len(), 3, "{what}");
        assert_eq!(reads(&vault, &refused.chunks[1]), Ok(false), "{what}");
        if budget % 16 == 0 {
            holds_for_good(&store, &disk, &entries, &what);
        }
        disk.set_space(None);
        later.commit(&vault).unwrap();
        let more = [entries.clone(), vec![later.clone()]].concat();
        if budget % 16 == 0 {
            holds_for_good(&store, &disk, &more, &format!("{what}, then more"));
        }
    }
    // Two chunks, two facts and a commit: the loop saw every byte of them.
    assert!(fitted.is_some_and(|bytes| bytes > 1_400), "{fitted:?}");
}

#[test]
fn a_disk_too_full_to_begin_a_file_is_a_full_disk() {
    let store = Store::new(true);
    for budget in 0..400 {
        let disk = store.disk();
        let index = Arc::new(MemoryIndex::new());
        let vault = store.open(&disk, &index).unwrap();
        disk.set_space(Some(budget));
        let entry = Entry::new(1, 1, vec![chunk(1, 300)]);
        let error = entry.commit(&vault).unwrap_err();
        assert!(matches!(error, CommitError::Full(_)), "{budget}: {error}");
        disk.set_space(None);
        if budget % 16 == 0 {
            holds_for_good(&store, &disk, &[], &format!("{budget} bytes free"));
        }
        entry.commit(&vault).unwrap();
        holds(&store, &disk.after_kill(disk.calls()), &[entry], &format!("{budget} bytes free"));
    }
}

#[test]
fn a_footer_that_does_not_fit_costs_no_commit() {
    let store = Store::new(true);
    for budget in (0..900).step_by(7) {
        let (disk, index, mut entries) = begun(&store);
        let vault = store.open(&disk, &index).unwrap();
        // The chunk fills the segment, so its footer follows the commit.
        let large = Entry::new(10, 1, vec![chunk(10, 1_500)]);
        let before: usize = files(&disk).values().map(Vec::len).sum();
        let trial = disk.fork();
        {
            let index = Arc::new(MemoryIndex::new());
            let vault = store.open(&trial, &index).unwrap();
            large.commit(&vault).unwrap();
        }
        let ended: usize = trial
            .list("chunks")
            .unwrap()
            .iter()
            .map(|name| files(&trial)[&format!("chunks/{name}")].len())
            .sum();
        assert!(ended > 3_000 && before > 0, "the workload fills the segment");
        // Enough for the commit, and `budget` bytes of the footer.
        let commit_bytes = committed_bytes(&store, &disk, &large);
        disk.set_space(Some(commit_bytes + budget));
        large.commit(&vault).unwrap();
        entries.push(large);
        disk.set_space(None);
        let what = format!("{budget} bytes for the footer");
        holds_for_good(&store, &disk, &entries, &what);
        for number in [20, 30] {
            let more = Entry::new(number, 1, vec![chunk(number, 700)]);
            more.commit(&vault).unwrap();
            entries.push(more);
        }
        for bytes in entries.iter().flat_map(|entry| &entry.chunks) {
            assert_eq!(reads(&vault, bytes), Ok(true), "{what}");
        }
        holds_for_good(&store, &disk, &entries, &what);
    }
}

/// What a commit of this entry writes, without the footer that may follow.
fn committed_bytes(store: &Store, disk: &SimulatedDisk, entry: &Entry) -> u64 {
    let disk = disk.after_kill(disk.calls());
    let wide = lucid_store::files::Limits::default();
    let size = |disk: &SimulatedDisk| -> u64 { files(disk).values().map(|f| f.len() as u64).sum() };
    let index = Arc::new(MemoryIndex::new());
    let vault = store.open_with(&disk, index, wide, false).unwrap();
    let before = size(&disk);
    entry.commit(&vault).unwrap();
    size(&disk) - before
}

/// Lets the syncs from `good` on fail `bad` times while an entry is committed, and checks the answer.
fn with_failing_syncs(good: usize, bad: usize) {
    let store = Store::new(true);
    let (disk, index, mut entries) = begun(&store);
    let vault = store.open(&disk, &index).unwrap();
    let what = format!("{good} good syncs, {bad} bad ones");
    disk.fail_syncs(good, bad);
    let entry = Entry::new(10, 2, vec![chunk(10, 1_500)]);
    let outcome = entry.commit(&vault);
    disk.fail_syncs(0, 0);
    match &outcome {
        Ok(_) => entries.push(entry),
        Err(CommitError::Failed(_)) => {
            assert_eq!(facts_of(index.as_ref()).len(), 3, "{what}");
            holds_for_good(&store, &disk, &entries, &what);
        }
        Err(CommitError::Broken(why)) => {
            assert!(!why.is_empty());
            still_refused(&vault, &what);
            broken_is_recovered(&store, &disk, &entries, &entry, &what);
            return;
        }
        Err(other) => panic!("{what}: {other}"),
    }
    for number in [20, 30] {
        let more = Entry::new(number, 1, vec![chunk(number, 700)]);
        match more.commit(&vault) {
            Ok(_) => entries.push(more),
            Err(CommitError::Broken(_)) if vault.read_only().is_some() => {}
            Err(other) => panic!("{what}: {other}"),
        }
    }
    holds_for_good(&store, &disk, &entries, &format!("{what}, then more"));
}

fn still_refused(vault: &Vault, what: &str) {
    let error = Entry::new(20, 1, vec![]).commit(vault).unwrap_err();
    assert!(error.maybe_applied(), "{what}: {error}");
    let text = error.to_string();
    assert!(text.starts_with("the store stopped writing: "), "{text}");
    assert!(text.ends_with("restart to recover what was acknowledged"), "{text}");
    assert!(vault.read_only().is_some(), "{what}");
}

/// A broken store may have applied the last entry; as a whole, or not at all.
fn broken_is_recovered(
    store: &Store,
    disk: &SimulatedDisk,
    entries: &[Entry],
    last: &Entry,
    what: &str,
) {
    for seed in 0..4 {
        let cut = disk.after_power_cut(disk.calls(), seed);
        let index = Arc::new(MemoryIndex::new());
        let vault = store.open(&cut, &index).unwrap();
        assert_eq!(vault.damage(), [], "{what}");
        let seen = facts_of(index.as_ref());
        let known = entries.iter().flat_map(|e| e.facts.clone()).collect::<Vec<_>>();
        let all = [known.clone(), last.facts.clone()].concat();
        assert!(seen == known || seen == all, "{what}: {} facts", seen.len());
        Entry::new(90, 1, vec![chunk(90, 90)]).commit(&vault).unwrap();
    }
}

#[test]
fn a_failed_sync_refuses_its_batch_and_writing_goes_on_in_new_files() {
    for bad in 1..4 {
        for good in 0..8 {
            with_failing_syncs(good, bad);
        }
    }
}

#[test]
fn a_sync_that_failed_is_not_trusted_when_it_later_succeeds() {
    let store = Store::new(true);
    let (disk, index, mut entries) = begun(&store);
    let vault = store.open(&disk, &index).unwrap();
    let log_files = disk.list("log").unwrap().len();
    disk.fail_syncs(0, 1);
    Entry::new(10, 1, vec![]).commit(&vault).unwrap_err();
    let more = Entry::new(20, 1, vec![]);
    more.commit(&vault).unwrap();
    entries.push(more);
    assert_eq!(disk.list("log").unwrap().len(), log_files + 1);
    holds_for_good(&store, &disk, &entries, "after a failed sync");
}

#[test]
fn a_store_whose_log_is_gone_opens_for_reading_and_removes_nothing() {
    let store = Store::new(true);
    let (disk, _, _) = begun(&store);
    let lost = without(&without(&disk, "log/00000001.log"), "CLOSED");
    let segments = lost.list("chunks").unwrap();
    let vault = store.open(&lost, &Arc::new(MemoryIndex::new())).unwrap();
    let why = vault.read_only().unwrap();
    assert!(why.contains("chunks/00000001.seg holds chunks whose commits are missing"), "{why}");
    assert!(why.contains("lucid reindex --accept-loss"), "{why}");
    let error = Entry::new(20, 1, vec![]).commit(&vault).unwrap_err();
    assert!(!error.maybe_applied());
    drop(vault);
    assert_eq!(lost.list("chunks").unwrap(), segments);
}

#[test]
fn an_accepted_loss_keeps_every_chunk_and_writes_on() {
    let store = Store::new(true);
    let (disk, _, entries) = begun(&store);
    let lost = without(&disk, "log/00000001.log");
    let limits = crate::bench::SMALL;
    let index = Arc::new(MemoryIndex::new());
    let vault = store.open_with(&lost, index.clone(), limits, true).unwrap();
    assert_eq!(vault.read_only(), None);
    assert!(vault.damage().iter().any(|damage| damage.file == "log/00000001.log"));
    for bytes in entries.iter().flat_map(|entry| &entry.chunks) {
        assert_eq!(reads(&vault, bytes), Ok(true));
    }
    let more = Entry::new(20, 1, vec![chunk(20, 700)]);
    more.commit(&vault).unwrap();
    drop(vault);
    let index = Arc::new(MemoryIndex::new());
    let vault = store.open(&lost, &index).unwrap();
    assert_eq!(vault.read_only(), None);
    assert_eq!(facts_of(index.as_ref()), more.facts);
    assert_eq!(reads(&vault, &more.chunks[0]), Ok(true));
    assert_eq!(lost.list("chunks").unwrap(), ["00000001.seg"]);
}

#[test]
fn a_segment_that_lost_its_end_is_not_written_behind() {
    let store = Store::new(true);
    let (disk, index, entries) = begun(&store);
    let short = disk.fork();
    let file = short.open("chunks/00000001.seg").unwrap().unwrap();
    file.truncate(file.length().unwrap() - 10).unwrap();
    let vault = store.open(&short, &index).unwrap();
    assert!(vault.damage().iter().any(|damage| damage.file == "chunks/00000001.seg"));
    let more = Entry::new(20, 1, vec![chunk(20, 700)]);
    more.commit(&vault).unwrap();
    assert_eq!(reads(&vault, &more.chunks[0]), Ok(true));
    assert_eq!(reads(&vault, &entries[0].chunks[0]), Ok(true));
    assert!(reads(&vault, &entries[1].chunks[0]).is_err());
}

#[test]
fn an_index_of_another_log_is_refused_and_a_rebuilt_one_agrees() {
    let store = Store::new(true);
    let (disk, index, _) = begun(&store);
    let (other, _, _) = {
        let disk = store.disk();
        let index = Arc::new(MemoryIndex::new());
        let vault = store.open(&disk, &index).unwrap();
        for number in 0..6 {
            Entry::new(100 + number, 1, vec![]).commit(&vault).unwrap();
        }
        vault.close().unwrap();
        (disk, index, ())
    };
    let Err(error) = store.open(&other, &index) else { panic!("it was taken") };
    assert!(error.to_string().contains("lucid reindex"), "{error}");
    let rebuilt = Arc::new(MemoryIndex::new());
    drop(store.open(&disk, &rebuilt).unwrap());
    assert_eq!(rebuilt.rows(), index.rows());
}

#[test]
fn a_reference_to_an_unknown_chunk_is_refused_with_its_name() {
    let store = Store::new(true);
    let (disk, index, _) = begun(&store);
    let vault = store.open(&disk, &index).unwrap();
    let mut entry = Entry::new(50, 1, vec![chunk(50, 100)]);
    let mut submission = entry.submission(&vault);
    submission.chunks.clear();
    let name = submission.requires[0];
    match vault.commit(submission) {
        Err(CommitError::Missing(names)) => assert_eq!(names, [name]),
        other => panic!("{other:?}"),
    }
    assert_eq!(facts_of(index.as_ref()).len(), 3);
    entry.chunks.push(chunk(50, 100));
    entry.commit(&vault).unwrap();
    assert_eq!(facts_of(index.as_ref()).len(), 4);
}

#[test]
fn a_collection_over_failing_syncs_says_whether_it_may_have_happened() {
    let mut told = BTreeSet::new();
    for good in 0..12 {
        for bad in 1..4 {
            let (store, disk, index, chunks) = crate::segments::filled();
            let vault = store.open(&disk, &index).unwrap();
            let mut live = Names::default();
            chunks[10..].iter().for_each(|c| live.add(&vault.cipher().chunk_name(&id_of(c))));
            live.settle();
            disk.fail_syncs(good, bad);
            let outcome =
                vault.begin_collection().unwrap().run(&live, &|_, _| Ok(true), &mut |_, _| true);
            disk.fail_syncs(0, 0);
            let what = format!("{good} good, {bad} bad: {outcome:?}");
            let broken = vault.read_only().is_some();
            if let Err(error) = &outcome {
                assert_eq!(error.maybe_applied(), broken, "{what}");
                told.insert(broken);
            }
            drop(vault);
            let cut = disk.after_power_cut(disk.calls(), good as u64);
            let vault = store.open(&cut, &Arc::new(MemoryIndex::new())).unwrap();
            assert_eq!(vault.damage(), [], "{what}");
            for bytes in &chunks[10..] {
                assert_eq!(reads(&vault, bytes), Ok(true), "{what}");
            }
        }
    }
    assert_eq!(told.len(), 2, "both happened");
}

#[test]
fn an_index_of_another_log_is_refused_also_where_the_commit_in_its_place_is_damaged() {
    let store = Store::new(false);
    let log = "log/00000001.log";
    let made = |number: u32| {
        let (disk, index) = (store.disk(), Arc::new(MemoryIndex::new()));
        let vault = store.open(&disk, &index).unwrap();
        Entry::new(number, 1, vec![]).commit(&vault).unwrap();
        vault.close().unwrap();
        (disk, index)
    };
    let ((disk, index), (other, _)) = (made(1), made(2));
    let length = files(&disk)[log].len();
    assert_eq!(files(&other)[log].len(), length);
    // No commit behind it tells either.
    assert!(other.flip(log, length - 8));
    let Err(error) = store.open(&other, &index) else { panic!("it was taken") };
    assert!(error.to_string().contains("lucid reindex"), "{error}");
}
