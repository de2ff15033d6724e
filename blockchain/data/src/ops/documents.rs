//! The verbs of documents: storing, finding, querying, counting, checking.

pub mod count_documents;
pub mod export_documents;
pub mod filter;
pub mod get_document;
mod heads;
pub mod index_items;
pub mod query_chain;
pub mod query_documents;
pub mod store_document;
pub mod sync_documents;
pub mod verify_documents;
