//! What became of a call that failed, as far as that can be told.
//!
//! The driver gives most of what a server answers as text. It is read here and nowhere else: the status, and the code
//! and message that S3 puts into the body. What is not understood is taken for something that may pass, so the worst
//! that another wording does is that a call is tried again until its deadline.

use std::error::Error;
use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it comes to.
    pub kind: Kind,
    said: String,
}

/// What a failure comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such object.
    Absent,
    /// There is no such bucket.
    NoBucket,
    /// The object ends before what was asked for.
    Beyond,
    /// The access key is not known.
    WrongKey,
    /// The secret key is another one.
    WrongSecret,
    /// The key may not do this.
    Forbidden,
    /// There is no room left.
    Full,
    /// It was refused for good.
    Refused,
    /// It was asked for too often: later it may work.
    Throttled,
    /// No connection: it surely did not happen.
    Unreachable,
    /// No answer came in time, so it may have happened.
    NoAnswer,
    /// Something else went wrong on the way, so it may have happened.
    Unclear,
}

impl Failure {
    /// Reads what the driver says.
    pub fn of(error: &object_store::Error) -> Self {
        let text = whole(error);
        let code = between(&text, "<Code>", "</Code>");
        let said = match (status(&text), code) {
            (_, Some(code)) => match between(&text, "<Message>", "</Message>") {
                Some(message) if !message.is_empty() => format!("{code}: {message}"),
                _ => code.to_owned(),
            },
            (Some(status), None) => format!("it answered with status {status}"),
            (None, None) => innermost(error),
        };
        let kind =
            code.and_then(|code| of_code(code, &said)).unwrap_or_else(|| of_rest(error, &text));
        Self { kind, said }
    }

    /// Nothing was heard for so long.
    pub fn no_answer(within: Duration) -> Self {
        Self { kind: Kind::NoAnswer, said: format!("no answer came within {within:?}") }
    }

    /// What was told is not what had been asked for.
    pub fn unclear(said: impl Into<String>) -> Self {
        Self { kind: Kind::Unclear, said: said.into() }
    }

    /// Whether the same call may work later, so that it is worth to be tried again.
    pub fn may_pass(&self) -> bool {
        let passes = [Kind::Throttled, Kind::Unreachable, Kind::NoAnswer, Kind::Unclear];
        passes.contains(&self.kind)
    }

    /// As the system would say it. No kind of it means that a folder may not be written to.
    pub fn into_io(self) -> io::Error {
        let kind = match self.kind {
            Kind::Absent => io::ErrorKind::NotFound,
            Kind::Full => io::ErrorKind::StorageFull,
            Kind::NoAnswer => io::ErrorKind::TimedOut,
            Kind::Unreachable => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self.to_string())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Absent => "the object is not there now",
            Kind::NoBucket => "there is no such bucket",
            Kind::Beyond => "the object ends before that",
            Kind::WrongKey => "the access key is not known there",
            Kind::WrongSecret => "the secret key does not belong to the access key",
            Kind::Forbidden => "the access key may not do this",
            Kind::Full => "there is no room",
            Kind::Refused => "it was refused",
            Kind::Throttled => "it asks for fewer requests",
            Kind::Unreachable => "it cannot be reached",
            Kind::NoAnswer | Kind::Unclear => return f.write_str(&self.said),
        };
        write!(f, "{what} ({})", self.said)
    }
}

/// An error with everything that caused it.
fn whole(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

fn innermost(error: &object_store::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

fn status(text: &str) -> Option<u16> {
    text.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

/// What a code of S3 means; what no list has is told by the status.
fn of_code(code: &str, said: &str) -> Option<Kind> {
    Some(match code {
        "NoSuchKey" => Kind::Absent,
        "NoSuchBucket" => Kind::NoBucket,
        "InvalidRange" => Kind::Beyond,
        "InvalidAccessKeyId" => Kind::WrongKey,
        "SignatureDoesNotMatch" => Kind::WrongSecret,
        "AccessDenied" if said.contains("No such key") => Kind::WrongKey,
        "AccessDenied" if said.contains("nvalid signature") => Kind::WrongSecret,
        "AccessDenied" => Kind::Forbidden,
        "SlowDown" | "TooManyRequests" | "ServiceUnavailable" => Kind::Throttled,
        "InternalError" | "RequestTimeout" => Kind::Unclear,
        code if code.contains("QuotaExceeded") || code.contains("StorageFull") => Kind::Full,
        _ => return None,
    })
}

fn of_rest(error: &object_store::Error, text: &str) -> Kind {
    if let Some(status) = status(text) {
        return match status {
            404 => Kind::Absent,
            416 => Kind::Beyond,
            401 | 403 => Kind::Forbidden,
            429 | 503 => Kind::Throttled,
            507 => Kind::Full,
            // A conflict with another request, which servers ask to be tried again.
            408 | 409 | 500.. => Kind::Unclear,
            _ => Kind::Refused,
        };
    }
    // A redirect: most often to another region.
    if text.contains("redirect") {
        return Kind::Refused;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<HttpError>().map(HttpError::kind) {
            Some(HttpErrorKind::Connect) => return Kind::Unreachable,
            Some(HttpErrorKind::Timeout) => return Kind::NoAnswer,
            _ => cause = error.source(),
        }
    }
    use object_store::Error as Said;
    match error {
        Said::NotFound { .. } => Kind::Absent,
        Said::PermissionDenied { .. } | Said::Unauthenticated { .. } => Kind::Forbidden,
        Said::InvalidPath { .. } | Said::NotSupported { .. } | Said::NotImplemented { .. } => {
            Kind::Refused
        }
        _ => Kind::Unclear,
    }
}
