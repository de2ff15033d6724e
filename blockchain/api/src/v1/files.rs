//! The catalogue of an archived folder on the wire, and bytes that need not be text.
//!
//! A name is shown as text for people (what is not UTF-8 replaced), and in base64 beside it when
//! the text is not the whole truth. [`name`] and [`name_bytes`] are the only two ways between.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::document::{Base64, Time};
use crate::percent;

/// What a catalogue entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A second name of an earlier file, its target.
    Hardlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileEntry {
    /// For people.
    pub path: String,
    /// For programs, when `path` is not exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Base64>)]
    pub path_base64: Option<String>,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The name of the owner, where the host had one.
    #[serde(default)]
    pub user_name: Option<String>,
    /// The name of the group, where the host had one.
    #[serde(default)]
    pub group_name: Option<String>,
    /// When its content changed last.
    #[schema(value_type = Time)]
    pub modified_at: String,
    /// Where a link points to, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// For programs, when `target` is not exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Base64>)]
    pub target_base64: Option<String>,
    /// Extended attributes.
    #[serde(default)]
    pub attributes: Vec<FileAttribute>,
    /// The POSIX ACL that decides who may use it; empty where the mode says all.
    #[serde(default)]
    pub access_acl: Vec<FileAcl>,
    /// The POSIX ACL that what is made in a folder begins with.
    #[serde(default)]
    pub default_acl: Vec<FileAcl>,
    /// Its flags, as `FS_IOC_GETFLAGS` has them; `null` where its file system has none.
    #[serde(default)]
    pub flags: Option<u32>,
    /// How many of its bytes are in holes: zeros that took no room.
    #[serde(default)]
    pub hole_bytes: u64,
    /// Where in the session its bytes begin.
    pub offset: u64,
    /// As actually read.
    pub length: u64,
    /// Whether it changed while it was read.
    #[serde(default)]
    pub changed: bool,
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileAttribute {
    /// For people.
    pub name: String,
    /// For programs, when `name` is not exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Base64>)]
    pub name_base64: Option<String>,
    /// Its value.
    #[schema(value_type = Base64)]
    pub value_base64: String,
}

/// What an ACL grants to one user, one group or everyone else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileAcl {
    /// `user`, `group`, `mask` or `other`; without an id, the entry's own user or group.
    pub tag: String,
    /// 4 to read, 2 to write, 1 to execute, added up.
    pub permissions: u8,
    /// The number of the user or group that is named.
    pub id: Option<u32>,
    /// Its name, where the host had one.
    pub name: Option<String>,
    /// For programs, when `name` is not exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Base64>)]
    pub name_base64: Option<String>,
}

/// How bytes are written: text, and base64 when the text is not exact.
pub fn name(bytes: &[u8]) -> (String, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(STANDARD.encode(bytes))),
    }
}

/// The bytes that were written; `None` when the base64 is broken.
pub fn name_bytes(text: &str, base64: Option<&str>) -> Option<Vec<u8>> {
    match base64 {
        None => Some(text.as_bytes().to_vec()),
        Some(exact) => STANDARD.decode(exact).ok(),
    }
}

/// Which entries are wanted: `GET /api/v1/sessions/{session_id}/files`. Not a serde type, because
/// the prefix is bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesQuery {
    /// Only this path and what is below it; empty for everything.
    pub path: Vec<u8>,
    /// At most so many (1..1000).
    pub limit: Option<u32>,
    /// From an earlier page.
    pub cursor: Option<String>,
}

impl FilesQuery {
    /// Reads a query string; the error is a sentence for the caller.
    pub fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for (key, value) in percent::query_pairs(query).ok_or("the query has a wrong escape")? {
            match key.as_str() {
                "path" => wanted.path = value,
                "limit" => wanted.limit = Some(number(&key, &value)?),
                "cursor" => wanted.cursor = Some(text(&key, value)?),
                _ => return Err(format!("unknown parameter {key:?}")),
            }
        }
        Ok(wanted)
    }

    /// Writes the query string.
    pub fn to_query(&self) -> String {
        let mut query = Vec::new();
        if !self.path.is_empty() {
            query.push(pair("path", &self.path));
        }
        query.extend(self.limit.map(|limit| format!("limit={limit}")));
        query.extend(self.cursor.as_ref().map(|cursor| pair("cursor", cursor.as_bytes())));
        query.join("&")
    }
}

/// One encoded `key=value`.
pub(super) fn pair(key: &str, value: &[u8]) -> String {
    let mut pair = format!("{key}=");
    percent::encode(value, &mut pair);
    pair
}

/// A value that must be text.
pub(super) fn text(key: &str, value: Vec<u8>) -> Result<String, String> {
    String::from_utf8(value).map_err(|_| format!("{key} is not UTF-8"))
}

/// Refuses what is said again.
pub(super) fn once<T>(name: &str, before: Option<T>) -> Result<(), String> {
    match before {
        None => Ok(()),
        Some(_) => Err(format!("{name} is said twice")),
    }
}

/// A value that must be a number.
pub(super) fn number<T: std::str::FromStr>(key: &str, value: &[u8]) -> Result<T, String> {
    str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("{key} is not a number in range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_text_survive() {
        for bytes in [&b"plain"[..], b"caf\xc3\xa9", b"broken \xff\xfe"] {
            let (text, exact) = name(bytes);
            assert_eq!(name_bytes(&text, exact.as_deref()), Some(bytes.to_vec()));
        }
    }

    #[test]
    fn query_is_read_as_it_is_written() {
        let query = FilesQuery {
            path: b"a/\xff&b=".to_vec(),
            limit: Some(7),
            cursor: Some("x+y/z=".into()),
        };
        assert_eq!(FilesQuery::parse(&query.to_query()), Ok(query));
        assert!(FilesQuery::parse("pth=x").is_err());
        assert!(FilesQuery::parse("limit=-1").is_err());
    }
}
