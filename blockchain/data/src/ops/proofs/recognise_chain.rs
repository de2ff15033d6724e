//! Says whether an engine keeps the chain that this store's anchors are in.
//!
//! The delivery asks before it hands anything over, `lucid verify --all` before it believes what it finds.
//! A block-manager whose folder is not mounted, or was put back from an older copy, looks like a sound
//! beginning; only this store knows better.
//!
//! Invariant: an anchor goes to the chain that has the anchors before it, or to the one that takes that
//! chain's place by the word of its producer (a [succession](lucid_core::succession)), or nowhere, until the
//! operator accepts the loss of that chain in as many words.

use lucid_core::anchor::Anchor;
use lucid_core::claim::Signed;
use lucid_core::digest::BlockHash;
use lucid_core::sign::PublicKey;
use lucid_core::succession::Succession;
use lucid_core::tombstone::Tombstone;
use lucid_core::transaction::Transaction;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::anchoring::{AnchorEngine, EngineError};
use crate::fact::{Fact, KnownChain, OwnChain};
use crate::ops::OpError;
use crate::ops::proofs::deliver_anchors::{anchor_text, fault};
use crate::ops::proofs::prove_session::anchored;
use crate::ops::sessions::list_sessions::{SessionFilter, list_sessions};
use crate::ops::sessions::list_tombstones::list_tombstones;
use crate::ops::sight::Sight;
use crate::row::{self, SessionName, SessionStage};

/// Sessions and tombstones that are looked at in one go.
const PAGE: usize = 256;

/// What this store knows of the chain that its anchors are in. Nothing, if it has none, or if the loss of
/// that chain was accepted.
pub fn known_chain(vault: &Vault, own: &PublicKey) -> Result<Option<KnownChain>, OpError> {
    match row::own_chain(vault.index(), vault.cipher())? {
        Some(chain) => Ok(chain.known),
        // A version that did not write it down may have anchored: its proofs tell.
        None => match last_anchored(vault, own)? {
            Some(known) => Ok(Some(known)),
            None => last_removed(vault, own),
        },
    }
}

/// The chain that anchors are in, if the engine keeps it; `None` where every chain will do.
pub fn recognise_chain(
    vault: &Vault,
    own: &PublicKey,
    engine: &dyn AnchorEngine,
) -> Result<Result<Option<KnownChain>, EngineError>, OpError> {
    let Some(known) = known_chain(vault, own)? else { return Ok(Ok(None)) };
    let is = match engine.keeps(&known) {
        Ok(true) => return Ok(Ok(Some(known))),
        Ok(false) => engine.genesis(),
        Err(error) => return Ok(Err(error)),
    };
    let is = match is {
        Ok(is) => is,
        Err(error) => return Ok(Err(error)),
    };
    Ok(match successor(vault, engine, &known, is)? {
        Ok(Some(successor)) => Ok(Some(successor)),
        Ok(None) => Err(EngineError::OtherChain(difference(&known, is))),
        Err(error) => Err(error),
    })
}

/// The chain that the engine keeps, if it takes the place of the known one: its first block holds a
/// succession that names the end of the known chain, at or behind the block that this store knows of it, and
/// that the producer of that known block signed.
fn successor(
    vault: &Vault,
    engine: &dyn AnchorEngine,
    known: &KnownChain,
    is: Option<BlockHash>,
) -> Result<Result<Option<KnownChain>, EngineError>, OpError> {
    let (Some(genesis), Some(is)) = (known.genesis, is) else { return Ok(Ok(None)) };
    let id = Succession::id_after(&genesis);
    let confirmed = match engine.confirmed(&id) {
        Ok(Some(confirmed)) => confirmed,
        Ok(None) => return Ok(Ok(None)),
        Err(error) => return Ok(Err(error)),
    };
    let text = confirmed.proof.transaction.as_str();
    let Ok(transaction) = Transaction::parse(text.as_bytes()) else { return Ok(Ok(None)) };
    if fault(&confirmed, text, &transaction).is_some()
        || (confirmed.block_index, confirmed.block_hash) != (0, is)
    {
        return Ok(Ok(None));
    }
    let Ok(Signed { claim: succession, key }) = Signed::<Succession>::parse(&transaction) else {
        return Ok(Ok(None));
    };
    let end = (succession.height, succession.hash);
    let is_behind =
        succession.height > known.block_index || end == (known.block_index, known.block_hash);
    if succession.genesis != genesis || !is_behind || producer_of(vault, known)? != Some(key) {
        return Ok(Ok(None));
    }
    tracing::info!(%genesis, successor = %is, "another chain takes the place of the one that has the anchors");
    Ok(Ok(Some(KnownChain { genesis: Some(is), block_index: 0, block_hash: is, transaction: id })))
}

/// Who made the block that is known of a chain, by the proof of a session that is anchored there.
fn producer_of(vault: &Vault, known: &KnownChain) -> Result<Option<PublicKey>, OpError> {
    let block = Some((known.block_index, known.block_hash));
    let filter = SessionFilter { status: Some(SessionStage::Anchored), ..SessionFilter::default() };
    let mut cursor = None;
    loop {
        let page = list_sessions(vault, &filter, PAGE, cursor.as_deref())?;
        if let Some(session) = page.sessions.iter().find(|session| session.anchored == block) {
            let proof = anchored(vault, &SessionName::of(vault.cipher(), &session.id))?;
            return Ok(proof.and_then(|proof| proof.producer).map(|producer| producer.key));
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return removed_in(vault, block),
        }
    }
}

/// The same by the proof of a session's removal.
fn removed_in(
    vault: &Vault,
    block: Option<(u64, BlockHash)>,
) -> Result<Option<PublicKey>, OpError> {
    let mut cursor = None;
    loop {
        let page = list_tombstones(vault, &Sight::everything(), PAGE, cursor.as_deref())?;
        if let Some(tombstone) = page.tombstones.iter().find(|tombstone| tombstone.chained == block)
        {
            let proof = anchored(vault, &SessionName::of(vault.cipher(), &tombstone.id))?;
            return Ok(proof.and_then(|proof| proof.producer).map(|producer| producer.key));
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(None),
        }
    }
}

/// How the chain that is there differs from the one that anchors are in: one sentence, with its remedy.
pub fn difference(known: &KnownChain, is: Option<BlockHash>) -> String {
    let KnownChain { genesis, block_index, block_hash, transaction } = known;
    let was = match genesis {
        Some(genesis) => format!("this store's anchors are in the chain that began with {genesis}"),
        None => format!("{transaction} of this store is in block {block_index}, {block_hash}"),
    };
    let what = match is {
        None => format!(
            "{was}, and the block-manager has no blocks: put its folder back, mount it, or name \
             where its blocks are (BLOCK_STORAGE_PATH)"
        ),
        Some(is) if *genesis == Some(is) => format!(
            "{transaction} of this store is in block {block_index}, {block_hash}, which the \
             block-manager's chain (it began with {is}) does not have: its folder is an older copy, so \
             put the newer one back (a follower that is behind catches up by itself)"
        ),
        Some(is) => format!(
            "{was}, and the block-manager keeps one that began with {is}: put the right folder back, \
             or name the right block-manager"
        ),
    };
    format!(
        "{what}; if that chain is lost for good, `lucid reindex --accept-other-chain` lets anchors go \
         to another"
    )
}

/// Notes that the chain which anchors are in is lost, so that they may go to another.
pub fn accept_other_chain(vault: &Vault) -> Result<(), OpError> {
    let fact = vault.fact(&mut Packer::new(), Fact::Chain(OwnChain { known: None }).encode())?;
    vault.commit(Submission { facts: vec![fact], ..Submission::upkeep() })?;
    Ok(())
}

/// The highest block among the newest sessions that this store itself anchored.
fn last_anchored(vault: &Vault, own: &PublicKey) -> Result<Option<KnownChain>, OpError> {
    let filter = SessionFilter { status: Some(SessionStage::Anchored), ..SessionFilter::default() };
    let mut cursor = None;
    loop {
        let page = list_sessions(vault, &filter, PAGE, cursor.as_deref())?;
        let mut highest: Option<KnownChain> = None;
        for session in &page.sessions {
            let Some((block_index, block_hash)) = session.anchored else { continue };
            if highest.as_ref().is_some_and(|known| known.block_index >= block_index) {
                continue;
            }
            let text = anchor_text(vault, &SessionName::of(vault.cipher(), &session.id))?;
            let Ok(transaction) = Transaction::parse(text.as_bytes()) else { continue };
            // What was mirrored is in the chain where it was recorded.
            if Signed::<Anchor>::parse(&transaction).is_ok_and(|signed| signed.key == *own) {
                let transaction = transaction.id().to_owned();
                highest = Some(KnownChain { genesis: None, block_index, block_hash, transaction });
            }
        }
        match (highest, page.next) {
            (None, Some(next)) => cursor = Some(next),
            (highest, _) => return Ok(highest),
        }
    }
}

/// The same of the sessions that it removed.
fn last_removed(vault: &Vault, own: &PublicKey) -> Result<Option<KnownChain>, OpError> {
    let mut cursor = None;
    loop {
        let page = list_tombstones(vault, &Sight::everything(), PAGE, cursor.as_deref())?;
        for tombstone in &page.tombstones {
            let Some((block_index, block_hash)) = tombstone.chained else { continue };
            let Ok(transaction) = Transaction::parse(tombstone.text.as_bytes()) else { continue };
            if Signed::<Tombstone>::parse(&transaction).is_ok_and(|signed| signed.key == *own) {
                let transaction = transaction.id().to_owned();
                return Ok(Some(KnownChain {
                    genesis: None,
                    block_index,
                    block_hash,
                    transaction,
                }));
            }
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(None),
        }
    }
}
