//! The only table from the ops' errors to the codes of the API.
//!
//! What a caller can act on is told; causes inside the service go to the log, once, here.

use lucid_api::problem::{Documented, ErrorCode};
use lucid_api::v1::verdict::validation;
use lucid_core::transaction::{AdmissionFault, TransactionFault};
use lucid_http::reply::Refusal;
use lucid_store::files::chain::is_of_every_id;
use lucid_store::{CommitError, StoreError};

use crate::given::broken;
use crate::ops::anchor_session::AnchorError;
use crate::ops::maintain_chain::UpkeepError;
use crate::ops::produce_block::ProduceError;
use crate::ops::propose_block::ProposeError;
use crate::ops::remove_block::RemoveBlockError;
use crate::ops::submit_block::SubmitBlockError;
use crate::ops::submit_transaction::SubmitError;
use crate::ops::sync_chain::SyncError;
use crate::ops::validate_block::ValidateError;
use crate::peer::PeerError;

/// Something could not be read.
pub fn store(error: StoreError) -> Refusal {
    tracing::error!(%error, "the store failed");
    match error {
        StoreError::Commit { error, .. } => commit(error),
        StoreError::Damaged(damage) => {
            let detail = format!("what is stored there is damaged: {damage}");
            let refusal = Refusal::new(ErrorCode::Damaged, detail)
                .with("file", damage.file.clone())
                .with("offset", damage.offset)
                .documented(Documented::BLOCK_UNREADABLE);
            match is_of_every_id(&damage) {
                true => refusal.with("ids_unknown", true),
                false => refusal,
            }
        }
        error if error.is_full() => {
            Refusal::new(ErrorCode::Full, "the disk is full").documented(Documented::NO_ROOM)
        }
        _ => Refusal::new(
            ErrorCode::Unavailable,
            "the store cannot be read now; the log has the cause",
        )
        .documented(Documented::READ_FAILED),
    }
}

/// Something could not be written.
pub fn commit(error: CommitError) -> Refusal {
    tracing::error!(%error, maybe_applied = error.maybe_applied(), "a write failed");
    match error {
        CommitError::Full(_) => {
            Refusal::new(ErrorCode::Full, "the store has no room").documented(Documented::NO_ROOM)
        }
        CommitError::Broken(_) => Refusal::new(
            ErrorCode::Unavailable,
            "the store stopped writing; whether this was kept is known after a restart",
        )
        .documented(Documented::WRITE_FAILED)
        .with("maybe_applied", true),
        CommitError::Maybe(_) => Refusal::new(
            ErrorCode::Unavailable,
            "the store does not know yet whether this was kept; asking again is safe",
        )
        .documented(Documented::WRITE_FAILED)
        .with("maybe_applied", true),
        CommitError::Partly(_) => Refusal::new(
            ErrorCode::Unavailable,
            "the store did a part of it; asking again goes on from there",
        )
        .documented(Documented::WRITE_FAILED)
        .with("maybe_applied", true),
        CommitError::Failed(_)
        | CommitError::Missing(_)
        | CommitError::Overtaken(_)
        | CommitError::InUse(_) => {
            Refusal::new(ErrorCode::Unavailable, "the store cannot be written to now")
                .documented(Documented::WRITE_FAILED)
        }
    }
}

/// The chain could not be looked after.
pub fn upkeep(error: UpkeepError) -> Refusal {
    match error {
        UpkeepError::Store(error) => store(error),
        UpkeepError::Commit(error) => commit(error),
    }
}

/// A transaction was not let in.
pub fn submit(error: SubmitError) -> Refusal {
    let sentence = error.to_string();
    match error {
        SubmitError::Admission(fault) => {
            let code = match &fault {
                AdmissionFault::Transaction(TransactionFault::Json(_)) => ErrorCode::Malformed,
                AdmissionFault::TooLarge { .. } => ErrorCode::TooLarge,
                _ => ErrorCode::Invalid,
            };
            let documented = match fault {
                AdmissionFault::Signature(_) => Documented::SIGNATURE,
                AdmissionFault::Timestamp(_) | AdmissionFault::NoTimestamp => {
                    Documented::TRANSACTION_TIME
                }
                _ => Documented::TRANSACTION,
            };
            Refusal::new(code, sentence).documented(documented)
        }
        SubmitError::Conflict { id } => Refusal::new(ErrorCode::Exists, sentence).with("tx_id", id),
        SubmitError::OtherRoot { root, .. } => {
            Refusal::new(ErrorCode::Exists, sentence).with("merkle_root", root)
        }
        SubmitError::Ended(_) => Refusal::new(ErrorCode::Role, sentence),
        SubmitError::PoolFull { .. } => Refusal::new(ErrorCode::Busy, sentence),
        SubmitError::Store(error) => store(error),
        SubmitError::Commit(error) => commit(error),
    }
}

/// A root was not anchored.
pub fn anchor(error: AnchorError) -> Refusal {
    let sentence = error.to_string();
    match error {
        AnchorError::Invalid(_) => Refusal::new(ErrorCode::Invalid, sentence),
        AnchorError::OtherRoot { root, .. } => {
            Refusal::new(ErrorCode::Exists, sentence).with("merkle_root", root)
        }
        AnchorError::Submit(error) => submit(error),
        AnchorError::Store(error) => store(error),
    }
}

/// No block was made.
pub fn propose(error: ProposeError) -> Refusal {
    let sentence = error.to_string();
    match error {
        ProposeError::NothingPending => Refusal::new(ErrorCode::Missing, sentence),
        ProposeError::OtherProducer(_) => Refusal::new(ErrorCode::Role, sentence),
        ProposeError::Submit { index, error } => submit(error).with("index", index),
        ProposeError::Produce(error) => produce(error),
    }
}

/// No block could be produced of what waits.
fn produce(error: ProduceError) -> Refusal {
    let sentence = error.to_string();
    match error {
        ProduceError::Follower | ProduceError::RoleLost(_) | ProduceError::Ended(_) => {
            Refusal::new(ErrorCode::Role, sentence)
        }
        ProduceError::ParentAhead { .. } | ProduceError::ClockAhead { .. } => {
            Refusal::new(ErrorCode::Unavailable, sentence)
        }
        ProduceError::Outrun(_) => Refusal::new(ErrorCode::Running, sentence),
        ProduceError::Refused { .. } => Refusal::new(ErrorCode::Internal, sentence),
        ProduceError::Store(error) => store(error),
        ProduceError::Commit(error) => commit(error),
    }
}

/// Synchronising failed.
pub fn sync(error: SyncError) -> Refusal {
    let sentence = error.to_string();
    let (code, documented) = match error {
        SyncError::Store(error) => return store(error),
        SyncError::Commit(error) => return commit(error),
        SyncError::Outrun(_) => (ErrorCode::Running, Documented::SYNC_FAILED),
        SyncError::Peer(PeerError::Unreachable(_)) => (ErrorCode::Upstream, Documented::PEER_AWAY),
        SyncError::Peer(_) | SyncError::NotYet { .. } => {
            (ErrorCode::Upstream, Documented::PEER_USELESS)
        }
        SyncError::Diverged(_) => (ErrorCode::Upstream, Documented::PEER_DIVERGED),
        SyncError::Refused { .. } | SyncError::UnsupportedHashRule { .. } => {
            (ErrorCode::Upstream, Documented::SYNC_FAILED)
        }
    };
    Refusal::new(code, sentence).documented(documented)
}

/// A block was not removed.
pub fn remove_block(error: RemoveBlockError) -> Refusal {
    let sentence = error.to_string();
    let code = match error {
        RemoveBlockError::Store(error) => return store(error),
        RemoveBlockError::Genesis => ErrorCode::Forbidden,
        RemoveBlockError::NotFound(_) => {
            return Refusal::new(ErrorCode::NotFound, sentence).documented(Documented::NO_BLOCK);
        }
        RemoveBlockError::Final(_) => ErrorCode::Final,
        RemoveBlockError::NotTop { .. } => ErrorCode::Offset,
        RemoveBlockError::Another { .. } => ErrorCode::Exists,
    };
    Refusal::new(code, sentence)
}

/// A block was not taken.
pub fn submit_block(error: SubmitBlockError) -> Refusal {
    let sentence = error.to_string();
    match error {
        SubmitBlockError::Json(fault) => Refusal::new(ErrorCode::Malformed, fault.to_string()),
        SubmitBlockError::Refused(verdict) => {
            let validation = serde_json::to_value(validation(&verdict)).unwrap_or_default();
            let sentence = format!("{sentence}: {}", broken(&verdict));
            Refusal::new(ErrorCode::Invalid, sentence)
                .with("validation", validation)
                .documented(Documented::BLOCK_REFUSED)
        }
        SubmitBlockError::Follower => Refusal::new(ErrorCode::Role, sentence),
        SubmitBlockError::HeightTaken(_) => Refusal::new(ErrorCode::Exists, sentence),
        SubmitBlockError::NotNext { next, .. } => {
            Refusal::new(ErrorCode::Offset, sentence).with("next_index", next)
        }
        SubmitBlockError::WrongParent(tip) => {
            Refusal::new(ErrorCode::Offset, sentence).with("latest_block_hash", tip.to_string())
        }
        SubmitBlockError::Store(error) => store(error),
        SubmitBlockError::Commit(error) => commit(error),
    }
}

/// A block could not be judged.
pub fn validate(error: ValidateError) -> Refusal {
    match error {
        ValidateError::Json(fault) => Refusal::new(ErrorCode::Malformed, fault.to_string()),
        ValidateError::Store(error) => store(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_full_disk_and_a_quota_that_is_used_up_are_both_no_room() {
        for (kind, code) in [
            (ErrorKind::StorageFull, ErrorCode::Full),
            (ErrorKind::QuotaExceeded, ErrorCode::Full),
            (ErrorKind::PermissionDenied, ErrorCode::Unavailable),
        ] {
            let error = StoreError::Io { context: String::new(), reason: String::new(), kind };
            assert_eq!(store(error).code(), code, "{kind:?}");
        }
    }
}
