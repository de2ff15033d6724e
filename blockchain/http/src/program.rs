//! What the program of a service does around serving: arguments, settings, signals, threads, and how it ends.
//!
//! Both services' `main` is [`Program::main`]. `lucid up` runs the two in one process and reads its own
//! arguments; it shares [`until_told`] with them.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::{
    CommonConfig, ConfigError, Environment, Loaded, process_environment, with_files,
};
use crate::healthcheck::{Check, check};
use crate::selftest::{self, SelfTest};
use crate::serve::Shutdown;
use crate::{Service, signals, telemetry};

/// What `--version` says: the version, and in a build for use the commit, if the sources said which they are of.
pub const VERSION: &str = env!("LUCID_VERSION");

/// The exit code for arguments that make no sense: `EX_USAGE` of `sysexits.h`, as `lucid` has it.
pub const WRONG_USE: u8 = 64;
/// A download holds a thread of its own while it lasts, and every connection of a service may be one.
const BLOCKING_THREADS: usize = 1_024;
/// Work that is still busy with a disk or a peer at the end is given this long.
const LAST_WORK: Duration = Duration::from_secs(1);

#[derive(Debug, Parser)]
struct Arguments {
    /// A YAML file with settings; environment variables override it.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// A file with a variable a line, which counts where the environment says nothing; of several, the later wins.
    #[arg(long, value_name = "FILE", global = true)]
    env_file: Vec<PathBuf>,
    /// Check the settings, show them, and end.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask the service on this machine whether it is there: exit code 0 or 1.
    Healthcheck {
        /// Ask `/health`, not only the socket.
        #[arg(long)]
        http: bool,
    },
    /// Try this program where it lies: hashes, and a store that is written, killed and opened again.
    Selftest(selftest::Asked),
}

/// The program of one service.
pub struct Program<C> {
    /// What the service is called.
    pub service: &'static Service,
    /// Reads its settings.
    pub load: fn(&Environment, Option<&Path>) -> Result<Loaded<C>, ConfigError>,
    /// The settings among them that every service has.
    pub common: fn(&C) -> &CommonConfig,
    /// What it tries on itself.
    pub selftest: SelfTest,
}

impl<C> Program<C> {
    /// Does what the arguments of this process ask for. `serve` runs the service until the shutdown is asked for,
    /// and returns when all of it has ended.
    pub fn main<E: Display>(
        &self,
        serve: impl AsyncFnOnce(C, Shutdown) -> Result<(), E>,
    ) -> ExitCode {
        let arguments = match self.arguments() {
            Ok(arguments) => arguments,
            Err(error) => {
                let code = if error.use_stderr() { WRONG_USE } else { 0 };
                let _unheard = error.print();
                return ExitCode::from(code);
            }
        };
        let loaded = with_files(process_environment(), &arguments.env_file).and_then(
            |(environment, origins)| {
                let loaded = (self.load)(&environment, arguments.config.as_deref())?;
                Ok(loaded.name_files(&origins))
            },
        );
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return fail(&error),
        };
        let done = match arguments.command {
            Some(Command::Healthcheck { http }) => {
                let how = if http { Check::Http } else { Check::Socket };
                let CommonConfig { bind, tls, .. } = (self.common)(&loaded.config);
                check(*bind, tls.as_ref(), how)
                    .map_err(|error| format!("the service does not answer: {error}"))
            }
            Some(Command::Selftest(asked)) => selftest::run(self.service, &self.selftest, &asked),
            None if arguments.check_config => show(&loaded).map_err(|error| error.to_string()),
            None => {
                telemetry::init((self.common)(&loaded.config).log);
                loaded.log();
                let config = loaded.config;
                let ended = until_told(1, async |shutdown| serve(config, shutdown).await);
                ended
                    .map_err(|error| error.to_string())
                    .and_then(|ended| ended.map_err(|error| error.to_string()))
            }
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(&format_args!("ERROR: {}: {why}", self.service.name)),
        }
    }

    fn arguments(&self) -> Result<Arguments, clap::Error> {
        Arguments::from_arg_matches(&command(self.service).try_get_matches()?)
    }
}

/// What can be asked of the program of a service; a manual page is made of it, too.
pub fn command(service: &'static Service) -> clap::Command {
    Arguments::command().name(service.name).version(VERSION).about(service.title)
}

/// Runs `serve` on a runtime with as many threads as so many services need. SIGINT and SIGTERM ask for the
/// shutdown that it is given; [`signals`] has what a second one does.
pub fn until_told<T>(services: usize, serve: impl AsyncFnOnce(Shutdown) -> T) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(services * BLOCKING_THREADS)
        .build()?;
    let ended = runtime.block_on(async {
        let shutdown = Shutdown::new();
        signals::heed(&shutdown)?;
        Ok(serve(shutdown).await)
    });
    runtime.shutdown_timeout(LAST_WORK);
    ended
}

fn show<C>(loaded: &Loaded<C>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for setting in &loaded.effective {
        writeln!(out, "{setting} ({})", setting.source)?;
    }
    for warning in &loaded.warnings {
        complain(&format_args!("WARNING: {warning}"));
    }
    Ok(())
}

fn fail(why: &dyn Display) -> ExitCode {
    complain(why);
    ExitCode::FAILURE
}

/// Where nobody reads standard error, the exit code still tells.
fn complain(text: &dyn Display) {
    let _unheard = writeln!(io::stderr(), "{text}");
}
