//! `lucid archive PATH…`: the main job, from files to an anchored session.
//!
//! `take` says what is archived, `dry_run` only looks, `told` is what is said of it.

mod dry_run;
mod take;
mod told;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_core::bundle::Bundle;
use lucid_core::check::{Trust, check};
use lucid_core::cut::ChunkProfile;
use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::ops::sessions::seal_session::SealRequest;

use self::take::{Take, Taken};
use self::told::{Archived, NotWanted, Rest};
use super::keep::Keep;
use super::{DONE, FAILED, Home, LEFT_OUT, is_anchored, now, why_not_anchored};
use crate::folder::select::Excluded;
use crate::folder::walk::{self, Sources};
use crate::ingest::{IngestSource, ingest};
use crate::output::{Output, OutputMode};
use crate::place::remote::is_not_allowed;
use crate::place::{Begun, ReadSessions};
use crate::progress::ProgressLine;
use crate::text;

/// Arguments of `lucid archive`.
#[derive(Debug, clap::Args)]
pub struct Archive {
    #[command(flatten)]
    take: Take,
    #[command(flatten)]
    keep: Keep,
    /// Only say what would be kept, and how much of it would be new: nothing is written, and nothing is made.
    #[arg(long, short = 'n', conflicts_with = "verify")]
    dry_run: bool,
    /// Read everything back from the store and compare it with what was hashed.
    #[arg(long)]
    verify: bool,
    /// Exit with 3 also when sockets, pipes or devices are left out, which have no content.
    #[arg(long)]
    strict: bool,
}

impl Archive {
    /// Whether it writes nothing.
    pub fn only_reads(&self) -> bool {
        self.dry_run
    }

    /// Archives, seals, anchors, and proves that all three happened.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let started = std::time::Instant::now();
        let taken = self.take.understand(now(), output)?;
        if let Taken::Tree(sources, _) = &taken {
            for path in sources.paths() {
                walk::refuse_store(path)?;
                if home.server.is_none() {
                    refuse_own_folder(path, &home.data)?;
                }
            }
        }
        if self.dry_run {
            return self.look(taken, home, output);
        }
        let place = self.keep.open(home, "archive", output, taken.is_stream())?;
        let layout = if matches!(taken, Taken::Stream) { Layout::Raw } else { Layout::Tree };
        let origins = taken.origins();
        let read: Vec<&Path> = origins.iter().map(PathBuf::as_path).collect();
        let new = self.keep.new_session(layout, true, &read)?;
        place.may_anchor(new.id.as_ref()).context("nothing was archived")?;
        let begun_at = new.started_at;
        let begun = place.begin(new)?;
        let (id, filling) = match &begun {
            Begun::Empty(id) => (id, place.fill(id, self.keep.storage())?),
            Begun::Sealed(id) => (id, place.compare(id)?),
        };
        let progress = ProgressLine::start(output, "archiving", None);
        let source = self.source(taken, place.own_folder(), &progress, output);
        let mut listed = Listing::new(false, output);
        let mut met = |path: &[u8], why| listed.note(path, why);
        let profile = ChunkProfile::default();
        let taken = ingest(source, profile, filling.as_sink(), &progress, &mut met);
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
        let rest = Rest::tell(&intake, listed.paths, output);
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
            rest,
            not_anchored: (!is_anchored(&session)).then(|| why_not_anchored(&session)),
        };
        place.close()?;
        output.result(&kept, |kept| match output.mode().quiet {
            true => vec![kept.session_id.clone()],
            false => kept.summary(intake.files, taken),
        })?;
        match kept.block_index {
            None => Ok(FAILED),
            Some(_) if kept.rest.is_failure(self.strict) => Ok(LEFT_OUT),
            Some(_) => Ok(DONE),
        }
    }

    /// What is taken in, and how. What belongs to the place itself is left out.
    fn source(
        &self,
        taken: Taken,
        own: Option<PathBuf>,
        progress: &ProgressLine,
        output: &Output,
    ) -> IngestSource {
        match taken {
            Taken::Stream => IngestSource::Raw(Box::new(std::io::stdin())),
            Taken::File(entry) => IngestSource::File(Box::new(std::io::stdin()), *entry),
            Taken::Tree(sources, selection) => {
                let exclude = own.and_then(|folder| walk::Identity::of(&folder).ok());
                let options = walk::Options {
                    exclude: exclude.into_iter().collect(),
                    selection,
                    ..walk::Options::default()
                };
                foresee(&sources, &options, progress, output);
                IngestSource::Tree(sources, options)
            }
        }
    }
}

/// Paths, as they are come upon: people hear of each if they want to, programs of those that are not wanted, and always
/// of a run that only looks.
struct Listing<'a> {
    output: &'a Output,
    paths: Option<Vec<NotWanted>>,
}

impl<'a> Listing<'a> {
    fn new(only_looks: bool, output: &'a Output) -> Self {
        let OutputMode { json, verbose, .. } = output.mode();
        Self { output, paths: (json && (verbose || only_looks)).then(Vec::new) }
    }

    /// A path is taken, or there is a reason why it is not wanted.
    fn note(&mut self, path: &[u8], why: Option<Excluded>) {
        let Some(why) = why else {
            // What is archived itself has no name in it.
            if !path.is_empty() {
                self.output.detail(&format!("took \"{}\"", text::name(path)));
            }
            return;
        };
        let path = NotWanted::new(path, why);
        self.output.detail(&path.sentence());
        if let Some(paths) = &mut self.paths {
            paths.push(path);
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
fn foresee(sources: &Sources, options: &walk::Options, progress: &ProgressLine, output: &Output) {
    if !output.shows_progress() {
        return;
    }
    let (sources, options, progress) = (sources.clone(), options.clone(), progress.clone());
    // It ends by itself, and nobody waits for it.
    let count = move || {
        if let Ok(sizes) = walk::sizes(&sources, &options) {
            progress.set_total(sizes.sum());
        }
    };
    // Without a thread there is no total, and nothing else is missing.
    let _unforeseen = std::thread::Builder::new().name("lucid-foresee".into()).spawn(count);
}
