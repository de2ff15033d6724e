//! The costly part of judging a block: everything that depends on the block alone.
//!
//! Made by the callers that judge blocks, on as many threads as there are cores; handed to
//! [`super::judge`] in the order of the chain. Signatures of all blocks that are weighed together are
//! verified together.

use std::collections::{BTreeSet, HashSet};

use super::ValidBlock;
use crate::block::{Candidate, Item};
use crate::block_merkle::root_and_mutation;
use crate::digest::{BlockHash, LogHash, MerkleRoot};
use crate::record::{
    BlockEntry, BlockRecord, RecordFault, TransactionDigests, encode_record, kept,
};
use crate::sign::{PublicKey, SignatureBatch};
use crate::transaction::{IdDigest, SignatureState};

/// A block whose hashes are computed and whose signatures are verified.
#[derive(Debug, Clone)]
pub struct Weighed {
    pub(super) candidate: Candidate,
    pub(super) expected_hash: Option<BlockHash>,
    pub(super) root: MerkleRoot,
    pub(super) mutated: bool,
    /// The id of every element; zeros where an element is no transaction.
    pub(super) ids: Vec<IdDigest>,
    /// The RFC 9162 leaves of the transactions, where they were needed.
    leaves: Option<Vec<LogHash>>,
    /// The nine lines, where they were needed.
    entry: Option<BlockEntry>,
    /// Positions whose id stands further up in the block.
    pub(super) repeated: BTreeSet<usize>,
    /// Who made the transactions that name a signer, by position.
    pub(super) states: Vec<(usize, SignatureState)>,
    pub(super) vouched: Vouched,
}

/// What a block says about who made it, and whether that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vouched {
    /// It names nobody.
    Nobody { bare_signature: bool },
    /// It names a producer and has no signature.
    Unsigned,
    /// What the signature would cover is not there.
    Unfit,
    /// The signature does not verify.
    Refused,
    /// This key signed it.
    Verified(PublicKey),
}

/// Whose signature an answer is about.
enum Signer {
    Transaction(usize, PublicKey),
    Producer(PublicKey),
}

impl Weighed {
    /// Weighs one block.
    pub fn of(candidate: Candidate) -> Self {
        let mut batch = SignatureBatch::default();
        let (mut weighed, signers) = Self::without_signatures(candidate, &mut batch);
        weighed.settle(signers, &mut batch.verify().into_iter());
        weighed
    }

    /// Weighs many, and verifies their signatures together.
    pub fn of_all(candidates: Vec<Candidate>) -> Vec<Self> {
        let mut batch = SignatureBatch::default();
        let weighed: Vec<_> = candidates
            .into_iter()
            .map(|candidate| Self::without_signatures(candidate, &mut batch))
            .collect();
        let mut answers = batch.verify().into_iter();
        let settled = weighed.into_iter().map(|(mut weighed, signers)| {
            weighed.settle(signers, &mut answers);
            weighed
        });
        settled.collect()
    }

    /// The block as it was sent.
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// The ids of its transactions, in order.
    pub fn ids(&self) -> impl Iterator<Item = &IdDigest> {
        let with_items = self.ids.iter().zip(&self.candidate.items);
        with_items.filter(|(_, item)| item.0.is_ok()).map(|(id, _)| id)
    }

    /// Computes what only the block's record needs, too: the RFC 9162 leaves and their root. A caller that
    /// stores the block has them computed here, beside the rest.
    #[must_use]
    pub fn with_entry(mut self) -> Self {
        self.entry();
        self
    }

    /// The nine lines of the block, where it has all that they say; their hash need not fit.
    pub fn entry(&mut self) -> Option<&BlockEntry> {
        if self.entry.is_none() {
            self.entry = self.candidate.entry(&mut self.leaves);
        }
        self.entry.as_ref()
    }

    /// The bytes of the record that is kept of the block, where it has all that a record says.
    pub fn record_bytes(&mut self) -> Option<Vec<u8>> {
        self.entry();
        let (entry, leaves) = (self.entry.as_ref()?, self.leaves.as_deref()?);
        let Candidate { items, producer, signature, .. } = &self.candidate;
        let digests = items.iter().zip(leaves).zip(&self.ids);
        let digests = digests.map(|((item, leaf), id)| TransactionDigests {
            hash: item.hash(),
            leaf: *leaf,
            id: *id,
        });
        let anchors = kept(self.candidate.transactions());
        Some(encode_record(entry, (*producer, *signature), digests, anchors))
    }

    /// Whether `record` is the one of the block, to the last digest. Whether what both say of the block is
    /// true is for the rules to judge.
    pub fn check_record(&mut self, record: &BlockRecord) -> Result<(), RecordFault> {
        if self.record_bytes().is_some_and(|bytes| bytes == record.encode()) {
            return Ok(());
        }
        // What is wrong with the record alone is named more closely.
        record.check_hashes()?;
        Err(RecordFault::Differs { what: "what is kept of a transaction" })
    }

    pub(super) fn into_valid(self) -> Option<ValidBlock> {
        let Self { candidate, ids, leaves, entry, .. } = self;
        candidate.into_block().map(|block| ValidBlock { block, ids, leaves, entry })
    }

    fn without_signatures(candidate: Candidate, batch: &mut SignatureBatch) -> (Self, Vec<Signer>) {
        let leaves: Vec<_> = candidate.items.iter().map(Item::hash).collect();
        let (root, mutated) = root_and_mutation(&leaves);
        let (mut signers, mut states) = (Vec::new(), Vec::new());
        let mut ids = Vec::with_capacity(candidate.items.len());
        for (position, item) in candidate.items.iter().enumerate() {
            let Some(transaction) = item.transaction() else {
                ids.push(IdDigest::default());
                continue;
            };
            ids.push(transaction.id_digest());
            match transaction.claimed() {
                Ok(SignatureState::Unsigned) => {}
                Ok(state) => states.push((position, state)),
                Err((key, signature)) => {
                    batch.add(&key, &transaction.signing_message(), &signature);
                    // Its place among the states is kept; the answer comes later.
                    states.push((position, SignatureState::verified(key, false)));
                    signers.push(Signer::Transaction(states.len() - 1, key));
                }
            }
        }
        let (mut leaves, mut entry) = (None, None);
        let vouched = match (candidate.producer, candidate.signature) {
            (None, _) => Vouched::Nobody { bare_signature: candidate.bare_signature },
            (Some(_), None) => Vouched::Unsigned,
            (Some(producer), Some(signature)) => {
                entry = candidate.entry(&mut leaves);
                match &entry {
                    None => Vouched::Unfit,
                    Some(entry) => {
                        batch.add(&producer, &entry.signing_message(), &signature);
                        signers.push(Signer::Producer(producer));
                        Vouched::Refused
                    }
                }
            }
        };
        let expected_hash = candidate.expected_hash();
        let repeated = repeated(&candidate, &ids);
        let weighed = Self {
            candidate,
            expected_hash,
            root,
            mutated,
            ids,
            leaves,
            entry,
            repeated,
            states,
            vouched,
        };
        (weighed, signers)
    }

    fn settle(&mut self, signers: Vec<Signer>, answers: &mut impl Iterator<Item = bool>) {
        for signer in signers {
            let holds = answers.next().unwrap_or(false);
            match signer {
                Signer::Transaction(at, key) => {
                    if let Some((_, state)) = self.states.get_mut(at) {
                        *state = SignatureState::verified(key, holds);
                    }
                }
                Signer::Producer(producer) if holds => {
                    self.vouched = Vouched::Verified(producer);
                }
                Signer::Producer(_) => {}
            }
        }
    }
}

/// Positions of transactions whose id another one before them has.
fn repeated(candidate: &Candidate, ids: &[IdDigest]) -> BTreeSet<usize> {
    let with_ids = || ids.iter().zip(&candidate.items).filter(|(_, item)| item.0.is_ok());
    // Nearly always there are none, and sorted neighbours say so fastest.
    let mut sorted: Vec<u128> = with_ids().map(|(id, _)| u128::from_ne_bytes(*id)).collect();
    sorted.sort_unstable();
    if sorted.windows(2).all(|pair| pair.first() != pair.last()) {
        return BTreeSet::new();
    }
    let mut seen = HashSet::with_capacity(ids.len());
    let positions = ids.iter().zip(&candidate.items).enumerate();
    let again = positions.filter(|(_, (id, item))| item.0.is_ok() && !seen.insert(**id));
    again.map(|(position, _)| position).collect()
}
