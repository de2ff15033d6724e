//! Blocks: one, or pages of them. A block travels as its own text.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::{Documented, ErrorCode};
use lucid_api::v1::blocks::{
    Block, BlockAccepted, BlockProof, BlockSort, BlockStats, BlockSummary, Blocks, BlocksQuery,
    Headers, HeadersQuery, LogProof, Pagination, Sibling, Side,
};
use lucid_api::v1::sync::{RemoveBlockQuery, RemovedBlock};
use lucid_core::digest::BlockHash;
use lucid_http::extract::{JSON, JsonText, Path, Query};
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::figures::STAGES;
use crate::ops::block_stats::block_stats as read_stats;
use crate::ops::get_block::{
    BlockName, KeptBlock, StoredRecord, Stretch, get_block as find_block, height_by_hash,
};
use crate::ops::list_blocks::{BlockQuery, list_blocks as read_page, list_row};
use crate::ops::prove_transaction::{Proved, prove_transaction};
use crate::ops::remove_block::remove_block as remove;
use crate::ops::submit_block::submit_block as submit;
use crate::problems;
use crate::reply::encode;
use crate::workers::note_stored;
use lucid_api::v1::verdict::validation;

const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;
const HEADERS_DEFAULT: u32 = 100;
const HEADERS_MAX: u32 = 1_000;
/// Of the records that headers are made of; those of large blocks come in fewer.
const HEADERS_BYTES: usize = 16 << 20;

/// Blocks, page by page.
#[utoipa::path(get, path = paths::BLOCKS, tag = "blocks", params(BlocksQuery), responses((status = 200, body = Blocks)))]
pub async fn list_blocks(
    State(app): State<App>,
    Query(query): Query<BlocksQuery>,
) -> Reply<Json<Blocks>> {
    let invalid = |sentence: &str| Err(Refusal::new(ErrorCode::Invalid, sentence));
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return invalid("limit is from 1 to 100");
    }
    let per_page = u64::from(limit);
    let skip = match (query.page, query.skip) {
        (Some(_), Some(_)) => return invalid("page and skip say the same: send one of them"),
        (Some(0), _) => return invalid("pages are counted from 1"),
        (Some(page), None) => (page - 1).saturating_mul(per_page),
        (None, skip) => skip.unwrap_or(0),
    };
    let descending =
        matches!(query.sort.unwrap_or_default(), BlockSort::HeightDesc | BlockSort::TimestampDesc);
    let wanted = BlockQuery {
        from: query.height_from.unwrap_or(0),
        to: query.height_to.unwrap_or(u64::MAX),
        descending,
        skip,
        limit: per_page,
    };
    app.run(move |manager| {
        let below = manager.chain.pruned_below();
        let show = |stored: StoredRecord| {
            let is_pruned = (1..below).contains(&stored.record.entry.index);
            summary(stored, is_pruned)
        };
        let listed = read_page(manager.chain.as_ref(), &wanted, show).map_err(problems::store)?;
        Ok(Json(Blocks {
            blocks: listed.items,
            pagination: Pagination {
                page: wanted.skip / per_page + 1,
                limit,
                total: listed.total,
                pages: listed.total.div_ceil(per_page),
            },
        }))
    })
    .await
}

/// The headers of blocks in a row, in the order of heights.
#[utoipa::path(get, path = paths::BLOCKS_HEADERS, tag = "blocks", params(HeadersQuery), responses((status = 200, body = Headers)))]
pub async fn list_headers(
    State(app): State<App>,
    Query(query): Query<HeadersQuery>,
) -> Reply<Response> {
    let limit = query.limit.unwrap_or(HEADERS_DEFAULT);
    if !(1..=HEADERS_MAX).contains(&limit) {
        let sentence = format!("limit is from 1 to {HEADERS_MAX}");
        return Err(Refusal::new(ErrorCode::Invalid, sentence));
    }
    let text = app.run_large(move |manager| {
        let chain = manager.chain.as_ref();
        let (from, blocks) = (query.start_height, limit as usize);
        let below = chain.pruned_below();
        let headers = list_row(chain, Stretch { from, blocks, bytes: HEADERS_BYTES }, |stored| {
            let is_pruned = (1..below).contains(&stored.record.entry.index);
            summary(stored, is_pruned)
        });
        encode(&Headers { headers: headers.map_err(problems::store)? })
    });
    Ok(([(CONTENT_TYPE, JSON)], text.await?).into_response())
}

/// Blocks in numbers.
#[utoipa::path(get, path = paths::BLOCKS_STATS, tag = "blocks", responses((status = 200, body = BlockStats)))]
pub async fn get_stats(State(app): State<App>) -> Reply<Json<BlockStats>> {
    app.run(|manager| {
        let stats = read_stats(manager.chain.as_ref()).map_err(problems::store)?;
        Ok(Json(BlockStats {
            total_blocks: stats.blocks,
            latest_height: stats.blocks.saturating_sub(1),
            total_transactions: stats.transactions,
            average_block_time: stats.block_seconds,
            average_block_size: stats
                .text_bytes
                .map(|bytes| bytes as f64 / stats.blocks.max(1) as f64),
            storage_size: stats.stored_bytes,
            pruned_below: stats.pruned_below,
            damage: stats.damage,
        }))
    })
    .await
}

/// The way from a transaction to the roots of its block.
#[utoipa::path(get, path = paths::BLOCK_PROOF, tag = "blocks", params(("index" = String, Path), ("tx_id" = String, Path)), responses((status = 200, body = BlockProof), (status = 404)))]
pub async fn get_block_proof(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
) -> Reply<Json<BlockProof>> {
    let name = named(&name)?;
    app.look_up(move |manager| {
        let chain = manager.chain.as_ref();
        let height = match name {
            BlockName::Hash(hash) => chain.height_of(&hash).map_err(problems::store)?,
            BlockName::Height(height) => Some(height),
            BlockName::Latest => None,
        };
        let Some(height) = height else { return Err(unknown(name)) };
        let proved = prove_transaction(chain, height, &id).map_err(problems::store)?;
        let Some(proved) = proved else {
            let tip = chain.tip().map_err(problems::store)?;
            if tip.is_none_or(|tip| height > tip.height) {
                return Err(unknown(name));
            }
            let sentence = format!("block {height} has no transaction {id:?}");
            return Err(Refusal::new(ErrorCode::NotFound, sentence));
        };
        Ok(Json(proof(id, proved)))
    })
    .await
}

fn proof(tx_id: String, proved: Proved) -> BlockProof {
    let side = |level: usize| match (proved.position >> level) & 1 {
        0 => Side::Right,
        _ => Side::Left,
    };
    let steps = proved.path.iter().enumerate();
    BlockProof {
        tx_id,
        leaf_hash: proved.digests.hash,
        leaf_index: proved.position as u64,
        leaf_count: proved.count as u64,
        path: steps.map(|(level, hash)| Sibling { hash: *hash, position: side(level) }).collect(),
        merkle_root: proved.entry.merkle_root,
        block_hash: proved.entry.hash,
        block_index: proved.entry.index,
        log: LogProof {
            leaf_hash: proved.digests.leaf,
            path: proved.log_path,
            root: proved.entry.log_root,
        },
        entry: proved.entry.text(),
    }
}

fn summary(stored: StoredRecord, pruned: bool) -> BlockSummary {
    let entry = stored.record.entry;
    BlockSummary {
        block_id: entry.hash,
        index: entry.index,
        height: entry.index,
        hash: entry.hash,
        timestamp: entry.timestamp,
        previous_hash: entry.previous_hash,
        merkle_root: entry.merkle_root,
        nonce: entry.nonce,
        transaction_count: entry.transaction_count,
        size_bytes: stored.size_bytes,
        producer: stored.record.producer.map(|key| key.to_string()),
        pruned,
    }
}

/// Takes a block that follows the newest one.
#[utoipa::path(post, path = paths::BLOCKS, tag = "blocks", request_body = Block, responses((status = 201, body = BlockAccepted), (status = 200, body = BlockAccepted, description = "it was there already"), (status = 409, description = "it does not follow the newest block, or blocks are taken elsewhere"), (status = 422, description = "it breaks a rule")))]
pub async fn submit_block(
    State(app): State<App>,
    JsonText(text): JsonText,
) -> Reply<(StatusCode, Json<BlockAccepted>)> {
    app.run(move |manager| {
        let (vault, chain) = (&manager.vault, manager.chain.as_ref());
        let submitted = STAGES
            .run("take", || {
                submit(
                    vault,
                    chain,
                    &manager.producing,
                    manager.key.public(),
                    manager.clock.now(),
                    text.as_bytes(),
                )
            })
            .map_err(problems::submit_block)?;
        if submitted.is_new {
            let transactions = submitted.verdict.coverage.transactions;
            note_stored(submitted.at.height, &submitted.at.hash, transactions);
        }
        let status = if submitted.is_new { StatusCode::CREATED } else { StatusCode::OK };
        let accepted = BlockAccepted {
            accepted: true,
            index: submitted.at.height,
            hash: submitted.at.hash,
            validation: validation(&submitted.verdict),
        };
        Ok((status, Json(accepted)))
    })
    .await
}

/// One block, by index or hash.
#[utoipa::path(get, path = paths::BLOCK, tag = "blocks", params(("index" = String, Path, description = "a height in plain digits, or a hash of 64 hex digits")), responses((status = 200, body = Block), (status = 404)))]
pub async fn get_block(State(app): State<App>, Path(name): Path<String>) -> Reply<Response> {
    answer(app, named(&name)?).await
}

/// The newest block.
#[utoipa::path(get, path = paths::BLOCK_LATEST, tag = "blocks", responses((status = 200, body = Block), (status = 404)))]
pub async fn get_latest_block(State(app): State<App>) -> Reply<Response> {
    answer(app, BlockName::Latest).await
}

/// One block, by height.
#[utoipa::path(get, path = paths::BLOCK_BY_HEIGHT, tag = "blocks", params(("height" = u64, Path)), responses((status = 200, body = Block), (status = 404)))]
pub async fn get_block_by_height(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Reply<Response> {
    answer(app, BlockName::Height(height(&name)?)).await
}

/// One block, by hash.
#[utoipa::path(get, path = paths::BLOCK_BY_HASH, tag = "blocks", params(("hash" = String, Path)), responses((status = 200, body = Block), (status = 404)))]
pub async fn get_block_by_hash(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Reply<Response> {
    let hash = name
        .parse()
        .map_err(|_| Refusal::new(ErrorCode::Invalid, "a hash is 64 lower-case hex digits"))?;
    answer(app, BlockName::Hash(hash)).await
}

fn named(text: &str) -> Reply<BlockName> {
    Ok(match text.parse::<BlockHash>() {
        Ok(hash) => BlockName::Hash(hash),
        Err(_) => BlockName::Height(height(text)?),
    })
}

fn height(text: &str) -> Reply<u64> {
    // `+1` would parse too.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        Refusal::new(
            ErrorCode::Invalid,
            "a block is named by its height in plain digits, or its hash",
        )
        .documented(Documented::NO_HEIGHT)
    })
}

async fn answer(app: App, name: BlockName) -> Reply<Response> {
    let text = app
        .run_large(move |manager| {
            let chain = manager.chain.as_ref();
            let unread = |error| match height_by_hash(chain, name) {
                Some(height) => problems::store(error).with("height", height),
                None => problems::store(error),
            };
            match find_block(chain, name).map_err(unread)? {
                Some(KeptBlock::Whole(block)) => Ok(block.to_json_text().into_bytes()),
                Some(KeptBlock::Pruned(stored)) => Err(pruned(stored)),
                None => Err(unknown(name)),
            }
        })
        .await?;
    Ok(([(CONTENT_TYPE, JSON)], text).into_response())
}

fn unknown(name: BlockName) -> Refusal {
    let sentence = match name {
        BlockName::Height(height) => format!("there is no block at height {height}"),
        BlockName::Hash(hash) => format!("there is no block {hash}"),
        BlockName::Latest => "the chain has no blocks yet".to_owned(),
    };
    Refusal::new(ErrorCode::NotFound, sentence).documented(Documented::NO_BLOCK)
}

/// The transactions are gone on purpose; the rest of the block comes along.
fn pruned(stored: StoredRecord) -> Refusal {
    let sentence = format!(
        "the transactions of block {} were pruned; its header is in the details",
        stored.record.entry.index
    );
    let header = serde_json::to_value(summary(stored, true)).unwrap_or_default();
    Refusal::new(ErrorCode::Gone, sentence).with("header", header)
}

/// Removes the newest tentative block of a follower. What is committed is final.
#[utoipa::path(delete, path = paths::BLOCK, tag = "blocks", params(("index" = u64, Path), RemoveBlockQuery), responses(
    (status = 200, body = RemovedBlock), (status = 403, description = "the first block"), (status = 404),
    (status = 409, description = "it is final, or not the newest one, or has another hash"),
))]
pub async fn remove_block(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<RemoveBlockQuery>,
) -> Reply<Json<RemovedBlock>> {
    let height = height(&name)?;
    app.run(move |manager| {
        let hash = remove(manager.chain.as_ref(), &manager.staging, height, query.confirm)
            .map_err(problems::remove_block)?;
        tracing::info!(block.height = height, block.hash = %hash, "a tentative block was removed");
        Ok(Json(RemovedBlock { removed: true, index: height, hash }))
    })
    .await
}
