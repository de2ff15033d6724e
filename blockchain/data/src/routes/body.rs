//! Bodies that are taken whole: bounded, and within the memory that all of them share.

use axum::http::HeaderMap;
use lucid_api::problem::ErrorCode;
use lucid_http::reply::{Refusal, Reply};
use lucid_http::stream::Upload;

use super::{after_body, content_length};
use crate::app::App;
use crate::budget::Held;

/// Reads a body of at most `most` bytes; a longer one is refused with `too_large`. What it holds of the
/// shared memory is given back when the second value is dropped.
pub async fn take_whole(
    app: &App,
    given: &HeaderMap,
    upload: &mut Upload,
    most: usize,
    too_large: &str,
) -> Reply<(Vec<u8>, Held)> {
    let refuse = || Refusal::new(ErrorCode::TooLarge, too_large);
    let told = content_length(given);
    let length = told.unwrap_or(most);
    if length > most {
        return Err(after_body(upload, refuse()).await);
    }
    // Whoever announces much and sends nothing keeps nobody out.
    let mut next = upload.next().await;
    let held = app.bodies.take(length).await;
    let mut body = Vec::with_capacity(told.unwrap_or_default());
    while let Some(bytes) = next {
        let bytes = bytes?;
        if body.len() + bytes.len() > most {
            return Err(after_body(upload, refuse()).await);
        }
        body.extend_from_slice(&bytes);
        next = upload.next().await;
    }
    Ok((body, held))
}
