//! The envelope of every added list, and how to ask for the next page.

use crate::document::Cursor;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Items a page has when nothing is asked for.
pub const LIMIT_DEFAULT: u32 = 100;
/// Items a page has at most.
pub const LIMIT_MAX: u32 = 1000;

/// One page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// What it holds, in the list's order.
    pub items: Vec<T>,
    /// Asks for the next page; absent text (`null`) when this is the last.
    #[schema(value_type = Option<Cursor>)]
    pub next_cursor: Option<String>,
    /// How many there are on all pages, where that is known for free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// Which page is wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// At most so many items (1..1000).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// From an earlier page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
