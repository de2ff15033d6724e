//! `lucid token`: makes, lists and revokes the tokens by which services know their callers.
//!
//! They stand in the file `tokens` of the folder of `--data`, or in one that is named. Services read it within a
//! second after it changed, running or not. Of a token only its hash is kept, so it is shown once, when it is made.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use lucid_api::access::{Narrowing, Role, Roles, Token, TokenEntry, TokenList, TokenName, without};
use lucid_core::time::Timestamp;
use lucid_http::config::TOKENS;
use lucid_store::crypt::random;
use lucid_store::files::folder::change_aside;
use serde::Serialize;

use super::{DONE, Home, fits, now};
use crate::output::{Align, Output, table};
use crate::when;

/// Arguments of `lucid token`.
#[derive(Debug, clap::Args)]
pub struct TokenVerb {
    /// The list, if it is not the one of the data folder.
    #[arg(long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token, and show it this once.
    Create(Create),
    /// List the tokens: never they themselves.
    List,
    /// Let a token count no more.
    Revoke {
        /// What `list` calls it.
        id: TokenName,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What its holder may do; several may be given.
    #[arg(long, required = true, value_name = "ROLE")]
    role: Vec<Role>,
    /// Only this session; several may be given.
    #[arg(long, value_name = "ID")]
    session: Vec<String>,
    /// Only sessions whose ids begin so; several may be given.
    #[arg(long, value_name = "BEGINNING")]
    prefix: Vec<String>,
    /// Only sessions of this user; several may be given.
    #[arg(long, value_name = "USER")]
    user: Vec<String>,
    /// From when on it counts no more: 2027-01-01T00:00:00Z, or 90d, 12h, 30m from now on.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// What it is called in lists and logs; it is no secret.
    #[arg(long, value_name = "NAME")]
    id: Option<TokenName>,
}

/// What is said of a new token.
#[derive(Serialize)]
struct Made {
    token: String,
    id: String,
}

/// What is said of one that there is.
#[derive(Serialize)]
struct Shown {
    id: String,
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    narrowed_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    expired: bool,
}

impl TokenVerb {
    /// Whether it changes nothing.
    pub fn only_reads(&self) -> bool {
        matches!(self.verb, Verb::List)
    }

    /// Runs the verb.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        fits(
            home.server.is_none(),
            "tokens are made in a folder (--data), and --server (LUCID_DATA_CHAIN_URL) names a server: leave it \
             out",
        )?;
        let list = self.file.clone().unwrap_or_else(|| home.data.join(TOKENS));
        match &self.verb {
            Verb::Create(create) => create.run(&list, output),
            Verb::List => show(&list, output),
            Verb::Revoke { id } => revoke(&list, id, output),
        }
    }
}

impl Create {
    fn run(&self, list: &Path, output: &Output) -> anyhow::Result<u8> {
        let expires = self.expires.as_deref().map(|text| expiry(text, now())).transpose()?;
        let (sessions, prefixes) = (self.session.clone(), self.prefix.clone());
        let narrowing = Narrowing::new(sessions, prefixes, self.user.clone())?;
        let Some(roles) = Roles::new(self.role.iter().copied()) else {
            anyhow::bail!("a token has a role: name one with --role");
        };
        let token = Token::new(&random()?);
        let name = match &self.id {
            Some(name) => name.clone(),
            None => hex(&random::<6>()?).parse()?,
        };
        let entry =
            TokenEntry { name: name.clone(), roles, hash: token.hash(), narrowing, expires };
        change(list, |text, known| {
            anyhow::ensure!(
                known.entries().iter().all(|known| known.name != name),
                "there is a token {name} already: take another --id, or revoke that one first"
            );
            let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            Ok(Some(format!("{text}{gap}{entry}\n")))
        })?;
        let made = Made { token: token.expose().to_owned(), id: name.to_string() };
        output.result(&made, |made| made.token.clone())?;
        output.note(&format!(
            "this is token {name} ({entry_roles}); it is not shown again",
            entry_roles = entry.roles
        ));
        Ok(DONE)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A time, or so long from now on.
fn expiry(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let unit = |letter| match letter {
        'd' => Some(86_400_i64),
        'h' => Some(3_600),
        'm' => Some(60),
        _ => None,
    };
    let seconds = text.chars().last().and_then(unit).and_then(|unit| {
        let count: i64 = text.get(..text.len() - 1)?.parse().ok()?;
        count.checked_mul(unit).filter(|_| count > 0)
    });
    let at = match seconds {
        Some(seconds) => now.plus_seconds(seconds),
        None => Timestamp::parse(text).map_err(|fault| {
            anyhow::anyhow!("--expires {text:?}: {fault}; 90d, 12h and 30m count from now on")
        })?,
    };
    anyhow::ensure!(at > now, "--expires {text} is over already: the token would never count");
    Ok(at)
}

fn show(list: &Path, output: &Output) -> anyhow::Result<u8> {
    let text = match std::fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => anyhow::bail!("{}: {error}", list.display()),
    };
    let now = now();
    let known: TokenList =
        text.parse().map_err(|fault| anyhow::anyhow!("{}: {fault}", list.display()))?;
    let shown: Vec<Shown> = known
        .entries()
        .iter()
        .map(|entry| Shown {
            id: entry.name.to_string(),
            role: entry.roles.to_string(),
            narrowed_to: entry.narrowing.as_ref().map(ToString::to_string),
            expires: entry.expires.map(|expires| expires.to_string()),
            expired: entry.expires.is_some_and(|expires| expires <= now),
        })
        .collect();
    output.result(&shown, |shown| {
        let columns = [
            ("ID", Align::Left),
            ("ROLE", Align::Left),
            ("NARROWED TO", Align::Left),
            ("EXPIRES", Align::Left),
        ];
        let rows = shown.iter().map(|token| {
            let expires = match (token.expires.as_deref().map(when::shown), token.expired) {
                (Some(expires), true) => format!("{expires} (expired)"),
                (expires, _) => expires.unwrap_or_default(),
            };
            let narrowed = token.narrowed_to.clone().unwrap_or_default();
            vec![token.id.clone(), token.role.clone(), narrowed, expires]
        });
        table(&columns, rows)
    })?;
    Ok(DONE)
}

fn revoke(list: &Path, id: &TokenName, output: &Output) -> anyhow::Result<u8> {
    change(list, |text, _| {
        let rest = without(&text, id);
        anyhow::ensure!(
            rest.is_some(),
            "there is no token {id} in {}: `lucid token list` says which there are",
            list.display()
        );
        Ok(rest)
    })?;
    output.remark(&format!("token {id} counts no more, within a second at running services"));
    Ok(DONE)
}

/// Changes a list. One that cannot be read is left as it is.
pub(super) fn change(
    list: &Path,
    change: impl FnOnce(String, TokenList) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    let folder = list.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = list.file_name().and_then(|name| name.to_str());
    let Some(name) = name else { anyhow::bail!("{} names no file", list.display()) };
    change_aside(folder.unwrap_or(Path::new(".")), name, |bytes| {
        let text = String::from_utf8(bytes.unwrap_or_default());
        let text = text.map_err(|_| anyhow::anyhow!("{} is no text", list.display()))?;
        let known = text.parse().map_err(|fault| anyhow::anyhow!("{}: {fault}", list.display()))?;
        Ok(change(text, known)?.map(String::into_bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_time_or_counts_from_now_on() {
        let now = Timestamp::parse("2026-11-28T00:00:00Z").unwrap();
        for (text, wanted) in [
            ("90d", "2027-02-26T00:00:00.000000Z"),
            ("12h", "2026-11-28T12:00:00.000000Z"),
            ("30m", "2026-11-28T00:30:00.000000Z"),
            ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(expiry(text, now).unwrap().to_string(), wanted);
        }
        for wrong in
            ["", "d", "0d", "-1d", "90", "1y", "2026-01-01T00:00:00Z", "9é", "99999999999999999d"]
        {
            assert!(expiry(wrong, now).is_err(), "{wrong}");
        }
    }
}
