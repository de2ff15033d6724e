//! The embedded back-end: everything is kept in the files of one folder.

pub mod audit;
pub mod chain;
pub mod descriptors;
pub mod disk;
pub mod folder;
pub mod index;
pub mod log;
pub mod recovery;
pub mod rewrite;
pub mod segment;
pub mod segment_rows;
pub mod watermark;
