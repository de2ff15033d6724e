//! `lucid restore SESSION [PATH…]`: files back into a folder, or out as a tar stream.

use std::ops::Range;
use std::path::PathBuf;

use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::source::SessionSource;
use serde::Serialize;

use super::ls::given_path;
use super::span::Between;
use super::{DONE, FAILED, Home, LEFT_OUT, finish, fits, open, session_id};
use crate::folder::draft::write_whole;
use crate::folder::target::{Options, Target};
use crate::output::Output;
use crate::progress::ProgressLine;
use crate::restore::raw::{refuse_paths_of_raw, restore_raw};
use crate::restore::{complaints, restore, tar};
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
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write a tar stream to a file, or with `-` to standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    tar: Option<PathBuf>,
    /// Replace files that are there, and give folders that are there the modes and times they had.
    #[arg(long)]
    overwrite: bool,
    /// Give files to the numbers they had, not to whom their names belong here; counts for root alone.
    #[arg(long)]
    numeric_owner: bool,
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
        fits(
            self.output.is_some() || self.tar.is_some(),
            "nothing is named to restore into: name a folder with --output DIR, or a file with --tar FILE",
        )?;
        let place = open(home, "restore", output)?;
        let source = place.source(&self.session)?;
        let mut paths: Vec<Vec<u8>> =
            self.paths.iter().map(|path| given_path(Some(path))).collect();
        if paths.iter().any(Vec::is_empty) {
            paths.clear();
        }
        let part = self.between.bytes_in(place.as_ref(), source.as_ref(), output)?;
        let part = part.unwrap_or(0..source.shape().content_bytes);
        let code = match (&self.output, &self.tar) {
            (Some(folder), _) => {
                self.restore_into(source.as_ref(), folder, &paths, part, output)?
            }
            (None, Some(file)) if file.as_os_str() == "-" => {
                said(tar::write(source.as_ref(), &paths, part, &mut output.stream())?, output)
            }
            (None, Some(file)) => {
                let is_there = file.is_file();
                let left_out = write_whole(file, self.sync, |out| {
                    let left_out = tar::write(source.as_ref(), &paths, part, out)?;
                    if let Some(first) = left_out.first().filter(|_| is_there) {
                        let many = text::count(left_out.len() as u64);
                        anyhow::bail!(
                            "{first} ({many} in all), so \"{}\" stays as it was: name a file that is \
                             not there yet to take what can be read",
                            file.display()
                        );
                    }
                    Ok(left_out)
                })?;
                said(left_out, output)
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
        refuse_paths_of_raw(source, paths)?;
        let options = Options {
            overwrite: self.overwrite,
            sync: self.sync,
            numeric_owner: self.numeric_owner,
        };
        let target = Target::create(folder, options)?;
        let total = Some(part.end - part.start).filter(|_| paths.is_empty());
        let progress = ProgressLine::start(output, "restoring", total);
        let (report, failed) = if source.shape().layout == Layout::Raw {
            restore_raw(source, &target, part, &progress)?;
            (target.finish(), Vec::new())
        } else {
            let outcome = restore(source, target, paths, &progress)?;
            let failed = complaints(&outcome);
            (outcome.report, failed)
        };
        drop(progress);
        let warned = report.warnings.first.iter();
        let mut warnings: Vec<String> = warned
            .map(|warning| format!("\"{}\": {}", text::name(&warning.path), warning.what))
            .collect();
        if report.warnings.more > 0 {
            let more = text::count(report.warnings.more);
            warnings.push(format!("{more} more could not be restored quite as they were"));
        }
        if report.swept > 0 {
            let swept = text::many(report.swept, "unfinished file");
            output.remark(&format!("removed {swept} of a run that was killed"));
        }
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
                "restored {}, {} and {}, {}, in {:.1} s",
                text::many(restored.files, "file"),
                text::many(restored.folders, "folder"),
                text::many(restored.links, "link"),
                text::size(restored.bytes),
                restored.seconds
            )
        })?;
        Ok(match (restored.failed.is_empty(), restored.warnings.is_empty()) {
            (true, true) => DONE,
            (true, false) => LEFT_OUT,
            (false, _) => FAILED,
        })
    }
}

/// Names what was left out of a tar, and says how that ends.
fn said(left_out: Vec<String>, output: &Output) -> u8 {
    for line in &left_out {
        output.warn(line);
    }
    if left_out.is_empty() { DONE } else { FAILED }
}
