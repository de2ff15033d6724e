//! Hands out everything about a session but its chunks, so that another store can keep the same one.

use lucid_core::session::SessionId;
use lucid_store::vault::Vault;

use crate::fact::{Anchored, Fact, Sealed, Started};
use crate::ops::OpError;
use crate::ops::proofs::deliver_anchors::anchor_text;
use crate::ops::proofs::prove_session::{anchored, manifest_text, named};

/// A session as its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// That it began.
    pub started: Vec<u8>,
    /// That it was sealed, if it was.
    pub sealed: Option<Vec<u8>>,
    /// That it was anchored, if it was.
    pub anchored: Option<Vec<u8>>,
    /// How many chunks it has.
    pub chunk_count: u64,
}

/// The facts of a session, made anew from what is known of it. Its secret is among them.
pub fn export_session(vault: &Vault, id: &SessionId) -> Result<Exported, OpError> {
    let (name, row) = named(vault, id)?;
    let sealed = match &row.sealed {
        Some(_) => Some(Sealed {
            session: id.clone(),
            manifest: manifest_text(vault, &name)?,
            anchor: anchor_text(vault, &name)?,
        }),
        None => None,
    };
    let proof = anchored(vault, &name)?;
    let anchored = row.anchored.zip(proof).map(|((block_index, block_hash), proof)| Anchored {
        session: id.clone(),
        block_index,
        block_hash,
        proof: proof.encode(),
    });
    let chunk_count = row.chunk_count();
    let started = Started {
        session: row.id,
        user: row.user,
        layout: row.layout,
        secret: row.secret,
        profile: row.profile,
        started_at: row.started_at,
        metadata: row.metadata,
        one_shot: false,
        owner: row.owner,
        begun_by: row.begun_by,
        source: row.source,
        terminal: row.terminal,
    };
    Ok(Exported {
        started: Fact::Started(started).encode(),
        sealed: sealed.map(|fact| Fact::Sealed(fact).encode()),
        anchored: anchored.map(|fact| Fact::Anchored(fact).encode()),
        chunk_count,
    })
}
