//! A list of sessions: which of them, in which order, and what is shown of each.

use std::cmp::Reverse;

use lucid_api::v1::anchors::AnchorStatus;
use lucid_api::v1::list::LIMIT_MAX;
use lucid_api::v1::sessions::{Session, SessionSource};
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::row::SessionStage;

use crate::cmd::find::stage;
use crate::cmd::fits;
use crate::cmd::keep::key_value;
use crate::group::GROUP;
use crate::output::{Align, Output, table};
use crate::place::ReadSessions;
use crate::text;
use crate::when::{self, moment};

/// Which sessions are listed, besides who made them and where, and how.
#[derive(Debug, clap::Args)]
pub struct Listed {
    /// Only sessions of which this is said; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = key_value)]
    metadata: Vec<(String, String)>,
    /// Only sessions of this group: the same as --meta group=NAME.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Only sessions in this state.
    #[arg(long, value_parser = stage, value_name = "STATUS")]
    status: Option<SessionStage>,
    /// Only sessions that began at this time or later: 2026-03-01, or 2026-03-01T14:03:00Z.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only sessions that began before this time.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    to: Option<Timestamp>,
    /// By what they are sorted: the newest first, unless something else is said.
    #[arg(long, value_enum, value_name = "BY")]
    sort: Option<SortBy>,
    /// The other way round.
    #[arg(long)]
    reverse: bool,
    /// Only so many, those that began last.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
}

/// What sessions are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SortBy {
    /// When they began, the newest first.
    Started,
    /// How much they hold, the most first.
    Size,
    /// Their ids.
    Id,
    /// Their hosts.
    Host,
    /// Their users.
    User,
    /// Where they are in their lives.
    Status,
}

impl Listed {
    /// Whether anything of it was said.
    pub fn is_set(&self) -> bool {
        let Self { metadata, group, status, from, to, sort, reverse, last } = self;
        let times = group.is_some() || from.is_some() || to.is_some();
        let order = sort.is_some() || *reverse || last.is_some();
        !metadata.is_empty() || status.is_some() || times || order
    }

    /// Prints a table, or one object a line.
    pub fn list(
        &self,
        place: &dyn ReadSessions,
        filter: SessionFilter,
        output: &Output,
    ) -> anyhow::Result<()> {
        let group = self.group.iter().map(|name| (GROUP.to_owned(), name.clone()));
        let said: Vec<(String, String)> = self.metadata.iter().cloned().chain(group).collect();
        let filter = SessionFilter {
            metadata: said.iter().cloned().collect(),
            status: self.status,
            from: self.from,
            to: self.to.map(|end| Timestamp::from_micros(end.as_micros().saturating_sub(1))),
            ..filter
        };
        fits(
            filter.metadata.len() == said.len(),
            "--meta names one key twice, or --group does with it: leave one out",
        )?;
        let is_json = output.mode().json;
        let at_most = self.last.map_or(usize::MAX, |last| last as usize);
        let comes_sorted = matches!(self.sort, None | Some(SortBy::Started)) && !self.reverse;
        let (mut sessions, mut seen) = (Vec::new(), 0);
        place.sessions_until(&filter, at_most.min(LIMIT_MAX as usize), &mut |session| {
            seen += 1;
            match is_json && comes_sorted {
                true => output.item(&session, |_| "")?,
                false => sessions.push(session),
            }
            Ok(seen < at_most)
        })?;
        sort(&mut sessions, self.sort.unwrap_or(SortBy::Started), self.reverse);
        if is_json {
            return Ok(sessions.iter().try_for_each(|session| output.item(session, |_| ""))?);
        }
        let mut columns = vec![
            ("session", Align::Left),
            ("status", Align::Left),
            ("end", Align::Left),
            ("started", Align::Left),
            ("size", Align::Right),
            ("chunks", Align::Right),
            ("user", Align::Left),
            ("host", Align::Left),
            ("group", Align::Left),
            ("tags", Align::Left),
            ("paths", Align::Left),
        ];
        let mut rows: Vec<Vec<String>> = sessions.into_iter().map(row).collect();
        // What is said of none takes no room on the line.
        for at in (FIRST_SAID..columns.len()).rev() {
            if rows.iter().all(|row| row.get(at).is_none_or(String::is_empty)) {
                columns.remove(at);
                rows.iter_mut().filter(|row| at < row.len()).for_each(|row| drop(row.remove(at)));
            }
        }
        Ok(output.lines(&table(&columns, rows))?)
    }
}

/// The first of the columns that show what recorders say, or not.
const FIRST_SAID: usize = 6;

/// Sorts what came newest first; of those that are alike, the newest stays first.
fn sort(sessions: &mut [Session], by: SortBy, reverse: bool) {
    match by {
        SortBy::Started => {}
        SortBy::Size => sessions.sort_by_key(|session| Reverse(session.content_bytes)),
        SortBy::Id => sessions.sort_by_cached_key(|session| session.session_id.clone()),
        SortBy::Host => sessions.sort_by_cached_key(|session| {
            session.source.as_ref().map(|source| source.host.clone()).unwrap_or_default()
        }),
        SortBy::User => {
            sessions.sort_by_cached_key(|session| session.user_id.clone().unwrap_or_default());
        }
        SortBy::Status => sessions.sort_by_key(|session| session.status.as_str()),
    }
    if reverse {
        sessions.reverse();
    }
}

/// A session's status, and what else keeps it where it is.
fn standing(session: &Session) -> String {
    let anchor = session.anchor.as_ref();
    let is_elsewhere = anchor.is_some_and(|anchor| anchor.status == AnchorStatus::Elsewhere);
    let mut words = vec![session.status.as_str()];
    words.extend(is_elsewhere.then_some("anchored elsewhere"));
    words.extend(session.hold.as_ref().map(|_| "held"));
    words.join(", ")
}

fn row(session: Session) -> Vec<String> {
    let standing = standing(&session);
    let SessionSource { host, paths, tags } = session.source.unwrap_or_default();
    vec![
        session.session_id,
        standing,
        text::end(session.end.as_deref(), session.exit_status),
        when::shown(&session.started_at),
        text::size(session.content_bytes),
        text::count(session.chunk_count),
        text::name(session.user_id.unwrap_or_default().as_bytes()),
        text::name(host.as_bytes()),
        session.metadata.get(GROUP).map(|group| text::name(group.as_bytes())).unwrap_or_default(),
        few(tags.len(), tags.iter().map(|tag| text::name(tag.as_bytes()))),
        few(paths.len(), paths.iter().map(|path| text::spelled_path(path))),
    ]
}

/// What a cell shows of several texts.
fn few(count: usize, texts: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 2;
    let shown: Vec<String> = texts.take(SHOWN).collect();
    let rest = match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    format!("{}{rest}", shown.join(", "))
}
