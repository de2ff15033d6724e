//! A manifest: what a sealed session consists of, as one canonical text.
//!
//! Sealing writes it, [`crate::anchor`] names its hash, [`crate::bundle`] carries it and
//! [`crate::check`] reads it.
//!
//! The text is canonical JSON with exactly the documented fields of its version, so one manifest has
//! one text and one hash. Counts, lengths and the appendix agree with each other, or there is no
//! manifest. Version 1 is read for ever; everything that is sealed now is version 2.

mod end;
mod read;
mod source;

use std::collections::BTreeMap;

use crate::cut::{ChunkProfile, ProfileFault};
use crate::digest::{DigestFault, ManifestHash, SessionRoot};
use crate::json::{Json, JsonFault};
use crate::limits::{
    CHUNK_BYTES_MAX, METADATA_ENTRIES_MAX, METADATA_ENTRY_BYTES_MAX, USER_ID_BYTES_MAX,
};
use crate::session::{ALGORITHM, Layout, SessionFault, SessionId};
use crate::time::{TimeFault, Timestamp};
use crate::tree::{Blake3Tree, TreeHash};

pub use end::{End, ExitStatus, SIGNAL_MAX};
pub use source::{
    HOST_BYTES_MAX, PATHS_AND_TAGS_BYTES_MAX, PATHS_MAX, Source, TAG_BYTES_MAX, TAGS_MAX,
    path_bytes, path_text,
};

/// The longest text: full metadata, every character of it escaped, and room for the rest.
pub const TEXT_BYTES_MAX: usize = 2 << 20;

/// Why something is not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    /// A text that is longer than any manifest.
    #[error("a manifest of {bytes} bytes is too long")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A text that is not JSON.
    #[error("the manifest is not JSON: {0}")]
    Json(#[from] JsonFault),
    /// Fields are missing, unknown, or not of their kind.
    #[error("the manifest's field {field:?} is missing, unknown or of the wrong kind")]
    Field {
        /// The field.
        field: String,
    },
    /// A session id or a layout that is none.
    #[error(transparent)]
    Session(#[from] SessionFault),
    /// A chunk profile that is none.
    #[error(transparent)]
    Profile(#[from] ProfileFault),
    /// A hash that is none.
    #[error(transparent)]
    Digest(#[from] DigestFault),
    /// A time that is none.
    #[error(transparent)]
    Time(#[from] TimeFault),
    /// Fields that do not belong together.
    #[error("the manifest of session {session} is not sound: {rule}")]
    Unsound {
        /// Whose manifest it is.
        session: SessionId,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The right fields in another spelling.
    #[error("the manifest of session {session} is not in its canonical spelling")]
    NotCanonical {
        /// Whose manifest it is.
        session: SessionId,
    },
}

/// What an appendix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppendixKind {
    /// The paths of an archived folder: [`crate::catalogue`].
    Catalogue,
    /// Moments of a recording: [`crate::timeline`].
    Timeline,
}

impl AppendixKind {
    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Catalogue => "catalogue",
            Self::Timeline => "timeline",
        }
    }
}

/// The pages after the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Appendix {
    /// What they are.
    pub kind: AppendixKind,
    /// Where they begin: where the content ends.
    pub offset: u64,
    /// How long they are together.
    pub length: u64,
}

/// The version of a manifest's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// What was sealed before 2026-11-28: ends `complete` or `unterminated`, and has no source, terminal
    /// or date until which it is kept.
    One,
    /// What is sealed now.
    Two,
}

impl Version {
    const fn number(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// The size of the terminal that was recorded, at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Terminal {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

impl Terminal {
    /// The member that breaks a rule, and the rule, if there is one.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let sizes = [("columns", self.columns), ("rows", self.rows)];
        let (member, _) = sizes.into_iter().find(|(_, size)| *size == 0)?;
        Some((member, "its terminal has no size"))
    }
}

/// A sealed session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Which fields its text has.
    pub version: Version,
    /// What it is called.
    pub session_id: SessionId,
    /// Whose it is; may be empty.
    pub user_id: String,
    /// When it began, by the recorder's clock.
    pub started_at: Timestamp,
    /// When it ended, by the recorder's clock.
    pub ended_at: Timestamp,
    /// How its content is arranged.
    pub layout: Layout,
    /// Whether its salts are zeros.
    pub public: bool,
    /// How it was cut.
    pub chunk_profile: ChunkProfile,
    /// How many chunks it has, those of the appendix included.
    pub chunk_count: u64,
    /// How long its content is.
    pub content_bytes: u64,
    /// The pages after the content.
    pub appendix: Option<Appendix>,
    /// Content and appendix together.
    pub total_bytes: u64,
    /// The root of its session tree.
    pub merkle_root: SessionRoot,
    /// How it ended.
    pub end: End,
    /// What else its recorder wanted to say.
    pub metadata: BTreeMap<String, String>,
    /// The manifest of the same recorder's session before this one.
    pub previous_manifest: Option<ManifestHash>,
    /// Where it came from, if its recorder said.
    pub source: Option<Source>,
    /// How large the recorded terminal was, if there was one.
    pub terminal: Option<Terminal>,
    /// Until when it was to be kept at least, when it was sealed.
    pub retain_until: Option<Timestamp>,
}

impl Manifest {
    /// The canonical text, for a manifest that is sound.
    pub fn to_text(&self) -> Result<String, ManifestFault> {
        self.check()?;
        Ok(self.to_json().canonical())
    }

    /// BLAKE3 of the canonical text.
    pub fn hash(&self) -> Result<ManifestHash, ManifestFault> {
        self.to_text().map(|text| hash_of(&text))
    }

    /// Reads a canonical text, and nothing else.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestFault> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ManifestFault::TooLong { bytes: text.len() });
        }
        let json = Json::parse(text)?;
        let manifest = read::manifest(&json)?;
        manifest.check()?;
        if manifest.to_json().canonical().as_bytes() != text {
            return Err(ManifestFault::NotCanonical { session: manifest.session_id });
        }
        Ok(manifest)
    }

    fn to_json(&self) -> Json {
        let metadata = self.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let appendix = self.appendix.map(|appendix| {
            Json::object([
                ("kind", Json::from(appendix.kind.as_str())),
                ("offset", Json::from(appendix.offset)),
                ("length", Json::from(appendix.length)),
            ])
        });
        let previous = self.previous_manifest.map(|hash| hash.to_string());
        let mut members = vec![
            ("algorithm", Json::from(ALGORITHM)),
            ("appendix", Json::from(appendix)),
            ("chunk_count", Json::from(self.chunk_count)),
            ("chunk_profile", Json::from(self.chunk_profile.to_string())),
            ("content_bytes", Json::from(self.content_bytes)),
            ("end", Json::from(self.end.as_str())),
            ("ended_at", Json::from(self.ended_at.to_string())),
            ("layout", Json::from(self.layout.as_str())),
            ("merkle_root", Json::from(self.merkle_root.to_string())),
            ("metadata", Json::object(metadata.map(|(key, value)| (key, Json::from(value))))),
            ("previous_manifest", Json::from(previous)),
            ("public", Json::from(self.public)),
            ("session_id", Json::from(self.session_id.as_str())),
            ("started_at", Json::from(self.started_at.to_string())),
            ("total_bytes", Json::from(self.total_bytes)),
            ("user_id", Json::from(self.user_id.as_str())),
            ("version", Json::from(self.version.number())),
        ];
        if self.version == Version::Two {
            members.extend([
                ("exit_status", Json::from(self.end.exit_status().map(exit_status_json))),
                ("retain_until", Json::from(self.retain_until.map(|until| until.to_string()))),
                ("source", Json::from(self.source.as_ref().map(source_json))),
                ("terminal", Json::from(self.terminal.map(terminal_json))),
            ]);
        }
        Json::object(members)
    }

    fn check(&self) -> Result<(), ManifestFault> {
        let need = |kept: bool, rule| {
            let unsound = || ManifestFault::Unsound { session: self.session_id.clone(), rule };
            if kept { Ok(()) } else { Err(unsound()) }
        };
        match self.version {
            Version::One => {
                let ends = matches!(self.end, End::Complete | End::Unterminated);
                need(ends, "its end is not one of version 1")?;
                let unset =
                    self.source.is_none() && self.terminal.is_none() && self.retain_until.is_none();
                need(unset, "it has fields that version 1 does not have")?;
            }
            Version::Two => need(self.end != End::Complete, "its end is one of version 1")?,
        }
        if let End::Exit(ExitStatus::Signal(signal)) = self.end {
            need((1..=SIGNAL_MAX).contains(&signal), "its program's signal is none")?;
        }
        if let Some((_, rule)) = self.source.as_ref().and_then(Source::fault) {
            need(false, rule)?;
        }
        if let Some((_, rule)) = self.terminal.and_then(|terminal| terminal.fault()) {
            need(false, rule)?;
        }
        need(self.user_id.len() <= USER_ID_BYTES_MAX, "its user id is too long")?;
        need(self.metadata.len() <= METADATA_ENTRIES_MAX, "it has too much metadata")?;
        let short = |(key, value): (&String, &String)| {
            key.len().saturating_add(value.len()) <= METADATA_ENTRY_BYTES_MAX
        };
        need(self.metadata.iter().all(short), "a metadata entry is too long")?;
        match (self.layout, self.appendix.map(|appendix| appendix.kind)) {
            (Layout::Tree, Some(AppendixKind::Catalogue))
            | (Layout::Raw, Some(AppendixKind::Timeline) | None) => {}
            _ => need(false, "its appendix is not its layout's")?,
        }
        let appended = self.appendix.map_or(0, |appendix| appendix.length);
        if let Some(appendix) = self.appendix {
            need(
                appendix.offset == self.content_bytes,
                "its appendix does not follow its content",
            )?;
            need(appendix.length > 0, "its appendix is empty")?;
        }
        let total = self.content_bytes.checked_add(appended);
        need(total == Some(self.total_bytes), "its lengths do not add up")?;
        // No chunk is empty and none is over the limit.
        let most = self.chunk_count.saturating_mul(CHUNK_BYTES_MAX as u64);
        let counted = self.chunk_count <= self.total_bytes && self.total_bytes <= most;
        need(counted, "its chunks cannot have its length")?;
        let of_nothing = self.merkle_root.as_bytes() == &Blake3Tree::empty();
        need(of_nothing == (self.chunk_count == 0), "its root is not that of its chunk count")
    }
}

fn exit_status_json(status: ExitStatus) -> Json {
    match status {
        ExitStatus::Code(code) => Json::object([("code", Json::from(u64::from(code)))]),
        ExitStatus::Signal(signal) => Json::object([("signal", Json::from(u64::from(signal)))]),
    }
}

fn source_json(source: &Source) -> Json {
    Json::object([
        ("host", Json::from(source.host.as_str())),
        ("paths", Json::list(source.paths.iter().map(|path| path_text(path)))),
        ("tags", Json::list(source.tags.iter().map(String::as_str))),
    ])
}

fn terminal_json(terminal: Terminal) -> Json {
    Json::object([
        ("columns", Json::from(u64::from(terminal.columns))),
        ("rows", Json::from(u64::from(terminal.rows))),
    ])
}

/// BLAKE3 of a manifest's text.
pub fn hash_of(text: &str) -> ManifestHash {
    blake3::hash(text.as_bytes()).into()
}

#[cfg(test)]
pub(crate) mod tests;
