//! What the user who is told of an error can do about it.
//!
//! Many sentences end with it, and then it is taken from there; for the others each kind of error has a
//! remedy here. People read it behind the sentence, programs in `remedy`.

use std::error::Error;
use std::io;

use lucid_api::client::{ClientError, Refused};
use lucid_api::problem::ErrorCode;
use lucid_data_chain::ops::{Clash, OpError};
use lucid_store::StoreError;
use lucid_store::frame::NEWER_RECORD;

use crate::folder::target::TargetError;
use crate::ingest::IngestError;
use crate::ingest::sink::SinkError;

/// What remedies begin with where they end a sentence.
const BEGINNINGS: &[&str] = &[
    "`lucid ", "`touch`", "--", "begin ", "choose ", "correct ", "end ", "give ", "have ",
    "leave ", "look ", "make ", "mount ", "move ", "name ", "pass ", "put ", "release ",
    "restore ", "run ", "say ", "seal ", "send ", "set ", "start ", "stop ", "take ", "try ",
    "unset ", "use ", "wait ", "wrap ", "write ",
];

/// The remedy at the end of a sentence, if it ends with one.
#[must_use]
pub fn at_end(sentence: &str) -> Option<&str> {
    let breaks = sentence.match_indices([':', ';']).filter_map(|(at, _)| sentence.get(at + 1..));
    let mut rests = breaks.filter_map(|rest| rest.strip_prefix(' '));
    rests.find(|rest| BEGINNINGS.iter().any(|beginning| rest.starts_with(beginning)))
}

/// The remedy of an error whose sentence has none.
#[must_use]
pub fn of(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(remedy) = of_kind(error) {
            return Some(remedy.to_owned());
        }
        cause = error.source();
    }
    None
}

fn of_kind(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return of_client(error);
    }
    if let Some(error) = error.downcast_ref::<TargetError>() {
        return error.remedy();
    }
    if let Some(error) = error.downcast_ref::<OpError>() {
        return of_op(error);
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return of_store(error);
    }
    if let Some(IngestError::Sink(error)) = error.downcast_ref::<IngestError>() {
        return match error {
            SinkError::Store(error) => of_op(error),
            SinkError::Server(_) => {
                Some("look whether the server is well, then run the same again")
            }
        };
    }
    error.downcast_ref::<io::Error>().and_then(|error| of_io(error.kind()))
}

const LOOK: &str = "look whether a server runs there: `lucid up` starts one, --server (LUCID_DATA_CHAIN_URL) \
    names another";
const OTHER_ID: &str = "name another --session";
const MEANT: &str = "pass --yes if that is meant";
const RELEASE: &str = "`lucid release SESSION` allows it again";
const HEAL: &str = "put back what is named from a copy, archive the same content again, or heal it with `lucid \
    mirror`";
const ROOM: &str = "make room, then try again";

fn of_client(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::Transport { .. } => Some(LOOK),
        ClientError::Refused(refused) => of_refusal(refused),
        ClientError::Untrusted { .. } => Some(
            "name its authority with --ca (LUCID_CA_FILE), or its key, as it says when it starts, with --pin",
        ),
        ClientError::Unreadable { .. } => {
            Some("look whether the address is that of a server of lucid, and of this version")
        }
        ClientError::TooLong { .. } | ClientError::Unsendable { .. } => None,
    }
}

fn of_refusal(refused: &Refused) -> Option<&'static str> {
    let Some(code) = refused.code else {
        return Some("look whether the address is that of a server of lucid");
    };
    Some(match code {
        // Each service answers so to the other one's routes.
        ErrorCode::NotFound if refused.detail == code.title() => {
            "look at the address: a data-chain listens on port 8087, a block-manager on 8086"
        }
        ErrorCode::NotFound => "`lucid ls` lists what is there",
        ErrorCode::Malformed | ErrorCode::Invalid => "correct what is named",
        ErrorCode::Gone | ErrorCode::Exists | ErrorCode::Sealed => OTHER_ID,
        ErrorCode::Unsealed => "`lucid seal SESSION` ends it",
        ErrorCode::Unclear => MEANT,
        ErrorCode::Locked => RELEASE,
        ErrorCode::Damaged => HEAL,
        ErrorCode::Full => ROOM,
        ErrorCode::Busy | ErrorCode::Unavailable => "try again later",
        ErrorCode::Unauthorized => {
            "show a token: --token-file names a file with one (LUCID_TOKEN_FILE), `lucid token create` makes one"
        }
        code => code.remedy(),
    })
}

fn of_op(error: &OpError) -> Option<&'static str> {
    match error {
        OpError::NoSession(_) => Some("`lucid ls` lists what is there"),
        OpError::NoFile { .. } => Some("`lucid ls SESSION` lists its files"),
        OpError::Removed(_) | OpError::Conflict(Clash::Exists | Clash::Sealed, _) => Some(OTHER_ID),
        OpError::Conflict(Clash::Unsealed, _) => Some("`lucid seal SESSION` ends it"),
        OpError::Conflict(Clash::Unclear, _) => Some(MEANT),
        OpError::Conflict(Clash::Running, _) | OpError::Away(_) | OpError::Busy(_) => {
            Some("try again later")
        }
        OpError::Held { .. } => Some(RELEASE),
        OpError::Full(_) => Some(ROOM),
        OpError::Store(error) => of_store(error),
        error if error.is_damage() => Some(HEAL),
        _ => None,
    }
}

fn of_store(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Damaged(damage) if damage.why == NEWER_RECORD => {
            Some("use that version, or a later one")
        }
        StoreError::Damaged(_) => Some(HEAL),
        error if error.is_unanswered() => {
            Some("look whether that server runs and can be reached, then run the same again")
        }
        StoreError::Io { kind, .. } => of_io(*kind),
        error if error.is_full() => Some(ROOM),
        _ => None,
    }
}

fn of_io(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::NotFound => Some("name one that is there"),
        io::ErrorKind::PermissionDenied => {
            Some("run this as its owner, or have the right to it granted")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(ROOM),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_at_the_end_of_a_sentence_is_found_and_nothing_else_is_one() {
        for (sentence, remedy) in [
            ("session s is sealed: name another --session", Some("name another --session")),
            (
                "x holds no store; `lucid archive PATH` makes one",
                Some("`lucid archive PATH` makes one"),
            ),
            ("a: b: pass --yes if that is meant", Some("pass --yes if that is meant")),
            ("\"a\" cannot be archived: No such file or directory (os error 2)", None),
            ("there is no session s", None),
        ] {
            assert_eq!(at_end(sentence), remedy, "{sentence}");
        }
    }

    #[test]
    fn what_fails_deep_below_has_its_remedy_all_the_same() {
        use anyhow::Context as _;
        let away = ClientError::Transport { message: String::new(), maybe_applied: false };
        let error = Err::<(), _>(away).context("a verb").unwrap_err();
        assert_eq!(of(error.as_ref()).as_deref(), Some(LOOK));
        let unclear = OpError::Conflict(Clash::Unclear, String::new());
        assert_eq!(of(&unclear).as_deref(), Some(MEANT));
    }
}
