//! Sessions: how they begin, grow, end, are read and listed, move to another store, and go.

pub mod add_references;
pub mod append_stream;
pub mod chosen;
pub mod compare_sessions;
pub mod count_sessions;
pub mod create_session;
pub mod export_session;
pub mod find_files;
pub mod follow_session;
pub mod fresh_id;
pub mod get_session;
pub mod hold_session;
pub mod import_session;
pub mod list_sessions;
pub mod list_tombstones;
pub(crate) mod make_timeline;
pub mod read_session;
pub mod read_timeline;
pub mod remove_session;
pub mod seal_session;
pub mod weigh_sessions;
pub mod write_tar;
