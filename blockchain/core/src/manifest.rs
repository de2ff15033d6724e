//! A manifest: what a sealed session consists of, as one canonical text.
//!
//! Sealing writes it, [`crate::anchor`] names its hash, [`crate::bundle`] carries it and
//! [`crate::check`] reads it.
//!
//! The text is canonical JSON with exactly the documented fields, so one manifest has one text and
//! one hash. Counts, lengths and the appendix agree with each other, or there is no manifest.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::cut::{ChunkProfile, ProfileFault};
use crate::digest::{DigestFault, ManifestHash, SessionRoot};
use crate::json::{Json, JsonFault};
use crate::limits::{
    CHUNK_BYTES_MAX, METADATA_ENTRIES_MAX, METADATA_ENTRY_BYTES_MAX, USER_ID_BYTES_MAX,
};
use crate::session::{ALGORITHM, Layout, SessionFault, SessionId};
use crate::time::{TimeFault, Timestamp};
use crate::tree::{Blake3Tree, TreeHash};

/// The version of the text.
pub const VERSION: u64 = 1;
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

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Its recorder said that this was all.
    Complete,
    /// It was sealed because nothing came any more.
    Unterminated,
}

impl End {
    /// The marker's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unterminated => "unterminated",
        }
    }
}

/// A sealed session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
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
        let manifest = Fields::new(&json)?.manifest()?;
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
        Json::object([
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
            ("version", Json::from(VERSION)),
        ])
    }

    fn check(&self) -> Result<(), ManifestFault> {
        let need = |kept: bool, rule| {
            let unsound = || ManifestFault::Unsound { session: self.session_id.clone(), rule };
            if kept { Ok(()) } else { Err(unsound()) }
        };
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

/// BLAKE3 of a manifest's text.
pub fn hash_of(text: &str) -> ManifestHash {
    blake3::hash(text.as_bytes()).into()
}

/// The members of an object that has exactly the right ones.
struct Fields<'a> {
    json: &'a Json,
}

impl<'a> Fields<'a> {
    const NAMES: [&'static str; 17] = [
        "algorithm",
        "appendix",
        "chunk_count",
        "chunk_profile",
        "content_bytes",
        "end",
        "ended_at",
        "layout",
        "merkle_root",
        "metadata",
        "previous_manifest",
        "public",
        "session_id",
        "started_at",
        "total_bytes",
        "user_id",
        "version",
    ];
    const APPENDIX_NAMES: [&'static str; 3] = ["kind", "length", "offset"];

    fn new(json: &'a Json) -> Result<Self, ManifestFault> {
        Self::exactly(json, &Self::NAMES)?;
        Ok(Self { json })
    }

    fn exactly(json: &'a Json, names: &[&str]) -> Result<(), ManifestFault> {
        let members = json.as_object().ok_or_else(|| wrong("the whole"))?;
        let unknown = members.iter().find(|(key, _)| !names.contains(&key.as_str()));
        match unknown {
            Some((key, _)) => Err(wrong(key)),
            None => Ok(()),
        }
    }

    fn get(&self, field: &str) -> Result<&'a Json, ManifestFault> {
        self.json.get(field).ok_or_else(|| wrong(field))
    }

    fn text(&self, field: &str) -> Result<&'a str, ManifestFault> {
        self.get(field)?.as_text().ok_or_else(|| wrong(field))
    }

    fn number(&self, field: &str) -> Result<u64, ManifestFault> {
        self.get(field)?.as_u64().ok_or_else(|| wrong(field))
    }

    fn read<T: FromStr>(&self, field: &str) -> Result<T, ManifestFault>
    where
        ManifestFault: From<T::Err>,
    {
        Ok(self.text(field)?.parse()?)
    }

    fn appendix(&self) -> Result<Option<Appendix>, ManifestFault> {
        let json = self.get("appendix")?;
        if *json == Json::Null {
            return Ok(None);
        }
        Self::exactly(json, &Self::APPENDIX_NAMES)?;
        let fields = Self { json };
        let kind = match fields.text("kind")? {
            "catalogue" => AppendixKind::Catalogue,
            "timeline" => AppendixKind::Timeline,
            _ => return Err(wrong("kind")),
        };
        let (offset, length) = (fields.number("offset")?, fields.number("length")?);
        Ok(Some(Appendix { kind, offset, length }))
    }

    fn metadata(&self) -> Result<BTreeMap<String, String>, ManifestFault> {
        let field = "metadata";
        let members = self.get(field)?.as_object().ok_or_else(|| wrong(field))?;
        let text = |(key, value): &(String, Json)| {
            value.as_text().map(|value| (key.clone(), value.to_owned())).ok_or_else(|| wrong(field))
        };
        members.iter().map(text).collect()
    }

    fn manifest(&self) -> Result<Manifest, ManifestFault> {
        if self.text("algorithm")? != ALGORITHM {
            return Err(wrong("algorithm"));
        }
        if self.number("version")? != VERSION {
            return Err(wrong("version"));
        }
        let end = match self.text("end")? {
            "complete" => End::Complete,
            "unterminated" => End::Unterminated,
            _ => return Err(wrong("end")),
        };
        let previous_manifest = match self.get("previous_manifest")? {
            Json::Null => None,
            _ => Some(self.read("previous_manifest")?),
        };
        Ok(Manifest {
            session_id: self.read("session_id")?,
            user_id: self.text("user_id")?.to_owned(),
            started_at: self.read("started_at")?,
            ended_at: self.read("ended_at")?,
            layout: self.read("layout")?,
            public: self.get("public")?.as_bool().ok_or_else(|| wrong("public"))?,
            chunk_profile: self.read("chunk_profile")?,
            chunk_count: self.number("chunk_count")?,
            content_bytes: self.number("content_bytes")?,
            appendix: self.appendix()?,
            total_bytes: self.number("total_bytes")?,
            merkle_root: self.read("merkle_root")?,
            end,
            metadata: self.metadata()?,
            previous_manifest,
        })
    }
}

fn wrong(field: &str) -> ManifestFault {
    ManifestFault::Field { field: field.chars().take(80).collect() }
}

#[cfg(test)]
pub(crate) mod tests;
