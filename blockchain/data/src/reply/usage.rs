//! What the weight of sessions looks like on the wire.

use lucid_api::v1::usage::{UsageBy, UsageLine};

use crate::ops::sessions::weigh_sessions::{Grouping, Weight, Weights};

/// By what sessions are put together.
pub fn grouping(by: UsageBy) -> Grouping {
    match by {
        UsageBy::Session => Grouping::Session,
        UsageBy::User => Grouping::User,
        UsageBy::Host => Grouping::Host,
    }
}

/// A line for each group, and behind them the one for all of them together.
pub fn lines(weights: Weights) -> impl Iterator<Item = UsageLine> {
    let Weights { groups, total, knows_freed } = weights;
    let groups = groups.into_iter().map(|(name, weight)| (Some(name), weight));
    groups.chain([(None, total)]).map(move |(name, weight)| line(name, weight, knows_freed))
}

fn line(name: Option<String>, weight: Weight, knows_freed: bool) -> UsageLine {
    let Weight { freed_bytes, freed_chunks, .. } = weight;
    UsageLine {
        name,
        sessions: weight.sessions,
        content_bytes: weight.content_bytes,
        total_bytes: weight.total_bytes,
        chunks: weight.chunks,
        chunk_bytes: weight.chunk_bytes,
        stored_bytes: weight.stored_bytes,
        freed_bytes: knows_freed.then_some(freed_bytes),
        freed_chunks: knows_freed.then_some(freed_chunks),
    }
}
