//! `<binary> selftest`: whether this program works on the machine, or in the image, where it lies.
//!
//! It computes hashes whose values are known, starts itself over a folder of its own, has something kept, is killed,
//! starts again, finds what was kept, and ends in order. Nothing but that folder is touched, and it is removed. A
//! service says with [`SelfTest`] what is computed and kept; this room knows no noun.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lucid_api::client::{ClientError, LOCAL_SOCKET as BY_SOCKET};
use rustix::process::{Pid, Signal, kill_process};

use crate::Service;
use crate::serve::LOCAL_SOCKET;

/// An emulated processor takes its time; more than that takes only what hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(20);
/// As much of the log as is shown where something went wrong.
const LOG_LINES: usize = 10;

/// What a service has to try on itself. Whatever fails is told in one sentence.
pub struct SelfTest {
    /// Settings that it is started with, beside its folder and a free port.
    pub settings: &'static [(&'static str, &'static str)],
    /// Computes hashes whose values are known.
    pub vectors: fn() -> Result<Vec<Vector>, String>,
    /// Has something kept by the service at an address, which may be `unix:PATH`; gives who it says that it is.
    pub keep: fn(&str) -> Result<String, ClientError>,
    /// Finds it again.
    pub find: fn(&str) -> Result<(), String>,
}

/// What was computed, the value that it has, and the one that it has to have.
pub type Vector = (&'static str, String, &'static str);

/// What is asked for on the command line.
#[derive(Debug, clap::Args)]
pub struct Asked {
    /// A file that has to be there and to have something in it.
    #[arg(long, value_name = "FILE")]
    marker: Option<PathBuf>,
    /// Where a folder may be made for the time of the test; else where temporary files belong.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

/// Tries everything, and prints a line for each thing that is well. Its settings were read before. Fails with a
/// sentence on what is not.
pub fn run(service: &Service, test: &SelfTest, asked: &Asked) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("where it lies: {error}"))?;
    let (version, arch) = (crate::program::VERSION, std::env::consts::ARCH);
    say(&format!("Entrypoint verified: {}, {version} for {arch}", program.display()))?;
    if let Some(marker) = &asked.marker {
        verify_marker(marker)?;
        say(&format!("Marker verified (non-empty): {}", marker.display()))?;
    }
    say("Configuration verified")?;
    let vectors = (test.vectors)()?;
    for (what, found, wanted) in &vectors {
        if found != wanted {
            return Err(format!("{what} is {found} and has to be {wanted}"));
        }
    }
    say(&format!("Hash vectors verified: {}", vectors.len()))?;
    let scratch = asked.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let trial = Trial::begin(&scratch, program, service, test.settings)?;
    trial.goes(|trial| {
        let mut first = trial.start()?;
        let kept = (test.keep)(&trial.address());
        first.kill();
        let answers = kept.map_err(|error| format!("nothing can be kept: {error}"))?;
        match answers == service.title {
            true => Ok(()),
            false => Err(format!("{answers:?} answers, and not {:?}", service.title)),
        }
    })?;
    trial.goes(|trial| {
        let mut second = trial.start()?;
        (test.find)(&trial.address())?;
        second.end()
    })?;
    say("Router and store verified: opened, written, killed, opened again, read back, closed")?;
    say("Verification complete")
}

fn say(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| format!("standard output: {error}"))
}

fn verify_marker(marker: &Path) -> Result<(), String> {
    let named = marker.display();
    match fs::metadata(marker) {
        Ok(found) if found.len() > 0 => Ok(()),
        Ok(_) => Err(format!("the marker {named} is empty: what it marks was not put there")),
        Err(error) => Err(format!("the marker {named} cannot be read: {error}")),
    }
}

/// A folder in which the program is started, for as long as this lives.
struct Trial<'a> {
    folder: PathBuf,
    program: PathBuf,
    service: &'a Service,
    settings: &'a [(&'a str, &'a str)],
}

impl<'a> Trial<'a> {
    fn begin(
        scratch: &Path,
        program: PathBuf,
        service: &'a Service,
        settings: &'a [(&'a str, &'a str)],
    ) -> Result<Self, String> {
        let folder = scratch.join(format!("lucid-selftest-{}", std::process::id()));
        let made = fs::create_dir(&folder);
        made.map_err(|error| {
            let named = folder.display();
            format!("{named} cannot be made: {error}; name another place with --scratch DIR")
        })?;
        Ok(Self { folder, program, service, settings })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn socket(&self) -> PathBuf {
        self.data().join("run").join(LOCAL_SOCKET)
    }

    /// By which the running program is spoken to: nothing but this needs to work of a network.
    fn address(&self) -> String {
        format!("{BY_SOCKET}{}", self.socket().display())
    }

    /// Starts the program, and waits until it can be spoken to.
    fn start(&self) -> Result<Started, String> {
        let told = |error: io::Error| format!("the program cannot be started: {error}");
        let log = File::create(self.log()).map_err(told)?;
        let prefix = self.service.prefix;
        let mut command = Command::new(&self.program);
        command.env_clear().stdin(Stdio::null());
        command.env("LUCID_DATA_DIR", self.data()).env("LUCID_RESERVE_BYTES", "0");
        command.env(format!("{prefix}_HOST"), "127.0.0.1").env(format!("{prefix}_PORT"), "0");
        command.envs(self.settings.iter().copied());
        command.stdout(log.try_clone().map_err(told)?).stderr(log);
        let mut started = Started(command.spawn().map_err(told)?);
        let begun = Instant::now();
        // One that was killed leaves its socket, which nobody answers.
        while UnixStream::connect(self.socket()).is_err() {
            if let Ok(Some(status)) = started.0.try_wait() {
                return Err(format!("the program ended at its start with {status}"));
            }
            if begun.elapsed() > PATIENCE {
                return Err("the program did not start in time".to_owned());
            }
            sleep(LOOK);
        }
        Ok(started)
    }

    /// Does a part of the test; where it fails, the end of the log belongs to what is said.
    fn goes(&self, part: impl FnOnce(&Self) -> Result<(), String>) -> Result<(), String> {
        part(self).map_err(|why| {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
            let shown = lines.iter().rev().map(|line| format!("\n  | {line}"));
            format!("{why}{}", shown.collect::<String>())
        })
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        // What cannot be removed is where temporary files are, and hurts nobody.
        let _left = fs::remove_dir_all(&self.folder);
    }
}

/// The program as it runs; killed, if nothing else ended it.
struct Started(Child);

impl Started {
    fn kill(&mut self) {
        // One that has ended cannot be killed, and that is what was wanted.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }

    /// Asks it to end, and waits until it has, in order.
    fn end(&mut self) -> Result<(), String> {
        kill_process(Pid::from_child(&self.0), Signal::TERM)
            .map_err(|error| format!("the program cannot be told to end: {error}"))?;
        let begun = Instant::now();
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the program ended with {status}")),
                Ok(None) if begun.elapsed() < PATIENCE => sleep(LOOK),
                Ok(None) => return Err("the program did not end in time".to_owned()),
                Err(error) => return Err(format!("the program cannot be waited for: {error}")),
            }
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_that_says_nothing_is_told_from_one_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join(".lucid-marker");
        let why = verify_marker(&marker).unwrap_err();
        assert!(why.contains("cannot be read: No such file"), "{why}");
        fs::write(&marker, "").unwrap();
        let why = verify_marker(&marker).unwrap_err();
        assert!(why.ends_with("is empty: what it marks was not put there"), "{why}");
        fs::write(&marker, "LUCID").unwrap();
        assert_eq!(verify_marker(&marker), Ok(()));
    }
}
