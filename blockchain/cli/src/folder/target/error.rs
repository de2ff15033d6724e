//! Why an entry is not restored, and what can be done about it.

use std::io;

use lucid_core::catalogue::PathFault;
use thiserror::Error;

use crate::text;

/// Why an entry is not restored.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The target itself does not serve.
    #[error("{dir} cannot be used as the target")]
    Unusable {
        /// As given.
        dir: String,
        /// What the system says.
        source: io::Error,
    },
    /// The name could lead out of the target.
    #[error(transparent)]
    Unsafe(#[from] PathFault),
    /// Only a folder can stand for the target itself.
    #[error("an entry that is not a folder has no name")]
    Nameless,
    /// There is a file or link of that name, from before or from this restore.
    #[error("\"{}\" exists already", text::name(path))]
    Exists {
        /// The name.
        path: Vec<u8>,
    },
    /// There is a folder where a file or link should be.
    #[error("\"{}\" is a folder already, and folders are never replaced", text::name(path))]
    FolderInTheWay {
        /// The name.
        path: Vec<u8>,
    },
    /// There is a file or link where a folder should be.
    #[error("\"{}\" should be a folder, but a file or link stands there", text::name(path))]
    NotAFolder {
        /// The name.
        path: Vec<u8>,
    },
    /// A hard link to something that was not restored.
    #[error(
        "\"{}\" is a further name of \"{}\", which was not restored",
        text::name(path),
        text::name(target)
    )]
    NoSuchFile {
        /// The name.
        path: Vec<u8>,
        /// The first name.
        target: Vec<u8>,
    },
    /// Other bytes came than the entry announced.
    #[error("\"{}\" should have {length} bytes, not {}", text::name(path), wrong_length(*bytes))]
    Length {
        /// The name.
        path: Vec<u8>,
        /// As announced.
        length: u64,
        /// As came; none if there were more than can be counted.
        bytes: Option<u64>,
    },
    /// The system refuses.
    #[error("\"{}\" cannot be restored", text::name(path))]
    Io {
        /// The name.
        path: Vec<u8>,
        /// What the system says.
        source: io::Error,
    },
}

impl TargetError {
    /// What the user can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Exists { .. } | Self::NotAFolder { .. } => {
                Some("restore into an empty folder, or pass --overwrite")
            }
            Self::FolderInTheWay { .. } => Some("restore into an empty folder"),
            Self::NoSuchFile { .. } => Some("restore that file too"),
            _ => None,
        }
    }

    /// The name it is about.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Exists { path }
            | Self::FolderInTheWay { path }
            | Self::NotAFolder { path }
            | Self::NoSuchFile { path, .. }
            | Self::Length { path, .. }
            | Self::Io { path, .. } => Some(path),
            Self::Unusable { .. } | Self::Unsafe(_) | Self::Nameless => None,
        }
    }

    pub(super) fn io(path: &[u8], error: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_vec(), error.into());
        Self::Io { path, source }
    }
}

fn wrong_length(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "more".to_owned(), |bytes| bytes.to_string())
}
