//! Judges a block by the six rules, without storing it.
//!
//! A fault is an answer. What could not be read is an error, and never `valid: false`.

use std::cell::RefCell;

use lucid_core::block::{Candidate, Parent};
use lucid_core::digest::BlockHash;
use lucid_core::json::JsonFault;
use lucid_core::sign::Producers;
use lucid_core::time::{TimeFault, Timestamp};
use lucid_core::transaction::IdDigest;
use lucid_core::validate::{Context, Mode, Verdict, validate};
use lucid_store::contract::chain::ChainStore;
use lucid_store::{Damage, StoreError};

use crate::given::Pins;

/// Why a block could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// It is no JSON object.
    #[error(transparent)]
    Json(#[from] JsonFault),
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Judges posted JSON: a block, or an object with one under `block_data`. Without a mode, a block
/// that is stored is judged as history, any other as new. `producer` is who may have signed a new one.
pub fn validate_block(
    chain: &dyn ChainStore,
    now: Timestamp,
    posted: &[u8],
    mode: Option<Mode>,
    producer: Producers,
) -> Result<Verdict, ValidateError> {
    let candidate = Candidate::parse_posted(posted)?;
    let mode = match mode {
        Some(mode) => mode,
        None if is_stored(chain, &candidate)? => Mode::Historical,
        None => Mode::Candidate,
    };
    // Who signed what is stored was settled when it was taken in, maybe under another key.
    let producer = if mode == Mode::Candidate { producer } else { Producers::default() };
    let genesis = match candidate.index() {
        None | Some(0) => stored_genesis(chain)?,
        Some(_) => None,
    };
    Ok(validate_in(chain, now, candidate, mode, &Pins { genesis, producer })?)
}

fn stored_genesis(chain: &dyn ChainStore) -> Result<Option<BlockHash>, StoreError> {
    Ok(chain.record(0)?.map(|stored| stored.record.entry.hash))
}

fn is_stored(chain: &dyn ChainStore, candidate: &Candidate) -> Result<bool, StoreError> {
    match (candidate.hash(), candidate.index()) {
        (Some(hash), Some(index)) => Ok(chain.height_of(&hash)? == Some(index)),
        _ => Ok(false),
    }
}

/// Applies the rules with what the chain knows.
pub(super) fn validate_in(
    chain: &dyn ChainStore,
    now: Timestamp,
    candidate: Candidate,
    mode: Mode,
    pins: &Pins,
) -> Result<Verdict, StoreError> {
    let index = candidate.index();
    let parent = match index.and_then(|index| index.checked_sub(1)) {
        Some(below) => parent_at(chain, below)?,
        None => None,
    };
    let failed: RefCell<Option<StoreError>> = RefCell::new(None);
    let chained = |id: &IdDigest| match chain.find(id) {
        Ok(place) => place.is_some_and(|place| index.is_none_or(|index| place.height < index)),
        Err(error) => {
            failed.borrow_mut().get_or_insert(error);
            false
        }
    };
    let Pins { genesis, producer } = *pins;
    let context = Context { parent, genesis, now, mode, chained: &chained, producer };
    let verdict = validate(candidate, &context);
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(verdict),
    }
}

/// What the block after a height needs to know of the one there.
pub(crate) fn parent_at(chain: &dyn ChainStore, height: u64) -> Result<Option<Parent>, StoreError> {
    let Some(stored) = chain.record(height)? else { return Ok(None) };
    let entry = stored.record.entry;
    let time = entry.time().map_err(|fault: TimeFault| {
        StoreError::Damaged(Damage::new(lucid_store::files::chain::FOLDER, 0, fault))
    })?;
    Ok(Some(Parent { index: entry.index, hash: entry.hash, time }))
}
