//! Why a call failed: the service refused it, the way there failed, or the reply made no sense.

use std::time::Duration;

use reqwest::blocking::Response;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::headers;
use crate::problem::{Documented, ErrorCode};

/// A problem document is believed up to here.
const PROBLEM_BYTES_MAX: u64 = 4 << 20;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The service answered, and said no.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// No answer came.
    #[error("{message}")]
    Transport {
        /// What failed, down to its cause.
        message: String,
        /// Whether the service may have done it all the same.
        maybe_applied: bool,
    },
    /// What is there is not believed to be the service, or speaks TLS in no way that this client does. Nothing was
    /// asked for.
    #[error("{message}")]
    Untrusted {
        /// Why, down to its cause.
        message: String,
    },
    /// An answer came that the API does not promise. The call was carried out.
    #[error("the service's reply cannot be read: {message}")]
    Unreadable {
        /// What is wrong with it.
        message: String,
    },
    /// An answer came that is longer than was allowed. The call was carried out.
    #[error("the reply exceeds {limit} bytes")]
    TooLong {
        /// What was allowed.
        limit: u64,
    },
    /// The call cannot be made at all.
    #[error("{message}")]
    Unsendable {
        /// What is wrong with it.
        message: String,
    },
}

/// What the service said.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{detail} (status {status}, request {request_id})")]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// What kind of refusal; `None` when something in between answered.
    pub code: Option<ErrorCode>,
    /// The code of the documented API (`BM_001`); empty where none came.
    pub documented: String,
    /// One sentence.
    pub detail: String,
    /// What the service's logs have it under.
    pub request_id: String,
    /// What a program may need to go on.
    pub details: Map<String, Value>,
    /// The session's current offset, where the service gave it.
    pub upload_offset: Option<u64>,
    /// How long it asks its caller to stay away.
    pub retry_after: Option<Duration>,
}

impl ClientError {
    pub(super) fn unsendable(message: impl Into<String>) -> Self {
        Self::Unsendable { message: message.into() }
    }

    pub(super) fn unreadable(message: impl Into<String>) -> Self {
        Self::Unreadable { message: message.into() }
    }

    /// A reply that broke off on its way. What was asked for was done.
    pub fn broken_off(error: std::io::Error) -> Self {
        Self::Transport { message: with_causes(&error), maybe_applied: true }
    }

    /// A service that is not called now: the last call failed so, like several before it.
    pub(super) fn left_alone(why: String) -> Self {
        Self::Transport { message: why, maybe_applied: false }
    }

    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        if is_of_tls(&error) && error.is_connect() {
            return Self::Untrusted { message: with_causes(&error) };
        }
        let maybe_applied = !(error.is_connect() || error.is_builder());
        Self::Transport { message: with_causes(&error), maybe_applied }
    }

    /// Reads a problem document; anything else becomes a refusal without a code.
    pub(super) fn from_response(response: Response) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Document {
            detail: String,
            code: String,
            request_id: String,
            error: Envelope,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Envelope {
            code: String,
            details: Map<String, Value>,
        }

        let status = response.status();
        let id = response.headers().get(headers::REQUEST_ID).and_then(|id| id.to_str().ok());
        let request_id = id.unwrap_or_default().to_owned();
        let upload_offset = super::upload_offset(response.headers());
        let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
        let retry_after =
            after.and_then(|after| after.trim().parse().ok()).map(Duration::from_secs);
        let read = super::read(response, PROBLEM_BYTES_MAX);
        let document = read.ok().and_then(|body| serde_json::from_slice::<Document>(&body).ok());
        let document = document.unwrap_or_default();
        let or = |text: String, other: String| if text.is_empty() { other } else { text };
        Self::Refused(Box::new(Refused {
            status: status.as_u16(),
            code: ErrorCode::parse(&document.code),
            documented: document.error.code,
            detail: or(document.detail, status.to_string()),
            request_id: or(document.request_id, request_id),
            details: document.error.details,
            upload_offset,
            retry_after,
        }))
    }

    /// What the service said, if it said something.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// The kind of refusal, if it is one.
    pub fn code(&self) -> Option<ErrorCode> {
        self.refused().and_then(|refused| refused.code)
    }

    /// Whether there is no such thing, which is an answer where things may be absent.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(ErrorCode::NotFound)
    }

    /// Whether the service found what is stored there damaged. Asking again changes nothing, and other things
    /// may be as they were.
    pub fn is_damage(&self) -> bool {
        // Earlier block-managers said so by the documented code alone.
        self.code() == Some(ErrorCode::Damaged)
            || self
                .refused()
                .is_some_and(|refused| refused.documented == Documented::BLOCK_UNREADABLE.as_str())
    }

    /// Whether that damage is of the chain as a whole: of no id that it does not find is it known that it is
    /// not there.
    pub fn is_of_every_id(&self) -> bool {
        let unknown = self.refused().and_then(|refused| refused.details.get("ids_unknown"));
        unknown.is_some_and(|unknown| unknown == true)
    }

    /// Whether the service may have carried the call out in spite of the error.
    pub fn maybe_applied(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.status >= 500,
            Self::Transport { maybe_applied, .. } => *maybe_applied,
            Self::Unreadable { .. } | Self::TooLong { .. } => true,
            Self::Unsendable { .. } | Self::Untrusted { .. } => false,
        }
    }

    /// Whether no answer came, or not all of it.
    pub(super) fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Transport { .. })
    }

    /// Whether no byte of the call reached the service.
    pub(super) fn surely_not_applied(&self) -> bool {
        matches!(self, Self::Transport { maybe_applied: false, .. })
    }

    /// Whether the next attempt may fare better. A full store is not better in a minute.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(refused) => {
                refused.status == 429 || (refused.status >= 500 && refused.status != 507)
            }
            Self::Transport { .. } => true,
            Self::Untrusted { .. }
            | Self::Unreadable { .. }
            | Self::TooLong { .. }
            | Self::Unsendable { .. } => false,
        }
    }
}

/// Whether both ends could not agree on TLS.
fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An error of the system's shows the causes of what it holds, and not that itself.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || held.is_some_and(|held| is_of_tls(held)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error down to its cause.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        message.push_str(&format!(": {deeper}"));
        cause = deeper.source();
    }
    message
}
