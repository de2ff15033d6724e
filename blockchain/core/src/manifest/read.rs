//! Reading a manifest's text: exactly the fields of its version, each of its kind.
//!
//! [`Manifest::parse`] calls it, and checks afterwards what the fields say together, and that the text is
//! the one spelling that they have.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{
    Appendix, AppendixKind, End, ExitStatus, Manifest, ManifestFault, Source, Terminal, Version,
    path_bytes,
};
use crate::json::Json;
use crate::session::ALGORITHM;

/// The manifest that these members are, not checked yet.
pub(super) fn manifest(json: &Json) -> Result<Manifest, ManifestFault> {
    ManifestMembers::new(json)?.manifest()
}

/// The members of an object that has exactly the right ones.
struct ManifestMembers<'a> {
    json: &'a Json,
}

impl<'a> ManifestMembers<'a> {
    /// Those of both versions.
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
    /// Those that version 2 has besides.
    const NAMES_OF_TWO: [&'static str; 4] = ["exit_status", "retain_until", "source", "terminal"];
    const APPENDIX_NAMES: [&'static str; 3] = ["kind", "length", "offset"];

    fn new(json: &'a Json) -> Result<Self, ManifestFault> {
        // Which names are right depends on the version, so that is read first.
        let fields = Self { json };
        let more: &[&str] = match fields.version()? {
            Version::One => &[],
            Version::Two => &Self::NAMES_OF_TWO,
        };
        Self::exactly(json, &[&Self::NAMES, more].concat())?;
        Ok(fields)
    }

    fn version(&self) -> Result<Version, ManifestFault> {
        match self.number("version")? {
            1 => Ok(Version::One),
            2 => Ok(Version::Two),
            _ => Err(wrong("version")),
        }
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

    /// A text that is read, or `None` for `null`.
    fn optional<T: FromStr>(&self, field: &str) -> Result<Option<T>, ManifestFault>
    where
        ManifestFault: From<T::Err>,
    {
        match self.get(field)? {
            Json::Null => Ok(None),
            _ => self.read(field).map(Some),
        }
    }

    /// A number of 32 or 16 bits.
    fn small<T: TryFrom<u64>>(&self, field: &str) -> Result<T, ManifestFault> {
        T::try_from(self.number(field)?).map_err(|_| wrong(field))
    }

    /// An object with members of its own, or `None` for `null`.
    fn inner(&self, field: &str) -> Result<Option<Self>, ManifestFault> {
        Ok(match self.get(field)? {
            Json::Null => None,
            json => Some(Self { json }),
        })
    }

    fn texts(&self, field: &str) -> Result<Vec<&'a str>, ManifestFault> {
        let list = self.get(field)?.as_list().ok_or_else(|| wrong(field))?;
        list.iter().map(|json| json.as_text().ok_or_else(|| wrong(field))).collect()
    }

    fn end(&self, version: Version) -> Result<End, ManifestFault> {
        let status = match version {
            Version::One => None,
            Version::Two => self.exit_status()?,
        };
        match (self.text("end")?, status) {
            ("complete", None) => Ok(End::Complete),
            ("exit", Some(status)) => Ok(End::Exit(status)),
            ("eof", None) => Ok(End::Eof),
            ("unterminated", None) => Ok(End::Unterminated),
            (_, None) => Err(wrong("end")),
            (_, Some(_)) => Err(wrong("exit_status")),
        }
    }

    fn exit_status(&self) -> Result<Option<ExitStatus>, ManifestFault> {
        let Some(fields) = self.inner("exit_status")? else { return Ok(None) };
        if fields.json.get("code").is_some() {
            Self::exactly(fields.json, &["code"])?;
            return Ok(Some(ExitStatus::Code(fields.small("code")?)));
        }
        Self::exactly(fields.json, &["signal"])?;
        Ok(Some(ExitStatus::Signal(fields.small("signal")?)))
    }

    fn source(&self) -> Result<Option<Source>, ManifestFault> {
        let Some(fields) = self.inner("source")? else { return Ok(None) };
        Self::exactly(fields.json, &["host", "paths", "tags"])?;
        let paths = fields.texts("paths")?.into_iter();
        Ok(Some(Source {
            host: fields.text("host")?.to_owned(),
            paths: paths
                .map(|text| path_bytes(text).ok_or_else(|| wrong("paths")))
                .collect::<Result<_, _>>()?,
            tags: fields.texts("tags")?.into_iter().map(str::to_owned).collect(),
        }))
    }

    fn terminal(&self) -> Result<Option<Terminal>, ManifestFault> {
        let Some(fields) = self.inner("terminal")? else { return Ok(None) };
        Self::exactly(fields.json, &["columns", "rows"])?;
        Ok(Some(Terminal { columns: fields.small("columns")?, rows: fields.small("rows")? }))
    }

    fn appendix(&self) -> Result<Option<Appendix>, ManifestFault> {
        let Some(fields) = self.inner("appendix")? else { return Ok(None) };
        Self::exactly(fields.json, &Self::APPENDIX_NAMES)?;
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
        let version = self.version()?;
        let end = self.end(version)?;
        let (mut source, mut terminal, mut retain_until) = (None, None, None);
        if version == Version::Two {
            (source, terminal) = (self.source()?, self.terminal()?);
            retain_until = self.optional("retain_until")?;
        }
        Ok(Manifest {
            version,
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
            previous_manifest: self.optional("previous_manifest")?,
            source,
            terminal,
            retain_until,
        })
    }
}

fn wrong(field: &str) -> ManifestFault {
    ManifestFault::Field { field: field.chars().take(80).collect() }
}
