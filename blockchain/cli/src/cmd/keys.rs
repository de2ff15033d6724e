//! `lucid keys`: lists and changes the keys of a folder that nobody uses meanwhile, and shows the public ones.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use lucid_core::sign::SigningKey;
use lucid_store::files::folder::keys::{ExportVerdict, KeyPlace, Keys as FolderKeys, NewRoot};
use lucid_store::files::folder::{Passphrase, store_around};
use serde::Serialize;

use super::{DONE, FAILED, Home, now};
use crate::output::Output;
use crate::place::local::{chain_folder, chain_options, data_folder, options};
use crate::place::reading;

/// Arguments of `lucid keys`.
#[derive(Debug, clap::Args)]
pub struct Keys {
    #[command(subcommand)]
    verb: Verb,
}

/// One of the two folders below `--data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Of {
    DataChain,
    BlockManager,
}

/// A key that signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    /// Signs the blocks that this store's block-manager makes.
    Block,
    /// Signs the recordings of this store's data-chain.
    Recorder,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show which keys there are, and where; never the keys themselves.
    List,
    /// Show the public keys that the store signs with: what `check-proof --trust` asks for.
    Show {
        /// The public keys; the others are never shown.
        #[arg(long, required = true)]
        public: bool,
        /// Only this key, and nothing else.
        #[arg(value_enum)]
        which: Option<Which>,
    },
    /// Make a new data key: what is new is encrypted under it, what is old stays readable.
    Rotate,
    /// Write the root key to a file that is not there yet.
    Export {
        /// The file.
        file: PathBuf,
        /// Whose root key; each folder may have one of its own.
        #[arg(long, value_enum, default_value = "data-chain")]
        of: Of,
    },
    /// Put the root key in a file back into the folder that lost it.
    Import {
        /// The file that export wrote.
        file: PathBuf,
    },
    /// Say whether an export opens this store, and remember that it does.
    VerifyExport {
        /// The file that export wrote, or one with the passphrase where there is one.
        file: PathBuf,
        /// Only of this folder; without it, one that opens either is good.
        #[arg(long, value_enum)]
        of: Option<Of>,
    },
    /// Wrap the data keys under another root key: a new one in the folder, or as is said.
    Rewrap {
        /// The key in this file, which is made if it is not there; needed at every start from then on.
        #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
        new_key_file: Option<PathBuf>,
        /// A passphrase, needed at every start from then on.
        #[arg(long)]
        passphrase: bool,
        /// The file that holds it, if not LUCID_PASSPHRASE_FILE does; on a terminal it is asked for.
        #[arg(long, value_name = "FILE", requires = "passphrase")]
        new_passphrase_file: Option<PathBuf>,
    },
}

#[derive(Serialize)]
struct ListedKeys {
    folder: &'static str,
    encrypted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<String>,
    epochs: Vec<u32>,
    current_epoch: Option<u32>,
}

#[derive(Serialize)]
struct Public {
    signs: Which,
    public_key: String,
}

/// What an export is to a folder.
#[derive(Serialize)]
struct Verified {
    folder: &'static str,
    opens: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Serialize)]
struct Done {
    folder: &'static str,
    did: String,
}

/// A folder and its name.
struct Folder {
    name: &'static str,
    keys: FolderKeys,
}

impl Of {
    /// That folder, of those that there are.
    fn among(self, folders: &[Folder]) -> anyhow::Result<&Folder> {
        let name = if self == Self::DataChain { "data-chain" } else { "block-manager" };
        let folder = folders.iter().find(|folder| folder.name == name);
        folder.ok_or_else(|| anyhow::anyhow!("there is no {name} folder"))
    }
}

fn folders(home: &Home, output: &Output) -> anyhow::Result<Vec<Folder>> {
    anyhow::ensure!(
        home.server.is_none(),
        "keys are listed and changed on the machine that has the store: use --data there"
    );
    let open = |root: &Path, how| {
        let opened = reading::open(
            home.reading,
            || FolderKeys::open(root, &how),
            |to_read| FolderKeys::read(root, &how, to_read),
            |error| Some(error),
        )?;
        reading::say(output, opened.only_read());
        anyhow::Ok(opened)
    };
    let how = options(home, "`lucid keys`", now(), false, true);
    let mut found = vec![Folder { name: "data-chain", keys: open(&data_folder(home), how)? }];
    let chain = chain_folder(home);
    if chain.exists() {
        let keys = open(&chain, chain_options(home, "`lucid keys`", now()))?;
        found.push(Folder { name: "block-manager", keys });
    }
    Ok(found)
}

impl Keys {
    /// Whether it changes nothing.
    pub fn only_reads(&self) -> bool {
        matches!(self.verb, Verb::List | Verb::Show { .. })
    }

    /// Whether the key is in a file that the verb names, so that none opens the folder.
    pub fn brings_its_key(&self) -> bool {
        matches!(self.verb, Verb::Import { .. } | Verb::VerifyExport { .. })
    }

    /// Whether it gives a verdict.
    pub fn gives_verdict(&self) -> bool {
        matches!(self.verb, Verb::VerifyExport { .. })
    }

    /// Whether a passphrase that is given may be the one to be.
    pub fn takes_new_passphrase(&self) -> bool {
        matches!(self.verb, Verb::Rewrap { passphrase: true, .. })
    }

    /// Lists or changes.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        // Both folders are locked until all is done.
        let folders = folders(home, output)?;
        let done = |folder: &Folder, did: String| {
            output.item(&Done { folder: folder.name, did }, |done| {
                format!("{:<14} {}", done.folder, done.did)
            })
        };
        let keyed = || folders.iter().filter(|folder| folder.keys.is_keyed());
        let is_changed = !matches!(self.verb, Verb::List | Verb::Show { .. } | Verb::Import { .. });
        anyhow::ensure!(
            !is_changed || keyed().next().is_some(),
            "the store was made without encryption and has no such keys"
        );
        match &self.verb {
            Verb::List => {
                for folder in &folders {
                    output.item(&list(folder)?, describe)?;
                }
            }
            Verb::Show { which, .. } => {
                // A key that is given is honoured, though it is not needed.
                if home.key_file.is_some() || home.passphrase().is_some() {
                    for folder in keyed() {
                        folder.keys.list()?;
                    }
                }
                show(&folders, *which, output)?;
            }
            Verb::Rotate => {
                for folder in keyed() {
                    let epoch = folder.keys.rotate()?;
                    done(folder, format!("encrypts under data key {epoch} from now on"))?;
                }
            }
            Verb::Export { file, of } => {
                let folder = of.among(&folders)?;
                let id = folder.keys.export(file)?;
                done(folder, format!("root key {id} is in \"{}\"", file.display()))?;
                if *of == Of::DataChain && keyed().count() > 1 {
                    output.remark("the block-manager has a root key, too: --of block-manager");
                }
            }
            Verb::Import { file } => {
                let mut found = false;
                for folder in keyed() {
                    if let Some(id) = folder.keys.import(file)? {
                        found = true;
                        done(folder, format!("root key {id} is back"))?;
                    }
                }
                anyhow::ensure!(
                    found,
                    "\"{}\" holds another root key than this store was made under",
                    file.display()
                );
            }
            Verb::VerifyExport { file, of } => {
                return verify(home, file, *of, &folders, output);
            }
            Verb::Rewrap { new_key_file, passphrase, new_passphrase_file } => {
                let to = match (new_key_file, passphrase) {
                    (Some(path), _) => NewRoot::File(path.clone()),
                    (None, true) => {
                        let new =
                            new_passphrase(home, new_passphrase_file.as_ref(), &folders, output);
                        NewRoot::Passphrase(new?)
                    }
                    (None, false) => NewRoot::Folder,
                };
                for folder in keyed() {
                    folder.keys.rewrap(&to)?;
                    done(
                        folder,
                        format!("opens with {} from now on", kept(&list(folder).ok(), &to)),
                    )?;
                }
            }
        }
        Ok(DONE)
    }
}

/// Says of each folder whether an export opens it. Each may have a root key of its own, and so an export of its own:
/// one that opens none of them is wrong.
fn verify(
    home: &Home,
    file: &Path,
    of: Option<Of>,
    folders: &[Folder],
    output: &Output,
) -> anyhow::Result<u8> {
    if let Some(store) = store_around(file) {
        anyhow::bail!(
            "\"{}\" is in the store {}, and is lost together with it: name an export that is kept elsewhere",
            file.display(),
            store.display()
        );
    }
    let in_use = [home.key_file.as_ref(), home.passphrase_file.as_ref()];
    let is_itself = |used: &&PathBuf| used.canonicalize().ok() == file.canonicalize().ok();
    if file.exists() && in_use.into_iter().flatten().any(|used| is_itself(&used)) {
        anyhow::bail!(
            "\"{}\" is the very file that the store is opened with: name a copy that is kept elsewhere",
            file.display()
        );
    }
    let asked: Vec<&Folder> = match of {
        Some(of) => vec![of.among(folders)?],
        None => folders.iter().filter(|folder| folder.keys.is_keyed()).collect(),
    };
    let mut is_good = false;
    for folder in asked {
        let verdict = folder.keys.verify_export(file)?;
        let (root_key, why) = match verdict {
            ExportVerdict::Opens(root) => (Some(root), None),
            ExportVerdict::Wrong(why) => (None, Some(why)),
        };
        is_good |= root_key.is_some();
        let verified = Verified { folder: folder.name, opens: root_key.is_some(), root_key, why };
        output.item(&verified, |verified| match (&verified.root_key, &verified.why) {
            (Some(root), _) => {
                format!("{:<14} is opened by it: root key {root}", verified.folder)
            }
            (None, why) => format!(
                "{:<14} is NOT opened by it: {}",
                verified.folder,
                why.as_deref().unwrap_or_default()
            ),
        })?;
    }
    Ok(if is_good { DONE } else { FAILED })
}

/// One key a line: for programs to read, so nothing that others wrote stands among them.
fn show(folders: &[Folder], which: Option<Which>, output: &Output) -> anyhow::Result<()> {
    let mut shown = false;
    for (signs, name) in [(Which::Block, "block-manager"), (Which::Recorder, "data-chain")] {
        let folder = folders.iter().find(|folder| folder.name == name);
        let Some(folder) = folder.filter(|_| which.is_none_or(|which| which == signs)) else {
            continue;
        };
        let key = SigningKey::from_seed(*folder.keys.signing_seed()?).public();
        output.item(&Public { signs, public_key: key.to_string() }, |key| {
            match (which, signs) {
                (Some(_), _) => key.public_key.clone(),
                (None, Which::Block) => format!("block {}", key.public_key),
                (None, Which::Recorder) => format!("recorder {}", key.public_key),
            }
        })?;
        shown = true;
    }
    anyhow::ensure!(shown, "there is no such key here: the store has no chain of its own");
    Ok(())
}

fn kept(listed: &Option<ListedKeys>, to: &NewRoot) -> String {
    match to {
        NewRoot::File(path) => format!("--key-file \"{}\"", path.display()),
        NewRoot::Passphrase(_) => "the passphrase".to_owned(),
        NewRoot::Folder => match listed.as_ref().and_then(|listed| listed.root_key.as_ref()) {
            Some(id) => format!("root key {id}, which is in the folder,"),
            None => "a new root key, which is in the folder,".to_owned(),
        },
    }
}

/// The new passphrase. The one that was given is the old one, where there is an old one.
fn new_passphrase(
    home: &Home,
    file: Option<&PathBuf>,
    folders: &[Folder],
    output: &Output,
) -> anyhow::Result<Passphrase> {
    if let Some(path) = file {
        return Ok(Passphrase::File(path.clone()));
    }
    let mut has_one = false;
    for folder in folders.iter().filter(|folder| folder.keys.is_keyed()) {
        has_one |= folder.keys.list()?.kept == KeyPlace::Passphrase;
    }
    if let (false, Some(given)) = (has_one, home.passphrase()) {
        return Ok(given);
    }
    anyhow::ensure!(
        output.can_ask(),
        "the new passphrase is wanted: name the file that holds it with --new-passphrase-file"
    );
    let first = output.ask_secret("new passphrase: ")?;
    let again = output.ask_secret("the same again: ")?;
    anyhow::ensure!(first == again, "the two are not the same; nothing was changed");
    Ok(Passphrase::Text(first))
}

fn list(folder: &Folder) -> anyhow::Result<ListedKeys> {
    if !folder.keys.is_keyed() {
        return Ok(ListedKeys {
            folder: folder.name,
            encrypted: false,
            root_key: None,
            kept: None,
            epochs: Vec::new(),
            current_epoch: None,
        });
    }
    let listed = folder.keys.list()?;
    Ok(ListedKeys {
        folder: folder.name,
        encrypted: true,
        root_key: Some(listed.root),
        kept: Some(match listed.kept {
            KeyPlace::Folder => "in the folder".to_owned(),
            KeyPlace::File(path) => format!("in \"{}\"", path.display()),
            KeyPlace::Passphrase => "from the passphrase".to_owned(),
        }),
        current_epoch: listed.epochs.last().copied(),
        epochs: listed.epochs,
    })
}

fn describe(listed: &ListedKeys) -> String {
    let (Some(root), Some(kept)) = (&listed.root_key, &listed.kept) else {
        return format!("{:<14} not encrypted", listed.folder);
    };
    let epochs: Vec<String> = listed.epochs.iter().map(ToString::to_string).collect();
    format!(
        "{:<14} root key {root}, {kept}; data keys {}, of which {} encrypts",
        listed.folder,
        epochs.join(", "),
        listed.current_epoch.unwrap_or_default()
    )
}
