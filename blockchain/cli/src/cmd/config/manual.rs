//! The manual of settings, written from what the services and the verbs ask for themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::CommandFactory as _;
use lucid_http::config::{CONFIG_FILE, Environment, Setting};

use super::sound;
use crate::cmd::Arguments;
use crate::showing::{CREDENTIALS, TOKEN};

const HEAD: &str = "\
# Configuration

Written by `lucid config manual` from what the programs ask for: to change it, change the code and write it anew.

What counts: a variable of the process; else one of a file that `--env-file FILE` names (of several the later wins); \
else the YAML file that `--config FILE` or `LUCID_CONFIG_FILE` names; else the default. A variable that is set to \
nothing counts as unset. Of several names of one setting the first that is set counts. `lucid config show` says what \
came out, and where each value is from; `lucid-data-chain --check-config` and `lucid-block-manager --check-config` say \
the same of themselves. Every mistake is told at once, before anything is opened.

In the YAML file, nested keys are the dotted ones below, and unknown keys are refused, regardless of their value. A \
key without a value sets nothing. A file of variables has `NAME=value` in a line, as container tools have it. In the \
values of both, `${NAME}` is what the environment says, `${NAME:default}` and `${NAME:-default}` have a default; a \
name that is not set and has none is a mistake. A secret can stand in a file of its own: `NAME_FILE` names it. Secrets \
are never shown.
";

const CLI: &str = "\
## The command line

Of `lucid`; an option comes before its variable.
";

/// All of it, in Markdown.
pub fn text() -> anyhow::Result<String> {
    let nothing = Environment::new();
    let data = sound(lucid_data_chain::config::load(&nothing, None))?.manual;
    let chain = sound(lucid_block_manager::config::Config::load(&nothing, None))?.manual;
    let mut text = HEAD.to_owned();
    let in_both = |one: &Setting, others: &[Setting]| {
        others.iter().any(|other| {
            (one.file, &one.variables, one.about) == (other.file, &other.variables, other.about)
        })
    };
    let (both, of_data): (Vec<_>, Vec<_>) =
        data.into_iter().partition(|setting| in_both(setting, &chain));
    let of_chain: Vec<_> =
        chain.iter().filter(|setting| !in_both(setting, &both)).cloned().collect();
    let both: Vec<_> =
        both.into_iter().map(|setting| with_both_defaults(setting, &chain)).collect();
    section(&mut text, "Both services", &both)?;
    section(&mut text, "Data-chain", &of_data)?;
    section(&mut text, "Block-manager", &of_chain)?;
    write!(text, "\n{CLI}\n| variable | option | |\n|---|---|---|\n")?;
    for (variable, (option, about)) in of_verbs() {
        writeln!(text, "| `{variable}` | {option} | {about} |")?;
    }
    Ok(text)
}

fn with_both_defaults(setting: Setting, chain: &[Setting]) -> Setting {
    let other = chain.iter().find(|other| other.file == setting.file);
    let default = match other {
        Some(other) if other.default != setting.default => {
            format!("`{}`, `{}`", setting.default, other.default)
        }
        _ => setting.default,
    };
    Setting { default, ..setting }
}

fn section(text: &mut String, title: &str, settings: &[Setting]) -> std::fmt::Result {
    writeln!(
        text,
        "\n## {title}\n\n| variable | in the file | default | can be | |\n|---|---|---|---|---|"
    )?;
    for Setting { file, variables, default, allowed, about } in settings {
        let variables: Vec<_> = variables.iter().map(|name| format!("`{name}`")).collect();
        let variables = variables.join(", else ");
        writeln!(text, "| {variables} | `{file}` | {default} | {allowed} | {about} |")?;
    }
    Ok(())
}

/// The variables that stand for options of verbs, and those that verbs read themselves.
fn of_verbs() -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    let mut commands = vec![Arguments::command()];
    while let Some(command) = commands.pop() {
        for argument in command.get_arguments() {
            let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            let (Some(variable), Some(long)) = (variable, argument.get_long()) else { continue };
            let about = argument.get_help().map(ToString::to_string).unwrap_or_default();
            found.entry(variable).or_insert((format!("`--{long}`"), about));
        }
        commands.extend(command.get_subcommands().cloned());
    }
    for (variable, about) in [
        (
            TOKEN,
            "the token itself, where no file is named: [what is shown to a server](ACCESS.md#what-is-shown-to-a-server)",
        ),
        (CREDENTIALS, "the file of credentials, if it is not `~/.config/lucid/credentials`"),
        (
            CONFIG_FILE,
            "of `lucid up` and `lucid config show`: the YAML file with the settings of the services",
        ),
    ] {
        found.insert(variable.to_owned(), (String::new(), about.to_owned()));
    }
    found
}
