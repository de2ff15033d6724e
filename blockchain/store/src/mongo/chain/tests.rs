//! What the suite of chains does not ask: answers that are lost, documents that are not what was written, other
//! copies, and a database that was put back.

use lucid_core::transaction::id_digest;
use mongodb::bson::{Bson, Document};

use crate::contract::chain::conformance::{all_from, assert_holds, chain_of, next, next_of};
use crate::contract::chain::{AppendedBlock, Body, ChainStore, KeptBlock};
use crate::mongo::chain::block::{Beside, Head, PART_BYTES};
use crate::mongo::scripted::{Ending, Scripted};
use crate::mongo::servers::{LONG, Proxied, SHORT, open};
use crate::{CommitError, StoreError};

/// The answer is of another implementation, which was written after `docs/FORMATS.md`.
#[test]
fn the_digest_of_a_stored_block_never_changes() {
    let head = Head {
        height: 7,
        nonce: [1; 16],
        hash: [2; 32],
        count: 3,
        size: 4,
        before: (5, 6),
        record: Beside { bytes: 8, digest: [9; 32] },
        body: Beside { bytes: 10, digest: [11; 32] },
    };
    assert_eq!(
        hex::encode(head.digest()),
        "65d4c0fe63a5c77da78e36434d277592a0d868bde8c04bc9414a864ea2f32b83"
    );
}

#[test]
fn however_an_insert_ends_a_block_is_stored_once() {
    // Of the inserts of a block the first puts its body, the second decides.
    for before in 0..2 {
        for ending in [
            Ending::Cut,
            Ending::ReplyLost,
            Ending::Repeated,
            Ending::WriteConcern,
            Ending::Stalled,
            Ending::StalledDone,
            Ending::Refused(13),
        ] {
            let server = Scripted::start();
            let chain = open(&server, SHORT).chain().unwrap();
            let blocks = chain_of(&[1, 2]);
            server.script(|script| script.after(before, [ending]));
            for block in &blocks {
                assert_eq!(chain.append(block).unwrap(), AppendedBlock::Stored, "{ending:?}");
            }
            assert_holds(&chain, &blocks);
        }
    }
}

#[test]
fn what_is_refused_is_not_there_and_what_is_lost_is_found_by_the_next() {
    let server = Scripted::start();
    let chain = open(&server, LONG).chain().unwrap();
    let blocks = chain_of(&[1, 2, 3]);
    chain.append(&blocks[0]).unwrap();
    for before in 0..2 {
        server.script(|script| script.after(before, [Ending::Refused(13); 3]));
        let refused = chain.append(&blocks[1]).unwrap_err();
        assert!(matches!(refused, CommitError::Failed(_)), "{refused}");
        assert_holds(&chain, &blocks[..1]);
    }
    // A body that may be there is no block.
    server.script(|script| script.after(0, [Ending::Cut; 3]));
    assert!(matches!(chain.append(&blocks[1]), Err(CommitError::Failed(_))));
    server.script(|script| script.after(1, [Ending::Cut; 3]));
    assert!(matches!(chain.append(&blocks[1]), Err(CommitError::Maybe(_))));
    let rival = next(Some(&*blocks[0]), 1, 99);
    assert_eq!(chain.append(&rival).unwrap(), AppendedBlock::Stored);
    let taken = AppendedBlock::HeightTaken { hash: rival.hash };
    assert_eq!(chain.append(&blocks[1]).unwrap(), taken);
}

#[test]
fn copies_see_the_blocks_of_each_other_and_what_was_pruned() {
    let server = Scripted::start();
    let (one, other) = (open(&server, LONG).chain().unwrap(), open(&server, LONG).chain().unwrap());
    let blocks = chain_of(&[1; 12]);
    for pair in blocks.chunks(2) {
        one.append(&pair[0]).unwrap();
        // This one was to come first, and now does not.
        let rival = next(pair[0].index.checked_sub(1).map(|at| &*blocks[at as usize]), 1, 99);
        let taken = AppendedBlock::HeightTaken { hash: pair[0].hash };
        assert_eq!(other.append(&rival).unwrap(), taken);
        other.append(&pair[1]).unwrap();
    }
    assert_holds(&one, &blocks);
    assert_holds(&other, &blocks);
    server.meddle("bodies", |bodies| {
        let mut stray = bodies[0].clone();
        stray.insert("_id", "0000000000000003-of-a-writer-that-died-0000");
        bodies.push(stray);
    });
    assert_eq!(one.prune(8).unwrap().blocks, 7);
    assert_eq!(other.body(5).unwrap(), Some(Body::Pruned));
    assert_holds(&other, &blocks);
    // Nothing is left of them, nor of what was put beside and never named.
    let kept = server.meddle("bodies", |bodies| bodies.len());
    assert_eq!(kept, 1 + 4);
    assert_eq!(open(&server, LONG).chain().unwrap().pruned_below(), 8);
}

#[test]
fn a_block_that_is_not_as_it_was_written_is_damaged_and_the_others_are_read() {
    let server = Scripted::start();
    let chain = open(&server, LONG).chain().unwrap();
    let blocks = chain_of(&[1, 2, 3, 1, 2]);
    chain.append_run(&blocks).unwrap();
    let sound = server.meddle("blocks", |all| all.clone());
    let fields: Vec<String> = sound[2].keys().filter(|name| *name != "_id").cloned().collect();
    for field in fields {
        server.meddle("blocks", |all| {
            all.clone_from(&sound);
            all[2].insert(&field, Bson::Null);
        });
        let Err(StoreError::Damaged(damage)) = chain.record(2) else { panic!("{field}") };
        assert_eq!(damage.file, "block 2 of the chain");
        assert_eq!(chain.records(all_from(0)).unwrap().len(), 2, "{field}");
        assert!(chain.records(all_from(2)).is_err() && chain.block(3).unwrap().is_some());
        assert!(chain.damage().contains(&damage));
        // No body goes while the record of its block is damaged.
        assert_eq!(chain.prune(0).unwrap().spared, []);
    }
    server.meddle("blocks", |all| drop(all.remove(2)));
    assert!(matches!(chain.records(all_from(2)), Err(StoreError::Damaged(_))));
    server.meddle("blocks", |all| all.clone_from(&sound));

    let bodies = server.meddle("bodies", |all| all.clone());
    let last = |all: &mut Vec<Document>| {
        all.iter()
            .position(|body| body.get_str("_id").unwrap().starts_with("0000000000000004"))
            .unwrap()
    };
    server.meddle("bodies", |all| {
        let last = last(all);
        drop(all.remove(last));
    });
    assert!(matches!(chain.body(4), Err(StoreError::Damaged(_))));
    server.meddle("bodies", |all| {
        all.clone_from(&bodies);
        let (last, other) = (last(all), all[0].get("bytes").unwrap().clone());
        all[last].insert("bytes", other);
    });
    assert!(matches!(chain.body(4), Err(StoreError::Damaged(_))));
    assert!(chain.body(0).unwrap().is_some());
    server.meddle("bodies", |all| all.clone_from(&bodies));
    assert_holds(&chain, &blocks);
}

#[test]
fn pruning_names_a_block_that_is_damaged_spares_its_body_and_goes_on() {
    let server = Scripted::start();
    let chain = open(&server, LONG).chain().unwrap();
    let blocks = chain_of(&[1; 9]);
    chain.append_run(&blocks).unwrap();
    let bodies = |server: &Scripted| -> Vec<u64> {
        let height =
            |body: &Document| u64::from_str_radix(&body.get_str("_id").unwrap()[..16], 16).unwrap();
        let mut all = server.meddle("bodies", |all| all.iter().map(height).collect::<Vec<_>>());
        all.sort_unstable();
        all
    };
    let named = |pruned: &crate::contract::chain::Pruning| -> Vec<String> {
        pruned.spared.iter().map(|damage| damage.file.clone()).collect()
    };
    let sound = server.meddle("blocks", |all| all.clone());
    // One is not what was written, one is not there.
    server.meddle("blocks", |all| {
        all[3].insert("count", 7_i64);
        drop(all.remove(5));
    });
    let spared = ["block 3 of the chain", "block 5 of the chain"];
    let pruned = chain.prune(7).unwrap();
    assert_eq!(
        (pruned.blocks, chain.pruned_below(), named(&pruned)),
        (4, 7, spared.map(String::from).to_vec())
    );
    assert_eq!(bodies(&server), [0, 3, 5, 7, 8]);
    // They are named as long as they are damaged, and nothing of them goes.
    let pruned = chain.prune(7).unwrap();
    assert_eq!((pruned.blocks, named(&pruned)), (0, spared.map(String::from).to_vec()));
    assert_eq!(bodies(&server), [0, 3, 5, 7, 8]);
    let pruned = chain.prune(8).unwrap();
    assert_eq!((pruned.blocks, pruned.spared.len(), chain.pruned_below()), (1, 2, 8));
    assert_eq!(bodies(&server), [0, 3, 5, 8]);
    server.meddle("blocks", |all| all.clone_from(&sound));
    assert_eq!(chain.prune(8).unwrap().spared, []);
    assert_eq!(bodies(&server), [0, 8]);
    assert_holds(&chain, &blocks);
    // Where all are damaged, nothing goes, and nothing says that it did.
    server.meddle("blocks", |all| drop(all[8].insert("count", 7_i64)));
    let fresh = next(Some(&*blocks[8]), 1, 0);
    drop(chain.append(&fresh));
    let pruned = chain.prune(9).unwrap();
    assert_eq!((pruned.blocks, named(&pruned)), (0, vec!["block 8 of the chain".to_owned()]));
    assert_eq!(chain.pruned_below(), 8);
}

#[test]
fn what_is_absent_takes_two_round_trips_and_what_is_there_one() {
    let server = Proxied::scripted();
    let database = server.open(LONG);
    let chain = database.0.chain().unwrap();
    let blocks = chain_of(&[2, 2]);
    chain.append_run(&blocks).unwrap();
    let there = blocks[1].transactions[1].id_digest();
    for (id, trips) in [(there, 1), (id_digest("nobody"), 2)] {
        server.proxy.forget();
        assert_eq!(chain.contains(&id).unwrap(), trips == 1);
        let asked = server.proxy.seen("find", "");
        assert_eq!(asked.len(), trips);
        assert_eq!(asked.iter().filter(|asked| asked.how == "linearizable").count(), trips - 1);
    }
    server.proxy.forget();
    assert_eq!(chain.anchors_of("nobody's", None).unwrap(), []);
    assert_eq!(server.proxy.seen("find", "").len(), 2);
}

#[test]
fn a_chain_that_was_put_back_is_not_added_to() {
    let server = Scripted::start();
    let chain = open(&server, LONG).chain().unwrap();
    let blocks = chain_of(&[1, 1, 1, 1]);
    chain.append_run(&blocks[..3]).unwrap();
    server.meddle("blocks", |all| drop(all.pop()));
    let Err(CommitError::Broken(why)) = chain.append(&blocks[3]) else { panic!("it is added to") };
    assert!(why.contains("block 2 is not in the database db"), "{why}");
    assert_eq!(server.meddle("blocks", |all| all.len()), 2);
}

#[test]
fn blocks_and_records_that_are_longer_than_a_document_lie_in_parts() {
    let server = Scripted::start();
    let chain = open(&server, LONG).chain().unwrap();
    let long = "x".repeat((1 << 20) - 200);
    let texts = (0..9).map(|n| {
        format!(r#"{{"id":"t-{n}","type":"session_anchor","session_id":"s","text":"{long}"}}"#)
    });
    let first = next_of(None, texts);
    assert!(first.record().encode().len() > PART_BYTES);
    let second = next(Some(&*first), 1, 0);
    assert_eq!(chain.append_run(&[first.clone(), second.clone()]).unwrap().stored, 2);
    assert!(matches!(chain.block(0).unwrap(), Some(KeptBlock::Whole(_))));
    assert_eq!(chain.anchors_of("s", None).unwrap().len(), 9);
    assert_holds(&chain, &[first, second]);
    for collection in ["bodies", "records"] {
        let longest = server.meddle(collection, |all| {
            all.iter().map(|part| part.get_binary_generic("bytes").unwrap().len()).max()
        });
        assert_eq!(longest, Some(PART_BYTES), "{collection}");
    }
    server.meddle("records", |all| drop(all.pop()));
    assert!(matches!(chain.record(0), Err(StoreError::Damaged(_))));
}
