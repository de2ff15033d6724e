//! Opening a folder to read from it: as its owner, or without writing where that cannot or must not be.
//!
//! `cmd` decides which verbs only read; every one of them opens its folders through [`open`], so that
//! there is one answer to when nothing is written.

use std::sync::Once;

use anyhow::Context as _;
use lucid_store::StoreError;
use lucid_store::folder::{OnlyRead, ToRead};
use lucid_store::index::temporary::{MEMORY_BYTES_MAX, Room, remove_all};
use tokio::signal::unix::{SignalKind, signal};

use crate::output::Output;

/// Why nothing is written where the user says so.
pub const FORBIDDEN: &str = "--read-only forbids it";

/// When a verb that only reads opens a folder without writing to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// If it cannot be written to.
    WhereUnwritable,
    /// In any case: it must not be touched.
    Always,
}

/// Opens a folder: its `own`er does, or somebody does who `read`s it. `fault` finds the store's error in
/// the one that came of it.
pub fn open<T, E>(
    reading: Option<Reading>,
    own: impl FnOnce() -> Result<T, E>,
    read: impl FnOnce(&ToRead) -> Result<T, E>,
    fault: impl Fn(&E) -> Option<&StoreError>,
) -> Result<T, E> {
    let why = match reading {
        None => return own(),
        Some(Reading::Always) => FORBIDDEN,
        Some(Reading::WhereUnwritable) => {
            let opened = own();
            match opened.as_ref().err().and_then(&fault).and_then(StoreError::forbids_writing) {
                None => return opened,
                Some(why) => why,
            }
        }
    };
    tidy_up_on_signals();
    let room = Room { scratch: std::env::temp_dir(), memory_bytes_max: MEMORY_BYTES_MAX };
    read(&ToRead { why: why.to_owned(), room })
}

/// Says that a folder is only read: once, and as a warning where somebody may be writing to it.
pub fn say(output: &Output, only_read: Option<&OnlyRead>) {
    let Some(only_read) = only_read else { return };
    match only_read.doubt() {
        None => output.note(only_read.why()),
        Some(doubt) => output.warn(&format!("{}; {doubt}", only_read.why())),
    }
}

/// Has a copy of an index removed when the command is told to end. Without this the signal still ends
/// it, and leaves the copy behind.
fn tidy_up_on_signals() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        if let Err(error) = listen() {
            tracing::warn!(%error, "a signal will leave the copy of the index behind");
        }
    });
}

fn listen() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _here = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    let wait = move || {
        let signal = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
            }
        });
        remove_all();
        std::process::exit(128 + signal.as_raw_value());
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).context("no thread")?;
    Ok(())
}
