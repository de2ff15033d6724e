//! The nouns of the Lucid chain, and the rules that decide about them.
//!
//! Everything here is pure and synchronous: no IO, no clock, no randomness. Times, keys and random
//! secrets are handed in. The formats are frozen: `docs/FORMATS.md` gives every byte, and
//! `tests/vectors` holds the golden answers.
//!
//! Two families live side by side:
//!
//! - *the chain* (SHA-256): [`json`], [`transaction`], [`block`], [`block_merkle`], [`record`],
//!   [`validate`];
//! - *sessions* (BLAKE3): [`cut`], [`session`], [`tree`], [`mod@slice`], [`page`], [`catalogue`],
//!   [`timeline`], [`manifest`]; and what they put into a chain: [`claim`], [`anchor`], [`tombstone`],
//!   [`retention`], [`succession`].
//!
//! [`bundle`] and [`check`] join the two: a proof leads from bytes to a block. [`elsewhere`] is what an engine says
//! that has no such way.

pub mod anchor;
pub mod block;
pub mod block_merkle;
pub mod bundle;
pub mod catalogue;
pub mod check;
pub mod claim;
pub mod cut;
pub mod digest;
pub mod elsewhere;
pub mod json;
pub mod limits;
pub mod manifest;
pub mod page;
pub mod record;
pub mod retention;
pub mod session;
pub mod sign;
pub mod slice;
mod spelling;
pub mod succession;
pub mod time;
pub mod timeline;
pub mod tombstone;
pub mod transaction;
pub mod tree;
pub mod validate;
pub mod wire;
pub mod words;
