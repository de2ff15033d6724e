//! Every route, against the real service.

mod anchors;
mod append;
mod chunk;
mod chunks;
mod clock;
mod content;
mod files;
mod live;
mod maintenance;
mod merkle;
mod proofs;
mod removal;
mod scrub;
mod service;
mod sessions;
mod verification;
