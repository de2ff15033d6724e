//! Ends what keeps an upload. Its bytes go with the next collection, unless they are referred to.

use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::contract::index::Index as _;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Fact, Forgotten};
use crate::ops::chunks::find_chunk::find_chunk;
use crate::ops::look_again::look_again;
use crate::ops::{Clash, OpError};
use crate::row::{self, Referred, UploadedRow};

/// Sessions that are looked at for one that is sealed.
const LOOKED_AT: usize = 1_000;

/// Deletes an upload. A chunk that a session refers to is refused, with the session: what is sealed does
/// not change, and what is not is removed as a whole.
pub fn delete_chunk(
    vault: &Vault,
    called: &str,
    session: Option<&SessionId>,
    now: Timestamp,
) -> Result<(), OpError> {
    look_again(|| {
        let look = vault.look();
        let found = find_chunk(vault, called, session, now)?;
        let mut chunks = Vec::new();
        for (key, _) in &found.parts {
            let name = vault.cipher().chunk_name(*key);
            // A session that begins or ceases to refer to it changes how often it is referred to.
            Referred::find(&look, &name)?;
            look.get(&UploadedRow::key(&name))?;
            refuse_referred(vault, called, &name)?;
            chunks.push(key.id);
        }
        let fact = Fact::Forgotten(Forgotten { chunks });
        let facts = vec![vault.fact(&mut Packer::new(), fact.encode())?];
        vault.commit(Submission { facts, rests_on: look.seen(), ..Submission::upkeep() })?;
        Ok(())
    })
}

fn refuse_referred(
    vault: &Vault,
    called: &str,
    name: &lucid_core::digest::ChunkName,
) -> Result<(), OpError> {
    let mut by = None;
    for name in Referred::list(vault.index(), name, LOOKED_AT)? {
        let Some(session) = row::session(vault.index(), vault.cipher(), &name)? else { continue };
        let is_sealed = session.sealed.is_some();
        by = Some(session);
        if is_sealed {
            break;
        }
    }
    match by {
        None => Ok(()),
        Some(session) if session.sealed.is_some() => Err(OpError::Conflict(
            Clash::Sealed,
            format!(
                "session {} is sealed and refers to chunk {called}: it goes with the session, if that is \
             removed",
                session.id
            ),
        )),
        Some(session) => Err(OpError::Conflict(
            Clash::Sealed,
            format!(
                "session {} refers to chunk {called}: it goes with the session, if that is removed",
                session.id
            ),
        )),
    }
}
