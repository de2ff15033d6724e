//! Whether the peer's chain is ours as far as both go, and where it leaves it if not.

use lucid_core::block::Candidate;
use lucid_core::block::Parent;
use lucid_core::digest::BlockHash;
use lucid_core::record::{BlockEntry, Head};
use lucid_core::time::Timestamp;
use lucid_store::StoreError;
use lucid_store::contract::chain::{ChainStore, Tip};

use super::{Following, SyncError};
use crate::fact::{self, FORKS_MAX, Fact, Fork, forks};
use crate::peer::ENGINE_BLOCK_BYTES_MAX;
use crate::peer::{Peer, PeerError, Speaks};

/// A block's JSON is kept as evidence up to here, without its transactions.
const EVIDENCE_CHARS_MAX: usize = 4_096;

/// A block of the peer, without its transactions.
pub(super) struct Theirs {
    pub(super) hash: BlockHash,
    /// What the next block has to follow, where its hash is that of its fields.
    parent: Option<Parent>,
    text: String,
}

/// The peer's block at a height.
pub(super) fn their_block(
    peer: &dyn Peer,
    speaks: Speaks,
    height: u64,
) -> Result<Option<Theirs>, PeerError> {
    let wrong = |why: &str| PeerError::Unreadable(format!("block {height} of the peer {why}"));
    match speaks {
        Speaks::Runs => {
            let Some(head) = peer.heads(height, 1)?.into_iter().next() else { return Ok(None) };
            if head.entry.index != height {
                return Err(wrong("is another one than was asked for"));
            }
            let BlockEntry { hash, .. } = head.entry;
            let is_own = head.entry.computed_hash() == hash;
            let parent = head.as_parent().ok().filter(|_| is_own);
            Ok(Some(Theirs { hash, parent, text: words(&head) }))
        }
        Speaks::Blocks => {
            let Some(text) = peer.block(height, ENGINE_BLOCK_BYTES_MAX)? else { return Ok(None) };
            let read = Candidate::parse_posted(text.as_bytes());
            let read = read.map_err(|fault| wrong(&fault.to_string()))?.with_default_nonce();
            if read.index() != Some(height) {
                return Err(wrong("is another one than was asked for"));
            }
            let hash = read.hash().ok_or_else(|| wrong("has no hash of 64 hex digits"))?;
            let parent = read.as_parent().filter(|_| read.expected_hash() == Some(hash));
            Ok(Some(Theirs { hash, parent, text: without_transactions(&text) }))
        }
    }
}

/// Compares the two chains at the highest block that both have; finds the fork by bisection. Where that is
/// our newest block, the peer tells what the next has to follow: its hash covers that, so it is true though
/// the block here be damaged.
pub(super) fn compare(
    following: &Following<'_>,
    speaks: Speaks,
    tip: Tip,
    height: u64,
    now: Timestamp,
) -> Result<Option<Parent>, SyncError> {
    let Following { chain, peer, .. } = *following;
    let theirs = |height: u64| -> Result<Theirs, SyncError> {
        let theirs = their_block(peer, speaks, height)?.ok_or_else(|| {
            PeerError::Unreadable(format!(
                "the peer says that it has block {height}, and does not give it"
            ))
        })?;
        Ok(theirs)
    };
    let pair = |height: u64, theirs: Theirs| -> Result<Option<Fork>, SyncError> {
        let (hash, ours) = match our_head(chain, height) {
            Err(StoreError::Damaged(damage)) if height == tip.height => {
                (tip.hash, damage.to_string())
            }
            ours => ours.map(|ours| (ours.entry.hash, words(&ours)))?,
        };
        let fork = Fork { at: now, height, hash: theirs.hash, ours, theirs: theirs.text };
        Ok((hash != theirs.hash).then_some(fork))
    };
    let both = tip.height.min(height);
    let highest = theirs(both)?;
    let newest = highest.parent.filter(|_| both == tip.height);
    let Some(mut fork) = pair(both, highest)? else { return Ok(newest) };
    // Below `same` the chains are the same; at `fork` they are not.
    let mut same = 0;
    while same < fork.height {
        let middle = same + (fork.height - same) / 2;
        match pair(middle, theirs(middle)?)? {
            Some(lower) => fork = lower,
            None => same = middle + 1,
        }
    }
    keep(following, &fork)?;
    Err(SyncError::Diverged(Box::new(fork)))
}

/// Writes the evidence down, once, and not without bound.
fn keep(following: &Following<'_>, fork: &Fork) -> Result<(), SyncError> {
    let kept = forks(following.vault.index())?;
    let known = |other: &Fork| (other.height, other.hash) == (fork.height, fork.hash);
    if kept.len() < FORKS_MAX && !kept.iter().any(known) {
        fact::commit(following.vault, &[Fact::Forked(fork.clone())])?;
    }
    Ok(())
}

/// What is committed at a height that is not above the tip.
pub(super) fn our_head(chain: &dyn ChainStore, height: u64) -> Result<Head, StoreError> {
    let stored = chain.record(height)?.ok_or_else(|| {
        StoreError::Index(format!("block {height} is below the tip and was not found"))
    })?;
    Ok(Head::of(&stored.record))
}

/// The nine lines, and who signed them.
fn words(head: &Head) -> String {
    let signed = head.producer.zip(head.signature);
    let signed = signed.map(|(producer, signature)| format!("{producer}\n{signature}\n"));
    head.entry.text() + &signed.unwrap_or_default()
}

/// Evidence of what an engine said: its transactions are covered by the root.
fn without_transactions(text: &str) -> String {
    let read = serde_json::from_str::<serde_json::Value>(text);
    let rest = read.ok().map(|mut value| {
        if let Some(fields) = value.as_object_mut() {
            fields.remove("transactions");
        }
        value.to_string()
    });
    rest.unwrap_or_default().chars().take(EVIDENCE_CHARS_MAX).collect()
}
