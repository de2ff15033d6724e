//! `lucid init`: makes what a first start of the services needs, and says what is to be kept safe.
//!
//! What is there is not changed: a second run makes what is missing and says what there is, so it also completes
//! what a crash left. The stores come first, then the file that names them, then the list of tokens, which is made at
//! once, and at last all of it is given to its owner.

mod owner;
mod secrets;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_api::access::{Role, Token, TokenEntry, TokenList, TokenName};
use lucid_data_chain::opened::FOLDER_OWNER;
use lucid_http::config::TOKENS;
use lucid_store::backend::Given;
use lucid_store::crypt::random;
use lucid_store::files::folder::keys::{KeyExport, Keys, key_export};
use lucid_store::files::folder::{DataFolder, Expected, Options, identify, is_store};
use serde::Serialize;

use self::owner::Owner;
use self::secrets::Secrets;
use super::token::{change, hex};
use super::{DONE, Home, fits, now};
use crate::ending::WrongUse;
use crate::output::Output;
use crate::place::local::{CHAIN_FOLDER, chain_folder, chain_options, data_folder, options};

/// The file of secrets, beside the folder of `--data`.
const SECRETS: &str = ".env.secrets";
/// What the data-chain shows to the block-manager.
const PEER_TOKEN: &str = "LUCID_PEER_TOKEN";

/// Arguments of `lucid init`.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// The file of secrets for `--env-file`, if not .env.secrets beside the folder of --data.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// The list of tokens for `LUCID_TOKENS_FILE`, if not `tokens` in the folder of --data, which containers do not see.
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// To whom all of it is given, by number: the user that the services run as, 65532 in containers.
    #[arg(long, value_name = "UID[:GID]")]
    owner: Option<Owner>,
    /// Make stores without encryption.
    #[arg(long)]
    no_encryption: bool,
}

/// What there is, and what of it was made now.
#[derive(Serialize)]
struct Done {
    data: String,
    stores: Vec<Store>,
    secrets: String,
    /// The variables that were added to it.
    added: Vec<&'static str>,
    tokens: String,
    /// The tokens that were made.
    made: Vec<String>,
    /// The token of the operator, where it was made now: it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_token: Option<String>,
    owner: String,
    keep_safe: Vec<String>,
    start: String,
}

#[derive(Serialize)]
struct Store {
    folder: &'static str,
    path: String,
    store_id: String,
    made: bool,
}

/// Tokens that are to be made, or were.
#[derive(Default)]
struct Tokens {
    made: Vec<String>,
    admin: Option<Token>,
}

impl Init {
    /// Makes what is missing.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        fits(
            home.server.is_none(),
            "a folder is made on the machine that is to have it, and --server (LUCID_DATA_CHAIN_URL) names a \
             server: leave it out",
        )?;
        if let Some(owner) = self.owner.filter(|owner| !owner.can_be_given_to()) {
            let sentence = format!(
                "only root can give what is made to {owner}: run this as root, or leave --owner out"
            );
            return Err(WrongUse(sentence).into());
        }
        let data = std::path::absolute(&home.data)?;
        let beside = || data.parent().unwrap_or(&data).join(SECRETS);
        let secrets = Secrets::read(&self.secrets.clone().unwrap_or_else(beside))?;
        let list = match &self.tokens {
            Some(list) => std::path::absolute(list)?,
            None => data.join(TOKENS),
        };
        let new_files = [&data, &secrets.file, &list]
            .into_iter()
            .chain(home.key_file.as_ref())
            .flat_map(|path| missing(path))
            .collect::<Vec<_>>();

        let (encrypt, by) = (!self.no_encryption, "`lucid init`");
        let stores = vec![
            self.store(
                home,
                &data_folder(home),
                Options { create: true, ..options(home, by, now(), true, encrypt) },
                ("DATA_CHAIN_STORE_ID", &secrets),
            )?,
            self.store(
                home,
                &chain_folder(home),
                Options { create: true, encrypt, ..chain_options(home, by, now()) },
                ("BLOCK_MANAGER_STORE_ID", &secrets),
            )?,
        ];
        let peer = match secrets.get(PEER_TOKEN) {
            Some(text) => Some((Token::given(text), false)),
            // It stands in a file of its own.
            None if secrets.get("LUCID_PEER_TOKEN_FILE").is_some() => None,
            None => Some((Token::new(&random()?), true)),
        };
        let added = add(&secrets, home, &stores, peer.as_ref())?;
        if let Some(folder) = list.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        let tokens = make_tokens(&list, peer.as_ref(), output)?;
        if let Some(owner) = self.owner {
            for path in new_files.iter().chain([&data, &secrets.file, &list]) {
                owner.take(path)?;
            }
            owner.take_all(&data_folder(home))?;
            owner.take_all(&chain_folder(home))?;
        }
        let done = Done {
            keep_safe: keep_safe(home, &data, &secrets.file),
            start: format!(
                "lucid up --data \"{}\" --env-file \"{}\"",
                data.display(),
                secrets.file.display()
            ),
            owner: Owner::of(&data)?.to_string(),
            data: data.display().to_string(),
            stores,
            secrets: secrets.file.display().to_string(),
            added,
            tokens: list.display().to_string(),
            made: tokens.made,
            admin_token: tokens.admin.map(|token| token.expose().to_owned()),
        };
        output.result(&done, describe)?;
        if self.owner.is_none() && Owner::of(&data)?.is_root() {
            output.note(
                "all of it belongs to root: for services that run as another user, run this again with --owner \
                 UID:GID (in containers 65532:65532)",
            );
        }
        Ok(DONE)
    }

    /// Makes a store where there is none, and says which one is there.
    fn store(
        &self,
        home: &Home,
        root: &Path,
        options: Options,
        (variable, secrets): (&str, &Secrets),
    ) -> anyhow::Result<Store> {
        let said_by = || format!("{variable} in {}", secrets.file.display());
        let expected = match secrets.get(variable) {
            Some(text) => Some(Expected {
                id: text.parse().map_err(|fault| anyhow::anyhow!("{}: {fault}", said_by()))?,
                said_by: said_by(),
            }),
            None => None,
        };
        // Here, and nowhere else, the keys of a store in a database are made.
        let given = Given { makes_keys: true, ..options.given.clone() };
        let options = Options { expected, given, ..options };
        let made = !is_store(root)?;
        let store_id = match made {
            true => hex(&DataFolder::open(root, &options)?.store),
            false => {
                // A key that is given is honoured, though it is not needed.
                if home.key_file.is_some() || home.passphrase().is_some() {
                    let keys = Keys::open(root, &options)?;
                    if keys.is_keyed() {
                        keys.list()?;
                    }
                }
                identify(root, &options)?.to_string()
            }
        };
        let path = std::path::absolute(root)?.display().to_string();
        Ok(Store { folder: options.service, path, store_id, made })
    }
}

/// The path and the folders above it that are not there yet.
fn missing(path: &Path) -> Vec<PathBuf> {
    let there = |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
    path.ancestors().take_while(there).map(Path::to_path_buf).collect()
}

/// Adds to the file of secrets what it does not say yet.
fn add(
    secrets: &Secrets,
    home: &Home,
    stores: &[Store],
    peer: Option<&(Token, bool)>,
) -> anyhow::Result<Vec<&'static str>> {
    let mut wanted = Vec::new();
    for store in stores {
        let variable = match store.folder {
            FOLDER_OWNER => "DATA_CHAIN_STORE_ID",
            _ => "BLOCK_MANAGER_STORE_ID",
        };
        wanted.push((variable, store.store_id.clone()));
    }
    if let Some((token, true)) = peer {
        wanted.push((PEER_TOKEN, token.expose().to_owned()));
    }
    // What opens the stores is needed at every start.
    for (variable, file) in [
        ("LUCID_MASTER_KEY_FILE", &home.key_file),
        ("LUCID_PASSPHRASE_FILE", &home.passphrase_file),
    ] {
        if let Some(file) = file {
            wanted.push((variable, std::path::absolute(file)?.display().to_string()));
        }
    }
    wanted.retain(|(variable, _)| secrets.get(variable).is_none());
    secrets.add(&wanted)?;
    Ok(wanted.into_iter().map(|(variable, _)| variable).collect())
}

/// Makes the first list of tokens: the operator's, and the one that the data-chain shows to the block-manager. A list
/// that is there is the operator's business: it gets the second, if that is new, and nothing else.
fn make_tokens(
    list: &Path,
    peer: Option<&(Token, bool)>,
    output: &Output,
) -> anyhow::Result<Tokens> {
    let (mut tokens, mut is_unknown) = (Tokens::default(), false);
    let is_first = !list.try_exists()?;
    change(list, |text, known| {
        let mut entries = Vec::new();
        if is_first {
            let token = Token::new(&random()?);
            entries.push(entry("admin", Role::Admin, &token, &known)?);
            tokens.admin = Some(token);
        }
        if let Some((token, is_new)) = peer {
            if is_first || *is_new {
                entries.push(entry(FOLDER_OWNER, Role::Write, token, &known)?);
            } else {
                is_unknown = known.entries().iter().all(|entry| entry.hash != token.hash());
            }
        }
        tokens.made = entries.iter().map(|entry| entry.name.to_string()).collect();
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        Ok((!entries.is_empty()).then(|| format!("{text}{gap}{lines}")))
    })?;
    if is_unknown {
        output.warn(&format!(
            "{PEER_TOKEN} is in no line of {}: it was revoked, or is of another list. To have a new one made, take it \
             out of the file of secrets and run this again",
            list.display()
        ));
    }
    Ok(tokens)
}

/// A line of the list, under this name or, where that is taken, one that begins so.
fn entry(name: &str, role: Role, token: &Token, known: &TokenList) -> anyhow::Result<TokenEntry> {
    let is_taken = known.entries().iter().any(|entry| entry.name.as_str() == name);
    let name: TokenName = match is_taken {
        true => format!("{name}-{}", hex(&random::<4>()?)).parse()?,
        false => name.parse()?,
    };
    let (roles, hash) = (role.into(), token.hash());
    Ok(TokenEntry { name, roles, hash, narrowing: None, expires: None })
}

/// What an operator has to have elsewhere before the disk is lost.
fn keep_safe(home: &Home, data: &Path, secrets: &Path) -> Vec<String> {
    let mut safe = Vec::new();
    for (name, root) in [(FOLDER_OWNER, data_folder(home)), (CHAIN_FOLDER, chain_folder(home))] {
        match key_export(&root) {
            Ok(KeyExport::NotVerified) => safe.push(format!(
                "the root key of the {name}: lucid --data \"{0}\" keys export {name}.key --of {name}, then lucid \
                 --data \"{0}\" keys verify-export {name}.key --of {name}",
                data.display()
            )),
            Ok(KeyExport::Passphrase) => safe.push(format!("the passphrase of the {name}")),
            _ => {}
        }
    }
    safe.push(format!(
        "keys/ and STORE of both folders in {}: without its data.keys a root key opens nothing",
        data.display()
    ));
    safe.push(format!("{}, which has a secret in it", secrets.display()));
    safe
}

fn describe(done: &Done) -> Vec<String> {
    let mut lines = Vec::new();
    for Store { folder, path, store_id, made } in &done.stores {
        let how = if *made { "made" } else { "there already" };
        lines.push(format!("{folder:<14} {path}: store {store_id}, {how}"));
    }
    let list = |names: &[&str]| match names.is_empty() {
        true => "there already, nothing added".to_owned(),
        false => format!("{} added", names.join(", ")),
    };
    lines.push(format!("secrets        {}: {}", done.secrets, list(&done.added)));
    let made: Vec<&str> = done.made.iter().map(String::as_str).collect();
    lines.push(format!("tokens         {}: {}", done.tokens, list(&made)));
    lines.push(format!("owner          {}", done.owner));
    if let Some(token) = &done.admin_token {
        lines.push(format!("admin token    {token} (it is not shown again)"));
    }
    lines.extend(done.keep_safe.iter().map(|what| format!("keep safe      {what}")));
    lines.push(format!("start          {}", done.start));
    lines
}
