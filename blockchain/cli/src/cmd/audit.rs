//! `lucid audit`: what was asked of a service, by whom, and how it ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use clap::Subcommand;
use lucid_api::v1::audit::{AuditEnd, AuditEntry, AuditKind, AuditSession};
use lucid_api::v1::sessions::SessionStatus;
use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::audit::find_entries::WantedEntries;
use serde::Serialize;

use super::{DONE, FAILED, Home, finish, open, session_id};
use crate::output::{Align, Output, table};
use crate::place::Place;
use crate::text;
use crate::when::{moment, shown as local};

/// Arguments of `lucid audit`.
#[derive(Debug, clap::Args)]
pub struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the sessions of the read log, one a day.
    Ls,
    /// Print entries: who asked for what, and how it ended.
    Show(Show),
    /// Say who read a session, changed it, or was refused.
    Who(Who),
    /// Read the log again, and say what is wrong with it.
    Verify,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Only entries of this caller: a token's id, `jwt:` and a subject, `local` or `peer`.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Only entries about this session, or about chunks that it has.
    #[arg(long, value_name = "ID", value_parser = session_id)]
    session: Option<SessionId>,
    #[command(flatten)]
    within: Within,
    /// Only what was refused.
    #[arg(long)]
    refused: bool,
}

#[derive(Debug, clap::Args)]
struct Who {
    /// The session.
    #[arg(value_parser = session_id)]
    session: SessionId,
    #[command(flatten)]
    within: Within,
}

#[derive(Debug, clap::Args)]
struct Within {
    /// Only entries that were made at this time or later: 2026-03-01, or 2026-03-01T14:03:00Z.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only entries that were made before this time.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    to: Option<Timestamp>,
}

/// What one caller did with a session.
#[derive(Default, Serialize)]
struct Did {
    reads: u64,
    /// Those of which nobody knows how they ended: they go on, or were cut off with the service.
    unended: u64,
    /// Bytes that were handed over to it.
    read_bytes: u64,
    changes: u64,
    refused: u64,
    first: String,
    last: String,
    #[serde(skip)]
    begun: BTreeSet<String>,
    /// Short reads that came last: what follows may say that they were not given.
    #[serde(skip)]
    short: VecDeque<(String, u64)>,
}

/// So many short reads are kept in mind.
const SHORT_MAX: usize = 1_024;

/// A caller, and what it did.
#[derive(Serialize)]
struct Known<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    from: &'a str,
    #[serde(flatten)]
    did: &'a Did,
}

/// What reading the log again found.
#[derive(Default, Serialize)]
struct Verified {
    sessions: u64,
    sealed: u64,
    anchored: u64,
    entries: u64,
    bytes: u64,
    faults: Vec<String>,
}

impl Audit {
    /// Whether it says what is wrong, so that 1 means that something is.
    pub fn gives_verdict(&self) -> bool {
        matches!(self.verb, Verb::Verify)
    }

    /// Runs the verb.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "audit", output)?;
        let code = match &self.verb {
            Verb::Ls => list(place.as_ref(), output)?,
            Verb::Show(show) => show.run(place.as_ref(), output)?,
            Verb::Who(who) => who.run(place.as_ref(), output)?,
            Verb::Verify => verify(place.as_ref(), output)?,
        };
        finish(place, code)
    }
}

fn list(place: &dyn Place, output: &Output) -> anyhow::Result<u8> {
    let sessions = place.audit_sessions()?;
    if output.mode().json {
        sessions.iter().try_for_each(|session| output.item(session, |_| ""))?;
        return Ok(DONE);
    }
    let rows = sessions.into_iter().map(|session| {
        let AuditSession { session_id, started_at, status, bytes } = session;
        let started = local(&started_at);
        vec![session_id, status.as_str().to_owned(), started, text::size(bytes)]
    });
    let columns = [
        ("session", Align::Left),
        ("status", Align::Left),
        ("first entry", Align::Left),
        ("size", Align::Right),
    ];
    output.lines(&table(&columns, rows))?;
    Ok(DONE)
}

impl Show {
    fn run(&self, place: &dyn Place, output: &Output) -> anyhow::Result<u8> {
        let wanted = WantedEntries {
            caller: self.caller.clone(),
            session: self.session.clone(),
            from: self.within.from,
            to: self.within.to,
            refused: self.refused.then_some(true),
        };
        place.audit_entries(&wanted, &mut |entry| Ok(output.item(&entry, shown)?))?;
        Ok(DONE)
    }
}

/// Who it was, in a word.
fn who(entry: &AuditEntry) -> &str {
    entry.caller.as_deref().unwrap_or("-")
}

fn shown(entry: &AuditEntry) -> String {
    let mut words = vec![
        local(&entry.at),
        text::name(who(entry).as_bytes()),
        text::name(entry.from.as_bytes()),
        entry.kind.as_str().to_owned(),
        entry.ended.as_str().to_owned(),
        entry.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
        text::name(format!("{} {}", entry.method, entry.target).as_bytes()),
    ];
    words.extend(entry.range.as_ref().map(|range| format!("bytes {range}")));
    words.extend(entry.bytes.map(text::size));
    words.extend(entry.times.map(|times| text::many(times, "time")));
    words.join("  ")
}

impl Who {
    fn run(&self, place: &dyn Place, output: &Output) -> anyhow::Result<u8> {
        let wanted = WantedEntries {
            session: Some(self.session.clone()),
            from: self.within.from,
            to: self.within.to,
            ..WantedEntries::default()
        };
        let mut known: BTreeMap<(Option<String>, String), Did> = BTreeMap::new();
        place.audit_entries(&wanted, &mut |entry| {
            let did = known.entry((entry.caller.clone(), entry.from.clone())).or_default();
            did.count(&entry);
            Ok(())
        })?;
        if output.mode().json {
            for ((caller, from), did) in &known {
                output.item(&Known { caller: caller.as_deref(), from, did }, |_| "")?;
            }
            return Ok(DONE);
        }
        let rows = known.iter().map(|((caller, from), did)| {
            vec![
                text::name(caller.as_deref().unwrap_or("-").as_bytes()),
                text::name(from.as_bytes()),
                match did.unended {
                    0 => text::count(did.reads),
                    more => format!("{} + {more} unended", text::count(did.reads)),
                },
                text::size(did.read_bytes),
                text::count(did.changes),
                text::count(did.refused),
                local(&did.first),
                local(&did.last),
            ]
        });
        let columns = [
            ("caller", Align::Left),
            ("from", Align::Left),
            ("reads", Align::Right),
            ("read", Align::Right),
            ("changes", Align::Right),
            ("refused", Align::Right),
            ("first", Align::Left),
            ("last", Align::Left),
        ];
        output.lines(&table(&columns, rows))?;
        Ok(DONE)
    }
}

impl Did {
    /// A read that was noted before it was given, and was not.
    fn take_back(&mut self, entry: &AuditEntry) {
        self.begun.remove(&entry.request_id);
        let is_same = |(id, _): &(String, u64)| *id == entry.request_id;
        if let Some((_, bytes)) =
            self.short.iter().position(is_same).and_then(|at| self.short.remove(at))
        {
            self.reads -= 1;
            self.read_bytes -= bytes;
        }
    }

    fn count(&mut self, entry: &AuditEntry) {
        let times = entry.times.unwrap_or(1);
        match (entry.kind, entry.ended) {
            (AuditKind::Read, AuditEnd::Begun) => {
                self.begun.insert(entry.request_id.clone());
            }
            (_, AuditEnd::Refused) | (AuditKind::Refusal, _) => {
                self.take_back(entry);
                self.refused += times;
            }
            (AuditKind::Read, AuditEnd::Failed | AuditEnd::Left) => self.take_back(entry),
            (AuditKind::Read, _) => {
                let bytes = entry.bytes.unwrap_or(0);
                if !self.begun.remove(&entry.request_id) {
                    self.short.truncate(SHORT_MAX - 1);
                    self.short.push_front((entry.request_id.clone(), bytes));
                }
                self.reads += times;
                self.read_bytes += bytes;
            }
            // How it ended is another entry.
            (AuditKind::Change, AuditEnd::Begun) => {}
            (AuditKind::Change, _) => self.changes += times,
        }
        self.unended = self.begun.len() as u64;
        if self.first.is_empty() {
            self.first.clone_from(&entry.at);
        }
        self.last.clone_from(entry.until.as_ref().unwrap_or(&entry.at));
    }
}

fn verify(place: &dyn Place, output: &Output) -> anyhow::Result<u8> {
    let mut verified = Verified::default();
    for session in place.audit_sessions()? {
        let id: SessionId = session.session_id.parse()?;
        verified.sessions += 1;
        verified.bytes += session.bytes;
        let is_anchored = session.status == SessionStatus::Anchored;
        verified.anchored += u64::from(is_anchored);
        if is_anchored || session.status == SessionStatus::Sealed {
            verified.sealed += 1;
            let found = place.verify_session(&id, &|_| {})?;
            verified.faults.extend(found.damage.into_iter().chain(found.faults));
        }
        let mut number = 0_u64;
        let read = place.audit_lines(&id, &mut |line| {
            number += 1;
            if let Err(error) = serde_json::from_slice::<AuditEntry>(line) {
                verified.faults.push(format!("{id}: entry {number} cannot be read: {error}"));
            }
            Ok(())
        });
        if let Err(error) = read {
            verified.faults.push(format!("{id} cannot be read: {error:#}"));
        }
        verified.entries += number;
    }
    for fault in &verified.faults {
        output.warn(fault);
    }
    let is_sound = verified.faults.is_empty();
    output.result(&verified, |verified| {
        vec![
            format!(
                "read {} {} ({}) in {}: {} sealed, {} in a block",
                text::count(verified.entries),
                if verified.entries == 1 { "entry" } else { "entries" },
                text::size(verified.bytes),
                text::many(verified.sessions, "session"),
                text::count(verified.sealed),
                text::count(verified.anchored),
            ),
            match verified.faults.len() {
                0 => "everything is sound".into(),
                1 => "1 fault was found".into(),
                count => format!("{count} faults were found"),
            },
        ]
    })?;
    Ok(if is_sound { DONE } else { FAILED })
}
