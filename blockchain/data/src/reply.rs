//! What a session looks like on the wire. The service's routes and the command line both show it so.

use lucid_api::v1::anchors::{AnchorState, AnchorStatus, TrustKeys};
use lucid_api::v1::sessions::{Cutting, CuttingMode, Layout as WireLayout, Session, SessionStatus};
use lucid_core::bundle::Anchored;
use lucid_core::cut::ChunkProfile;
use lucid_core::session::Layout;
use lucid_core::sign::PublicKey;
use lucid_core::transaction::Transaction;
use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::ops::deliver_anchors::anchor_text;
use crate::ops::prove_session::anchored;
use crate::row::{SealedRow, SessionName, SessionRow, Status};

/// A session as reading shows it.
pub fn session(vault: &Vault, recorder: &PublicKey, row: &SessionRow) -> Result<Session, OpError> {
    let sealed = row.sealed.as_ref();
    let anchor = match sealed {
        Some(sealed) => Some(anchor_state(vault, recorder, row, sealed)?),
        None => None,
    };
    Ok(Session {
        session_id: row.id.to_string(),
        user_id: Some(row.user.clone()).filter(|user| !user.is_empty()),
        status: match row.status() {
            Status::Active => SessionStatus::Active,
            Status::Sealed => SessionStatus::Sealed,
            Status::Anchored => SessionStatus::Anchored,
        },
        layout: match row.layout {
            Layout::Raw => WireLayout::Raw,
            Layout::Tree => WireLayout::Tree,
        },
        public: row.secret.is_none(),
        cutting: cutting(&row.profile),
        offset: row.offset(),
        started_at: row.started_at.to_string(),
        ended_at: sealed.map(|sealed| sealed.ended_at.to_string()),
        chunk_count: row.chunk_count(),
        content_bytes: sealed.map_or(row.offset(), |sealed| sealed.content_bytes),
        total_bytes: row.offset(),
        merkle_root: sealed.map(|sealed| sealed.root),
        manifest_hash: sealed.map(|sealed| sealed.manifest_hash),
        anchor,
        metadata: row.metadata.clone(),
    })
}

/// How a session is cut.
pub fn cutting(profile: &ChunkProfile) -> Cutting {
    let mode =
        if profile.min() == profile.max() { CuttingMode::Fixed } else { CuttingMode::Content };
    Cutting { mode, avg_bytes: u32::try_from(profile.average()).unwrap_or(u32::MAX) }
}

/// Where the anchor of a sealed session is.
pub fn anchor_state(
    vault: &Vault,
    recorder: &PublicKey,
    row: &SessionRow,
    sealed: &SealedRow,
) -> Result<AnchorState, OpError> {
    let name = SessionName::of(vault.sealer(), &row.id);
    let text = anchor_text(vault, &name)?;
    let transaction = Transaction::parse(text.as_bytes())
        .map_err(|fault| OpError::Invalid(format!("the anchor of session {}: {fault}", row.id)))?;
    let proof: Option<Anchored> = anchored(vault, &name)?;
    let producer = proof.and_then(|proof| proof.producer).map(|producer| producer.key.to_string());
    Ok(AnchorState {
        anchoring_id: transaction.id().to_owned(),
        session_id: row.id.to_string(),
        status: match row.anchored {
            Some(_) => AnchorStatus::Confirmed,
            None => AnchorStatus::Pending,
        },
        transaction_id: transaction.id().to_owned(),
        merkle_root: sealed.root,
        submitted_at: transaction.timestamp().unwrap_or_default().to_owned(),
        confirmed_at: None,
        block_height: row.anchored.map(|(index, _)| index),
        block_index: row.anchored.map(|(index, _)| index),
        block_hash: row.anchored.map(|(_, hash)| hash),
        reason: None,
        trust: TrustKeys { block: producer, recorder: Some(recorder.to_string()) },
    })
}
