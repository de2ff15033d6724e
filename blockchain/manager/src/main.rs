//! `lucid-block-manager`: the service as a program.
//!
//! Without arguments it serves; `healthcheck` asks a running one on this machine, `--check-config`
//! reads the settings and ends.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use lucid_block_manager::config::{Config, SERVICE};
use lucid_block_manager::service::{StartError, start};
use lucid_http::config::{Loaded, process_environment};
use lucid_http::healthcheck::{Check, check};
use lucid_http::serve::Shutdown;
use lucid_http::telemetry;
use lucid_store::files::descriptors::raise_limit;
use lucid_store::files::disk::real::keep_to_owner;

/// Arguments that make no sense, as `lucid` has it.
const WRONG_USE: u8 = 64;

/// Lucid Block Manager Service.
#[derive(Debug, Parser)]
#[command(name = "lucid-block-manager", version)]
struct Arguments {
    /// A YAML file with settings; the environment comes first.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Reads the settings, says what they are, and ends.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks the service on this machine whether it is there.
    Healthcheck {
        /// Asks whether it is healthy, too.
        #[arg(long)]
        http: bool,
    },
}

fn main() -> ExitCode {
    raise_limit();
    keep_to_owner();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { WRONG_USE } else { 0 };
            let _unheard = error.print();
            return ExitCode::from(code);
        }
    };
    let loaded = match Config::load(&process_environment(), arguments.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error.to_string()),
    };
    let outcome = match arguments.command {
        Some(Command::Healthcheck { http }) => {
            let how = if http { Check::Http } else { Check::Socket };
            check(loaded.config.common.bind, how).context("the service does not answer")
        }
        None if arguments.check_config => show(&loaded),
        None => serve(loaded),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("ERROR: {error:#}")),
    }
}

fn fail(sentence: &str) -> ExitCode {
    // Where nobody reads, the exit code still says it.
    let _unread = writeln!(std::io::stderr(), "{sentence}");
    ExitCode::FAILURE
}

fn show(loaded: &Loaded<Config>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for setting in &loaded.effective {
        writeln!(out, "{setting} ({})", setting.source)?;
    }
    for warning in &loaded.warnings {
        writeln!(out, "WARNING: {warning}")?;
    }
    Ok(())
}

fn serve(loaded: Loaded<Config>) -> anyhow::Result<()> {
    telemetry::init(loaded.config.common.log);
    loaded.log();
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let ended = runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signals().context("listening for signals")?;
        let running = match start(loaded.config, &shutdown).await {
            // That is what was asked for.
            Err(StartError::Stopped) => return Ok(()),
            running => running.context(SERVICE.name)?,
        };
        running.finished().await.context(SERVICE.name)?;
        Ok(())
    });
    // What still waits for a peer's answer has nobody to give it to.
    runtime.shutdown_background();
    ended
}
