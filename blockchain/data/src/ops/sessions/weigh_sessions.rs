//! Says what sessions take, and what removing them would give back.
//!
//! A chunk that several sessions refer to is kept once, so what a session takes is not what its removal frees. The
//! index has a row for each chunk and each session that refers to it, in the order of chunks: one pass over these rows
//! tells it of all sessions at once. A chunk counts once for each group that has it, and is freed by the removal of a
//! group if nothing outside refers to it and no upload keeps it until it is deleted. Memory goes with sessions and
//! groups, not with chunks. Where only some sessions are weighed, and these have few chunks, only the rows of these
//! chunks are read.
//!
//! A caller that does not see every session is told nothing of what would be freed: that tells what others have.

use std::collections::HashMap;

use lucid_core::digest::ChunkName;
use lucid_core::session::SessionId;
use lucid_store::vault::Vault;

use super::get_session::get_session;
use super::list_sessions::{SessionFilter, list_sessions};
use crate::ops::OpError;
use crate::ops::sight::Sight;
use crate::row::{self, PlacedRow, Referred, SessionName, SessionRow, UploadedRow};

/// Rows read in one go.
const PAGE: usize = 4_096;
/// Sessions with so many chunks together are weighed chunk by chunk: their names take 32 MiB.
const FEW_CHUNKS: u64 = 1 << 20;

/// By what sessions are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Each is on its own.
    #[default]
    Session,
    /// By whose they are.
    User,
    /// By the host that they come from.
    Host,
}

/// What is to be weighed.
#[derive(Debug, Clone, Default)]
pub struct WantedWeights {
    /// How sessions are put together.
    pub by: Grouping,
    /// Which; all that are seen, where none is named.
    pub sessions: Vec<SessionId>,
    /// What the caller sees.
    pub sight: Sight,
}

/// What some sessions take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many sessions they are.
    pub sessions: u64,
    /// Bytes of what was recorded.
    pub content_bytes: u64,
    /// The same with catalogues and timelines.
    pub total_bytes: u64,
    /// Different chunks that they refer to.
    pub chunks: u64,
    /// Bytes of these.
    pub chunk_bytes: u64,
    /// Bytes that these take in the store, compressed, encrypted, and with the headers of their records.
    pub stored_bytes: u64,
    /// Chunks that nothing else refers to.
    pub freed_chunks: u64,
    /// Bytes that these take in the store.
    pub freed_bytes: u64,
}

/// What was weighed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weights {
    /// Each group by its name: a session's id, a user, a host; empty where nobody said.
    pub groups: Vec<(String, Weight)>,
    /// All of them together.
    pub total: Weight,
    /// Whether it is known what would be freed.
    pub knows_freed: bool,
}

/// Weighs sessions. `pause` is called again and again, and ends the work by an error.
pub fn weigh_sessions(
    vault: &Vault,
    wanted: &WantedWeights,
    pause: &mut dyn FnMut() -> Result<(), OpError>,
) -> Result<Weights, OpError> {
    let mut scales = Scales {
        vault,
        sight: &wanted.sight,
        weights: Weights { knows_freed: wanted.sight.has_all_sessions(), ..Weights::default() },
        by_name: HashMap::new(),
        members: HashMap::new(),
    };
    let mut few = Some(Vec::new());
    for id in &wanted.sessions {
        wanted.sight.check(vault, id)?;
        let session = get_session(vault, id)?;
        if !scales.add(wanted.by, &session) {
            continue;
        }
        let references = session.chunk_count() + session.pending;
        let has_room = |names: &Vec<_>| names.len() as u64 + references <= FEW_CHUNKS;
        few = few.filter(has_room);
        if let Some(names) = &mut few {
            names_of(vault, &session, names, pause)?;
        }
    }
    match few {
        Some(mut names) if !wanted.sessions.is_empty() => {
            names.sort_unstable();
            names.dedup();
            for (at, name) in names.iter().enumerate() {
                if at % PAGE == 0 {
                    pause()?;
                }
                let sessions = Referred::list(vault.index(), name, usize::MAX)?;
                scales.take(name, &sessions)?;
            }
        }
        _ => {
            if wanted.sessions.is_empty() {
                scales.add_all(wanted, pause)?;
            }
            scales.take_all(pause)?;
        }
    }
    if wanted.by != Grouping::Session {
        scales.weights.groups.sort_by(|one, other| one.0.cmp(&other.0));
    }
    Ok(scales.weights)
}

/// Adds the names of a session's chunks, those that wait for others in front of them included.
fn names_of(
    vault: &Vault,
    session: &SessionRow,
    names: &mut Vec<ChunkName>,
    pause: &mut dyn FnMut() -> Result<(), OpError>,
) -> Result<(), OpError> {
    let (index, cipher) = (vault.index(), vault.cipher());
    let name = SessionName::of(cipher, &session.id);
    let mut start = 0;
    loop {
        pause()?;
        let page = row::references(index, cipher, &name, start, PAGE)?;
        names.extend(page.iter().map(|one| cipher.chunk_name(session.key_of(&one.chunk))));
        match page.last() {
            Some(last) if page.len() == PAGE => start = last.index + 1,
            _ => break,
        }
    }
    if session.pending > 0 {
        let waiting = PlacedRow::list(index, cipher, &name, session.chunk_count(), usize::MAX)?;
        names.extend(waiting.iter().map(|(_, one)| cipher.chunk_name(session.key_of(&one.chunk))));
    }
    Ok(())
}

/// What is weighed so far.
struct Scales<'a> {
    vault: &'a Vault,
    sight: &'a Sight,
    weights: Weights,
    /// Where a group is among them.
    by_name: HashMap<String, usize>,
    /// The group of each session.
    members: HashMap<SessionName, usize>,
}

impl Scales<'_> {
    /// Puts a session into its group, unless it is there.
    fn add(&mut self, by: Grouping, session: &SessionRow) -> bool {
        let of = match by {
            Grouping::Session => session.id.to_string(),
            Grouping::User => session.user.clone(),
            Grouping::Host => {
                session.source.as_ref().map_or_else(String::new, |source| source.host.clone())
            }
        };
        let name = SessionName::of(self.vault.cipher(), &session.id);
        let groups = &mut self.weights.groups;
        let group = *self.by_name.entry(of).or_insert_with_key(|of| {
            groups.push((of.clone(), Weight::default()));
            groups.len() - 1
        });
        if self.members.insert(name, group).is_some() {
            return false;
        }
        let content = session.sealed.as_ref().map_or(session.offset(), |s| s.content_bytes);
        self.each(&[group], |weight| {
            weight.sessions += 1;
            weight.content_bytes += content;
            weight.total_bytes += session.offset();
        });
        true
    }

    fn add_all(
        &mut self,
        wanted: &WantedWeights,
        pause: &mut dyn FnMut() -> Result<(), OpError>,
    ) -> Result<(), OpError> {
        let filter = SessionFilter { sight: wanted.sight.clone(), ..SessionFilter::default() };
        let mut cursor = None;
        loop {
            pause()?;
            let page = list_sessions(self.vault, &filter, PAGE, cursor.as_deref())?;
            for session in &page.sessions {
                self.add(wanted.by, session);
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Takes all chunks that sessions refer to.
    fn take_all(&mut self, pause: &mut dyn FnMut() -> Result<(), OpError>) -> Result<(), OpError> {
        let (mut from, to) = Referred::by_range();
        let mut at: Option<(ChunkName, Vec<SessionName>)> = None;
        loop {
            pause()?;
            let rows = self.vault.index().scan(&from, &to, PAGE, false)?;
            let is_last = rows.len() < PAGE;
            for (key, _) in rows {
                if let Some((name, session)) = Referred::pair_in(&key) {
                    match &mut at {
                        Some((chunk, sessions)) if *chunk == name => sessions.push(session),
                        _ => {
                            if let Some((chunk, sessions)) = at.replace((name, vec![session])) {
                                self.take(&chunk, &sessions)?;
                            }
                        }
                    }
                }
                from = [key.as_slice(), &[0]].concat();
            }
            if is_last {
                break;
            }
        }
        match at {
            Some((chunk, sessions)) => self.take(&chunk, &sessions),
            None => Ok(()),
        }
    }

    /// Takes a chunk, with all sessions that refer to it.
    fn take(&mut self, chunk: &ChunkName, sessions: &[SessionName]) -> Result<(), OpError> {
        let members = sessions.iter().filter_map(|session| self.members.get(session).copied());
        let mut groups: Vec<usize> = members.collect();
        let is_shared = groups.len() < sessions.len();
        groups.sort_unstable();
        groups.dedup();
        if groups.is_empty() {
            return Ok(());
        }
        // What is not there takes nothing.
        let place = self.vault.placement_of(chunk)?;
        let plain = place.map_or(0, |place| u64::from(place.plain_length));
        let stored = place.map_or(0, |place| place.record_bytes());
        self.each(&groups, |weight| {
            weight.chunks += 1;
            weight.chunk_bytes += plain;
            weight.stored_bytes += stored;
        });
        if !self.weights.knows_freed || is_shared || self.is_uploaded(chunk)? {
            return Ok(());
        }
        let free = |weight: &mut Weight| {
            weight.freed_chunks += 1;
            weight.freed_bytes += stored;
        };
        match groups.as_slice() {
            [_] => self.each(&groups, free),
            _ => free(&mut self.weights.total),
        }
        Ok(())
    }

    /// Whether an upload keeps a chunk until a client deletes it, as far as its caller may know. What an archive sends
    /// is kept for a while on its own, too, which ends by itself.
    fn is_uploaded(&self, chunk: &ChunkName) -> Result<bool, OpError> {
        let upload = UploadedRow::find(self.vault.index(), self.vault.cipher(), chunk)?;
        Ok(upload.is_some_and(|upload| match self.sight.caller() {
            None => upload.note.until.is_none(),
            Some(caller) => upload.note_of(caller).is_some_and(|note| note.until.is_none()),
        }))
    }

    /// Adds something to some groups, and once to all together.
    fn each(&mut self, groups: &[usize], add: impl Fn(&mut Weight)) {
        for group in groups {
            if let Some((_, weight)) = self.weights.groups.get_mut(*group) {
                add(weight);
            }
        }
        add(&mut self.weights.total);
    }
}
