//! A recorded program: found, started, told of signals, seen to end.
//!
//! Without a terminal of its own it is in our process group, so what ours sends (Ctrl-C) reaches it by itself, and we
//! must only not die of it; with one, Ctrl-C is a key. What is sent to us alone to end (SIGTERM, SIGHUP) is sent on.
//! Invariant: no signal goes to a process that is not ours any more: its number is given back only after it is
//! forgotten here.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lucid_core::manifest::ExitStatus;
use lucid_core::session::SessionId;
use lucid_store::threads::start;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::signal::unix::{SignalKind, signal};

use super::shell_code;
use super::tap::{HELD_MAX, Tap, Told};
use super::terminal::{self, Casting, Terminal};
use crate::output::Output;
use crate::{interrupt, text};

/// How long output is awaited that a process holds which the program left behind. What the program
/// itself wrote is in the pipe by then, and taking it out is not counted.
const LEFT_BEHIND: Duration = Duration::from_secs(2);
/// How often it is looked whether the recording is taking it out.
const LOOK: Duration = Duration::from_millis(20);
/// A signal that comes so soon after the end was meant for the program.
const MEANT_FOR_IT: Duration = Duration::from_secs(1);

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// There is none.
    #[error("there is no program {0:?}")]
    Absent(OsString),
    /// What is there is none.
    #[error("{0:?} cannot be executed")]
    NotExecutable(PathBuf),
}

/// Looks for a program as running it would.
pub fn missing(program: &OsStr) -> Option<Missing> {
    let executable = |path: &Path| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if program.as_encoded_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return match (path.exists(), executable(&path)) {
            (_, true) => None,
            (true, false) => Some(Missing::NotExecutable(path)),
            (false, false) => Some(Missing::Absent(program.to_owned())),
        };
    }
    let folders = path_variable();
    let places = || std::env::split_paths(&folders).map(|folder| folder.join(program));
    if !program.is_empty() && places().any(|path| executable(&path)) {
        return None;
    }
    let there = places().find(|path| path.is_file() && !program.is_empty());
    Some(there.map_or_else(|| Missing::Absent(program.to_owned()), Missing::NotExecutable))
}

#[expect(clippy::disallowed_methods, reason = "a program is looked for where a shell would look")]
fn path_variable() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into())
}

/// What signals need to know.
#[derive(Debug, Default)]
enum Life {
    /// Not started yet.
    #[default]
    Awaited,
    Running(Pid),
    Ended {
        at: Instant,
        /// Whether all of what came is kept, as far as it can be.
        is_kept: bool,
    },
}

/// A terminal for the program.
pub struct Given {
    /// The terminal.
    pub terminal: Terminal,
    /// Whether keys are kept, too.
    pub keeps_keys: bool,
    /// The longest pause that players are to make.
    pub idle: Option<Duration>,
}

/// A program that runs.
pub struct Child {
    life: Arc<Mutex<Life>>,
}

impl Child {
    /// Starts it, in a terminal of its own if one was made for it. What it writes is told, and at last how it ended.
    pub fn run(
        (program, arguments): (&OsStr, &[OsString]),
        mut terminal: Option<Given>,
        session: &SessionId,
        tell: SyncSender<Told>,
        output: &Output,
    ) -> anyhow::Result<Self> {
        let life = Arc::new(Mutex::new(Life::default()));
        // What comes before the program runs is sent on when it does.
        let mut held = life.lock();
        let context = || format!("{program:?} cannot be executed");
        let mut command = match &mut terminal {
            Some(given) => given.terminal.command(program, arguments).with_context(context)?,
            None => {
                let mut command = Command::new(program);
                command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
                command
            }
        };
        let begin = |given: &Given| {
            let words = [program].into_iter().chain(arguments.iter().map(OsString::as_os_str));
            let shown: Vec<_> = words.map(OsStr::to_string_lossy).collect();
            given.terminal.begin((&shown.join(" "), given.idle), given.keeps_keys, tell.clone())
        };
        let casting = terminal.as_ref().map(begin).transpose().context("the terminal is silent")?;
        let resize: Box<dyn Fn() + Send> = match (&terminal, &casting) {
            (Some(given), Some(casting)) => Box::new(given.terminal.resizer(casting)?),
            _ => Box::new(|| {}),
        };
        let has_own = terminal.is_some();
        send_signals_on(life.clone(), session.clone(), output.clone(), has_own, resize)
            .context("signals cannot be listened to")?;
        interrupt::leave();
        // What lets this program in is not for the one that it records.
        command.env_remove(crate::showing::TOKEN);
        let mut child = command.spawn().with_context(context)?;
        // The program's end of its terminal is the program's alone from now on.
        drop(command);
        *held = Life::Running(Pid::from_child(&child));
        drop(held);
        let own = |pipe: Pipe, own: Own| Some((pipe, own));
        let taps = match &terminal {
            Some(given) => {
                let output = given.terminal.output()?;
                [own(Box::new(output), Box::new(std::io::stdout())), None]
            }
            None => [
                child
                    .stdout
                    .take()
                    .and_then(|pipe| own(Box::new(pipe), Box::new(std::io::stdout()))),
                child
                    .stderr
                    .take()
                    .and_then(|pipe| own(Box::new(pipe), Box::new(std::io::stderr()))),
            ],
        };
        let told = (tell, casting);
        let started = watch(program, child, taps, told, life.clone(), output);
        started.context("there is no thread to record with")?;
        Ok(Self { life })
    }

    /// Notes that all that came is kept, and only the session is still to be ended.
    pub fn ended(&self) {
        if let Life::Ended { is_kept, .. } = &mut *self.life.lock() {
            *is_kept = true;
        }
    }
}

type Pipe = Box<dyn Read + Send>;
type Own = Box<dyn Write + Send>;

/// Starts the threads that read what the program writes and see it end. Without them it does not run on.
fn watch(
    program: &OsStr,
    mut child: std::process::Child,
    taps: [Option<(Pipe, Own)>; 2],
    (tell, casting): (SyncSender<Told>, Option<Casting>),
    life: Arc<Mutex<Life>>,
    output: &Output,
) -> std::io::Result<()> {
    let pid = Pid::from_child(&child);
    let waiting = Arc::new(AtomicUsize::new(0));
    let (ended, ends) = channel();
    let mut pipes = 0;
    let begin = || -> std::io::Result<()> {
        for (pipe, own) in taps.into_iter().flatten() {
            let (tell, waiting, ended) = (tell.clone(), waiting.clone(), ended.clone());
            let (casting, output) = (casting.clone(), output.clone());
            Tap { tell, waiting, ended, casting, output }.open(pipe, own)?;
            pipes += 1;
        }
        Ok(())
    };
    let begun = begin();
    if begun.is_err() {
        let _ = kill_process(pid, Signal::KILL);
        child.wait()?;
        return begun;
    }
    let (program, output) = (program.to_owned(), output.clone());
    let end = move || {
        let status = wait(&mut child, &life);
        let is_drained = drained(&ends, &waiting, pipes);
        terminal::give_back();
        if let (Some(casting), Ok(status)) = (&casting, &status) {
            casting.tell(|writer, steady| writer.ended(steady, shell_code(*status)));
        }
        if !is_drained {
            output.warn(&format!(
                "{program:?} has ended, and a process that it left behind holds its output: what \
                 that writes from now on is not recorded"
            ));
        }
        // Nobody is there to be told only if the recording has ended before.
        let _ = tell.send(Told::Ended(status));
    };
    start("end of the program", end).map(drop).inspect_err(|_| {
        let _ = kill_process(pid, Signal::KILL);
    })
}

/// Waits until the program has ended. Its number stays taken until nobody here uses it any more.
fn wait(child: &mut std::process::Child, life: &Mutex<Life>) -> std::io::Result<ExitStatus> {
    let pid = Pid::from_child(child);
    let ends = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), ends) {}
    *life.lock() = Life::Ended { at: Instant::now(), is_kept: false };
    let status = child.wait()?;
    let number = |number: i32| u32::try_from(number).unwrap_or_default();
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Code(number(code)),
        (None, signal) => ExitStatus::Signal(signal.map_or(0, number)),
    })
}

/// Waits until both pipes have ended; false if another process holds one of them.
fn drained(ends: &Receiver<()>, waiting: &AtomicUsize, pipes: u32) -> bool {
    let (mut open, mut left) = (pipes, LEFT_BEHIND);
    while open > 0 {
        let looked = Instant::now();
        match ends.recv_timeout(LOOK) {
            Ok(()) => open -= 1,
            Err(_) if waiting.load(Ordering::SeqCst) > 0 => {}
            Err(_) => left = left.saturating_sub(looked.elapsed()),
        }
        if left.is_zero() {
            return false;
        }
    }
    true
}

/// Keeps signals from ending us before the recording is ended, and sends on what the program would not
/// get otherwise.
fn send_signals_on(
    life: Arc<Mutex<Life>>,
    session: SessionId,
    output: Output,
    has_own_terminal: bool,
    resize: Box<dyn Fn() + Send>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let within = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut resized = signal(SignalKind::window_change())?;
    drop(within);
    start("signals", move || {
        runtime.block_on(async move {
            loop {
                let (came, is_group_wide) = tokio::select! {
                    _ = terminate.recv() => (Signal::TERM, false),
                    _ = hangup.recv() => (Signal::HUP, false),
                    _ = interrupt.recv() => (Signal::INT, !has_own_terminal),
                    _ = quit.recv() => (Signal::QUIT, !has_own_terminal),
                    _ = resized.recv() => {
                        resize();
                        continue;
                    }
                };
                take_signal(&life, came, is_group_wide, &session, &output);
            }
        })
    })
    .map(drop)
}

fn take_signal(
    life: &Mutex<Life>,
    came: Signal,
    is_group_wide: bool,
    session: &SessionId,
    output: &Output,
) {
    match &*life.lock() {
        Life::Running(pid) if !is_group_wide => {
            // It may have ended a moment ago, and is told nothing more then.
            let _ = kill_process(*pid, came);
        }
        Life::Running(_) | Life::Awaited => {}
        Life::Ended { at, .. } if at.elapsed() < MEANT_FOR_IT => {}
        Life::Ended { is_kept, .. } => {
            let what = if *is_kept {
                format!("has what came, and may not be sealed: `lucid seal {session}`")
            } else {
                format!(
                    "has what was kept so far; what came after that is lost, at most {}, and it is not \
                     sealed: `lucid seal {session} --unterminated`",
                    text::size(HELD_MAX)
                )
            };
            terminal::give_back();
            output.warn(&format!("session {session} {what}"));
            let code = u8::try_from(came.as_raw()).map_or(u8::MAX, |number| number + 128);
            std::process::exit(i32::from(code));
        }
    }
}
