//! Every route, against the real service.

mod anchoring;
mod blocks;
mod chain;
mod maintenance;
mod propose;
mod runs;
mod status;
mod sync;
mod transactions;
mod validation;
