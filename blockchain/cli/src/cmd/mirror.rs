//! `lucid mirror DEST`: keeps the same sessions in a second store.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_api::address::Address;
use lucid_api::tls::Pin;
use lucid_api::v1::scrub::FindingState;
use lucid_api::v1::sessions::{Session, SessionStatus};
use lucid_core::digest::SessionRoot;
use lucid_core::session::SessionId;
use lucid_data_chain::opened::FOLDER_OWNER;
use lucid_data_chain::ops::sessions::export_session::Exported;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_store::backend::Given;
use lucid_store::codec::Packer;
use lucid_store::files::folder::{Noted, is_store};
use serde::Serialize;

use super::{DONE, FAILED, Home, clock, note, say_loss};
use crate::output::Output;
use crate::place::mirror::Mirrored;
use crate::place::reading;
use crate::place::{StorageOptions, local, remote};
use crate::progress::ProgressLine;
use crate::showing::{client_options, other_options};
use crate::text;

/// Arguments of `lucid mirror`.
#[derive(Debug, clap::Args)]
pub struct Mirror {
    /// The folder of the second store; made when there is none.
    #[arg(required_unless_present = "to_server", conflicts_with = "to_server")]
    destination: Option<PathBuf>,
    /// A data-chain that is to have them instead.
    #[arg(long, value_name = "URL")]
    to_server: Option<Address>,
    /// A file with the token that is shown to it; else the line of that server in ~/.config/lucid/credentials.
    #[arg(long, env = "LUCID_TO_TOKEN_FILE", value_name = "FILE")]
    to_token_file: Option<PathBuf>,
    /// The key of that server, by which alone it is believed, as it says when it starts.
    #[arg(long, value_name = "SHA256")]
    to_pin: Option<Pin>,
    /// Remove in the second store what was removed in the first.
    #[arg(long)]
    prune: bool,
}

/// References that are looked at in one go.
const BATCH: usize = 256;
/// Chunks are sent when this much has gathered.
const BATCH_BYTES: usize = 16 << 20;

#[derive(Debug, Default, Serialize)]
struct Mirrorings {
    sessions: u64,
    copied: u64,
    known: u64,
    open: u64,
    removed: u64,
    healed: u64,
    bytes_sent: u64,
    failed: Vec<String>,
    seconds: f64,
}

impl Mirror {
    /// Copies what the second store has not, session by session, and checks all of it.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let started = std::time::Instant::now();
        if let Some(folder) = &self.destination {
            refuse_destination(home, folder)?;
        }
        let from: Box<dyn Mirrored> = match &home.server {
            Some(url) => Box::new(remote::Remote::connect(url, client_options(home, url)?)?),
            None => Box::new(local::Local::open(home, "mirror", &clock())?),
        };
        home.check_store(from.as_ref())?;
        reading::say(output, from.only_read());
        let to: Box<dyn Mirrored> = match (&self.to_server, &self.destination) {
            (Some(url), _) => {
                let options = other_options(self.to_token_file.as_deref(), self.to_pin, home, url)?;
                Box::new(remote::Remote::connect(url, options)?)
            }
            (None, folder) => {
                let data = folder.clone().unwrap_or_default();
                let there = Home {
                    data,
                    server: None,
                    key_file: None,
                    expected: None,
                    reading: None,
                    // The variables are of the first store.
                    given: Given::default(),
                    ..home.clone()
                };
                Box::new(local::Local::create(&there, "mirror", &clock(), true)?)
            }
        };
        say_loss(from.as_ref(), "", output);
        say_loss(to.as_ref(), "the second store: ", output);
        let mut done = Mirrorings::default();
        let mut sessions = Vec::new();
        from.sessions(&SessionFilter::default(), &mut |session| {
            sessions.push(session);
            Ok(())
        })?;
        // The oldest first: each manifest names the one before it.
        sessions.reverse();
        let total = sessions.iter().map(|session| session.total_bytes).sum();
        let progress = ProgressLine::start(output, "mirroring", Some(total));
        for session in &sessions {
            done.sessions += 1;
            let copied = mirror_session(from.as_ref(), to.as_ref(), session, &progress, &mut done);
            match copied {
                Ok(what) => output.detail(&format!("session {} {what}", session.session_id)),
                Err(error) => {
                    let sentence = format!("session {}: {error:#}", session.session_id);
                    output.warn(&sentence);
                    done.failed.push(sentence);
                }
            }
        }
        drop(progress);
        let before = done.failed.len();
        for (which, damaged, sound) in [("first", &from, &to), ("second", &to, &from)] {
            if let Err(error) = heal(damaged.as_ref(), sound.as_ref(), &sessions, &mut done, output)
            {
                done.failed.push(format!(
                    "what is damaged in the {which} store was not looked for: {error:#}"
                ));
            }
        }
        if self.prune
            && let Err(error) = prune(from.as_ref(), to.as_ref(), &mut done, output)
        {
            done.failed
                .push(format!("what was removed in the first store is not known: {error:#}"));
        }
        done.failed.iter().skip(before).for_each(|sentence| output.warn(sentence));
        // What is not all there was is no whole mirror, and makes none.
        let is_lossy = from.loss().is_some() || to.loss().is_some();
        let is_whole = done.failed.is_empty() && !is_lossy;
        note(from.as_ref(), Noted::Mirrored, is_whole, &self.shown_destination(), output);
        from.close()?;
        to.close()?;
        done.seconds = started.elapsed().as_secs_f64();
        output.result(&done, |done| {
            format!(
                "mirrored {} of {}, {} of them new, sending {}, in {:.1} s{}{}{}",
                text::count(done.copied + done.known),
                text::many(done.sessions, "session"),
                text::count(done.copied),
                text::size(done.bytes_sent),
                done.seconds,
                match done.open {
                    0 => String::new(),
                    open => format!("; {open} are not sealed yet"),
                },
                match done.removed {
                    0 => String::new(),
                    removed => format!("; {removed} removed"),
                },
                match done.healed {
                    0 => String::new(),
                    healed => format!("; {} healed", text::many(healed, "damaged chunk")),
                },
            )
        })?;
        Ok(if is_whole { DONE } else { FAILED })
    }

    /// The second store, for people.
    fn shown_destination(&self) -> String {
        match (&self.to_server, &self.destination) {
            (Some(url), _) => url.to_string(),
            (None, Some(folder)) => folder.display().to_string(),
            (None, None) => String::new(),
        }
    }
}

/// Refuses the first store itself, and a folder that holds other things: in it nobody asked for a store.
fn refuse_destination(home: &Home, folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    let is_first = match (home.data.canonicalize(), folder.canonicalize()) {
        (Ok(first), Ok(second)) => home.server.is_none() && first == second,
        _ => false,
    };
    anyhow::ensure!(
        !is_first,
        "\"{shown}\" is the first store itself: name another folder for the second one"
    );
    let there = Home { data: folder.to_owned(), expected: None, ..home.clone() };
    if is_store(&local::data_folder(&there))? {
        return Ok(());
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("\"{shown}\" cannot be read")),
    };
    // One that was begun and never finished is gone on with, and a disk has a folder of its own.
    let known = [FOLDER_OWNER, local::CHAIN_FOLDER, "lost+found"];
    for entry in entries {
        let name = entry.with_context(|| format!("\"{shown}\" cannot be read"))?.file_name();
        anyhow::ensure!(
            known.iter().any(|known| name == *known),
            "\"{shown}\" holds other things, and no store: name the folder of the second store, or one \
             that is empty or not there yet"
        );
    }
    Ok(())
}

/// Copies a session if it is not there; says what became of it.
fn mirror_session(
    from: &dyn Mirrored,
    to: &dyn Mirrored,
    session: &Session,
    progress: &ProgressLine,
    done: &mut Mirrorings,
) -> anyhow::Result<&'static str> {
    if matches!(session.status, SessionStatus::Active | SessionStatus::Unterminated) {
        done.open += 1;
        return Ok("is not sealed yet");
    }
    let id: SessionId = session.session_id.parse()?;
    if let Some(there) = to.find(&id)? {
        let is_whole = there.manifest_hash == session.manifest_hash
            && (there.status == session.status || there.status == SessionStatus::Anchored);
        if is_whole {
            done.known += 1;
            progress.add(session.total_bytes);
            return Ok("was there already");
        }
    } else if to.tombstone(&id).is_ok_and(|tombstone| tombstone.is_some()) {
        anyhow::bail!("it was removed in the second store, and a removed id is never used again");
    }
    let exported = from.export(&id)?;
    let mut there = to.import(&id, &exported)?;
    if there.merkle_root.is_none() {
        copy_chunks(from, to, &id, there.chunk_count, &exported, progress, done)?;
        there = to.import(&id, &exported)?;
    }
    anyhow::ensure!(
        there.merkle_root == session.merkle_root && there.manifest_hash == session.manifest_hash,
        "the second store has it with another root"
    );
    done.copied += 1;
    Ok("was copied")
}

/// Sends what is missing of the chunks from `start` on, and makes them the session's.
fn copy_chunks(
    from: &dyn Mirrored,
    to: &dyn Mirrored,
    id: &SessionId,
    start: u64,
    exported: &Exported,
    progress: &ProgressLine,
    done: &mut Mirrorings,
) -> anyhow::Result<()> {
    let storage = StorageOptions::default();
    let source = from.source(id)?;
    let mut packer = Packer::new();
    let mut next = start;
    while next < exported.chunk_count {
        let references = source.references(next, BATCH)?;
        anyhow::ensure!(!references.is_empty(), "chunk {next} is missing in the first store");
        let ids: Vec<_> = references.iter().map(|reference| reference.chunk).collect();
        let mut missing: HashSet<_> = to.missing(&ids)?.into_iter().collect();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for reference in &references {
            if missing.remove(&reference.chunk) {
                let chunk = source.chunk(&mut packer, reference)?;
                bytes += chunk.len();
                done.bytes_sent += chunk.len() as u64;
                batch.push(chunk);
            }
            if bytes >= BATCH_BYTES {
                to.put(&std::mem::take(&mut batch), storage)?;
                bytes = 0;
            }
            progress.add(u64::from(reference.length));
        }
        if !batch.is_empty() {
            to.put(&batch, storage)?;
        }
        let chunks = references.iter().map(|one| (one.chunk, one.length)).collect();
        to.refer(id, next, chunks, storage)?;
        next += references.len() as u64;
    }
    Ok(())
}

/// Gives a store the chunks that it cannot read any more and the other can. Only what a scrub has found
/// counts as damaged. What does not heal, a session or a chunk of it, does not keep the rest from it.
fn heal(
    damaged: &dyn Mirrored,
    sound: &dyn Mirrored,
    sessions: &[Session],
    done: &mut Mirrorings,
    output: &Output,
) -> anyhow::Result<()> {
    let found = damaged.scrub()?.damage;
    if !found.iter().any(|found| found.state == FindingState::Quarantined) {
        return Ok(());
    }
    if damaged.only_read().is_some() {
        output.warn("the first store has damaged chunks, which do not heal while it is only read");
        return Ok(());
    }
    for session in sessions {
        if let Err(error) = heal_session(damaged, sound, session, &mut done.healed) {
            done.failed.push(format!("session {} was not healed: {error:#}", session.session_id));
        }
    }
    Ok(())
}

fn heal_session(
    damaged: &dyn Mirrored,
    sound: &dyn Mirrored,
    session: &Session,
    healed: &mut u64,
) -> anyhow::Result<()> {
    let id: SessionId = session.session_id.parse()?;
    if damaged.find(&id)?.is_none() || sound.find(&id)?.is_none() {
        return Ok(());
    }
    let mut packer = Packer::new();
    let (here, there) = (damaged.source(&id)?, sound.source(&id)?);
    let (mut next, mut first_fault, mut sound_nowhere) = (0, None, 0_u64);
    loop {
        let references = here.references(next, BATCH)?;
        let Some(last) = references.last() else { break };
        next = last.index + 1;
        let ids: Vec<_> = references.iter().map(|reference| reference.chunk).collect();
        let mut missing: HashSet<_> = damaged.unreadable(&id, &ids)?.into_iter().collect();
        for reference in &references {
            if missing.remove(&reference.chunk) {
                let chunk = match there.chunk(&mut packer, reference) {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        sound_nowhere += 1;
                        first_fault.get_or_insert((reference.index, error));
                        continue;
                    }
                };
                damaged.give_back(&id, reference.index, chunk)?;
                *healed += 1;
            }
        }
    }
    match first_fault {
        None => Ok(()),
        Some((index, error)) => anyhow::bail!(
            "{} of its chunks cannot be read in the other store either, the first is chunk {index}: \
             {error}",
            text::count(sound_nowhere)
        ),
    }
}

/// Removes what was removed in the first store, and nothing else: a session that only has the id of one
/// that was is the second store's own. What must not be removed stays, and does not keep the rest.
fn prune(
    from: &dyn Mirrored,
    to: &dyn Mirrored,
    done: &mut Mirrorings,
    output: &Output,
) -> anyhow::Result<()> {
    let mut gone: Vec<(SessionId, SessionRoot, String)> = Vec::new();
    from.tombstones(&mut |tombstone| {
        gone.push((tombstone.session_id.parse()?, tombstone.merkle_root, tombstone.reason));
        Ok(())
    })?;
    for (id, root, reason) in gone {
        match remove_same(to, &id, root, &reason) {
            Ok(true) => {
                done.removed += 1;
                output.detail(&format!("session {id} was removed there"));
            }
            Ok(false) => {}
            Err(error) => {
                done.failed.push(format!("session {id} was not removed there: {error:#}"))
            }
        }
    }
    Ok(())
}

/// Removes a session if it is the one with this root; says whether it was there.
fn remove_same(
    to: &dyn Mirrored,
    id: &SessionId,
    root: SessionRoot,
    reason: &str,
) -> anyhow::Result<bool> {
    let Some(there) = to.find(id)? else { return Ok(false) };
    match there.merkle_root {
        Some(has) if has == root => {}
        Some(has) => anyhow::bail!(
            "it is another one: its root is {has}, and that of the removed one was {root}"
        ),
        None => anyhow::bail!(
            "it is not sealed, so it may be another one: if it is not, remove it with `lucid rm {id}`"
        ),
    }
    to.remove(id, reason)?;
    Ok(true)
}
