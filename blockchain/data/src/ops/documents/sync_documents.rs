//! Takes the blocks of a chain in as documents.
//!
//! One call is one round: it compares, fetches, judges and commits, block by block from behind the last one that
//! was taken. What was committed stays, so a round that breaks off is gone on with by the next. Blocks keep all
//! six rules here as they do in a chain; of one whose transactions are pruned there, the record is judged alone.
//! No block that was taken is ever replaced: a chain that has another one there has forked, and is not followed,
//! unless it takes the place of the one that was by the word of its producer (a
//! [succession](lucid_core::succession)); then its blocks are taken from the first on, and those before stay.

use std::collections::{BTreeMap, HashSet};

use lucid_core::block::{Candidate, Parent};
use lucid_core::claim::Signed;
use lucid_core::digest::BlockHash;
use lucid_core::json::Json;
use lucid_core::record::Head;
use lucid_core::sign::Producers;
use lucid_core::succession::Succession;
use lucid_core::time::{TimeFault, Timestamp};
use lucid_core::transaction::{IdDigest, Transaction};
use lucid_core::validate::{Context, Mode, Weighed, validate_weighed};
use lucid_store::StoreError;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::{self, Submission};

use super::get_document::get_document;
use super::heads::{Before, judge_head, refuse_unsigned};
use crate::chain::{Chain, ChainError};
use crate::document::{DocumentKind, Source, pruned_text};
use crate::fact::{Fact, Stored};
use crate::ops::OpError;
use crate::row::documents::{DocumentName, DocumentRow};
use crate::row::orders::{block_named, by_index_key};
use crate::row::synchronised::SynchronisedRow;

/// Blocks whose heads are asked for at once.
const HEADS: u32 = 256;
/// Bytes of texts that are committed together.
const COMMIT_BYTES: usize = 4 << 20;

/// What a chain has to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChainPins {
    /// The hash of its first block.
    pub genesis: Option<BlockHash>,
    /// Who signs its blocks.
    pub producer: Producers,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncedDocuments {
    /// Blocks that were taken.
    pub blocks: u64,
    /// The newest block that was taken, now or before.
    pub local: Option<u64>,
    /// The chain's newest block.
    pub remote: Option<u64>,
}

/// Why a round ended early. What it had taken before stays.
#[derive(Debug, thiserror::Error)]
pub enum SyncDocumentsError {
    /// The chain gave nothing that can be used.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It has another block where one was taken.
    #[error(
        "the chain has another block {height} than the one that was taken ({taken}): it is another chain, and \
         nothing more is taken from it"
    )]
    Forked {
        /// The height.
        height: u64,
        /// The block that was taken.
        taken: BlockHash,
    },
    /// It has fewer blocks than were taken.
    #[error("the chain ends with block {}, and {taken} was taken: it is behind", .remote.map_or("none".to_owned(), |h| h.to_string()))]
    Behind {
        /// Its newest block.
        remote: Option<u64>,
        /// The newest one that was taken.
        taken: u64,
    },
    /// Blocks of another chain than the pinned one were taken.
    #[error(
        "documents were taken from the chain that begins with {taken}, and {pinned} is pinned: nothing more is \
         taken"
    )]
    OtherGenesis {
        /// The first block that was taken.
        taken: BlockHash,
        /// The one that is pinned.
        pinned: BlockHash,
    },
    /// It has a block that breaks a rule.
    #[error("block {height} is refused: {why}")]
    Refused {
        /// Its height.
        height: u64,
        /// What it breaks.
        why: String,
    },
    /// The store failed.
    #[error(transparent)]
    Op(#[from] OpError),
}

impl From<StoreError> for SyncDocumentsError {
    fn from(error: StoreError) -> Self {
        Self::Op(error.into())
    }
}

/// Who hears of a round while it goes on.
pub struct SyncWatch<'a> {
    /// Hears the chain's height.
    pub heard: &'a dyn Fn(Option<u64>),
    /// Whether to go on.
    pub go_on: &'a dyn Fn() -> bool,
}

/// Takes in what the chain has, until it has no more or `watch` says no.
pub fn sync_documents(
    vault: &Vault,
    chain: &dyn Chain,
    pins: &ChainPins,
    now: Timestamp,
    watch: &SyncWatch<'_>,
) -> Result<SyncedDocuments, SyncDocumentsError> {
    let remote = chain.height()?;
    (watch.heard)(remote);
    // What the index says, and what the next block has to follow: nothing, where another chain begins.
    let mut stored = SynchronisedRow::find(vault.index())?;
    let mut known = stored;
    let mut done = SyncedDocuments { blocks: 0, local: known.map(|row| row.last.index), remote };
    let mut pins = *pins;
    if let Some(row) = known {
        let is_pinned = |pin: &BlockHash| *pin == row.genesis || *pin == row.origin;
        if let Some(pinned) = pins.genesis.filter(|pin| !is_pinned(pin)) {
            return Err(SyncDocumentsError::OtherGenesis { taken: row.genesis, pinned });
        }
        pins.genesis = pins.genesis.map(|_| row.genesis);
        if let Err(differs) = hold_against(chain, &row, remote) {
            let Some(successor) = successor(vault, chain, &row, remote)? else {
                return Err(differs);
            };
            tracing::info!(genesis = %row.genesis, %successor, "another chain takes the place of the one that documents are of");
            pins.genesis = Some(successor);
            (known, done.local) = (None, None);
        }
    }
    let Some(remote) = remote else { return Ok(done) };
    loop {
        let from = known.map_or(0, |row| row.last.index + 1);
        if from > remote || !(watch.go_on)() {
            return Ok(done);
        }
        let heads = chain.heads(from, HEADS)?;
        if heads.is_empty() {
            return Ok(done);
        }
        let mut round = Round::new(vault, &pins, now, known, stored);
        let taken = round.take(chain, heads, watch.go_on);
        // What was judged before a block that is refused is taken all the same.
        let committed = round.commit();
        if round.committed != stored {
            (known, stored) = (round.committed, round.committed);
        }
        done.local = known.map(|row| row.last.index);
        match (taken, committed) {
            // Another process takes the same blocks, and was faster.
            (Err(SyncDocumentsError::Op(OpError::Overtaken)), _)
            | (Ok(_), Err(SyncDocumentsError::Op(OpError::Overtaken))) => return Ok(done),
            (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
            (Ok(0), Ok(())) => return Ok(done),
            (Ok(taken), Ok(())) => done.blocks += taken,
        }
    }
}

/// The block that was taken last has to be there.
fn hold_against(
    chain: &dyn Chain,
    row: &SynchronisedRow,
    remote: Option<u64>,
) -> Result<(), SyncDocumentsError> {
    let taken = row.last.index;
    if remote.is_none_or(|remote| remote < taken) {
        return Err(SyncDocumentsError::Behind { remote, taken });
    }
    let heads = chain.heads(taken, 1)?;
    match heads.first() {
        Some(head) if head.entry.hash == row.last.hash => Ok(()),
        Some(_) => Err(SyncDocumentsError::Forked { height: taken, taken: row.last.hash }),
        None => {
            let why =
                format!("it has {taken} blocks and more, and does not give the head of that one");
            Err(ChainError::Unreadable(why).into())
        }
    }
}

/// The first block of a chain that takes the place of the one that blocks were taken of: it holds a succession that
/// names the end of that, at or behind the last block that was taken, and that the producer of that block signed.
/// It signed the first block, too: anybody can put its word into one of their own.
fn successor(
    vault: &Vault,
    chain: &dyn Chain,
    row: &SynchronisedRow,
    remote: Option<u64>,
) -> Result<Option<BlockHash>, SyncDocumentsError> {
    if remote.is_none() {
        return Ok(None);
    }
    let (heads, bodies) = match (chain.heads(0, 1)?, chain.bodies(0, 1)) {
        (_, Err(ChainError::Pruned(_))) => return Ok(None),
        (heads, bodies) => (heads, bodies?),
    };
    let (Some(head), Some(transactions)) = (heads.first(), bodies.first()) else {
        return Ok(None);
    };
    if head.entry.hash == row.genesis {
        return Ok(None);
    }
    let id = Succession::id_after(&row.genesis);
    let named = transactions.iter().find(|transaction| transaction.id() == id);
    let signed = named.and_then(|transaction| Signed::<Succession>::parse(transaction).ok());
    let Some(Signed { claim: succession, key }) = signed else { return Ok(None) };
    let end = (succession.height, succession.hash);
    let is_behind = succession.height > row.last.index || end == (row.last.index, row.last.hash);
    let last = get_document(
        vault,
        DocumentKind::Block,
        &row.last.hash.to_string(),
        Timestamp::from_micros(i64::MIN),
    )?;
    let producer = Json::parse(last.text.as_bytes()).ok();
    let producer = producer.as_ref().and_then(|block| block.get("producer")?.as_text());
    let is_its_producers = producer.is_some_and(|text| text == key.to_string());
    let is_its_block = head.is_signed_by(&key);
    Ok((succession.genesis == row.genesis && is_behind && is_its_producers && is_its_block)
        .then_some(head.entry.hash))
}

/// Blocks in a row on their way into the store.
struct Round<'a> {
    vault: &'a Vault,
    pins: &'a ChainPins,
    now: Timestamp,
    /// What the next block has to follow.
    known: Option<SynchronisedRow>,
    /// What the index says: the last block that is committed, be it of a chain whose place this one takes.
    committed: Option<SynchronisedRow>,
    facts: Vec<committer::Fact>,
    bytes: usize,
    /// Transactions that are not committed yet.
    ids: HashSet<IdDigest>,
}

impl<'a> Round<'a> {
    fn new(
        vault: &'a Vault,
        pins: &'a ChainPins,
        now: Timestamp,
        known: Option<SynchronisedRow>,
        committed: Option<SynchronisedRow>,
    ) -> Self {
        let (facts, ids) = Default::default();
        Self { vault, pins, now, known, committed, facts, bytes: 0, ids }
    }

    /// Takes blocks from the first head on. How many.
    fn take(
        &mut self,
        chain: &dyn Chain,
        heads: Vec<Head>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<u64, SyncDocumentsError> {
        let mut taken = 0;
        let mut heads = heads.into_iter().peekable();
        while let Some(head) = heads.peek() {
            let from = head.entry.index;
            if !go_on() {
                break;
            }
            let bodies = match chain.bodies(from, heads.len() as u32) {
                Ok(bodies) if bodies.is_empty() => break,
                Ok(bodies) => bodies,
                Err(ChainError::Pruned(_)) => {
                    let Some(head) = heads.next() else { break };
                    self.take_record(&head)?;
                    taken += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for transactions in bodies {
                let Some(head) = heads.next() else { break };
                self.take_block(head, transactions)?;
                taken += 1;
            }
        }
        Ok(taken)
    }

    fn take_block(
        &mut self,
        head: Head,
        transactions: Vec<Transaction>,
    ) -> Result<(), SyncDocumentsError> {
        let height = head.entry.index;
        let ids: Vec<IdDigest> = transactions.iter().map(Transaction::id_digest).collect();
        let mut chained: HashSet<IdDigest> = HashSet::new();
        chained.extend(ids.iter().filter(|id| self.ids.contains(*id)));
        for transaction in &transactions {
            let name =
                DocumentName::of(self.vault.cipher(), DocumentKind::Transaction, transaction.id());
            let row = DocumentRow::find(self.vault.index(), self.vault.cipher(), &name)?;
            let before = row.filter(|row| row.source == Source::Synchronised);
            let block = before.and_then(|row| row.block).filter(|(index, _)| *index < height);
            if block.map_or(Ok(false), |block| self.is_of_chain(block))? {
                chained.insert(transaction.id_digest());
            }
        }
        let block = head.with_body(transactions);
        let text = block.to_json_text();
        let context = Context {
            parent: self.parent(),
            genesis: self.genesis(),
            now: self.now,
            mode: Mode::Historical,
            chained: &|id| chained.contains(id),
            producer: self.pins.producer,
        };
        let verdict = validate_weighed(Weighed::of(Candidate::from(block)), &context);
        let Some(block) = verdict.block.as_ref() else {
            let broken = verdict.results.iter().filter(|result| !result.passed);
            let names: Vec<&str> = broken.map(|result| result.rule.name()).collect();
            let why = format!("it breaks {}", names.join(", "));
            return Err(SyncDocumentsError::Refused { height, why });
        };
        refuse_unsigned(self.signs(), block.signature.is_some(), self.pins)
            .map_err(|why| SyncDocumentsError::Refused { height, why })?;
        let parent = block.as_parent().map_err(|fault| no_time(height, &fault))?;
        let is_signed = block.signature.is_some();
        self.keep(parent, is_signed, &text)?;
        self.ids.extend(ids);
        Ok(())
    }

    /// Takes a block of which only the record is to be had.
    fn take_record(&mut self, head: &Head) -> Result<(), SyncDocumentsError> {
        let height = head.entry.index;
        let before = Before { parent: self.parent(), is_signed: self.signs() };
        let parent = judge_head(head, &before, self.pins, self.now);
        let parent = parent.map_err(|why| SyncDocumentsError::Refused { height, why })?;
        self.keep(parent, head.signature.is_some(), &pruned_text(head))
    }

    /// Whether any block so far is signed.
    fn signs(&self) -> bool {
        self.known.is_some_and(|row| row.is_signed)
    }

    /// Whether a block that was taken is of this chain, and not of one whose place it took.
    fn is_of_chain(&self, (index, hash): (u64, BlockHash)) -> Result<bool, StoreError> {
        let named = self.vault.index().get(&by_index_key(index))?;
        let name = DocumentName::of(self.vault.cipher(), DocumentKind::Block, &hash.to_string());
        Ok(named.and_then(|value| block_named(&value)) == Some(name))
    }

    fn parent(&self) -> Option<Parent> {
        self.known.map(|row| row.last)
    }

    fn genesis(&self) -> Option<BlockHash> {
        self.known.map(|row| row.genesis).or(self.pins.genesis)
    }

    fn keep(
        &mut self,
        last: Parent,
        is_signed: bool,
        text: &str,
    ) -> Result<(), SyncDocumentsError> {
        let mut packer = Packer::new();
        let id = last.hash.to_string();
        for stored in Stored::of(DocumentKind::Block, Source::Synchronised, self.now, &id, text) {
            let fact = self.vault.fact(&mut packer, Fact::Stored(stored).encode());
            self.facts.push(fact.map_err(OpError::from)?);
        }
        self.bytes += text.len();
        let genesis = self.known.map_or(last.hash, |row| row.genesis);
        let origin = self.known.or(self.committed).map_or(last.hash, |row| row.origin);
        let is_signed = is_signed || self.signs();
        self.known = Some(SynchronisedRow { genesis, origin, last, is_signed });
        if self.bytes >= COMMIT_BYTES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), SyncDocumentsError> {
        if self.facts.is_empty() {
            return Ok(());
        }
        let facts = std::mem::take(&mut self.facts);
        // A faster one, in this process or another, has taken these blocks already.
        let last = self.committed.map(|row| row.encode());
        let rests_on = BTreeMap::from([(SynchronisedRow::key(), last)]);
        let submission = Submission { facts, rests_on, ..Submission::default() };
        self.vault.commit(submission).map_err(OpError::from)?;
        (self.committed, self.bytes) = (self.known, 0);
        self.ids.clear();
        Ok(())
    }
}

fn no_time(height: u64, fault: &TimeFault) -> SyncDocumentsError {
    SyncDocumentsError::Refused { height, why: fault.to_string() }
}
