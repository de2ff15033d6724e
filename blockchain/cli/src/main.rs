//! The `lucid` command: reads its arguments, runs a verb, says how it went.

use std::process::ExitCode;

use lucid::cmd::{self, Arguments};
use lucid::ending::{self, DONE, WRONG_USE};
use lucid::output::{Output, OutputMode};
use lucid_store::files::descriptors::raise_limit;

fn main() -> ExitCode {
    if let Some(code) = cmd::become_program(std::env::args_os().skip(1)) {
        return ExitCode::from(code);
    }
    if let Some(code) = cmd::answer_shell() {
        return ExitCode::from(code);
    }
    raise_limit();
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers; everything else is wrong use, which has its own code
            // because 2 already means "not proved".
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::from(DONE);
            }
            // They make no sense as a whole, and may ask for JSON all the same.
            let json = cmd::own_words().any(|word| word == "--json");
            Output::new(OutputMode { json, ..OutputMode::default() }).misuse(&error);
            return ExitCode::from(WRONG_USE);
        }
    };
    let output = Output::new(arguments.mode());
    match cmd::run(&arguments, &output) {
        Ok(code) => ExitCode::from(code),
        // The reader that closed the pipe has seen enough.
        Err(error) if output.is_unheard() && ending::is_broken_pipe(&error) => ExitCode::from(DONE),
        Err(error) => {
            output.error(error.as_ref());
            ExitCode::from(ending::code(&error, arguments.gives_verdict()))
        }
    }
}
