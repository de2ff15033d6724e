//! Each verb has a page, which names everything that can be asked of it.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use lucid::cmd::Arguments;

/// Looks at the page of a command, and of each below it; says how many that were.
fn look(folder: &Path, command: &Command, name: &str) -> usize {
    let path = folder.join(format!("{name}.1"));
    let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let plain = page.replace('\\', "");
    for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
        if let Some(long) = option.get_long() {
            assert!(plain.contains(&format!("--{long}")), "{name} has no --{long}");
        }
    }
    let below = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    1 + below.map(|verb| look(folder, verb, &format!("{name}-{}", verb.get_name()))).sum::<usize>()
}

#[test]
fn every_verb_has_a_page_with_all_its_options_and_there_is_no_other() {
    let folder = tempfile::tempdir().unwrap();
    lucid_manuals::write(folder.path()).unwrap();
    let verbs = folder.path().join("man1");
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let expected = look(&verbs, &command, "lucid");
    assert_eq!(fs::read_dir(&verbs).unwrap().count(), expected);
    for service in ["lucid-data-chain", "lucid-block-manager"] {
        let page = fs::read_to_string(folder.path().join(format!("man8/{service}.8"))).unwrap();
        for part in ["healthcheck", "check\\-config", ".SH SETTINGS", ".SH \"SEE ALSO\""] {
            assert!(page.contains(part), "{service}: {part}");
        }
    }
}
