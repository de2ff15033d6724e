//! What becomes of a command that is told to end, by Ctrl-C or a signal: it says what is safe and how to go
//! on, removes the copy of an index that it may have made, and ends.
//!
//! `cmd` promises, for each verb, what is true at any moment, since what is stored is made for being killed.
//! `record` and `up` listen for themselves once they run. Invariant: nothing here waits for a lock that
//! a thread of the interrupted command may hold.

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};

use anyhow::Context as _;
use lucid_store::files::index::temporary::remove_all;
use parking_lot::Mutex;
use rustix::termios::{OptionalActions, Termios, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::output::OutputMode;

/// What is said.
static PROMISE: OnceLock<(OutputMode, &'static str)> = OnceLock::new();

/// How the terminal was before a question silenced it.
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);
/// What leaves a terminal as programs expect it, whatever was played in it: its own screen, letters as they are, a
/// cursor that is seen, and neither mouse nor pasting marked.
pub const CALM: &[u8] =
    b"\x1b[?1049l\x1b[?1000;1002;1003;1006l\x1b[?2004l\x1b[?1l\x1b[?25h\x1b(B\x1b[0m";
/// Whether something is played in it now.
static PLAYED: AtomicBool = AtomicBool::new(false);
/// What is to be done before the command ends, in bounded time.
static LAST: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);
/// Whether the verb itself listens, and ends the command.
static LEFT: AtomicBool = AtomicBool::new(false);

/// Says this when the command is told to end.
pub fn promise(mode: OutputMode, what_is_safe: &'static str) {
    if PROMISE.set((mode, what_is_safe)).is_ok() {
        listen_once();
    }
}

/// Has a copy of an index removed, and the terminal put back, when the command is told to end. Without this
/// the signal still ends it, and leaves both as they are.
pub fn listen_once() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        if let Err(error) = listen() {
            tracing::warn!(%error, "a signal will end this without a word");
        }
    });
}

/// Has the terminal be like this when the command is told to end; `None` once it is so again.
pub fn put_back(terminal: Option<Termios>) {
    *TERMINAL.lock() = terminal;
}

/// Has the terminal be left as programs expect it when the command is told to end, or not any more.
pub fn calm(is_played: bool) {
    PLAYED.store(is_played, Ordering::Relaxed);
}

/// Has this be done before the command ends when it is told to, or nothing any more.
pub fn end_with(last: Option<Box<dyn FnOnce() + Send>>) {
    *LAST.lock() = last;
}

/// Leaves signals to the caller, which listens for them itself from now on.
pub fn leave() {
    LEFT.store(true, Ordering::Relaxed);
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
    let wait = move || loop {
        let signal = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
            }
        });
        if !LEFT.load(Ordering::Relaxed) {
            end(signal);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).context("no thread")?;
    Ok(())
}

/// Ends as by Ctrl-C, for a caller that reads that from the terminal as a key.
pub fn interrupted() -> ! {
    end(SignalKind::interrupt())
}

fn end(signal: SignalKind) -> ! {
    if let Some(Some(terminal)) = TERMINAL.try_lock().as_deref() {
        // If it is gone, there is nothing to put back.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, terminal);
    }
    if PLAYED.load(Ordering::Relaxed) {
        // If it is gone, there is nothing to be left.
        let _ = rustix::io::write(std::io::stdout().as_fd(), CALM);
    }
    if let Some((mode, what_is_safe)) = PROMISE.get() {
        say(*mode, what_is_safe);
    }
    let last = LAST.try_lock().and_then(|mut last| last.take());
    if let Some(last) = last {
        last();
    }
    remove_all();
    std::process::exit(128 + signal.as_raw_value())
}

/// Writes to standard error past every lock: a thread that asks a question holds them.
fn say(mode: OutputMode, what_is_safe: &str) {
    let err = std::io::stderr();
    let text = match mode.json {
        true => {
            let value = serde_json::json!({ "error": "interrupted", "remedy": what_is_safe });
            format!("{value}\n")
        }
        // What was being drawn ends here.
        false if err.is_terminal() => format!("\ninterrupted: {what_is_safe}\n"),
        false => format!("interrupted: {what_is_safe}\n"),
    };
    // If nobody listens, there is nobody to tell.
    let _ = rustix::io::write(err.as_fd(), text.as_bytes());
}
