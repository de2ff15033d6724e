//! Which token is shown to which server, and by what a server is believed.
//!
//! Invariant: a token is never an argument, which everybody on a machine can read. It stands in a file that an option
//! names, in a variable, or in a file of credentials with a line for each server. A token of that file goes to its
//! server alone.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_api::access::{Token, TokenSource};
use lucid_api::address::Address;
use lucid_api::client::{ClientOptions, Trust};
use lucid_api::tls::{Pin, ServerKey};
use lucid_http::config::{Environment, process_environment};

use crate::cmd::Home;

/// A token itself.
pub const TOKEN: &str = "LUCID_TOKEN";
/// Where the credentials are, if not in the user's folder of settings.
pub const CREDENTIALS: &str = "LUCID_CREDENTIALS_FILE";

/// How a server is spoken to that goes by this address.
pub fn client_options(home: &Home, url: &Address) -> anyhow::Result<ClientOptions> {
    let token = token_for(home.token_file.as_deref(), url, &process_environment())?;
    let trust = Trust { authorities: home.ca.clone(), pin: home.pin.map(ServerKey::from) };
    Ok(spoken(home, token, trust))
}

/// How another server is spoken to than the one that all options are about.
pub fn other_options(
    named: Option<&Path>,
    pin: Option<Pin>,
    home: &Home,
    url: &Address,
) -> anyhow::Result<ClientOptions> {
    // The variable is for the first one.
    let environment = process_environment().into_iter().filter(|(name, _)| name != TOKEN).collect();
    let token = token_for(named, url, &environment)?;
    let trust = Trust { authorities: home.ca.clone(), pin: pin.map(ServerKey::from) };
    Ok(spoken(home, token, trust))
}

fn spoken(home: &Home, token: Option<TokenSource>, trust: Trust) -> ClientOptions {
    let (pace, heard) = (home.pace(), home.heard.clone());
    ClientOptions { token, trust, pace, heard, ..ClientOptions::default() }
}

fn token_for(
    named: Option<&Path>,
    url: &Address,
    environment: &Environment,
) -> anyhow::Result<Option<TokenSource>> {
    if let Some(path) = named {
        return Ok(Some(TokenSource::File(path.to_owned())));
    }
    if let Some(token) = environment.get(TOKEN).filter(|token| !token.is_empty()) {
        return Ok(Some(TokenSource::Text(Token::given(token))));
    }
    let Some((path, is_named)) = credentials(environment) else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => zeroize::Zeroizing::new(text),
        // That nobody made one is no fault.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("credentials in {path:?}")),
    };
    let mode = path.metadata()?.mode();
    anyhow::ensure!(
        mode & 0o077 == 0,
        "{path:?} holds credentials, and others than you may read or write it: chmod 600 it"
    );
    let wanted = without_slash(url);
    for (line, said) in (1..).zip(text.lines()) {
        let said = said.trim();
        if said.is_empty() || said.starts_with('#') {
            continue;
        }
        let mut words = said.split_ascii_whitespace();
        let (Some(server), Some(token), None) = (words.next(), words.next(), words.next()) else {
            anyhow::bail!("{path:?}, line {line}: a server's address and its token are wanted");
        };
        if without_slash(&Address::from(server)) == wanted {
            return Ok(Some(TokenSource::Text(Token::given(token))));
        }
    }
    Ok(None)
}

fn without_slash(url: &Address) -> String {
    url.expose().trim_end_matches('/').to_ascii_lowercase()
}

/// The file of credentials, and whether it was named.
fn credentials(environment: &Environment) -> Option<(PathBuf, bool)> {
    let set = |name| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = set(CREDENTIALS) {
        return Some((named, true));
    }
    let settings = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    settings.map(|settings| (settings.join("lucid/credentials"), false))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn shown(
        named: Option<&Path>,
        url: &str,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Option<String>> {
        let environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let source = token_for(named, &Address::from(url), &environment)?;
        source
            .map(|source| source.read().map(|token| token.expose().to_owned()))
            .transpose()
            .map_err(anyhow::Error::msg)
    }

    #[test]
    fn a_token_comes_from_a_file_a_variable_or_the_line_of_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("token");
        std::fs::write(&named, "lucid_named\n").unwrap();
        let kept = folder.path().join("lucid/credentials");
        std::fs::create_dir(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, "# ours\nhttp://a:8087/ lucid_a\nhttps://b lucid_b\n").unwrap();
        std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o600)).unwrap();
        let home = [("XDG_CONFIG_HOME", folder.path().to_str().unwrap())];
        for (url, wanted) in [
            ("http://a:8087", Some("lucid_a")),
            ("http://A:8087/", Some("lucid_a")),
            ("https://b/", Some("lucid_b")),
            ("http://b", None),
            ("http://a:8086", None),
        ] {
            assert_eq!(shown(None, url, &home).unwrap().as_deref(), wanted, "{url}");
        }
        let both = [home[0], (TOKEN, " lucid_said ")];
        assert_eq!(shown(None, "http://a:8087", &both).unwrap().as_deref(), Some("lucid_said"));
        let of_file = shown(Some(&named), "http://a:8087", &both).unwrap();
        assert_eq!(of_file.as_deref(), Some("lucid_named"));
        assert!(shown(Some(&folder.path().join("none")), "http://a:8087", &[]).is_err());
        assert_eq!(shown(None, "http://a:8087", &[("HOME", "/nowhere")]).unwrap(), None);
    }

    #[test]
    fn credentials_that_others_may_read_or_that_say_something_else_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("credentials");
        let ask = || shown(None, "http://a", &[(CREDENTIALS, kept.to_str().unwrap())]);
        assert!(ask().unwrap_err().to_string().contains("credentials in"));
        std::fs::write(&kept, "http://a lucid_a\n").unwrap();
        std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(ask().unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(ask().unwrap().as_deref(), Some("lucid_a"));
        std::fs::write(&kept, "http://b lucid_a more\n").unwrap();
        assert!(ask().unwrap_err().to_string().contains("line 1"));
    }
}
