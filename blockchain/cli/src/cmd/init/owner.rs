//! Giving what was made to the user that the services run as.

use std::fmt;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;
use std::str::FromStr;

use anyhow::Context as _;
use rustix::process::{getegid, geteuid};

/// A user and a group, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    user: u32,
    group: u32,
}

impl FromStr for Owner {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (user, group) = text.split_once(':').unwrap_or((text, text));
        // The highest number means nobody in particular to the operating system.
        let number = |text: &str| text.parse().ok().filter(|number| *number != u32::MAX);
        match (number(user), number(group)) {
            (Some(user), Some(group)) => Ok(Self { user, group }),
            _ => Err("the numbers of a user and a group are wanted, like 65532:65532"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

impl Owner {
    /// Whose a path is.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let facts = fs::symlink_metadata(path)?;
        Ok(Self { user: facts.uid(), group: facts.gid() })
    }

    /// Whether this process may give something to it.
    pub(super) fn can_be_given_to(self) -> bool {
        let own = Self { user: geteuid().as_raw(), group: getegid().as_raw() };
        geteuid().is_root() || self == own
    }

    /// Whether that is root, which no service should run as.
    pub(super) fn is_root(self) -> bool {
        self.user == 0
    }

    /// Gives it a file or a folder, but nothing that is in it. A link is given itself, not what it leads to.
    pub(super) fn take(self, path: &Path) -> anyhow::Result<()> {
        if Self::of(path)? == self {
            return Ok(());
        }
        lchown(path, Some(self.user), Some(self.group))
            .with_context(|| format!("{} cannot be given to {self}", path.display()))
    }

    /// Gives it a folder with everything in it.
    pub(super) fn take_all(self, path: &Path) -> anyhow::Result<()> {
        self.take(path)?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => self.take_all(&entry.path())?,
                false => self.take(&entry.path())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_one_number_or_two() {
        for (text, wanted) in [("65532", "65532:65532"), ("1000:100", "1000:100"), ("0", "0:0")] {
            assert_eq!(text.parse::<Owner>().unwrap().to_string(), wanted);
        }
        for wrong in ["", ":", "1:", ":1", "ann", "-1", "1:2:3", "4294967295", "1:4294967295"] {
            assert!(wrong.parse::<Owner>().is_err(), "{wrong}");
        }
    }
}
