//! The whole API as one table. What every service has (`/`, health, docs, metrics) the porch adds.

mod anchoring;
mod blocks;
mod chain;
mod maintenance;
mod propose;
mod room;
mod runs;
mod status;
mod sync;
mod transactions;
mod validation;

use axum::http::Method;
use lucid_http::limits::{Answer, Limits};
use lucid_http::table;
use lucid_http::table::{RouteRow, Wanted};
use utoipa_axum::router::OpenApiRouter;

use self::room::refused_without_room;
use crate::app::App;

/// Routes that are told little and take as long as the chain is. One of each runs at a time.
const UNHURRIED: Limits = Limits { answer: Answer::Lasting, ..Limits::new(64 << 10, 30, 16) };
/// Routes that take one block, or a batch of transactions: read into canonical texts, in which a letter may
/// take three times its bytes. And the list of blocks, whose records may take as long to read.
const HEAVY: Limits = Limits::new(32 << 20, 120, 8);

/// Every route, within its limits.
pub fn routes(app: App) -> OpenApiRouter {
    let rows = rows().into_iter().map(|row| refused_without_room(row, &app));
    table::routes(rows.collect()).with_state(app)
}

/// Who may ask for which route.
pub fn access() -> Vec<(Method, &'static str, Wanted)> {
    rows().into_iter().map(|row| (row.method, row.path, row.wanted)).collect()
}

#[rustfmt::skip]
fn rows() -> Vec<RouteRow<App>> {
    const ORDINARY: Limits = Limits::ORDINARY;
    const LASTING: Limits = Limits::LASTING;
    table![
        GET    STATUS               status::get_status,               ORDINARY,  Verify;
        GET    BLOCKS               blocks::list_blocks,              HEAVY,     Verify;
        POST   BLOCKS               blocks::submit_block,             HEAVY,     Administer;
        GET    BLOCKS_HEADERS       blocks::list_headers,             ORDINARY,  Verify;
        GET    BLOCKS_STATS         blocks::get_stats,                ORDINARY,  Verify;
        GET    BLOCK_LATEST         blocks::get_latest_block,         ORDINARY,  Verify;
        GET    BLOCK_BY_HEIGHT      blocks::get_block_by_height,      ORDINARY,  Verify;
        GET    BLOCK_BY_HASH        blocks::get_block_by_hash,        ORDINARY,  Verify;
        GET    BLOCK                blocks::get_block,                ORDINARY,  Verify;
        DELETE BLOCK                blocks::remove_block,             ORDINARY,  Administer;
        GET    BLOCK_PROOF          blocks::get_block_proof,          ORDINARY,  Verify;
        GET    BLOCKS_HEADS         runs::get_heads,                  ORDINARY,  Verify;
        GET    BLOCKS_BODIES        runs::get_bodies,                 ORDINARY,  Verify;
        POST   BLOCKS_PROPOSE       propose::propose_block,           HEAVY,     Administer;
        POST   BLOCKS_VALIDATE      validation::validate_block,       HEAVY,     Verify;
        POST   VALIDATION_BLOCK     validation::validate_block_alias, HEAVY,     Verify;
        GET    VALIDATION_CHAIN     validation::get_validation,       ORDINARY,  Verify;
        POST   VALIDATION_CHAIN     validation::validate_chain,       UNHURRIED, Verify;
        GET    VALIDATION_RULES     validation::get_rules,            ORDINARY,  Verify;
        POST   TRANSACTIONS         transactions::submit_transaction, ORDINARY,  Write;
        POST   TRANSACTIONS_BATCH   transactions::submit_batch,       HEAVY,     Write;
        GET    TRANSACTIONS_PENDING transactions::list_pending,       ORDINARY,  Read;
        GET    TRANSACTION          transactions::get_transaction,    ORDINARY,  Verify;
        GET    TRANSACTION_PROOF    transactions::get_proof,          ORDINARY,  Verify;
        POST   ANCHORING_SESSION    anchoring::anchor_session,        ORDINARY,  Write;
        GET    ANCHORING_STATUS     anchoring::get_anchoring,         ORDINARY,  Verify;
        POST   ANCHORING_VERIFY     anchoring::verify_anchoring,      ORDINARY,  Verify;
        GET    CHAIN_INFO           chain::get_info,                  ORDINARY,  Verify;
        GET    CHAIN_HEIGHT         chain::get_height,                ORDINARY,  Verify;
        GET    CHAIN_STATUS         chain::get_status,                ORDINARY,  Verify;
        GET    BLOCKCHAIN_STATUS    chain::get_status_alias,          ORDINARY,  Verify;
        GET    BLOCKCHAIN_INFO      chain::get_info_alias,            ORDINARY,  Verify;
        POST   CHAIN_SYNC           sync::sync_now,                   LASTING,   Administer;
        POST   CHAIN_MAINTENANCE    maintenance::maintain_chain,      UNHURRIED, Administer;
    ]
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
            .split_once("<!-- block-manager -->\n")
            .and_then(|(_, rest)| rest.split_once("<!-- end -->"));
        let written = between.map(|(table, _)| table);
        assert_eq!(written, Some(table::who_may_ask(&rows()).as_str()));
    }
}
