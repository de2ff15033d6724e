//! `lucid reindex`: throws the index away and builds it from the log and the segments.

use serde::Serialize;

use super::{DONE, FAILED, Home, now};
use crate::output::Output;
use crate::place::local;
use crate::progress::ProgressLine;
use crate::text;

/// Arguments of `lucid reindex`.
#[derive(Debug, clap::Args)]
pub struct Reindex {
    /// Go on although acknowledged facts are missing from the log.
    #[arg(long)]
    accept_loss: bool,
    /// Make only the orders anew in which documents are found: quicker, for an index that an earlier version made.
    #[arg(long, conflicts_with_all = ["accept_loss", "accept_other_chain"])]
    records: bool,
    /// Let anchors go to another chain, or a new one: the one that has them is lost for good.
    #[arg(long)]
    accept_other_chain: bool,
}

#[derive(Serialize)]
struct RecordsReindexed {
    seconds: f64,
    documents: u64,
    sessions: u64,
    places_added: u64,
    places_removed: u64,
    damage: Vec<String>,
}

#[derive(Serialize)]
struct Reindexed {
    seconds: f64,
    damage: Vec<String>,
}

impl Reindex {
    /// Rebuilds both indexes of the data folder.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        anyhow::ensure!(
            home.server.is_none(),
            "an index is rebuilt on the machine that has the store: stop the server and use --data"
        );
        let started = std::time::Instant::now();
        if self.records {
            return reindex_records(home, output);
        }
        let progress = ProgressLine::start(output, "reading the log", None);
        let (loss, other_chain) = (self.accept_loss, self.accept_other_chain);
        let damage = local::reindex(home, now(), loss, other_chain, &|done, total| {
            progress.show("reading the log", done, total);
        })?;
        drop(progress);
        for found in &damage {
            output.warn(found);
        }
        let reindexed = Reindexed { seconds: started.elapsed().as_secs_f64(), damage };
        output.result(&reindexed, |done| format!("rebuilt in {:.1} s", done.seconds))?;
        Ok(if reindexed.damage.is_empty() { DONE } else { FAILED })
    }
}

fn reindex_records(home: &Home, output: &Output) -> anyhow::Result<u8> {
    let started = std::time::Instant::now();
    let progress = ProgressLine::waiting(output, "making orders anew");
    let (done, damage) = local::reindex_records(home, now())?;
    drop(progress);
    damage.iter().for_each(|found| output.warn(found));
    let reindexed = RecordsReindexed {
        seconds: started.elapsed().as_secs_f64(),
        documents: done.documents,
        sessions: done.sessions,
        places_added: done.added,
        places_removed: done.removed,
        damage,
    };
    output.result(&reindexed, |done| {
        format!(
            "looked at {} and {} in {:.1} s: {} put in, {} taken out",
            text::many(done.documents, "document"),
            text::many(done.sessions, "session"),
            done.seconds,
            text::many(done.places_added, "place"),
            text::many(done.places_removed, "place"),
        )
    })?;
    Ok(if reindexed.damage.is_empty() { DONE } else { FAILED })
}
