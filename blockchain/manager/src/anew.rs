//! Begins another chain in the place of one that can take no more blocks.
//!
//! `lucid chain begin-anew` calls it, on a folder that nobody runs. The new chain is made whole beside the old
//! one: its own store, with the key by which the old one's blocks are signed, a first block whose first
//! transaction is the [succession](lucid_core::succession), and all that waited in the old pool. Then the two
//! folders change places in one step. So the old folder is a whole block-manager's as before, to be read
//! for ever under its new name, and no committed block is removed.
//!
//! Invariant: before that step the old chain is in place, and what is beside it was promised to nobody and is
//! made anew by the next try; after it, everything is done. The old one is told first that it has ended, so
//! a block-manager that is started on it in between makes no block.

use std::path::{Path, PathBuf};

use lucid_core::claim::Claim as _;
use lucid_core::digest::BlockHash;
use lucid_core::sign::PublicKey;
use lucid_core::succession::Succession;
use lucid_core::time::Timestamp;
use lucid_core::transaction::{CHAIN_SUCCESSION, Transaction, TransactionFault};
use lucid_store::contract::chain::{Body, Tip};
use lucid_store::files::folder::{
    bequeath, exchange, has_succeeded, is_store, is_to_succeed, labels,
};
use lucid_store::vault::Vault;
use lucid_store::{CommitError, StoreError};

use crate::fact::{self, Fact, Role};
use crate::opened::{ManagerKind, OpenError, Opened, Options, folder_options, open};
use crate::ops::produce_block::{ProduceError, produce_block};
use crate::ops::submit_transaction::{SubmitError, submit_transaction};

/// What stands between the name of a folder and the end of the chain in it, once that has ended.
const UNTIL: &str = ".until-";
/// Pooled transactions that are taken along in one go.
const PAGE: usize = 500;

/// A chain that took the place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunAnew {
    /// The end of the old one.
    pub old: Tip,
    /// Where that is from now on.
    pub folder: PathBuf,
    /// The first block of the new one.
    pub genesis: BlockHash,
    /// That block's time.
    pub time: Timestamp,
    /// Transactions that waited, and wait in the new one.
    pub waiting: u64,
    /// Transactions that waited and were not let in, and why: id and sentence.
    pub refused: Vec<(String, String)>,
    /// The id of the new one's store.
    pub store: String,
    /// The key that signs the blocks of both.
    pub key: PublicKey,
}

/// Why no other chain was begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// A folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A follower's chain is another one's.
    #[error("the folder is a follower's: begin the chain anew where its blocks are made")]
    Follower,
    /// There is nothing that it could take the place of.
    #[error("the chain has no blocks, so there is none that another one could take the place of")]
    Empty,
    /// Its blocks are not in the folder.
    #[error(
        "the blocks of this chain are in a database, where no chain takes the place of another: move it into its \
         folder with `lucid migrate`, and run this again"
    )]
    Elsewhere,
    /// Its end is there already under the name that it would get.
    #[error("{} holds a copy of this chain: move it away first", .0.display())]
    Copied(PathBuf),
    /// The folder has no name of its own.
    #[error("{} cannot be renamed: name a folder that can", .0.display())]
    Unnamed(PathBuf),
    /// No first block could be made.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// The first transaction was not taken.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The succession is none that can be signed.
    #[error("the reason cannot be written down: {0}")]
    Reason(#[from] TransactionFault),
    /// Something could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The folders could not change places.
    #[error(
        "{0}; nothing has changed places, and running this again begins anew. A folder that is a mount point, \
         and some network file systems, do not allow it: copy the folder to where it can be renamed"
    )]
    Exchange(StoreError),
}

/// Begins anew.
pub fn begin_anew(
    root: &Path,
    options: &Options,
    reason: &str,
    now: Timestamp,
) -> Result<BegunAnew, BeginError> {
    let options = Options { create: false, ..options.clone() };
    let opened = open(root, &options, now)?;
    if opened.role != Role::Authority {
        return Err(BeginError::Follower);
    }
    if !opened.kept().is_here() {
        return Err(BeginError::Elsewhere);
    }
    let old = opened.chain.tip()?.ok_or(BeginError::Empty)?;
    let genesis = fact::genesis(opened.vault.index())?.ok_or(BeginError::Empty)?;
    let folder = place_of(root, old)?;
    let creating = Options {
        create: true,
        // It is another store.
        expected: None,
        encrypt: opened.vault.cipher().is_encrypted(),
        // Where the old one's are is the old one's.
        blocks: None,
        accept_loss: false,
        kind: ManagerKind { role: Some(Role::Authority), ..ManagerKind::default() },
        ..options
    };
    if is_copy(&folder, opened.store)? {
        return Err(BeginError::Copied(folder));
    }
    // The chain at `root` is in its place, even if the run that began it was broken off before it noted that.
    // So under another name it counts as an earlier one.
    has_succeeded(root)?;
    bequeath(root, &folder, &folder_options(&creating, now))?;
    let succession = Succession {
        genesis,
        height: old.height,
        hash: old.hash,
        reason: reason.to_owned(),
        timestamp: now,
    };
    let begun = make(&folder, &creating, now, &opened, &succession)?;
    fact::commit(&opened.vault, &[Fact::Ended { at: now, successor: begun.genesis }])?;
    opened.close()?;
    exchange(root, &folder).map_err(BeginError::Exchange)?;
    has_succeeded(root)?;
    Ok(BegunAnew { folder, ..begun })
}

/// The name of the old folder from then on. No other chain ends with this block.
fn place_of(root: &Path, old: Tip) -> Result<PathBuf, BeginError> {
    let path = std::path::absolute(root).map_err(StoreError::io("finding the folder"))?;
    let unnamed = || BeginError::Unnamed(root.to_owned());
    let mut name = path.file_name().ok_or_else(unnamed)?.to_owned();
    let hash: String = old.hash.to_string().chars().take(16).collect();
    name.push(format!("{UNTIL}{}-{hash}", old.height));
    Ok(path.with_file_name(name))
}

/// The folders of the chains that ended in this place, in the order of their names; not one that was being begun
/// when something ended that.
pub fn earlier(root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let context = || StoreError::io(format!("looking beside {}", root.display()));
    let path = std::path::absolute(root).map_err(context())?;
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let begins = format!("{}{UNTIL}", name.to_string_lossy());
    let mut folders = Vec::new();
    let entries = match std::fs::read_dir(above) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(folders),
        entries => entries.map_err(context())?,
    };
    for entry in entries {
        let entry = entry.map_err(context())?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(&begins)
            && is_store(&path)?
            && !is_to_succeed(&path)?
        {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// Whether a folder holds a copy of this store, by its label: the one that is made there has an id of its own,
/// and may be unfinished and not open.
fn is_copy(folder: &Path, store: [u8; 16]) -> Result<bool, StoreError> {
    let id = hex::encode(store);
    for name in labels() {
        match std::fs::read(folder.join(name)) {
            Ok(label) if String::from_utf8_lossy(&label).contains(&id) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(StoreError::io(format!("reading {}", folder.display()))(error));
            }
        }
    }
    Ok(false)
}

/// Makes the new chain, whole.
fn make(
    folder: &Path,
    options: &Options,
    now: Timestamp,
    from: &Opened,
    succession: &Succession,
) -> Result<BegunAnew, BeginError> {
    let new = open(folder, options, now)?;
    let submit = |text: &str| {
        let (vault, chain) = (&new.vault, new.chain.as_ref());
        submit_transaction(vault, chain, &new.admissions, now, text.as_bytes())
    };
    submit(succession.sign(&from.key)?.text())?;
    // Who knows a chain that ended before finds its successor here, too.
    for earlier in successions(from)? {
        submit(earlier.text())?;
    }
    produce_block(&new.vault, new.chain.as_ref(), &new.producing, &new.key, now)?;
    let first = new.chain.record(0)?.ok_or(BeginError::Empty)?.record.entry;
    let (mut waiting, mut refused) = (0, Vec::new());
    each_pending(&from.vault, &mut |transaction| match submit(transaction.text()) {
        Ok(_) => {
            waiting += 1;
            Ok(())
        }
        Err(SubmitError::Store(error)) => Err(error.into()),
        Err(SubmitError::Commit(error)) => Err(error.into()),
        Err(error) => {
            refused.push((transaction.id().to_owned(), error.to_string()));
            Ok(())
        }
    })?;
    let begun = BegunAnew {
        old: Tip { height: succession.height, hash: succession.hash },
        folder: folder.to_owned(),
        genesis: first.hash,
        time: now,
        waiting,
        refused,
        store: new.store_id(),
        key: new.key.public(),
    };
    new.close()?;
    Ok(begun)
}

/// The successions in the first block of a chain: its own, and those before. A first block that cannot be
/// read takes them with it.
fn successions(opened: &Opened) -> Result<Vec<Transaction>, StoreError> {
    let first = match opened.chain.body(0) {
        Ok(body) => body.and_then(Body::here).unwrap_or_default(),
        Err(StoreError::Damaged(damage)) => {
            tracing::warn!(%damage, "chains before the one that ends cannot be named");
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let is_one = |transaction: &Transaction| transaction.kind() == Some(CHAIN_SUCCESSION);
    Ok(first.into_iter().filter(is_one).collect())
}

fn each_pending(
    vault: &Vault,
    visit: &mut dyn FnMut(&Transaction) -> Result<(), BeginError>,
) -> Result<(), BeginError> {
    let mut from = 0;
    loop {
        let page = fact::pending(vault, from, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        from = last.order + 1;
        page.iter().try_for_each(|waiting| visit(&waiting.transaction))?;
    }
}
