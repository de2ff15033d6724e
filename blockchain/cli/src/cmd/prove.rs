//! `lucid prove SESSION -o BUNDLE`: a proof that needs neither this store nor a server.

use std::path::PathBuf;

use lucid_core::session::SessionId;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use serde::Serialize;

use super::ls::given_path;
use super::span::Between;
use super::{DONE, Home, finish, open, session_id};
use crate::folder::draft::write_whole;
use crate::output::Output;
use crate::text;

/// Arguments of `lucid prove`.
#[derive(Debug, clap::Args)]
pub struct Prove {
    /// The session.
    #[arg(value_parser = session_id)]
    session: SessionId,
    /// One chunk, by its index.
    #[arg(long, value_name = "N", conflicts_with_all = ["range", "path"])]
    chunk: Option<u64>,
    /// Bytes A to B of the content, B included.
    #[arg(long, value_name = "A-B", value_parser = range, conflicts_with = "path")]
    range: Option<(u64, u64)>,
    /// One file of an archived folder.
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
    #[command(flatten)]
    between: Between,
    /// Where the bundle is written.
    #[arg(long, short, value_name = "BUNDLE")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Written {
    bundle: String,
    bytes: usize,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is not A-B, two byte numbers with A not above B");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first <= last { Ok((first, last)) } else { Err(wrong()) }
}

impl Prove {
    /// Writes the bundle.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "prove", output)?;
        let span = self.between.in_session(place.as_ref(), &self.session)?;
        let parts = [self.chunk.is_some(), self.range.is_some(), self.path.is_some()];
        if span.is_some() && parts.contains(&true) {
            anyhow::bail!("--from and --to are a part of their own: leave the other one out");
        }
        let wanted = match (self.chunk, self.range, &self.path) {
            (Some(index), _, _) => WantedProof::Chunk(index),
            (_, Some((first, last)), _) => WantedProof::Bytes(first..last.saturating_add(1)),
            (_, _, Some(path)) => WantedProof::Path(given_path(Some(path))),
            _ => span.map_or(WantedProof::Session, WantedProof::Span),
        };
        let bundle = place.prove(&self.session, &wanted)?;
        write_whole(&self.output, true, |out| Ok(out.write_all(&bundle)?))?;
        let written = Written { bundle: self.output.display().to_string(), bytes: bundle.len() };
        output.result(&written, |written| {
            format!("{} ({})", written.bundle, text::size(written.bytes as u64))
        })?;
        finish(place, DONE)
    }
}
