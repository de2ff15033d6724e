//! `lucid migrate`: moves a store into a database and a bucket, or back into its folder.

use std::cell::RefCell;

use serde::Serialize;

use super::{DONE, Home, LEFT_OUT, now};
use crate::output::Output;
use crate::place::local::{MigrateTo, Moves, StoreMoved, StoreToMove};
use crate::progress::ProgressLine;
use crate::text;

/// Arguments of `lucid migrate`.
#[derive(Debug, clap::Args)]
pub struct Migrate {
    /// Where it goes: `remote`, as MONGO_URL and the LUCID_S3_ variables say, or `folder`.
    #[arg(long, value_enum, value_name = "WHERE")]
    to: MigrateTo,
    /// Say how much there is to move, and whether it can be; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Leave behind what cannot be read; each place is named.
    #[arg(long)]
    accept_loss: bool,
}

#[derive(Serialize)]
struct ToMigrate {
    stores: Vec<StoreToMove>,
}

#[derive(Serialize)]
struct Migrated {
    seconds: f64,
    stores: Vec<StoreMoved>,
}

impl Migrate {
    /// Moves what is not there yet, and says what was moved and where what was there before is.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        anyhow::ensure!(
            home.server.is_none(),
            "a store is moved on the machine that has its folder: stop the server and use --data"
        );
        let moves = Moves::new(home, self.to, now())?;
        if self.dry_run {
            let found = ToMigrate { stores: moves.survey()? };
            output.result(&found, |found| said_beforehand(&found.stores))?;
            return Ok(DONE);
        }
        let started = std::time::Instant::now();
        let shown = Shown { output, line: RefCell::new(None) };
        let outcome = moves.run(self.accept_loss, &|stage, are_blocks, done, total| {
            shown.show(stage, are_blocks, done, total);
        });
        drop(shown);
        let migrated = Migrated { seconds: started.elapsed().as_secs_f64(), stores: outcome? };
        output.result(&migrated, |done| said(&done.stores, done.seconds))?;
        let left: Vec<&String> = migrated.stores.iter().flat_map(|store| &store.left).collect();
        left.iter().for_each(|place| output.warn(&format!("left behind: {place}")));
        for before in migrated.stores.iter().filter_map(|store| store.before.as_ref()) {
            output.note(&format!(
                "what was in the folder is in {}, as it was: remove it once it is not needed",
                before.display()
            ));
        }
        Ok(if left.is_empty() { DONE } else { LEFT_OUT })
    }
}

/// What is shown: bytes, or blocks.
struct Shown<'a> {
    output: &'a Output,
    line: RefCell<Option<(bool, ProgressLine)>>,
}

impl Shown<'_> {
    fn show(&self, stage: &str, are_blocks: bool, done: u64, total: u64) {
        let mut line = self.line.borrow_mut();
        if line.as_ref().is_none_or(|(blocks, _)| *blocks != are_blocks) {
            // The one before is cleared first.
            *line = None;
            let next = match are_blocks {
                true => ProgressLine::counting(self.output, stage, "blocks"),
                false => ProgressLine::start(self.output, stage, None),
            };
            *line = Some((are_blocks, next));
        }
        if let Some((_, line)) = line.as_ref() {
            line.show(stage, done, total);
        }
    }
}

fn said_beforehand(stores: &[StoreToMove]) -> Vec<String> {
    let each = stores.iter().map(|store| match store.is_there {
        true => format!("{}: it is there already", store.service),
        false => format!(
            "{}: {}, {}, {} to move",
            store.service,
            text::many(store.chunks, "chunk"),
            text::many(store.blocks, "block"),
            text::size(store.bytes),
        ),
    });
    each.collect()
}

fn said(stores: &[StoreMoved], seconds: f64) -> Vec<String> {
    if stores.is_empty() {
        return vec!["everything is there already".to_owned()];
    }
    let each = stores.iter().map(|store| {
        format!(
            "{}: {}, {} ({}) and {} moved and compared",
            store.service,
            text::many(store.facts, "fact"),
            text::many(store.chunks, "chunk"),
            text::size(store.bytes),
            text::many(store.blocks, "block"),
        )
    });
    let mut lines: Vec<_> = each.collect();
    lines.push(format!("in {seconds:.1} s"));
    lines
}
