//! What the verbs of other tools are here: a user who knows one of them and types it is told ours.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Verbs of restic, rustic, kopia, borg and tar, and what does that here.
const VERBS: [(&str, &str); 21] = [
    ("backup", "`lucid archive PATH` keeps a folder or a file"),
    (
        "check",
        "`lucid verify --all` reads everything again, `lucid scrub` what is stored, `lucid doctor` looks around",
    ),
    ("copy", "`lucid mirror` keeps the same sessions in a second store"),
    ("create", "`lucid archive PATH` keeps a folder or a file; a store is made by itself"),
    ("delete", "`lucid rm SESSION` removes a session"),
    ("dump", "`lucid cat SESSION PATH` prints a file, `lucid restore SESSION --tar -` a folder"),
    ("extract", "`lucid restore SESSION` puts files back"),
    ("info", "`lucid show SESSION` shows everything about a session"),
    ("key", "`lucid keys` lists and changes keys"),
    ("list", "`lucid ls` lists sessions, `lucid ls SESSION` files"),
    ("maintenance", "`lucid gc` gives room back, `lucid optimise` packs more tightly"),
    ("password", "`lucid keys rewrap` wraps the keys under another passphrase"),
    ("prune", "`lucid gc` gives back the room of what was removed"),
    ("rebuild-index", "`lucid reindex` builds the index anew"),
    ("recover", "`lucid reindex` builds the index anew from the log and the segments"),
    ("repair", "`lucid scrub` says what is damaged, `lucid reindex` builds the index anew"),
    (
        "repository",
        "`lucid doctor` looks a store over; one is made when something is first archived",
    ),
    ("self-update", "the way this program came to the machine brings newer ones, too"),
    ("snapshot", "`lucid archive PATH` keeps a folder or a file, `lucid ls` lists what is kept"),
    ("snapshots", "`lucid ls` lists what is kept"),
    ("unlock", "no lock outlives the program that holds it: there is nothing to do"),
];

/// Adds what a verb of another tool is called here to the error that there is no such verb.
pub(super) fn point(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let Some((_, ours)) = VERBS.iter().find(|(verb, _)| verb == given) else { return error };
    let tip = vec![(*ours).into()];
    error.remove(ContextKind::SuggestedSubcommand);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tip));
    error
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cmd::Arguments;

    #[test]
    fn what_is_pointed_to_is_there_and_what_is_pointed_from_is_not() {
        let command = Arguments::command();
        let ours: Vec<&str> = command.get_subcommands().map(|verb| verb.get_name()).collect();
        assert!(VERBS.is_sorted());
        for (verb, tip) in VERBS {
            assert!(!ours.contains(&verb), "{verb} is a verb of ours");
            for named in tip.split("`lucid ").skip(1) {
                let named = named.split([' ', '`']).next().unwrap();
                assert!(ours.contains(&named), "{verb}: there is no {named}");
            }
        }
    }

    #[test]
    fn a_verb_of_another_tool_is_told_ours_wherever_it_stands() {
        for words in [&["lucid", "snapshots"][..], &["lucid", "help", "snapshots"]] {
            let error = Arguments::command().try_get_matches_from(words).unwrap_err();
            let said = point(error).to_string();
            assert!(said.contains("tip: `lucid ls` lists what is kept"), "{said}");
        }
        let error = Arguments::command().try_get_matches_from(["lucid", "archiv"]).unwrap_err();
        let said = point(error).to_string();
        assert!(said.contains("similar") && said.contains("'archive'"), "{said}");
    }
}
