//! What each failure of an op is on the wire: the only such table. Handlers reach it by `?`.

use axum::http::HeaderName;
use lucid_api::headers::UPLOAD_OFFSET;
use lucid_api::problem::{Documented, ErrorCode};
use lucid_api::v1::verdict::validation;
use lucid_core::digest::ChunkId;
use lucid_core::json::JsonFault;
use lucid_http::jobs::AlreadyRuns;
use lucid_http::reply::Refusal;
use lucid_store::{Damage, StoreError};
use serde_json::Value;

use crate::document::DocumentFault;
use crate::ops::documents::store_document::StoreDocumentError;
use crate::ops::{Clash, OpError};
use crate::reply;

/// Ids that one problem document lists; more would only repeat what the caller sent.
const LISTED_MAX: usize = 10_000;

/// Bytes of a document that a refusal repeats.
const REPEATED_BYTES_MAX: usize = 64 << 10;

/// What a text is that is no JSON which is taken: none at all, or one that says what is not allowed, as a key twice, or
/// a number that is none.
pub(crate) fn json(fault: &JsonFault) -> ErrorCode {
    match fault {
        // A list where an object belongs.
        JsonFault::Unexpected { at: 0, found: '[', .. } => ErrorCode::Invalid,
        JsonFault::Unexpected { found: 'N' | 'I', .. } => ErrorCode::Invalid,
        JsonFault::NotUtf8 { .. } | JsonFault::Ended | JsonFault::Unexpected { .. } => {
            ErrorCode::Malformed
        }
        _ => ErrorCode::Invalid,
    }
}

/// Why a document was not stored: one that contradicts what is stored comes back with it.
pub(crate) fn unstored(error: StoreDocumentError, submitted: &str) -> Refusal {
    let detail = error.to_string();
    match error {
        StoreDocumentError::Op(error) => error.into(),
        // Said twice in one object, or no number of JSON: it can be read, and is not allowed.
        StoreDocumentError::Document(DocumentFault::Block(verdict)) => {
            let validation = serde_json::to_value(validation(&verdict)).unwrap_or_default();
            Refusal::new(ErrorCode::Invalid, detail).with("validation", validation)
        }
        StoreDocumentError::Document(DocumentFault::Json(fault)) => {
            Refusal::new(json(&fault), detail)
        }
        StoreDocumentError::Document(_) => Refusal::new(ErrorCode::Invalid, detail),
        StoreDocumentError::Conflict { stored, .. } => {
            let refusal = Refusal::new(ErrorCode::Exists, detail);
            let texts = [("stored", stored.as_str()), ("submitted", submitted)];
            texts.into_iter().fold(refusal, |refusal, (name, text)| {
                let end = text.floor_char_boundary(REPEATED_BYTES_MAX);
                refusal.with(name, text.get(..end).unwrap_or_default())
            })
        }
    }
}

impl From<OpError> for Refusal {
    fn from(error: OpError) -> Self {
        let detail = error.to_string();
        match error {
            OpError::NoSession(_) | OpError::NoFile { .. } | OpError::NoDocument { .. } => {
                Self::new(ErrorCode::NotFound, detail)
            }
            // The caller gets the tombstone that stands in the session's place.
            OpError::Removed(row) => Self::new(ErrorCode::Gone, detail)
                .with("tombstone", serde_json::json!(reply::tombstone(&row))),
            OpError::Reserved(_) | OpError::OfLog(_) => Self::new(ErrorCode::Forbidden, detail),
            OpError::Held { reason, .. } => {
                Self::new(ErrorCode::Locked, detail).with("reason", reason)
            }
            OpError::Retained { until, .. } => {
                Self::new(ErrorCode::Locked, detail).with("retain_until", until.to_string())
            }
            OpError::NoChunks(ids) => {
                Self::new(ErrorCode::NotFound, detail).with("unknown", listed(&ids))
            }
            OpError::NoChunk(_) => {
                Self::new(ErrorCode::NotFound, detail).documented(Documented::NO_CHUNK)
            }
            OpError::NoTree(_) => Self::new(ErrorCode::NotFound, detail),
            OpError::UnknownChunks(names) => {
                let named: Vec<Value> =
                    names.into_iter().take(LISTED_MAX).map(Value::from).collect();
                Self::new(ErrorCode::NotFound, detail).with("unknown", named)
            }
            OpError::Gaps { gaps, .. } => {
                let gaps: Vec<Value> =
                    gaps.into_iter().map(|(from, to)| Value::from(vec![from, to])).collect();
                Self::new(ErrorCode::Missing, detail).with("gaps", gaps)
            }
            OpError::TooLarge(_) => Self::new(ErrorCode::TooLarge, detail),
            OpError::Missing(ids) => {
                Self::new(ErrorCode::Missing, detail).with("missing", listed(&ids))
            }
            OpError::Invalid(_) => Self::new(ErrorCode::Invalid, detail),
            OpError::Conflict(clash, _) => clashing(clash, detail),
            OpError::Offset { current, .. } => Self::new(ErrorCode::Offset, detail)
                .with("offset", current)
                .header(HeaderName::from_static(UPLOAD_OFFSET), current),
            OpError::Full(_) => Self::new(ErrorCode::Full, detail).documented(Documented::NO_ROOM),
            OpError::Store(StoreError::Damaged(damage)) => damaged(&damage),
            OpError::Unsound(why) => {
                tracing::error!(why, "what is stored contradicts itself");
                Self::new(ErrorCode::Damaged, detail).with("unsound", true)
            }
            OpError::Store(error) => failed(&error),
            OpError::Unwritten(_) => {
                tracing::error!(error = %detail, "the store does not write");
                Self::new(ErrorCode::Unavailable, detail).documented(Documented::WRITE_FAILED)
            }
            OpError::Broken(_) | OpError::Unfinished(_) => {
                tracing::error!(error = %detail, "the store does not write");
                Self::new(ErrorCode::Unavailable, detail)
                    .with("maybe_applied", true)
                    .documented(Documented::WRITE_FAILED)
            }
            OpError::Fault(_) => {
                tracing::error!(error = %detail, "an op failed as it never may");
                Self::new(ErrorCode::Internal, "the service failed; the log has the cause")
            }
            OpError::Overtaken => Self::new(ErrorCode::Running, detail),
            OpError::Busy(_) => Self::new(ErrorCode::Busy, detail),
            OpError::Abandoned | OpError::Away(_) => Self::new(ErrorCode::Unavailable, detail),
        }
    }
}

impl From<AlreadyRuns> for OpError {
    fn from(error: AlreadyRuns) -> Self {
        Self::Conflict(Clash::Running, error.to_string())
    }
}

fn clashing(clash: Clash, detail: String) -> Refusal {
    let code = match clash {
        Clash::Exists => ErrorCode::Exists,
        Clash::Sealed => ErrorCode::Sealed,
        Clash::Unsealed => ErrorCode::Unsealed,
        Clash::WrongLayout => ErrorCode::Kind,
        Clash::Next(index) => {
            return Refusal::new(ErrorCode::Offset, detail).with("next_index", index);
        }
        Clash::Running => ErrorCode::Running,
        Clash::Unclear => ErrorCode::Unclear,
        Clash::Lost => ErrorCode::Damaged,
    };
    Refusal::new(code, detail)
}

fn listed(ids: &[ChunkId]) -> Vec<Value> {
    ids.iter().take(LISTED_MAX).map(|id| Value::from(id.to_string())).collect()
}

/// Damage is named, so that an operator knows what to restore and a caller what to send again.
fn damaged(damage: &Damage) -> Refusal {
    let detail =
        format!("these bytes are damaged in {damage}; the same content sent again heals it");
    Refusal::new(ErrorCode::Damaged, detail)
        .with("file", damage.file.clone())
        .with("offset", damage.offset)
}

fn failed(error: &StoreError) -> Refusal {
    if error.is_full() {
        return Refusal::new(ErrorCode::Full, "the disk is full").documented(Documented::NO_ROOM);
    }
    tracing::error!(%error, "the store failed");
    Refusal::new(ErrorCode::Unavailable, "the store cannot be read now; the log has the cause")
        .documented(Documented::READ_FAILED)
}

#[cfg(test)]
mod tests {
    use lucid_core::digest::SessionRoot;
    use lucid_core::time::Timestamp;

    use super::*;
    use crate::row::TombstoneRow;

    #[test]
    fn each_failure_has_its_code() {
        let damage = Damage::new("chunks/00000001.seg", 7, "the digest differs");
        let full = StoreError::Io {
            context: String::new(),
            reason: String::new(),
            kind: std::io::ErrorKind::StorageFull,
        };
        let over_quota = StoreError::Io {
            context: String::new(),
            reason: String::new(),
            kind: std::io::ErrorKind::QuotaExceeded,
        };
        let removed = TombstoneRow {
            id: "s".parse().unwrap(),
            removed_at: Timestamp::from_micros(0),
            root: SessionRoot::new([1; 32]),
            reason: String::new(),
            text: String::new(),
            chained: None,
        };
        for (error, code) in [
            (OpError::NoSession("s".parse().unwrap()), ErrorCode::NotFound),
            (OpError::Removed(Box::new(removed)), ErrorCode::Gone),
            (
                OpError::Held { session: "s".parse().unwrap(), reason: String::new() },
                ErrorCode::Locked,
            ),
            (
                OpError::Retained {
                    session: "s".parse().unwrap(),
                    until: Timestamp::from_micros(0),
                },
                ErrorCode::Locked,
            ),
            (OpError::NoChunks(vec![]), ErrorCode::NotFound),
            (OpError::Missing(vec![]), ErrorCode::Missing),
            (OpError::Invalid(String::new()), ErrorCode::Invalid),
            (OpError::Offset { current: 1, given: 2 }, ErrorCode::Offset),
            (OpError::Full(String::new()), ErrorCode::Full),
            (OpError::Store(full), ErrorCode::Full),
            (OpError::Store(over_quota), ErrorCode::Full),
            (OpError::Store(StoreError::Damaged(damage)), ErrorCode::Damaged),
            (OpError::Store(StoreError::Index(String::new())), ErrorCode::Unavailable),
            (OpError::Broken(String::new()), ErrorCode::Unavailable),
            (OpError::Unwritten(String::new()), ErrorCode::Unavailable),
            (OpError::Unfinished(String::new()), ErrorCode::Unavailable),
        ] {
            let refusal = Refusal::from(error.clone());
            assert_eq!(refusal.code(), code, "{error:?}");
            let told = format!("{refusal:?}").contains(r#""maybe_applied": Bool(true)"#);
            assert_eq!(told, error.maybe_applied(), "{error:?}");
        }
    }
}
