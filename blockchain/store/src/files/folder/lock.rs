//! Who owns a folder: one process, which says in the lock who it is.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::{Options, RUN};
use crate::StoreError;
use crate::files::disk::real;

/// So often a folder that may be read is looked at again, each time after a millisecond more.
const LOOKS: u64 = 5;

/// Takes the folder, or says who has it.
pub(super) fn lock(root: &Path, options: &Options) -> Result<File, StoreError> {
    let run = root.join(RUN);
    real::private_folder(&run).map_err(StoreError::io(format!("making {}", run.display())))?;
    let path = run.join("lock");
    let context = || StoreError::io(format!("locking {}", path.display()));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(real::PRIVATE_FILE)
        .open(&path)
        .map_err(context())?;
    let mut looks = 0;
    while let Err(errno) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if errno != rustix::io::Errno::WOULDBLOCK {
            return Err(context()(errno.into()));
        }
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            let (folder, by) = (root.display().to_string(), holder(&mut file));
            return Err(StoreError::InUse { folder, by });
        }
        // It is read, or was let go of since: then it can be had now, unless another process looks just as this one does.
        if looks == LOOKS {
            // Its text tells who wrote to it last, which is nobody now.
            let root = root.display();
            return Err(StoreError::Folder(format!("{root} is being read, and not to be changed")));
        }
        looks += 1;
        std::thread::sleep(Duration::from_millis(looks));
    }
    let text = format!("{} (process {})", options.owner, std::process::id());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(context())?;
    Ok(file)
}

/// Who wrote into the lock last.
pub(super) fn holder(lock: &mut File) -> String {
    let mut holder = String::new();
    // The text only helps the reader of the message; without it the message is still true.
    let _ = lock.read_to_string(&mut holder);
    if holder.trim().is_empty() { "another process".to_owned() } else { holder.trim().to_owned() }
}
