//! The drawers of the Lucid chain: what keeps bytes, facts, indexes and blocks.
//!
//! From the bottom up:
//!
//! - [`disk`]: the one door to the file system, with a real and a simulated implementation;
//! - [`descriptors`]: how many files may be open, and what to do when none may be opened any more;
//! - [`frame`]: the record every file is made of; [`crypt`] and [`codec`] fill and open its payload;
//! - [`segment`] (chunk records) and [`log`] (facts and commits): the two kinds of file;
//! - [`rewrite`]: segments made anew from others; [`collect`] and
//!   [`condense`]: what is nobody's any more goes, from segments and from the log;
//! - [`committer`]: the only one that appends to both; [`recovery`]: what it finds again after a crash;
//! - [`index`]: derived rows, in memory or in fjall, never the only copy of anything;
//! - [`vault`]: all of these as one data folder; [`audit`], which reads every byte of it at once, and
//!   [`scrub`], which does so little by little;
//! - [`chain`]: blocks, one tip;
//! - [`folder`]: who owns a data folder, and the keys in it;
//! - [`threads`]: starts them, where there are any to be had.
//!
//! The store knows bytes and names; what a fact means is its owner's business ([`index::Project`]).

pub mod audit;
pub mod chain;
pub mod clock;
pub mod codec;
pub mod collect;
pub mod committer;
pub mod condense;
pub mod crypt;
pub mod damage;
pub mod descriptors;
pub mod disk;
pub mod error;
pub mod folder;
pub mod frame;
pub mod index;
pub mod log;
pub mod recovery;
pub mod rewrite;
pub mod scrub;
pub mod segment;
pub mod threads;
pub mod vault;

pub use damage::Damage;
pub use error::{CommitError, StoreError};
