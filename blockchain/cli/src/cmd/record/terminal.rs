//! The terminal that a recorded program is given where its user has one: it stands between the program and the user's.
//!
//! A program must be the first of a session of its own to have a terminal that is its alone, and only the program
//! itself can begin one. So this command is started once more, does that, and becomes the program:
//! [`become_program`].

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use lucid_core::manifest;
use lucid_store::threads::start;
use parking_lot::Mutex;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use super::tap::Told;
use crate::cast::writing::CastWriter;
use crate::cmd::moment;
use crate::ending::{NO_PROGRAM, NOT_EXECUTABLE};

/// What this command is started with to become another program: nobody types it.
const BECOME: &str = "--become-on-terminal";
/// A terminal that does not say how large it is.
const USUAL: (u16, u16) = (80, 24);

/// How the user's terminal was before keys went through it as they are.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A terminal of our own making.
pub struct Terminal {
    /// Our end.
    ours: File,
    /// The program's end, until it has it.
    its: Option<OwnedFd>,
    size: (u16, u16),
}

/// The asciicast that is made, and who keeps it.
#[derive(Clone)]
pub struct Casting {
    writer: Arc<Mutex<CastWriter>>,
    tell: SyncSender<Told>,
}

/// How large the user's terminal is, if there is one for both ways.
pub fn size() -> Option<manifest::Terminal> {
    let has_both = io::stdin().is_terminal() && io::stdout().is_terminal();
    has_both.then(|| {
        let (columns, rows) = size_now();
        manifest::Terminal { columns, rows }
    })
}

fn size_now() -> (u16, u16) {
    match tcgetwinsize(io::stdin()) {
        Ok(Winsize { ws_col, ws_row, .. }) if ws_col > 0 && ws_row > 0 => (ws_col, ws_row),
        _ => USUAL,
    }
}

fn window((columns, rows): (u16, u16)) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Terminal {
    /// Makes one that is as large as the user's, and does what that does.
    pub fn open(size: manifest::Terminal) -> io::Result<Self> {
        let how = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(how)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let its = ioctl_tiocgptpeer(&ours, how)?;
        let size = (size.columns, size.rows);
        tcsetwinsize(&ours, window(size))?;
        if let Ok(like) = tcgetattr(io::stdin()) {
            tcsetattr(&its, OptionalActions::Now, &like)?;
        }
        Ok(Self { ours: ours.into(), its: Some(its), size })
    }

    /// A command that becomes the program in this terminal.
    pub fn command(&mut self, program: &OsStr, arguments: &[OsString]) -> io::Result<Command> {
        let its = self.its.take().ok_or_else(|| io::Error::other("the terminal is given away"))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(BECOME).arg(program).args(arguments);
        command.stdin(its.try_clone()?).stdout(its.try_clone()?).stderr(Stdio::from(its));
        Ok(command)
    }

    /// What the program writes.
    pub fn output(&self) -> io::Result<File> {
        self.ours.try_clone()
    }

    /// Begins the asciicast, whose head names the command and the longest pause that players are to make, and hands on
    /// what the user types from now on. Keys are kept only if that is asked for.
    pub fn begin(
        &self,
        named: (&str, Option<Duration>),
        keeps_keys: bool,
        tell: SyncSender<Told>,
    ) -> io::Result<Casting> {
        let now = moment();
        let at = now.wall.as_micros().div_euclid(1_000_000);
        let (writer, head) = CastWriter::begin(now.steady, at, self.size, named);
        let casting = Casting { writer: Arc::new(Mutex::new(writer)), tell };
        // Who keeps it is there for as long as the program runs.
        let _ = casting.tell.send(Told::Bytes { at: now, bytes: head });
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock() = Some(before);
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        let (mut ours, keys) = (self.ours.try_clone()?, casting.clone());
        start("keys", move || {
            let (mut stdin, mut buffer) = (io::stdin(), [0; 4096]);
            while let Ok(count @ 1..) = stdin.read(&mut buffer) {
                let typed = buffer.get(..count).unwrap_or_default();
                // Before the program hears of them, so that they are kept in front of what comes of them.
                if keeps_keys {
                    keys.tell(|writer, steady| writer.input(steady, typed));
                }
                if ours.write_all(typed).is_err() {
                    break;
                }
            }
        })?;
        Ok(casting)
    }

    /// What hands on that the user's terminal has another size: to be called with each signal that says so.
    pub fn resizer(&self, casting: &Casting) -> io::Result<impl Fn() + Send + use<>> {
        let (ours, casting) = (self.ours.try_clone()?, casting.clone());
        Ok(move || {
            let size = size_now();
            if tcsetwinsize(&ours, window(size)).is_ok() {
                casting.tell(|writer, steady| writer.resized(steady, size));
            }
        })
    }
}

impl Casting {
    /// Keeps an event. Says whether it will be, as far as that is known.
    pub fn tell(&self, event: impl FnOnce(&mut CastWriter, i64) -> Vec<u8>) -> bool {
        // Until it is handed over, so that events are kept in the order of their times.
        let mut writer = self.writer.lock();
        let at = moment();
        let bytes = event(&mut writer, at.steady);
        bytes.is_empty() || self.tell.send(Told::Bytes { at, bytes }).is_ok()
    }
}

/// Gives the user's terminal back as it was.
pub fn give_back() {
    if let Some(before) = BEFORE.lock().take() {
        // If it is gone, there is nothing to be given back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &before);
    }
}

/// Becomes a program with the terminal that is its standard input, if this command was started for that; the exit code
/// says why that failed.
pub fn become_program(mut arguments: impl Iterator<Item = OsString>) -> Option<u8> {
    if arguments.next()? != BECOME {
        return None;
    }
    let program = arguments.next()?;
    let taken =
        rustix::process::setsid().and_then(|_| rustix::process::ioctl_tiocsctty(io::stdin()));
    let error = match taken {
        Ok(()) => Command::new(&program).args(arguments).exec(),
        Err(error) => error.into(),
    };
    let why = format!("{program:?} cannot be executed: {error}\r\n");
    let _ = io::stderr().write_all(why.as_bytes());
    Some(if error.kind() == io::ErrorKind::NotFound { NO_PROGRAM } else { NOT_EXECUTABLE })
}
