//! `lucid find PATTERN`: looks for files in all archived folders.

use lucid_api::v1::files::FileKind;
use lucid_api::v1::find::{FindLine, FoundFile};
use lucid_api::v1::sessions::SessionStatus;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::find_files::{FindFiles, PathPattern};
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::row::SessionStage;

use super::keep::key_value;
use super::{DONE, FAILED, Home, finish, fits, open};
use crate::output::Output;
use crate::text;
use crate::when::{moment, shown as local};

/// Arguments of `lucid find`.
#[derive(Debug, clap::Args)]
pub struct Find {
    /// What names have to be like: `*` is any part of one, `?` one character, `[a-z]` one of those, `{a,b}` one of
    /// these. With a slash in it, it is of whole paths, and `**` is any folders.
    pattern: String,
    /// Take capital letters as small ones.
    #[arg(long, short)]
    ignore_case: bool,
    /// Only in sessions of this user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only in sessions in this state.
    #[arg(long, value_parser = stage, value_name = "STATUS")]
    status: Option<SessionStage>,
    /// Only in sessions that began at this time or later: 2026-03-01, or 2026-03-01T14:03:00Z.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only in sessions that began before this time.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Only in sessions of which this is said; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    metadata: Vec<(String, String)>,
}

impl Find {
    /// Prints a line for each path, as soon as it is found.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let wanted = FindFiles {
            pattern: PathPattern::new(&self.pattern, self.ignore_case)?,
            sessions: SessionFilter {
                status: self.status,
                user: self.user.clone(),
                from: self.from,
                to: self.to.map(|end| Timestamp::from_micros(end.as_micros().saturating_sub(1))),
                metadata: self.metadata.iter().cloned().collect(),
                ..SessionFilter::default()
            },
        };
        fits(
            wanted.sessions.metadata.len() == self.metadata.len(),
            "--meta names one key twice: leave one out",
        )?;
        let place = open(home, "find", output)?;
        let mut code = DONE;
        place.find_files(&wanted, &mut |line| {
            if let FindLine::Damaged(damaged) = &line {
                code = FAILED;
                output.warn(&format!(
                    "session {}: not all of its paths could be looked at: {}",
                    damaged.session_id, damaged.damage
                ));
                return Ok(());
            }
            Ok(output.item(&line, |line| match line {
                FindLine::Found(file) => shown(file),
                FindLine::Damaged(_) => String::new(),
            })?)
        })?;
        finish(place, code)
    }
}

fn shown(file: &FoundFile) -> String {
    let FoundFile { session_id, started_at, entry } = file;
    let kind = match entry.kind {
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::Hardlink => 'h',
        _ => '-',
    };
    let exact = lucid_api::v1::files::name_bytes(&entry.path, entry.path_base64.as_deref());
    format!(
        "{session_id} {} {kind}{:04o} {:>12} {} {}",
        local(started_at),
        entry.mode,
        entry.length,
        local(&entry.modified_at),
        text::name(&exact.unwrap_or_else(|| entry.path.clone().into_bytes()))
    )
}

pub fn stage(text: &str) -> Result<SessionStage, String> {
    let all = [
        (SessionStatus::Active, SessionStage::Active),
        (SessionStatus::Sealed, SessionStage::Sealed),
        (SessionStatus::Anchored, SessionStage::Anchored),
        (SessionStatus::Unterminated, SessionStage::Unterminated),
    ];
    let found = all.into_iter().find(|(status, _)| status.as_str() == text);
    let names = all.map(|(status, _)| status.as_str()).join(", ");
    found.map(|(_, stage)| stage).ok_or_else(|| format!("the states are {names}"))
}
