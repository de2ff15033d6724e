//! `lucid optimise`: packs what is stored more tightly.

use lucid_api::v1::maintenance::OPTIMISE_LEVEL;

use super::{DONE, FAILED, Home, open};
use crate::output::Output;
use crate::progress::ProgressLine;
use crate::text;

/// Arguments of `lucid optimise`.
#[derive(Debug, clap::Args)]
pub struct Optimise {
    /// The zstd level, 1 to 19: higher takes longer and packs more tightly.
    #[arg(long, default_value_t = OPTIMISE_LEVEL, value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=19))]
    level: u8,
}

impl Optimise {
    /// Packs, and says what was freed.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "optimise", output)?;
        let progress = ProgressLine::start(output, "rewriting", None);
        let outcome =
            place.optimise(self.level, &|stage, done, total| progress.show(stage, done, total));
        drop(progress);
        let optimised = outcome?;
        output.result(&optimised, |optimised| {
            format!(
                "wrote {} anew at level {}, freed {}",
                text::many(optimised.segments_rewritten, "file"),
                optimised.level,
                text::size(optimised.bytes_freed),
            )
        })?;
        if optimised.segments_damaged > 0 {
            output.warn(&format!(
                "left alone: {}, damaged, or with what may be the last copy of something",
                text::many(optimised.segments_damaged, "file")
            ));
        }
        place.close()?;
        Ok(if optimised.stopped { FAILED } else { DONE })
    }
}
