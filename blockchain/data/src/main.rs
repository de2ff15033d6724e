//! The program `lucid-data-chain`: reads the settings, serves until it is told to stop.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use lucid_data_chain::config::{self, Config};
use lucid_data_chain::service::{StartError, serve};
use lucid_http::config::{Loaded, process_environment};
use lucid_http::healthcheck::{self, Check};
use lucid_http::serve::{Drained, Shutdown};
use lucid_http::telemetry;
use lucid_store::files::descriptors::raise_limit;
use lucid_store::files::disk::real::keep_to_owner;

/// Downloads hold a thread each while they last, and every connection may be one.
const BLOCKING_THREADS: usize = 1_024;
/// What is still busy with the disk at the end is given this long.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Arguments that make no sense, as `lucid` has it.
const WRONG_USE: u8 = 64;

/// The Lucid data-chain service.
#[derive(Debug, Parser)]
#[command(name = "lucid-data-chain", version)]
struct Arguments {
    /// A YAML file with settings; environment variables override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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
    let loaded = match config::load(&process_environment(), arguments.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error),
    };
    match arguments.command {
        Some(Command::Healthcheck { http }) => {
            let how = if http { Check::Http } else { Check::Socket };
            match healthcheck::check(loaded.config.common.bind, how) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            }
        }
        None if arguments.check_config => show(&loaded),
        None => run(loaded),
    }
}

fn show(loaded: &Loaded<Config>) -> ExitCode {
    let mut out = std::io::stdout().lock();
    for setting in &loaded.effective {
        if let Err(error) = writeln!(out, "{setting}") {
            return fail(&error);
        }
    }
    for warning in &loaded.warnings {
        complain(&format!("warning: {warning}"));
    }
    ExitCode::SUCCESS
}

fn run(loaded: Loaded<Config>) -> ExitCode {
    telemetry::init(loaded.config.common.log);
    loaded.log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let ended = runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signals().map_err(|error| error.to_string())?;
        let say = |error: StartError| error.to_string();
        match serve(loaded.config, None, &shutdown).await {
            // That is what was asked for.
            Err(StartError::Stopped) => Ok(Drained::Whole),
            running => running.map_err(say)?.ended().await.map_err(say),
        }
    });
    runtime.shutdown_timeout(LAST_WORK);
    match ended {
        Ok(_drained) => ExitCode::SUCCESS,
        Err(sentence) => fail(&sentence),
    }
}

fn fail(why: &dyn std::fmt::Display) -> ExitCode {
    complain(&why.to_string());
    ExitCode::FAILURE
}

/// When even this cannot be written there is nobody left to tell.
fn complain(text: &str) {
    let _unheard = writeln!(std::io::stderr(), "{text}");
}
