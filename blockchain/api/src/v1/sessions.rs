//! Sessions: opening one, adding to it, sealing it, reading what it is.

mod query;

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_core::digest::{ChunkId, ManifestHash, SessionRoot};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::anchors::AnchorState;
use super::removal::Hold;
use crate::document::{Hash, SessionId, Time, UserId};

pub use query::{PREFIX_MIN, SessionsQuery};

/// What a session's bytes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// The bytes given, in order.
    #[default]
    Raw,
    /// An archived folder: the files' bytes, then a catalogue.
    Tree,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// It may still grow.
    Active,
    /// It is complete, and its root is fixed.
    Sealed,
    /// Its root is in a committed block.
    Anchored,
    /// Its recorder went away without sealing it.
    Unterminated,
}

impl SessionStatus {
    /// As it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Sealed => "sealed",
            Self::Anchored => "anchored",
            Self::Unterminated => "unterminated",
        }
    }

    /// The state of this name; the error is a sentence for the caller.
    pub fn named(name: &str) -> Result<Self, String> {
        let all = [Self::Active, Self::Sealed, Self::Anchored, Self::Unterminated];
        all.into_iter().find(|status| status.as_str() == name).ok_or_else(|| {
            format!("status is {name:?}; active, sealed, anchored and unterminated are allowed")
        })
    }
}

/// How boundaries between chunks are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CuttingMode {
    /// By content, so equal stretches are found again wherever they lie.
    Content,
    /// Every so many bytes.
    Fixed,
}

/// How a session is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cutting {
    /// By what.
    pub mode: CuttingMode,
    /// The size aimed at: by content a power of two from 65536 to 4194304.
    #[schema(minimum = 1024, maximum = 16777216)]
    pub avg_bytes: u32,
}

/// Where a session comes from, by its recorder's word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(examples(json!({"host": "web-1", "paths": ["/var/log"], "tags": ["nightly"]})))]
pub struct SessionSource {
    /// The host's name, up to 255 bytes; empty where nobody said.
    pub host: String,
    /// What was read there, up to 256 paths. A path is spelled as in a manifest: a backslash stands twice, and a byte
    /// that is no part of a text as `\x` and two hex digits.
    pub paths: Vec<String>,
    /// What its recorder sorts sessions by: up to 64 texts of up to 256 bytes, each once.
    pub tags: Vec<String>,
}

/// The size of a recorded terminal, when its recording began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminal {
    /// Characters in a line.
    #[schema(minimum = 1)]
    pub columns: u16,
    /// Lines.
    #[schema(minimum = 1)]
    pub rows: u16,
}

/// `POST /api/v1/sessions`. Everything has a default; the same request again is answered 200.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(examples(json!({"session_id": "demo", "user_id": "ann", "metadata": {"host": "web-1"}})))]
pub struct CreateSession {
    /// `[A-Za-z0-9._:-]{1,128}`; made when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SessionId>)]
    pub session_id: Option<String>,
    /// Whose recording it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<UserId>)]
    pub user_id: Option<String>,
    /// Anything else worth knowing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Now, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    pub started_at: Option<String>,
    /// What its bytes will be.
    pub layout: Layout,
    /// Whether its leaves go without salts, so that anyone who has the bytes can compute the root.
    pub public: bool,
    /// Whether it is filled in one go: as long as it is not sealed, the same request begins it
    /// anew, and after a day without news it is forgotten.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub one_shot: bool,
    /// The service's own, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutting: Option<Cutting>,
    /// Until when it is kept: it is extended, and never shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    pub retain_until: Option<String>,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SessionSource>,
    /// How large the recorded terminal is, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
}

/// A session, as creation and reading show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its name.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// Whose recording it is.
    #[schema(value_type = Option<UserId>)]
    pub user_id: Option<String>,
    /// Where it is in its life.
    pub status: SessionStatus,
    /// What its bytes are.
    pub layout: Layout,
    /// Whether its leaves go without salts.
    pub public: bool,
    /// How it is cut.
    pub cutting: Cutting,
    /// Where the next appended byte goes.
    pub offset: u64,
    /// When it began.
    #[schema(value_type = Time)]
    pub started_at: String,
    /// When a live stream last took bytes.
    #[schema(value_type = Option<Time>)]
    pub appended_at: Option<String>,
    /// When it was sealed; of one that was sealed as unterminated, when the last bytes came.
    #[schema(value_type = Option<Time>)]
    pub ended_at: Option<String>,
    /// Once sealed: `exit` if the recorder saw the recorded program end, `eof` if the input ended and
    /// nobody knows how its writer did, `unterminated` if the recorder never ended it; `complete` in
    /// what was sealed under version 1 of the manifest.
    #[schema(pattern = "^(exit|eof|unterminated|complete)$")]
    pub end: Option<String>,
    /// With `exit`: how the recorded program ended.
    #[serde(default)]
    pub exit_status: Option<ExitStatus>,
    /// Chunks it refers to.
    pub chunk_count: u64,
    /// Bytes of content, without the appendix.
    pub content_bytes: u64,
    /// Bytes of content and appendix.
    pub total_bytes: u64,
    /// Once sealed.
    #[schema(value_type = Option<Hash>)]
    pub merkle_root: Option<SessionRoot>,
    /// Once sealed.
    #[schema(value_type = Option<Hash>)]
    pub manifest_hash: Option<ManifestHash>,
    /// Once submitted.
    pub anchor: Option<AnchorState>,
    /// What forbids to remove it, if anything does.
    pub hold: Option<Hold>,
    /// Until when it is kept, if that was said: by the chain's time, it may be removed from then on.
    #[serde(default)]
    #[schema(value_type = Option<Time>)]
    pub retain_until: Option<String>,
    /// Anything else worth knowing.
    pub metadata: BTreeMap<String, String>,
    /// Where it comes from, if its recorder said.
    #[serde(default)]
    pub source: Option<SessionSource>,
    /// How large the recorded terminal was, if there was one.
    #[serde(default)]
    pub terminal: Option<Terminal>,
}

/// How many seconds a clock can go back, at most: from the last moment that can be told to the first.
pub const CLOCK_BACK_SECONDS_MAX: u64 = 315_537_897_599;

/// How long one request may wait: proxies keep theirs about as long.
pub const WAIT_SECONDS_MAX: u64 = 60;

/// What to wait for, if anything: `GET /api/v1/sessions/{session_id}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SessionQuery {
    /// For how long at most, in seconds: `30s` or `30`, up to 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// Until it is this far, or further.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub status: Option<SessionStatus>,
}

impl SessionQuery {
    /// Waits for so many seconds until a session is this far.
    pub fn until(status: SessionStatus, seconds: u64) -> Self {
        Self { wait: Some(format!("{seconds}s")), status: Some(status) }
    }

    /// What to wait for; the error is a sentence for the caller.
    pub fn wish(&self) -> Result<Option<(SessionStatus, Duration)>, String> {
        let (wait, status) = match (&self.wait, self.status) {
            (None, None) => return Ok(None),
            (Some(wait), Some(status)) => (wait, status),
            _ => return Err("wait and status are given together".to_owned()),
        };
        let seconds = wait.strip_suffix('s').unwrap_or(wait).parse().ok();
        match seconds.filter(|seconds| *seconds <= WAIT_SECONDS_MAX) {
            Some(seconds) => Ok(Some((status, Duration::from_secs(seconds)))),
            None => Err(format!("wait is {wait:?}; 0s to {WAIT_SECONDS_MAX}s is allowed")),
        }
    }
}

/// From where on to follow: `GET /api/v1/sessions/{session_id}/follow`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FollowQuery {
    /// The first byte that is wanted; the beginning, unless it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
}

/// How long a session that is followed may be silent until the reply breaks off: its caller asks again.
pub const FOLLOW_SILENCE_SECONDS: u64 = 600;

/// Answers an append: everything up to `offset` is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Appended {
    /// Where the next byte goes.
    pub offset: u64,
    /// The root over the chunks that are cut already.
    #[schema(value_type = Hash)]
    pub root: SessionRoot,
    /// How far the root reaches; the bytes from here to `offset` are durable, not yet cut.
    pub root_offset: u64,
    /// Chunks that are cut already.
    pub chunk_count: u64,
}

/// `POST /api/v1/sessions/{session_id}/references`: stored chunks become the session's next ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddReferences {
    /// The index of the first; must be the session's next.
    pub start_index: u64,
    /// In order.
    #[schema(min_items = 1, max_items = 100000)]
    pub chunks: Vec<Reference>,
}

/// One stored chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Its name.
    #[schema(value_type = Hash)]
    pub chunk_id: ChunkId,
    /// Its bytes.
    #[schema(minimum = 1, maximum = 16777216)]
    pub length: u32,
}

/// Answers references: they are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReferencesAdded {
    /// The session's next index.
    pub next_index: u64,
    /// Where the next byte goes.
    pub offset: u64,
}

/// What follows a session's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppendixKind {
    /// Wall-clock time to offset, of a recording.
    Timeline,
    /// The files of an archived folder.
    Catalogue,
}

/// Where a session's appendix lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Appendix {
    /// What it holds.
    pub kind: AppendixKind,
    /// Its first byte: the end of the content.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// The recorder saw the recorded program end.
    Exit,
    /// The input ended, and nobody knows how its writer did.
    Eof,
    /// The recorder is gone and never ended it.
    Unterminated,
}

/// How a recorded program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(u32),
    /// By the signal of this number.
    Signal(u32),
}

/// `POST /api/v1/sessions/{session_id}/seal`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(examples(json!({}), json!({"end": "exit", "exit_status": {"code": 0}})))]
pub struct SealSession {
    /// Refuses when the session has another number of chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_chunk_count: Option<u64>,
    /// Refuses when the session began at another time: then it has been begun anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    pub started_at: Option<String>,
    /// Kept in the metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_address: Option<String>,
    /// Added to the session's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// For a session whose client made its appendix itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appendix: Option<Appendix>,
    /// How it ends; `eof` when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<SessionEnd>,
    /// With `end: exit`, and only then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<ExitStatus>,
    /// The same as `end: unterminated`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unterminated: bool,
    /// By how many seconds the clock of the session's times went back, rounded up, if no append said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 315537897599i64)]
    pub clock_back_seconds: Option<u64>,
    /// Until when it is kept: it is extended, and never shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Time>)]
    pub retain_until: Option<String>,
}

/// Answers a seal, and every later one of the same session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sealed {
    /// Its name.
    #[schema(value_type = SessionId)]
    pub session_id: String,
    /// `sealed`, or `anchored` when that has happened since.
    pub status: SessionStatus,
    /// What everything in it is proved against.
    #[schema(value_type = Hash)]
    pub merkle_root: SessionRoot,
    /// Chunks of content and appendix.
    pub chunk_count: u64,
    /// Bytes of content and appendix.
    pub total_size: u64,
    /// Of the manifest's text.
    #[schema(value_type = Hash)]
    pub manifest_hash: ManifestHash,
    /// When.
    #[schema(value_type = Time)]
    pub sealed_at: String,
}
