//! Moves the facts and the chain of a block-manager out of its folder or back into it, for `lucid migrate`.
//!
//! Nobody else has the folder meanwhile. The chain moves behind the facts and before these say that they are whole,
//! so the label is changed only over a store that has both.

use std::path::{Path, PathBuf};

use lucid_core::time::Timestamp;
use lucid_store::StoreError;
use lucid_store::backend::Given;
use lucid_store::chain_move::{ChainMove, ChainMoveError, MovedChain};
use lucid_store::contract::chain::ChainStore;
use lucid_store::files::folder::DataFolder;
use lucid_store::vault::Vault;
use lucid_store::vault::moving::{Move, MoveError, Moved, Progress, ToMove};

use crate::opened::{self, OpenError, Opened, Options, folder_options};

/// Where a block-manager's store is, and where it goes.
pub struct Sides {
    from: Opened,
    to: Vault,
    chain: Box<dyn ChainStore>,
    moved: DataFolder,
}

/// How much there is to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagerToMove {
    /// Facts.
    pub facts: ToMove,
    /// Blocks.
    pub blocks: u64,
}

/// Why a block-manager's store was not moved.
#[derive(Debug, thiserror::Error)]
pub enum ManagerMoveError {
    /// The folder could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It did not come to its end.
    #[error(transparent)]
    Move(#[from] MoveError),
}

impl From<StoreError> for ManagerMoveError {
    fn from(error: StoreError) -> Self {
        Self::Move(error.into())
    }
}

impl From<ChainMoveError> for ManagerMoveError {
    fn from(error: ChainMoveError) -> Self {
        Self::Move(error.into())
    }
}

/// What a block-manager keeps in a database: a chain has no chunks.
fn without_chunks(to: &Given) -> Given {
    Given { bucket: None, ..to.clone() }
}

fn no_folder() -> StoreError {
    StoreError::Folder("only a folder's store moves".into())
}

/// Opens the folder as it is, and says how much there is to move to what is given; that this is possible is looked
/// at, and nothing is written.
pub fn survey(
    root: &Path,
    options: &Options,
    to: &Given,
    now: Timestamp,
) -> Result<ManagerToMove, ManagerMoveError> {
    let from = opened::open(root, options, now)?;
    let folder = from.folder().ok_or_else(no_folder)?;
    folder.moving_to(&folder_options(options, now), &without_chunks(to), true)?;
    let below = from.chain.pruned_below();
    if below > 0 {
        return Err(ChainMoveError::Pruned(below).into());
    }
    let blocks = from.chain.tip()?.map_or(0, |tip| tip.height + 1);
    Ok(ManagerToMove { facts: from.vault.to_move()?, blocks })
}

impl Sides {
    /// Opens both sides.
    pub fn open(
        root: &Path,
        options: &Options,
        to: &Given,
        now: Timestamp,
    ) -> Result<Self, ManagerMoveError> {
        let from = opened::open(root, options, now)?;
        let folder = from.folder().ok_or_else(no_folder)?;
        let moved = folder.moving_to(&folder_options(options, now), &without_chunks(to), false)?;
        moved.make_way()?;
        // An index of another try may be of a database that is not there any more.
        let opened = opened::open_moved(&moved, options).or_else(|error| match error {
            StoreError::Index(_) | StoreError::Folder(_) => {
                moved.remove_moving_index()?;
                opened::open_moved(&moved, options)
            }
            error => Err(error),
        });
        let (to, chain) = opened?;
        Ok(Self { from, to, chain, moved })
    }

    /// Moves, and compares. `blocks` hears how many blocks, of how many, are done.
    pub fn run(
        &self,
        accept_loss: bool,
        progress: &mut Progress<'_>,
        blocks: &mut Progress<'_>,
    ) -> Result<(Moved, MovedChain), MoveError> {
        let mut chain = MovedChain::default();
        let mut beside = || -> Result<(), MoveError> {
            chain = ChainMove::new(self.from.chain.as_ref(), self.chain.as_ref()).run(blocks)?;
            Ok(())
        };
        let all = Move::new(&self.from.vault, &self.to).accepting_loss(accept_loss);
        let moved = all.run_with(&mut beside, progress)?;
        Ok((moved, chain))
    }

    /// Has the folder say that its store is where it was moved to. Says where what was in the folder is now, if the
    /// store moved out of it.
    pub fn end(self) -> Result<Option<PathBuf>, StoreError> {
        let Self { from, to, chain, moved } = self;
        to.close()?;
        drop((to, chain));
        let folder = from.into_folder()?.ok_or_else(no_folder)?;
        folder.has_moved(&moved)
    }
}
