//! Every route, against the real service.

mod anchoring;
mod blocks;
mod chain;
mod maintenance;
mod propose;
mod status;
mod transactions;
mod validation;
