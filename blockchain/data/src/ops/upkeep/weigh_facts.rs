//! Says which facts of the log still matter: those from which the rows that are there follow.
//!
//! A log file is condensed by this, one at a time, so it must hold whichever of the files have been: what
//! takes something back (a removal, a release) stays, lest what it took back returns from a file that
//! was left as it is.

use lucid_core::bundle::AnchorInclusion;
use lucid_core::manifest;
use lucid_core::session::SessionId;
use lucid_store::StoreError;
use lucid_store::contract::index::{Index, Row};
use lucid_store::crypt::Cipher;
use lucid_store::vault::Vault;

use crate::fact::{Fact, Referenced, Started};
use crate::row::{self, NoteBounds, SessionName, SessionRow, TreeRow, UploadedRow};

/// Whether a fact still matters. One that cannot be read does.
pub fn matters(vault: &Vault, fact: &[u8]) -> Result<bool, StoreError> {
    matters_by(vault.index(), vault.cipher(), fact)
}

/// The same, by the rows of any index.
pub fn matters_by(index: &dyn Index, cipher: &Cipher, fact: &[u8]) -> Result<bool, StoreError> {
    let Ok(fact) = Fact::decode(fact) else { return Ok(true) };
    let name = |id: &SessionId| SessionName::of(cipher, id);
    let session = |id: &SessionId| row::session(index, cipher, &name(id));
    Ok(match &fact {
        Fact::Started(fact) => session(&fact.session)?.is_some_and(|row| began(fact, &row)),
        Fact::Referenced(fact) => is_current((index, cipher), &name(&fact.session), fact)?,
        // Bytes that were cut since are in the session's chunks; the last such fact says when bytes last
        // came.
        Fact::Tail(fact) => session(&fact.session)?.is_some_and(|row| {
            let is_last = row.appended_at == Some(fact.at);
            is_last || (row.sealed.is_none() && fact.offset >= row.cut_bytes)
        }),
        Fact::Sealed(fact) => {
            let key = row::last_manifest_key();
            let last = index.get(&key)?;
            let last = last.map(|value| cipher.decrypt_value(&key, value)).transpose()?;
            session(&fact.session)?.is_some()
                || last.as_deref() == Some(manifest::hash_of(&fact.manifest).as_bytes())
        }
        Fact::Anchored(fact) => {
            let tombstone = row::tombstone(index, cipher, &name(&fact.session))?;
            let chained = AnchorInclusion::decode(&fact.proof).ok().map(|proof| proof.transaction);
            session(&fact.session)?.is_some()
                || tombstone.is_some_and(|row| chained.as_ref() == Some(&row.text))
        }
        // Only the last words count.
        Fact::Elsewhere(fact) => {
            let name = name(&fact.session);
            row::elsewhere(index, cipher, &name)?.as_ref() == Some(&fact.words)
        }
        Fact::Held(fact) => {
            let hold = row::hold(index, cipher, &name(&fact.session))?;
            hold.is_some_and(|hold| (&hold.reason, hold.since) == (&fact.reason, fact.since))
        }
        Fact::Retained(fact) => {
            let until = row::retention(index, cipher, &name(&fact.session))?;
            until == Some(fact.until)
        }
        Fact::Uploaded(fact) => {
            let mut kept = false;
            for (chunk, _) in &fact.chunks {
                let name = cipher.chunk_name(chunk);
                kept |= UploadedRow::find(index, cipher, &name)?.is_some();
            }
            kept
        }
        Fact::Marked(fact) => session(&fact.session)?.is_some(),
        // Only the last one counts.
        Fact::Scrubbed(fact) => row::scrubbed(index, cipher)? == *fact,
        Fact::Chain(fact) => row::own_chain(index, cipher)?.as_ref() == Some(fact),
        Fact::Placed(fact) => session(&fact.session)?.is_some(),
        Fact::Tree(fact) => TreeRow::find(index, cipher, &fact.root)?.is_some(),
        // As many are remembered as there is room for, so only the newer ones matter.
        Fact::Verified(fact) => {
            let (from, to) = NoteBounds::verified_range();
            let oldest = index.scan(&from, &to, 1, false)?.into_iter().next();
            let open = |(key, value): Row| cipher.decrypt_value(&key, value);
            let oldest = oldest.map(open).transpose()?;
            match oldest.as_deref().map(Fact::decode) {
                Some(Ok(Fact::Verified(oldest))) => oldest.at <= fact.at,
                _ => true,
            }
        }
        _ => true,
    })
}

/// Whether the session that is there began so; it may have been begun anew since.
fn began(fact: &Started, row: &SessionRow) -> bool {
    let secret = fact.secret.as_ref().map(|secret| secret.as_bytes());
    row.started_at == fact.started_at
        && row.secret.as_ref().map(|secret| secret.as_bytes()) == secret
}

/// Whether the session that is there refers to these chunks, in these places.
fn is_current(
    (index, cipher): (&dyn Index, &Cipher),
    name: &SessionName,
    fact: &Referenced,
) -> Result<bool, StoreError> {
    let Some((chunk, length)) = fact.chunks.first() else { return Ok(false) };
    let rows = row::references(index, cipher, name, fact.start_index, 1)?;
    Ok(rows.first().is_some_and(|row| {
        (row.index, row.offset) == (fact.start_index, fact.start_offset)
            && (row.chunk, row.length) == (*chunk, *length)
    }))
}
