//! Finds which chunks are kept: in the index, and independently of it in the log.
//!
//! What is not found here is deleted, so both must say the same before anything is. Memory is eight
//! bytes a chunk, and a few dozen a session and an upload that still counts.

use std::collections::{BTreeMap, HashMap};

use lucid_core::digest::ChunkId;
use lucid_core::time::Timestamp;
use lucid_store::StoreError;
use lucid_store::crypt::{ChunkKey, Owner};
use lucid_store::registry::SERVICE_FACTS;
use lucid_store::vault::Vault;
use lucid_store::vault::collect::Names;

use crate::fact::{Fact, Forgotten, Placed, Referenced, Uploaded};
use crate::ops::OpError;
use crate::row::{self, PlacedRow, SessionName, SessionRow, UploadedRow};

/// Rows read at once.
const PAGE: usize = 4_096;
/// How often index and log are compared. Sessions may come and go while both are read; if the two differ
/// every time, one of them is at fault.
const ROUNDS: usize = 3;

/// The chunks that are kept now. A caller that collects garbage begins the collection before it asks, so
/// that what comes to be kept meanwhile is safe. `progress` is told how many bytes of the log are read,
/// and ends the reading by `false`: then there is no answer.
pub fn live_chunks(
    vault: &Vault,
    now: Timestamp,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<Names>, OpError> {
    for _ in 0..ROUNDS {
        let before = in_index(vault, now)?;
        let Some(logged) = in_log(vault, now, progress)? else { return Ok(None) };
        let (lost, new) = (before.without(&logged), logged.without(&before));
        if lost.is_empty() && new.is_empty() {
            return Ok(Some(before));
        }
        let after = in_index(vault, now)?;
        // What the log lacks was removed in between, and what it has more of came in between.
        if lost.without(&after).len() == lost.len() && new.without(&after).is_empty() {
            return Ok(Some(after));
        }
    }
    vault.index().distrust()?;
    Err(OpError::Unsound(
        "index and log do not agree on which chunks are in use; nothing was removed, and the next start \
         builds the index anew: try again then (`lucid reindex` does it now)"
            .into(),
    ))
}

/// What the index says.
pub fn in_index(vault: &Vault, now: Timestamp) -> Result<Names, OpError> {
    let (index, cipher) = (vault.index(), vault.cipher());
    let mut names = Names::default();
    let mut sessions = LastSession::default();
    let mut from = Vec::new();
    loop {
        let rows = row::all_references(index, cipher, &from, PAGE)?;
        for (key, reference) in &rows {
            if let Some(session) = sessions.find(vault, row::session_of_reference(key))? {
                names.add(&cipher.chunk_name(session.key_of(&reference.chunk)));
            }
        }
        match rows.last() {
            Some((key, _)) if rows.len() == PAGE => from = behind(key),
            _ => break,
        }
    }
    // Behind the references, and every one of them: one that waited when its session's references were
    // read may have become one since.
    each_row(vault, PlacedRow::range(), &mut |key, value| {
        if let Some(session) = sessions.find(vault, row::session_of_reference(key))? {
            let placed = PlacedRow::open(cipher, key, value)?;
            names.add(&cipher.chunk_name(session.key_of(&placed.chunk)));
        }
        Ok(())
    })?;
    each_row(vault, UploadedRow::range(), &mut |key, value| {
        if UploadedRow::open(cipher, key, value)?.note.counts(now) {
            UploadedRow::name_in(key).iter().for_each(|name| names.add(name));
        }
        Ok(())
    })?;
    names.settle();
    Ok(names)
}

fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Is shown a key and its value.
type Visit<'a> = dyn FnMut(&[u8], Vec<u8>) -> Result<(), OpError> + 'a;

fn each_row(
    vault: &Vault,
    (mut from, to): (Vec<u8>, Vec<u8>),
    visit: &mut Visit<'_>,
) -> Result<(), OpError> {
    loop {
        let rows = vault.index().scan(&from, &to, PAGE, false)?;
        let is_last = rows.len() < PAGE;
        for (key, value) in rows {
            visit(&key, value)?;
            from = behind(&key);
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Rows of a session come one after the other, so the last one is the one to remember.
#[derive(Default)]
struct LastSession(Option<(SessionName, SessionRow)>);

impl LastSession {
    /// Nothing when there is none: it was removed after the row was read. Where the index merely lost
    /// it, the log still has it, and the comparison shows that.
    fn find(
        &mut self,
        vault: &Vault,
        name: Option<SessionName>,
    ) -> Result<Option<&SessionRow>, OpError> {
        let keyless = || OpError::Unsound("a chunk's row in the index names no session".into());
        let name = name.ok_or_else(keyless)?;
        let known = match self.0.take() {
            Some((known, session)) if known == name => Some(session),
            _ => row::session(vault.index(), vault.cipher(), &name)?,
        };
        Ok(known.map(|session| &self.0.insert((name, session)).1))
    }
}

/// A session in the log.
#[derive(Debug, Clone, Default)]
struct Track {
    /// How often it is begun: what was referred to before the last time is forgotten.
    begun: u32,
    /// Whether it is there in the end.
    stays: bool,
    /// Where the second reading is.
    at: u32,
    owner: Owner,
    chunks: u64,
    bytes: u64,
    /// The lengths of chunks that wait for those in front of them.
    waiting: BTreeMap<u64, u32>,
}

/// What the facts say, read from the files. Any damage ends it: a fact that cannot be read may be the
/// one that keeps a chunk. `progress` ends it by `false`, without an answer.
pub fn in_log(
    vault: &Vault,
    now: Timestamp,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<Names>, OpError> {
    let mut kept = LiveFacts { vault, sessions: HashMap::new(), uploads: HashMap::new() };
    let is_read =
        each_fact(vault, &mut |done, total| progress(done, total * 2), &mut |fact| match fact {
            Fact::Started(fact) => {
                let track = kept.sessions.entry(kept.name(&fact.session)).or_default();
                (track.begun, track.stays) = (track.begun + 1, true);
            }
            Fact::Removed(fact) => {
                let name = kept.name(&fact.session);
                if let Some(track) = kept.sessions.get_mut(&name) {
                    track.stays = false;
                }
            }
            Fact::Uploaded(fact) => kept.upload(&fact, now),
            Fact::Forgotten(fact) => kept.forget(&fact),
            _ => {}
        })?;
    if !is_read {
        return Ok(None);
    }
    kept.sessions.retain(|_, track| track.stays);
    let mut names = Names::default();
    kept.uploads.keys().for_each(|chunk| names.add(&vault.cipher().chunk_name(chunk)));
    let is_read =
        each_fact(vault, &mut |done, total| progress(total + done, total * 2), &mut |fact| {
            match fact {
                Fact::Started(fact) => {
                    // One that is not there was removed, or has begun since the first reading.
                    let name = kept.name(&fact.session);
                    if let Some(track) = kept.sessions.get_mut(&name) {
                        let (begun, at) = (track.begun, track.at + 1);
                        *track =
                            Track { begun, at, stays: true, owner: fact.owner, ..Track::default() };
                    }
                }
                Fact::Referenced(fact) => kept.refer(&fact, &mut names),
                Fact::Placed(fact) => kept.place(&fact, &mut names),
                _ => {}
            }
        })?;
    names.settle();
    Ok(is_read.then_some(names))
}

struct LiveFacts<'a> {
    vault: &'a Vault,
    sessions: HashMap<SessionName, Track>,
    /// Uploads that count now, and until when.
    uploads: HashMap<ChunkId, Option<Timestamp>>,
}

impl LiveFacts<'_> {
    fn name(&self, id: &lucid_core::session::SessionId) -> SessionName {
        SessionName::of(self.vault.cipher(), id)
    }

    fn upload(&mut self, fact: &Uploaded, now: Timestamp) {
        if fact.until.is_some_and(|until| until <= now) {
            return;
        }
        for (chunk, _) in &fact.chunks {
            let until = self.uploads.entry(*chunk).or_insert(fact.until);
            *until = until.zip(fact.until).map(|(known, until)| known.max(until));
        }
    }

    fn forget(&mut self, fact: &Forgotten) {
        for chunk in &fact.chunks {
            self.uploads.remove(chunk);
        }
    }

    /// The session, in the part of the log that still counts.
    fn current(&mut self, id: &lucid_core::session::SessionId) -> Option<&mut Track> {
        let name = self.name(id);
        self.sessions.get_mut(&name).filter(|track| track.at >= track.begun)
    }

    fn refer(&mut self, fact: &Referenced, names: &mut Names) {
        let vault = self.vault;
        let Some(track) = self.current(&fact.session) else { return };
        if (fact.start_index, fact.start_offset) != (track.chunks, track.bytes) {
            return;
        }
        for (chunk, length) in &fact.chunks {
            track.chunks += 1;
            track.bytes += u64::from(*length);
            names.add(&vault.cipher().chunk_name(ChunkKey::of(track.owner, *chunk)));
        }
    }

    fn place(&mut self, fact: &Placed, names: &mut Names) {
        let vault = self.vault;
        let Some(track) = self.current(&fact.session) else { return };
        for (index, (chunk, length)) in (fact.index..).zip(&fact.chunks) {
            if index >= track.chunks {
                track.waiting.insert(index, *length);
                names.add(&vault.cipher().chunk_name(ChunkKey::of(track.owner, *chunk)));
            }
        }
        while let Some(length) = track.waiting.remove(&track.chunks) {
            track.chunks += 1;
            track.bytes += u64::from(length);
        }
    }
}

fn each_fact(
    vault: &Vault,
    progress: &mut dyn FnMut(u64, u64) -> bool,
    visit: &mut dyn FnMut(Fact),
) -> Result<bool, OpError> {
    let mut take = |bytes: &[u8]| {
        if bytes.first().is_some_and(|kind| *kind >= SERVICE_FACTS) {
            let fact = Fact::decode(bytes)
                .map_err(|fault| StoreError::Index(format!("a fact of the log: {fault}")))?;
            visit(fact);
        }
        Ok(())
    };
    Ok(vault.facts(&mut take, progress)?)
}
