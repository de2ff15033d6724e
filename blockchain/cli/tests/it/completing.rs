//! What a shell offers: bash itself asks, by what `lucid completions bash` printed.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use lucid::place::Place as _;
use lucid::place::local::Local;
use lucid_store::clock::Clock;

use super::clocks::opened_by;
use super::home::{Home, Snapshot, prose, wait};
use super::server::Server;
use super::walk::programs;

/// Has bash complete the last word of a line, as at its prompt: it reads what the program printed, and calls what that
/// registered for `lucid`. After a minute it is given up.
const SCRIPT: &str = r#"
source <(lucid completions bash)
function=$(complete -p lucid | sed 's/.*-F \([^ ]*\) .*/\1/')
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
"$function" lucid "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

struct Prompt<'a> {
    home: &'a Home,
    variables: Vec<(&'a str, String)>,
}

impl<'a> Prompt<'a> {
    /// A shell in the folder of a home, which says nothing of where sessions are.
    fn of(home: &'a Home) -> Self {
        Self { home, variables: Vec::new() }
    }

    fn set(mut self, name: &'a str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name, value.as_ref().to_str().unwrap().to_owned()));
        self
    }

    /// What is offered for the last of these words, and nothing is said.
    fn offers(&self, words: &[&str]) -> Vec<String> {
        let mut bash = Command::new("/usr/bin/timeout");
        bash.args(["60", "bash", "--norc", "-c", SCRIPT, "bash", "lucid"]).args(words);
        bash.env_clear().env("PATH", programs()).envs(self.variables.iter().cloned());
        let ended = bash.current_dir(self.home.at("")).stdin(Stdio::null()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{words:?}");
        assert!(ended.status.success(), "{words:?}: {}", ended.status);
        let said = String::from_utf8(ended.stdout).unwrap();
        said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// The same without options, which are offered for an empty word, too.
    fn values(&self, words: &[&str]) -> Vec<String> {
        self.offers(words).into_iter().filter(|word| !word.starts_with('-')).collect()
    }
}

fn kept(sessions: &[&str]) -> Home {
    let home = Home::new();
    let file = home.file("file", prose(1, 1_000));
    for session in sessions {
        home.archive(session, &file);
    }
    home
}

#[test]
fn a_shell_offers_verbs_options_values_and_files() {
    let home = Home::new();
    home.file("recordings/one", "content");
    let prompt = Prompt::of(&home);
    assert_eq!(prompt.offers(&["arch"]), ["archive"]);
    assert_eq!(prompt.offers(&["keys", "verify"]), ["verify-export"]);
    assert!(prompt.values(&[""]).contains(&"check-proof".to_owned()));
    let options = prompt.offers(&["archive", "--exclude-"]);
    assert!(options.contains(&"--exclude-caches".to_owned()), "{options:?}");
    assert!(options.iter().all(|option| option.starts_with("--exclude-")), "{options:?}");
    assert_eq!(prompt.offers(&["ls", "--progress", "j"]), ["json"]);
    assert_eq!(prompt.offers(&["completions", "f"]), ["fish"]);
    assert_eq!(prompt.offers(&["archive", "rec"]), ["recordings/"]);
    // What does nothing there is not offered.
    let checking = prompt.offers(&["check-proof", "--"]);
    assert!(checking.contains(&"--trust".to_owned()), "{checking:?}");
    assert!(!checking.contains(&"--server".to_owned()), "{checking:?}");
}

#[test]
fn a_shell_offers_the_sessions_of_the_place_that_the_line_names() {
    let (home, other) = (kept(&["alpha", "alpine", "beta"]), kept(&["gamma"]));
    let (data, there) = (home.data().to_str().unwrap(), other.data().to_str().unwrap());
    let prompt = Prompt::of(&home).set("LUCID_DATA", data);
    let before = Snapshot::of(home.data());
    // The newest first.
    assert_eq!(prompt.values(&["show", ""]), ["beta", "alpine", "alpha"]);
    for verb in ["show", "cat", "restore", "rm", "hold", "verify", "diff", "stats", "seal"] {
        assert_eq!(prompt.values(&[verb, "alp"]), ["alpine", "alpha"], "{verb}");
    }
    assert_eq!(prompt.values(&["diff", "alpha", "alpi"]), ["alpine"]);
    assert_eq!(prompt.values(&["show", "=alph"]), ["=alpha"]);
    assert_eq!(prompt.values(&["show", "none"]), [""; 0]);
    // An option counts over a variable, wherever it stands.
    assert_eq!(prompt.values(&["--data", there, "show", ""]), ["gamma"]);
    assert_eq!(prompt.values(&["rm", "--reason", "x", &format!("--data={there}"), ""]), ["gamma"]);
    Snapshot::of(home.data()).assert_same(&before);

    fs::create_dir_all(home.at("settings/lucid")).unwrap();
    let places = format!("[place.mine]\ndata = {data:?}\n[place.theirs]\ndata = {there:?}\n");
    fs::write(home.at("settings/lucid/config.toml"), places).unwrap();
    let prompt = Prompt::of(&home).set("XDG_CONFIG_HOME", home.at("settings"));
    assert_eq!(prompt.values(&["--profile", ""]), ["mine", "theirs"]);
    assert_eq!(prompt.values(&["--profile", "theirs", "show", ""]), ["gamma"]);
    assert_eq!(prompt.set("LUCID_PROFILE", "mine").values(&["show", "b"]), ["beta"]);

    let server = Server::start(&other);
    let prompt = Prompt::of(&home).set("LUCID_DATA", data);
    assert_eq!(prompt.values(&["--server", &server.url, "show", "ga"]), ["gamma"]);
    let [scheme, host, port] = server.url.split(':').collect::<Vec<_>>()[..] else { panic!() };
    let as_bash = ["--server", scheme, ":", host, ":", port, "show", "ga"];
    assert_eq!(prompt.values(&as_bash), ["gamma"]);
    // Its folder is in use, and the service that has it is asked.
    assert_eq!(prompt.values(&["--data", there, "show", ""]), ["gamma"]);
}

#[test]
fn of_a_folder_that_another_command_uses_its_door_is_asked_and_nothing_is_waited_for() {
    let home = kept(&["alpha"]);
    let mut child = home.command(&[&"append", &"--session", &"live"]);
    let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
    wait(|| home.data().join("data-chain/run/local.sock").exists().then_some(()));
    let prompt = Prompt::of(&home).set("LUCID_DATA", home.data());
    assert_eq!(prompt.values(&["show", "a"]), ["alpha"]);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(prompt.values(&["show", "a"]), ["alpha"]);
    // What has no door has the folder for a moment only.
    let held = Local::open(&opened_by(&home), "gc", &Clock::system()).unwrap();
    assert_eq!(prompt.values(&["show", "a"]), [""; 0]);
    Box::new(held).close().unwrap();
    assert_eq!(prompt.values(&["show", "a"]), ["alpha"]);
    home.assert_sound();
}

#[test]
fn what_is_in_the_way_is_not_said_in_the_middle_of_a_line() {
    let home = kept(&["alpha"]);
    let nothing = [""; 0];
    let prompt = Prompt::of(&home);
    // There is no store, no such profile, no server.
    assert_eq!(prompt.values(&["show", ""]), nothing);
    assert_eq!(prompt.values(&["--profile", "none", "show", ""]), nothing);
    assert_eq!(prompt.values(&["--server", "http://127.0.0.1:1", "show", ""]), nothing);
    assert_eq!(prompt.values(&["--server", "nonsense", "show", ""]), nothing);
    // A server that takes calls and never answers: bash would be ended after a minute, long before a client gives up.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    assert_eq!(prompt.values(&["--server", &url, "show", ""]), nothing);
    for name in ["root.key", "root.key.copy"] {
        fs::remove_file(home.data().join("data-chain/keys").join(name)).unwrap();
    }
    let data = home.data().to_str().unwrap();
    assert_eq!(prompt.values(&["--data", data, "show", ""]), nothing);
    let twice = Prompt::of(&home).set("LUCID_DATA", data).set("LUCID_PROFILE", "mine");
    assert_eq!(twice.values(&["show", ""]), nothing);
    assert_eq!(twice.offers(&["arch"]), ["archive"], "all else goes on");
}

#[test]
fn what_is_printed_calls_the_program_that_printed_it() {
    let home = Home::new();
    let lucid = Path::new(env!("CARGO_BIN_EXE_lucid"));
    for (shell, says) in [("bash", "complete "), ("zsh", "compdef "), ("fish", "complete ")] {
        let script = home.done(&[&"completions", &shell]).text();
        assert!(script.contains(says) && script.contains(lucid.to_str().unwrap()), "{script}");
    }
    // The variable alone is no question: everything is as ever.
    let mut command = home.command(&[&"completions", &"bash"]);
    let ended = command.env("_LUCID_COMPLETE", "bash").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ended.stdout),
        home.done(&[&"completions", &"bash"]).text()
    );
    let said = home.refused(64, &[&"completions", &"csh"]);
    assert!(said.contains("csh"), "{said}");
}
