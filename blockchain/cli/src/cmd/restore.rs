//! `lucid restore SESSION [PATH…]`: files back into a folder, or out as a tar stream.

use std::io::{BufWriter, Write};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;

use anyhow::Context as _;
use lucid_core::catalogue::{Entry, FileTime, Kind, Owner};
use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::read_session::{SessionSource, read_range, visit_entries};
use lucid_data_chain::ops::read_timeline::find_span;
use serde::Serialize;

use super::ls::given_path;
use super::span::Between;
use super::{DONE, FAILED, Home, finish, open, session_id};
use crate::folder::tarball::Tarball;
use crate::folder::target::{Options, Target};
use crate::output::Output;
use crate::progress::Progress;
use crate::restore::{complaints, restore};
use crate::text;

/// Arguments of `lucid restore`.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The session.
    #[arg(value_parser = session_id)]
    session: SessionId,
    /// Files and folders in it; without them everything is restored.
    paths: Vec<PathBuf>,
    /// The folder to restore into; nothing outside of it is touched.
    #[arg(long, short, value_name = "DIR", required_unless_present = "tar")]
    output: Option<PathBuf>,
    /// Write a tar stream to a file, or with `-` to standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    tar: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long)]
    overwrite: bool,
    /// Wait until everything is on the disk.
    #[arg(long)]
    sync: bool,
    #[command(flatten)]
    between: Between,
}

#[derive(Serialize)]
struct Restored {
    folders: u64,
    files: u64,
    links: u64,
    bytes: u64,
    seconds: f64,
    failed: Vec<String>,
    warnings: Vec<String>,
}

impl Restore {
    /// Restores.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "restore", output)?;
        let source = place.source(&self.session)?;
        let mut paths: Vec<Vec<u8>> =
            self.paths.iter().map(|path| given_path(Some(path))).collect();
        if paths.iter().any(Vec::is_empty) {
            paths.clear();
        }
        let part = match self.between.in_session(place.as_ref(), &self.session)? {
            Some(span) => find_span(source.as_ref(), &span)?.bytes,
            None => 0..source.shape().content_bytes,
        };
        let code = match (&self.output, &self.tar) {
            (Some(folder), _) => {
                self.restore_into(source.as_ref(), folder, &paths, part, output)?
            }
            (None, Some(file)) if file.as_os_str() == "-" => {
                write_tar(source.as_ref(), &paths, &mut output.stream())?;
                DONE
            }
            (None, Some(file)) => {
                let context = || format!("writing \"{}\"", file.display());
                let mut out = BufWriter::new(std::fs::File::create(file).with_context(context)?);
                write_tar(source.as_ref(), &paths, &mut out)?;
                out.flush().with_context(context)?;
                DONE
            }
            (None, None) => DONE,
        };
        drop(source);
        finish(place, code)
    }

    fn restore_into(
        &self,
        source: &dyn SessionSource,
        folder: &std::path::Path,
        paths: &[Vec<u8>],
        part: Range<u64>,
        output: &Output,
    ) -> anyhow::Result<u8> {
        let started = std::time::Instant::now();
        let options = Options { overwrite: self.overwrite, sync: self.sync };
        let target = Target::create(folder, options)?;
        let total = Some(part.end - part.start).filter(|_| paths.is_empty());
        let progress = Progress::start(output, "restoring", total);
        let (report, failed) = if source.shape().layout == Layout::Raw {
            anyhow::ensure!(
                paths.is_empty(),
                "session {} is raw: it has no files to choose from",
                self.session
            );
            restore_raw(source, &target, &self.session, part, &progress)?;
            (target.finish(), Vec::new())
        } else {
            let outcome = restore(source, target, paths, &progress)?;
            let failed = complaints(&outcome);
            (outcome.report, failed)
        };
        drop(progress);
        let warnings = report
            .warnings
            .first
            .iter()
            .map(|warning| format!("\"{}\": {}", text::name(&warning.path), warning.what))
            .collect();
        let restored = Restored {
            folders: report.restored.folders,
            files: report.restored.files,
            links: report.restored.links,
            bytes: report.restored.bytes,
            seconds: started.elapsed().as_secs_f64(),
            failed,
            warnings,
        };
        for line in restored.failed.iter().chain(&restored.warnings) {
            output.warn(line);
        }
        output.result(&restored, |restored| {
            format!(
                "restored {} files, {} folders and {} links, {}, in {:.1} s",
                text::count(restored.files),
                text::count(restored.folders),
                text::count(restored.links),
                text::size(restored.bytes),
                restored.seconds
            )
        })?;
        Ok(if restored.failed.is_empty() { DONE } else { FAILED })
    }
}

/// A raw session, or a part of it, becomes one file, named by the session.
fn restore_raw(
    source: &dyn SessionSource,
    target: &Target,
    id: &SessionId,
    part: Range<u64>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let entry = Entry {
        path: id.as_str().as_bytes().to_vec(),
        kind: Kind::File,
        mode: 0o600,
        modified: FileTime::default(),
        owner: Owner::default(),
        target: Vec::new(),
        attributes: Vec::new(),
        offset: 0,
        length: part.end - part.start,
        changed: false,
        owner_name: Vec::new(),
        group_name: Vec::new(),
        flags: None,
        holes: Vec::new(),
        access_acl: Vec::new(),
        default_acl: Vec::new(),
    };
    let slot = target.open_file(&entry)?;
    let mut at = 0;
    read_range(source, part, |bytes| {
        slot.write_at(at, bytes).map_err(|error| OpError::Invalid(error.to_string()))?;
        at += bytes.len() as u64;
        progress.add(bytes.len() as u64);
        Ok(())
    })?;
    Ok(())
}

/// Writes what is wanted as a tar stream, in catalogue order.
fn write_tar(
    source: &dyn SessionSource,
    paths: &[Vec<u8>],
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        source.shape().layout == Layout::Tree,
        "session {} is raw: `lucid cat` prints it",
        source.shape().id
    );
    let mut tarball = Tarball::new(out);
    let everything = [Vec::new()];
    let wanted = if paths.is_empty() { &everything[..] } else { paths };
    for below in wanted {
        let mut failed: anyhow::Result<()> = Ok(());
        let mut found = false;
        visit_entries(source, below, None, |entry| {
            found = true;
            failed = add_to_tar(source, &mut tarball, &entry);
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        anyhow::ensure!(
            found,
            "session {} has no file \"{}\"",
            source.shape().id,
            text::name(below)
        );
    }
    tarball.finish()?.flush()?;
    Ok(())
}

fn add_to_tar<W: Write>(
    source: &dyn SessionSource,
    tarball: &mut Tarball<W>,
    entry: &Entry,
) -> anyhow::Result<()> {
    tarball.entry(entry)?;
    if entry.kind != Kind::File {
        return Ok(());
    }
    let mut failed = Ok(());
    let read = read_range(source, entry.offset..entry.offset + entry.length, |bytes| {
        tarball.content(bytes).map_err(|error| {
            let text = error.to_string();
            failed = Err(error);
            OpError::Invalid(text)
        })
    });
    failed?;
    read?;
    Ok(())
}
