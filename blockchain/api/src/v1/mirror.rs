//! A session as it moves from one store to another: `GET /api/v1/sessions/{session_id}/export` and
//! `POST /api/v1/sessions/{session_id}/import`. Chunks and references travel by their own routes.

use crate::document::Base64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Everything about a session but its chunks, its secret included: with that, the salts of its
/// leaves can be computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportedSession {
    /// The fact that it began, in base64.
    #[schema(value_type = Base64)]
    pub started: String,
    /// The fact that it was sealed.
    #[schema(value_type = Option<Base64>)]
    pub sealed: Option<String>,
    /// The fact that it was anchored.
    #[schema(value_type = Option<Base64>)]
    pub anchored: Option<String>,
    /// How many chunks it has; it is sealed in its new place once they are all there.
    pub chunk_count: u64,
}
