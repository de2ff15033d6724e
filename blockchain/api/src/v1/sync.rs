//! Following another chain: blocks in a row, and how far synchronisation is.

use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// Blocks of one run.
pub const RUN_BLOCKS_MAX: u32 = 10_000;
/// The head of a block: nine lines, a key and a signature.
pub const HEAD_BYTES_MAX: usize = 2 << 10;
/// A body: 16 MiB of texts, and a length before each of 10,000.
pub const BODY_BYTES_MAX: usize = (16 << 20) + (64 << 10);

/// Which blocks: `GET /api/v1/blocks/heads` and `/bodies`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RunQuery {
    /// The height of the first.
    pub from: u64,
    /// At most so many (1..10000; as many as fit when absent).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
