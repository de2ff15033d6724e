//! The facts that the vault keeps for itself, beside its owner's.

use lucid_core::digest::ChunkName;
use lucid_core::wire::{Reader, WireFault, Writer};

use crate::contract::index::Tally;
use crate::registry::SERVICE_FACTS;
use crate::registry::vault::fact::{
    DROPPED, LINED, MOVED, MOVING, QUARANTINED, SNAPSHOTS, SWITCHED, TALLIED,
};
use crate::vault::line::Line;
use crate::vault::snapshot::Pieces;

/// What the vault itself acknowledges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum VaultFact {
    /// The copy of a chunk at this place is damaged.
    Quarantined(ChunkName, (u32, u64)),
    /// Nobody refers to these chunks, whose copies at these places do not count any more.
    Dropped(Vec<(ChunkName, (u32, u64))>),
    /// A unit that was made of others' records stands for them from now on.
    Switched { to: u32, replaces: Vec<u32> },
    /// What another back-end keeps of this store is being moved here: up to this place of the log there.
    Moving(Vec<u8>),
    /// All of it is here.
    Moved(Arrived),
    /// What a collection of shared units goes by. Each takes the place of the one before.
    Lined(Line),
    /// What the writer's rows come to behind the facts before it, of the same commit.
    Tallied(Tally),
    /// Which snapshots there are, and which pieces may be. Each takes the place of the one before.
    Snapshots(Pieces),
}

/// What was moved into a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrived {
    /// The end of the log that it was moved from.
    pub(super) at: Vec<u8>,
    /// How many facts it has.
    pub(super) facts: u64,
    /// How many chunks there are.
    pub(super) chunks: u64,
    /// What both sides were compared by.
    pub(super) digest: [u8; 32],
}

impl VaultFact {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new();
        match self {
            Self::Quarantined(name, (unit, offset)) => {
                to.u8(QUARANTINED).raw(name.as_bytes()).u32(*unit).u64(*offset);
            }
            Self::Dropped(chunks) => {
                to.u8(DROPPED).count(chunks.len());
                for (name, (unit, offset)) in chunks {
                    to.raw(name.as_bytes()).u32(*unit).u64(*offset);
                }
            }
            Self::Switched { to: number, replaces } => {
                to.u8(SWITCHED).u32(*number).count(replaces.len());
                for old in replaces {
                    to.u32(*old);
                }
            }
            Self::Moving(at) => {
                to.u8(MOVING).bytes(at);
            }
            Self::Moved(Arrived { at, facts, chunks, digest }) => {
                to.u8(MOVED).bytes(at).u64(*facts).u64(*chunks).raw(digest);
            }
            Self::Lined(line) => {
                to.u8(LINED).raw(&line.encode());
            }
            Self::Snapshots(pieces) => {
                to.u8(SNAPSHOTS).raw(&pieces.encode());
            }
            Self::Tallied(Tally { sessions, chunks, references }) => {
                to.u8(TALLIED).u64(*sessions).u64(*chunks).u64(*references);
            }
        }
        to.finish()
    }

    /// `None` when the fact is not the vault's.
    pub(super) fn decode(bytes: &[u8]) -> Option<Result<Self, WireFault>> {
        let (&kind, rest) = bytes.split_first()?;
        if kind >= SERVICE_FACTS {
            return None;
        }
        let read = |from: &mut Reader<'_>| -> Result<Self, WireFault> {
            let chunk = |from: &mut Reader<'_>| {
                let name = ChunkName::new(from.array("name")?);
                Ok::<_, WireFault>((name, (from.u32("unit")?, from.u64("offset")?)))
            };
            Ok(match kind {
                QUARANTINED => {
                    let (name, place) = chunk(from)?;
                    Self::Quarantined(name, place)
                }
                DROPPED => {
                    let count = from.u32("count")?;
                    Self::Dropped((0..count).map(|_| chunk(from)).collect::<Result<_, _>>()?)
                }
                SWITCHED => {
                    let (to, count) = (from.u32("unit")?, from.u32("count")?);
                    let replaces =
                        (0..count).map(|_| from.u32("unit")).collect::<Result<_, _>>()?;
                    Self::Switched { to, replaces }
                }
                MOVING => Self::Moving(from.bytes("a place")?.to_vec()),
                MOVED => Self::Moved(Arrived {
                    at: from.bytes("a place")?.to_vec(),
                    facts: from.u64("facts")?,
                    chunks: from.u64("chunks")?,
                    digest: from.array("digest")?,
                }),
                LINED => Self::Lined(Line::read(from)?),
                SNAPSHOTS => Self::Snapshots(Pieces::read(from)?),
                TALLIED => Self::Tallied(Tally {
                    sessions: from.u64("sessions")?,
                    chunks: from.u64("chunks")?,
                    references: from.u64("references")?,
                }),
                _ => return Err(WireFault::Invalid { what: "a fact's kind" }),
            })
        };
        let mut from = Reader::new(rest);
        Some(read(&mut from).and_then(|fact| from.finish().map(|()| fact)))
    }
}

#[cfg(test)]
mod tests {
    use lucid_core::time::Timestamp;

    use super::*;

    #[test]
    fn the_vaults_facts_are_these_bytes() {
        let name = ChunkName::new([0xaa; 32]);
        let place = format!("{}070000000900000000000000", "aa".repeat(32));
        for (fact, hex) in [
            (VaultFact::Quarantined(name, (7, 9)), format!("01{place}")),
            (VaultFact::Dropped(vec![(name, (7, 9)); 2]), format!("0202000000{place}{place}")),
            (
                VaultFact::Switched { to: 0x8000_0001, replaces: vec![1, 2] },
                "0301000080020000000100000002000000".to_owned(),
            ),
            (VaultFact::Moving(vec![5, 6]), "0e020000000506".to_owned()),
            (
                VaultFact::Moved(Arrived { at: vec![5], facts: 3, chunks: 4, digest: [0xdd; 32] }),
                format!("0f010000000503000000000000000400000000000000{}", "dd".repeat(32)),
            ),
            (
                VaultFact::Lined(Line {
                    line: 7,
                    taken: 1_024,
                    drawn_at: Timestamp::from_micros(0x0102_0304),
                    going: vec![2, 0x8000_0001],
                }),
                "0407000000000400000403020100000000020000000200000001000080".to_owned(),
            ),
            (
                VaultFact::Tallied(Tally { sessions: 1, chunks: 2, references: 3 }),
                "05010000000000000002000000000000000300000000000000".to_owned(),
            ),
            (
                VaultFact::Snapshots(Pieces {
                    snapshots: Vec::new(),
                    hollow: 5,
                    named: vec![[0xbb; 16]],
                    going: vec![[0xcc; 16]; 2],
                }),
                format!(
                    "0600000000050000000000000001000000{}02000000{}",
                    "bb".repeat(16),
                    "cc".repeat(32)
                ),
            ),
        ] {
            let bytes = fact.encode();
            assert_eq!(hex::encode(&bytes), hex);
            assert_eq!(VaultFact::decode(&bytes), Some(Ok(fact)));
            for cut in 1..bytes.len() {
                assert!(VaultFact::decode(&bytes[..cut]).unwrap().is_err());
            }
        }
        assert_eq!(VaultFact::decode(&[SERVICE_FACTS]), None);
        assert_eq!(VaultFact::decode(&[]), None);
    }
}
