//! `lucid check-proof BUNDLE [CONTENT]`: checks a proof offline, without any store.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_core::check::{CheckStep, CheckVerdict, StepOutcome, Trust, check};
use lucid_core::limits::BUNDLE_BYTES_MAX;

use crate::output::Output;

/// Arguments of `lucid check-proof`.
#[derive(Debug, clap::Args)]
pub struct CheckProof {
    /// The bundle that `lucid prove` wrote.
    bundle: PathBuf,
    /// The bytes it is about: a restored file, or `-` for standard input.
    content: Option<PathBuf>,
    /// A key in base64 or a block's hash in hex that you trust, from a source you trust; may be given
    /// several times.
    #[arg(long, value_name = "KEY|BLOCK_HASH", value_parser = trust)]
    trust: Vec<Trust>,
}

fn trust(text: &str) -> Result<Trust, String> {
    if let Ok(hash) = text.parse() {
        return Ok(Trust::BlockHash(hash));
    }
    text.parse().map(Trust::Key).map_err(|_| {
        format!("{text:?} is neither a public key in base64 nor a block hash of 64 hex digits")
    })
}

impl CheckProof {
    /// Says step by step what is proved, and at the end what is not.
    pub fn run(&self, output: &Output) -> anyhow::Result<u8> {
        let bundle = read_bundle(&self.bundle)?;
        let mut content: Option<Box<dyn Read>> = match &self.content {
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
                    let unproved = |step: &CheckStep| step.outcome == StepOutcome::NotProved;
                    let mut names = report.steps.iter().filter(|step| unproved(step));
                    match names.all(|step| step.name == "time") {
                        true => "consistent, but the time is NOT known".into(),
                        false => {
                            "consistent, but origin or recorder are NOT proved: give what you \
                                  trust with --trust"
                                .into()
                        }
                    }
                }
            });
            lines
        })?;
        Ok(report.verdict.exit_code())
    }
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
