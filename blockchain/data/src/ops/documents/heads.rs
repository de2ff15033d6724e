//! The head of a chain's block, judged alone: that it is what it says, follows the one before it, and is of the
//! producer that is pinned.

use lucid_core::block::Parent;
use lucid_core::digest::BlockHash;
use lucid_core::limits::BLOCK_TIME_TOLERANCE_SECONDS;
use lucid_core::record::Head;
use lucid_core::time::Timestamp;

use super::sync_documents::ChainPins;

/// What is known in front of a head.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    /// The block that it has to follow; it is the first one without.
    pub parent: Option<Parent>,
    /// Whether any block up to there is signed.
    pub is_signed: bool,
}

/// Judges a head; the error says what is wrong with it.
pub(super) fn judge_head(
    head: &Head,
    before: &Before,
    pins: &ChainPins,
    now: Timestamp,
) -> Result<Parent, String> {
    let height = head.entry.index;
    if head.entry.computed_hash() != head.entry.hash {
        return Err("it breaks block_hash".into());
    }
    let parent = head.as_parent().map_err(|fault| fault.to_string())?;
    let follows = match before.parent {
        None => {
            height == 0
                && head.entry.previous_hash == BlockHash::ZERO
                && pins.genesis.is_none_or(|pin| pin == head.entry.hash)
        }
        Some(last) => {
            height == last.index + 1
                && head.entry.previous_hash == last.hash
                && parent.time >= last.time
        }
    };
    if !follows {
        return Err("it does not follow the block before it".into());
    }
    if parent.time > now.plus_seconds(BLOCK_TIME_TOLERANCE_SECONDS) {
        return Err("it is ahead of the clock".into());
    }
    match (&head.producer, &head.signature) {
        (Some(producer), Some(signature)) => {
            let is_pinned = !pins.producer.are_pinned() || pins.producer.have(producer);
            if !is_pinned || !head.entry.verify(producer, signature) {
                return Err("its signature is not its producer's".into());
            }
        }
        (None, None) => refuse_unsigned(before.is_signed, false, pins)?,
        _ => return Err("it has a producer without a signature, or the reverse".into()),
    }
    Ok(parent)
}

/// Where the producer is pinned, blocks from before it began to sign are taken, and no others that are not signed.
/// `signs`: whether any block before is signed.
pub(super) fn refuse_unsigned(
    signs: bool,
    is_signed: bool,
    pins: &ChainPins,
) -> Result<(), String> {
    match pins.producer.are_pinned() && signs && !is_signed {
        true => Err("it is not signed, and follows blocks that the pinned producer signed".into()),
        false => Ok(()),
    }
}
