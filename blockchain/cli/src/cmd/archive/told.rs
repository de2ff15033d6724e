//! What is told of an archive: what was kept, what was left out, what was not wanted.

use std::time::Duration;

use lucid_api::v1::anchors::TrustKeys;
use serde::Serialize;

use crate::cmd::UNCONFIRMED;
use crate::folder::select::{Excluded, ExcludedCounts};
use crate::folder::walk::Loss;
use crate::ingest::{Intake, LeftOut};
use crate::output::Output;
use crate::text;

/// What was kept: the object that `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Archived {
    pub session_id: String,
    pub merkle_root: String,
    pub manifest_hash: String,
    pub block_index: Option<u64>,
    pub block_hash: Option<String>,
    pub trust_keys: TrustKeys,
    pub chunk_count: u64,
    pub bytes_in: u64,
    pub bytes_new: u64,
    pub bytes_stored: u64,
    pub seconds: f64,
    #[serde(flatten)]
    pub rest: Rest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_anchored: Option<String>,
}

/// What would be kept: the object that `--json` prints of a run that only looks.
#[derive(Debug, Serialize)]
pub(super) struct WouldArchive {
    pub dry_run: bool,
    pub files: u64,
    pub chunk_count: u64,
    pub chunks_new: u64,
    pub bytes_in: u64,
    pub bytes_new: u64,
    pub seconds: f64,
    #[serde(flatten)]
    pub rest: Rest,
}

/// What is not in the archive as it is on the disk.
#[derive(Debug, Serialize)]
pub(super) struct Rest {
    pub skipped: Vec<Skipped>,
    pub changed: Vec<String>,
    pub excluded: ExcludedCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded_paths: Option<Vec<NotWanted>>,
}

/// Something that was not archived.
#[derive(Debug, Serialize)]
pub(super) struct Skipped {
    path: String,
    why: String,
    loss: Loss,
}

/// Something that is not wanted.
#[derive(Debug, Serialize)]
pub(super) struct NotWanted {
    path: String,
    why: String,
}

impl NotWanted {
    pub fn new(path: &[u8], why: Excluded) -> Self {
        Self { path: text::name(path), why: why.to_string() }
    }

    /// What people are told.
    pub fn sentence(&self) -> String {
        format!("excluded \"{}\": {}", self.path, self.why)
    }
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
            Loss::Nothing => format!("\"{path}\": {why}"),
            Loss::Own | Loss::SpecialFile | Loss::Whole | Loss::Excluded => {
                format!("\"{path}\" was left out: {why}")
            }
        }
    }

    /// Whether the archive is less than what was asked for.
    fn is_failure(&self, strict: bool) -> bool {
        match self.loss {
            Loss::Own | Loss::Nothing | Loss::Excluded => false,
            Loss::SpecialFile => strict,
            Loss::Part | Loss::Whole => true,
        }
    }
}

impl Rest {
    /// Says what was left out and what changed, regardless of how the rest goes.
    pub fn tell(intake: &Intake, excluded_paths: Option<Vec<NotWanted>>, output: &Output) -> Self {
        let changed: Vec<String> = intake.changed.iter().map(|path| text::name(path)).collect();
        for path in &changed {
            output.warn(&format!("\"{path}\" changed while it was read"));
        }
        let skipped: Vec<Skipped> = intake.left_out.iter().map(Skipped::of).collect();
        for skipped in &skipped {
            output.warn(&skipped.sentence());
        }
        Self { skipped, changed, excluded: intake.excluded, excluded_paths }
    }

    /// Whether the archive is less than what was asked for.
    pub fn is_failure(&self, strict: bool) -> bool {
        self.skipped.iter().any(|left| left.is_failure(strict))
    }

    /// What was not wanted, in a line, if there was anything.
    fn excluded(&self) -> Option<String> {
        let reasons = self.excluded.by_reason();
        let reasons = reasons.iter().filter(|(_, count)| *count > 0);
        let reasons: Vec<_> =
            reasons.map(|(why, number)| format!("{} {why}", text::count(*number))).collect();
        let total = text::many(self.excluded.total(), "path");
        (!reasons.is_empty()).then(|| format!("excluded   {total}: {}", reasons.join(", ")))
    }
}

impl Archived {
    /// What people are told. How fast it went is told of what was `taken` in, without the wait for a block.
    pub fn summary(&self, files: u64, taken: Duration) -> Vec<String> {
        let mut lines = vec![
            format!("session    {}", self.session_id),
            format!(
                "kept       {} in {}, {}, in {} ({})",
                text::size(self.bytes_in),
                text::many(files, "file"),
                text::many(self.chunk_count, "chunk"),
                text::duration(taken),
                text::rate(self.bytes_in, taken),
            ),
        ];
        lines.extend(self.rest.excluded());
        lines.extend([
            format!(
                "new        {}, stored in {}",
                text::size(self.bytes_new),
                text::size(self.bytes_stored)
            ),
            format!("root       {}", self.merkle_root),
            format!("manifest   {}", self.manifest_hash),
        ]);
        match (self.block_index, &self.block_hash) {
            (Some(index), Some(hash)) => lines.push(format!("anchored   block {index}, {hash}")),
            _ => {
                let why = self.not_anchored.as_deref().unwrap_or(UNCONFIRMED);
                lines.push(format!("anchored   not yet: {why}"));
            }
        }
        if let Some(key) = &self.trust_keys.block {
            lines.push(format!("trust      block key {key}"));
        }
        if let Some(key) = &self.trust_keys.recorder {
            lines.push(format!("           recorder key {key}"));
        }
        lines
    }
}

impl WouldArchive {
    /// What people are told.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "would keep {} in {}, {}",
            text::size(self.bytes_in),
            text::many(self.files, "file"),
            text::many(self.chunk_count, "chunk"),
        )];
        lines.extend(self.rest.excluded());
        lines.push(format!(
            "new        {} in {}",
            text::size(self.bytes_new),
            text::many(self.chunks_new, "chunk")
        ));
        lines
    }
}
