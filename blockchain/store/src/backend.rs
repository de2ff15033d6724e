//! Which back-ends keep a store: what a process was given, what the store's label says, and how the two meet.
//!
//! All of a store is in its folder, unless its log is in MongoDB (then so are its identity, its wrapped keys and, of a
//! block-manager, its blocks) or its chunks are in a bucket. The label of the folder says which, so that a variable that
//! is missing never looks like an empty store, and one that was added never hides what is in the folder: what is given
//! has to be what the label says ([`Given::fits`]).
//!
//! [`servers`] reaches what is elsewhere, [`opening`] makes a vault of it. The folder asks both, and knows no back-end.

pub mod no_chunks;
pub mod opening;
pub(crate) mod servers;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::StoreError;
use crate::clock::Clock;

#[cfg(feature = "s3")]
pub use crate::s3::Settings as BucketAt;

/// A bucket, in a build that can reach none.
#[cfg(not(feature = "s3"))]
#[derive(Debug, Clone)]
pub enum BucketAt {}

/// What settings say of where a store is kept; by default in its folder.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The database of its log.
    pub mongo: Option<MongoAt>,
    /// The bucket of its chunks.
    pub bucket: Option<BucketAt>,
    /// Whether the root key and the signing key of a new store in a database may be made now: by the command that is
    /// there for it, and by no service.
    pub makes_keys: bool,
    /// This machine's clock, which servers' are compared with.
    pub clock: Clock,
}

/// A database, and how it is reached.
#[derive(Clone)]
pub struct MongoAt {
    /// What says so, to be named: the variable.
    pub said_by: String,
    /// `mongodb://USER:PASSWORD@HOST,HOST/DATABASE?OPTIONS`.
    pub url: Zeroizing<String>,
    /// The database, where the URL names none.
    pub database: String,
    /// How long a server is looked for.
    pub selection: Duration,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long a call may take.
    pub call: Duration,
    /// How many connections there are, at least and at most.
    pub pool: (u32, u32),
    /// A connection that was not used for so long is closed.
    pub idle: Duration,
}

impl MongoAt {
    /// A database, reached as it is where nothing else is said.
    pub fn new(said_by: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            said_by: said_by.into(),
            url: Zeroizing::new(url.into()),
            database: "lucid".into(),
            selection: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            call: Duration::from_secs(20),
            pool: (0, 50),
            idle: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for MongoAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MongoAt({} of {})", self.database, self.said_by)
    }
}

/// What keeps a part of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keeper {
    /// Files of its folder.
    #[default]
    Folder,
    /// A database.
    MongoDb,
    /// A bucket.
    S3,
}

impl Keeper {
    /// As labels and replies spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::MongoDb => "mongodb",
            Self::S3 => "s3",
        }
    }
}

/// Which keeper has what of a store, as its label says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// The log, with the identity and the wrapped keys. A block-manager's blocks are where its log is.
    pub log: Keeper,
    /// The chunks.
    pub chunks: Keeper,
}

/// The label's lines of what is not in the folder.
const LOG: &str = "log";
const CHUNKS: &str = "chunks";
/// What stands behind the form of names where something is not in the folder. A version that knows no back-ends knows
/// no such form, and refuses the folder instead of taking it for an empty store.
const ELSEWHERE: &str = " elsewhere";

impl Kept {
    /// The names of the lines in which a label says what is not in the folder.
    pub(crate) const PARTS: [&'static str; 2] = [LOG, CHUNKS];

    /// Whether all of it is in the folder.
    pub fn is_here(self) -> bool {
        self == Self::default()
    }

    /// How a label says the form of names, `keyed` or `plain`.
    pub(crate) fn names(self, form: &str) -> String {
        let behind = if self.is_here() { "" } else { ELSEWHERE };
        format!("{form}{behind}")
    }

    /// The lines of a label.
    pub(crate) fn lines(self) -> impl Iterator<Item = (&'static str, String)> {
        [(LOG, self.log), (CHUNKS, self.chunks)]
            .into_iter()
            .filter(|(_, keeper)| *keeper != Keeper::Folder)
            .map(|(part, keeper)| (part, keeper.word().to_owned()))
    }

    /// Reads the lines of a label, by their names; `None` where one says what no version so far writes.
    pub(crate) fn read<'a>(line: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let log = match line(LOG) {
            None => Keeper::Folder,
            Some("mongodb") => Keeper::MongoDb,
            Some(_) => return None,
        };
        let chunks = match line(CHUNKS) {
            None => Keeper::Folder,
            Some("s3") => Keeper::S3,
            Some(_) => return None,
        };
        Some(Self { log, chunks })
    }
}

/// The form of names that a label's line says, without what stands behind it.
pub(crate) fn bare_form(names: &str) -> &str {
    names.strip_suffix(ELSEWHERE).unwrap_or(names)
}

/// How a server of a store was when it was last asked.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// What it is.
    pub keeper: Keeper,
    /// What people know it by: no name of a user, and no secret.
    pub title: String,
    /// Why it is no use now, if so.
    pub fault: Option<String>,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |keeper| match keeper {
            Keeper::Folder => "the folder",
            Keeper::MongoDb => "MongoDB",
            Keeper::S3 => "S3",
        };
        match (self.log, self.chunks) {
            (log, chunks) if log == chunks => write!(f, "all in {}", place(log)),
            (log, chunks) => write!(f, "the log in {}, chunks in {}", place(log), place(chunks)),
        }
    }
}

impl Given {
    /// What a new store is kept in.
    pub fn kept(&self) -> Kept {
        Kept {
            log: if self.mongo.is_some() { Keeper::MongoDb } else { Keeper::Folder },
            chunks: if self.bucket.is_some() { Keeper::S3 } else { Keeper::Folder },
        }
    }

    /// Refuses what is not kept as the label says, naming what to set, to unset, or to run.
    pub(crate) fn fits(&self, root: &Path, label: Kept) -> Result<(), StoreError> {
        let root = root.display();
        let mongo = self.mongo.as_ref().map_or("MONGO_URL", |mongo| mongo.said_by.as_str());
        let given = self.kept();
        let why = if given.log != label.log {
            match label.log {
                Keeper::Folder => format!(
                    "{mongo} is set, and the log of the store in {root} is in that folder: unset {mongo}, or move \
                     the store with `lucid migrate`"
                ),
                _ => format!(
                    "the log of the store in {root} is in MongoDB, and no variable says where: set MONGO_URL (or \
                     MONGODB_URL, or MONGODB_URI), or move the store into the folder with `lucid migrate`"
                ),
            }
        } else if given.chunks != label.chunks {
            match label.chunks {
                Keeper::Folder => format!(
                    "LUCID_S3_ENDPOINT is set, and the chunks of the store in {root} are in that folder: unset \
                     LUCID_S3_ENDPOINT and the other LUCID_S3_ variables, or move the store with `lucid migrate`"
                ),
                _ => format!(
                    "the chunks of the store in {root} are in an S3 store, and no variable says where: set \
                     LUCID_S3_ENDPOINT, LUCID_S3_BUCKET and the keys, or move the store into the folder with `lucid \
                     migrate`"
                ),
            }
        } else {
            return Ok(());
        };
        Err(StoreError::Folder(why))
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod labels {
    use super::*;

    fn kept(log: Keeper, chunks: Keeper) -> Kept {
        Kept { log, chunks }
    }

    #[test]
    fn a_label_says_what_is_not_in_the_folder_and_reads_it_back() {
        for kept in [
            kept(Keeper::Folder, Keeper::Folder),
            kept(Keeper::MongoDb, Keeper::S3),
            kept(Keeper::Folder, Keeper::S3),
            kept(Keeper::MongoDb, Keeper::Folder),
        ] {
            let lines: Vec<_> = kept.lines().collect();
            let line = |name: &str| {
                lines.iter().find(|(part, _)| *part == name).map(|(_, word)| word.as_str())
            };
            assert_eq!(Kept::read(line), Some(kept));
            assert_eq!(kept.names("keyed") == "keyed", kept.is_here());
            assert_eq!(bare_form(&kept.names("plain")), "plain");
        }
        assert_eq!(Kept::read(|_| Some("a newer one")), None);
    }

    #[test]
    fn what_is_given_has_to_be_what_the_label_says() {
        let mongo = Given {
            mongo: Some(MongoAt::new("MONGODB_URI", "mongodb://u:hunter2@h/db")),
            ..Given::default()
        };
        let here = kept(Keeper::Folder, Keeper::Folder);
        let there = kept(Keeper::MongoDb, Keeper::Folder);
        let bucket = kept(Keeper::Folder, Keeper::S3);
        for (given, label, expected) in [
            (&mongo, here, "MONGODB_URI is set, and the log of the store in /d is in that folder"),
            (&Given::default(), there, "is in MongoDB, and no variable says where: set MONGO_URL"),
            (&Given::default(), bucket, "are in an S3 store, and no variable says where"),
        ] {
            let said = given.fits(Path::new("/d"), label).unwrap_err().to_string();
            assert!(said.contains(expected) && said.contains("`lucid migrate`"), "{said}");
        }
        assert!(Given::default().fits(Path::new("/d"), here).is_ok());
        assert!(mongo.fits(Path::new("/d"), there).is_ok());
        assert!(!format!("{mongo:?}").contains("hunter2"));
    }
}
