//! What the system tells of changes below a folder (inotify), so that nothing is looked at while nothing changes.
//!
//! Notices are hints: what is done about a file is decided by looking at it. Invariant: a folder is watched before it
//! is listed, so what comes into it is either listed or told. The system tells of no change that another machine
//! makes on a shared file system, and it watches only so many folders; where that is so, the folder is looked at
//! again and again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// What is told of a watched folder.
const WANTED: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW);
/// What says of a plain file that is known that there may be more in it.
const GREW: ReadFlags = ReadFlags::MODIFY.union(ReadFlags::CLOSE_WRITE).union(ReadFlags::ATTRIB);
/// Files that are told one by one; where more change at a time, everything is looked at.
const FILES_MAX: usize = 4_096;
/// What comes within this time is always one notice: a program that writes line by line is not looked at for each.
const GATHERED: Duration = Duration::from_millis(10);
/// Room for what is read at once.
const BUFFER_BYTES: usize = 16 << 10;
/// File systems on which others may change what this machine is not told of, by the numbers that `statfs` gives:
/// NFS, SMB of three kinds, FUSE, 9P, AFS, Ceph, Coda, GFS2, OCFS2, Lustre, VirtualBox's, AFS of the kernel; and proc
/// and sysfs, whose files change by themselves.
const UNTOLD: [i128; 16] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x5346_414f,
    0x00c3_6400,
    0x7375_7245,
    0x0116_1970,
    0x7461_636f,
    0x0bd0_0bd0,
    0x786f_4256,
    0x6b41_4653,
    0x9fa0,
    0x6265_6572,
];

/// Notices of the folders that the last look listed.
#[derive(Debug)]
pub struct Notices {
    inotify: OwnedFd,
    /// Tells of file systems that are mounted and unmounted, which `inotify` does not. Not there where nobody may
    /// read it.
    mounts: Option<File>,
    /// Watched folders by what the system calls them.
    folders: HashMap<i32, PathBuf>,
    /// Those that the look that is going on has listed so far.
    listed: HashSet<i32>,
    /// Files that changed since the last look.
    files: BTreeSet<PathBuf>,
    /// Whether something changed that only a look at everything can tell.
    everything: bool,
}

impl Notices {
    /// Notices of nothing yet.
    pub fn start() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self {
            inotify,
            mounts: File::open("/proc/self/mountinfo").ok(),
            folders: HashMap::new(),
            listed: HashSet::new(),
            files: BTreeSet::new(),
            everything: false,
        })
    }

    /// A look at everything begins: what was told before it is seen by it.
    pub fn begin_look(&mut self) -> io::Result<()> {
        self.listed.clear();
        self.read()?;
        self.files.clear();
        self.everything = false;
        Ok(())
    }

    /// A folder is about to be listed. Fails if the system will not tell of everything in it, with the reason.
    pub fn list(&mut self, folder: &Path) -> Result<(), String> {
        let found = match rustix::fs::statfs(folder) {
            Ok(found) => found,
            // It went away, or the look will say what is wrong with it.
            Err(_) => return Ok(()),
        };
        if UNTOLD.contains(&found.f_type.into()) {
            return Err(format!(
                "\"{}\" is on a file system that does not tell of every change",
                folder.display()
            ));
        }
        match inotify::add_watch(&self.inotify, folder, WANTED) {
            Ok(watch) => {
                self.listed.insert(watch);
                self.folders.insert(watch, folder.to_owned());
                Ok(())
            }
            Err(Errno::NOSPC | Errno::NOMEM) => Err(format!(
                "the system watches no more than {} folders for this user (fs.inotify.max_user_watches)",
                self.folders.len()
            )),
            Err(_) => Ok(()),
        }
    }

    /// The look is over: what it did not list is not there any more.
    pub fn end_look(&mut self) {
        let (inotify, listed) = (&self.inotify, &self.listed);
        self.folders.retain(|watch, _| {
            let is_listed = listed.contains(watch);
            if !is_listed {
                // Of a folder that is gone the system forgot it by itself.
                let _gone = inotify::remove_watch(inotify, *watch);
            }
            is_listed
        });
    }

    /// Waits until something is told, or until a moment. What is told until `gathered` is one notice.
    pub fn wait(&mut self, until: Instant, gathered: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let mut waiting = vec![PollFd::new(&self.inotify, PollFlags::IN)];
        waiting.extend(self.mounts.as_ref().map(|mounts| PollFd::new(mounts, PollFlags::PRI)));
        let told = match poll(&mut waiting, timeout.as_ref()) {
            Ok(told) => told > 0,
            Err(Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        if waiting.get(1).is_some_and(|mounts| !mounts.revents().is_empty()) {
            self.everything = true;
        }
        if told {
            std::thread::sleep(gathered.saturating_duration_since(Instant::now()).max(GATHERED));
            self.read()?;
        }
        Ok(())
    }

    /// The files that changed, once.
    pub fn take_files(&mut self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.files)
    }

    /// Whether any file changed.
    pub fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Whether something changed that only a look at everything can tell.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// What was told of can only be seen by a look at everything.
    pub fn note_everything(&mut self) {
        self.everything = true;
    }

    /// Takes in what was told so far.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let told = event.events();
            let name = event.file_name().map(|name| std::ffi::OsStr::from_bytes(name.to_bytes()));
            // Hidden files are not looked at.
            if name.is_some_and(|name| name.as_bytes().starts_with(b".")) {
                continue;
            }
            let folder = self.folders.get(&event.wd());
            match folder.zip(name) {
                Some((folder, name)) if GREW.contains(told) && self.files.len() < FILES_MAX => {
                    self.files.insert(folder.join(name));
                }
                // What is told of a folder that was let go is old news, but for what the queue had no room for.
                None if folder.is_none() && !told.contains(ReadFlags::QUEUE_OVERFLOW) => {}
                _ => self.everything = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn look(notices: &mut Notices, folders: &[&Path]) {
        notices.begin_look().unwrap();
        for folder in folders {
            notices.list(folder).unwrap();
        }
        notices.end_look();
    }

    #[test]
    fn growth_is_told_of_its_file_and_what_comes_or_goes_of_everything() {
        let room = tempfile::tempdir().unwrap();
        let (root, below) = (room.path(), room.path().join("below"));
        std::fs::create_dir(&below).unwrap();
        let file = below.join("file");
        std::fs::write(&file, "first").unwrap();
        let mut notices = Notices::start().unwrap();
        look(&mut notices, &[root, &below]);
        std::fs::write(&file, "more of it").unwrap();
        notices.wait(soon(), Instant::now()).unwrap();
        assert_eq!(notices.take_files().into_iter().collect::<Vec<_>>(), [file.as_path()]);
        assert!(!notices.is_everything());
        let changes: [&dyn Fn() -> io::Result<()>; 5] = [
            &|| std::fs::write(below.join("new"), "new"),
            &|| std::fs::rename(below.join("new"), root.join("moved")),
            &|| std::fs::remove_file(root.join("moved")),
            &|| std::fs::create_dir(root.join("folder")),
            &|| std::fs::remove_dir_all(&below),
        ];
        for (at, change) in changes.iter().enumerate() {
            look(&mut notices, &[root, &below]);
            assert!(!notices.is_everything(), "{at}");
            change().unwrap();
            while !notices.is_everything() {
                notices.wait(soon(), Instant::now()).unwrap();
            }
        }
    }

    #[test]
    fn hidden_files_and_folders_that_are_not_listed_any_more_are_not_told_of() {
        let room = tempfile::tempdir().unwrap();
        let below = room.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let mut notices = Notices::start().unwrap();
        look(&mut notices, &[room.path(), &below]);
        look(&mut notices, &[room.path()]);
        std::fs::write(room.path().join(".hidden"), "hidden").unwrap();
        std::fs::write(below.join("file"), "in a folder that is left out now").unwrap();
        std::fs::write(room.path().join("last"), "is told of").unwrap();
        notices.wait(soon(), Instant::now()).unwrap();
        assert!(
            notices.is_everything()
                && notices.take_files().iter().all(|file| file.ends_with("last"))
        );
    }

    #[test]
    fn a_file_system_that_does_not_tell_is_named() {
        let mut notices = Notices::start().unwrap();
        notices.begin_look().unwrap();
        let why = notices.list(Path::new("/proc/self/fd")).unwrap_err();
        assert!(why.contains("does not tell"), "{why}");
    }
}
