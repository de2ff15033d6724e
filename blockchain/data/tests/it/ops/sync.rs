//! Documents that are taken from a chain: which may be away, behind, another one, or lie.

use std::cell::Cell;

use lucid_core::block::Block;
use lucid_core::claim::Claim as _;
use lucid_core::digest::BlockHash;
use lucid_core::record::{BlockRecord, Head};
use lucid_core::sign::{Producers, SigningKey};
use lucid_core::succession::Succession;
use lucid_core::transaction::Transaction;
use lucid_data_chain::chain::{Chain, ChainError};
use lucid_data_chain::document::{DocumentKind, Facets, Source};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::documents::count_documents::count_documents;
use lucid_data_chain::ops::documents::filter::Filter;
use lucid_data_chain::ops::documents::get_document::{
    FoundDocument, document_history, get_document,
};
use lucid_data_chain::ops::documents::query_chain::{ChainQuery, query_chain};
use lucid_data_chain::ops::documents::query_documents::{DocumentQuery, query_documents};
use lucid_data_chain::ops::documents::store_document::store_document;
use lucid_data_chain::ops::documents::sync_documents::{
    ChainPins, SyncDocumentsError, SyncWatch, SyncedDocuments, sync_documents,
};
use lucid_data_chain::ops::documents::verify_documents::CheckedChain;
use parking_lot::Mutex;

use super::store::{NOW, Store};

/// A chain in memory.
struct Held {
    blocks: Mutex<Vec<Block>>,
    /// Bodies below are pruned.
    pruned: u64,
    /// Answers to so many calls more, and then to none.
    answers: Mutex<usize>,
}

impl Held {
    fn new(blocks: Vec<Block>) -> Self {
        Self { blocks: Mutex::new(blocks), pruned: 0, answers: Mutex::new(usize::MAX) }
    }

    fn answer(&self) -> Result<(), ChainError> {
        let mut left = self.answers.lock();
        if *left == 0 {
            return Err(ChainError::Unavailable("it is away".into()));
        }
        *left -= 1;
        Ok(())
    }

    fn row(&self, from: u64, limit: u32) -> Vec<Block> {
        self.blocks.lock().iter().skip(from as usize).take(limit as usize).cloned().collect()
    }
}

impl Chain for Held {
    fn name(&self) -> &str {
        "a chain in memory"
    }

    fn height(&self) -> Result<Option<u64>, ChainError> {
        self.answer()?;
        Ok((self.blocks.lock().len() as u64).checked_sub(1))
    }

    fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, ChainError> {
        self.answer()?;
        let row = self.row(from, limit);
        Ok(row.iter().map(|block| Head::of(&BlockRecord::of(block))).collect())
    }

    fn bodies(&self, from: u64, limit: u32) -> Result<Vec<Vec<Transaction>>, ChainError> {
        self.answer()?;
        if from < self.pruned {
            return Err(ChainError::Pruned(from));
        }
        // Fewer than were asked for, as of a run that is long.
        let row = self.row(from, limit.min(3));
        Ok(row.into_iter().map(|block| block.transactions).collect())
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

/// Blocks behind these, each with a transaction of its own.
fn grow(mut blocks: Vec<Block>, count: usize, salt: &str) -> Vec<Block> {
    for _ in 0..count {
        let n = blocks.len();
        let text = format!(r#"{{"id": "{salt}-{n}", "type": "data_storage", "session_id": "s"}}"#);
        let parent = blocks.last().map(|block| block.as_parent().unwrap());
        let transactions = vec![Transaction::parse(text.as_bytes()).unwrap()];
        blocks.push(Block::build(
            parent.as_ref(),
            transactions,
            NOW.plus_seconds(n as i64),
            &key(1),
        ));
    }
    blocks
}

fn take(store: &Store, chain: &Held) -> Result<SyncedDocuments, SyncDocumentsError> {
    take_pinned(store, chain, ChainPins::default())
}

fn take_pinned(
    store: &Store,
    chain: &Held,
    pins: ChainPins,
) -> Result<SyncedDocuments, SyncDocumentsError> {
    let watch = SyncWatch { heard: &|_| {}, go_on: &|| true };
    sync_documents(&store.vault, chain, &pins, NOW.plus_seconds(1_000), &watch)
}

fn get(store: &Store, kind: DocumentKind, id: &str) -> Option<(String, Source, Option<u64>)> {
    match get_document(&store.vault, kind, id, NOW) {
        Ok(found) => Some((found.text, found.source, found.block_index)),
        Err(OpError::NoDocument { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// All blocks of a chain are here, with their transactions, and no others.
fn assert_taken(store: &Store, blocks: &[Block]) {
    for block in blocks {
        let found = get(store, DocumentKind::Block, &block.index.to_string()).unwrap();
        let wanted = (block.to_json_text(), Source::Synchronised, Some(block.index));
        assert_eq!(found, wanted);
        for transaction in &block.transactions {
            let found = get(store, DocumentKind::Transaction, transaction.id()).unwrap();
            let wanted = (transaction.text().to_owned(), Source::Synchronised, Some(block.index));
            assert_eq!(found, wanted);
        }
    }
    assert_eq!(get(store, DocumentKind::Block, &blocks.len().to_string()), None);
}

#[test]
fn a_chain_is_taken_as_it_grows_and_over_a_restart() {
    let chain = Held::new(Vec::new());
    let store = Store::new();
    assert_eq!(take(&store, &chain).unwrap().remote, None);
    let blocks = grow(Vec::new(), 10, "a");
    *chain.blocks.lock() = blocks[..4].to_vec();
    let done = take(&store, &chain).unwrap();
    assert_eq!((done.blocks, done.local, done.remote), (4, Some(3), Some(3)));
    assert_eq!(take(&store, &chain).unwrap().blocks, 0);
    *chain.blocks.lock() = blocks.clone();
    let store = Store::open(&store.disk);
    assert_eq!(take(&store, &chain).unwrap().blocks, 6);
    assert_taken(&store, &blocks);
    let counts = count_documents(&store.vault).unwrap();
    assert_eq!((counts.blocks, counts.transactions), (10, 10));
}

#[test]
fn a_chain_that_goes_away_at_any_call_costs_nothing_and_is_gone_on_with() {
    let blocks = grow(Vec::new(), 9, "a");
    for calls in 0..12 {
        let (store, chain) = (Store::new(), Held::new(blocks.clone()));
        *chain.answers.lock() = calls;
        match take(&store, &chain) {
            Ok(done) => assert_eq!(done.local, Some(8)),
            Err(error) => assert!(error.to_string().contains("it is away"), "{error}"),
        }
        *chain.answers.lock() = usize::MAX;
        take(&store, &chain).unwrap();
        assert_taken(&store, &blocks);
    }
}

#[test]
fn a_chain_that_lies_is_believed_up_to_the_lie() {
    let sound = grow(Vec::new(), 8, "a");
    let lies: [&dyn Fn(&mut Block); 5] = [
        &|block| {
            block.transactions = vec![Transaction::parse(br#"{"id": "other"}"#).unwrap()];
        },
        &|block| block.nonce = 7,
        &|block| block.signature = Some(key(2).sign(b"something else")),
        &|block| block.previous_hash = block.hash,
        &|block| block.index += 1,
    ];
    for (n, lie) in lies.into_iter().enumerate() {
        let (store, chain) = (Store::new(), Held::new(sound.clone()));
        lie(&mut chain.blocks.lock()[5]);
        let refused = take(&store, &chain).unwrap_err();
        let is_refused = matches!(refused, SyncDocumentsError::Refused { height: 5 | 6, .. });
        assert!(is_refused, "{n}: {refused}");
        assert_taken(&store, &sound[..5]);
        *chain.blocks.lock() = sound.clone();
        take(&store, &chain).unwrap();
        assert_taken(&store, &sound);
    }
    // The same transaction in two blocks, in one commit and in another.
    for first in [5, 8] {
        let store = Store::new();
        let mut blocks = sound[..first].to_vec();
        if first == 8 {
            take(&store, &Held::new(blocks.clone())).unwrap();
        }
        let parent = blocks.last().unwrap().as_parent().unwrap();
        let again = blocks[3].transactions.clone();
        blocks.push(Block::build(Some(&parent), again, NOW.plus_seconds(20), &key(1)));
        let refused = take(&store, &Held::new(blocks)).unwrap_err();
        assert!(refused.to_string().contains("transactions"), "{refused}");
        assert_taken(&store, &sound[..first]);
    }
}

#[test]
fn another_chain_and_one_that_is_behind_are_told_and_change_nothing() {
    let blocks = grow(Vec::new(), 6, "a");
    let other = grow(blocks[..3].to_vec(), 5, "b");
    let store = Store::new();
    take(&store, &Held::new(blocks.clone())).unwrap();
    let forked = take(&store, &Held::new(other)).unwrap_err();
    assert!(matches!(forked, SyncDocumentsError::Forked { height: 5, .. }), "{forked}");
    for end in [0, 4] {
        let behind = take(&store, &Held::new(blocks[..end].to_vec())).unwrap_err();
        assert!(matches!(behind, SyncDocumentsError::Behind { taken: 5, .. }), "{behind}");
    }
    assert_taken(&store, &blocks);
}

#[test]
fn pins_hold_for_blocks_and_for_records() {
    let blocks = grow(Vec::new(), 3, "a");
    for pruned in [0, 3] {
        let chain = Held { pruned, ..Held::new(blocks.clone()) };
        let pin = |seed| ChainPins {
            producer: Producers::of(&[key(seed).public()]).unwrap(),
            ..ChainPins::default()
        };
        assert_eq!(take_pinned(&Store::new(), &chain, pin(1)).unwrap().blocks, 3);
        assert!(take_pinned(&Store::new(), &chain, pin(2)).is_err());
        let genesis = ChainPins { genesis: Some(blocks[0].hash), ..ChainPins::default() };
        assert_eq!(take_pinned(&Store::new(), &chain, genesis).unwrap().blocks, 3);
        let genesis = ChainPins { genesis: Some(blocks[1].hash), ..ChainPins::default() };
        assert!(take_pinned(&Store::new(), &chain, genesis).is_err());
        // Before the producer began to sign, and behind that.
        for (n, is_taken) in [(0, true), (1, false)] {
            let mut unsigned = blocks.clone();
            (unsigned[n].signature, unsigned[n].producer) = (None, None);
            let chain = Held { pruned, ..Held::new(unsigned) };
            match take_pinned(&Store::new(), &chain, pin(1)) {
                Ok(done) => assert!(is_taken && done.blocks == 3),
                Err(why) => assert!(!is_taken && why.to_string().contains("not signed"), "{why}"),
            }
        }
        // A pin that comes later holds, too.
        let store = Store::new();
        take(&store, &Held { pruned, ..Held::new(blocks.clone()) }).unwrap();
        let genesis = ChainPins { genesis: Some(blocks[1].hash), ..ChainPins::default() };
        let chain = Held { pruned, ..Held::new(blocks.clone()) };
        let refused = take_pinned(&store, &chain, genesis).unwrap_err();
        assert!(matches!(refused, SyncDocumentsError::OtherGenesis { .. }), "{refused}");
        // Records are judged, too.
        if pruned > 0 {
            let late = Block::build(None, Vec::new(), NOW.plus_seconds(9_999_999), &key(1));
            let chain = Held { pruned, ..Held::new(vec![late]) };
            assert!(take(&Store::new(), &chain).unwrap_err().to_string().contains("clock"));
            let mut half = blocks.clone();
            half[0].signature = None;
            let chain = Held { pruned, ..Held::new(half) };
            assert!(take(&Store::new(), &chain).is_err());
        }
    }
}

#[test]
fn a_pruned_block_comes_as_its_record() {
    let blocks = grow(Vec::new(), 6, "a");
    let chain = Held { pruned: 4, ..Held::new(blocks.clone()) };
    let store = Store::new();
    assert_eq!(take(&store, &chain).unwrap().blocks, 6);
    for store in [Store::open(&store.disk), store] {
        let (text, source, _) = get(&store, DocumentKind::Block, "2").unwrap();
        assert_eq!(source, Source::Synchronised);
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(said["hash"], blocks[2].hash.to_string());
        assert_eq!((&said["pruned"], &said["transaction_count"]), (&true.into(), &1.into()));
        assert!(said.get("transactions").is_none());
        assert!(get(&store, DocumentKind::Transaction, "a-2").is_none());
        assert!(get(&store, DocumentKind::Transaction, "a-4").is_some());
    }
}

#[test]
fn what_is_taken_stands_in_the_place_of_what_was_posted_and_keeps_it() {
    let blocks = grow(Vec::new(), 3, "a");
    let store = Store::new();
    let post = |kind, text: &str| store_document(&store.vault, NOW, kind, text).unwrap();
    // Another block of an index, another transaction of an id, and the same block as it is.
    let other = grow(blocks[..1].to_vec(), 1, "b").remove(1);
    post(DocumentKind::Block, &other.to_json_text());
    let claim = r#"{"id": "a-2", "type": "claim"}"#;
    post(DocumentKind::Transaction, claim);
    post(DocumentKind::Block, &blocks[0].to_json_text().replace("\":", "\": "));
    take(&store, &Held::new(blocks.clone())).unwrap();
    assert_taken(&store, &blocks);
    assert_eq!(get(&store, DocumentKind::Block, &other.hash.to_string()), None);
    let counts = count_documents(&store.vault).unwrap();
    // That of the other block is still what a client posted.
    assert_eq!((counts.blocks, counts.transactions), (3, 4));
    let (kept, _) = document_history(&store.vault, DocumentKind::Block, "1", 0, 10).unwrap();
    assert_eq!((kept.len(), kept[0].text.as_str()), (1, other.to_json_text().as_str()));
    let (kept, _) =
        document_history(&store.vault, DocumentKind::Transaction, "a-2", 0, 10).unwrap();
    assert_eq!(
        (kept[0].text.as_str(), kept[0].source),
        (r#"{"id": "a-2", "type": "claim"}"#, Source::Submitted)
    );
    // From then on a client cannot say otherwise.
    let refused = store_document(&store.vault, NOW, DocumentKind::Block, &other.to_json_text());
    assert!(refused.is_err());
}

#[test]
fn a_round_ends_when_it_is_told_to() {
    let (store, chain) = (Store::new(), Held::new(grow(Vec::new(), 9, "a")));
    let asked = Cell::new(0);
    let go_on = || {
        asked.set(asked.get() + 1);
        asked.get() < 3
    };
    let watch = SyncWatch { heard: &|_| {}, go_on: &go_on };
    let done = sync_documents(&store.vault, &chain, &ChainPins::default(), NOW, &watch).unwrap();
    assert!(done.blocks < 9, "{done:?}");
    take(&store, &chain).unwrap();
    assert_taken(&store, &chain.blocks.lock());
}

/// Documents as a service gave them, each of which may be a lie.
fn given(kind: DocumentKind, text: &str, block: Option<u64>) -> FoundDocument {
    FoundDocument::of_text((kind, Source::Synchronised), text, (NOW, NOW), block).unwrap()
}

/// Makes a chain one that lies.
type Lie<'a> = &'a dyn Fn(&mut Vec<Block>);

fn checked(chain: &Held, pins: &ChainPins, found: &FoundDocument) -> Result<FoundDocument, String> {
    let now = NOW.plus_seconds(1_000);
    let mut check = CheckedChain::read(chain, pins, now, &|_, _| {}).map_err(|e| e.to_string())?;
    check.check(found, now).unwrap()
}

#[test]
fn only_what_the_chain_has_just_so_stands_when_it_is_held_against_it() {
    let blocks = grow(Vec::new(), 6, "a");
    let other = grow(blocks[..3].to_vec(), 3, "b");
    let (store, chain) = (Store::new(), Held { pruned: 2, ..Held::new(blocks.clone()) });
    let pins = ChainPins { genesis: Some(blocks[0].hash), producer: Producers::default() };
    take(&store, &chain).unwrap();
    for block in &blocks {
        // Of a block that is pruned there, this is what a pruned block says.
        let found = get_document(&store.vault, DocumentKind::Block, &block.hash.to_string(), NOW);
        let found = found.unwrap();
        let proved = checked(&chain, &pins, &found).unwrap();
        assert_eq!((&proved.text, &proved.id, proved.at), (&found.text, &found.id, found.at));
        let pruned = found.text.contains("\"pruned\"");
        assert_eq!(pruned, block.index < 2);
        let lie = found.text.replace("\"nonce\"", "\"note\":\"x\",\"nonce\"");
        assert!(
            checked(&chain, &pins, &given(DocumentKind::Block, &lie, Some(block.index))).is_err()
        );
        if !pruned {
            let text = block.transactions[0].text();
            let found = given(DocumentKind::Transaction, text, Some(block.index));
            // What it was said to be is not believed: its text says that, and its block the time.
            let lie = Facets::Transaction { tx_type: None, session_id: Some("other".into()) };
            let told = FoundDocument { id: "other".into(), facets: lie, ..found.clone() };
            let proved = checked(&chain, &pins, &told).unwrap();
            assert_eq!((&proved.id, &proved.facets), (&found.id, &found.facets));
            assert_eq!(proved.at, block.time().unwrap());
            let elsewhere = given(DocumentKind::Transaction, text, Some(block.index ^ 1));
            assert!(checked(&chain, &pins, &elsewhere).unwrap_err().contains("does not have it"));
            let lie = text.replace("data_storage", "data_removal");
            let found = given(DocumentKind::Transaction, &lie, Some(block.index));
            assert!(checked(&chain, &pins, &found).unwrap_err().contains("as it is here"));
        }
    }
    // A block of which the chain has all is not one without transactions.
    let head = Head::of(&BlockRecord::of(&blocks[1]));
    let pruned = get_document(&store.vault, DocumentKind::Block, &head.entry.hash.to_string(), NOW);
    let hiding = Held::new(blocks.clone());
    assert!(checked(&hiding, &pins, &pruned.unwrap()).unwrap_err().contains("transactions"));
    let of_other = given(DocumentKind::Block, &other[4].to_json_text(), Some(4));
    assert!(checked(&chain, &pins, &of_other).unwrap_err().contains("something else"));
    let mut unsigned = blocks[4].clone();
    (unsigned.producer, unsigned.signature) = (None, None);
    let unsigned = given(DocumentKind::Block, &unsigned.to_json_text(), Some(4));
    assert!(checked(&chain, &pins, &unsigned).is_err());
    let beyond = given(DocumentKind::Block, &blocks[5].to_json_text(), Some(6));
    assert!(checked(&chain, &pins, &beyond).unwrap_err().contains("no block 6"));
    let lost = given(DocumentKind::Transaction, blocks[1].transactions[0].text(), Some(1));
    assert!(checked(&chain, &pins, &lost).unwrap_err().contains("pruned"));
    let nowhere = given(DocumentKind::Transaction, blocks[4].transactions[0].text(), None);
    assert!(checked(&chain, &pins, &nowhere).unwrap_err().contains("no block"));
    let submitted = FoundDocument { source: Source::Submitted, ..nowhere };
    assert!(checked(&chain, &pins, &submitted).unwrap_err().contains("vouches"));

    // A chain whose records do not follow each other, or that is another one, is nothing to hold against.
    let found = given(DocumentKind::Block, &blocks[5].to_json_text(), Some(5));
    let lies: [Lie; 4] = [
        &|blocks| blocks[3].nonce = 7,
        &|blocks| blocks[3].previous_hash = blocks[3].hash,
        &|blocks| drop(blocks.remove(2)),
        &|blocks| blocks[4].signature = Some(key(2).sign(b"something else")),
    ];
    for lie in lies {
        let lying = Held::new(blocks.clone());
        lie(&mut lying.blocks.lock());
        assert!(checked(&lying, &pins, &found).unwrap_err().contains("refused"));
    }
    let elsewhere = ChainPins { genesis: Some(blocks[1].hash), ..pins };
    assert!(checked(&chain, &elsewhere, &found).unwrap_err().contains("refused"));
    let by_another = ChainPins { producer: Producers::of(&[key(2).public()]).unwrap(), ..pins };
    assert!(checked(&chain, &by_another, &found).unwrap_err().contains("refused"));
    // Nor is one that nobody signed, where it is said who signs.
    let unsigned = Held::new(blocks.clone());
    for block in unsigned.blocks.lock().iter_mut() {
        (block.producer, block.signature) = (None, None);
    }
    let found = given(DocumentKind::Block, &unsigned.blocks.lock()[5].to_json_text(), Some(5));
    assert!(checked(&unsigned, &pins, &found).is_ok());
    let by_key = ChainPins { producer: Producers::of(&[key(1).public()]).unwrap(), ..pins };
    assert!(checked(&unsigned, &by_key, &found).unwrap_err().contains("no block up to it"));
    assert!(
        checked(&chain, &by_key, &given(DocumentKind::Block, &blocks[5].to_json_text(), Some(5)))
            .is_ok()
    );
}

#[test]
fn a_chain_answers_what_its_documents_would() {
    let blocks = grow(Vec::new(), 600, "a");
    let (store, chain) = (Store::new(), Held::new(blocks));
    take(&store, &chain).unwrap();
    for (kind, words) in [
        (DocumentKind::Block, vec![]),
        (DocumentKind::Block, vec![("index_from", "250"), ("index_to", "530")]),
        (DocumentKind::Block, vec![("index_from", "9"), ("timestamp_to", "2026-01-01T00:05:00Z")]),
        (DocumentKind::Transaction, vec![("type", "data_storage")]),
        (DocumentKind::Transaction, vec![("session_id", "another")]),
    ] {
        for descending in [false, true] {
            let mut filter = Filter::default();
            for (name, value) in &words {
                filter.set_parameter(kind, name, value).unwrap();
            }
            let wanted = ChainQuery { kind, filter: filter.clone(), heights: 0..600, descending };
            let mut found = Vec::new();
            query_chain(&chain, &wanted, &mut |document| {
                found.push(document.text);
                Ok(())
            })
            .unwrap();
            let mut query = DocumentQuery {
                sight: Default::default(),
                kind,
                filter,
                limit: 1_000,
                offset: 0,
                bytes_max: usize::MAX,
                cursor: None,
                descending,
                total: false,
                quiet_since: NOW,
            };
            let mut taken = Vec::new();
            loop {
                let page = query_documents(&store.vault, &query).unwrap();
                taken.extend(page.documents.into_iter().map(|document| document.text));
                match page.next {
                    Some(next) => query.cursor = Some(next),
                    None => break,
                }
            }
            // Transactions without a time of their own are all of one time, that of their being stored, here; and of
            // their block's in a chain. So only which there are is compared.
            if kind == DocumentKind::Transaction {
                found.sort();
                taken.sort();
            }
            assert_eq!(found, taken, "{words:?}");
        }
    }
}

/// A chain in the place of another: its first block says so, signed by this key, of a chain that ended there.
fn succeeding(before: &[Block], end: (u64, BlockHash), by: &SigningKey) -> Vec<Block> {
    succeeding_in(before, end, by, by)
}

/// The same in a first block that another key signed.
fn succeeding_in(
    before: &[Block],
    end: (u64, BlockHash),
    by: &SigningKey,
    producer: &SigningKey,
) -> Vec<Block> {
    let (height, hash) = end;
    let reason = "a test".to_owned();
    let genesis = before[0].hash;
    let succession = Succession { genesis, height, hash, reason, timestamp: NOW };
    let first = vec![succession.sign(by).unwrap()];
    let block = Block::build(None, first, NOW.plus_seconds(50), producer);
    grow(vec![block], 3, "new")
}

#[test]
fn a_chain_that_takes_the_place_of_another_by_its_producers_word_is_gone_on_with() {
    let before = grow(Vec::new(), 6, "a");
    let end = |block: &Block| (block.index, block.hash);
    let store = Store::new();
    // All of it but the last block was taken.
    take(&store, &Held::new(before[..5].to_vec())).unwrap();
    let pins = ChainPins {
        genesis: Some(before[0].hash),
        producer: Producers::of(&[key(1).public()]).unwrap(),
    };
    let strangers = [
        succeeding(&before, end(&before[5]), &key(2)),
        succeeding_in(&before, end(&before[5]), &key(1), &key(2)),
        succeeding(&before, (3, before[3].hash), &key(1)),
        succeeding(&before, (4, before[3].hash), &key(1)),
        succeeding(&before[1..], end(&before[5]), &key(1)),
        grow(Vec::new(), 9, "stranger"),
    ];
    for stranger in strangers {
        for pins in [ChainPins::default(), pins] {
            let refused = take_pinned(&store, &Held::new(stranger.clone()), pins).unwrap_err();
            let is_other = matches!(
                refused,
                SyncDocumentsError::Forked { .. } | SyncDocumentsError::Behind { .. }
            );
            assert!(is_other, "{refused}");
        }
    }
    let new = succeeding(&before, end(&before[5]), &key(1));
    // It goes away at any call, and is gone on with; over restarts, with the pin of the first chain.
    let (store, chain) = (Store::open(&store.disk), Held::new(new.clone()));
    for calls in 0..9 {
        *chain.answers.lock() = calls;
        let _ = take_pinned(&store, &chain, pins);
    }
    *chain.answers.lock() = usize::MAX;
    let done = take_pinned(&store, &chain, pins).unwrap();
    assert_eq!((done.local, done.remote), (Some(3), Some(3)));
    let longer = grow(new, 2, "newer");
    *chain.blocks.lock() = longer.clone();
    for store in [&store, &Store::open(&store.disk)] {
        assert_eq!(take_pinned(store, &chain, pins).unwrap().local, Some(5));
        assert_taken(store, &longer);
        // What was taken of the one before is found by its hash.
        for block in &before[..5] {
            let id = block.hash.to_string();
            let (text, source, _) = get(store, DocumentKind::Block, &id).unwrap();
            assert_eq!((text, source), (block.to_json_text(), Source::Synchronised));
        }
        let counts = count_documents(&store.vault).unwrap();
        assert_eq!((counts.blocks, counts.transactions), (11, 11));
    }
    // The old one is none any more.
    let refused = take_pinned(&store, &Held::new(before), pins).unwrap_err();
    assert!(matches!(refused, SyncDocumentsError::Forked { .. }), "{refused}");
}
