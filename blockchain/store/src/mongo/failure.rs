//! What became of a call that failed, as far as that can be told.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::StoreError;
use crate::remote::NoAnswer;

/// The answer to a document whose `_id` is taken.
const DUPLICATE_KEY: i32 = 11_000;
/// Answers that say of a write that it was not done, by their codes: the server looked at it and refused it, or the
/// user, or has no room. All others may come of a write that goes on.
const REFUSALS: [i32; 13] = [2, 8, 9, 13, 14, 18, 20, 59, 72, 121, 8_000, 10_334, 14_031];

/// Why a call was not done, or may not have been.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    /// Nothing was heard.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The driver or the server said why.
    #[error("{}", said(.0))]
    Said(Box<Error>),
}

/// What an error says, without the driver's ornaments.
fn said(error: &Error) -> String {
    match error.kind.as_ref() {
        ErrorKind::Command(error) => error.message.clone(),
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.message.clone(),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => error.message.clone(),
        kind => kind.to_string(),
    }
}

impl Failure {
    /// The code of a server's refusal, but for write-concern errors: these refuse nothing.
    fn code(&self) -> Option<i32> {
        let Self::Said(error) = self else { return None };
        match error.kind.as_ref() {
            ErrorKind::Command(error) => Some(error.code),
            ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
            _ => None,
        }
    }

    /// Whether another document has the `_id`: this one, perhaps, of an earlier try or by a proxy's repeating it.
    pub(super) fn is_duplicate(&self) -> bool {
        self.code() == Some(DUPLICATE_KEY)
    }

    /// Whether the write was surely not done: it was never sent, or the server refused it.
    pub(super) fn surely_not(&self) -> bool {
        let Self::Said(error) = self else { return false };
        match error.kind.as_ref() {
            ErrorKind::ServerSelection { .. }
            | ErrorKind::Authentication { .. }
            | ErrorKind::InvalidArgument { .. }
            | ErrorKind::Bson(_) => true,
            _ => self.code().is_some_and(|code| REFUSALS.contains(&code)),
        }
    }

    pub(super) fn is_authentication(&self) -> bool {
        let Self::Said(error) = self else { return false };
        matches!(error.kind.as_ref(), ErrorKind::Authentication { .. })
            || matches!(self.code(), Some(13 | 18))
    }

    /// As the answer of a read.
    pub(super) fn into_store_error(self, context: &str) -> StoreError {
        unanswered(context, self.to_string())
    }

    /// Whether nothing was heard of the server: the next call would not be answered either.
    pub(super) fn is_away(&self) -> bool {
        let Self::Said(error) = self else { return true };
        matches!(
            error.kind.as_ref(),
            ErrorKind::ServerSelection { .. }
                | ErrorKind::Io(_)
                | ErrorKind::ConnectionPoolCleared { .. }
        )
    }
}

/// That nothing could be had, which may pass.
pub(super) fn unanswered(context: &str, reason: String) -> StoreError {
    let kind = std::io::ErrorKind::NotConnected;
    StoreError::Io { context: context.to_owned(), reason, kind }
}
