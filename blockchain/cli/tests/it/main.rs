//! The command's modules, tried on real folders, and the command itself, tried on real stores.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod append;
mod archive;
mod damage;
mod documents;
mod folder;
mod home;
mod kills;
mod proofs;
mod reading;
mod reindex;
mod trouble;
