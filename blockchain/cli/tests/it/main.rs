//! The command's modules, tried on real folders.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod documents;
mod folder;
