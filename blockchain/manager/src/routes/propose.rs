//! Making a block now.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::transactions::{BATCH_MAX, ProposeBlock};
use lucid_core::sign::PublicKey;
use lucid_http::extract::Whole;
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::clock::now;
use crate::ops::propose_block::propose_block as propose;
use crate::{problems, workers};

/// Makes a block of what waits, and of what is sent along; answers with it.
#[utoipa::path(post, path = paths::BLOCKS_PROPOSE, tag = "blocks", request_body = ProposeBlock, responses((status = 201, body = Object), (status = 409, description = "nothing waits, or the blocks are made elsewhere")))]
pub async fn propose_block(State(app): State<App>, Whole(body): Whole) -> Reply<Response> {
    let ProposeBlock { transactions, producer } = match body.is_empty() {
        true => ProposeBlock::default(),
        false => serde_json::from_slice(&body)
            .map_err(|fault| Refusal::new(ErrorCode::Invalid, fault.to_string()))?,
    };
    if transactions.len() > BATCH_MAX {
        let detail = format!("{} transactions; at most {BATCH_MAX}", transactions.len());
        return Err(Refusal::new(ErrorCode::Invalid, detail));
    }
    let producer = producer.map(|text| text.parse::<PublicKey>()).transpose();
    let producer =
        producer.map_err(|fault| Refusal::new(ErrorCode::Invalid, format!("producer: {fault}")))?;
    let text = app
        .run(move |manager| {
            let (vault, chain) = (&manager.vault, manager.chain.as_ref());
            let texts: Vec<&[u8]> = transactions.iter().map(|text| text.get().as_bytes()).collect();
            let locks = (&manager.admissions, &manager.sealing);
            let made = propose(vault, chain, locks, &manager.key, producer, now(), &texts);
            let (block, sealed) = made.map_err(problems::propose)?;
            workers::note_sealed(&sealed);
            let stored = chain.block(block.height).map_err(problems::store)?;
            let whole = stored.and_then(lucid_store::chain::Kept::whole);
            Ok(whole.map(|block| block.to_json_text()).unwrap_or_default())
        })
        .await?;
    Ok((StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], text).into_response())
}
