//! Making a block now.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::blocks::Block;
use lucid_api::v1::transactions::{BATCH_MAX, ProposeBlock};
use lucid_core::sign::PublicKey;
use lucid_http::extract::JsonOrNone;
use lucid_http::reply::{Refusal, Reply};
use lucid_store::chain::Kept;

use crate::app::App;
use crate::clock::now;
use crate::ops::propose_block::propose_block as propose;
use crate::{problems, workers};

/// Makes a block of what waits, and of what is sent along; answers with it.
#[utoipa::path(post, path = paths::BLOCKS_PROPOSE, tag = "blocks", request_body = Option<ProposeBlock>, responses((status = 201, body = Block), (status = 409, description = "nothing waits, or the blocks are made elsewhere")))]
pub async fn propose_block(
    State(app): State<App>,
    JsonOrNone(ProposeBlock { transactions, producer }): JsonOrNone<ProposeBlock>,
) -> Reply<Response> {
    if transactions.len() > BATCH_MAX {
        let detail = format!("{} transactions; at most {BATCH_MAX}", transactions.len());
        return Err(Refusal::new(ErrorCode::Invalid, detail));
    }
    let producer = producer.map(|text| text.parse::<PublicKey>()).transpose();
    let producer =
        producer.map_err(|fault| Refusal::new(ErrorCode::Invalid, format!("producer: {fault}")))?;
    let text = app
        .run_large(move |manager| {
            let (vault, chain) = (&manager.vault, manager.chain.as_ref());
            let texts: Vec<&[u8]> = transactions.iter().map(|text| text.get().as_bytes()).collect();
            let locks = (&manager.admissions, &manager.sealing);
            let made = propose(vault, chain, locks, &manager.key, producer, now(), &texts);
            let (block, sealed) = made.map_err(problems::propose)?;
            workers::note_sealed(&sealed);
            // What was sealed stays sealed, whatever reading it again meets.
            let unread = |why: String| {
                let detail = format!("block {} was made, and cannot be read: {why}", block.height);
                let refusal = Refusal::new(ErrorCode::Internal, detail);
                refusal.with("index", block.height).with("hash", block.hash.to_string())
            };
            let stored = chain.block(block.height).map_err(|error| unread(error.to_string()))?;
            let whole = stored.and_then(Kept::whole);
            let whole = whole.ok_or_else(|| unread("it is not there any more".to_owned()))?;
            Ok(whole.to_json_text().into_bytes())
        })
        .await?;
    Ok((StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], text).into_response())
}
