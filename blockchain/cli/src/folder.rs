//! Folders of the user: read into entries, and made again from entries.
//!
//! The verbs that archive call [`walk`], which asks [`select`] what is wanted, those that restore call [`target`]. Both
//! speak in the catalogue's [`Entry`]: a name in raw bytes, what it is, and what was known about it.

mod attributes;
pub(crate) mod draft;
pub(crate) mod names;
pub(crate) mod numbers;
pub(crate) mod path;
pub mod select;
pub mod target;
pub mod walk;

pub use lucid_core::catalogue::{Entry, EntryKind, FileTime, Owner};
