//! Where a session comes from, in the words of the API and back.

use std::collections::BTreeSet;

use lucid_api::v1::sessions::{SessionSource, Terminal as WireTerminal};
use lucid_core::manifest::{Source, Terminal, path_bytes, path_text};

use crate::ops::OpError;

/// How a path is spelled that is not.
pub const PATH_SPELLING: &str = "write a backslash twice, and a byte that is no part of a text as \\x and two hex \
    digits, as a manifest has it";

/// A source as the API says it.
pub fn session_source(source: &Source) -> SessionSource {
    SessionSource {
        host: source.host.clone(),
        paths: source.paths.iter().map(|path| path_text(path)).collect(),
        tags: source.tags.clone(),
    }
}

/// A terminal as the API says it.
pub fn terminal(terminal: Terminal) -> WireTerminal {
    WireTerminal { columns: terminal.columns, rows: terminal.rows }
}

/// A source as it was sent: its tags may come in any order, and more than once.
pub fn read_source(sent: SessionSource) -> Result<Source, OpError> {
    let paths = sent.paths.iter().map(|path| {
        path_bytes(path)
            .ok_or_else(|| OpError::Invalid(format!("source.paths has {path:?}: {PATH_SPELLING}")))
    });
    let tags: BTreeSet<String> = sent.tags.into_iter().collect();
    Ok(Source {
        host: sent.host,
        paths: paths.collect::<Result<_, _>>()?,
        tags: tags.into_iter().collect(),
    })
}

/// A terminal as it was sent.
pub fn read_terminal(sent: WireTerminal) -> Terminal {
    Terminal { columns: sent.columns, rows: sent.rows }
}
