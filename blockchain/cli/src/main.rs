//! The `lucid` command: reads its arguments, runs a verb, says how it went.

use std::process::ExitCode;

use lucid::cmd::{self, Arguments};
use lucid::ending::{self, DONE, WRONG_USE};
use lucid::output::Output;
use lucid_store::descriptors::raise_limit;

fn main() -> ExitCode {
    raise_limit();
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers; everything else is wrong use, which has its own code
            // because 2 already means "not proved".
            let code = if error.use_stderr() { WRONG_USE } else { DONE };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let output = Output::new(arguments.manner());
    match cmd::run(&arguments, &output) {
        Ok(code) => ExitCode::from(code),
        // Whoever closed the pipe has seen enough.
        Err(error) if output.is_unheard() && ending::is_broken_pipe(&error) => ExitCode::from(DONE),
        Err(error) => {
            output.error(error.as_ref(), None);
            ExitCode::from(ending::code(&error, arguments.judges()))
        }
    }
}
