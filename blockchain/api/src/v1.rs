//! The bodies of version 1, one noun a file.
//!
//! Hashes are the digest types of `lucid-core`; times are RFC 3339 texts in UTC; blocks and
//! transactions are texts that pass through unread, because reading them as general JSON would
//! change what their hashes cover. Requests refuse fields they do not know.

pub mod anchoring;
pub mod anchors;
pub mod audit;
pub mod blocks;
pub mod chain;
pub mod chunks;
pub mod documents;
pub mod files;
pub mod find;
pub mod index;
pub mod list;
pub mod maintenance;
pub mod manifest;
pub mod mirror;
pub mod proofs;
pub mod removal;
pub mod scrub;
pub mod service;
pub mod sessions;
pub mod sync;
pub mod transactions;
pub mod usage;
pub mod validation;
pub mod verdict;
pub mod verification;
