//! The roles that a caller may have.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Begins sessions, adds to those it began, asks where they end, and seals them. It reads nothing back, lists
    /// nothing and removes nothing: a recorder that is seized tells nothing and destroys nothing.
    Append,
    /// Lists, reads, proves and verifies.
    Read,
    /// Both of these, and stores records and transactions.
    Write,
    /// Reads the read log, verifies everything and takes evidence, without content.
    Audit,
    /// Everything, with removing, holding, keys, copies of whole stores, and upkeep.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Append, Self::Read, Self::Write, Self::Audit, Self::Admin];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Read => "read",
            Self::Write => "write",
            Self::Audit => "audit",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: append, read, write, audit or admin is wanted")]
pub struct RoleFault(String);

impl FromStr for Role {
    type Err = RoleFault;

    fn from_str(text: &str) -> Result<Self, RoleFault> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| RoleFault(text.chars().take(40).collect()))
    }
}

/// All roles of one caller: one at least. As text they stand behind each other, with commas between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Several together; without any it is `None`.
    pub fn new(roles: impl IntoIterator<Item = Role>) -> Option<Self> {
        Some(Self(roles.into_iter().collect())).filter(|Self(roles)| !roles.is_empty())
    }

    /// Whether one of these is among them.
    pub fn has_any(&self, of: &[Role]) -> bool {
        of.iter().any(|role| self.0.contains(role))
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        Self(BTreeSet::from([role]))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|role| role.as_str()).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for Roles {
    type Err = RoleFault;

    fn from_str(text: &str) -> Result<Self, RoleFault> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_read_as_it_is_written_and_nothing_else_is_one() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        for wrong in ["", "Admin", "root", "read,write", " read"] {
            assert!(wrong.parse::<Role>().is_err(), "{wrong:?}");
        }
        let both: Roles = "audit,read".parse().unwrap();
        assert_eq!(both, Roles::new([Role::Audit, Role::Read]).unwrap());
        assert_eq!(both.to_string().parse(), Ok(both.clone()));
        assert!(both.has_any(&[Role::Admin, Role::Audit]) && !both.has_any(&[Role::Write]));
        assert_eq!(Roles::new([]), None);
        for wrong in ["", ",", "read,", "read,,write", "read write"] {
            assert!(wrong.parse::<Roles>().is_err(), "{wrong:?}");
        }
    }
}
