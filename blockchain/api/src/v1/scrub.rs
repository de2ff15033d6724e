//! Reading stored bytes again: `GET` and `POST /api/v1/scrub`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::maintenance::Progress;
use crate::document::Time;

/// How far it is, and what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scrub {
    /// The round that goes on, or went on last; 0 before the first.
    pub round: u64,
    /// Whether the round is at its end.
    pub complete: bool,
    /// When the round began.
    #[schema(value_type = Option<Time>)]
    pub began_at: Option<String>,
    /// When a round last came to its end.
    #[schema(value_type = Option<Time>)]
    pub ended_at: Option<String>,
    /// Bytes that the round has read, as they were noted last.
    pub bytes: u64,
    /// Records among them.
    pub records: u64,
    /// What was damaged when it was last read.
    pub damage: Vec<ScrubFinding>,
    /// Whether a round goes on at this moment, and how fast.
    pub progress: Progress,
}

/// What became of a damaged place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// A chunk that is in use cannot be read: the same content sent again heals it.
    Quarantined,
    /// The chunk has a sound copy elsewhere by now.
    Healed,
    /// Nothing refers to the chunk.
    Unused,
    /// Not a chunk: put the file back from a copy.
    Damaged,
}

impl FindingState {
    /// As it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::Healed => "healed",
            Self::Unused => "unused",
            Self::Damaged => "damaged",
        }
    }
}

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubFinding {
    /// The file, relative to the data folder.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub why: String,
    /// What became of it.
    pub state: FindingState,
}
