//! An open block-manager: its parts, side by side.
//!
//! [`open`] is called by the service and by `lucid archive`, which has no service; [`over`] joins
//! parts that the caller made, for simulations. Neither needs a runtime: everything here blocks.
//! The ops take what they need from the fields of [`Opened`].
//!
//! Invariant: role and genesis are written down once, and a folder that says otherwise is refused. One
//! that lost its role makes no blocks until the operator says what it is: one that made none must not begin to.
//! Only [`promote`] changes the role, and only one way.
//!
//! In one file because it is the one file that names back-ends, and opens them in their order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lucid_core::digest::BlockHash;
use lucid_core::limits::BLOCK_TIME_TOLERANCE_SECONDS;
use lucid_core::sign::{Producers, PublicKey, SigningKey};
use lucid_core::time::Timestamp;
use lucid_store::backend::{Given, Keeper, Kept, opening};
use lucid_store::clock::Clock;
use lucid_store::contract::chain::{ChainStore, Tip};
use lucid_store::contract::index::Index;
use lucid_store::files::Limits;
use lucid_store::files::chain::FILE_BYTES_MAX;
use lucid_store::files::chain::elsewhere::BlocksElsewhere;
use lucid_store::files::chain::{ChainFiles, ChainParts};
use lucid_store::files::disk::Disk;
use lucid_store::files::folder::keys::export_warning;
use lucid_store::files::folder::{
    self, DataFolder, Expected, KeyExport, OnlyRead, Passphrase, ToRead,
};
use lucid_store::files::room::Reserve;
use lucid_store::files::{self, UnopenedStore};
use lucid_store::measured::MeasuredChain;
use lucid_store::vault::Vault;
use lucid_store::{CommitError, StoreError};
use parking_lot::Mutex;

use crate::admissions::Admissions;
use crate::fact::{self, Fact, Facts, Role};
use crate::ops::settle_pool::settle_pool;
use crate::ops::validate_block::parent_at;
use crate::staging::Staging;

/// How a block-manager's folder is to be opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who opens it, to be told to another process that finds it locked.
    pub owner: String,
    /// Whether a folder that holds no store may become one.
    pub create: bool,
    /// Which store it has to hold, if that is known; then none is made.
    pub expected: Option<Expected>,
    /// Whether the facts of a new store are encrypted. Blocks never are.
    pub encrypt: bool,
    /// A file with the root key, instead of the one in the folder.
    pub root_key_file: Option<PathBuf>,
    /// The passphrase, for a store whose keys are wrapped under one.
    pub passphrase: Option<Passphrase>,
    /// Where the blocks are, if not in the folder (`BLOCK_STORAGE_PATH`); it need be said once.
    pub blocks: Option<PathBuf>,
    /// How much room stays free for what gives some back.
    pub reserve: Reserve,
    /// Whether the loss of acknowledged facts and blocks has been accepted.
    pub accept_loss: bool,
    /// A file of blocks is continued in a new one beyond this size, and pruned as a whole.
    pub block_file_bytes: u64,
    /// What it is to be, and whose chain it is to keep.
    pub kind: ManagerKind,
    /// What tells the time while it is open.
    pub clock: Clock,
    /// What of the store is elsewhere, as the settings say.
    pub given: Given,
}

/// What a block-manager is told to be. What is not said is as it is written down, or not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagerKind {
    /// Its role; a new folder becomes an authority's where nothing is said.
    pub role: Option<Role>,
    /// `LUCID_CHAIN_GENESIS`: the only chain that may be kept.
    pub genesis: Option<BlockHash>,
    /// `LUCID_CHAIN_PRODUCER_KEY`: the only keys that may have signed its blocks.
    pub producer: Producers,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            owner: "lucid".into(),
            create: true,
            expected: None,
            encrypt: true,
            root_key_file: None,
            passphrase: None,
            blocks: None,
            reserve: Reserve::default(),
            accept_loss: false,
            block_file_bytes: FILE_BYTES_MAX,
            kind: ManagerKind::default(),
            clock: Clock::system(),
            given: Given::default(),
        }
    }
}

/// Why a block-manager cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Role or genesis could not be written down.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// It was a follower, and is to be an authority.
    #[error(
        "the folder is a follower's, and LUCID_CHAIN_FOLLOW_URL names nobody to follow (BLOCKCHAIN_ENGINE_URL \
         only says whom a data-chain anchors with): set it, or make the folder an authority's with `lucid chain \
         promote`"
    )]
    IsFollower,
    /// It was an authority, and is to follow.
    #[error(
        "the folder is the authority of its own chain, and LUCID_CHAIN_FOLLOW_URL asks it to follow \
         another: unset that, or name another folder"
    )]
    IsAuthority,
    /// What it is was lost.
    #[error(
        "the log of the folder lost whether it is an authority's or a follower's, and a follower's must \
         not begin to make blocks: say which. For a follower's, set LUCID_CHAIN_FOLLOW_URL, or run `lucid \
         chain sync --from URL`; for an authority's, run `lucid chain promote`"
    )]
    RoleLost,
    /// There is nothing to promote.
    #[error("the folder is an authority's already")]
    IsAuthorityAlready,
    /// An authority signs with its own key.
    #[error(
        "LUCID_CHAIN_PRODUCER_KEY is {pinned}, and this authority signs its blocks with {own}: \
         unset it"
    )]
    Producer {
        /// The pinned keys.
        pinned: Box<Producers>,
        /// Its own.
        own: PublicKey,
    },
    /// The chain is not the pinned one.
    #[error(
        "LUCID_CHAIN_GENESIS is {pinned}, and the chain in the folder began with block {is}: name \
         another folder, or correct it"
    )]
    GenesisPin {
        /// The pinned one.
        pinned: BlockHash,
        /// What is there.
        is: BlockHash,
    },
    /// The chain is another one than it was.
    #[error("the chain began with block {was} and begins with {is} now: put the blocks back")]
    Genesis {
        /// What is written down.
        was: BlockHash,
        /// What is there.
        is: BlockHash,
    },
    /// The chain is gone.
    #[error(
        "the chain began with block {0} and has no blocks now: put blocks/ and TIP back, mount the \
         folder they are in, or name it with BLOCK_STORAGE_PATH"
    )]
    ChainGone(BlockHash),
    /// The loss of blocks cannot be accepted: none can be read, or there may be later ones in what cannot be read.
    #[error(
        "the chain does not go on from what is left of it ({0}): put blocks/ back, mount the folder they \
         are in, or name it with BLOCK_STORAGE_PATH"
    )]
    LossRefused(String),
}

impl OpenError {
    /// The store's own error, if it is one.
    pub fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// An open block-manager. Dropping it closes it; [`Opened::close`] also says how that went.
pub struct Opened {
    /// The facts.
    pub vault: Vault,
    /// The blocks.
    pub chain: Box<dyn ChainStore>,
    /// Blocks that are not final yet: a follower's.
    pub staging: Staging,
    /// Where all of it is, for a caller that reads every byte.
    pub disk: Arc<dyn Disk>,
    /// The key that signs blocks.
    pub key: SigningKey,
    /// The store's id.
    pub store: [u8; 16],
    /// What it is; a follower, as far as making blocks goes, where that was lost.
    pub role: Role,
    /// Whether what it is was lost, and nobody has said it again.
    pub role_is_lost: bool,
    /// What it was told to be.
    pub kind: ManagerKind,
    /// Ids that are being admitted right now.
    pub admissions: Admissions,
    /// Held while a block is made.
    pub producing: Mutex<()>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// What tells the time.
    pub clock: Clock,
    // The folder's lock goes last.
    folder: Option<DataFolder>,
}

/// A block-manager before it is opened: what it is made of.
pub struct UnopenedManager {
    /// Where the log is.
    pub disk: Arc<dyn Disk>,
    /// Where the blocks are; usually the same.
    pub blocks: Arc<dyn Disk>,
    /// Which store all of it belongs to.
    pub store: [u8; 16],
    /// Makes records of facts and reads them.
    pub cipher: Arc<lucid_store::crypt::Cipher>,
    /// The derived rows of both.
    pub index: Arc<dyn Index>,
    /// The key that signs blocks.
    pub key: SigningKey,
    /// Whether the loss of acknowledged facts and blocks has been accepted.
    pub accept_loss: bool,
    /// A file of blocks is continued in a new one beyond this size.
    pub block_file_bytes: u64,
    /// What it is to be.
    pub kind: ManagerKind,
}

/// Opens a folder: recovers facts and blocks, and takes chained transactions out of the pool.
pub fn open(root: &Path, options: &Options, now: Timestamp) -> Result<Opened, OpenError> {
    from_folder(DataFolder::open(root, &folder_options(options, now))?, options, now)
}

/// Opens a folder that nothing is written to.
pub fn read(
    root: &Path,
    options: &Options,
    now: Timestamp,
    to_read: &ToRead,
) -> Result<Opened, OpenError> {
    from_folder(DataFolder::read(root, &folder_options(options, now), to_read)?, options, now)
}

/// What a promoted chain goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    /// Its newest committed block; `None` for an empty chain.
    pub tip: Option<Tip>,
    /// Tentative blocks above it, which were dropped.
    pub dropped: usize,
    /// The key that signs its blocks from now on.
    pub key: PublicKey,
}

/// Makes a follower's folder, which nobody may be running, an authority's. What was committed stays;
/// the next block is its own.
pub fn promote(root: &Path, options: &Options, now: Timestamp) -> Result<Promoted, OpenError> {
    // Where the role was lost, this is the word that is asked for.
    let role = Some(Role::Follower);
    let kind = ManagerKind { role, producer: Producers::default(), ..options.kind.clone() };
    let opened = match open(root, &Options { create: false, kind, ..options.clone() }, now) {
        Err(OpenError::IsAuthority) => return Err(OpenError::IsAuthorityAlready),
        opened => opened?,
    };
    let tip = opened.chain.tip()?;
    let dropped = opened.staging.list().len();
    opened.staging.cut(0)?;
    let fact = Fact::Promoted { at: now, tip: tip.map(|tip| (tip.height, tip.hash)) };
    fact::commit(&opened.vault, &[fact])?;
    let key = opened.key.public();
    opened.close()?;
    Ok(Promoted { tip, dropped, key })
}

/// What was doubted of a clock that is accepted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedClock {
    /// The time of the newest block; `None` for an empty chain.
    pub tip: Option<Timestamp>,
    /// Whether blocks can be made by it: none can while the newest one is over an hour ahead.
    pub produces: bool,
}

/// Notes that the clock is right, on the caller's word, in a folder that no process may be running.
/// From then on it is doubted only if it runs far ahead of that.
pub fn accept_clock(
    root: &Path,
    options: &Options,
    now: Timestamp,
) -> Result<AcceptedClock, OpenError> {
    let opened = open(root, &Options { create: false, ..options.clone() }, now)?;
    let tip = opened.tip_time()?;
    fact::commit(&opened.vault, &[Fact::ClockAccepted { at: now }])?;
    opened.close()?;
    let ahead = now.plus_seconds(BLOCK_TIME_TOLERANCE_SECONDS);
    Ok(AcceptedClock { tip, produces: tip.is_none_or(|tip| tip < ahead) })
}

/// Throws the index away, even one that cannot be opened, and builds it from the log and the blocks.
pub fn reindex(root: &Path, options: &Options, now: Timestamp) -> Result<Opened, OpenError> {
    let folder = DataFolder::open(root, &folder_options(options, now))?;
    folder.remove_index()?;
    from_folder(folder, options, now)
}

pub(crate) fn folder_options(options: &Options, now: Timestamp) -> folder::Options {
    folder::Options {
        service: "block-manager",
        signing_key: "block",
        create: options.create,
        expected: options.expected.clone(),
        encrypt: options.encrypt,
        root_key_file: options.root_key_file.clone(),
        passphrase: options.passphrase.clone(),
        owner: options.owner.clone(),
        reserve: options.reserve,
        now: now.to_string(),
        given: Given { bucket: None, ..options.given.clone() },
    }
}

fn from_folder(folder: DataFolder, options: &Options, now: Timestamp) -> Result<Opened, OpenError> {
    let home = folder.disk.clone();
    let disk: Arc<dyn Disk> = match &options.blocks {
        Some(path) if folder.kept.log != Keeper::Folder => {
            return Err(OpenError::Store(StoreError::Folder(format!(
                "the blocks of this chain are in a database, and {} is named for them: unset BLOCK_STORAGE_PATH",
                path.display()
            ))));
        }
        // Where they are cannot be kept in mind there.
        Some(path) if folder.only_read().is_some() => {
            folder.must_have_blocks(path)?;
            Arc::new(BlocksElsewhere { home, blocks: folder.disk_at(path) })
        }
        named => {
            if let Some(path) = named {
                folder.keep_blocks_in(path)?;
            }
            folder.blocks_are_mounted()?;
            home
        }
    };
    let join = |index| {
        let parts = UnopenedManager {
            disk: disk.clone(),
            blocks: disk.clone(),
            store: folder.store,
            cipher: folder.cipher.clone(),
            index,
            key: SigningKey::from_seed(*folder.signing_seed),
            accept_loss: options.accept_loss,
            block_file_bytes: options.block_file_bytes,
            kind: options.kind.clone(),
        };
        match opening::chain(&folder)? {
            None => over(parts, now),
            Some(chain) => {
                let vault = opening::open_without_chunks(&folder, unopened(&parts))?.whole()?;
                joined(parts, vault, chain, now)
            }
        }
    };
    let opened = folder.join(join, OpenError::store)?;
    Ok(Opened { folder: Some(folder), clock: options.clock.clone(), ..opened })
}

/// Joins the parts and recovers what is in them.
pub fn over(parts: UnopenedManager, now: Timestamp) -> Result<Opened, OpenError> {
    let vault = files::open(unopened(&parts))?.whole()?;
    let chain = ChainFiles::open(ChainParts {
        disk: parts.blocks.clone(),
        store: parts.store,
        index: parts.index.clone(),
        file_bytes_max: parts.block_file_bytes,
        accept_loss: parts.accept_loss,
    })?;
    if parts.accept_loss
        && let Some(why) = chain.read_only()
    {
        return Err(OpenError::LossRefused(why));
    }
    joined(parts, vault, Box::new(chain), now)
}

/// Opens facts and blocks of where they are moving to: of a folder as it will be.
pub(crate) fn open_moved(
    moved: &DataFolder,
    options: &Options,
) -> Result<(Vault, Box<dyn ChainStore>), StoreError> {
    let index = moved.moving_index()?;
    let unopened = UnopenedStore {
        disk: moved.disk.clone(),
        store: moved.store,
        cipher: moved.cipher.clone(),
        index: index.clone(),
        project: Arc::new(Facts::new(moved.cipher.clone())),
        accept_loss: false,
        limits: Limits::default(),
    };
    let vault = opening::open_without_chunks(moved, unopened)?;
    let chain: Box<dyn ChainStore> = match opening::chain(moved)? {
        Some(chain) => chain,
        None => Box::new(ChainFiles::open(ChainParts {
            disk: moved.disk.clone(),
            store: moved.store,
            index,
            file_bytes_max: options.block_file_bytes,
            accept_loss: false,
        })?),
    };
    Ok((vault, chain))
}

/// The facts of a block-manager, before they are opened.
fn unopened(parts: &UnopenedManager) -> UnopenedStore {
    UnopenedStore {
        disk: parts.disk.clone(),
        store: parts.store,
        cipher: parts.cipher.clone(),
        index: parts.index.clone(),
        project: Arc::new(Facts::new(parts.cipher.clone())),
        accept_loss: parts.accept_loss,
        limits: Limits::default(),
    }
}

/// Joins facts and blocks, wherever they are, and settles what they say of each other.
fn joined(
    parts: UnopenedManager,
    vault: Vault,
    chain: Box<dyn ChainStore>,
    now: Timestamp,
) -> Result<Opened, OpenError> {
    let known = settle_role(&vault, chain.as_ref(), parts.kind.role)?;
    let role = known.unwrap_or(Role::Follower);
    let own = parts.key.public();
    let pinned = parts.kind.producer;
    if role == Role::Authority && pinned.are_pinned() && !pinned.have(&own) {
        return Err(OpenError::Producer { pinned: Box::new(pinned), own });
    }
    let genesis = settle_genesis(&vault, chain.as_ref())?;
    if let (Some(pinned), Some(is)) = (parts.kind.genesis, genesis)
        && pinned != is
    {
        return Err(OpenError::GenesisPin { pinned, is });
    }
    if vault.read_only().is_none() && chain.read_only().is_none() {
        settle_pool(&vault, chain.as_ref())?;
    }
    let staging = Staging::open(parts.disk.clone(), chain.tip()?)?;
    Ok(Opened {
        vault,
        chain: Box::new(MeasuredChain::over(chain)),
        staging,
        disk: parts.disk,
        key: parts.key,
        store: parts.store,
        role,
        role_is_lost: known.is_none(),
        kind: parts.kind,
        admissions: Admissions::new(),
        producing: Mutex::new(()),
        opened_at: now,
        clock: Clock::system(),
        folder: None,
    })
}

/// What is written down counts, once there is something that depends on it; the first start writes it, before anything
/// else. `None` where it was lost.
fn settle_role(
    vault: &Vault,
    chain: &dyn ChainStore,
    wanted: Option<Role>,
) -> Result<Option<Role>, OpenError> {
    let look = vault.look();
    match (fact::role(&look)?, wanted) {
        (Some(was), Some(wanted)) if was != wanted && is_bare(vault, chain)? => {
            fact::commit_on(vault, look.seen(), &[Fact::Role(wanted)])?;
            Ok(Some(wanted))
        }
        (Some(Role::Follower), Some(Role::Authority)) => Err(OpenError::IsFollower),
        (Some(Role::Authority), Some(Role::Follower)) => Err(OpenError::IsAuthority),
        (Some(role), _) => Ok(Some(role)),
        (None, wanted) => {
            let role = wanted.unwrap_or(Role::Authority);
            if role == Role::Authority && !is_new(vault, chain)? {
                return match wanted {
                    // The reason why nothing can be written says more. A caller that names no role may read.
                    Some(_) if vault.read_only().is_none() => Err(OpenError::RoleLost),
                    _ => Ok(None),
                };
            }
            if vault.read_only().is_none() {
                fact::commit_on(vault, look.seen(), &[Fact::Role(role)])?;
            }
            Ok(Some(role))
        }
    }
}

/// Whether nothing is in the folder that depends on its role: no block, and no transaction that waits for one.
fn is_bare(vault: &Vault, chain: &dyn ChainStore) -> Result<bool, StoreError> {
    Ok(vault.read_only().is_none()
        && vault.damage().is_empty()
        && chain.damage().is_empty()
        && chain.tip()?.is_none()
        && fact::genesis(vault.index())?.is_none()
        && fact::pool(vault.index())? == fact::Pool::default())
}

/// Whether nothing says that the folder was ever in use.
fn is_new(vault: &Vault, chain: &dyn ChainStore) -> Result<bool, StoreError> {
    Ok(vault.is_unused()?
        && chain.tip()?.is_none()
        && vault.damage().is_empty()
        && chain.damage().is_empty())
}

fn settle_genesis(vault: &Vault, chain: &dyn ChainStore) -> Result<Option<BlockHash>, OpenError> {
    let look = vault.look();
    let was = fact::genesis(&look)?;
    let is = match chain.tip()? {
        None => None,
        Some(tip) if tip.height == 0 => Some(tip.hash),
        Some(_) => match chain.record(0) {
            Ok(stored) => stored.map(|stored| stored.record.entry.hash),
            // Its damage is named already, and the fact below remembers its hash.
            Err(StoreError::Damaged(_)) => was,
            Err(error) => return Err(error.into()),
        },
    };
    match (was, is) {
        (Some(was), Some(is)) if was != is => Err(OpenError::Genesis { was, is }),
        (Some(was), None) => Err(OpenError::ChainGone(was)),
        (None, Some(is)) if vault.read_only().is_none() => {
            fact::commit_on(vault, look.seen(), &[Fact::Genesis(is)])?;
            Ok(Some(is))
        }
        (was, is) => Ok(was.or(is)),
    }
}

impl Opened {
    /// What tells this store from every other, in hex, as its file `STORE` has it.
    pub fn store_id(&self) -> String {
        hex::encode(self.store)
    }

    /// What of it is kept where; of parts that are no folder, all is where they are.
    pub fn kept(&self) -> Kept {
        self.folder.as_ref().map(|folder| folder.kept).unwrap_or_default()
    }

    /// The folder, for what is asked of it beside its parts.
    pub fn folder(&self) -> Option<&DataFolder> {
        self.folder.as_ref()
    }

    /// Why no transaction can be accepted and no block produced, if so.
    pub fn read_only(&self) -> Option<String> {
        self.vault.read_only().or_else(|| self.chain.read_only())
    }

    /// The time of the newest block; `None` for an empty chain.
    pub fn tip_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let Some(tip) = self.chain.tip()? else { return Ok(None) };
        Ok(parent_at(self.chain.as_ref(), tip.height)?.map(|parent| parent.time))
    }

    /// Whether an export of the root key was verified; of parts that are no folder it is not known.
    pub fn key_export(&self) -> KeyExport {
        let unknown = || KeyExport::Unknown("the store is no folder".to_owned());
        self.folder.as_ref().map_or_else(unknown, |folder| folder.key_export.clone())
    }

    /// What its operator is to be warned of as to that, if anything.
    pub fn export_warning(&self) -> Option<String> {
        let folder = self.folder.as_ref()?;
        export_warning(&[(folder.root.clone(), folder.key_export.clone())])
    }

    /// What to say of a folder that is only read.
    pub fn only_read(&self) -> Option<&OnlyRead> {
        self.folder.as_ref().and_then(DataFolder::only_read)
    }

    /// Who may sign new blocks of this chain, as far as that is known.
    pub fn producer(&self) -> Producers {
        match self.role {
            Role::Authority => self.key.public().into(),
            Role::Follower => self.kind.producer,
        }
    }

    /// Everything that is known to be wrong with the stored bytes.
    pub fn damage(&self) -> Vec<lucid_store::Damage> {
        let folder = self.folder.as_ref().map(|folder| folder.damage.clone());
        let mut damage = folder.unwrap_or_default();
        damage.extend(self.vault.damage());
        damage.extend(self.chain.damage());
        damage
    }

    /// Ends writing in order, and keeps the folder alone: nobody else may have it yet.
    pub(crate) fn into_folder(self) -> Result<Option<DataFolder>, StoreError> {
        let Self { vault, chain, staging, folder, .. } = self;
        vault.close()?;
        drop((vault, chain, staging));
        Ok(folder)
    }

    /// Ends writing in order and frees the folder. Dropping it does so, too, but the caller misses the
    /// error.
    pub fn close(self) -> Result<(), StoreError> {
        self.vault.close()
    }
}
