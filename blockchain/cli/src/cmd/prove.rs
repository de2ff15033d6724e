//! `lucid prove SESSION -o BUNDLE`: a proof that needs neither this store nor a server.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use serde::Serialize;

use super::ls::given_path;
use super::span::Between;
use super::{DONE, Home, finish, fits, open};
use crate::folder::draft::write_whole;
use crate::group;
use crate::output::Output;
use crate::place::Place;
use crate::text;
use crate::which::{Narrow, Wanted, choose};

/// Arguments of `lucid prove`.
#[derive(Debug, clap::Args)]
pub struct Prove {
    /// The session: its id, a beginning of it that no other has (4 characters at least), or `latest`; `=ID` is that id
    /// alone. --host, --tag and --user say of which sessions `latest` is one.
    #[arg(required_unless_present = "group")]
    session: Option<Wanted>,
    /// Every session of this group: BUNDLE is a folder, in which each gets a bundle by its name.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["session", "chunk", "range", "path", "from", "to"])]
    group: Option<String>,
    #[command(flatten)]
    narrow: Narrow,
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

/// How the names of bundles end in a folder of them; in front stands what they are of.
pub const BUNDLE: &str = ".proof";

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
        let id = match (&self.session, &self.group) {
            (Some(session), _) => choose(place.as_ref(), session, &self.narrow, &[])?,
            (None, group) => {
                let group = group.as_deref().unwrap_or_default();
                self.prove_group(place.as_ref(), group, output)?;
                return finish(place, DONE);
            }
        };
        let span = self.between.in_session(place.as_ref(), &id)?;
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
        let written = write(place.as_ref(), &id, &wanted, &self.output)?;
        output.result(&written, Written::line)?;
        finish(place, DONE)
    }

    /// A bundle for each session of a group.
    fn prove_group(&self, place: &dyn Place, group: &str, output: &Output) -> anyhow::Result<()> {
        fits(
            !self.narrow.is_set(),
            "--host, --tag and --user say which session is the latest one: leave them out",
        )?;
        let ids = group::ids(&group::members(place, group)?)?;
        std::fs::create_dir_all(&self.output).with_context(|| {
            format!("\"{}\" cannot be the bundles' folder", self.output.display())
        })?;
        for id in &ids {
            let at = self.output.join(format!("{id}{BUNDLE}"));
            output.item(&write(place, id, &WantedProof::Session, &at)?, Written::line)?;
        }
        Ok(())
    }
}

fn write(
    place: &dyn Place,
    id: &SessionId,
    wanted: &WantedProof,
    at: &Path,
) -> anyhow::Result<Written> {
    let bundle = place.prove(id, wanted)?;
    write_whole(at, true, |out| Ok(out.write_all(&bundle)?))?;
    Ok(Written { bundle: at.display().to_string(), bytes: bundle.len() })
}

impl Written {
    fn line(&self) -> String {
        format!("{} ({})", self.bundle, text::size(self.bytes as u64))
    }
}
