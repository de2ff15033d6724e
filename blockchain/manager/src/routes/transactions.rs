//! Transactions: submit one, ask where it is, and take its proof along.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::transactions::{
    TransactionAccepted, TransactionProof, TransactionState, TransactionStatus,
};
use lucid_core::transaction::Transaction;
use lucid_http::extract::{JsonText, Path};
use lucid_http::reply::{Refusal, Reply};
use serde_json::value::RawValue;

use crate::app::App;
use crate::clock::now;
use crate::limits::POOL_SEAL_AT;
use crate::ops::anchor_proof::{AnchorProof, anchor_proof};
use crate::ops::get_transaction::{Found, Status, get_transaction as find_transaction};
use crate::ops::submit_transaction::submit_transaction as submit;
use crate::{facts, problems};

/// Takes a transaction in. 202 means that it is durable; it is committed with its block.
#[utoipa::path(post, path = paths::TRANSACTIONS, tag = "transactions", request_body = Object, responses(
    (status = 202, body = TransactionAccepted), (status = 200, body = TransactionAccepted, description = "the same transaction was accepted before"),
))]
pub async fn submit_transaction(
    State(app): State<App>,
    JsonText(text): JsonText,
) -> Reply<(StatusCode, Json<TransactionAccepted>)> {
    let (submitted, waiting) = app
        .run(move |manager| {
            let (vault, chain) = (&manager.vault, manager.chain.as_ref());
            let submitted = submit(vault, chain, &manager.admissions, now(), text.as_bytes());
            let submitted = submitted.map_err(problems::submit)?;
            let pool = facts::pool(vault.index()).map_err(problems::store)?;
            Ok((submitted, pool.transactions))
        })
        .await?;
    if waiting >= POOL_SEAL_AT {
        app.pool_is_full().notify_one();
    }
    let status = if submitted.is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(accepted(submitted.found))))
}

/// Where a transaction is.
#[utoipa::path(get, path = paths::TRANSACTION, tag = "transactions", params(("tx_id" = String, Path)), responses((status = 200, body = TransactionState), (status = 404)))]
pub async fn get_transaction(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Reply<Json<TransactionState>> {
    let found = look_up(&app, id.clone()).await?;
    found.map(|found| Json(state(found))).ok_or_else(|| unknown(&id))
}

/// What proves a transaction without this service, once it is in a block.
#[utoipa::path(get, path = paths::TRANSACTION_PROOF, tag = "transactions", params(("tx_id" = String, Path)), responses((status = 200, body = TransactionProof), (status = 404)))]
pub async fn get_proof(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Reply<Json<TransactionProof>> {
    let named = id.clone();
    let found = app
        .run(move |manager| anchor_proof(manager.chain.as_ref(), &named).map_err(problems::store))
        .await?;
    if let Some(found) = found {
        return Ok(Json(proof(found)));
    }
    Err(match look_up(&app, id.clone()).await? {
        None => unknown(&id),
        Some(_) => Refusal::new(ErrorCode::NotFound, format!("transaction {id:?} is in no block")),
    })
}

async fn look_up(app: &App, id: String) -> Reply<Option<Found>> {
    app.run(move |manager| {
        find_transaction(&manager.vault, manager.chain.as_ref(), &id).map_err(problems::store)
    })
    .await
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no transaction {id:?}"))
}

fn accepted(found: Found) -> TransactionAccepted {
    let (status, confirmation_time, block_height) = match found.status {
        Status::Pending => (TransactionStatus::Pending, None, None),
        Status::Confirmed { height, at, .. } => {
            (TransactionStatus::Confirmed, Some(at), Some(height))
        }
        Status::Failed { .. } => (TransactionStatus::Failed, None, None),
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

fn state(found: Found) -> TransactionState {
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
        Status::Pending => {}
        Status::Confirmed { height, hash, position, at } => {
            state.status = TransactionStatus::Confirmed;
            state.confirmed_at = Some(at);
            state.block_height = Some(height);
            state.block_hash = Some(hash);
            state.transaction_index = Some(u64::from(position));
        }
        Status::Failed { reason, .. } => {
            state.status = TransactionStatus::Failed;
            state.reason = Some(reason);
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
