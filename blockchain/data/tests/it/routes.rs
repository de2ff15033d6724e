//! Every route, against the real service.

mod anchors;
mod append;
mod audit;
mod chunk;
mod chunk_batches;
mod clock;
mod content;
mod files;
mod find;
mod index;
mod live;
mod maintenance;
mod manifest;
mod merkle;
mod mirror;
mod proofs;
mod query;
mod removal;
mod scrub;
mod service;
mod sessions;
mod status;
pub mod storage;
mod sync;
mod verification;
