//! The insides of the `lucid` command: what touches the user's files and terminal.
//!
//! `main.rs` and the verbs call these modules; tests enter here. Nothing in this library knows a
//! verb, and only [`output`] and [`progress`] write to the terminal.

pub mod folder;
pub mod ingest;
pub mod output;
pub mod progress;
pub mod text;
