//! Long work: how far it is; collecting garbage, and packing more tightly.

use crate::document::Time;
use crate::problem::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Which long work it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Collecting garbage.
    Gc,
    /// Packing what is stored more tightly.
    Optimise,
    /// Reading stored bytes again.
    Scrub,
    /// Reading a session back.
    Verify,
    /// Reading at the start what the index does not know yet: all of the log, if the index is gone.
    Reindex,
    /// Judging stored blocks.
    Validate,
}

impl JobKind {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gc => "gc",
            Self::Optimise => "optimise",
            Self::Scrub => "scrub",
            Self::Verify => "verify",
            Self::Reindex => "reindex",
            Self::Validate => "validate",
        }
    }
}

/// Whether long work goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProgressState {
    /// It never ran since the service started.
    Idle,
    /// It runs.
    Running,
    /// It ended, and did what it should.
    Done,
    /// It was stopped before its end; what it did stays.
    Stopped,
    /// It failed.
    Failed,
}

/// How far long work is, or how its last run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Which work.
    pub kind: JobKind,
    /// Of what, where it is about one of many: the session that is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether it goes on.
    pub state: ProgressState,
    /// What it is at; a stage counts for itself.
    pub stage: String,
    /// Bytes that are done in this stage; blocks, where blocks are judged.
    pub done: u64,
    /// How many there are, as far as is known.
    pub total: u64,
    /// How many were done in a second of this stage.
    pub rate: f64,
    /// Seconds that are left in this stage, once that can be told.
    pub eta_seconds: Option<u64>,
    /// When it began.
    #[schema(value_type = Option<Time>)]
    pub started_at: Option<String>,
    /// When it ended.
    #[schema(value_type = Option<Time>)]
    pub ended_at: Option<String>,
    /// What came of it.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// Why it failed, or was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The code that a caller who waited for it was refused with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
}

impl Progress {
    /// Of work that never ran.
    pub fn idle(kind: JobKind) -> Self {
        Self {
            kind,
            subject: None,
            state: ProgressState::Idle,
            stage: String::new(),
            done: 0,
            total: 0,
            rate: 0.0,
            eta_seconds: None,
            started_at: None,
            ended_at: None,
            result: None,
            error: None,
            code: None,
        }
    }
}

/// `GET /api/v1/maintenance`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Maintenance {
    /// Every kind of long work.
    pub items: Vec<Progress>,
}

/// `POST /api/v1/maintenance/gc`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CollectGarbage {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Free even over half of a large store, and believe a clock that is far ahead.
    pub confirm: bool,
    /// Remove sessions that were anchored over so many days ago; the service's own setting, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
}

/// What a collection found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GarbageCollected {
    /// Whether it only looked: then the next six say what is, and what would go.
    pub dry_run: bool,
    /// Sessions that were removed because they ended long ago.
    pub sessions_expired: u64,
    /// Interrupted archives that were taken away.
    pub sessions_interrupted: u64,
    /// Chunks that nobody referred to.
    pub chunks_dead: u64,
    /// Bytes of their records.
    pub bytes_dead: u64,
    /// Chunks that are referred to.
    pub chunks_live: u64,
    /// Bytes of their records.
    pub bytes_live: u64,
    /// Chunks that were dropped.
    pub chunks_removed: u64,
    /// Dead chunks that were asked for a short while ago, and stay until the next time.
    pub chunks_spared: u64,
    /// Facts of the log that did not matter any more.
    pub facts_removed: u64,
    /// By how much the files got smaller; what is dropped from files that are mostly live stays there.
    pub bytes_freed: u64,
    /// Files that were written anew without what was dropped.
    pub segments_rewritten: u64,
    /// Files left alone: they are damaged, or may hold the last copy of something.
    pub segments_damaged: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// `POST /api/v1/maintenance/retention`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BeginRetention {
    /// Believe a clock that is far ahead of the newest anchor.
    pub confirm: bool,
}

/// What time it is by the chain: a block was made for that just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionBegun {
    /// The time of the block: a session's age is this less the time of the block with its anchor.
    #[schema(value_type = Time)]
    pub time: String,
    /// Whether it also ends the times until which sessions are kept. Not where it is far ahead of the newest anchor,
    /// even if that was confirmed.
    pub ends_retention: bool,
}

/// The zstd level that `optimise` packs at unless told otherwise.
pub const OPTIMISE_LEVEL: u8 = 9;

/// `POST /api/v1/maintenance/optimise`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Optimise {
    /// The zstd level, 1 to 19; 9 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 19)]
    pub level: Option<u8>,
}

/// What packing more tightly came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Optimised {
    /// The zstd level.
    pub level: u8,
    /// Files that were written anew; those that had been at this level already are left alone.
    pub segments_rewritten: u64,
    /// By how much the files got smaller.
    pub bytes_freed: u64,
    /// Files left alone: they are damaged, or may hold the last copy of something.
    pub segments_damaged: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}
