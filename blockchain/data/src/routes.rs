//! The whole API of the data-chain as one table.
//!
//! Handlers live one noun a file; each takes a request apart, calls one op on a thread that may block,
//! and words the answer. What goes wrong becomes a problem document in `problems`. Root, health,
//! metrics and documentation are the porch's.

mod anchors;
mod append;
mod audit;
mod chunk;
mod chunk_batches;
mod content;
mod files;
mod find;
mod follow;
mod index;
mod lines;
mod maintenance;
mod manifest;
mod merkle;
mod mirror;
mod proofs;
mod query;
mod reading;
mod removal;
mod room;
mod scrub;
mod sessions;
mod sight;
mod status;
mod storage;
mod sync;
mod usage;
mod verification;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, Method};
use lucid_api::headers::UPLOAD_OFFSET as OFFSET;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::list::{LIMIT_DEFAULT, LIMIT_MAX};
use lucid_core::session::SessionId;
use lucid_http::jobs::Jobs;
use lucid_http::limits::Limits;
use lucid_http::reply::{Refusal, Reply};
use lucid_http::table;
use lucid_http::table::{RouteRow, Wanted};
use utoipa_axum::router::OpenApiRouter;

use self::reading::only_reading;
use self::room::refused_without_room;
use self::sight::kept_to_sight;
use crate::app::App;

/// What handlers are given.
type AppState = State<Arc<App>>;

/// The header that says where a session's next byte goes.
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static(OFFSET);

/// What names the leaves of a tree: the names may be short.
const TREES: Limits = Limits::new(32 << 20, 120, 12);

/// One block, as the block-manager takes it.
const BLOCK: Limits = Limits::new(32 << 20, 120, 8);

/// Every route, within its limits.
pub fn routes(app: Arc<App>) -> OpenApiRouter {
    let rows = rows().into_iter().map(|row| kept_to_sight(refused_without_room(row, &app), &app));
    table::routes(rows.collect()).with_state(app)
}

/// The routes of a command that has the folder, which is `owner`: those that only read, and refusals of all others.
pub fn reading(app: Arc<App>, owner: &Arc<str>) -> OpenApiRouter {
    let rows = rows().into_iter().map(|row| only_reading(kept_to_sight(row, &app), owner));
    table::routes(rows.collect()).with_state(app)
}

/// Who may ask for which route.
pub fn access() -> Vec<(Method, &'static str, Wanted)> {
    rows().into_iter().map(|row| (row.method, row.path, row.wanted)).collect()
}

#[rustfmt::skip]
fn rows() -> Vec<RouteRow<Arc<App>>> {
    const ORDINARY: Limits = Limits::ORDINARY;
    const LARGE: Limits = Limits::LARGE;
    const BATCH: Limits = Limits::BATCH;
    const LASTING: Limits = Limits::LASTING;
    const STREAM: Limits = Limits::STREAM;
    table![
        GET    STATUS               status::get_status,             ORDINARY, Verify;
        GET    DEDUPLICATION_STATS  status::deduplication_stats,    ORDINARY, Read;
        POST   SESSIONS             sessions::create_session,       ORDINARY, Append within;
        GET    SESSIONS             sessions::list_sessions,        ORDINARY, Verify within;
        GET    SESSION              sessions::get_session,          BATCH,    Verify within;
        HEAD   SESSION              sessions::head_session,         BATCH,    Append within;
        DELETE SESSION              removal::remove_session,        BATCH,    Administer within;
        POST   SESSION_REFERENCES   sessions::add_references,       LARGE,    Append within;
        POST   SESSION_APPEND       append::append_stream,          STREAM,   Append within;
        POST   SESSION_SEAL         sessions::seal_session,         BATCH,    Append within;
        PUT    SESSION_HOLD         removal::hold_session,          ORDINARY, Administer within;
        DELETE SESSION_HOLD         removal::release_session,       ORDINARY, Administer within;
        PUT    SESSION_RETENTION    removal::retain_session,        ORDINARY, Administer within;
        GET    TOMBSTONES           removal::list_tombstones,       ORDINARY, Verify within;
        GET    SESSION_MANIFEST     manifest::get_manifest,         ORDINARY, Verify within;
        POST   SESSION_ANCHOR       anchors::anchor_session,        ORDINARY, Append within;
        GET    SESSION_ANCHOR       anchors::get_anchor,            ORDINARY, Verify within;
        GET    SESSION_DATA         content::get_data,              LASTING,  Content within;
        GET    SESSION_FOLLOW       follow::follow_session,         LASTING,  Content within;
        GET    SESSION_FILES        files::list_files,              ORDINARY, Content within;
        GET    SESSION_FILE         files::get_file,                LASTING,  Content within;
        GET    SESSION_TAR          files::get_archive,             LASTING,  Content within;
        GET    FIND                 find::find_files,               LASTING,  Content within;
        GET    USAGE                usage::weigh_sessions,          LASTING,  Verify within;
        GET    SESSION_PROOF        proofs::prove_session,          BATCH,    Verify within;
        GET    SESSION_CHUNK_PROOF  proofs::prove_chunk,            BATCH,    Verify within;
        POST   CHUNKS               chunk::put_chunk,               LARGE,    Append within;
        GET    CHUNKS               chunk::list_chunks,             LARGE,    Content;
        PUT    SESSION_CHUNK        chunk::put_session_chunk,       LARGE,    Append within;
        POST   SESSION_CHUNKS       chunk::add_session_chunk,       LARGE,    Append within;
        GET    SESSION_CHUNKS       chunk::list_session_chunks,     LARGE,    Content within;
        GET    CHUNK                chunk::get_chunk,               LARGE,    Content within;
        DELETE CHUNK                chunk::delete_chunk,            LARGE,    Administer;
        GET    CHUNK_RAW            chunk::get_chunk_raw,           LASTING,  Content within;
        GET    CHUNK_METADATA       chunk::get_chunk_metadata,      ORDINARY, Content within;
        POST   CHUNKS_MISSING       chunk_batches::missing_chunks,  ORDINARY, Append within;
        POST   CHUNKS_BATCH         chunk_batches::store_chunks,    BATCH,    Append within;
        POST   CHUNKS_GET           chunk_batches::get_chunks,      LASTING,  Content within;
        POST   MERKLE_BUILD         merkle::build_tree,             TREES,    Read within;
        GET    MERKLE_TREE          merkle::get_tree,               ORDINARY, Read;
        GET    MERKLE_PROOF         merkle::prove_leaf,             ORDINARY, Read;
        POST   MERKLE_VERIFY        merkle::verify_proof,           ORDINARY, Verify within;
        POST   VERIFY_SESSION       verification::verify_session,   LASTING,  Verify within;
        GET    VERIFY_SESSION       verification::get_verification, ORDINARY, Verify within;
        POST   VERIFY_CHUNK         verification::verify_chunk,     LARGE,    Verify within;
        GET    VERIFY_HISTORY       verification::verify_history,   ORDINARY, Verify;
        GET    SESSION_EXPORT       mirror::export_session,         ORDINARY, Administer;
        POST   SESSION_IMPORT       mirror::import_session,         LARGE,    Administer;
        GET    AUDIT                audit::list_log,                ORDINARY, Audit;
        GET    AUDIT_ENTRIES        audit::list_entries,            LASTING,  Audit;
        GET    AUDIT_SESSION        audit::get_log,                 LASTING,  Audit;
        GET    MAINTENANCE          maintenance::list_maintenance,  ORDINARY, Administer;
        GET    MAINTENANCE_GC       maintenance::get_gc,            ORDINARY, Administer;
        POST   MAINTENANCE_GC       maintenance::collect_garbage,   LASTING,  Administer;
        GET    MAINTENANCE_OPTIMISE maintenance::get_optimise,      ORDINARY, Administer;
        POST   MAINTENANCE_OPTIMISE maintenance::optimise,          LASTING,  Administer;
        POST   MAINTENANCE_RETENTION maintenance::begin_retention,  BATCH,    Administer;
        GET    SCRUB                scrub::get_scrub,               ORDINARY, Administer;
        POST   SCRUB                scrub::begin_scrub,             LASTING,  Administer;
        GET    STORAGE_STATS        storage::get_storage_stats,     ORDINARY, Read;
        POST   STORAGE_BLOCKS       storage::store_block,           BLOCK,    Write;
        GET    STORAGE_BLOCK        storage::get_stored_block,      ORDINARY, Read;
        POST   STORAGE_TRANSACTIONS storage::store_transaction,     ORDINARY, Write;
        GET    STORAGE_TRANSACTION  storage::get_stored_transaction, ORDINARY, Read;
        POST   STORAGE_SESSIONS     storage::store_session,         ORDINARY, Write;
        GET    STORAGE_SESSION      storage::get_stored_session,    ORDINARY, Read;
        GET    STORAGE_SESSION_HISTORY storage::get_session_history, ORDINARY, Read;
        GET    STORAGE_BLOCK_HISTORY   storage::get_block_history,   ORDINARY, Read;
        GET    STORAGE_TRANSACTION_HISTORY storage::get_transaction_history, ORDINARY, Read;
        GET    DATA_BLOCKS          query::list_data_blocks,        LASTING,  Read;
        GET    DATA_TRANSACTIONS    query::list_data_transactions,  LASTING,  Read;
        GET    DATA_SESSIONS        query::list_data_sessions,      LASTING,  Read within;
        GET    QUERY_STATS          query::get_query_stats,         ORDINARY, Read;
        POST   QUERY_BLOCKS         query::query_blocks,            ORDINARY, Read;
        POST   QUERY_TRANSACTIONS   query::query_transactions,      ORDINARY, Read;
        POST   QUERY_SESSIONS       query::query_sessions,          ORDINARY, Read within;
        POST   DATA_INDEX           index::queue,                   ORDINARY, Write;
        GET    INDEX                index::get_index,               ORDINARY, Read;
        GET    INDEX_STATS          index::get_index_stats,         ORDINARY, Read;
        GET    INDEX_ENTRY          index::get_index_entry,         ORDINARY, Read;
        GET    INDEX_DEAD           index::list_dead,               ORDINARY, Administer;
        GET    DATA_SYNC_STATUS     sync::get_sync,                 ORDINARY, Read;
        POST   DATA_SYNC            sync::sync_now,                 ORDINARY, Administer;
        POST   INDEX_DEAD_REPLAY    index::replay_dead,             ORDINARY, Administer;
    ]
}

/// What can be asked before the folder is open.
pub fn starting(jobs: Arc<Jobs>) -> OpenApiRouter {
    let refuse = || async {
        let detail = "the service is starting; /health says how far it is";
        Refusal::new(ErrorCode::Unavailable, detail)
    };
    let rows = table![GET MAINTENANCE maintenance::list_starting, Limits::ORDINARY, Administer;];
    table::routes(rows).fallback(refuse).with_state(jobs)
}

/// Reads a session's id.
fn session_id(text: &str) -> Reply<SessionId> {
    text.parse().map_err(|fault| invalid(format!("{fault}")))
}

/// Refuses what can be read and is not allowed.
fn invalid(sentence: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::Invalid, sentence)
}

/// How many items a page is to have.
fn limit(given: Option<u32>) -> Reply<usize> {
    match given.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit as usize),
        other => Err(invalid(format!("limit is {other}; from 1 to {LIMIT_MAX} is allowed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_the_documentation_says() {
        assert_eq!(table::misdocumented(&rows()), Vec::<String>::new());
    }

    #[test]
    fn the_documents_say_who_may_ask() {
        let text = include_str!("../../../docs/ACCESS.md");
        let between = text
            .split_once("<!-- data-chain -->\n")
            .and_then(|(_, rest)| rest.split_once("<!-- end -->"));
        let written = between.map(|(table, _)| table);
        assert_eq!(written, Some(table::who_may_ask(&rows()).as_str()));
    }
}
