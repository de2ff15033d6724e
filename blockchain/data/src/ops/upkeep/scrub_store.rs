//! Reads stored bytes again, a stretch at a time, so that the caller can pause, stop, and go on after a
//! restart.

use lucid_core::digest::ChunkName;
use lucid_core::time::Timestamp;
use lucid_store::codec::Packer;
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;
use lucid_store::vault::scrub::{Cursor, Finding, Standing};

use crate::fact::{Fact, Scrubbed};
use crate::ops::OpError;
use crate::row;

/// Places of damage that are remembered; more are still quarantined, and found again.
const FINDINGS_MAX: usize = 1_000;

/// How far reading again has come, as it was noted last.
pub fn scrub_state(vault: &Vault) -> Result<Scrubbed, OpError> {
    Ok(row::scrubbed(vault.index(), vault.cipher())?)
}

/// Begins a round, unless one goes on.
pub fn begin_round(state: &mut Scrubbed, now: Timestamp) {
    if state.next.is_none() {
        state.round += 1;
        state.began_at = now;
        state.next = Some(Cursor::default());
        (state.bytes, state.records) = (0, 0);
    }
}

/// Reads on for at least so many bytes; of the chunks only `percent`, other ones in each round. `false`
/// when the round is at its end. Nothing is kept of it until [`note_scrub`].
pub fn scrub_stretch(
    vault: &Vault,
    state: &mut Scrubbed,
    now: Timestamp,
    percent: u8,
    bytes: u64,
) -> Result<bool, OpError> {
    let Some(from) = state.next else { return Ok(false) };
    let round = state.round;
    let stretch = vault.scrub(from, bytes, &|name| is_sampled(name, round, percent))?;
    state.bytes += stretch.bytes;
    state.records += stretch.records;
    state.next = stretch.next;
    for finding in stretch.findings {
        let Finding { damage, .. } = &finding;
        tracing::error!(%damage, "stored bytes are damaged");
        state.findings.retain(|(_, known)| {
            (&known.damage.file, known.damage.offset) != (&damage.file, damage.offset)
        });
        if state.findings.len() < FINDINGS_MAX {
            state.findings.push((round, finding));
        }
    }
    if state.next.is_some() {
        return Ok(true);
    }
    state.ended_at = Some(now);
    // What an earlier round found and this one did not is there no more, unless it was left out.
    if percent >= 100 {
        state.findings.retain(|(found, _)| *found == round);
    }
    Ok(false)
}

/// Makes durable how far it has come and what was found.
pub fn note_scrub(vault: &Vault, state: &Scrubbed) -> Result<(), OpError> {
    let fact = vault.fact(&mut Packer::new(), Fact::Scrubbed(state.clone()).encode())?;
    vault.commit(Submission { facts: vec![fact], ..Submission::upkeep() })?;
    Ok(())
}

/// What became of each damaged place; of those that are no chunk's, nothing can be said.
pub fn standings(
    vault: &Vault,
    state: &Scrubbed,
) -> Result<Vec<(Finding, Option<Standing>)>, OpError> {
    let mut standings = Vec::with_capacity(state.findings.len());
    for (_, finding) in &state.findings {
        let standing = match &finding.chunk {
            Some(chunk) => Some(vault.standing(chunk, &finding.damage)?),
            None => None,
        };
        standings.push((finding.clone(), standing));
    }
    Ok(standings)
}

fn is_sampled(name: &ChunkName, round: u64, percent: u8) -> bool {
    let [a, b, c, d, ..] = *name.as_bytes();
    // A stride that is prime to a hundred leads through every share within a hundred rounds.
    let share = (u64::from(u32::from_le_bytes([a, b, c, d])) + round.wrapping_mul(37)) % 100;
    share < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_share_and_every_chunk_has_its_turn() {
        let name = |n: u32| ChunkName::new(*blake3::hash(&n.to_le_bytes()).as_bytes());
        let names: Vec<ChunkName> = (0..1_000).map(name).collect();
        let sampled = names.iter().filter(|name| is_sampled(name, 1, 10)).count();
        assert!((50..200).contains(&sampled), "{sampled}");
        assert!(names.iter().all(|name| (0..100).any(|round| is_sampled(name, round, 1))));
        assert!(names.iter().all(|name| is_sampled(name, 7, 100)));
    }
}
