//! How a command ends: the one table of exit codes, and what each error makes of them.
//!
//! Verdicts are low, trouble is high: a caller who asked whether something is sound learns "no" from 1 alone,
//! and never takes a disk that does not answer, or a server that is away, for a "no".

use std::io;

use lucid_api::client::ClientError;
use lucid_block_manager::moving::ManagerMoveError;
use lucid_block_manager::opened::OpenError;
use lucid_block_manager::ops::sync_chain::SyncError;
use lucid_block_manager::peer::PeerError;
use lucid_data_chain::ops::OpError;
use lucid_store::StoreError;
use lucid_store::chain_move::ChainMoveError;
use lucid_store::vault::moving::MoveError;

use crate::ingest::IngestError;
use crate::ingest::sink::SinkError;

/// Done; of a verdict: everything is proved, or sound.
pub const DONE: u8 = 0;
/// Refused, or damage was found: the verdict "wrong". Of verbs that judge nothing: not done.
pub const FAILED: u8 = 1;
/// Consistent, but not proved.
pub const NOT_PROVED: u8 = 2;
/// Done, but something had to be left out.
pub const LEFT_OUT: u8 = 3;
/// The arguments make no sense.
pub const WRONG_USE: u8 = 64;
/// A server or a peer is away, busy, or fails.
pub const UNAVAILABLE: u8 = 69;
/// Something could not be read or written.
pub const TROUBLE: u8 = 74;
/// `record`: the recording failed, regardless of how the program ended. `timeout` and `env` say the same of
/// their own failures.
pub const NOT_RECORDED: u8 = 125;
/// `record`: the program cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// `record`: there is no such program.
pub const NO_PROGRAM: u8 = 127;

/// A terminal that went away, Ctrl-C, or a signal to terminate: 128 and the number of the signal.
pub const ENDED: [u8; 3] = [129, 130, 143];

/// Every code that is ours. API.md lists the same codes, and a test checks that it does.
pub const CODES: &[u8] = &[
    DONE,
    FAILED,
    NOT_PROVED,
    LEFT_OUT,
    WRONG_USE,
    UNAVAILABLE,
    TROUBLE,
    NOT_RECORDED,
    NOT_EXECUTABLE,
    NO_PROGRAM,
    ENDED[0],
    ENDED[1],
    ENDED[2],
];

/// Arguments that contradict each other, which only the verb finds.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUse(pub String);

/// The code of an error. Where a verb `judges`, 1 is its verdict: an error that kept it from one is
/// trouble.
#[must_use]
pub fn code(error: &anyhow::Error, judges: bool) -> u8 {
    match error.chain().find_map(kind) {
        Some(code) => code,
        None if judges => TROUBLE,
        None => FAILED,
    }
}

/// Whether it is that nobody reads what is written.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    io.into_iter().any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// What one error of a chain of causes decides, if it does.
fn kind(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if error.is::<WrongUse>() {
        return Some(WRONG_USE);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(of_io(error.kind()));
    }
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return of_client(error);
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return of_store(error);
    }
    if let Some(error) = error.downcast_ref::<OpError>() {
        return of_op(error);
    }
    match error.downcast_ref::<IngestError>() {
        Some(IngestError::Sink(SinkError::Store(error))) => return of_op(error),
        Some(IngestError::Sink(SinkError::Server(_))) => return Some(UNAVAILABLE),
        _ => {}
    }
    match error.downcast_ref::<SyncError>() {
        Some(SyncError::Peer(PeerError::Unreachable(_))) => return Some(UNAVAILABLE),
        Some(SyncError::Store(error)) => return of_store(error),
        Some(SyncError::Commit(_)) => return Some(TROUBLE),
        _ => {}
    }
    if let Some(error) = error.downcast_ref::<MoveError>() {
        return of_move(error);
    }
    match error.downcast_ref::<ManagerMoveError>() {
        Some(ManagerMoveError::Move(error)) => return of_move(error),
        Some(ManagerMoveError::Open(error)) => return error.store().and_then(of_store),
        None => {}
    }
    error.downcast_ref::<OpenError>().and_then(OpenError::store).and_then(of_store)
}

fn of_move(error: &MoveError) -> Option<u8> {
    match error {
        MoveError::Store(error) | MoveError::Chain(ChainMoveError::Store(error)) => of_store(error),
        MoveError::Chain(ChainMoveError::Commit(_)) => Some(TROUBLE),
        MoveError::Chain(_)
        | MoveError::Damaged(_)
        | MoveError::Lacking(_)
        | MoveError::NotEmpty
        | MoveError::Condensed(_)
        | MoveError::Differs(_) => None,
    }
}

fn of_io(kind: io::ErrorKind) -> u8 {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut};
    match kind {
        ConnectionAborted | ConnectionRefused | ConnectionReset | TimedOut => UNAVAILABLE,
        _ => TROUBLE,
    }
}

fn of_client(error: &ClientError) -> Option<u8> {
    match error {
        ClientError::Refused(refused) if refused.status == 507 => Some(TROUBLE),
        ClientError::Refused(_) if error.is_damage() => Some(FAILED),
        ClientError::Refused(refused) => {
            (refused.status == 429 || refused.status >= 500).then_some(UNAVAILABLE)
        }
        ClientError::Transport { .. }
        | ClientError::Untrusted { .. }
        | ClientError::Unreadable { .. }
        | ClientError::TooLong { .. } => Some(UNAVAILABLE),
        ClientError::Unsendable { .. } => Some(WRONG_USE),
    }
}

fn of_store(error: &StoreError) -> Option<u8> {
    match error {
        StoreError::Io { .. }
        | StoreError::Unwritable { .. }
        | StoreError::Index(_)
        | StoreError::Anew(_)
        | StoreError::Commit { .. } => Some(TROUBLE),
        // Found out, and wrong.
        StoreError::Damaged(_) => Some(FAILED),
        StoreError::Key(_)
        | StoreError::Stopped
        | StoreError::InUse { .. }
        | StoreError::Folder(_)
        | StoreError::TooLarge { .. } => None,
    }
}

fn of_op(error: &OpError) -> Option<u8> {
    match error {
        OpError::Store(error) => of_store(error),
        OpError::Away(_) | OpError::Busy(_) => Some(UNAVAILABLE),
        OpError::Full(_) | OpError::Unwritten(_) | OpError::Unfinished(_) | OpError::Broken(_) => {
            Some(TROUBLE)
        }
        error if error.is_damage() => Some(FAILED),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use lucid_store::Damage;

    use super::*;

    #[test]
    fn what_could_not_be_found_out_is_never_the_verdict_wrong() {
        let io = || io::Error::from(io::ErrorKind::PermissionDenied);
        let store = |kind| StoreError::Io { context: String::new(), reason: String::new(), kind };
        let away = || ClientError::Transport { message: String::new(), maybe_applied: false };
        let no_session = || OpError::NoSession("s".parse().unwrap());
        let damaged = || StoreError::Damaged(Damage::new("f", 1, "x"));
        for (error, judging, otherwise) in [
            (anyhow::Error::new(io()).context("reading"), TROUBLE, TROUBLE),
            (anyhow::Error::new(store(io::ErrorKind::Other)), TROUBLE, TROUBLE),
            (anyhow::Error::new(OpError::Store(store(io::ErrorKind::Other))), TROUBLE, TROUBLE),
            (anyhow::Error::new(OpenError::Store(StoreError::Index("x".into()))), TROUBLE, TROUBLE),
            (anyhow::Error::new(away()), UNAVAILABLE, UNAVAILABLE),
            (anyhow::Error::new(OpError::Away("x".into())), UNAVAILABLE, UNAVAILABLE),
            (anyhow::Error::new(no_session()), TROUBLE, FAILED),
            (anyhow::Error::new(damaged()), FAILED, FAILED),
            (anyhow::Error::new(WrongUse("x".into())), WRONG_USE, WRONG_USE),
        ] {
            assert_eq!(code(&error, true), judging, "{error:?}");
            assert_eq!(code(&error, false), otherwise, "{error:?}");
            let deeper = Err::<(), _>(error).context("a verb").unwrap_err();
            assert_eq!(code(&deeper, true), judging, "{deeper:?}");
        }
    }
}
