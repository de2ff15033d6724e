//! Stores of which one half is in files and the other one elsewhere: segments under a log that is kept elsewhere, and
//! a log beside chunks that are.

mod beside_chunks;
mod halves;
mod under_a_log;
mod upkeep;

use std::sync::Arc;

use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::memory::index::MemoryIndex;
use lucid_store::vault::Vault;

use crate::bench::{Entry, facts_of, reads};

/// What became of what was handed over, behind so many calls of the disk.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Durable(usize),
    Refused(usize),
    /// Nobody was told.
    Unheard,
}

type Told = Vec<(Entry, Answer)>;

/// How the machine died.
#[derive(Clone, Copy, Debug)]
enum Death {
    Power(u64),
    Kill,
}

impl Death {
    fn of(self, disk: &SimulatedDisk, calls: usize) -> SimulatedDisk {
        match self {
            Self::Power(seed) => disk.after_power_cut(calls, seed),
            Self::Kill => disk.after_kill(calls),
        }
    }

    fn seed(self) -> u64 {
        match self {
            Self::Power(seed) => seed,
            Self::Kill => 77,
        }
    }
}

/// Everything that was acknowledged behind fewer calls than these is there, whole; what was refused is not; and of
/// what is there, the chunks are.
fn check(
    told: &[(Entry, Answer)],
    before: usize,
    vault: &Vault,
    index: &MemoryIndex,
) -> Result<(), String> {
    let seen = facts_of(index);
    for (number, (entry, answer)) in told.iter().enumerate() {
        let there = entry.facts.iter().filter(|fact| seen.contains(fact)).count();
        if there != 0 && there != entry.facts.len() {
            return Err(format!("of entry {number}, {there} facts are there"));
        }
        let acknowledged = matches!(answer, Answer::Durable(at) if *at < before);
        if acknowledged && there != entry.facts.len() {
            return Err(format!("entry {number} was acknowledged and is gone"));
        }
        if there > 0 && matches!(answer, Answer::Refused(at) if *at < before) {
            return Err(format!("entry {number} was refused and is there"));
        }
        for bytes in &entry.chunks {
            let read = reads(vault, bytes).map_err(|why| format!("entry {number}: {why}"))?;
            if !read && (acknowledged || there > 0) {
                return Err(format!("a chunk of entry {number} is gone"));
            }
        }
    }
    Ok(())
}

/// A vault that can be written to, and found nothing wrong.
fn sound(opened: Result<Vault, lucid_store::StoreError>) -> Result<Vault, String> {
    let vault = opened.map_err(|error| format!("it does not open: {error}"))?;
    if let Some(why) = vault.read_only() {
        return Err(format!("it is read-only: {why}"));
    }
    match vault.damage().first() {
        Some(damage) => Err(format!("false damage: {damage}")),
        None => Ok(vault),
    }
}

fn fresh() -> Arc<MemoryIndex> {
    Arc::new(MemoryIndex::new())
}
