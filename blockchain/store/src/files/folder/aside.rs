//! Small files that stand beside stores in the folder of the command line, and belong to none of them.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::files::disk::real::{RealDisk, private_folder};
use crate::files::disk::{read_all, replace};

/// Changes such a file: `change` is given what it holds, if it is there, and says what it is to hold. The folder is
/// made if need be. A crash leaves the old content or the new, the new one is durable on return, and nobody else
/// changes a file of the same folder so meanwhile. `None` leaves it as it is.
pub fn change_aside<E: From<io::Error>>(
    folder: &Path,
    name: &str,
    change: impl FnOnce(Option<Vec<u8>>) -> Result<Option<Vec<u8>>, E>,
) -> Result<(), E> {
    private_folder(folder)?;
    let held = File::open(folder)?;
    flock(&held, FlockOperation::LockExclusive).map_err(io::Error::from)?;
    let disk = RealDisk::new(folder);
    if let Some(bytes) = change(read_all(&disk, name)?)? {
        replace(&disk, "", name, &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn many_who_change_a_file_at_once_lose_nothing_of_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made");
        std::thread::scope(|scope| {
            for number in 0..8_u8 {
                let folder = &folder;
                scope.spawn(move || {
                    change_aside::<io::Error>(folder, "list", |old| {
                        Ok(Some([old.unwrap_or_default(), vec![number]].concat()))
                    })
                });
            }
        });
        let mut all = std::fs::read(folder.join("list")).unwrap();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
        let mode = folder.join("list").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = change_aside(&folder, "list", |_| Err(io::Error::other("no")));
        assert_eq!(refused.unwrap_err().to_string(), "no");
        assert_eq!(std::fs::read(folder.join("list")).unwrap().len(), 8);
    }
}
