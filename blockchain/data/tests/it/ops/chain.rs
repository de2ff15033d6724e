//! Which chain anchors go to: known from the first one on, also where the version before wrote nothing of
//! it, and none other is handed anything.

use lucid_core::block::Block;
use lucid_core::block_merkle::path;
use lucid_core::bundle::{AnchorInclusion, Producer};
use lucid_core::claim::Claim as _;
use lucid_core::cut::ChunkProfile;
use lucid_core::digest::BlockHash;
use lucid_core::record::BlockRecord;
use lucid_core::sign::SigningKey;
use lucid_core::succession::Succession;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use lucid_data_chain::anchoring::{AnchorEngine, Confirmed, EngineError};
use lucid_data_chain::fact::{Anchored, Fact, KnownChain};
use lucid_data_chain::ops::proofs::deliver_anchors::{Delivered, anchor_text, deliver_anchors};
use lucid_data_chain::ops::proofs::prove_session::{anchored, named};
use lucid_data_chain::ops::proofs::recognise_chain::{accept_other_chain, known_chain};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::upkeep::weigh_facts::matters;
use lucid_data_chain::row::{SessionName, own_chain};
use lucid_store::codec::Packer;
use lucid_store::vault::committer::Submission;
use parking_lot::Mutex;

use super::store::{NOW, Store};

/// A chain in memory: what is submitted is in a block at once.
pub struct Chain {
    key: SigningKey,
    blocks: Mutex<Vec<Block>>,
    /// Heights of blocks that cannot be read.
    damaged: Mutex<Vec<u64>>,
    /// The clock of its producer.
    clock: Mutex<Timestamp>,
}

impl Chain {
    pub fn new(seed: u8) -> Self {
        let key = SigningKey::from_seed([seed; 32]);
        let clock = Mutex::new(Timestamp::from_micros(1_800_000_000_000_000));
        Self { key, blocks: Mutex::default(), damaged: Mutex::default(), clock }
    }

    /// One whose clock tells this.
    pub fn at(seed: u8, now: Timestamp) -> Self {
        let chain = Self::new(seed);
        chain.set_clock(now);
        chain
    }

    pub fn set_clock(&self, now: Timestamp) {
        *self.clock.lock() = now;
    }

    /// An older copy of it.
    fn until(&self, height: usize) -> Self {
        let blocks = self.blocks.lock()[..height].to_vec();
        Self { blocks: Mutex::new(blocks), key: self.key.clone(), ..Self::new(0) }
    }

    pub fn height(&self) -> usize {
        self.blocks.lock().len()
    }
}

impl AnchorEngine for Chain {
    fn submit(&self, text: &str) -> Result<(), EngineError> {
        let mut blocks = self.blocks.lock();
        let parent = blocks.last().map(|block| block.as_parent().unwrap());
        let now = *self.clock.lock();
        let transaction = Transaction::parse(text.as_bytes()).unwrap();
        let block = Block::build(parent.as_ref(), vec![transaction], now, &self.key);
        blocks.push(block);
        Ok(())
    }

    fn keeps(&self, known: &KnownChain) -> Result<bool, EngineError> {
        let blocks = self.blocks.lock();
        Ok(blocks.get(known.block_index as usize).is_some_and(|is| is.hash == known.block_hash))
    }

    fn genesis(&self) -> Result<Option<BlockHash>, EngineError> {
        Ok(self.blocks.lock().first().map(|block| block.hash))
    }

    fn confirmed(&self, id: &str) -> Result<Option<Confirmed>, EngineError> {
        let blocks = self.blocks.lock();
        let holds = |block: &&Block| block.transactions.iter().any(|held| held.id() == id);
        let found = blocks.iter().find(holds);
        if found.is_some_and(|block| self.damaged.lock().contains(&block.index)) {
            return Err(EngineError::Damaged("its record".into()));
        }
        Ok(found.map(|block| Confirmed {
            block_index: block.index,
            block_hash: block.hash,
            proof: proof_of(block, id),
        }))
    }
}

/// The way from any transaction to its block, not only from one that is kept for ever.
fn proof_of(block: &Block, id: &str) -> AnchorInclusion {
    let record = BlockRecord::of(block);
    let position = block.transactions.iter().position(|held| held.id() == id).unwrap();
    let hashes: Vec<_> = block.transactions.iter().map(Transaction::hash).collect();
    AnchorInclusion {
        transaction: block.transactions[position].text().to_owned(),
        position: position as u32,
        count: hashes.len() as u32,
        path: path(&hashes, position).unwrap(),
        entry: record.entry.text(),
        producer: record
            .producer
            .zip(record.signature)
            .map(|(key, signature)| Producer { key, signature }),
    }
}

fn sealed(store: &Store, session: &str) {
    let id = store.begin(session, ChunkProfile::default());
    store.append(&id, 0, session.as_bytes()).unwrap();
    store.seal(&id);
}

pub fn deliver(store: &Store, chain: &Chain) -> Delivered {
    deliver_anchors(&store.vault, &store.key.public(), chain).unwrap()
}

fn known(store: &Store) -> Option<KnownChain> {
    known_chain(&store.vault, &store.key.public()).unwrap()
}

fn refused(store: &Store, chain: &Chain) -> String {
    let before = chain.height();
    let delivered = deliver(store, chain);
    assert_eq!((delivered.anchored.len(), chain.height()), (0, before));
    let [(_, EngineError::OtherChain(why))] = &delivered.failed[..] else {
        panic!("{delivered:?}")
    };
    why.clone()
}

#[test]
fn anchors_go_to_the_chain_of_the_first_one_after_a_reindex_too() {
    let (store, ours, theirs) = (Store::new(), Chain::new(1), Chain::new(2));
    assert_eq!(known(&store), None);
    sealed(&store, "a");
    sealed(&store, "b");
    assert_eq!(deliver(&store, &ours).anchored.len(), 2);
    let (genesis, tip) = (ours.genesis().unwrap(), ours.blocks.lock()[1].hash);
    let chain = known(&store).unwrap();
    assert_eq!((chain.genesis, chain.block_index, chain.block_hash), (genesis, 1, tip));
    theirs.submit(r#"{"id": "x", "type": "t"}"#).unwrap();
    store.vault.close().unwrap();
    let store = Store::open(&store.disk);
    assert_eq!(known(&store), Some(chain.clone()));
    sealed(&store, "c");
    let why = refused(&store, &theirs);
    let both = [genesis, theirs.genesis().unwrap()].map(|hash| hash.unwrap().to_string());
    assert!(both.iter().all(|hash| why.contains(hash)), "{why}");
    assert!(refused(&store, &Chain::new(1)).contains("has no blocks"));
    assert!(refused(&store, &ours.until(1)).contains("an older copy"));
    assert_eq!(deliver(&store, &ours).anchored.len(), 1);
    // What it says outlives the log's condensing, and only the last of it.
    let fact = |known| Fact::Chain(lucid_data_chain::fact::OwnChain { known }).encode();
    assert!(matters(&store.vault, &fact(known(&store))).unwrap());
    assert!(!matters(&store.vault, &fact(Some(chain))).unwrap());
    accept_other_chain(&store.vault).unwrap();
    sealed(&store, "d");
    assert_eq!(deliver(&store, &theirs).anchored.len(), 1);
    sealed(&store, "e");
    assert!(refused(&store, &ours).contains(&both[0]));
}

#[test]
fn a_store_of_the_version_before_knows_its_chain_by_its_proofs() {
    let (store, ours, theirs) = (Store::new(), Chain::new(1), Chain::new(2));
    theirs.submit(r#"{"id": "x", "type": "t"}"#).unwrap();
    sealed(&store, "old");
    // As that version had it: the proof, and nothing of the chain.
    let id = "old".parse().unwrap();
    let name = SessionName::of(store.vault.cipher(), &id);
    let text = anchor_text(&store.vault, &name).unwrap();
    ours.submit(&text).unwrap();
    let anchor = Transaction::parse(text.as_bytes()).unwrap();
    let Confirmed { block_index, block_hash, proof } =
        ours.confirmed(anchor.id()).unwrap().unwrap();
    let fact = Anchored { session: id.clone(), block_index, block_hash, proof: proof.encode() };
    let fact = store.vault.fact(&mut Packer::new(), Fact::Anchored(fact).encode()).unwrap();
    store.vault.commit(Submission { facts: vec![fact], ..Submission::default() }).unwrap();
    assert!(get_session(&store.vault, &id).unwrap().anchored.is_some());
    assert_eq!(own_chain(store.vault.index(), store.vault.cipher()).unwrap(), None);
    let chain = known(&store).unwrap();
    assert_eq!((chain.genesis, chain.transaction.as_str()), (None, anchor.id()));
    // Another recorder's proofs, as a mirror has them, say nothing of where ours go.
    assert_eq!(known_chain(&store.vault, &theirs.key.public()).unwrap(), None);
    sealed(&store, "new");
    let why = refused(&store, &theirs);
    let hash = theirs.genesis().unwrap().unwrap().to_string();
    assert!(why.contains(&hash) && why.contains(&block_hash.to_string()), "{why}");
    assert_eq!(deliver(&store, &ours).anchored.len(), 1);
    let chain = own_chain(store.vault.index(), store.vault.cipher()).unwrap().unwrap();
    assert_eq!(chain.known.unwrap().genesis, ours.genesis().unwrap());
}

/// The anchor of a sealed session, as it is handed over.
fn anchor_of(store: &Store, session: &str) -> String {
    let id = session.parse().unwrap();
    let name = SessionName::of(store.vault.cipher(), &id);
    anchor_text(&store.vault, &name).unwrap()
}

#[test]
fn a_damaged_block_keeps_back_no_anchor_but_its_own() {
    let (store, chain) = (Store::new(), Chain::new(1));
    sealed(&store, "a");
    assert_eq!(deliver(&store, &chain).anchored.len(), 1);
    // The block that says which chain it is.
    chain.damaged.lock().push(0);
    sealed(&store, "b");
    assert_eq!(deliver(&store, &chain).anchored.len(), 1);
    // Sealed in one moment, they wait in the order of their names in the index.
    let mut names = ["c", "d", "e"];
    let key =
        |name: &&str| SessionName::of(store.vault.cipher(), &name.parse().unwrap()).proof_key();
    names.sort_by_key(key);
    // Handed over and in a block, whose record was damaged before its proof was asked for.
    sealed(&store, names[0]);
    chain.submit(&anchor_of(&store, names[0])).unwrap();
    chain.damaged.lock().push(2);
    names[1..].iter().for_each(|other| sealed(&store, other));
    let delivered = deliver(&store, &chain);
    let [(id, error @ EngineError::Damaged(_))] = &delivered.failed[..] else {
        panic!("{delivered:?}")
    };
    assert_eq!(id.as_str(), names[0]);
    assert!(error.to_string().contains("its record"), "{error}");
    assert_eq!(delivered.anchored.len(), 2);
    // Once it is healed, its proof is taken.
    chain.damaged.lock().clear();
    assert_eq!(deliver(&store, &chain).anchored, [names[0].parse().unwrap()]);
    assert_eq!(chain.height(), 5);
}

#[test]
fn a_session_whose_row_is_another_ones_is_not_taken_for_it() {
    use lucid_store::contract::index::{Changes, Index as _};
    let store = Store::new();
    sealed(&store, "a");
    sealed(&store, "b");
    let key = |id: &str| SessionName::of(store.vault.cipher(), &id.parse().unwrap()).session_key();
    let other = store.index.get(&key("b")).unwrap().unwrap();
    let mut changes = Changes::new(store.index.as_ref());
    changes.put(key("a"), other);
    changes.write().unwrap();
    let refused = get_session(&store.vault, &"a".parse().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("another session's"), "{refused}");
    assert!(get_session(&store.vault, &"b".parse().unwrap()).is_ok());
}

/// A chain that begins with the word that it takes the place of another, and of those before.
fn successor_of(old: &Chain, seed: u8, height: u64, signed_by: u8, reason: &str) -> Chain {
    let (genesis, hash) = {
        let blocks = old.blocks.lock();
        (blocks[0].hash, blocks[height as usize].hash)
    };
    let timestamp = NOW.plus_seconds(9);
    let succession = Succession { genesis, height, hash, reason: reason.to_owned(), timestamp };
    let new = Chain::new(seed);
    let text = succession.sign(&SigningKey::from_seed([signed_by; 32])).unwrap();
    new.submit(text.text()).unwrap();
    new
}

#[test]
fn anchors_go_on_in_the_chain_that_takes_the_place_of_the_one_they_are_in() {
    let store = Store::new();
    let old = Chain::new(1);
    for session in ["one", "two"] {
        sealed(&store, session);
        assert_eq!(deliver(&store, &old).anchored.len(), 1);
    }
    let proof = |id: &str| {
        let (name, _) = named(&store.vault, &id.parse().unwrap()).unwrap();
        anchored(&store.vault, &name).unwrap()
    };
    let before = proof("one");
    sealed(&store, "waits");
    // Not by the word of another producer, nor where what is anchored would be behind the old chain's end.
    assert!(refused(&store, &successor_of(&old, 1, 1, 2, "forged")).contains("other-chain"));
    assert!(refused(&store, &successor_of(&old, 1, 0, 1, "too early")).contains("other-chain"));
    assert!(refused(&store, &Chain::new(3)).contains("other-chain"));
    let new = successor_of(&old, 1, 1, 1, "the clock was in 2099");
    let delivered = deliver(&store, &new);
    assert_eq!((delivered.anchored.len(), delivered.failed.len()), (1, 0), "{delivered:?}");
    let now_known = known(&store).unwrap();
    assert_eq!((now_known.genesis, now_known.block_index), (new.genesis().unwrap(), 1));
    // The old chain is no more the one that anchors go to, and the proofs of before are as they were.
    sealed(&store, "later");
    refused(&store, &old);
    assert_eq!(deliver(&store, &new).anchored.len(), 1);
    assert_eq!(proof("one"), before);
    // After a restart, by the log alone, the same.
    let again = Store::open(&store.disk);
    assert_eq!(known(&again), known(&store));
}
