//! `lucid archive PATH`: the main job, from files to an anchored session.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use lucid_api::v1::anchors::TrustKeys;
use lucid_core::bundle::Bundle;
use lucid_core::check::{Trust, check};
use lucid_core::cut::ChunkProfile;
use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;
use serde::Serialize;

use super::keep::Keep;
use super::{DONE, FAILED, Home, LEFT_OUT, UNCONFIRMED, is_anchored, why_not_anchored};
use crate::folder::walk::{self, Loss};
use crate::ingest::{IngestSource, LeftOut, ingest};
use crate::output::Output;
use crate::place::remote::is_not_allowed;
use crate::place::{Begun, ReadSessions};
use crate::progress::ProgressLine;
use crate::text;

/// Arguments of `lucid archive`.
#[derive(Debug, clap::Args)]
pub struct Archive {
    /// A folder, a file, or `-` for standard input.
    path: PathBuf,
    #[command(flatten)]
    keep: Keep,
    /// Read everything back from the store and compare it with what was hashed.
    #[arg(long)]
    verify: bool,
    /// Exit with 3 also when sockets, pipes or devices are left out, which have no content.
    #[arg(long)]
    strict: bool,
}

/// What was kept: the object that `--json` prints.
#[derive(Debug, Serialize)]
struct Archived {
    session_id: String,
    merkle_root: String,
    manifest_hash: String,
    block_index: Option<u64>,
    block_hash: Option<String>,
    trust_keys: TrustKeys,
    chunk_count: u64,
    bytes_in: u64,
    bytes_new: u64,
    bytes_stored: u64,
    seconds: f64,
    skipped: Vec<Skipped>,
    changed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_anchored: Option<String>,
}

/// Something that was not archived.
#[derive(Debug, Serialize)]
struct Skipped {
    path: String,
    why: String,
    loss: Loss,
}

impl Skipped {
    fn of(LeftOut { path, why, loss }: &LeftOut) -> Self {
        Self { path: text::name(path), why: why.clone(), loss: *loss }
    }

    /// What people are told.
    fn sentence(&self) -> String {
        let Self { path, why, loss } = self;
        match loss {
            Loss::Part => format!("\"{path}\" is not kept whole: {why}"),
            Loss::Own | Loss::SpecialFile | Loss::Whole => {
                format!("\"{path}\" was left out: {why}")
            }
        }
    }

    /// Whether the archive is less than what was asked for.
    fn is_failure(&self, strict: bool) -> bool {
        match self.loss {
            Loss::Own => false,
            Loss::SpecialFile => strict,
            Loss::Part | Loss::Whole => true,
        }
    }
}

impl Archive {
    /// Archives, seals, anchors, and proves that all three happened.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let started = std::time::Instant::now();
        let is_stream = self.path.as_os_str() == "-";
        if !is_stream {
            std::fs::metadata(&self.path)
                .with_context(|| format!("\"{}\" cannot be archived", self.path.display()))?;
            walk::refuse_store(&self.path)?;
        }
        if home.server.is_none() && !is_stream {
            refuse_own_folder(&self.path, &home.data)?;
        }
        let place = self.keep.open(home, "archive", output, is_stream)?;
        place.may_anchor(self.keep.session.as_ref()).context("nothing was archived")?;
        let layout = if is_stream { Layout::Raw } else { Layout::Tree };
        let new = self.keep.new_session(layout, true);
        let begun_at = new.started_at;
        let begun = place.begin(new)?;
        let (id, filling) = match &begun {
            Begun::Empty(id) => (id, place.fill(id, self.keep.storage())?),
            Begun::Sealed(id) => (id, place.compare(id)?),
        };
        let progress = ProgressLine::start(output, "archiving", None);
        let source = if is_stream {
            IngestSource::Raw(Box::new(std::io::stdin()))
        } else {
            foresee(&self.path, &progress, output);
            let exclude = place.own_folder().and_then(|folder| walk::Identity::of(&folder).ok());
            let options = walk::Options {
                exclude: exclude.into_iter().collect(),
                ..walk::Options::default()
            };
            IngestSource::Tree(self.path.clone(), options)
        };
        let taken = ingest(source, ChunkProfile::default(), filling.as_sink(), &progress);
        drop(progress);
        let intake = taken.with_context(|| match &begun {
            Begun::Empty(_) => format!(
                "nothing was sealed; what was stored of session {id} is found again next time, and for a \
                 day --session {id} begins it anew"
            ),
            Begun::Sealed(_) => "nothing was archived".to_owned(),
        })?;
        let (bytes_new, bytes_stored) = filling.totals();
        drop(filling);
        // Regardless of how the anchoring ends, this was left out.
        let changed: Vec<String> = intake.changed.iter().map(|path| text::name(path)).collect();
        for path in &changed {
            output.warn(&format!("\"{path}\" changed while it was read"));
        }
        let skipped: Vec<Skipped> = intake.left_out.iter().map(Skipped::of).collect();
        for skipped in &skipped {
            output.warn(&skipped.sentence());
        }
        let request = SealRequest {
            expected_chunk_count: Some(intake.chunk_count),
            // A user on another machine may have taken the id meanwhile; a session sealed before is as it was.
            begun_at: matches!(begun, Begun::Empty(_)).then_some(begun_at),
            appendix: intake.appendix,
            ..SealRequest::default()
        };
        place.seal(id, &request)?;
        let taken = started.elapsed();
        let progress = ProgressLine::waiting(output, "waiting for its block");
        let session = place.anchor(id)?;
        drop(progress);
        for why in place.undelivered() {
            output.warn(&why);
        }
        prove_it(place.as_ref(), id, output)?;
        if self.verify {
            let progress = ProgressLine::start(output, "verifying", Some(session.total_bytes));
            let shown = std::sync::atomic::AtomicU64::new(0);
            let findings = place.verify_session(id, &|done| {
                let before = shown.fetch_max(done, std::sync::atomic::Ordering::Relaxed);
                progress.add(done.saturating_sub(before));
            })?;
            drop(progress);
            if !findings.is_sound() {
                for fault in findings.damage.iter().chain(&findings.faults) {
                    output.warn(fault);
                }
                anyhow::bail!("session {id} does not read back as it was archived");
            }
        }
        let anchor = session.anchor.as_ref();
        let kept = Archived {
            session_id: id.to_string(),
            merkle_root: session.merkle_root.map(|root| root.to_string()).unwrap_or_default(),
            manifest_hash: session.manifest_hash.map(|hash| hash.to_string()).unwrap_or_default(),
            block_index: anchor.and_then(|anchor| anchor.block_index),
            block_hash: anchor.and_then(|a| a.block_hash).map(|hash| hash.to_string()),
            trust_keys: anchor.map(|anchor| anchor.trust.clone()).unwrap_or_default(),
            chunk_count: session.chunk_count,
            bytes_in: intake.bytes_in,
            bytes_new,
            bytes_stored,
            seconds: started.elapsed().as_secs_f64(),
            skipped,
            changed,
            not_anchored: (!is_anchored(&session)).then(|| why_not_anchored(&session)),
        };
        place.close()?;
        output.result(&kept, |kept| match output.mode().quiet {
            true => vec![kept.session_id.clone()],
            false => summary(kept, intake.files, taken),
        })?;
        match kept.block_index {
            None => Ok(FAILED),
            Some(_) if kept.skipped.iter().any(|left| left.is_failure(self.strict)) => Ok(LEFT_OUT),
            Some(_) => Ok(DONE),
        }
    }
}

/// Refuses the folder that the store is kept in, of which nothing would be archived.
fn refuse_own_folder(path: &Path, data: &Path) -> anyhow::Result<()> {
    let is_own = match (path.canonicalize(), data.canonicalize()) {
        (Ok(path), Ok(data)) => path == data,
        _ => false,
    };
    anyhow::ensure!(
        !is_own,
        "\"{}\" is the folder that sessions are kept in (--data), which is not archived into itself: `lucid \
         mirror` keeps its sessions in a second one",
        path.display()
    );
    Ok(())
}

/// Checks anchor, block and root as an auditor would, with the smallest proof there is.
fn prove_it(place: &dyn ReadSessions, id: &SessionId, output: &Output) -> anyhow::Result<()> {
    let session = place.session(id)?;
    let wanted = if session.chunk_count > 0 { WantedProof::Chunk(0) } else { WantedProof::Session };
    let bundle = match place.prove(id, &wanted) {
        Err(error) if is_not_allowed(&error) => {
            output.warn("its proof is not checked: these credentials may add, and not read back");
            return Ok(());
        }
        bundle => bundle?,
    };
    let keys = session.anchor.map(|anchor| anchor.trust).unwrap_or_default();
    let mut trust = Vec::new();
    for key in [keys.block, keys.recorder].into_iter().flatten() {
        trust.push(Trust::Key(key.parse()?));
    }
    let report = check(&bundle, None, &trust)?;
    let anchored = Bundle::decode(&bundle)?.anchored.is_some();
    anyhow::ensure!(
        report.verdict.exit_code() == 0 || (!anchored && report.verdict.exit_code() == 2),
        "the proof of session {id} does not hold: {}",
        report.steps.last().map_or("", |step| step.sentence.as_str())
    );
    Ok(())
}

/// Counts the bytes that are coming, for the bar's sake; only when there is one to be seen.
fn foresee(path: &Path, progress: &ProgressLine, output: &Output) {
    if !output.shows_progress() {
        return;
    }
    let (path, progress) = (path.to_owned(), progress.clone());
    // It ends by itself, and nobody waits for it.
    let count = move || {
        progress.set_total(bytes_below(path));
    };
    // Without a thread there is no total, and nothing else is missing.
    let _unforeseen = std::thread::Builder::new().name("lucid-foresee".into()).spawn(count);
}

/// Bytes of the files below a path. One that has several names is read once.
fn bytes_below(path: PathBuf) -> u64 {
    let mut total = 0;
    let (mut waiting, mut met) = (vec![path], HashSet::new());
    while let Some(path) = waiting.pop() {
        let Ok(facts) = std::fs::symlink_metadata(&path) else { continue };
        if facts.is_file() {
            let is_new = facts.nlink() < 2 || met.insert((facts.dev(), facts.ino()));
            total += if is_new { facts.len() } else { 0 };
        } else if facts.is_dir()
            && let Ok(entries) = std::fs::read_dir(&path)
        {
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    total
}

/// What people are told. How fast it went is told of what was `taken` in, without the wait for a block.
fn summary(kept: &Archived, files: u64, taken: Duration) -> Vec<String> {
    let mut lines = vec![
        format!("session    {}", kept.session_id),
        format!(
            "kept       {} in {}, {}, in {} ({})",
            text::size(kept.bytes_in),
            text::many(files, "file"),
            text::many(kept.chunk_count, "chunk"),
            text::duration(taken),
            text::rate(kept.bytes_in, taken),
        ),
        format!(
            "new        {}, stored in {}",
            text::size(kept.bytes_new),
            text::size(kept.bytes_stored)
        ),
        format!("root       {}", kept.merkle_root),
        format!("manifest   {}", kept.manifest_hash),
    ];
    match (kept.block_index, &kept.block_hash) {
        (Some(index), Some(hash)) => lines.push(format!("anchored   block {index}, {hash}")),
        _ => {
            let why = kept.not_anchored.as_deref().unwrap_or(UNCONFIRMED);
            lines.push(format!("anchored   not yet: {why}"));
        }
    }
    if let Some(key) = &kept.trust_keys.block {
        lines.push(format!("trust      block key {key}"));
    }
    if let Some(key) = &kept.trust_keys.recorder {
        lines.push(format!("           recorder key {key}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_several_names_is_foreseen_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("one"), [1; 700]).unwrap();
        std::fs::hard_link(folder.path().join("one"), folder.path().join("sub/again")).unwrap();
        std::fs::write(folder.path().join("sub/two"), [2; 50]).unwrap();
        assert_eq!(bytes_below(folder.path().to_owned()), 750);
    }
}
