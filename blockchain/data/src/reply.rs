//! What a session looks like on the wire. The service's routes and the command line both show it so.

pub(crate) mod chunks;
pub mod files;
pub mod source;
pub mod usage;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lucid_api::v1::anchors::{AnchorState, AnchorStatus, AnchoredElsewhere, TrustKeys};
use lucid_api::v1::audit::AuditSession;
use lucid_api::v1::documents::DocumentSource;
use lucid_api::v1::maintenance::{GarbageCollected, Optimised, Progress, RetentionBegun};
use lucid_api::v1::manifest::{Manifest as WireManifest, ManifestChunk};
use lucid_api::v1::removal::{Hold, Tombstone};
use lucid_api::v1::scrub::{FindingState, Scrub, ScrubFinding};
use lucid_api::v1::sessions::{
    Appendix, AppendixKind as WireAppendixKind, Cutting, CuttingMode, ExitStatus as WireStatus,
    Layout as WireLayout, Sealed, Session, SessionStatus,
};
use lucid_api::v1::verification::{ChunkVerdict, Verified, VerifiedDetails};
use lucid_core::anchor::Anchor;
use lucid_core::bundle::AnchorInclusion;
use lucid_core::claim::Signed;
use lucid_core::cut::{ChunkProfile, FIXED_BYTES_MAX};
use lucid_core::digest::SessionRoot;
use lucid_core::elsewhere::{Elsewhere, NOT_PROVED};
use lucid_core::manifest::{AppendixKind, ExitStatus, Manifest, hash_of};
use lucid_core::record::BlockEntry;
use lucid_core::session::Layout;
use lucid_core::sign::PublicKey;
use lucid_core::time::{Timestamp, parse_block_time};
use lucid_core::transaction::Transaction;
use lucid_store::vault::Vault;
use lucid_store::vault::collect::Collected;
use lucid_store::vault::scrub::{Finding, Standing};

use crate::document::Source;
use crate::fact::Scrubbed;
use crate::ops::OpError;
use crate::ops::proofs::deliver_anchors::anchor_text;
use crate::ops::proofs::prove_session::anchored;
use crate::ops::proofs::verify_session::{FailedChunk, SessionVerified};
use crate::ops::upkeep::begin_retention::RetentionTime;
use crate::ops::upkeep::collect_garbage::Garbage;
use crate::ops::upkeep::scrub_store::standings;
use crate::row::{
    self, HoldRow, Reference, SealedRow, SessionName, SessionRow, SessionStage, TombstoneRow,
};

/// A session of the read log.
pub fn audit_session(row: &SessionRow, quiet_since: Timestamp) -> AuditSession {
    AuditSession {
        session_id: row.id.to_string(),
        started_at: row.started_at.to_string(),
        status: status(row, quiet_since),
        bytes: row.sealed.as_ref().map_or(row.offset(), |sealed| sealed.content_bytes),
    }
}

/// A session as reading shows it.
/// `quiet_since`: since when a live stream must have been silent to count as unterminated.
pub fn session(
    vault: &Vault,
    recorder: &PublicKey,
    row: &SessionRow,
    quiet_since: Timestamp,
) -> Result<Session, OpError> {
    let sealed = row.sealed.as_ref();
    let anchor = match sealed {
        Some(sealed) => Some(anchor_state(vault, recorder, row, sealed)?),
        None => None,
    };
    let name = SessionName::of(vault.cipher(), &row.id);
    let hold = row::hold(vault.index(), vault.cipher(), &name)?;
    let retention = row::retention(vault.index(), vault.cipher(), &name)?;
    Ok(Session {
        session_id: row.id.to_string(),
        user_id: Some(row.user.clone()).filter(|user| !user.is_empty()),
        status: status(row, quiet_since),
        layout: layout(row.layout),
        public: row.secret.is_none(),
        cutting: cutting(&row.profile),
        offset: row.offset(),
        started_at: row.started_at.to_string(),
        appended_at: row.appended_at.map(|at| at.to_string()),
        ended_at: sealed.map(|sealed| sealed.ended_at.to_string()),
        end: sealed.map(|sealed| sealed.end.as_str().to_owned()),
        exit_status: sealed.and_then(|sealed| sealed.end.exit_status()).map(exit_status),
        chunk_count: row.chunk_count(),
        content_bytes: sealed.map_or(row.offset(), |sealed| sealed.content_bytes),
        total_bytes: row.offset(),
        merkle_root: sealed.map(|sealed| sealed.root),
        manifest_hash: sealed.map(|sealed| sealed.manifest_hash),
        anchor,
        hold: hold.map(|HoldRow { reason, since }| Hold { reason, since: since.to_string() }),
        retain_until: retention.map(|until| until.to_string()),
        metadata: row.metadata.clone(),
        source: row.source.as_ref().map(source::session_source),
        terminal: row.terminal.map(source::terminal),
    })
}

/// What is left of a removed session.
pub fn tombstone(row: &TombstoneRow) -> Tombstone {
    let transaction = Transaction::parse(row.text.as_bytes());
    Tombstone {
        session_id: row.id.to_string(),
        removed_at: row.removed_at.to_string(),
        merkle_root: row.root,
        reason: row.reason.clone(),
        // Only a text that parses becomes a row.
        transaction_id: transaction.map_or_else(|_| String::new(), |tx| tx.id().to_owned()),
        transaction: row.text.clone(),
        block_index: row.chained.map(|(index, _)| index),
        block_hash: row.chained.map(|(_, hash)| hash),
    }
}

/// How far reading again is, and what was found.
pub fn scrub(vault: &Vault, state: &Scrubbed, progress: Progress) -> Result<Scrub, OpError> {
    let finding = |(finding, standing): (Finding, Option<Standing>)| ScrubFinding {
        file: finding.damage.file,
        offset: finding.damage.offset,
        why: finding.damage.why,
        state: match standing {
            Some(Standing::Quarantined) => FindingState::Quarantined,
            Some(Standing::Healed) => FindingState::Healed,
            Some(Standing::Unused) => FindingState::Unused,
            None => FindingState::Damaged,
        },
    };
    Ok(Scrub {
        round: state.round,
        complete: state.next.is_none(),
        began_at: (state.round > 0).then(|| state.began_at.to_string()),
        ended_at: state.ended_at.map(|at| at.to_string()),
        bytes: state.bytes,
        records: state.records,
        damage: standings(vault, state)?.into_iter().map(finding).collect(),
        progress,
    })
}

/// What a collection found and did.
pub fn garbage(garbage: &Garbage, dry_run: bool) -> GarbageCollected {
    let Garbage { expired, survey, collected, condensed } = garbage;
    GarbageCollected {
        dry_run,
        sessions_expired: expired.retention,
        sessions_interrupted: expired.interrupted,
        chunks_dead: survey.dead_chunks,
        bytes_dead: survey.dead_bytes,
        chunks_live: survey.live_chunks,
        bytes_live: survey.live_bytes,
        chunks_removed: collected.chunks_removed,
        chunks_spared: collected.chunks_spared,
        facts_removed: condensed.facts_removed,
        bytes_freed: collected.bytes_freed + condensed.bytes_freed,
        segments_rewritten: collected.units_replaced,
        segments_damaged: collected.units_damaged,
        stopped: collected.stopped || condensed.stopped,
    }
}

/// What the chain said before sessions are removed by how old they are.
pub fn retention_begun(begun: &RetentionTime) -> RetentionBegun {
    RetentionBegun { time: begun.now.to_string(), ends_retention: begun.ends_retention }
}

/// What packing more tightly came to.
pub fn optimised(collected: &Collected, level: u8) -> Optimised {
    Optimised {
        level,
        segments_rewritten: collected.units_replaced,
        bytes_freed: collected.bytes_freed,
        segments_damaged: collected.units_damaged,
        stopped: collected.stopped,
    }
}

fn status(row: &SessionRow, quiet_since: Timestamp) -> SessionStatus {
    match row.status(quiet_since) {
        SessionStage::Active => SessionStatus::Active,
        SessionStage::Unterminated => SessionStatus::Unterminated,
        SessionStage::Sealed => SessionStatus::Sealed,
        SessionStage::Anchored => SessionStatus::Anchored,
    }
}

fn exit_status(status: ExitStatus) -> WireStatus {
    match status {
        ExitStatus::Code(code) => WireStatus::Code(code),
        ExitStatus::Signal(signal) => WireStatus::Signal(signal),
    }
}

fn layout(layout: Layout) -> WireLayout {
    match layout {
        Layout::Raw => WireLayout::Raw,
        Layout::Tree => WireLayout::Tree,
    }
}

/// How a session is cut.
pub fn cutting(profile: &ChunkProfile) -> Cutting {
    let mode =
        if profile.min() == profile.max() { CuttingMode::Fixed } else { CuttingMode::Content };
    Cutting { mode, avg_bytes: u32::try_from(profile.average()).unwrap_or(FIXED_BYTES_MAX) }
}

/// Why an anchor of another store is not in a block here.
const ELSEWHERE: &str = "the store that recorded it anchors it, in its own chain; the next `lucid mirror` brings the proof";

/// When the block was made that has an anchor.
fn block_time(proof: &AnchorInclusion) -> Result<String, OpError> {
    let fault =
        |fault: &dyn std::fmt::Display| OpError::Unsound(format!("the stored proof: {fault}"));
    let entry = BlockEntry::parse(&proof.entry).map_err(|why| fault(&why))?;
    let time = parse_block_time(&entry.timestamp).map_err(|why| fault(&why))?;
    Ok(time.to_string())
}

/// Where the anchor of a sealed session is.
pub fn anchor_state(
    vault: &Vault,
    recorder: &PublicKey,
    row: &SessionRow,
    sealed: &SealedRow,
) -> Result<AnchorState, OpError> {
    let name = SessionName::of(vault.cipher(), &row.id);
    let text = anchor_text(vault, &name)?;
    let transaction = Transaction::parse(text.as_bytes())
        .map_err(|fault| OpError::Unsound(format!("the anchor of session {}: {fault}", row.id)))?;
    // A session that came from another store was signed there, and not here.
    let signed_by = Signed::<Anchor>::parse(&transaction).map_or(*recorder, |signed| signed.key);
    let proof: Option<AnchorInclusion> = anchored(vault, &name)?;
    let words = row::elsewhere(vault.index(), vault.cipher(), &name)?;
    let is_foreign = signed_by != *recorder && row.anchored.is_none();
    let reason = match &words {
        Some(words) if row.anchored.is_none() => {
            Some(format!("anchored elsewhere: {}; {NOT_PROVED}", words.said()))
        }
        _ => is_foreign.then(|| ELSEWHERE.to_owned()),
    };
    let confirmed_at = proof.as_ref().map(block_time).transpose()?;
    let producer = proof.and_then(|proof| proof.producer).map(|producer| producer.key.to_string());
    Ok(AnchorState {
        anchoring_id: transaction.id().to_owned(),
        session_id: row.id.to_string(),
        status: match (row.anchored, &words) {
            (Some(_), _) => AnchorStatus::Confirmed,
            (None, Some(_)) => AnchorStatus::Elsewhere,
            (None, None) => AnchorStatus::Pending,
        },
        transaction_id: transaction.id().to_owned(),
        merkle_root: sealed.root,
        submitted_at: transaction.timestamp().unwrap_or_default().to_owned(),
        confirmed_at,
        block_height: row.anchored.map(|(index, _)| index),
        block_index: row.anchored.map(|(index, _)| index),
        block_hash: row.anchored.map(|(_, hash)| hash),
        reason,
        trust: TrustKeys { block: producer, recorder: Some(signed_by.to_string()) },
        elsewhere: words.map(anchored_elsewhere),
    })
}

/// What an engine of another kind says, and what that is worth.
fn anchored_elsewhere(words: Elsewhere) -> AnchoredElsewhere {
    AnchoredElsewhere {
        engine: words.engine,
        session_id: words.session,
        status: words.status,
        transaction_id: words.transaction,
        block_height: words.height,
        confirmed_at: words.confirmed_at,
        not_proved: NOT_PROVED.to_owned(),
    }
}

/// How sealing is answered, now and later.
pub fn sealed(row: &SessionRow) -> Result<Sealed, OpError> {
    let sealed = row
        .sealed
        .as_ref()
        .ok_or_else(|| OpError::Unsound(format!("session {} was sealed, and is not", row.id)))?;
    Ok(Sealed {
        session_id: row.id.to_string(),
        // Nothing is awaited of a sealed session.
        status: status(row, row.started_at),
        merkle_root: sealed.root,
        chunk_count: row.chunk_count(),
        total_size: row.offset(),
        manifest_hash: sealed.manifest_hash,
        sealed_at: sealed.ended_at.to_string(),
    })
}

/// A manifest, with the chunks of one page.
pub fn manifest(text: &str, manifest: &Manifest, start: u64, chunks: &[Reference]) -> WireManifest {
    let next = chunks.last().map_or(start, |last| last.index + 1);
    WireManifest {
        session_id: manifest.session_id.to_string(),
        user_id: Some(manifest.user_id.clone()).filter(|user| !user.is_empty()),
        started_at: manifest.started_at.to_string(),
        ended_at: manifest.ended_at.to_string(),
        layout: layout(manifest.layout),
        chunk_profile: manifest.chunk_profile.to_string(),
        chunk_count: manifest.chunk_count,
        content_bytes: manifest.content_bytes,
        appendix: manifest.appendix.map(|appendix| Appendix {
            kind: match appendix.kind {
                AppendixKind::Catalogue => WireAppendixKind::Catalogue,
                AppendixKind::Timeline => WireAppendixKind::Timeline,
            },
            offset: appendix.offset,
            length: appendix.length,
        }),
        total_bytes: manifest.total_bytes,
        merkle_root: manifest.merkle_root,
        manifest_hash: hash_of(text),
        end_marker: Some(manifest.end.as_str().to_owned()),
        exit_status: manifest.end.exit_status().map(exit_status),
        metadata: manifest.metadata.clone(),
        source: manifest.source.as_ref().map(source::session_source),
        terminal: manifest.terminal.map(source::terminal),
        previous_manifest: manifest.previous_manifest,
        text_base64: STANDARD.encode(text),
        start,
        chunks: chunks
            .iter()
            .map(|chunk| ManifestChunk {
                index: chunk.index,
                offset: chunk.offset,
                length: chunk.length,
                chunk_id: chunk.chunk,
                leaf_hash: chunk.leaf,
            })
            .collect(),
        next_start: Some(next).filter(|next| *next < manifest.chunk_count),
    }
}

/// Verdicts of single chunks that one reply lists.
const VERDICTS_MAX: usize = 1_000;

/// What a verification found, held against the root that the caller believes in.
pub fn verified(
    found: &SessionVerified,
    expected: Option<SessionRoot>,
    now: Timestamp,
) -> Verified {
    let mut faults: Vec<String> = found.faults.clone();
    if let Some(expected) = expected.filter(|expected| found.root != Some(*expected)) {
        faults.push(format!("the session does not have the root {expected}"));
    }
    let verdict = |failed: &FailedChunk| ChunkVerdict {
        index: failed.reference.index,
        offset: failed.reference.offset,
        chunk_id: failed.reference.chunk,
        verified: false,
        error: Some(failed.why.clone()),
    };
    let failed = found.failed.len() as u64;
    // The chunks have their own list.
    let others: Vec<String> = faults.iter().skip(found.failed.len()).cloned().collect();
    let said = if faults.is_empty() { &found.not_checked } else { &others };
    Verified {
        verified: faults.is_empty(),
        timestamp: now.to_string(),
        details: VerifiedDetails {
            chunk_count: found.chunks_verified + failed,
            chunks_verified: found.chunks_verified,
            chunks_failed: failed,
            chunk_results: found.failed.iter().take(VERDICTS_MAX).map(verdict).collect(),
            merkle_root: found.root,
            reason: Some(said.join("; ")).filter(|said| !said.is_empty()),
        },
    }
}

/// Who says what a document says.
pub fn source(source: Source) -> DocumentSource {
    match source {
        Source::Submitted => DocumentSource::Submitted,
        Source::Synchronised => DocumentSource::Synchronised,
        Source::Kept => DocumentSource::Kept,
    }
}
