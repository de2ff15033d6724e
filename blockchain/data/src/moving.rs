//! Moves the store of a data-chain out of its folder or back into it, for `lucid migrate`.
//!
//! Nobody else has the folder meanwhile. What is moved stays as it is until everything has arrived and was compared;
//! then the folder's label is changed, in one step ([`Sides::end`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lucid_store::StoreError;
use lucid_store::backend::{Given, opening};
use lucid_store::files::folder::{DataFolder, Options};
use lucid_store::files::{Limits, UnopenedStore};
use lucid_store::vault::Vault;
use lucid_store::vault::moving::{Move, MoveError, Moved, Progress, ToMove};

use crate::opened::{Opened, mark_new_index};
use crate::projection::SessionProjection;

/// Where a store is, and where it goes.
pub struct Sides {
    from: Opened,
    to: Vault,
    moved: DataFolder,
}

/// Opens the folder as it is, and says how much there is to move to what is given; that this is possible is looked
/// at, and nothing is written.
pub fn survey(root: &Path, options: &Options, to: &Given) -> Result<ToMove, StoreError> {
    let from = Opened::open(root, options)?;
    from.folder.moving_to(options, to, true)?;
    let all = from.vault.to_move()?;
    if to.kept().is_here() {
        from.folder.has_room_for(all.bytes())?;
    }
    Ok(all)
}

impl Sides {
    /// Opens both sides. `progress` hears how many bytes of a log, of how many, are read, and ends the opening by
    /// `false`.
    pub fn open(
        root: &Path,
        options: &Options,
        to: &Given,
        progress: &dyn Fn(u64, u64) -> bool,
    ) -> Result<Self, StoreError> {
        let from = Opened::open_watched(root, options, None, progress)?;
        let moved = from.folder.moving_to(options, to, false)?;
        moved.make_way()?;
        // An index of another try may be of a database that is not there any more.
        let to = open_moved(&from, &moved, progress).or_else(|error| match error {
            StoreError::Index(_) | StoreError::Folder(_) => {
                moved.remove_moving_index()?;
                open_moved(&from, &moved, progress)
            }
            error => Err(error),
        })?;
        Ok(Self { from, to, moved })
    }

    /// How much there is to move, and how much of it has arrived.
    pub fn survey(&self) -> Result<ToMove, StoreError> {
        Move::new(&self.from.vault, &self.to).survey()
    }

    /// Moves, and compares.
    pub fn run(&self, accept_loss: bool, progress: &mut Progress<'_>) -> Result<Moved, MoveError> {
        Move::new(&self.from.vault, &self.to).accepting_loss(accept_loss).run(progress)
    }

    /// Has the folder say that its store is where it was moved to. Says where what was in the folder is now, if the
    /// store moved out of it.
    pub fn end(self) -> Result<Option<PathBuf>, StoreError> {
        let Self { from, to, moved } = self;
        to.close()?;
        drop(to);
        let Opened { vault, folder, .. } = from;
        vault.close()?;
        drop(vault);
        folder.has_moved(&moved)
    }
}

fn open_moved(
    from: &Opened,
    moved: &DataFolder,
    progress: &dyn Fn(u64, u64) -> bool,
) -> Result<Vault, StoreError> {
    let index = moved.moving_index()?;
    mark_new_index(index.as_ref())?;
    let project = SessionProjection::new(moved.cipher.clone(), from.key.public());
    let unopened = UnopenedStore {
        disk: moved.disk.clone(),
        store: moved.store,
        cipher: moved.cipher.clone(),
        index,
        project: Arc::new(project),
        accept_loss: false,
        limits: Limits::default(),
    };
    opening::open_to_move(moved, unopened, progress)
}
