//! Feels the store's pulse: reads the newest block every few seconds and judges it once.
//!
//! Health must not wait for a disk that hangs, so it looks at what is noted here, and at how old that is.

use std::time::Duration;

use lucid_core::digest::BlockHash;

use lucid_store::files::folder::DataFolder;

use super::MISTAKE;
use crate::app::App;
use crate::opened::Opened;
use crate::ops::check_integrity::check_integrity;

/// How often.
const EVERY: Duration = Duration::from_secs(2);
/// What was felt longer ago than this says that reading hangs.
pub const STALE: Duration = Duration::from_secs(20);

/// Reads on and on, until the shutdown is asked for.
pub async fn feel_pulse(app: App) {
    let mut judged = None;
    loop {
        let reading = app.clone();
        let read = tokio::task::spawn_blocking(move || {
            let opened = reading.opened()?;
            let (storage, validator, tip) = feel(opened, judged);
            reading.note_pulse(storage, validator);
            reading.note_servers(opened.folder().map(DataFolder::pulse).unwrap_or_default());
            tip
        });
        match read.await {
            Ok(tip) => judged = tip,
            Err(error) => {
                tracing::error!(%error, "reading the newest block panicked");
                let why = format!("the newest block could not be read: {MISTAKE}");
                app.note_pulse(Some(why.clone()), Some(why));
            }
        }
        tokio::select! {
            () = app.shutdown().asked() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Why the newest block cannot be read, why it is not judged valid, and which it is if it is: a block
/// that was judged is only read again.
fn feel(
    opened: &Opened,
    judged: Option<BlockHash>,
) -> (Option<String>, Option<String>, Option<BlockHash>) {
    let chain = opened.chain.as_ref();
    let read = chain.tip().and_then(|tip| match tip {
        Some(tip) => chain.record(tip.height).map(|_| Some(tip)),
        None => Ok(None),
    });
    let tip = match read {
        Err(error) => {
            let why = error.to_string();
            return (Some(why), Some("the newest block cannot be read".to_owned()), None);
        }
        Ok(None) => return (None, None, None),
        Ok(Some(tip)) => tip,
    };
    if judged == Some(tip.hash) {
        return (None, None, judged);
    }
    let range = tip.height..tip.height + 1;
    match check_integrity(chain, opened.clock.now(), range, &mut |_| true) {
        Ok(found) if found.faults == 0 => (None, None, Some(tip.hash)),
        Ok(found) => {
            let why = found.invalid.first().map(|invalid| invalid.why.clone());
            let why = why.or_else(|| found.damage.first().map(ToString::to_string));
            let why = why.unwrap_or_else(|| "it is missing".to_owned());
            (None, Some(format!("the newest block does not pass its own rules: {why}")), None)
        }
        Err(error) => (Some(error.to_string()), Some("it cannot be read".to_owned()), None),
    }
}
