//! What signals do to a process whose service hangs: this program, run once more as that process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use lucid_http::program::until_told;

/// Set for the process that hangs.
const HANGING: &str = "LUCID_TEST_HANGING";

/// The process for the tests below; without what they set it is none.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test that starts it says by this what it is")]
fn a_process_that_never_ends() {
    if std::env::var_os(HANGING).is_none() {
        return;
    }
    until_told(1, async |_never_asked| {
        writeln!(std::io::stdout(), "it serves").unwrap();
        std::future::pending::<()>().await;
    })
    .unwrap();
}

fn hanging() -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "signals::a_process_that_never_ends", "--nocapture"]);
    let mut child = command.env(HANGING, "1").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("it serves")));
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn tell(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

#[test]
fn a_shutdown_that_hangs_is_given_up_with_an_exit_code_of_its_own() {
    let mut child = hanging();
    tell(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_second_signal_ends_what_hangs() {
    let mut child = hanging();
    // The same signal twice may arrive as one.
    tell(&child, "-INT");
    tell(&child, "-TERM");
    let code = child.wait().unwrap().code();
    assert!([Some(130), Some(143)].contains(&code), "{code:?}");
}
