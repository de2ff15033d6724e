//! Brings anchors and tombstones to the engine, and their proofs back.
//!
//! Delivery is at least once: a sealed session, and a removed one, stays in its queue until the proof is
//! stored, and everything here may be repeated after a crash. Nothing is handed to an engine that keeps
//! another chain than the one that has what was delivered before.

use lucid_core::block_merkle::verify_path;
use lucid_core::record::BlockEntry;
use lucid_core::session::SessionId;
use lucid_core::sign::PublicKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{SESSION_ANCHOR, Transaction};
use lucid_store::CommitError;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::anchoring::{AnchorEngine, Confirmed, EngineError};
use crate::fact::{Anchored, Fact, KnownChain, OwnChain};
use crate::ops::OpError;
use crate::ops::proofs::recognise_chain::recognise_chain;
use crate::projection::is_from_elsewhere;
use crate::row::{self, SessionName};

/// What one round did, with the anchors of sessions and the tombstones of removed ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Sessions whose proof is stored now.
    pub anchored: Vec<SessionId>,
    /// Sessions of which an engine that keeps no chain of ours says now that it has them.
    pub elsewhere: Vec<SessionId>,
    /// When those of them were sealed that are not removed, as their anchors say.
    pub sealed_at: Vec<Timestamp>,
    /// Sessions whose transaction was handed over and is not committed yet.
    pub waiting: Vec<SessionId>,
    /// Sessions whose transaction could not be handed over, and why.
    pub failed: Vec<(SessionId, EngineError)>,
}

impl Delivered {
    /// Whether nothing was brought anywhere.
    pub fn is_empty(&self) -> bool {
        let Self { anchored, elsewhere, waiting, failed, .. } = self;
        anchored.is_empty() && elsewhere.is_empty() && waiting.is_empty() && failed.is_empty()
    }
}

/// Sessions looked up in one go.
const BATCH: usize = 256;

/// Submits every anchor and every tombstone that waits, those that wait longest first, and stores every
/// proof that is ready. An engine that cannot be reached, or keeps another chain than the one that has the
/// anchors of `own` key, ends the round.
pub fn deliver_anchors(
    vault: &Vault,
    own: &PublicKey,
    engine: &dyn AnchorEngine,
) -> Result<Delivered, OpError> {
    let mut delivered = Delivered::default();
    let mut round = Round { vault, own, engine, chain: None };
    for (range, find) in [
        (row::unanchored_range(), waiting_anchor as Find),
        // Another engine's word is no block.
        (row::waiting_elsewhere_range(), waiting_anchor as Find),
        (row::unchained_range(), waiting_tombstone as Find),
    ] {
        let mut deliver = |id: &SessionId, text: &str| round.deliver(id, text);
        if !deliver_range((vault, own), range, find, &mut deliver, &mut delivered)? {
            break;
        }
    }
    Ok(delivered)
}

/// Whose transaction waits under a name, and its text; nothing, if it does not wait any more.
pub(super) type Find =
    fn(&Vault, &PublicKey, &SessionName) -> Result<Option<(SessionId, String)>, OpError>;

pub(super) fn waiting_anchor(
    vault: &Vault,
    own: &PublicKey,
    name: &SessionName,
) -> Result<Option<(SessionId, String)>, OpError> {
    let Some(session) = row::session(vault.index(), vault.cipher(), name)? else { return Ok(None) };
    match anchor_text(vault, name)? {
        // It was removed just now.
        text if text.is_empty() => Ok(None),
        // Another store brings it to its own chain. An index of an earlier version has it in the queue.
        text if is_from_elsewhere(&text, own) => Ok(None),
        text => Ok(Some((session.id, text))),
    }
}

fn waiting_tombstone(
    vault: &Vault,
    _own: &PublicKey,
    name: &SessionName,
) -> Result<Option<(SessionId, String)>, OpError> {
    let tombstone = row::tombstone(vault.index(), vault.cipher(), name)?;
    Ok(tombstone.map(|tombstone| (tombstone.id, tombstone.text)))
}

/// Brings one session's transaction away: `true` once what came of it is stored.
pub(super) type Deliver<'a> = dyn FnMut(&SessionId, &str) -> Result<bool, Undelivered> + 'a;

/// Delivers one queue; `false` once the engine cannot be reached.
pub(super) fn deliver_range(
    (vault, own): (&Vault, &PublicKey),
    (mut from, to): (Vec<u8>, Vec<u8>),
    find: Find,
    deliver: &mut Deliver<'_>,
    delivered: &mut Delivered,
) -> Result<bool, OpError> {
    loop {
        let rows = vault.index().scan(&from, &to, BATCH, false)?;
        let is_last = rows.len() < BATCH;
        for (key, _) in rows {
            from.clone_from(&key);
            from.push(0);
            let Some(name) = row::name_in(&key) else { continue };
            let (session, text) = match find(vault, own, &name) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                // The others are none the worse for it. Whose it is may not be known, either.
                Err(error) if error.is_damage() => {
                    tracing::error!(%error, "what is stored of an anchor is damaged");
                    continue;
                }
                Err(error) => return Err(error),
            };
            match deliver(&session, &text) {
                Ok(true) => {
                    delivered.anchored.push(session);
                    delivered.sealed_at.extend(sealed_at(&text));
                }
                Ok(false) => delivered.waiting.push(session),
                Err(Undelivered::Engine(error)) => {
                    let is_of_one = error.is_of_one();
                    delivered.failed.push((session, error));
                    // An engine that cannot be reached for one cannot be reached for the next.
                    if !is_of_one {
                        return Ok(false);
                    }
                }
                Err(Undelivered::Op(error)) => return Err(error),
            }
        }
        if is_last {
            return Ok(true);
        }
    }
}

/// Since when the oldest anchor or tombstone waits: when the session was sealed, or removed. Sessions that are anchored
/// elsewhere do not count.
pub fn waiting_since(vault: &Vault, own: &PublicKey) -> Result<Option<Timestamp>, OpError> {
    let removed = match oldest(vault, own, row::unchained_range(), waiting_tombstone)? {
        Some(name) => row::tombstone(vault.index(), vault.cipher(), &name)?,
        None => None,
    };
    let removed = removed.map(|tombstone| tombstone.removed_at);
    Ok(sealed_waiting_since(vault, own)?.into_iter().chain(removed).min())
}

/// The same of anchors alone.
pub fn sealed_waiting_since(vault: &Vault, own: &PublicKey) -> Result<Option<Timestamp>, OpError> {
    let oldest = oldest(vault, own, row::unanchored_range(), waiting_anchor)?;
    let session = match oldest {
        Some(name) => row::session(vault.index(), vault.cipher(), &name)?,
        None => None,
    };
    Ok(session.and_then(|session| session.sealed).map(|sealed| sealed.ended_at))
}

/// The first of a queue that does wait.
fn oldest(
    vault: &Vault,
    own: &PublicKey,
    (mut from, to): (Vec<u8>, Vec<u8>),
    find: Find,
) -> Result<Option<SessionName>, OpError> {
    loop {
        let rows = vault.index().scan(&from, &to, 1, false)?;
        let Some((key, _)) = rows.into_iter().next() else { return Ok(None) };
        if let Some(name) = row::name_in(&key)
            && let found = find(vault, own, &name)
            && !found.as_ref().is_err_and(OpError::is_damage)
            && found?.is_some()
        {
            return Ok(Some(name));
        }
        from = key;
        from.push(0);
    }
}

/// When the session of an anchor was sealed; nothing of a tombstone.
fn sealed_at(text: &str) -> Option<Timestamp> {
    let transaction = Transaction::parse(text.as_bytes()).ok()?;
    let time = transaction.timestamp().filter(|_| transaction.kind() == Some(SESSION_ANCHOR))?;
    Timestamp::parse(time).ok()
}

/// Why something was not brought away.
pub(super) enum Undelivered {
    /// Because of the engine.
    Engine(EngineError),
    /// Because of this store.
    Op(OpError),
}

impl<E: Into<OpError>> From<E> for Undelivered {
    fn from(error: E) -> Self {
        Self::Op(error.into())
    }
}

/// One round with an engine.
struct Round<'a> {
    vault: &'a Vault,
    own: &'a PublicKey,
    engine: &'a dyn AnchorEngine,
    /// The chain that the engine keeps, once it has shown that it is the right one: the inner option is
    /// empty as long as nothing is in it. Beside it, what was written down of it then.
    chain: Option<(Option<KnownChain>, Option<OwnChain>)>,
}

impl Round<'_> {
    /// One session's transaction: `true` once its proof is stored.
    fn deliver(&mut self, id: &SessionId, text: &str) -> Result<bool, Undelivered> {
        let (vault, engine) = (self.vault, self.engine);
        let look = vault.look();
        let name = SessionName::of(vault.cipher(), id);
        row::session(&look, vault.cipher(), &name)?;
        row::tombstone(&look, vault.cipher(), &name)?;
        let written = row::own_chain(&look, vault.cipher())?;
        let known = match self.chain.take() {
            Some((known, as_of)) if as_of == written => known,
            _ => recognise_chain(vault, self.own, engine)?.map_err(Undelivered::Engine)?,
        };
        let (known, _) = &*self.chain.insert((known, written));
        let transaction = Transaction::parse(text.as_bytes()).map_err(|fault| {
            let why = format!("the transaction of session {id}: {fault}");
            Undelivered::Engine(EngineError::Damaged(why))
        })?;
        let mut confirmed = engine.confirmed(transaction.id()).map_err(Undelivered::Engine)?;
        if confirmed.is_none() {
            engine.submit(text).map_err(Undelivered::Engine)?;
            confirmed = engine.confirmed(transaction.id()).map_err(Undelivered::Engine)?;
        }
        let Some(confirmed) = confirmed else { return Ok(false) };
        if let Some(why) = fault(&confirmed, text, &transaction) {
            return Err(Undelivered::Engine(EngineError::Refused(why.to_owned())));
        }
        let mut packer = Packer::new();
        let mut facts = Vec::new();
        if let Some(chain) = followed(known.as_ref(), &confirmed, transaction.id(), engine)? {
            let fact = Fact::Chain(OwnChain { known: Some(chain.clone()) });
            facts.push(vault.fact(&mut packer, fact.encode())?);
            self.chain = Some((Some(chain.clone()), Some(OwnChain { known: Some(chain) })));
        }
        let fact = Fact::Anchored(Anchored {
            session: id.clone(),
            block_index: confirmed.block_index,
            block_hash: confirmed.block_hash,
            proof: confirmed.proof.encode(),
        });
        facts.push(vault.fact(&mut packer, fact.encode())?);
        match vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::upkeep() }) {
            Ok(_) => Ok(true),
            // The session was removed, or another delivery brought its proof: the next round tells.
            Err(CommitError::Overtaken(_)) => {
                self.chain = None;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What is known of the chain now that something was confirmed in it, if that is more than before.
fn followed(
    known: Option<&KnownChain>,
    confirmed: &Confirmed,
    transaction: &str,
    engine: &dyn AnchorEngine,
) -> Result<Option<KnownChain>, Undelivered> {
    let genesis = match known.and_then(|known| known.genesis) {
        Some(genesis) => Some(genesis),
        None => engine.genesis().map_err(Undelivered::Engine)?,
    };
    let now = match known {
        Some(known) if known.block_index >= confirmed.block_index => {
            KnownChain { genesis, ..known.clone() }
        }
        _ => KnownChain {
            genesis,
            block_index: confirmed.block_index,
            block_hash: confirmed.block_hash,
            transaction: transaction.to_owned(),
        },
    };
    Ok((known != Some(&now)).then_some(now))
}

/// What is wrong with an engine's answer. What is stored from it must hold without the engine.
pub(in crate::ops) fn fault(
    confirmed: &Confirmed,
    text: &str,
    transaction: &Transaction,
) -> Option<&'static str> {
    let proof = &confirmed.proof;
    if proof.transaction != text {
        return Some("another transaction is in the chain under its id");
    }
    let Ok(entry) = BlockEntry::parse(&proof.entry) else {
        return Some("its block's entry is none");
    };
    let (position, count) = (proof.position as usize, proof.count as usize);
    if verify_path(transaction.hash(), position, count, &proof.path) != Some(entry.merkle_root) {
        return Some("its proof does not lead to the block's Merkle root");
    }
    let named = (confirmed.block_index, confirmed.block_hash);
    (entry.computed_hash() != entry.hash || named != (entry.index, entry.hash))
        .then_some("its block does not have the hash it names")
}

/// The text of a sealed session's anchor transaction.
pub fn anchor_text(vault: &Vault, name: &SessionName) -> Result<String, OpError> {
    let key = name.anchor_key();
    let Some(value) = vault.index().get(&key)? else { return Ok(String::new()) };
    let bytes = vault.cipher().decrypt_value(&key, value)?;
    String::from_utf8(bytes).map_err(|_| OpError::Unsound("the anchor is not text".into()))
}
