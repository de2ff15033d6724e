//! Every route, against the real service.

mod anchoring;
pub mod blocks;
mod chain;
mod maintenance;
mod metrics;
mod propose;
mod runs;
mod status;
mod sync;
mod transactions;
mod validation;
