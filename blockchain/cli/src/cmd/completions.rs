//! `lucid completions SHELL`: has a shell offer verbs, options, profiles and sessions.
//!
//! The verb prints what the shell reads at its start. Whenever its user then asks for more of a line, the shell runs
//! this program with the words of that line and a variable that names the shell, and [`answer`] answers. Invariants:
//! whatever is wrong, nothing is said of it in the middle of the user's line, and there is an answer within
//! [`PATIENCE`]; a folder is only read, and nobody who uses it is waited for.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _, FromArgMatches as _};
use clap_complete::ArgValueCompleter;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use lucid_api::v1::sessions::{PREFIX_MIN, Session};
use lucid_core::session::SessionId;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_http::config::process_environment;
use lucid_store::files::index::temporary;

use super::{Arguments, DONE, FAILED, Home, open, without_empty_variables, without_idle};
use crate::output::{Output, OutputMode};
use crate::place::beside::door;
use crate::place::reading::Reading;
use crate::profile;
use crate::text;
use crate::when;
use crate::which::{AS_IT_STANDS, Wanted};

/// The variable by which a shell says that it asks, and which one it is.
const ASKS: &str = "_LUCID_COMPLETE";
/// How long sessions are looked for: longer than that nobody waits for a key.
const PATIENCE: Duration = Duration::from_secs(1);
/// Sessions that are offered.
const OFFERED_MAX: usize = 200;
/// Sessions that are looked at for those that begin as the word does.
const LOOKED_AT_MAX: usize = 2_000;

/// Arguments of `lucid completions`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell that is to read it: `source <(lucid completions bash)` in ~/.bashrc, the same of zsh in ~/.zshrc
    /// behind `compinit`, `lucid completions fish | source` in ~/.config/fish/config.fish.
    shell: Shell,
}

/// A shell that is known here.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    const fn speaks(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Zsh => &Zsh,
            Self::Fish => &Fish,
        }
    }
}

impl Completions {
    /// Prints what the shell reads.
    pub fn run(&self, output: &Output) -> anyhow::Result<u8> {
        let mut script = Vec::new();
        self.shell.speaks().write_registration(
            ASKS,
            "lucid",
            "lucid",
            &own_name()?,
            &mut script,
        )?;
        output.bytes(&script)?;
        Ok(DONE)
    }
}

/// What the shell is to run: this program as it was run now, wherever the user is then.
fn own_name() -> anyhow::Result<String> {
    let name = std::env::args_os().next().unwrap_or_else(|| "lucid".into());
    let path = std::path::Path::new(&name);
    let path = match path.components().count() > 1 {
        true => std::path::absolute(path)?,
        false => path.to_owned(),
    };
    let name =
        path.to_str().with_context(|| format!("{path:?} is no text, and cannot be in a script"));
    name.map(str::to_owned)
}

/// Answers a shell, if one asks: with the exit code that it is to see.
pub fn answer() -> Option<u8> {
    let asks = process_environment().remove(ASKS)?;
    let shell = Shell::ALL.into_iter().map(Shell::speaks).find(|shell| shell.is(&asks))?;
    let words: Vec<OsString> =
        std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    if words.is_empty() {
        return None;
    }
    let (mut command, here) = (offering(&words), std::env::current_dir().ok());
    let mut candidates = Vec::new();
    let written = shell.write_complete(&mut command, words, here.as_deref(), &mut candidates);
    let said = written.and_then(|()| silent().bytes(&candidates));
    // What is still being looked for ends with this process, and leaves nothing behind.
    temporary::remove_all();
    Some(if said.is_ok() { DONE } else { FAILED })
}

fn silent() -> Output {
    Output::new(OutputMode { silent: true, ..OutputMode::default() })
}

/// The whole command, with what can be offered for its arguments in this line.
fn offering(words: &[OsString]) -> Command {
    let words = words.to_vec();
    let is_session = TypeId::of::<Wanted>();
    let sessions = ArgValueCompleter::new(move |word: &OsStr| sessions(&words, word));
    let command = without_idle(Arguments::command());
    let command = command.mut_arg("profile", |profile| {
        profile.add(ArgValueCandidates::new(|| {
            let names = profile::names(&process_environment());
            names.into_iter().map(CompletionCandidate::new).collect()
        }))
    });
    command.mut_subcommands(|verb| {
        verb.mut_args(|argument| match argument.get_value_parser().type_id() == is_session {
            true => argument.add(sessions.clone()),
            false => argument,
        })
    })
}

/// The sessions of the place that a line names which begin as a word does; none, where anything is in the way.
fn sessions(words: &[OsString], word: &OsStr) -> Vec<CompletionCandidate> {
    let (Some(text), Some(home)) = (word.to_str(), meant(words, word)) else { return Vec::new() };
    let (is_exact, begins) = match text.strip_prefix(AS_IT_STANDS) {
        Some(id) => (true, id.to_owned()),
        None => (false, text.to_owned()),
    };
    let (tell, told) = sync_channel(1);
    let look = move || {
        // Nobody may be waiting for it any more.
        let _unheard = tell.send(look(&home, begins));
    };
    if std::thread::Builder::new().name("lucid-offer".into()).spawn(look).is_err() {
        return Vec::new();
    }
    let found = told.recv_timeout(PATIENCE).ok().and_then(Result::ok).unwrap_or_default();
    let candidate = |Offered { id, about }: Offered| {
        let named = if is_exact { format!("{AS_IT_STANDS}{id}") } else { id.to_string() };
        CompletionCandidate::new(named).help(Some(about.into()))
    };
    found.into_iter().map(candidate).collect()
}

/// The place that a line names, by options, variables and profiles as whenever it is run. The word that is still being
/// written says nothing yet.
fn meant(words: &[OsString], word: &OsStr) -> Option<Home> {
    let mut words = words.to_vec();
    if let Some(written) = words.iter().rposition(|other| other == word) {
        words.remove(written);
    }
    let command = without_empty_variables(Arguments::command()).ignore_errors(true);
    let matches = command.try_get_matches_from(joined(words)).ok()?;
    let mut home = Home::from_arg_matches(&matches).ok()?;
    profile::settle(&mut home, &matches, &process_environment(), false).ok()?;
    home.reading = Some(Reading::Always);
    Some(home)
}

/// The words as the program would be given them: bash takes `=` and `:` for words of their own.
fn joined(words: Vec<OsString>) -> Vec<OsString> {
    let (mut joined, mut is_open) = (Vec::<OsString>::new(), false);
    for word in words {
        let is_between = word == "=" || word == ":";
        match joined.last_mut().filter(|_| is_between || is_open) {
            Some(last) => last.push(&word),
            None => joined.push(word),
        }
        is_open = is_between;
    }
    joined
}

fn look(home: &Home, begins: String) -> anyhow::Result<Vec<Offered>> {
    // A service that has the folder is asked; what else uses it keeps it to itself.
    let server = home.server.clone().or_else(|| door(home));
    let place = open(&Home { server, ..home.clone() }, "completions", &silent())?;
    let prefix = Some(begins.clone()).filter(|begins| begins.len() >= PREFIX_MIN);
    let filter = SessionFilter { prefix, ..SessionFilter::default() };
    let mut offer = Offer { begins, looked_at: 0, found: Vec::new() };
    place.sessions_until(&filter, OFFERED_MAX, &mut |session| Ok(offer.take(&session)))?;
    place.close()?;
    Ok(offer.found)
}

/// A session that is offered, and what shells that show more say of it.
#[derive(Debug, PartialEq, Eq)]
struct Offered {
    id: SessionId,
    about: String,
}

/// What is offered of all sessions, the newest first.
struct Offer {
    begins: String,
    looked_at: usize,
    found: Vec<Offered>,
}

impl Offer {
    /// Takes a session if it is one that may be meant; says whether more are wanted. An id that is none is not given to
    /// a shell, whatever a server says.
    fn take(&mut self, session: &Session) -> bool {
        self.looked_at += 1;
        if let Ok(id) = session.session_id.parse::<SessionId>()
            && id.as_str().starts_with(&self.begins)
            && !id.is_reserved()
        {
            let host = session.source.as_ref().map(|source| source.host.as_str());
            let host = text::name(host.unwrap_or_default().as_bytes());
            let space = if host.is_empty() { "" } else { ", " };
            let about = format!("{}{space}{host}", when::shown(&session.started_at));
            self.found.push(Offered { id, about });
        }
        self.found.len() < OFFERED_MAX && self.looked_at < LOOKED_AT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, host: &str) -> Session {
        serde_json::from_value(serde_json::json!({
            "session_id": id, "user_id": null, "status": "active", "layout": "raw", "public": false,
            "cutting": {"mode": "content", "avg_bytes": 65536}, "offset": 0, "started_at": "2026-03-01T14:03:00Z", "appended_at": null,
            "ended_at": null, "end": null, "chunk_count": 0, "content_bytes": 0, "total_bytes": 0,
            "merkle_root": null, "manifest_hash": null, "anchor": null, "hold": null, "metadata": {},
            "source": {"host": host, "paths": [], "tags": []},
        }))
        .unwrap()
    }

    #[test]
    fn what_is_offered_is_bounded_begins_as_the_word_does_and_is_an_id() {
        let mut offer = Offer { begins: "a".to_owned(), looked_at: 0, found: Vec::new() };
        for other in ["b", "lucid.reads", "a b", "$(reboot)", "a\nb"] {
            assert!(offer.take(&session(other, "")), "{other}");
        }
        assert!(offer.found.is_empty());
        let taken =
            (0..).take_while(|number| offer.take(&session(&format!("a{number}"), ""))).count();
        assert_eq!((taken + 1, offer.found.len()), (OFFERED_MAX, OFFERED_MAX));
        let mut none = Offer { begins: "z".to_owned(), looked_at: 0, found: Vec::new() };
        assert_eq!((0..).take_while(|_| none.take(&session("a", ""))).count() + 1, LOOKED_AT_MAX);
    }

    #[test]
    fn what_is_said_of_a_session_steers_no_terminal() {
        let mut offer = Offer { begins: String::new(), looked_at: 0, found: Vec::new() };
        offer.take(&session("a", "web\u{1b}[2J"));
        assert!(offer.found[0].about.ends_with(", web\\u{1b}[2J"), "{:?}", offer.found);
    }

    #[test]
    fn the_place_is_the_one_that_the_line_names_whatever_else_stands_in_it() {
        let data = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            meant(&words, words.last().unwrap()).map(|home| home.data)
        };
        for line in [
            "lucid --data there show ",
            "lucid show --data=there no-such",
            "lucid rm --reason more --data there a a",
            "lucid --data there restore --no",
            "lucid --data = there show ",
        ] {
            assert_eq!(data(line), Some("there".into()), "{line}");
        }
        let words = "lucid --server http : //127.0.0.1 : 8087 show ".split(' ').map(OsString::from);
        let server = meant(&words.collect::<Vec<_>>(), OsStr::new("")).and_then(|home| home.server);
        assert_eq!(
            server.map(|server| server.to_string()).as_deref(),
            Some("http://127.0.0.1:8087")
        );
    }
}
