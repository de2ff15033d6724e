//! What the service has and does, in numbers.

use axum::Json;
use axum::extract::State;
use lucid_api::paths;
use lucid_api::v1::maintenance::JobKind;
use lucid_api::v1::service::Status;
use lucid_http::reply::Reply;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::config::SERVICE;
use crate::ops::chain_info::{ChainFacts, chain_info};
use crate::problems;

/// Counts and uptime.
#[utoipa::path(get, path = paths::STATUS, tag = "service", responses((status = 200, body = Status)))]
pub async fn get_status(State(app): State<App>) -> Reply<Json<Status>> {
    let asked = app.clone();
    let (facts, process, store) = app
        .run(move |manager| {
            let facts = chain_info(&manager.vault, manager.chain.as_ref());
            let export = manager.key_export();
            let export = json!({
                "state": export.state(),
                "verified_at": export.verified_at(),
                "why": export.why(),
            });
            let store = (manager.store_id(), export, App::kept(manager));
            Ok((facts.map_err(problems::store)?, asked.process(), store))
        })
        .await?;
    let mut counts = counts(&facts);
    let (id, export, kept) = store;
    counts.insert("store_id".to_owned(), id.into());
    counts.insert("key_export".to_owned(), export);
    counts.insert("kept".to_owned(), kept);
    if let Some((done, total)) = app.jobs().course(JobKind::Validate) {
        let at = json!({"done_blocks": done, "total_blocks": total});
        counts.insert("chain_validation".to_owned(), at);
    }
    Ok(Json(Status {
        status: app.report().state(),
        service: SERVICE.name.to_owned(),
        version: SERVICE.version.to_owned(),
        uptime_seconds: app.uptime_seconds(),
        process,
        counts,
    }))
}

/// The chain's numbers, as status and chain info show them.
pub(super) fn counts(facts: &ChainFacts) -> Map<String, Value> {
    let numbers = json!({
        "total_blocks": facts.blocks,
        "total_transactions": facts.transactions,
        "pending_transactions": facts.pool.transactions,
        "pending_bytes": facts.pool.bytes,
    });
    let mut numbers = match numbers {
        Value::Object(numbers) => numbers,
        _ => Map::new(),
    };
    if let Some(damage) = &facts.damage {
        numbers.insert("damage".to_owned(), format!("the newest block: {damage}").into());
    }
    numbers
}
