//! Making a block now.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use lucid_api::paths;
use lucid_api::problem::ErrorCode;
use lucid_api::v1::blocks::Block;
use lucid_api::v1::transactions::{BATCH_MAX, ProposeBlock};
use lucid_core::sign::PublicKey;
use lucid_http::budget::Counted;
use lucid_http::extract::JsonOrNone;
use lucid_http::reply::{Refusal, Reply};

use crate::app::App;
use crate::ops::get_block::{BlockName, KeptBlock, get_block};
use crate::ops::produce_block::ProducedBlock;
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
    // A request that is refused for want of a place has made no block.
    let place = app.large_place().await?;
    let (block, text, _place) = app
        .run(move |manager| {
            let (vault, chain) = (&manager.vault, manager.chain.as_ref());
            let texts: Vec<&[u8]> = transactions.iter().map(|text| text.get().as_bytes()).collect();
            let locks = (&manager.admissions, &manager.producing);
            let made =
                propose(vault, chain, locks, &manager.key, producer, manager.clock.now(), &texts);
            let (block, produced) = made.map_err(problems::propose)?;
            workers::note_produced(&produced);
            let stored = get_block(chain, BlockName::Height(block.height));
            let stored = stored.map_err(|error| unread(&block, &error.to_string()))?;
            let whole = stored.and_then(KeptBlock::whole);
            let whole = whole.ok_or_else(|| unread(&block, "it is not there any more"))?;
            Ok((block, whole.to_json_text().into_bytes(), place))
        })
        .await?;
    let text = app.until_sent(text).await.map_err(|refusal| unread(&block, refusal.detail()))?;
    let kind = [(CONTENT_TYPE, "application/json")];
    Ok((StatusCode::CREATED, Extension(Counted), kind, text).into_response())
}

/// Says why a block that was produced cannot be answered with. It stays in the chain.
fn unread(block: &ProducedBlock, why: &str) -> Refusal {
    let detail = format!("block {} was made, and cannot be answered with: {why}", block.height);
    let refusal = Refusal::new(ErrorCode::Internal, detail);
    refusal.with("index", block.height).with("hash", block.hash.to_string())
}
