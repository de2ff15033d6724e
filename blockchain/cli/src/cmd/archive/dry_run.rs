//! `lucid archive --dry-run`: what would be kept, and how much of it would be new. Nothing is written, and nothing
//! is made.

use lucid_core::cut::ChunkProfile;
use lucid_data_chain::ops::OpError;
use lucid_store::files::folder::is_store;

use super::told::{Rest, WouldArchive};
use super::{Archive, Listing, Taken};
use crate::cmd::{DONE, Home, LEFT_OUT, clock, say_loss};
use crate::ingest::ingest;
use crate::ingest::sink::SinkError;
use crate::ingest::weighing::Weighing;
use crate::output::Output;
use crate::place::reading::Reading;
use crate::place::remote::Remote;
use crate::place::{Place, local};
use crate::progress::ProgressLine;
use crate::showing::client_options;

impl Archive {
    /// Reads, cuts and hashes like an archive, and only asks what is known of it.
    pub(super) fn look(&self, taken: Taken, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let started = std::time::Instant::now();
        let place = place(home)?;
        if let Some(place) = &place {
            if let Some(doubt) = place.only_read().and_then(|read| read.doubt()) {
                output.warn(doubt);
            }
            say_loss(place.as_ref(), "", output);
        }
        let weighing = Weighing::new(|chunks| match &place {
            Some(place) => place.missing(&chunks).map_err(sink_error),
            None => Ok(chunks),
        });
        let own = place.as_ref().and_then(|place| place.own_folder());
        let progress = ProgressLine::start(output, "looking", None);
        let source = self.source(taken, own, &progress, output);
        let mut listed = Listing::new(true, output);
        let mut met = |path: &[u8], why| listed.note(path, why);
        let intake = ingest(source, ChunkProfile::default(), &weighing, &progress, &mut met)?;
        let (chunks_new, bytes_new) = weighing.finish()?;
        drop(progress);
        let would = WouldArchive {
            dry_run: true,
            files: intake.files,
            chunk_count: intake.chunk_count,
            chunks_new,
            bytes_in: intake.bytes_in,
            bytes_new,
            seconds: started.elapsed().as_secs_f64(),
            rest: Rest::tell(&intake, listed.paths, output),
        };
        if let Some(place) = place {
            place.close()?;
        }
        output.result(&would, WouldArchive::summary)?;
        Ok(if would.rest.is_failure(self.strict) { LEFT_OUT } else { DONE })
    }
}

fn sink_error(error: anyhow::Error) -> SinkError {
    match error.downcast::<OpError>() {
        Ok(error) => SinkError::Store(error),
        Err(error) => SinkError::Server(format!("{error:#}")),
    }
}

/// What is asked which chunks are known; nothing where there is no store yet.
fn place(home: &Home) -> anyhow::Result<Option<Box<dyn Place>>> {
    if let Some(url) = &home.server {
        return Ok(Some(Box::new(Remote::connect(url, client_options(home, url)?)?)));
    }
    if !is_store(&local::data_folder(home))? {
        return Ok(None);
    }
    let home = Home { reading: Some(Reading::Always), ..home.clone() };
    Ok(Some(Box::new(local::Local::open(&home, "archive", &clock())?)))
}
