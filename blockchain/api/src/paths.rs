//! Every path of both services: routers, the API's document and clients have them from here.
//!
//! The templates are those of the routers and of the OpenAPI document. Clients put values in with
//! [`fill`], which percent-encodes them. (Segments of dots alone cannot be encoded; the client
//! refuses to send them.)

use crate::percent;

/// What the service is and where to go next.
pub const ROOT: &str = "/";
/// Component health, answered before start-up is complete.
pub const HEALTH: &str = "/health";
/// The same as [`HEALTH`], for gateways that only forward the API.
pub const HEALTH_V1: &str = "/api/v1/health";
/// Counts and uptime.
pub const STATUS: &str = "/api/v1/status";
/// Prometheus text.
pub const METRICS: &str = "/metrics";
/// The API, for reading.
pub const DOCS: &str = "/docs";
/// The API, for programs.
pub const OPENAPI: &str = "/openapi.json";

/// The prefix under which a gateway forwards data-chain's API unchanged.
pub const DATA_CHAIN_ALIAS: &str = "/api/v1/data-chain";
/// What [`DATA_CHAIN_ALIAS`] stands for.
pub const API_V1: &str = "/api/v1";

/// Sessions: create, list.
pub const SESSIONS: &str = "/api/v1/sessions";
/// One session: read, `HEAD` for its upload offset, remove.
pub const SESSION: &str = "/api/v1/sessions/{session_id}";
/// Bytes onto the end of a live session.
pub const SESSION_APPEND: &str = "/api/v1/sessions/{session_id}/append";
/// Stored chunks onto the end of a session.
pub const SESSION_REFERENCES: &str = "/api/v1/sessions/{session_id}/references";
/// The end of a session.
pub const SESSION_SEAL: &str = "/api/v1/sessions/{session_id}/seal";
/// A session's anchor: submit, read.
pub const SESSION_ANCHOR: &str = "/api/v1/sessions/{session_id}/anchor";
/// A session for another store: everything but its chunks.
pub const SESSION_EXPORT: &str = "/api/v1/sessions/{session_id}/export";
/// A session of another store.
pub const SESSION_IMPORT: &str = "/api/v1/sessions/{session_id}/import";
/// What forbids to remove a session.
pub const SESSION_HOLD: &str = "/api/v1/sessions/{session_id}/hold";
/// Until when a session is kept.
pub const SESSION_RETENTION: &str = "/api/v1/sessions/{session_id}/retention";
/// Sessions that were removed.
pub const TOMBSTONES: &str = "/api/v1/tombstones";
/// Long work on the store, and how far it is.
pub const MAINTENANCE: &str = "/api/v1/maintenance";
/// Collecting garbage: begin, see how far it is.
pub const MAINTENANCE_GC: &str = "/api/v1/maintenance/gc";
/// Packing what is stored more tightly.
pub const MAINTENANCE_OPTIMISE: &str = "/api/v1/maintenance/optimise";
/// What time it is by the chain, before sessions are removed by how old they are.
pub const MAINTENANCE_RETENTION: &str = "/api/v1/maintenance/retention";
/// Reading stored bytes again: begin, see how far it is and what was found.
pub const SCRUB: &str = "/api/v1/scrub";
/// What a sealed session consists of.
pub const SESSION_MANIFEST: &str = "/api/v1/sessions/{session_id}/manifest";
/// A session's content.
pub const SESSION_DATA: &str = "/api/v1/sessions/{session_id}/data";
/// A session's content as it comes, until the session is sealed.
pub const SESSION_FOLLOW: &str = "/api/v1/sessions/{session_id}/follow";
/// The catalogue of an archived folder.
pub const SESSION_FILES: &str = "/api/v1/sessions/{session_id}/files";
/// One file of an archived folder, by its percent-encoded bytes.
pub const SESSION_FILE: &str = "/api/v1/sessions/{session_id}/files/{*path}";
/// An archived folder as a tar stream.
pub const SESSION_TAR: &str = "/api/v1/sessions/{session_id}/archive.tar";
/// Files by their path, in all archived folders.
pub const FIND: &str = "/api/v1/find";
/// What sessions take in the store.
pub const USAGE: &str = "/api/v1/usage";
/// The read log: its sessions, one a day.
pub const AUDIT: &str = "/api/v1/audit";
/// Entries of the read log.
pub const AUDIT_ENTRIES: &str = "/api/v1/audit/entries";
/// One session of the read log, as it is kept.
pub const AUDIT_SESSION: &str = "/api/v1/audit/sessions/{session_id}";
/// A proof bundle.
pub const SESSION_PROOF: &str = "/api/v1/sessions/{session_id}/proof";
/// One chunk's way to the root and into the block, as JSON.
pub const SESSION_CHUNK_PROOF: &str = "/api/v1/sessions/{session_id}/proof/{index}";
/// Reads a session back and compares it with its root; tells how far that is.
pub const VERIFY_SESSION: &str = "/api/v1/verify/session/{session_id}";
/// Reads one chunk back.
pub const VERIFY_CHUNK: &str = "/api/v1/verify/chunk/{chunk_id}";
/// What verifications found.
pub const VERIFY_HISTORY: &str = "/api/v1/verify/history";
/// How much deduplication saves.
pub const DEDUPLICATION_STATS: &str = "/api/v1/deduplication/stats";
/// Builds a tree over chunks.
pub const MERKLE_BUILD: &str = "/api/v1/merkle/build";
/// A tree that was built.
pub const MERKLE_TREE: &str = "/api/v1/merkle/{root_hash}";
/// The way from a leaf of such a tree to its root.
pub const MERKLE_PROOF: &str = "/api/v1/merkle/{root_hash}/proof/{leaf_index}";
/// Checks such a way.
pub const MERKLE_VERIFY: &str = "/api/v1/merkle/verify";
/// Single chunks: put, list.
pub const CHUNKS: &str = "/api/v1/chunks";
/// One chunk, by its hash or by what its session calls it: read, delete.
pub const CHUNK: &str = "/api/v1/chunks/{chunk_id}";
/// What is known of one chunk.
pub const CHUNK_METADATA: &str = "/api/v1/chunks/{chunk_id}/metadata";
/// The chunks of a session: add, list.
pub const SESSION_CHUNKS: &str = "/api/v1/sessions/{session_id}/chunks";
/// One chunk of a session, by its index.
pub const SESSION_CHUNK: &str = "/api/v1/sessions/{session_id}/chunks/{index}";
/// Which chunks would have to be uploaded.
pub const CHUNKS_MISSING: &str = "/api/v1/chunks/missing";
/// Many chunks in, framed.
pub const CHUNKS_BATCH: &str = "/api/v1/chunks/batch";
/// Many chunks out, framed.
pub const CHUNKS_GET: &str = "/api/v1/chunks/get";
/// One chunk's bytes.
pub const CHUNK_RAW: &str = "/api/v1/chunks/{chunk_id}/raw";

/// Documents of blocks, by the parameters of the address.
pub const DATA_BLOCKS: &str = "/api/v1/data/blocks";
/// Documents of transactions.
pub const DATA_TRANSACTIONS: &str = "/api/v1/data/transactions";
/// Documents of sessions.
pub const DATA_SESSIONS: &str = "/api/v1/data/sessions";
/// How much is stored.
pub const STORAGE_STATS: &str = "/api/v1/storage/stats";
/// Blocks are stored here.
pub const STORAGE_BLOCKS: &str = "/api/v1/storage/blocks";
/// A stored block, by its index or hash.
pub const STORAGE_BLOCK: &str = "/api/v1/storage/blocks/{id}";
/// Transactions are stored here.
pub const STORAGE_TRANSACTIONS: &str = "/api/v1/storage/transactions";
/// A stored transaction.
pub const STORAGE_TRANSACTION: &str = "/api/v1/storage/transactions/{id}";
/// Descriptions of sessions are stored here.
pub const STORAGE_SESSIONS: &str = "/api/v1/storage/sessions";
/// A stored description of a session.
pub const STORAGE_SESSION: &str = "/api/v1/storage/sessions/{id}";
/// What a session's document said before.
pub const STORAGE_SESSION_HISTORY: &str = "/api/v1/storage/sessions/{id}/history";
/// What was posted of a block besides its document.
pub const STORAGE_BLOCK_HISTORY: &str = "/api/v1/storage/blocks/{id}/history";
/// What was posted of a transaction besides its document.
pub const STORAGE_TRANSACTION_HISTORY: &str = "/api/v1/storage/transactions/{id}/history";
/// Documents of blocks, by filters in the body.
pub const QUERY_BLOCKS: &str = "/api/v1/query/blocks";
/// Documents of transactions, by filters in the body.
pub const QUERY_TRANSACTIONS: &str = "/api/v1/query/transactions";
/// Documents of sessions, by filters in the body.
pub const QUERY_SESSIONS: &str = "/api/v1/query/sessions";
/// How much is asked.
pub const QUERY_STATS: &str = "/api/v1/query/stats";
/// The queue of the index.
pub const DATA_INDEX: &str = "/api/v1/data/index";
/// The index in numbers, and what is below it.
pub const INDEX: &str = "/api/v1/index";
/// The index in numbers.
pub const INDEX_STATS: &str = "/api/v1/index/stats";
/// What the index has of something.
pub const INDEX_ENTRY: &str = "/api/v1/index/{kind}/{id}";
/// What could not be indexed.
pub const INDEX_DEAD: &str = "/api/v1/index/dead-letters";
/// Has it tried again.
pub const INDEX_DEAD_REPLAY: &str = "/api/v1/index/dead-letters/replay";
/// Has documents taken from the block-manager.
pub const DATA_SYNC: &str = "/api/v1/sync";
/// How that goes.
pub const DATA_SYNC_STATUS: &str = "/api/v1/sync/status";

/// Blocks, page by page.
pub const BLOCKS: &str = "/api/v1/blocks";
/// One block, by index or hash.
pub const BLOCK: &str = "/api/v1/blocks/{index}";
/// The newest block.
pub const BLOCK_LATEST: &str = "/api/v1/blocks/latest";
/// One block, by height.
pub const BLOCK_BY_HEIGHT: &str = "/api/v1/blocks/height/{height}";
/// One block, by hash.
pub const BLOCK_BY_HASH: &str = "/api/v1/blocks/hash/{hash}";
/// Heads of committed blocks in a row, framed.
pub const BLOCKS_HEADS: &str = "/api/v1/blocks/heads";
/// Bodies of committed blocks in a row, framed.
pub const BLOCKS_BODIES: &str = "/api/v1/blocks/bodies";
/// The way from a transaction into its block.
pub const BLOCK_PROOF: &str = "/api/v1/blocks/{index}/proof/{tx_id}";
/// Judges a block without storing it.
pub const BLOCKS_VALIDATE: &str = "/api/v1/blocks/validate";
/// The same as [`BLOCKS_VALIDATE`].
pub const VALIDATION_BLOCK: &str = "/api/v1/validation/block";
/// Judges stored blocks, a range or all of them.
pub const VALIDATION_CHAIN: &str = "/api/v1/validation/chain";
/// The rules a block is judged by.
pub const VALIDATION_RULES: &str = "/api/v1/validation/rules";
/// What the chain is.
pub const CHAIN_INFO: &str = "/api/v1/chain/info";
/// How far the chain is.
pub const CHAIN_HEIGHT: &str = "/api/v1/chain/height";
/// How the chain is, and how synchronisation.
pub const CHAIN_STATUS: &str = "/api/v1/chain/status";
/// The same as [`CHAIN_STATUS`].
pub const BLOCKCHAIN_STATUS: &str = "/api/v1/blockchain/status";
/// The same as [`CHAIN_STATUS`].
pub const BLOCKCHAIN_INFO: &str = "/api/v1/blockchain/info";
/// Asks a follower's peer for blocks now.
pub const CHAIN_SYNC: &str = "/api/v1/chain/sync";
/// Looking after the chain now.
pub const CHAIN_MAINTENANCE: &str = "/api/v1/chain/maintenance";
/// Blocks in numbers.
pub const BLOCKS_STATS: &str = "/api/v1/blocks/stats";
/// The headers of blocks in a row.
pub const BLOCKS_HEADERS: &str = "/api/v1/blocks/headers";
/// Transactions: submit.
pub const TRANSACTIONS: &str = "/api/v1/transactions";
/// One transaction.
pub const TRANSACTION: &str = "/api/v1/transactions/{tx_id}";
/// The way from one transaction into its block.
pub const TRANSACTION_PROOF: &str = "/api/v1/transactions/{tx_id}/proof";

/// Many transactions at once.
pub const TRANSACTIONS_BATCH: &str = "/api/v1/transactions/batch";
/// Transactions that wait for their block.
pub const TRANSACTIONS_PENDING: &str = "/api/v1/transactions/pending";
/// A session's root: anchor it.
pub const ANCHORING_SESSION: &str = "/api/v1/anchoring/session";
/// Where a session's root is.
pub const ANCHORING_STATUS: &str = "/api/v1/anchoring/session/{session_id}";
/// Whether a committed block carries a root.
pub const ANCHORING_VERIFY: &str = "/api/v1/anchoring/verify";
/// Makes a block now.
pub const BLOCKS_PROPOSE: &str = "/api/v1/blocks/propose";

/// Puts percent-encoded `values` in the place of a template's `{..}` parts, in order. Slashes
/// survive only in a `{*..}` part.
pub fn fill(template: &str, values: &[&[u8]]) -> String {
    let mut path = String::with_capacity(template.len() + 32);
    let mut values = values.iter();
    let mut rest = template;
    while let Some((before, placeholder)) = rest.split_once('{') {
        let (name, after) = placeholder.split_once('}').unwrap_or((placeholder, ""));
        path.push_str(before);
        let value = values.next().copied().unwrap_or_default();
        match name.starts_with('*') {
            true => percent::encode_path(value, &mut path),
            false => percent::encode(value, &mut path),
        }
        rest = after;
    }
    path.push_str(rest);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_another_path() {
        assert_eq!(fill(SESSION_SEAL, &[b"a/../b?x"]), "/api/v1/sessions/a%2F..%2Fb%3Fx/seal");
        assert_eq!(
            fill(SESSION_FILE, &[b"s:1", b"dir/f\xff #"]),
            "/api/v1/sessions/s:1/files/dir/f%FF%20%23"
        );
    }
}
