//! Places that have a name: `~/.config/lucid/config.toml` says what opens each, so that nobody has to.
//!
//! ```toml
//! default = "home"
//!
//! [place.home]
//! data = "~/lucid-data"
//!
//! [place.office]
//! server = "https://lucid.example.org:8087"
//! token_file = "office.token"
//! store_id = "00112233445566778899aabbccddeeff"
//! ```
//!
//! What an option says counts over everything, then what the profile says that is used, then variables. A place is
//! one thing: where an option or a variable names another folder or server than a profile does, nothing of the profile
//! is used there, so that no token and no key of one place is shown to another.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use lucid_api::address::Address;
use lucid_api::tls::Pin;
use lucid_http::config::Environment;
use lucid_store::files::folder::{Expected, StoreId};
use serde::Deserialize;

use crate::cmd::Home;

/// All that the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    /// The place that is meant where none is named.
    default: Option<String>,
    #[serde(default)]
    place: BTreeMap<String, Profile>,
}

/// A place, and what opens it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    data: Option<PathBuf>,
    server: Option<String>,
    key_file: Option<PathBuf>,
    passphrase_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    pin: Option<String>,
    blocks: Option<PathBuf>,
    store_id: Option<String>,
}

/// Decides which place is meant, of what options, variables and the file say; the error is a sentence. What `is_server`
/// itself does not heed the variable of one.
pub fn settle(
    home: &mut Home,
    given: &ArgMatches,
    environment: &Environment,
    is_server: bool,
) -> Result<(), String> {
    let said_by = |name: &str, source| given.value_source(name) == Some(source);
    let is_option = |name: &str| said_by(name, ValueSource::CommandLine);
    let is_variable = |name: &str| said_by(name, ValueSource::EnvVariable);
    let places = ["data", "server"];
    let has_option = places.into_iter().any(is_option);
    if is_option("profile") && has_option {
        return Err(
            "--profile names a place, and --data or --server another one: leave one out".into()
        );
    }
    // A folder that an option names is meant, whatever server a variable has for other times.
    if is_option("data") && is_variable("server") {
        home.server = None;
    }
    if has_option {
        return Ok(());
    }
    let variables =
        [("data", "LUCID_DATA"), ("server", "LUCID_DATA_CHAIN_URL"), ("profile", "LUCID_PROFILE")];
    let is_heeded = |name: &str| is_variable(name) && !(is_server && name == "server");
    let set: Vec<&str> =
        variables.into_iter().filter(|(name, _)| is_heeded(name)).map(|(_, name)| name).collect();
    let (path, named) = match (is_option("profile"), set.as_slice()) {
        (true, _) | (false, [] | ["LUCID_PROFILE"]) => {
            (config_file(environment), home.profile.clone())
        }
        (false, [_]) => return Ok(()),
        (false, several) => {
            return Err(format!(
                "{} are set, and each names a place: unset all but one, or say --data, --server or --profile",
                several.join(" and ")
            ));
        }
    };
    let path = match (path, &named) {
        (Some(path), _) => path,
        (None, None) => return Ok(()),
        (None, Some(name)) => {
            return Err(format!(
                "where the place {name:?} is described is not known: set HOME or XDG_CONFIG_HOME"
            ));
        }
    };
    let profiles = match std::fs::read_to_string(&path) {
        Ok(text) => read(&path, &text)?,
        // That nobody made one is no fault.
        Err(error) if error.kind() == ErrorKind::NotFound => Profiles::default(),
        Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
    };
    let Some(name) = named.or(profiles.default) else { return Ok(()) };
    let Some(profile) = profiles.place.get(&name) else {
        let known: Vec<&str> = profiles.place.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(format!(
            "{} has no place {name:?}, but {known}: name one of those, or add [place.{name}] there",
            path.display()
        ));
    };
    let within = Within { path: &path, name: &name, home: environment.get("HOME").map(Path::new) };
    let used = profile.used(&within, home.clone(), &is_option)?;
    *home = used;
    Ok(())
}

/// The names of all places in the file, if it can be read.
pub fn names(environment: &Environment) -> Vec<String> {
    let path = config_file(environment);
    let text = path.as_deref().and_then(|path| std::fs::read_to_string(path).ok());
    let profiles = path.zip(text).and_then(|(path, text)| read(&path, &text).ok());
    profiles.map(|profiles| profiles.place.into_keys().collect()).unwrap_or_default()
}

/// Where the file is, if the user has a folder of settings.
fn config_file(environment: &Environment) -> Option<PathBuf> {
    let set = |name| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let settings = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    settings.map(|settings| settings.join("lucid/config.toml"))
}

/// Reads the file's text; the error names file and line.
fn read(path: &Path, text: &str) -> Result<Profiles, String> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| format!(":{}", before.matches('\n').count() + 1));
        let what = error.message().replace('\n', " ");
        format!("{}{}: {what}", path.display(), line.unwrap_or_default())
    })
}

/// Where in the file something stands, and where its paths begin.
struct Within<'a> {
    path: &'a Path,
    name: &'a str,
    home: Option<&'a Path>,
}

impl Within<'_> {
    /// What is wrong with one of the place's values.
    fn wrong(&self, key: &str, why: impl Display) -> String {
        format!("{}: {key} of [place.{}] is wrong: {why}", self.path.display(), self.name)
    }

    /// A path of the file: relative ones begin at the file's own folder, and `~` is the user's.
    fn resolve(&self, given: &Path) -> PathBuf {
        if let (Ok(rest), Some(home)) = (given.strip_prefix("~"), self.home) {
            return home.join(rest);
        }
        self.path.parent().map_or_else(|| given.to_owned(), |folder| folder.join(given))
    }
}

impl Profile {
    /// The home of this place; what options say of it stays.
    fn used(
        &self,
        within: &Within<'_>,
        home: Home,
        is_option: &dyn Fn(&str) -> bool,
    ) -> Result<Home, String> {
        let path = |name: &str, said: &Option<PathBuf>, given: Option<PathBuf>| match said {
            Some(said) if !is_option(name) => Some(within.resolve(said)),
            _ => given,
        };
        let (data, server) = match (&self.data, &self.server) {
            (Some(data), None) => (within.resolve(data), None),
            (None, Some(url)) => (home.data.clone(), Some(Address::from(url.as_str()))),
            _ => return Err(within.wrong("data or server", "one of the two is needed: give one")),
        };
        let opens_folder = [
            ("key_file", self.key_file.is_some()),
            ("passphrase_file", self.passphrase_file.is_some()),
            ("blocks", self.blocks.is_some()),
        ];
        if let Some((key, _)) =
            opens_folder.into_iter().find(|(_, is_said)| *is_said && server.is_some())
        {
            return Err(within
                .wrong(key, "it is of a data folder, and the server has its own: leave it out"));
        }
        let pin = match &self.pin {
            Some(pin) if !is_option("pin") => {
                Some(pin.parse::<Pin>().map_err(|fault| within.wrong("pin", fault))?)
            }
            _ => home.pin,
        };
        let said_by = format!("store_id of [place.{}] in {}", within.name, within.path.display());
        let store = self.store_id.as_ref().map(|id| id.parse::<StoreId>());
        let store = store.transpose().map_err(|fault| within.wrong("store_id", fault))?;
        Ok(Home {
            data,
            server,
            token_file: path("token_file", &self.token_file, home.token_file.clone()),
            ca: path("ca", &self.ca, home.ca.clone()),
            pin,
            key_file: path("key_file", &self.key_file, home.key_file.clone()),
            passphrase_file: path(
                "passphrase_file",
                &self.passphrase_file,
                home.passphrase_file.clone(),
            ),
            blocks: path("blocks", &self.blocks, home.blocks.clone()),
            expected: store.map(|id| Expected { id, said_by }),
            ..home
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_file_is_said_by_its_line() {
        let path = Path::new("/c/config.toml");
        for (text, wanted) in [
            ("default = 5", "/c/config.toml:1: "),
            (
                "\n[place.a]\nserver = \"x\"\ntokenfile = \"y\"\n",
                "/c/config.toml:4: unknown field `tokenfile`",
            ),
            ("[place.a\n", "/c/config.toml:1: "),
            ("[place.a]\ndata = \"x\"\ndata = \"y\"\n", "/c/config.toml:3: "),
            ("defaults = \"a\"\n", "unknown field `defaults`"),
        ] {
            let fault = read(path, text).unwrap_err();
            assert!(fault.contains(wanted) && !fault.contains('\n'), "{text:?}: {fault}");
        }
        assert!(read(path, "").unwrap().place.is_empty());
    }

    #[test]
    fn paths_begin_where_the_file_is_and_at_home() {
        let within = Within {
            path: Path::new("/c/lucid/config.toml"),
            name: "a",
            home: Some(Path::new("/home/ann")),
        };
        for (given, wanted) in [
            ("office.token", "/c/lucid/office.token"),
            ("/srv/lucid", "/srv/lucid"),
            ("~/lucid", "/home/ann/lucid"),
            ("~ann/lucid", "/c/lucid/~ann/lucid"),
        ] {
            assert_eq!(within.resolve(Path::new(given)), Path::new(wanted), "{given}");
        }
    }
}
