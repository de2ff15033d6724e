//! Bodies that are taken whole: bounded, and within the memory that all of them share.

use axum::http::HeaderMap;
use lucid_api::problem::ErrorCode;
use lucid_http::reply::{Refusal, Reply};
use lucid_http::stream::Upload;

use super::content_length;
use crate::app::App;
use crate::budget::Held;

/// Whoever announces much and sends less than this takes none of the memory from others.
const BEGUN: usize = 64 << 10;

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
        return Err(upload.refuse(refuse()).await);
    }
    let (mut body, mut held) = (Vec::new(), None);
    while let Some(bytes) = upload.next().await {
        let bytes = bytes?;
        let so_far = body.len() + bytes.len();
        if so_far > most {
            return Err(upload.refuse(refuse()).await);
        }
        if held.is_none() && so_far > BEGUN {
            held = Some(app.bodies.take(length).await);
            body.reserve_exact(told.unwrap_or(so_far).saturating_sub(body.len()));
        }
        body.extend_from_slice(&bytes);
    }
    let held = match held {
        Some(held) => held,
        None => app.bodies.take(body.len()).await,
    };
    Ok((body, held))
}
