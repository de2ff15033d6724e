//! What is kept of a block for ever, and the body that may be pruned.
//!
//! A [`BlockRecord`] is the block's [`BlockEntry`], the producer's signature, three digests for each
//! transaction and the anchors verbatim: so proofs, the rule against repeated ids, hashes and anchors
//! survive when the body is gone. The store writes records and bodies, synchronisation sends them,
//! and [`Block::from_parts`] joins the two again.
//!
//! Invariant: [`BlockRecord::decode`] says that the bytes are a record; that its parts belong
//! together, [`BlockRecord::check`] says, and that a body is the one of a record, `from_parts`.

mod entry;
mod head;

pub use entry::{BLOCK_SIGNING_CONTEXT, BlockEntry, BlockEntryFault, ENTRY_HEADING};
pub use head::Head;

use crate::block::Block;
use crate::block_merkle::{log_root, merkle_root};
use crate::digest::{LogHash, TransactionHash};
use crate::limits::BLOCK_TRANSACTIONS_MAX;
use crate::sign::{PublicKey, Signature};
use crate::transaction::{
    Drafts, IdDigest, SESSION_ANCHOR, SESSION_TOMBSTONE, Transaction, TransactionFault, Unfit,
};
use crate::wire::{Reader, WireFault, Writer};

/// The first byte of a record and of a body.
const VERSION: u8 = 1;
/// The three digests of a transaction.
const DIGESTS_BYTES: usize = 32 + 32 + 16;

/// Why bytes are not a block record or body, or not those of each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The bytes do not have the form.
    #[error(transparent)]
    Wire(#[from] WireFault),
    /// The entry is none.
    #[error(transparent)]
    Entry(#[from] BlockEntryFault),
    /// A transaction is none.
    #[error("transaction {position} is damaged: {fault}")]
    Transaction {
        /// Its place in the block.
        position: usize,
        /// What is wrong with it.
        fault: TransactionFault,
    },
    /// A transaction's text is not canonical.
    #[error("transaction {position} is damaged: its text is not canonical")]
    NotCanonical {
        /// Its place in the block.
        position: usize,
    },
    /// Two parts contradict each other.
    #[error("the block's parts do not belong together: {what} differs")]
    Differs {
        /// Where they differ.
        what: &'static str,
    },
}

/// The digests of one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionDigests {
    /// SHA-256 of the text.
    pub hash: TransactionHash,
    /// The RFC 9162 leaf of the text.
    pub leaf: LogHash,
    /// The digest of the id.
    pub id: IdDigest,
}

impl TransactionDigests {
    /// The digests of a transaction.
    pub fn of(transaction: &Transaction) -> Self {
        Self {
            hash: transaction.hash(),
            leaf: transaction.leaf_hash(),
            id: transaction.id_digest(),
        }
    }
}

/// A transaction that is kept whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorRecord {
    /// Its place in the block.
    pub position: u32,
    /// The transaction.
    pub transaction: Transaction,
}

/// What is kept of a block when its body is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRecord {
    /// The nine lines.
    pub entry: BlockEntry,
    /// The key that vouches for the block, if any.
    pub producer: Option<PublicKey>,
    /// That key's signature over the entry.
    pub signature: Option<Signature>,
    /// The digests of each transaction, in order.
    pub transactions: Vec<TransactionDigests>,
    /// The anchors and tombstones, in order.
    pub anchors: Vec<AnchorRecord>,
}

impl BlockRecord {
    /// The record of a block.
    pub fn of(block: &Block) -> Self {
        Self::with_digests(
            block,
            block.transactions.iter().map(TransactionDigests::of).collect(),
            None,
        )
    }

    /// The record of a block whose transactions' digests are at hand, and perhaps its entry; without one, the
    /// entry is made here.
    pub(crate) fn with_digests(
        block: &Block,
        transactions: Vec<TransactionDigests>,
        entry: Option<BlockEntry>,
    ) -> Self {
        let entry = entry.unwrap_or_else(|| {
            let leaves: Vec<LogHash> = transactions.iter().map(|digests| digests.leaf).collect();
            BlockEntry::with_root(block, log_root(&leaves))
        });
        let anchors = kept(block.transactions.iter()).map(|(position, transaction)| AnchorRecord {
            position,
            transaction: transaction.clone(),
        });
        Self {
            entry,
            producer: block.producer,
            signature: block.signature,
            anchors: anchors.collect(),
            transactions,
        }
    }

    /// Computes everything again that the record can compute: what [`BlockRecord::check_hashes`] does,
    /// and the signature.
    pub fn check(&self) -> Result<(), RecordFault> {
        self.check_hashes()?;
        match (&self.producer, &self.signature) {
            (None, None) => Ok(()),
            (Some(producer), Some(signature)) if self.entry.verify(producer, signature) => Ok(()),
            _ => Err(RecordFault::Differs { what: "the producer's signature" }),
        }
    }

    /// Computes hash, roots and count again, and that each anchor is the transaction it stands for. A
    /// signature costs more than all of this.
    pub fn check_hashes(&self) -> Result<(), RecordFault> {
        let differs = |what| Err(RecordFault::Differs { what });
        let hashes: Vec<_> = self.transactions.iter().map(|digests| digests.hash).collect();
        let leaves: Vec<_> = self.transactions.iter().map(|digests| digests.leaf).collect();
        if self.entry.transaction_count != self.transactions.len() as u64 {
            return differs("the number of transactions");
        }
        if self.entry.merkle_root != merkle_root(&hashes) {
            return differs("the Merkle root");
        }
        if self.entry.log_root != log_root(&leaves) {
            return differs("the RFC 9162 root");
        }
        if self.entry.hash != self.entry.computed_hash() {
            return differs("the block hash");
        }
        let anchor_holds = |anchor: &AnchorRecord| {
            let digests = self.transactions.get(anchor.position as usize);
            is_kept(&anchor.transaction)
                && digests == Some(&TransactionDigests::of(&anchor.transaction))
        };
        if !self.anchors.iter().all(anchor_holds) {
            return differs("an anchor");
        }
        Ok(())
    }

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { entry, producer, signature, transactions, anchors } = self;
        let anchors = anchors.iter().map(|anchor| (anchor.position, &anchor.transaction));
        encode_record(entry, (*producer, *signature), transactions.iter().copied(), anchors)
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordFault> {
        let mut reader = Reader::new(bytes);
        let Head { entry, producer, signature } = Head::read(&mut reader)?;
        let count = reader.u32("the number of transactions")? as usize;
        let digests = count.saturating_mul(DIGESTS_BYTES);
        let mut digests = Reader::new(reader.raw(digests, "the transactions' digests")?);
        let mut transactions = Vec::with_capacity(count);
        while !digests.is_empty() {
            transactions.push(TransactionDigests {
                hash: TransactionHash::new(digests.array("a transaction hash")?),
                leaf: LogHash::new(digests.array("a leaf hash")?),
                id: digests.array("an id digest")?,
            });
        }
        let mut anchors: Vec<AnchorRecord> = Vec::new();
        for _ in 0..reader.u32("the number of anchors")? {
            let position = reader.u32("an anchor's position")?;
            let after = anchors.last().is_none_or(|last| last.position < position);
            if !after || position as usize >= count {
                return Err(WireFault::Invalid { what: "an anchor's position" }.into());
            }
            let transaction = read_transaction(&mut reader, position as usize)?;
            anchors.push(AnchorRecord { position, transaction });
        }
        reader.finish()?;
        Ok(Self { entry, producer, signature, transactions, anchors })
    }
}

impl Block {
    /// Joins a record and a body, which must be each other's. That the record itself is sound is
    /// not asked here.
    pub fn from_parts(record: &BlockRecord, body: Vec<Transaction>) -> Result<Self, RecordFault> {
        let kept = record.transactions.iter().map(|digests| digests.hash);
        if !kept.eq(body.iter().map(Transaction::hash)) {
            return Err(RecordFault::Differs { what: "a transaction" });
        }
        let BlockEntry { index, timestamp, previous_hash, merkle_root, nonce, hash, .. } =
            record.entry.clone();
        let BlockRecord { producer, signature, .. } = *record;
        Ok(Self {
            index,
            timestamp,
            transactions: body,
            previous_hash,
            merkle_root,
            nonce,
            hash,
            producer,
            signature,
        })
    }
}

/// The bytes of the record that has these parts.
pub(crate) fn encode_record<'a>(
    entry: &BlockEntry,
    (producer, signature): (Option<PublicKey>, Option<Signature>),
    transactions: impl ExactSizeIterator<Item = TransactionDigests>,
    anchors: impl Iterator<Item = (u32, &'a Transaction)>,
) -> Vec<u8> {
    let mut writer = Writer::new();
    head::write(&mut writer, entry, producer, signature);
    writer.count(transactions.len());
    for TransactionDigests { hash, leaf, id } in transactions {
        writer.raw(hash.as_bytes()).raw(leaf.as_bytes()).raw(&id);
    }
    let anchors: Vec<_> = anchors.collect();
    writer.count(anchors.len());
    for (position, transaction) in anchors {
        writer.u32(position).text(transaction.text());
    }
    writer.finish()
}

/// The bytes of a block's transactions.
pub fn encode_body(transactions: &[Transaction]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(VERSION).count(transactions.len());
    for transaction in transactions {
        writer.text(transaction.text());
    }
    writer.finish()
}

/// Reads the transactions of a block.
pub fn decode_body(bytes: &[u8]) -> Result<Vec<Transaction>, RecordFault> {
    let mut reader = Reader::new(bytes);
    version(&mut reader, "the block body's version")?;
    let (mut drafts, mut texts) = (Drafts::default(), Vec::new());
    let count = reader.u32("the number of transactions")? as usize;
    if count > BLOCK_TRANSACTIONS_MAX {
        return Err(WireFault::Invalid { what: "the number of transactions" }.into());
    }
    for position in 0..count {
        let text = reader.text("a transaction")?;
        let fault = |fault| RecordFault::Transaction { position, fault };
        drafts.read_whole(text.as_bytes()).map_err(|json| fault(json.into()))?;
        texts.push(text);
    }
    reader.finish()?;
    let pairs = drafts.finish().zip(texts).enumerate();
    pairs.map(|(position, (read, text))| canonical(position, text, read)).collect()
}

/// The transactions that are kept whole, with their positions.
pub(crate) fn kept<'a>(
    transactions: impl Iterator<Item = &'a Transaction>,
) -> impl Iterator<Item = (u32, &'a Transaction)> {
    (0..).zip(transactions).filter(|(_, transaction)| is_kept(transaction))
}

/// What a session began and ended with on the chain must be provable when the body is gone.
fn is_kept(transaction: &Transaction) -> bool {
    matches!(transaction.kind(), Some(SESSION_ANCHOR | SESSION_TOMBSTONE))
}

fn version(reader: &mut Reader<'_>, what: &'static str) -> Result<(), WireFault> {
    match reader.u8(what)? {
        VERSION => Ok(()),
        _ => Err(WireFault::Invalid { what }),
    }
}

fn read_transaction(reader: &mut Reader<'_>, position: usize) -> Result<Transaction, RecordFault> {
    let text = reader.text("a transaction")?;
    let mut drafts = Drafts::default();
    let fault = |fault| RecordFault::Transaction { position, fault };
    drafts.read_whole(text.as_bytes()).map_err(|json| fault(json.into()))?;
    let read = drafts.finish().next().ok_or_else(|| fault(TransactionFault::NotAnObject))?;
    canonical(position, text, read)
}

/// The transaction, if its text was canonical.
fn canonical(
    position: usize,
    text: &str,
    read: Result<Transaction, Unfit>,
) -> Result<Transaction, RecordFault> {
    match read {
        Ok(transaction) if transaction.text() == text => Ok(transaction),
        Ok(_) => Err(RecordFault::NotCanonical { position }),
        Err(Unfit { fault, .. }) => Err(RecordFault::Transaction { position, fault }),
    }
}

#[cfg(test)]
mod tests;
