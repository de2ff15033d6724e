//! Writing the read log, on a thread of its own: it goes on until the last request is answered.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lucid_store::threads;
use tokio::runtime::Handle;

use crate::app::App;
use crate::ops::OpError;
use crate::ops::audit::write_log::{LogPlace, LogWriter};
use crate::read_log::{ReadLog, Waiting};

/// Between two looks whether the day is over, while nothing comes.
const TICK: Duration = Duration::from_secs(1);
/// Bytes of lines that are written together.
const PIECE_BYTES: usize = 1 << 20;
/// How often the last entries are tried, when the service ends.
const LAST_TRIES: u32 = 3;

/// The thread that writes.
pub struct Writing {
    log: ReadLog,
    thread: JoinHandle<()>,
}

/// Starts writing.
pub fn start(app: &Arc<App>) -> io::Result<Writing> {
    let (log, written, app) = (app.read_log.clone(), app.read_log.clone(), Arc::downgrade(app));
    let runtime = Handle::current();
    let thread = threads::start("read-log", move || write_on(&written, &app, &runtime))?;
    Ok(Writing { log, thread })
}

impl Writing {
    /// Writes what came, and ends.
    pub fn end(self) {
        self.log.end();
        if self.thread.join().is_err() {
            tracing::error!("writing the read log ended in a fault of the code");
        }
    }
}

fn write_on(log: &ReadLog, app: &Weak<App>, runtime: &Handle) {
    let Some(first) = app.upgrade() else { return };
    let mut writer = LogWriter::new(&first.opened.store_id());
    drop(first);
    let (mut tries, mut are_left_found, mut turned) = (0, false, None::<Instant>);
    loop {
        let batch = log.next(TICK);
        let is_last = batch.is_last;
        // Where nobody has the service any more, nothing comes.
        let Some(app) = app.upgrade() else { return };
        let left = write(log, &app, runtime, &mut writer, batch.entries);
        // What the writer had open it does not know any more, and the day may end before it does again.
        are_left_found &= left == 0;
        if turned.is_none_or(|turned| turned.elapsed() >= TICK) {
            turned = Some(Instant::now());
            if !are_left_found {
                let found = ours(|| writer.find_left(&app.opened.vault, app.clock.now()));
                are_left_found = told(found, "are not found that were left open").is_some();
            }
            let sealed = ours(|| writer.turn(place(&app), app.clock.moment()));
            if told(sealed, "are not sealed") == Some(true) {
                app.anchoring.wake();
            }
        }
        if is_last {
            tries += 1;
            if left == 0 || tries == LAST_TRIES {
                if left > 0 {
                    tracing::error!(entries = left, "the last of the read log are lost");
                }
                return;
            }
        }
    }
}

fn place(app: &App) -> LogPlace<'_> {
    let crate::Opened { vault, locks, key, .. } = &*app.opened;
    LogPlace { vault, locks, key, storage: app.storage }
}

/// Writes entries, as many together as fit; says how many are left.
fn write(
    log: &ReadLog,
    app: &App,
    runtime: &Handle,
    writer: &mut LogWriter,
    entries: Vec<Waiting>,
) -> usize {
    let mut rest = entries.into_iter();
    loop {
        let (mut lines, mut piece) = (Vec::new(), Vec::new());
        while lines.len() < PIECE_BYTES
            && let Some(waiting) = rest.next()
        {
            lines.extend_from_slice(&waiting.line);
            piece.push(waiting);
        }
        if piece.is_empty() {
            return 0;
        }
        let written = ours(|| writer.write(place(app), app.clock.moment(), &lines));
        let count = piece.len() as u64;
        match written {
            Ok(()) => {
                metrics::counter!("lucid_read_log_entries_total").increment(count);
                log.is_well(&piece);
                // Tasks wake each other for less than a thread does.
                runtime.spawn(async move { ReadLog::wrote(piece) });
            }
            Err(error) => {
                if log.fault().is_none() {
                    tracing::error!(%error, "the read log cannot be written");
                }
                piece.extend(rest);
                let left = piece.len();
                log.failed(piece, &error.to_string());
                return left;
            }
        }
    }
}

/// What came of work on sessions of the log; a failure is told, and tried again in a second.
fn told<T>(outcome: Result<T, OpError>, what: &str) -> Option<T> {
    outcome.inspect_err(|error| tracing::error!(%error, "sessions of the read log {what}")).ok()
}

/// A fault of the code is a failure like any other.
fn ours<T>(work: impl FnOnce() -> Result<T, OpError>) -> Result<T, OpError> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(OpError::Fault("writing the read log".to_owned())))
}
