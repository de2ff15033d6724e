//! `lucid gc`: gives back the room of what nobody refers to.

use lucid_api::v1::maintenance::{CollectGarbage, GarbageCollected};

use super::{DONE, FAILED, Home, LEFT_OUT, open};
use crate::output::Output;
use crate::place::Place;
use crate::progress::ProgressLine;
use crate::text;

/// Arguments of `lucid gc`.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// First remove sessions that were anchored over so many days ago, by the time of the chain.
    #[arg(long, value_name = "N")]
    keep_days: Option<u32>,
    /// Free even over half of a large store, and believe a clock that is far ahead.
    #[arg(long, short)]
    yes: bool,
}

impl Gc {
    /// Collects, and says what was freed.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "gc", output)?;
        let wanted =
            CollectGarbage { dry_run: self.dry_run, confirm: self.yes, keep_days: self.keep_days };
        let collected = collect(place.as_ref(), &wanted, output)?;
        let mut code = if collected.stopped { FAILED } else { DONE };
        if collected.sessions_expired > 0
            && !self.dry_run
            && let Err(error) = place.chain_tombstones()
        {
            output.warn(&format!("the tombstones are kept, but not in a block yet: {error:#}"));
            code = if code == DONE { LEFT_OUT } else { code };
        }
        output.result(&collected, describe)?;
        remark(&collected, output);
        place.close()?;
        Ok(code)
    }
}

/// Collects garbage, and shows how far it is.
pub fn collect(
    place: &dyn Place,
    wanted: &CollectGarbage,
    output: &Output,
) -> anyhow::Result<GarbageCollected> {
    let progress = ProgressLine::start(output, "finding", None);
    place.collect_garbage(wanted, &|stage, done, total| progress.show(stage, done, total))
}

/// What a collection found and freed, for people.
pub fn describe(collected: &GarbageCollected) -> Vec<String> {
    let gone = collected.sessions_expired + collected.sessions_interrupted;
    let dead = format!(
        "not referred to: {} ({}), referred to: {} ({})",
        text::many(collected.chunks_dead, "chunk"),
        text::size(collected.bytes_dead),
        text::many(collected.chunks_live, "chunk"),
        text::size(collected.bytes_live),
    );
    if collected.dry_run {
        return vec![format!("would remove {}; {dead}", text::many(gone, "session"))];
    }
    vec![
        format!("removed {}; {dead}", text::many(gone, "session")),
        format!(
            "removed {}, freed {}",
            text::many(collected.chunks_removed, "chunk"),
            text::size(collected.bytes_freed),
        ),
    ]
}

/// Says what was left alone.
pub fn remark(collected: &GarbageCollected, output: &Output) {
    if collected.chunks_spared > 0 {
        output.remark(&format!(
            "asked for a short while ago, so kept until the next time: {}",
            text::many(collected.chunks_spared, "chunk")
        ));
    }
    if collected.segments_damaged > 0 {
        output.warn(&format!(
            "left alone: {}, damaged, or with what may be the last copy of something",
            text::many(collected.segments_damaged, "file")
        ));
    }
}
