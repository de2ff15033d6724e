//! Ids of sessions by a template, like `{host}-{folder}-{stem}`.
//!
//! Braces hold what is filled in; everything else stands as it is. What no id may have becomes `_`, and what is too
//! long is cut, so a sound template gives a sound id whatever a file is called.

use std::path::Path;
use std::str::FromStr;

use anyhow::Context as _;
use lucid_core::limits::SESSION_ID_CHARS_MAX;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;

/// What can be filled in, and what that is.
const FIELDS: [(&str, Field); 9] = [
    ("host", Field::Host),
    ("user", Field::User),
    ("path", Field::Path),
    ("folder", Field::Folder),
    ("name", Field::Name),
    ("stem", Field::Stem),
    ("date", Field::Date),
    ("time", Field::Time),
    ("tail", Field::Tail),
];
/// Characters that one field may have.
const FIELD_MAX: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Host,
    User,
    Path,
    Folder,
    Name,
    Stem,
    Date,
    Time,
    Tail,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// A template of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming(Vec<Part>);

/// What ids are made of.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The host it comes from.
    pub host: &'a str,
    /// Whose it is.
    pub user: &'a str,
    /// The file or folder, below what is watched or as it was given.
    pub path: &'a Path,
    /// When it began; its date and time are those of UTC, which every machine has alike.
    pub began: Timestamp,
    /// What tells it from others that have the rest in common.
    pub tail: &'a str,
}

impl FromStr for Naming {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, behind) =
                rest.split_once('{').map_or((rest, None), |(l, b)| (l, Some(b)));
            if !literal.is_empty() {
                literal.parse::<SessionId>().map_err(|_| {
                    format!("{literal:?} cannot stand in an id: letters, digits and ._:- can")
                })?;
                parts.push(Part::Text(literal.to_owned()));
            }
            let Some(behind) = behind else { break };
            let (name, after) =
                behind.split_once('}').ok_or_else(|| format!("a brace is open in {text:?}"))?;
            let field = FIELDS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                let known: Vec<String> =
                    FIELDS.iter().map(|(known, _)| format!("{{{known}}}")).collect();
                format!("{{{name}}} is not known: {} are", known.join(", "))
            })?;
            parts.push(Part::Field(field.1));
            rest = after;
        }
        match parts.is_empty() {
            true => Err("an id cannot be empty".to_owned()),
            false => Ok(Self(parts)),
        }
    }
}

impl Naming {
    /// Whether ids of it have the tail.
    pub fn has_tail(&self) -> bool {
        self.0.contains(&Part::Field(Field::Tail))
    }

    /// The same with the tail at its end, if it had none.
    pub fn with_tail(mut self) -> Self {
        if !self.has_tail() {
            self.0.extend([Part::Text("-".to_owned()), Part::Field(Field::Tail)]);
        }
        self
    }

    /// The id of what this is.
    pub fn id(&self, named: &Named<'_>) -> anyhow::Result<SessionId> {
        let filled: Vec<String> = self.0.iter().map(|part| part.filled(named)).collect();
        // The tail tells files apart, so it is what stays of an id that is too long.
        let tail = filled.last().filter(|_| self.0.last() == Some(&Part::Field(Field::Tail)));
        let tail = tail.map_or("", String::as_str);
        let whole = filled.concat();
        let front = whole.strip_suffix(tail).unwrap_or(&whole);
        let room = SESSION_ID_CHARS_MAX.saturating_sub(tail.len());
        let front: String = front.chars().take(room).collect();
        format!("{front}{tail}").parse().context("--as gives no id")
    }
}

impl Part {
    fn filled(&self, named: &Named<'_>) -> String {
        let field = match self {
            Self::Text(text) => return text.clone(),
            Self::Field(field) => field,
        };
        let text = |path: Option<&Path>| {
            path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let of = |path: Option<&std::ffi::OsStr>| text(path.map(Path::new));
        // 2026-01-27T10:00:00.000000Z, as far as it is wanted.
        let began = named.began.to_string();
        let digits = |range: std::ops::Range<usize>| {
            began.get(range).unwrap_or_default().replace(['-', ':'], "")
        };
        safe(&match field {
            Field::Host => named.host.to_owned(),
            Field::User => named.user.to_owned(),
            Field::Path => text(Some(named.path)),
            Field::Folder => text(named.path.parent()),
            Field::Name => of(named.path.file_name()),
            Field::Stem => of(named.path.file_stem()),
            Field::Date => digits(0..10),
            Field::Time => digits(11..19),
            Field::Tail => named.tail.to_owned(),
        })
    }
}

/// A text as an id may have it.
pub fn safe(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let text = text.trim_start_matches('/');
    text.chars().map(|c| if is_allowed(c) { c } else { '_' }).take(FIELD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(path: &'a str, tail: &'a str) -> Named<'a> {
        let began = Timestamp::parse("2026-01-27T10:02:03.5Z").unwrap();
        Named { host: "web 1", user: "", path: Path::new(path), began, tail }
    }

    #[test]
    fn fields_are_filled_in_and_what_no_id_may_have_is_not_in_it() {
        for (template, wanted) in [
            ("{host}-{folder}-{stem}", "web_1-00_01-tty_ut"),
            ("{date}T{time}.{name}", "20260127T100203.tty_ut.log"),
            ("{path}{user}", "00_01_tty_ut.log"),
            ("x-{tail}", "x-0123"),
        ] {
            let naming: Naming = template.parse().unwrap();
            assert_eq!(
                naming.id(&named("00/01/tty\u{fc}ut.log", "0123")).unwrap().as_str(),
                wanted
            );
        }
        for (wrong, why) in [
            ("", "empty"),
            ("{hots}", "{host}, {user}"),
            ("{host", "open"),
            ("a b", "cannot stand"),
            ("host}", "cannot stand"),
        ] {
            let error = wrong.parse::<Naming>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        // A template of which nothing is left gives no id.
        assert!("{user}".parse::<Naming>().unwrap().id(&named("a", "t")).is_err());
    }

    #[test]
    fn files_stay_apart_however_long_their_names_are() {
        let naming = "{path}{path}{path}".parse::<Naming>().unwrap().with_tail();
        let long = "n".repeat(200);
        let id = naming.id(&named(&long, "0123456789ab")).unwrap();
        assert_eq!(id.as_str().len(), SESSION_ID_CHARS_MAX);
        assert!(id.as_str().ends_with("0123456789ab"));
        assert_eq!(naming.clone().with_tail(), naming);
    }
}
