//! The data-chain service: sessions and their chunks, proofs, anchoring.
//!
//! How the pieces join: [`fact`] is what is acknowledged, [`projection`] makes [`row`]s of it in the
//! index, [`ops`] are the verbs, one a file, and [`opened`] is a data folder with everything they need.
//! The command line calls the ops in its own process; the service calls the same ops from its routes.

pub mod anchoring;
pub mod fact;
pub mod opened;
pub mod ops;
pub mod projection;
pub mod reply;
pub mod row;

pub use opened::Opened;
