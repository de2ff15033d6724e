//! Transactions: submit one, ask where it is, and take its proof along.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::blocks::Pagination;
use lucid_api::v1::transactions::{
    BATCH_MAX, BatchAccepted, BatchError, NewTransaction, PendingQuery, PendingTransactions,
    SubmitBatch, TransactionAccepted, TransactionProof, TransactionState, TransactionStatus,
};
use lucid_core::block_merkle::transaction_hash;
use lucid_core::transaction::Transaction;
use lucid_http::extract::{JSON, Json as Given, JsonText, Path, Query, RawQuery};
use lucid_http::reply::{Refusal, Reply};
use serde_json::value::RawValue;

use crate::app::App;
use crate::forward::{ask_peer, forward};
use crate::limits::POOL_PRODUCE_AT;
use crate::ops::anchor_proof::{AnchorProof, anchor_proof};
use crate::ops::get_transaction::{
    FoundTransaction, TransactionStage, get_transaction as find_transaction, lost_with,
};
use crate::ops::list_pending::{PAGE_BYTES_MAX, list_pending as pending};
use crate::ops::submit_transaction::{
    submit_transaction as submit, submit_transactions as submit_many,
};
use crate::reply::{encode, moment};
use crate::{fact, problems};

const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;

/// Takes a transaction in. 202 means that it is durable; it is committed with its block.
#[utoipa::path(post, path = paths::TRANSACTIONS, tag = "transactions", request_body = NewTransaction, responses(
    (status = 202, body = TransactionAccepted), (status = 200, body = TransactionAccepted, description = "the same transaction was accepted before"),
))]
pub async fn submit_transaction(
    State(app): State<App>,
    headers: HeaderMap,
    JsonText(text): JsonText,
) -> Reply<Response> {
    if let Some(answer) = forward(&app, &headers, paths::TRANSACTIONS, || text.clone()).await? {
        return Ok(answer);
    }
    let (submitted, waiting) = app
        .run(move |manager| {
            let (vault, chain) = (&manager.vault, manager.chain.as_ref());
            let submitted =
                submit(vault, chain, &manager.admissions, manager.clock.now(), text.as_bytes());
            let submitted = submitted.map_err(problems::submit)?;
            let pool = fact::pool(vault.index()).map_err(problems::store)?;
            Ok((submitted, pool.transactions))
        })
        .await?;
    if waiting >= POOL_PRODUCE_AT {
        app.pool_is_full().notify_one();
    }
    let status = if submitted.is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(accepted(submitted.found))).into_response())
}

/// Takes many transactions in, each on its own. 202 means that those that were taken are durable.
#[utoipa::path(post, path = paths::TRANSACTIONS_BATCH, tag = "transactions", request_body = SubmitBatch, responses((status = 202, body = BatchAccepted)))]
pub async fn submit_batch(
    State(app): State<App>,
    headers: HeaderMap,
    Given(batch): Given<SubmitBatch>,
) -> Reply<Response> {
    let text = || serde_json::to_string(&batch).unwrap_or_default();
    if let Some(answer) = forward(&app, &headers, paths::TRANSACTIONS_BATCH, text).await? {
        return Ok(answer);
    }
    let SubmitBatch { transactions } = batch;
    if !(1..=BATCH_MAX).contains(&transactions.len()) {
        let detail = format!("{} transactions; 1 to {BATCH_MAX} are a batch", transactions.len());
        return Err(Refusal::new(ErrorCode::Invalid, detail));
    }
    let (outcomes, waiting) = app
        .run(move |manager| {
            let (vault, chain) = (&manager.vault, manager.chain.as_ref());
            let texts: Vec<&[u8]> = transactions.iter().map(|text| text.get().as_bytes()).collect();
            let outcomes =
                submit_many(vault, chain, &manager.admissions, manager.clock.now(), &texts);
            let pool = fact::pool(vault.index()).map_err(problems::store)?;
            Ok((outcomes.map_err(problems::commit)?, pool.transactions))
        })
        .await?;
    if waiting >= POOL_PRODUCE_AT {
        app.pool_is_full().notify_one();
    }
    let (mut ids, mut errors) = (Vec::new(), Vec::new());
    for (index, outcome) in (0..).zip(outcomes) {
        match outcome.map_err(problems::submit) {
            Ok(submitted) => ids.push(submitted.found.id),
            Err(refusal) => errors.push(BatchError {
                index,
                code: refusal.code().as_str().to_owned(),
                detail: refusal.detail().to_owned(),
            }),
        }
    }
    let accepted = BatchAccepted {
        batch_id: format!("batch-{}", transaction_hash(&ids.join("\n"))),
        submitted_count: ids.len() as u64,
        failed_count: errors.len() as u64,
        transaction_ids: ids,
        errors,
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// What waits for its block, in the order in which it will be taken.
#[utoipa::path(get, path = paths::TRANSACTIONS_PENDING, tag = "transactions", params(PendingQuery), responses((status = 200, body = PendingTransactions)))]
pub async fn list_pending(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(asked): RawQuery,
    Query(query): Query<PendingQuery>,
) -> Reply<Response> {
    let path = paths::TRANSACTIONS_PENDING;
    if let Some(answer) = ask_peer(&app, &headers, path, "", &asked).await? {
        return Ok(answer);
    }
    let (page, limit) = (query.page.unwrap_or(1), query.limit.unwrap_or(LIMIT_DEFAULT));
    if page == 0 || !(1..=LIMIT_MAX).contains(&limit) {
        let detail = "pages are counted from 1, and limit is from 1 to 100";
        return Err(Refusal::new(ErrorCode::Invalid, detail));
    }
    let skip = (page - 1).saturating_mul(limit.into());
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let found = app
        .run_large(move |manager| {
            let found = pending(&manager.vault, skip, limit as usize).map_err(problems::store)?;
            let found = found.ok_or_else(|| {
                let detail = format!(
                    "the texts of these have over {PAGE_BYTES_MAX} bytes: ask with a smaller limit"
                );
                Refusal::new(ErrorCode::TooLarge, detail)
            })?;
            let pages = found.total.div_ceil(limit.into());
            encode(&PendingTransactions {
                transactions: found.transactions.into_iter().map(state).collect(),
                pagination: Pagination { page, limit, total: found.total, pages },
            })
        })
        .await?;
    Ok(([(CONTENT_TYPE, JSON)], found).into_response())
}

/// Where a transaction is.
#[utoipa::path(get, path = paths::TRANSACTION, tag = "transactions", params(("tx_id" = String, Path)), responses((status = 200, body = TransactionState), (status = 404)))]
pub async fn get_transaction(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Reply<Response> {
    if let Some(found) = look_up(&app, id.clone(), state).await? {
        return Ok(Json(found).into_response());
    }
    // What a follower does not have may wait with its peer.
    let answer = ask_peer(&app, &headers, paths::TRANSACTION, &id, "").await?;
    answer.ok_or_else(|| unknown(&id))
}

/// What proves a transaction without this service, once it is in a block.
#[utoipa::path(get, path = paths::TRANSACTION_PROOF, tag = "transactions", params(("tx_id" = String, Path)), responses((status = 200, body = TransactionProof), (status = 404)))]
pub async fn get_proof(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Reply<Json<TransactionProof>> {
    let named = id.clone();
    let found = app
        .look_up(move |manager| {
            let found = anchor_proof(manager.chain.as_ref(), &named).map_err(problems::store)?;
            Ok(found.map(proof))
        })
        .await?;
    if let Some(found) = found {
        return Ok(Json(found));
    }
    let status = |found: FoundTransaction| (found.status, found.transaction.is_some());
    Err(match look_up(&app, id.clone(), status).await? {
        None => unknown(&id),
        Some((TransactionStage::Confirmed { height, .. }, false)) => {
            let sentence = format!(
                "the text of transaction {id:?} was pruned; what proves it without the text is at \
                 /api/v1/blocks/{height}/proof/{id}"
            );
            Refusal::new(ErrorCode::Gone, sentence).with("block_height", height)
        }
        Some(_) => Refusal::new(ErrorCode::NotFound, format!("transaction {id:?} is in no block")),
    })
}

/// Looks a transaction up, and shows it while its block is in memory.
async fn look_up<T: Send + 'static>(
    app: &App,
    id: String,
    show: impl FnOnce(FoundTransaction) -> T + Send + 'static,
) -> Reply<Option<T>> {
    app.look_up(move |manager| {
        let found = find_transaction(&manager.vault, manager.chain.as_ref(), &id);
        Ok(found.map_err(problems::store)?.map(show))
    })
    .await
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no transaction {id:?}"))
}

fn accepted(found: FoundTransaction) -> TransactionAccepted {
    let (status, confirmation_time, block_height) = match found.status {
        TransactionStage::Pending => (TransactionStatus::Pending, None, None),
        TransactionStage::Confirmed { height, at, .. } => {
            (TransactionStatus::Confirmed, Some(moment(at)), Some(height))
        }
        TransactionStage::Failed { .. } | TransactionStage::Lost { .. } => {
            (TransactionStatus::Failed, None, None)
        }
    };
    // Chained without this pool, it was accepted when its block was.
    let submitted_at = found.submitted_at.map(|at| at.to_string());
    TransactionAccepted {
        tx_id: found.id,
        status,
        submitted_at: submitted_at.or_else(|| confirmation_time.clone()).unwrap_or_default(),
        confirmation_time,
        block_height,
    }
}

fn state(found: FoundTransaction) -> TransactionState {
    let kind = found.transaction.as_ref().and_then(Transaction::kind).map(str::to_owned);
    let text = found.transaction.map(|transaction| transaction.text().to_owned());
    let mut state = TransactionState {
        tx_id: found.id,
        kind,
        data: text.and_then(|text| RawValue::from_string(text).ok()),
        status: TransactionStatus::Pending,
        submitted_at: found.submitted_at.map(|at| at.to_string()),
        confirmed_at: None,
        block_height: None,
        block_hash: None,
        transaction_index: None,
        reason: None,
    };
    match found.status {
        TransactionStage::Pending => {}
        TransactionStage::Confirmed { height, hash, position, at } => {
            state.status = TransactionStatus::Confirmed;
            state.confirmed_at = Some(moment(at));
            state.block_height = Some(height);
            state.block_hash = Some(hash);
            state.transaction_index = Some(u64::from(position));
        }
        TransactionStage::Failed { reason, .. } => {
            state.status = TransactionStatus::Failed;
            state.reason = Some(reason);
        }
        TransactionStage::Lost { height } => {
            state.status = TransactionStatus::Failed;
            state.reason = Some(lost_with(height));
        }
    }
    state
}

fn proof(found: AnchorProof) -> TransactionProof {
    TransactionProof {
        transaction: found.transaction.text().to_owned(),
        position: found.position,
        count: found.count,
        path: found.path,
        merkle_root: found.entry.merkle_root,
        entry: found.entry.text(),
        producer: found.producer,
        signature: found.signature,
        block_index: found.block_index,
        block_hash: found.block_hash,
    }
}
