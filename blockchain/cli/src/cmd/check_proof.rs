//! `lucid check-proof BUNDLE [CONTENT]`: checks a proof offline, without any store.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_core::check::{CheckStep, CheckVerdict, StepOutcome, Trust, check};
use lucid_core::limits::BUNDLE_BYTES_MAX;

use super::prove::BUNDLE;
use super::{DONE, FAILED};
use crate::output::Output;
use crate::restore::proof::trust;

/// Arguments of `lucid check-proof`.
#[derive(Debug, clap::Args)]
pub struct CheckProof {
    /// The bundle that `lucid prove` wrote, or the folder of a group's bundles.
    bundle: PathBuf,
    /// The bytes it is about: a restored file, or `-` for standard input; of a group's bundles the folder into which
    /// the group was restored.
    content: Option<PathBuf>,
    /// A key in base64 or a block's hash in hex that you trust, from a source you trust; may be given
    /// several times.
    #[arg(long, value_name = "KEY|BLOCK_HASH", value_parser = trust)]
    trust: Vec<Trust>,
}

impl CheckProof {
    /// Says step by step what is proved, and at the end what is not. Of several bundles the worst verdict counts.
    pub fn run(&self, output: &Output) -> anyhow::Result<u8> {
        if !self.bundle.is_dir() {
            return self.check(&self.bundle, self.content.as_deref(), output);
        }
        let bundles = bundles(&self.bundle)?;
        let mut worst = DONE;
        for (name, bundle) in &bundles {
            output.remark(&format!("{name}:"));
            let content = self.content.as_ref().map(|content| content.join(name));
            let code = self.check(bundle, content.as_deref(), output)?;
            // What is refused is worse than what is not proved.
            worst = match (worst, code) {
                (FAILED, _) | (_, FAILED) => FAILED,
                (worst, code) => worst.max(code),
            };
        }
        Ok(worst)
    }

    fn check(&self, bundle: &Path, content: Option<&Path>, output: &Output) -> anyhow::Result<u8> {
        let bundle = read_bundle(bundle)?;
        let mut content: Option<Box<dyn Read>> = match content {
            None => None,
            Some(path) if path.as_os_str() == "-" => Some(Box::new(std::io::stdin())),
            Some(path) => {
                let file = File::open(path)
                    .with_context(|| format!("\"{}\" cannot be read", path.display()))?;
                Some(Box::new(BufReader::with_capacity(1 << 20, file)))
            }
        };
        let content = content.as_mut().map(|content| content.as_mut() as &mut dyn Read);
        let report = check(&bundle, content, &self.trust).context("the content cannot be read")?;
        output.result(&report, |report| {
            let mut lines: Vec<String> = report
                .steps
                .iter()
                .map(|step| {
                    let mark = match step.outcome {
                        StepOutcome::Proved => "proved    ",
                        StepOutcome::NotProved => "NOT proved",
                        StepOutcome::Skipped => "skipped   ",
                        StepOutcome::Refused => "REFUSED   ",
                    };
                    format!("{mark} {:<12} {}", step.name, step.sentence)
                })
                .collect();
            lines.extend(report.not_proved.iter().map(|what| format!("not proved: {what}")));
            lines.push(match &report.verdict {
                CheckVerdict::Proved => "everything is proved".into(),
                CheckVerdict::Refused { reason } => format!("REFUSED: {reason}"),
                CheckVerdict::OriginOrRecorderNotProved => {
                    let unproved = |step: &&CheckStep| step.outcome == StepOutcome::NotProved;
                    let steps = report.steps.iter().filter(unproved);
                    let names: Vec<_> = steps.map(|step| step.name).collect();
                    match names.as_slice() {
                        ["time"] => "consistent, but the time is NOT known".into(),
                        names if names.contains(&"elsewhere") => {
                            let more = match names.contains(&"recorder") {
                                true => "; nor is the recorder: give what you trust with --trust",
                                false => "",
                            };
                            format!(
                                "consistent, but that it is anchored, and since when, is the word of an engine: \
                                 NOT proved{more}"
                            )
                        }
                        _ => "consistent, but origin or recorder are NOT proved: give what you trust with \
                              --trust"
                            .into(),
                    }
                }
            });
            lines
        })?;
        Ok(report.verdict.exit_code())
    }
}

/// The bundles of a folder by what they are of.
fn bundles(folder: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let context = || format!("\"{}\" cannot be listed", folder.display());
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(name) = name.strip_suffix(BUNDLE) {
            found.insert(name.to_owned(), path.clone());
        }
    }
    anyhow::ensure!(
        !found.is_empty(),
        "\"{}\" has no bundle: those of a group are called ID{BUNDLE}",
        folder.display()
    );
    Ok(found)
}

fn read_bundle(path: &Path) -> anyhow::Result<Vec<u8>> {
    let context = || format!("\"{}\" cannot be read", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(context)?
        .take(BUNDLE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(context)?;
    Ok(bytes)
}
