//! Blocks that were made elsewhere, taken in one way.

use std::ops::ControlFlow;
use std::path::Path;

use lucid_block_manager::fact;
use lucid_block_manager::opened::{Opened, Options, open};
use lucid_block_manager::ops::get_transaction::{TransactionStage, get_transaction};
use lucid_block_manager::ops::take_blocks::{
    GivenBlock, Heard, Pins, RefusedBlock, TakeError, TakeProgress, WhyRefused, take_blocks,
};
use lucid_block_manager::staging::STAGED_BLOCKS_MAX;
use lucid_core::block::{Block, Parent};
use lucid_core::digest::BlockHash;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_store::frame::{HEADER_BYTES, MAGIC};

fn now() -> Timestamp {
    Timestamp::parse("2026-01-27T10:00:00Z").unwrap()
}

fn opened(folder: &Path) -> Opened {
    open(folder, &Options::default(), now()).unwrap()
}

/// A chain whose blocks hold so many transactions each.
pub fn chain_of(blocks: usize, transactions: usize) -> Vec<Block> {
    let key = SigningKey::from_seed([9; 32]);
    let (mut chain, mut parent) = (Vec::new(), None::<Parent>);
    for height in 0..blocks {
        let of = |n: usize| format!(r#"{{"type":"audit","id":"t-{height}-{n}"}}"#);
        let list = (0..transactions).map(|n| Transaction::parse(of(n).as_bytes()).unwrap());
        let block = Block::build(parent.as_ref(), list.collect(), now(), &key);
        parent = Some(block.as_parent().unwrap());
        chain.push(block);
    }
    chain
}

/// Blocks as they are posted.
pub fn texts(blocks: &[Block]) -> Vec<String> {
    blocks.iter().map(Block::to_json_text).collect()
}

/// Has a manager take blocks; what came of it, and which it refused.
pub fn take(
    manager: &Opened,
    pins: Pins,
    texts: &[String],
) -> (Result<TakeProgress, TakeError>, Vec<RefusedBlock>) {
    let mut refused = Vec::new();
    let given = texts.iter().map(|text| Ok(GivenBlock::Text(text.clone().into_bytes())));
    let chain = manager.chain.as_ref();
    let taken = take_blocks(&manager.vault, chain, now(), pins, None, given, |heard| {
        if let Heard::Refused(block) = heard {
            refused.push(block);
        }
        ControlFlow::Continue(())
    });
    (taken, refused)
}

fn rules(refused: &RefusedBlock) -> Vec<&'static str> {
    match &refused.why {
        WhyRefused::Rules(verdict) => {
            let failed = verdict.results.iter().filter(|result| !result.passed);
            failed.map(|result| result.rule.name()).collect()
        }
        WhyRefused::HeightTaken(_) => vec!["taken"],
        WhyRefused::Unreadable(_) => vec!["unreadable"],
        WhyRefused::Damaged(_) => vec!["damaged"],
        WhyRefused::Unvouched => vec!["unvouched"],
    }
}

#[test]
fn a_chain_is_taken_found_and_known_when_it_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(40, 5);
    let (taken, refused) = take(&manager, Pins::default(), &texts(&blocks[..25]));
    let taken = taken.unwrap();
    assert_eq!((taken.given, taken.stored, taken.known, taken.transactions), (25, 25, 0, 125));
    assert!(refused.is_empty());
    let genesis = fact::genesis(manager.vault.index()).unwrap();
    assert_eq!(genesis, Some(blocks[0].hash));

    // Broken off and begun again: what is there is held against what comes.
    let (taken, refused) = take(&manager, Pins::default(), &texts(&blocks));
    let taken = taken.unwrap();
    assert_eq!((taken.known, taken.stored, refused.len()), (25, 15, 0));
    let chain = manager.chain.as_ref();
    assert_eq!(chain.block(39).unwrap().unwrap().whole().as_ref(), blocks.last());
    let found = get_transaction(&manager.vault, chain, "t-31-2").unwrap().unwrap();
    assert!(matches!(found.status, TransactionStage::Confirmed { height: 31, position: 2, .. }));
    manager.close().unwrap();
    assert_eq!(opened(folder.path()).chain.tip().unwrap().unwrap().height, 39);
}

#[test]
fn every_refused_block_is_named_and_nothing_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(8, 2);
    let mut given = texts(&blocks);
    given[3] = given[3].replace("t-3-0", "t-3-9");
    let (taken, refused) = take(&manager, Pins::default(), &given);
    let taken = taken.unwrap();
    assert_eq!((taken.stored, taken.refused), (3, 5));
    assert_eq!(rules(&refused[0]), ["block_hash", "merkle_root"]);
    assert!(refused[0].sentence().starts_with(&format!("block 3 ({}) breaks", blocks[3].hash)));
    assert!(refused[1..].iter().all(|block| rules(block) == ["previous_hash"]));
    assert_eq!(manager.chain.tip().unwrap().unwrap().height, 2);

    // The sound block still fits.
    let (taken, refused) = take(&manager, Pins::default(), &texts(&blocks[3..]));
    assert_eq!((taken.unwrap().stored, refused.len()), (5, 0));
}

#[test]
fn repeated_ids_are_found_within_a_run_and_across_runs() {
    let key = SigningKey::from_seed([9; 32]);
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(3, 2);
    let again = Transaction::parse(br#"{"id":"t-1-1","n":1}"#).unwrap();
    let parent = blocks[2].as_parent().unwrap();
    let repeating = Block::build(Some(&parent), vec![again], now(), &key);
    let repeating = texts(&[repeating]);
    let given = [texts(&blocks), repeating.clone()].concat();
    let (taken, refused) = take(&manager, Pins::default(), &given);
    assert_eq!((taken.unwrap().stored, rules(&refused[0])), (3, vec!["transactions"]));
    let (taken, refused) = take(&manager, Pins::default(), &repeating);
    assert_eq!((taken.unwrap().stored, rules(&refused[0])), (0, vec!["transactions"]));
}

#[test]
fn a_block_that_stands_twice_is_refused_and_another_chain_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(4, 1);
    let mut given = texts(&blocks);
    given.insert(2, given[1].clone());
    let (taken, refused) = take(&manager, Pins::default(), &given);
    assert_eq!((taken.unwrap().stored, rules(&refused[0])), (4, vec!["previous_hash"]));

    let key = SigningKey::from_seed([10; 32]);
    let parent = blocks[1].as_parent().unwrap();
    let other = Block::build(Some(&parent), Vec::new(), now(), &key);
    let (_, refused) = take(&manager, Pins::default(), &texts(&[other]));
    assert_eq!(rules(&refused[0]), ["taken"]);
    let genesis = Block::build(None, Vec::new(), now(), &key);
    let (_, refused) = take(&manager, Pins::default(), &texts(&[genesis]));
    assert_eq!(rules(&refused[0]), ["previous_hash"]);
}

#[test]
fn pins_hold_and_a_broken_source_keeps_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(4, 1);
    let other = SigningKey::from_seed([10; 32]).public();
    let pins = Pins { producer: other.into(), ..Pins::default() };
    let (_, refused) = take(&manager, pins, &texts(&blocks[..1]));
    assert_eq!(rules(&refused[0]), ["block_hash"]);
    let pins = Pins { genesis: Some(blocks[1].hash), ..Pins::default() };
    let (_, refused) = take(&manager, pins, &texts(&blocks[..1]));
    assert_eq!(rules(&refused[0]), ["previous_hash"]);

    let broken = [Ok(GivenBlock::Text(blocks[0].to_json_text().into_bytes()))]
        .into_iter()
        .chain([Err(std::io::Error::other("the cable is cut"))]);
    let chain = manager.chain.as_ref();
    let taken = take_blocks(&manager.vault, chain, now(), Pins::default(), None, broken, |_| {
        ControlFlow::Continue(())
    });
    assert!(matches!(taken, Err(TakeError::Source(_))));
    assert_eq!(chain.tip().unwrap().map(|tip| tip.hash), Some(blocks[0].hash));
    let (_, refused) = take(&manager, Pins::default(), &["[]".to_owned()]);
    assert_eq!(rules(&refused[0]), ["unreadable"]);
}

/// Damages what is stored of a block in one kind of file: the payload of the record named after it.
pub fn damage(folder: &Path, part: &str, block: &BlockHash) {
    let files = std::fs::read_dir(folder.join("blocks")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == part));
    files.sort();
    for path in files {
        let mut bytes = std::fs::read(&path).unwrap();
        let name = block.as_bytes();
        let Some(at) = bytes.windows(name.len()).position(|window| window == name) else {
            continue;
        };
        let before = bytes.get(..at).unwrap();
        let header = before.windows(MAGIC.len()).rposition(|window| window == MAGIC).unwrap();
        *bytes.get_mut(header + HEADER_BYTES).unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
        return;
    }
    panic!("{block} is in none of the {part}");
}

#[test]
fn one_damaged_block_that_is_known_is_named_and_the_others_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(8, 2);
    take(&manager, Pins::default(), &texts(&blocks[..5])).0.unwrap();
    damage(folder.path(), "blocks", &blocks[2].hash);
    let (taken, refused) = take(&manager, Pins::default(), &texts(&blocks[..6]));
    let taken = taken.unwrap();
    assert_eq!((taken.known, taken.stored, taken.refused), (4, 1, 1));
    assert_eq!((rules(&refused[0]), refused[0].index), (vec!["damaged"], Some(2)));
    let said = refused[0].sentence();
    for part in ["the chain has this very block", "blocks/00000001.blocks", "lucid reindex"] {
        assert!(said.contains(part), "{said}");
    }
    // Behind it, and behind the newest, the blocks that are given say what they follow.
    let (taken, refused) = take(&manager, Pins::default(), &texts(&blocks[3..6]));
    assert_eq!((taken.unwrap().known, refused.len()), (3, 0));
    damage(folder.path(), "blocks", &blocks[5].hash);
    let (taken, refused) = take(&manager, Pins::default(), &texts(&blocks[5..7]));
    assert_eq!((taken.unwrap().stored, refused.len(), refused[0].index), (1, 1, Some(5)));
    // What is not there cannot be held against one of which nothing is known.
    damage(folder.path(), "blocks", &blocks[6].hash);
    let (taken, refused) = take(&manager, Pins::default(), &texts(&blocks[7..]));
    assert_eq!((taken.unwrap().stored, rules(&refused[0])), (0, vec!["damaged"]));
    assert!(refused[0].sentence().contains("held against block 6"), "{}", refused[0].sentence());

    // Another block at that height does not belong to this chain, though the one there cannot be read.
    let key = SigningKey::from_seed([10; 32]);
    let parent = blocks[1].as_parent().unwrap();
    let other = Block::build(Some(&parent), Vec::new(), now(), &key);
    let (_, refused) = take(&manager, Pins::default(), &texts(&[other]));
    assert!(matches!(refused[0].why, WhyRefused::HeightTaken(hash) if hash == blocks[2].hash));
}

#[test]
fn a_block_of_which_nothing_is_left_is_named_and_the_others_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(8, 2);
    take(&manager, Pins::default(), &texts(&blocks[..6])).0.unwrap();
    manager.close().unwrap();
    for lost in [2, 3] {
        for part in ["blocks", "bodies"] {
            damage(folder.path(), part, &blocks[lost].hash);
        }
    }
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    // The transactions of the lost blocks are not known. The blocks that the chain has are recognised even so,
    // and nothing new is taken.
    let manager = opened(folder.path());
    let (taken, refused) = take(&manager, Pins::default(), &texts(&blocks[..6]));
    assert_eq!((taken.unwrap().known, refused.len()), (4, 2));
    assert!(take(&manager, Pins::default(), &texts(&blocks)).0.is_err());
    drop(manager);
    let accepting = Options { accept_loss: true, ..Options::default() };
    let manager = open(folder.path(), &accepting, now()).unwrap();
    let (taken, refused) = take(&manager, Pins::default(), &texts(&blocks));
    let taken = taken.unwrap();
    assert_eq!((taken.known, taken.stored, taken.refused), (4, 2, 2));
    let said = refused[0].sentence();
    assert!(refused[0].index == Some(2) && said.contains("it is not known whether"), "{said}");
    let said = refused[1].sentence();
    assert!(refused[1].index == Some(3) && said.contains("this very block"), "{said}");
}

/// A block as it is without its signature, which its hash does not cover.
fn unsigned(block: &Block) -> String {
    Block { producer: None, signature: None, ..block.clone() }.to_json_text()
}

fn key() -> Pins {
    Pins { producer: SigningKey::from_seed([9; 32]).public().into(), ..Pins::default() }
}

#[test]
fn an_unsigned_block_behind_signed_ones_is_taken_only_where_a_later_signature_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(7, 1);
    let mut lines = texts(&blocks);
    for height in [0, 2, 3, 5, 6] {
        lines[height] = unsigned(&blocks[height]);
    }
    // Block 4 vouches for 2 and 3. Nobody vouches for 5 and 6; block 0 came before the producer signed any.
    let (taken, refused) = take(&manager, key(), &lines);
    let taken = taken.unwrap();
    assert_eq!((taken.given, taken.stored, taken.refused), (7, 5, 2));
    let named: Vec<_> = refused.iter().map(|one| (one.position, one.index, rules(one))).collect();
    assert_eq!(named, [(5, Some(5), vec!["unvouched"]), (6, Some(6), vec!["unvouched"])]);
    assert!(refused[0].sentence().contains("no block behind it that this producer signed"));
    assert_eq!(manager.chain.tip().unwrap().unwrap().height, 4);
    // So it is when the producer's blocks are there already; and with a signature they are taken.
    let (again, refused) = take(&manager, key(), &lines);
    assert_eq!((again.unwrap().known, refused.len()), (5, 2));
    lines[6] = blocks[6].to_json_text();
    let (again, refused) = take(&manager, key(), &lines);
    assert_eq!((again.unwrap().stored, refused.len()), (2, 0));
    // Who pins nobody is told of nobody.
    let elsewhere = tempfile::tempdir().unwrap();
    let manager = opened(elsewhere.path());
    let unsigned: Vec<String> = blocks.iter().map(unsigned).collect();
    let (taken, refused) = take(&manager, Pins::default(), &unsigned);
    assert_eq!((taken.unwrap().stored, refused.len()), (7, 0));
}

#[test]
fn so_many_unsigned_blocks_wait_as_a_follower_stages() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(STAGED_BLOCKS_MAX + 2, 1);
    let mut lines = texts(&blocks);
    // One less than is too many, and the last one vouches for all of them.
    for height in 1..STAGED_BLOCKS_MAX {
        lines[height] = unsigned(&blocks[height]);
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let (taken, refused) = take(&opened(elsewhere.path()), key(), &lines);
    assert_eq!((taken.unwrap().stored, refused.len()), (blocks.len() as u64, 0));
    // One more, and all of them are refused, and what follows them has nothing to follow.
    lines[STAGED_BLOCKS_MAX] = unsigned(&blocks[STAGED_BLOCKS_MAX]);
    let (taken, refused) = take(&manager, key(), &lines);
    assert_eq!((taken.unwrap().stored, refused.len()), (1, STAGED_BLOCKS_MAX + 1));
    assert!(refused[..STAGED_BLOCKS_MAX].iter().all(|one| rules(one) == ["unvouched"]));
    assert!(rules(&refused[STAGED_BLOCKS_MAX]).contains(&"previous_hash"));
    // What was refused keeps no id: the same transactions are taken where they come again in order.
    let (taken, refused) = take(&manager, key(), &texts(&blocks));
    assert_eq!((taken.unwrap().stored, refused.len()), (blocks.len() as u64 - 1, 0));
}

#[test]
fn ids_of_refused_blocks_are_free_within_one_taking() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let blocks = chain_of(STAGED_BLOCKS_MAX + 2, 1);
    let signed = texts(&blocks);
    let mut lines = vec![signed[0].clone()];
    lines.extend(blocks[1..=STAGED_BLOCKS_MAX].iter().map(unsigned));
    lines.extend(signed[1..].iter().cloned());
    let (taken, refused) = take(&manager, key(), &lines);
    assert_eq!((taken.unwrap().stored, refused.len()), (blocks.len() as u64, STAGED_BLOCKS_MAX));
}
