//! Bytes that change on the medium: found, named, never returned; the rest stays readable.

use std::sync::Arc;

use crate::contract::chain::conformance::{STORE, assert_holds, chain_of, next, parts};
use crate::contract::chain::*;
use crate::files::chain::*;
use crate::files::disk::faulty::{Call, FaultyDisk};
use crate::files::disk::simulated::SimulatedDisk;
use crate::files::disk::{Disk as _, read_all, replace};
use crate::frame::{RecordKind, Scanner, Step};

fn stored() -> (SimulatedDisk, ChainParts, Vec<ValidBlock>) {
    let disk = SimulatedDisk::new();
    let kept = parts(&disk);
    let chain = ChainFiles::open(kept.clone()).unwrap();
    let blocks = chain_of(&[2, 1, 3]);
    for block in &blocks {
        chain.append(block).unwrap();
    }
    (disk, kept, blocks)
}

fn files(disk: &SimulatedDisk) -> Vec<(String, usize)> {
    let mut paths: Vec<String> =
        disk.list(FOLDER).unwrap().iter().map(|name| format!("{FOLDER}/{name}")).collect();
    paths.push(TIP.to_owned());
    paths
        .into_iter()
        .map(|path| {
            let length = read_all(disk, &path).unwrap().unwrap().len();
            (path, length)
        })
        .collect()
}

/// Everything a chain answers is either true or an error; most of it is true.
fn assert_never_wrong(chain: &dyn ChainStore, blocks: &[ValidBlock]) -> usize {
    let mut errors = 0;
    for block in blocks {
        match chain.record(block.index) {
            Ok(stored) => assert_eq!(stored.unwrap().record, BlockRecord::of(block)),
            Err(StoreError::Damaged(_)) => errors += 1,
            Err(other) => panic!("{other}"),
        }
        match chain.body(block.index) {
            Ok(body) => assert_eq!(body.unwrap(), Body::Here(block.transactions.clone())),
            Err(StoreError::Damaged(_)) => errors += 1,
            Err(other) => panic!("{other}"),
        }
        for (position, transaction) in (0..).zip(&block.transactions) {
            match chain.find(&transaction.id_digest()) {
                Ok(place) => {
                    assert_eq!(place, Some(TransactionPlace { height: block.index, position }))
                }
                Err(StoreError::Damaged(_)) => errors += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }
    errors
}

#[test]
fn every_flipped_byte_is_named_and_never_read() {
    let (disk, kept, blocks) = stored();
    assert_eq!(audit::audit(&disk, STORE).unwrap(), []);
    for (path, length) in files(&disk) {
        for offset in 0..length {
            assert!(disk.flip(&path, offset));
            let named = audit::audit(&disk, STORE).unwrap();
            assert!(named.iter().any(|damage| damage.file == path), "{path} {offset}: {named:?}");
            if offset % 7 == 0 {
                let rebuilt = ChainFiles::open(parts(&disk)).unwrap();
                assert!(assert_never_wrong(&rebuilt, &blocks) <= 1, "{path} {offset}");
                let found = rebuilt.damage();
                assert!(found.iter().any(|d| d.file == path), "{path} {offset}: {found:?}");
            }
            let known = ChainFiles::open(kept.clone()).unwrap();
            assert!(assert_never_wrong(&known, &blocks) <= 1, "{path} {offset}");
            if path == TIP {
                // With its index, the chain heals the tip mark; it must be damaged again for the next byte.
                assert!(known.read_only().is_none());
                continue;
            }
            assert!(disk.flip(&path, offset));
        }
    }
    assert_holds(&ChainFiles::open(kept).unwrap(), &blocks);
}

#[test]
fn a_damaged_record_costs_its_block_that_part_alone() {
    let (disk, _, blocks) = stored();
    assert!(disk.flip("blocks/00000001.blocks", 400));
    let chain = ChainFiles::open(parts(&disk)).unwrap();
    assert!(chain.record(0).is_err());
    assert_eq!(chain.body(0).unwrap().unwrap().here().unwrap(), blocks[0].transactions);
    assert_eq!(chain.append(&next(Some(&blocks[2]), 2, 0)).unwrap(), AppendedBlock::Stored);
}

#[test]
fn a_chain_that_lost_its_end_is_read_and_not_written() {
    let (disk, kept, blocks) = stored();
    let last = disk.list(FOLDER).unwrap().into_iter().rfind(|name| name.ends_with("bodies"));
    let path = format!("{FOLDER}/{}", last.unwrap());
    let file = disk.open(&path).unwrap().unwrap();
    file.truncate(file.length().unwrap() - 1).unwrap();
    for parts in [kept.clone(), parts(&disk)] {
        let chain = ChainFiles::open(parts).unwrap();
        let why = chain.read_only().unwrap();
        assert!(why.contains("committed up to block 2") && why.contains(&path), "{why}");
        assert!(!assert_ok(chain.append(&next(Some(&blocks[2]), 1, 0))));
        assert_eq!(chain.tip().unwrap().unwrap().height, 2);
        assert_eq!(chain.block(1).unwrap(), Some(KeptBlock::Whole((*blocks[1]).clone())));
        assert!(chain.body(2).is_err());
    }
    let accepted = ChainFiles::open(ChainParts { accept_loss: true, ..kept }).unwrap();
    assert!(accepted.read_only().is_none() && !accepted.damage().is_empty());
    assert_eq!(accepted.block(1).unwrap(), Some(KeptBlock::Whole((*blocks[1]).clone())));
}

fn assert_ok(outcome: Result<AppendedBlock, CommitError>) -> bool {
    outcome.is_ok()
}

#[test]
fn a_chain_without_its_tip_mark_is_not_written_unless_the_index_vouches() {
    let (disk, kept, blocks) = stored();
    disk.unlink(TIP).unwrap();
    let doubtful = ChainFiles::open(parts(&disk)).unwrap();
    assert!(doubtful.read_only().unwrap().contains(TIP));
    assert_eq!(assert_never_wrong(&doubtful, &blocks), 0);
    let healed = ChainFiles::open(kept).unwrap();
    assert!(healed.read_only().is_none());
    assert_eq!(healed.damage()[0].file, TIP);
    assert_eq!(audit::audit(&disk, STORE).unwrap(), []);
}

#[test]
fn an_older_copy_of_the_blocks_is_noticed() {
    let (disk, _, _) = stored();
    let newer = read_all(&disk, TIP).unwrap().unwrap();
    let other = SimulatedDisk::new();
    let chain = ChainFiles::open(parts(&other)).unwrap();
    let first = next(None, 2, 0);
    chain.append(&first).unwrap();
    chain.append(&next(Some(&first), 1, 0)).unwrap();
    replace(&other, "", TIP, &newer).unwrap();
    let old = ChainFiles::open(parts(&other)).unwrap();
    assert!(old.read_only().unwrap().contains("has lost its end"));
    // An audit says so, too, regardless of what else is damaged.
    assert!(other.flip("blocks/00000001.blocks", 400));
    let found = audit::audit(&other, STORE).unwrap();
    let why = "it names block 2";
    assert!(found.iter().any(|d| d.file == TIP && d.why.starts_with(why)), "{found:?}");
    assert!(found.iter().any(|d| d.file != TIP), "{found:?}");
}

#[test]
fn blocks_of_another_store_are_refused() {
    let (disk, _, _) = stored();
    let other = ChainParts { store: [8; 16], ..parts(&disk) };
    let chain = ChainFiles::open(other).unwrap();
    assert!(chain.damage().iter().any(|damage| damage.why.contains("another store")));
}

#[test]
fn the_loss_of_a_chain_of_which_nothing_is_left_cannot_be_accepted() {
    let (disk, kept, blocks) = stored();
    let mut put_away = Vec::new();
    for name in disk.list(FOLDER).unwrap() {
        let path = format!("{FOLDER}/{name}");
        put_away.push((name, read_all(&disk, &path).unwrap().unwrap()));
        disk.unlink(&path).unwrap();
    }
    for parts in [kept, parts(&disk)] {
        let gone = ChainFiles::open(ChainParts { accept_loss: true, ..parts }).unwrap();
        assert!(gone.read_only().is_some());
    }
    for (name, bytes) in put_away {
        replace(&disk, FOLDER, &name, &bytes).unwrap();
    }
    let back = ChainFiles::open(parts(&disk)).unwrap();
    assert!(back.read_only().is_none());
    assert_eq!(back.tip().unwrap().unwrap().hash, blocks[2].hash);
}

/// A chain on a disk that fails as it is told to, with the index that is given.
fn failing(disk: &SimulatedDisk, kept: &ChainParts) -> (FaultyDisk, ChainParts) {
    let faulty = FaultyDisk::over(Arc::new(disk.clone()));
    let parts = ChainParts { disk: Arc::new(faulty.clone()), ..kept.clone() };
    (faulty, parts)
}

#[test]
fn a_sector_that_cannot_be_read_costs_what_is_in_it() {
    for (path, length) in files(&stored().0) {
        for rebuilt in [false, true] {
            // Anew for each: the index that is kept would know what the one before appended.
            let (disk, kept, blocks) = stored();
            let with = if rebuilt { parts(&disk) } else { kept };
            let (faulty, with) = failing(&disk, &with);
            let at = length as u64 / 2;
            faulty.break_bytes(&path, at..at + 1, rustix::io::Errno::IO);
            let chain = ChainFiles::open(with).unwrap();
            assert_never_wrong(&chain, &blocks);
            let named = audit::audit(&faulty, STORE).unwrap();
            assert!(named.iter().any(|damage| damage.file == path), "{path}: {named:?}");
            if path != TIP {
                assert_eq!(
                    chain.read_only(),
                    None,
                    "{path}, rebuilt {rebuilt}: {:?}",
                    chain.damage()
                );
                let fourth = next(Some(&blocks[2]), 2, 0);
                assert_eq!(chain.append(&fourth).unwrap(), AppendedBlock::Stored, "{path}");
            }
        }
    }
}

#[test]
fn what_the_system_refuses_is_no_damage_of_a_chain() {
    let (disk, _, blocks) = stored();
    for call in [Call::Open, Call::Read, Call::List] {
        for good in 0..40 {
            let (faulty, with) = failing(&disk.fork(), &parts(&disk));
            faulty.refuse(call, "", rustix::io::Errno::MFILE, good, usize::MAX);
            match ChainFiles::open(with.clone()) {
                Ok(chain) => assert_eq!(chain.damage(), [], "{call:?} {good}"),
                Err(error) => assert!(matches!(error, StoreError::Io { .. }), "{error}"),
            }
            if let Ok(named) = audit::audit(&faulty, STORE) {
                assert_eq!(named, [], "{call:?} {good}");
            }
            faulty.repair();
            assert_holds(&ChainFiles::open(with).unwrap(), &blocks);
        }
    }
}

#[test]
fn short_reads_are_not_the_end_of_a_chain() {
    let (disk, _, blocks) = stored();
    let (faulty, with) = failing(&disk, &parts(&disk));
    faulty.shorten_reads(5);
    assert_holds(&ChainFiles::open(with).unwrap(), &blocks);
    assert_eq!(audit::audit(&faulty, STORE).unwrap(), []);
}

#[test]
fn a_file_with_a_high_number_and_a_tip_mark_far_ahead_make_no_start_endless() {
    let (disk, _, blocks) = stored();
    let junk = read_all(&disk, "blocks/00000001.blocks").unwrap().unwrap();
    for name in ["99999999.blocks", "99999999.bodies"] {
        let copy = disk.fork();
        copy.create(&format!("{FOLDER}/{name}")).unwrap().append(&[&junk]).unwrap();
        let (faulty, with) = failing(&copy, &parts(&copy));
        let chain = ChainFiles::open(with).unwrap();
        assert_holds(&chain, &blocks);
        let _named = audit::audit(&faulty, STORE).unwrap();
        assert!(faulty.calls() < 2_000, "{} calls", faulty.calls());
    }
    let copy = disk.fork();
    let tip::FoundTip::At(mark) = tip::read(&copy).unwrap() else { panic!("there is a tip mark") };
    tip::write(&copy, &tip::TipMark { height: 1 << 50, ..mark }).unwrap();
    let chain = ChainFiles::open(parts(&copy)).unwrap();
    assert!(chain.damage().len() <= 1_000);
    assert_eq!(chain.block(1).unwrap(), Some(KeptBlock::Whole((*blocks[1]).clone())));
}

#[test]
fn ids_of_a_block_that_is_lost_may_be_accepted_as_unknown() {
    let (disk, _, blocks) = stored();
    let fresh = next(Some(&blocks[2]), 1, 7);
    let id = fresh.transactions[0].id_digest();
    assert!(disk.flip("blocks/00000001.blocks", 400));
    assert!(disk.flip("blocks/00000001.bodies", 400));
    let kept = parts(&disk);
    let chain = ChainFiles::open(kept.clone()).unwrap();
    assert_eq!(chain.read_only(), None);
    let error = chain.find(&id).unwrap_err();
    assert!(error.to_string().contains("lucid reindex --accept-loss"), "{error}");
    assert!(matches!(error, StoreError::Damaged(damage) if is_of_every_id(&damage)));
    let StoreError::Damaged(of_one) = chain.record(0).unwrap_err() else { panic!("it is damaged") };
    assert!(!is_of_every_id(&of_one));
    drop(chain);
    let accepting = ChainParts { accept_loss: true, ..kept.clone() };
    assert_eq!(ChainFiles::open(accepting).unwrap().find(&id).unwrap(), None);
    // It is remembered as long as the rows are.
    let chain = ChainFiles::open(kept).unwrap();
    assert_eq!(chain.find(&id).unwrap(), None);
    assert!(chain.record(0).is_err() && chain.body(0).is_err());
    assert_eq!(chain.append(&fresh).unwrap(), AppendedBlock::Stored);
}

/// The disk with every call on these files failing as on a bad medium.
fn unreadable(disk: &SimulatedDisk, call: Call, part: &str) -> (FaultyDisk, ChainParts) {
    let (faulty, with) = failing(disk, &parts(disk));
    faulty.refuse(call, part, rustix::io::Errno::IO, 0, usize::MAX);
    (faulty, with)
}

#[test]
fn no_file_of_blocks_is_removed_because_nothing_of_them_can_be_read() {
    for (call, tip_mark) in [Call::Open, Call::Read]
        .into_iter()
        .flat_map(|call| ["damaged", "gone"].map(|tip_mark| (call, tip_mark)))
    {
        let (disk, _, blocks) = stored();
        let right = read_all(&disk, TIP).unwrap().unwrap();
        match tip_mark {
            "gone" => disk.unlink(TIP).unwrap(),
            _ => assert!(disk.flip(TIP, 20)),
        }
        let before = files_in(&disk);
        let (faulty, with) = unreadable(&disk, call, "blocks/");
        for accept_loss in [false, true, false] {
            // Each time with an index that knows nothing.
            let index = parts(&disk).index;
            let chain =
                ChainFiles::open(ChainParts { accept_loss, index, ..with.clone() }).unwrap();
            let why = chain.read_only().unwrap();
            assert!(why.contains("no block can be read"), "{call:?}, tip mark {tip_mark}: {why}");
            assert!(chain.append(&next(None, 1, 9)).is_err());
            assert!(chain.find(&blocks[0].transactions[0].id_digest()).is_err());
            assert_eq!(files_in(&disk), before, "{call:?}, tip mark {tip_mark}, {accept_loss}");
        }
        faulty.repair();
        replace(&disk, "", TIP, &right).unwrap();
        assert_holds(&ChainFiles::open(with).unwrap(), &blocks);
    }
}

/// An accepted loss removes nothing while later files cannot be read, and finds all once they can.
fn assert_no_loss_is_accepted(
    disk: &SimulatedDisk,
    (faulty, with): (&FaultyDisk, ChainParts),
    blocks: &[ValidBlock],
) {
    let before = files_in(disk);
    let chain = ChainFiles::open(ChainParts { accept_loss: true, ..with.clone() }).unwrap();
    let why = chain.read_only().unwrap();
    assert!(why.contains("move it out of blocks/ to go on from block"), "{why}");
    assert_eq!(files_in(disk), before);
    drop(chain);
    faulty.repair();
    let accepted = ChainFiles::open(ChainParts { accept_loss: true, ..with }).unwrap();
    assert_holds(&accepted, blocks);
}

fn files_in(disk: &SimulatedDisk) -> Vec<(String, Vec<u8>)> {
    let names = disk.list(FOLDER).unwrap();
    let read = |name: String| {
        let bytes = read_all(disk, &format!("{FOLDER}/{name}")).unwrap().unwrap();
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

#[test]
fn a_damaged_tip_mark_beside_headers_of_which_none_is_sound_removes_nothing() {
    let (disk, _, _) = stored();
    assert!(disk.flip(TIP, 20));
    for (name, bytes) in files_in(&disk) {
        let magic = b"LCDR";
        let starts = bytes.windows(4).enumerate().filter(|(_, at)| at == magic).map(|(at, _)| at);
        for at in starts {
            assert!(disk.flip(&format!("{FOLDER}/{name}"), at));
        }
    }
    let before = files_in(&disk);
    for accept_loss in [false, true] {
        let chain = ChainFiles::open(ChainParts { accept_loss, ..parts(&disk) }).unwrap();
        assert!(chain.read_only().unwrap().contains("no block can be read"));
        assert_eq!(files_in(&disk), before);
    }
}

#[test]
fn files_of_later_blocks_that_cannot_be_read_are_not_removed_by_an_accepted_loss() {
    let (disk, _, blocks) = stored();
    disk.unlink(TIP).unwrap();
    let names = disk.list(FOLDER).unwrap();
    let (faulty, with) = failing(&disk, &parts(&disk));
    let newest = |name: &&String| name.starts_with("00000002") || name.starts_with("00000003");
    for name in names.iter().filter(newest) {
        faulty.refuse(Call::Open, name, rustix::io::Errno::IO, 0, usize::MAX);
    }
    assert_no_loss_is_accepted(&disk, (&faulty, with), &blocks);
}

#[test]
fn a_file_of_later_blocks_of_which_only_contents_cannot_be_read_is_not_removed() {
    let (disk, _, blocks) = stored();
    disk.unlink(TIP).unwrap();
    let before = files_in(&disk);
    let (faulty, with) = failing(&disk, &parts(&disk));
    for (name, bytes) in &before {
        if name.starts_with("00000001") {
            continue;
        }
        let path = format!("{FOLDER}/{name}");
        let file = disk.open(&path).unwrap().unwrap();
        let mut scanner = Scanner::new(file.as_ref(), &path, 0, bytes.len() as u64);
        while let Some(step) = scanner.step().unwrap() {
            let Step::Record(_, header) = step else { panic!("{step:?}") };
            // The first record is of the file, not of a block.
            if header.kind != RecordKind::File {
                let last = scanner.offset() - 1;
                faulty.break_bytes(&path, last..last + 1, rustix::io::Errno::IO);
            }
        }
    }
    assert_no_loss_is_accepted(&disk, (&faulty, with), &blocks);
}

#[test]
fn pruning_that_fails_on_the_way_says_that_something_is_gone_and_the_next_one_goes_on() {
    for good in [0, 1] {
        let (disk, kept, _) = stored();
        let chain = ChainFiles::open(kept.clone()).unwrap();
        let mut blocks = chain_of(&[2, 1, 3, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
        blocks.drain(3..).for_each(|block| assert!(chain.append(&block).is_ok()));
        drop(chain);
        let (faulty, with) = failing(&disk, &kept);
        let chain = ChainFiles::open(with).unwrap();
        faulty.refuse(Call::Name, ".bodies", rustix::io::Errno::IO, good, 1);
        let error = chain.prune(13).unwrap_err();
        assert!(error.maybe_applied() && error.to_string().contains("in part"), "{error}");
        let below = chain.pruned_below();
        assert!(below > 2 && chain.prune(13).unwrap().files > 0);
        assert!(matches!(chain.body(below - 1).unwrap(), Some(Body::Pruned)));
    }
}
