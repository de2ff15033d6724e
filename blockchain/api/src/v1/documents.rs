//! Documents of blocks, transactions and sessions: storing them and querying them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::document::{Cursor, Time};

/// What became of a document that was posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentStored {
    /// That it is stored.
    pub stored: bool,
    /// Its id; of a block its hash.
    pub id: String,
    /// The index of a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The hash of a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Whether it took the place of an earlier one, of a session.
    pub updated: bool,
}

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StorageStats {
    /// Documents of blocks.
    pub total_blocks: u64,
    /// Documents of transactions, those within blocks included.
    pub total_transactions: u64,
    /// Sessions: those that are kept here, and documents of others.
    pub total_sessions: u64,
    /// Bytes in the data folder: documents, chunks, and the log.
    pub storage_size: u64,
    /// How many of the sessions are kept here.
    pub kept_sessions: u64,
    /// Different chunks.
    pub unique_chunks: u64,
    /// Bytes of them.
    pub unique_bytes: u64,
}

/// Who says what a document says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentSource {
    /// A client posted it, and nobody vouches for it.
    Submitted,
    /// It was fetched from a block-manager and verified.
    Synchronised,
    /// The session is kept here.
    Kept,
}

/// What is known of a document besides what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentMeta {
    /// Who says it.
    pub source: DocumentSource,
    /// When what it is about happened: by its own word, or by its block's, or when it was stored.
    #[schema(value_type = Time)]
    pub at: String,
    /// When it was stored; of a session that is kept here, when it began.
    #[schema(value_type = Time)]
    pub indexed_at: String,
    /// The block it is, or is in, where one with it is stored.
    pub block_index: Option<u64>,
    /// Where its proof is to be had; only what was synchronised has one.
    pub proof: Option<String>,
}

/// How many documents a query would have on all its pages: a number, or beyond what one request counts a text
/// like `>100000`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Total {
    /// So many.
    Exactly(u64),
    /// More than that, as `>` and a number.
    MoreThan(String),
}

macro_rules! pages {
    ($($(#[$about:meta])* $name:ident: $list:ident,)*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
        pub struct $name {
            /// The documents as they were posted, in the order of the query.
            #[schema(value_type = Vec<Object>)]
            pub $list: Vec<Box<RawValue>>,
            /// How many of them are on this page.
            pub count: usize,
            /// How many there could be.
            pub limit: usize,
            /// How many were skipped.
            pub offset: usize,
            /// Asks for the next page; `null` when this is the last.
            #[schema(value_type = Option<Cursor>)]
            pub next_cursor: Option<String>,
            /// Whether the page holds all that it could. Otherwise the request looked at as many documents as
            /// one may, and `next_cursor` goes on.
            pub complete: bool,
            /// What is known of each document, in the same order.
            pub meta: Vec<DocumentMeta>,
            /// How many there are on all pages, if that was asked for.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub total: Option<Total>,
            /// Whether the answer was at hand since nothing was stored.
            pub cached: bool,
        }
    )*};
}

pages! {
    /// What a query by `GET` answers.
    DocumentItems: items,
    /// What a query by `POST` answers.
    DocumentResults: results,
}

/// In which order documents come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentOrder {
    /// The newest first, of blocks those of the highest index.
    #[default]
    Desc,
    /// The oldest first.
    Asc,
}

/// `POST /api/v1/query/...`. Everything may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(examples(json!({"filters": {}, "limit": 10})))]
pub struct DocumentsWanted {
    /// Comparisons that all have to hold. Of blocks: `index_range` (`[first, last]`), `timestamp_range`, `hash`; of
    /// transactions: `type`, `session_id`, `timestamp_range`; of sessions: `status`, `user_id`,
    /// `timestamp_range`, `active_at`, `metadata` (an object of texts), `host`, `tag` and `path` (a text, or a list of
    /// texts that all have to be there). Ranges include both ends.
    #[schema(value_type = Object)]
    pub filters: serde_json::Map<String, serde_json::Value>,
    /// At most so many (1..1000); 100 when nothing is said.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// So many are skipped (0..10000).
    #[schema(maximum = 10000)]
    pub offset: Option<u64>,
    /// From an earlier page of the same query.
    #[schema(value_type = Option<Cursor>)]
    pub cursor: Option<String>,
    /// The newest first, when nothing is said.
    pub order: DocumentOrder,
    /// Whether to count what all pages have together.
    pub total: bool,
}

/// What every query by `GET` may say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DocumentsPage {
    /// At most so many (1..1000); 100 when nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// So many are skipped (0..10000).
    #[param(maximum = 10000)]
    pub offset: Option<u32>,
    /// From an earlier page of the same query.
    pub cursor: Option<String>,
    /// `desc`, the newest first, when nothing is said; or `asc`.
    pub order: Option<String>,
    /// Whether to count what all pages have together.
    pub total: Option<bool>,
    /// Not before this moment.
    pub timestamp_from: Option<String>,
    /// Not after this moment.
    pub timestamp_to: Option<String>,
}

/// `GET /api/v1/data/blocks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BlocksFilter {
    /// The first index.
    pub index_from: Option<u64>,
    /// The last index.
    pub index_to: Option<u64>,
    /// The hash.
    pub hash: Option<String>,
}

/// `GET /api/v1/data/transactions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TransactionsFilter {
    /// The transaction's own type.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    pub tx_type: Option<String>,
    /// The session it is about.
    pub session_id: Option<String>,
}

/// `GET /api/v1/data/sessions`. What else is said of a session is asked for as `metadata.NAME=VALUE`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SessionsFilter {
    /// The status.
    #[param(min_length = 0)]
    pub status: Option<String>,
    /// Whose it is.
    pub user_id: Option<String>,
    /// A moment at which it had begun and not ended.
    pub active_at: Option<String>,
    /// The host that it comes from.
    #[param(max_length = 255)]
    pub host: Option<String>,
    /// A tag that it has; may be said several times.
    pub tag: Option<Vec<String>>,
    /// A path that it is of, spelled as in a manifest; may be said several times.
    pub path: Option<Vec<String>>,
}

/// A text that a document had, or that contradicts it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EarlierDocument {
    /// Who said it.
    pub source: DocumentSource,
    /// When it came.
    #[schema(value_type = Time)]
    pub stored_at: String,
    /// Whether it was what is said of the session until a later one came.
    pub was_current: bool,
    /// What it says; as text, since of a long one only the beginning is kept.
    pub text: String,
}

/// Queries in numbers, since the service started.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueryStats {
    /// Answers that are kept.
    pub cache_size: u64,
    /// Queries that were answered.
    pub total_queries: u64,
    /// Seconds that one took on average.
    pub average_query_time: f64,
    /// How many were answered from what was kept.
    pub cache_hits: u64,
    /// How many were not.
    pub cache_misses: u64,
}
