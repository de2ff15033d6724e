//! The store of the Lucid chain: what keeps bytes, facts, indexes and blocks.
//!
//! - [`contract`]: what is promised, one trait for each promise, with the suite that holds every back-end to it:
//!   chunks are kept by [`contract::blobs`], facts by [`contract::fact_log`], blocks by [`contract::chain`];
//! - [`vault`]: the policy over any back-end: one queue, one point of decision, collection, scrub;
//! - [`files`]: the embedded back-end, everything in one folder;
//! - [`vault::moving`] and [`chain_move`]: a store or a chain moves to another back-end, and back;
//! - [`memory`]: back-ends for tests;
//! - `mongo` (feature `mongodb`): the log, the chain and values that are created once, in MongoDB;
//! - [`backend`]: which of them keep a store, by what was given and what its label says;
//! - [`remote`]: how back-ends on other machines are called;
//! - [`s3`]: chunks in a store that speaks S3;
//! - [`measured`]: what stands before any of them and counts its calls.
//!
//! [`registry`] lists the kinds of facts and rows of everyone who writes any.
//!
//! All of them rest on the record that everything is written as ([`frame`]), on what fills and opens its
//! payload ([`codec`], [`crypt`]), and on what the system gives: the time ([`clock`]) and [`threads`].
//!
//! The store knows bytes and names; what a fact means is its owner's business ([`contract::index::Project`]).

pub mod backend;
pub mod chain_move;
pub mod clock;
pub mod codec;
pub mod contract;
pub mod crypt;
pub mod damage;
pub mod error;
pub mod files;
pub mod frame;
pub mod measured;
pub mod memory;
#[cfg(feature = "mongodb")]
pub mod mongo;
#[cfg(test)]
#[cfg(any(feature = "mongodb", feature = "s3"))]
pub(crate) mod proxy;
pub mod registry;
#[cfg(any(feature = "mongodb", feature = "s3"))]
pub mod remote;
#[cfg(feature = "s3")]
pub mod s3;
pub mod threads;
pub mod vault;

pub use damage::Damage;
pub use error::{CommitError, StoreError};
