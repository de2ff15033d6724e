//! Chunks: how they come in on their own or in bulk, and how single ones are found, read and removed.

pub mod delete_chunk;
pub mod find_chunk;
pub mod list_chunks;
pub mod missing_chunks;
pub mod put_chunk;
pub(crate) mod read_chunks;
pub mod store_chunks;
