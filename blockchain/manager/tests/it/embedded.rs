//! The ops on a real folder, without a service.

use std::path::Path;

use lucid_block_manager::fact;
use lucid_block_manager::opened::{OpenError, Opened, Options, accept_clock, open};
use lucid_block_manager::ops::anchor_proof::anchor_proof;
use lucid_block_manager::ops::anchor_session::anchor_session;
use lucid_block_manager::ops::chain_info::chain_info;
use lucid_block_manager::ops::get_block::{BlockName, get_block};
use lucid_block_manager::ops::get_transaction::{TransactionStage, get_transaction};
use lucid_block_manager::ops::list_blocks::{BlockQuery, list_blocks};
use lucid_block_manager::ops::produce_block::{ProduceError, Production, produce_block};
use lucid_block_manager::ops::submit_transaction::{SubmitError, Submitted, submit_transaction};
use lucid_block_manager::ops::validate_block::validate_block;
use lucid_core::block_merkle::verify_path;
use lucid_core::json::Json;
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_core::validate::Mode;

use crate::taking::damage;

fn now() -> Timestamp {
    Timestamp::parse("2026-01-27T10:00:00Z").unwrap()
}

fn opened(folder: &Path) -> Opened {
    open(folder, &Options::default(), now()).unwrap()
}

fn submit(manager: &Opened, text: &str) -> Result<Submitted, SubmitError> {
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    submit_transaction(vault, chain, &manager.admissions, now(), text.as_bytes())
}

fn produce(manager: &Opened, now: Timestamp) -> Result<Production, ProduceError> {
    let (vault, chain) = (&manager.vault, manager.chain.as_ref());
    produce_block(vault, chain, &manager.producing, &manager.key, now)
}

fn status(manager: &Opened, id: &str) -> Option<TransactionStage> {
    let found = get_transaction(&manager.vault, manager.chain.as_ref(), id).unwrap();
    found.map(|found| found.status)
}

fn anchor(n: u32) -> String {
    format!(r#"{{"id":"a-{n}","type":"session_anchor","session_id":"s-{n}"}}"#)
}

#[test]
fn a_submitted_transaction_is_put_into_a_block_found_and_proved() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    assert_eq!(produce(&manager, now()).unwrap(), Production::default());
    for n in 0..3 {
        let submitted = submit(&manager, &anchor(n)).unwrap();
        assert!(submitted.is_new);
        assert_eq!(submitted.found.status, TransactionStage::Pending);
    }
    assert_eq!(status(&manager, "a-1"), Some(TransactionStage::Pending));
    assert_eq!(status(&manager, "a-9"), None);
    let produced = produce(&manager, now()).unwrap();
    let made = produced.block.unwrap();
    assert_eq!((made.height, made.transactions, produced.left), (0, 3, 0));

    let confirmed = status(&manager, "a-1").unwrap();
    assert!(matches!(confirmed, TransactionStage::Confirmed { height: 0, position: 1, .. }));
    let chain = manager.chain.as_ref();
    for name in [BlockName::Height(0), BlockName::Hash(made.hash), BlockName::Latest] {
        assert_eq!(get_block(chain, name).unwrap().unwrap().whole().unwrap().hash, made.hash);
    }
    let proof = anchor_proof(chain, "a-1").unwrap().unwrap();
    let root = verify_path(
        proof.transaction.hash(),
        proof.position as usize,
        proof.count as usize,
        &proof.path,
    );
    assert_eq!(root, Some(proof.entry.merkle_root));
    assert_eq!(proof.producer, Some(manager.key.public()));
    assert!(proof.entry.verify(&proof.producer.unwrap(), &proof.signature.unwrap()));
    assert_eq!((proof.block_index, proof.block_hash), (0, proof.entry.computed_hash()));
    let info = chain_info(&manager.vault, chain).unwrap();
    assert_eq!((info.blocks, info.transactions, info.genesis), (1, Some(3), Some(made.hash)));
    assert!(anchor_proof(chain, "a-9").unwrap().is_none());
}

#[test]
fn the_same_request_is_found_again_and_another_text_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let first = submit(&manager, &anchor(1)).unwrap();
    let respelled = r#"{ "session_id": "s-1", "type":"session_anchor", "id": "a-1" }"#;
    for at in 0..2 {
        let again = submit(&manager, respelled).unwrap();
        assert!(!again.is_new);
        assert_eq!(again.found.submitted_at, first.found.submitted_at);
        assert_eq!(again.found.status == TransactionStage::Pending, at == 0);
        let other = submit(&manager, r#"{"id":"a-1","type":"session_anchor","n":2}"#);
        assert!(matches!(other, Err(SubmitError::Conflict { .. })));
        produce(&manager, now()).unwrap();
    }
    let nameless = r#"{"type":"data_storage","n":1}"#;
    let named = submit(&manager, nameless).unwrap();
    assert!(named.found.id.starts_with("tx-"));
    assert_eq!(submit(&manager, nameless).unwrap().found.id, named.found.id);
    for wrong in ["", "[]", "{}", r#"{"id":"x"}"#, r#"{"id":"x","type":"t","fee":-1}"#] {
        assert!(matches!(submit(&manager, wrong), Err(SubmitError::Admission(_))), "{wrong}");
    }
}

#[test]
fn many_threads_with_one_id_admit_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let fresh: usize = std::thread::scope(|scope| {
        let submit_one = || usize::from(submit(&manager, &anchor(1)).unwrap().is_new);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(submit_one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(fresh, 1);
    assert_eq!(fact::pool(manager.vault.index()).unwrap().transactions, 1);
}

#[test]
fn a_reopened_folder_has_everything_with_its_index_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let key = manager.key.public();
    submit(&manager, &anchor(1)).unwrap();
    produce(&manager, now()).unwrap();
    submit(&manager, &anchor(2)).unwrap();
    manager.close().unwrap();
    for reindex in [false, true] {
        if reindex {
            std::fs::remove_dir_all(folder.path().join("index")).unwrap();
        }
        let manager = opened(folder.path());
        assert_eq!(manager.key.public(), key);
        assert!(matches!(
            status(&manager, "a-1"),
            Some(TransactionStage::Confirmed { height: 0, .. })
        ));
        assert_eq!(status(&manager, "a-2"), Some(TransactionStage::Pending));
        assert_eq!(fact::pool(manager.vault.index()).unwrap().transactions, 1);
        assert!(manager.damage().is_empty() && manager.read_only().is_none());
    }
    let manager = opened(folder.path());
    assert_eq!(produce(&manager, now()).unwrap().block.unwrap().height, 1);
}

#[test]
fn a_second_process_is_told_who_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _manager = opened(folder.path());
    let error = open(folder.path(), &Options::default(), now()).err().unwrap();
    assert!(error.to_string().contains("in use by lucid"), "{error}");
}

#[test]
fn a_chain_that_vanished_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    submit(&manager, &anchor(1)).unwrap();
    produce(&manager, now()).unwrap();
    manager.close().unwrap();
    for path in ["blocks", "index"] {
        std::fs::remove_dir_all(folder.path().join(path)).unwrap();
    }
    std::fs::remove_file(folder.path().join("TIP")).unwrap();
    let error = open(folder.path(), &Options::default(), now()).err().unwrap();
    assert!(matches!(error, OpenError::ChainGone(_)), "{error}");
}

#[test]
fn blocks_may_lie_in_another_folder() {
    let (folder, blocks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = Options { blocks: Some(blocks.path().join("deep/blocks")), ..Options::default() };
    let manager = open(folder.path(), &options, now()).unwrap();
    submit(&manager, &anchor(1)).unwrap();
    produce(&manager, now()).unwrap();
    drop(manager);
    assert!(blocks.path().join("deep/blocks/00000001.blocks").exists());
    let manager = open(folder.path(), &options, now()).unwrap();
    assert!(manager.chain.tip().unwrap().is_some());
}

#[test]
fn a_block_is_never_older_than_its_parent_and_never_far_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    submit(&manager, &anchor(1)).unwrap();
    produce(&manager, now()).unwrap();
    submit(&manager, &anchor(2)).unwrap();
    let early = now().plus_seconds(-3_600);
    assert!(matches!(produce(&manager, early), Err(ProduceError::ParentAhead { .. })));
    let made = produce(&manager, now().plus_seconds(-60)).unwrap().block.unwrap();
    let block = manager.chain.block(made.height).unwrap().unwrap().whole().unwrap();
    assert_eq!(block.time().unwrap(), now());
}

#[test]
fn a_clock_that_is_far_ahead_produces_nothing_until_somebody_says_that_it_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let year_2099 = Timestamp::parse("2099-01-01T00:00:00Z").unwrap();
    let manager = opened(folder.path());
    submit(&manager, &anchor(1)).unwrap();
    produce(&manager, now()).unwrap();
    submit(&manager, &anchor(2)).unwrap();
    let doubted = produce(&manager, year_2099).unwrap_err();
    assert!(
        matches!(doubted, ProduceError::ClockAhead { known, .. } if known == now()),
        "{doubted}"
    );
    assert!(doubted.to_string().contains("lucid doctor --accept-clock"), "{doubted}");
    assert_eq!(status(&manager, "a-2"), Some(TransactionStage::Pending), "it waits");
    // Set right, it goes on as if nothing had been.
    assert_eq!(produce(&manager, now().plus_seconds(9)).unwrap().block.unwrap().height, 1);
    // A year is no reason for doubt.
    submit(&manager, &anchor(3)).unwrap();
    let a_year_on = now().plus_seconds(366 * 24 * 3_600);
    assert_eq!(produce(&manager, a_year_on).unwrap().block.unwrap().height, 2);
    submit(&manager, &anchor(4)).unwrap();
    assert!(produce(&manager, year_2099).is_err());
    drop(manager);
    // It was right: said once, it counts over restarts, and for as long again.
    let accepted = accept_clock(folder.path(), &Options::default(), year_2099).unwrap();
    assert_eq!((accepted.tip, accepted.produces), (Some(a_year_on), true));
    let manager = open(folder.path(), &Options::default(), year_2099).unwrap();
    let made = produce(&manager, year_2099.plus_seconds(3_600)).unwrap().block.unwrap();
    assert_eq!(made.height, 3);
    submit(&manager, &anchor(5)).unwrap();
    let year_2101 = Timestamp::parse("2101-01-01T00:00:00Z").unwrap();
    assert!(matches!(produce(&manager, year_2101), Err(ProduceError::ClockAhead { .. })));
    drop(manager);
    // That does not help where a block is ahead.
    let accepted = accept_clock(folder.path(), &Options::default(), now()).unwrap();
    assert!(!accepted.produces);
}

#[test]
fn pages_of_blocks_go_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    for n in 0..5 {
        submit(&manager, &anchor(n)).unwrap();
        produce(&manager, now()).unwrap();
    }
    let heights = |from, to, descending, skip, limit| {
        let wanted = BlockQuery { from, to, descending, skip, limit };
        let listed = list_blocks(manager.chain.as_ref(), &wanted, |stored| stored).unwrap();
        let indexes = listed.items.iter().map(|stored| stored.record.entry.index);
        (indexes.collect::<Vec<_>>(), listed.total)
    };
    assert_eq!(heights(0, u64::MAX, true, 0, 2), (vec![4, 3], 5));
    assert_eq!(heights(0, u64::MAX, false, 3, 9), (vec![3, 4], 5));
    assert_eq!(heights(1, 3, true, 1, 9), (vec![2, 1], 3));
    assert_eq!(heights(7, 9, true, 0, 9), (vec![], 0));
    assert_eq!(heights(0, 2, false, 9, 9), (vec![], 3));
}

#[test]
fn a_stored_block_is_judged_as_history_and_an_altered_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    for n in 0..2 {
        submit(&manager, &anchor(n)).unwrap();
        produce(&manager, now()).unwrap();
    }
    let later = now().plus_seconds(1_000_000);
    let text = manager.chain.block(1).unwrap().unwrap().whole().unwrap().to_json_text();
    let judge = |text: &str, mode| {
        validate_block(manager.chain.as_ref(), later, text.as_bytes(), mode, Default::default())
            .unwrap()
    };
    let verdict = judge(&text, None);
    assert!(verdict.valid && verdict.mode == Mode::Historical, "{:?}", verdict.first_fault);
    assert!(!judge(&text, Some(Mode::Candidate)).valid);
    assert!(judge(&format!(r#"{{"block_data":{text}}}"#), None).valid);
    let altered = judge(&text.replace("s-1", "s-2"), None);
    assert!(!altered.valid);
    assert!(validate_block(manager.chain.as_ref(), later, b"{", None, Default::default()).is_err());
}

#[test]
fn what_a_lost_block_may_have_is_held_up_until_the_loss_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    for n in 0..2 {
        submit(&manager, &anchor(n)).unwrap();
        assert!(produce(&manager, now()).unwrap().block.is_some());
    }
    submit(&manager, &anchor(2)).unwrap();
    drop(manager);
    with_a_block_lost(folder.path());
    let manager = opened(folder.path());
    let produced = produce(&manager, now()).unwrap();
    assert_eq!((produced.block, produced.failed, produced.left, produced.held_up), (None, 0, 0, 1));
    assert!(produced.damage[0].why.contains("--accept-loss"), "{:?}", produced.damage);
    assert!(submit(&manager, &anchor(3)).is_err());
    drop(manager);
    let accepting = Options { accept_loss: true, ..Options::default() };
    drop(open(folder.path(), &accepting, now()).unwrap());
    let manager = opened(folder.path());
    submit(&manager, &anchor(3)).unwrap();
    let produced = produce(&manager, now()).unwrap();
    assert_eq!((produced.block.unwrap().transactions, produced.held_up), (2, 0));
}

/// Damages record and body of one block, and builds the index anew. Whether that is accepted is not said.
fn with_a_block_lost(folder: &Path) {
    for part in ["blocks", "bodies"] {
        let path = folder.join(format!("blocks/00000001.{part}"));
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.get_mut(400).unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    std::fs::remove_dir_all(folder.join("index")).unwrap();
}

#[test]
fn what_was_in_a_lost_block_is_said_to_be_lost_and_taken_in_again() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    for n in 0..3 {
        submit(&manager, &anchor(n)).unwrap();
        assert!(produce(&manager, now()).unwrap().block.is_some());
    }
    drop(manager);
    with_a_block_lost(folder.path());
    let accepting = Options { accept_loss: true, ..Options::default() };
    let manager = open(folder.path(), &accepting, now()).unwrap();
    let lost = |manager: &Opened, n: u32| matches!(status(manager, &format!("a-{n}")), Some(TransactionStage::Lost { height }) if height == u64::from(n));
    let which: Vec<u32> = (0..3).filter(|n| lost(&manager, *n)).collect();
    let [which] = which[..] else { panic!("{which:?} are lost") };
    for n in (0..3).filter(|n| *n != which) {
        assert!(matches!(
            status(&manager, &format!("a-{n}")),
            Some(TransactionStage::Confirmed { .. })
        ));
        assert!(!submit(&manager, &anchor(n)).unwrap().is_new);
    }
    let again = submit(&manager, &anchor(which)).unwrap();
    assert_eq!((again.is_new, &again.found.status), (true, &TransactionStage::Pending));
    assert!(!submit(&manager, &anchor(which)).unwrap().is_new);
    assert_eq!(fact::pool(manager.vault.index()).unwrap().transactions, 1);
    assert_eq!(status(&manager, &format!("a-{which}")), Some(TransactionStage::Pending));
    let produced = produce(&manager, now()).unwrap();
    assert_eq!(produced.block.unwrap().height, 3);
    drop(manager);
    // The log says the same again.
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let manager = open(folder.path(), &accepting, now()).unwrap();
    let confirmed = status(&manager, &format!("a-{which}"));
    assert!(
        matches!(confirmed, Some(TransactionStage::Confirmed { height: 3, .. })),
        "{confirmed:?}"
    );
    assert_eq!(fact::pool(manager.vault.index()).unwrap().transactions, 0);
}

#[test]
fn the_id_of_a_lost_transaction_is_free_for_another_text() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    for n in 0..3 {
        submit(&manager, &format!(r#"{{"id":"a-{n}","type":"data_storage"}}"#)).unwrap();
        produce(&manager, now()).unwrap();
    }
    drop(manager);
    with_a_block_lost(folder.path());
    let accepting = Options { accept_loss: true, ..Options::default() };
    let manager = open(folder.path(), &accepting, now()).unwrap();
    let taken = (0..3).filter(|n| {
        submit(&manager, &format!(r#"{{"id":"a-{n}","type":"data_storage","n":9}}"#)).is_ok()
    });
    assert_eq!(taken.count(), 1);
    assert_eq!(produce(&manager, now()).unwrap().block.unwrap().transactions, 1);
}

#[test]
fn a_root_that_is_lost_with_its_block_is_anchored_again() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    let (session, root) = ("s", "ab".repeat(32));
    let anchor = |manager: &Opened, root: &str| {
        let text = format!(r#"{{"session_id":"{session}","merkle_root":"{root}"}}"#);
        let (vault, chain) = (&manager.vault, manager.chain.as_ref());
        anchor_session(vault, chain, &manager.admissions, now(), text.as_bytes())
    };
    assert!(anchor(&manager, &root).unwrap().1);
    let lost = produce(&manager, now()).unwrap().block.unwrap();
    submit(&manager, r#"{"id":"other","type":"data_storage"}"#).unwrap();
    produce(&manager, now()).unwrap();
    drop(manager);
    for part in ["blocks", "bodies"] {
        damage(folder.path(), part, &lost.hash);
    }
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let accepting = Options { accept_loss: true, ..Options::default() };
    let manager = open(folder.path(), &accepting, now()).unwrap();
    let (again, is_new) = anchor(&manager, &root).unwrap();
    assert!(is_new && again.root == root, "{again:?}");
    assert_eq!(produce(&manager, now()).unwrap().block.unwrap().transactions, 1);
    assert!(!anchor(&manager, &root).unwrap().1);
}

/// A signed anchor under an id of its own.
fn signed(id: &str, session: &str, root: char, key: u8) -> String {
    let root: String = std::iter::repeat_n(root, 64).collect();
    let text = format!(
        r#"{{"id":"{id}","type":"session_anchor","session_id":"{session}","merkle_root":"{root}","timestamp":"2026-01-27T09:00:00Z"}}"#
    );
    let value = Json::parse(text.as_bytes()).unwrap();
    Transaction::signed(&value, &SigningKey::from_seed([key; 32])).unwrap().text().to_owned()
}

#[test]
fn one_key_gives_a_session_one_root_though_both_anchors_wait_in_the_pool() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    // Nothing is in a block yet, so each of them is let in.
    for (id, session, root, key) in [
        ("first", "s", 'a', 1),
        ("second", "s", 'b', 1),
        ("the same again", "s", 'a', 1),
        ("another key", "s", 'c', 2),
        ("another session", "t", 'b', 1),
    ] {
        assert!(submit(&manager, &signed(id, session, root, key)).unwrap().is_new, "{id}");
    }
    let produced = produce(&manager, now()).unwrap();
    assert_eq!((produced.block.unwrap().transactions, produced.failed), (4, 1));
    let Some(TransactionStage::Failed { reason, .. }) = status(&manager, "second") else {
        panic!()
    };
    for part in ["session s", &"a".repeat(64), "by the same key"] {
        assert!(reason.contains(part), "{reason}");
    }
    // Posted again it is said again, and a third is refused at once.
    let again = submit(&manager, &signed("second", "s", 'b', 1)).unwrap();
    assert!(!again.is_new && matches!(again.found.status, TransactionStage::Failed { .. }));
    let refused = submit(&manager, &signed("third", "s", 'd', 1));
    assert!(matches!(refused, Err(SubmitError::OtherRoot { height: 0, .. })));
}

#[test]
fn an_anchor_that_was_let_in_before_another_was_chained_is_not_chained_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let manager = opened(folder.path());
    submit(&manager, &signed("first", "s", 'a', 1)).unwrap();
    // As a request leaves it that was decided on before the first block and is durable behind it.
    let text = signed("second", "s", 'b', 1);
    produce(&manager, now()).unwrap();
    let posted = lucid_core::digest::TransactionHash::new([1; 32]);
    fact::commit(&manager.vault, &[fact::Fact::Pooled { posted, at: now(), text }]).unwrap();
    let produced = produce(&manager, now()).unwrap();
    assert_eq!((produced.block, produced.failed, produced.left), (None, 1, 0));
    let Some(TransactionStage::Failed { reason, .. }) = status(&manager, "second") else {
        panic!()
    };
    assert!(reason.contains("block 0 gives session s another root"), "{reason}");
}
