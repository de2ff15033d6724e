//! Begins a session.

use std::collections::{BTreeMap, BTreeSet};

use lucid_core::cut::ChunkProfile;
use lucid_core::limits::{METADATA_ENTRIES_MAX, METADATA_ENTRY_BYTES_MAX, USER_ID_BYTES_MAX};
use lucid_core::manifest::{Source, Terminal};
use lucid_core::session::{Layout, SessionId, SessionSecret};
use lucid_core::time::Timestamp;
use lucid_store::Damage;
use lucid_store::contract::index::Index;
use lucid_store::crypt::{Owner, random};
use lucid_store::vault::Vault;
use lucid_store::vault::committer::Submission;

use crate::fact::{Fact, Retained, Started};
use crate::opened::SessionLocks;
use crate::ops::audit::{purpose_of, refuse_reserved};
use crate::ops::look_again::look_again;
use crate::ops::sessions::fresh_id::unused_id;
use crate::ops::sessions::get_session::{find_session, get_session};
use crate::ops::sessions::hold_session::retain_at_least;
use crate::ops::sessions::remove_session::refuse_held;
use crate::ops::sight::Sight;
use crate::ops::{Clash, OpError, fact_records};
use crate::row::{SessionName, SessionRow};

/// What a session is to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id; one is made when there is none.
    pub id: Option<SessionId>,
    /// Whose it is; may be empty.
    pub user: String,
    /// What it will consist of.
    pub layout: Layout,
    /// Whether its leaves go without salt, so that anyone with the bytes can recompute the root.
    pub public: bool,
    /// How it is cut.
    pub profile: ChunkProfile,
    /// What is to be kept with it.
    pub metadata: BTreeMap<String, String>,
    /// When it began.
    pub started_at: Timestamp,
    /// Whether it is filled in one go, so that an interrupted one of the same id is begun anew.
    pub one_shot: bool,
    /// Whether it keeps copies of its own of all its chunks, shared with no other session.
    pub own_copies: bool,
    /// Who begins it: what is not seen is neither told nor begun anew.
    pub sight: Sight,
    /// Until when it is kept, from its beginning on.
    pub retain_until: Option<Timestamp>,
    /// Where it comes from: its host, paths and tags, if its recorder says.
    pub source: Option<Source>,
    /// How large the recorded terminal is, if there is one.
    pub terminal: Option<Terminal>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Created {
    /// It began just now.
    Began(SessionRow),
    /// It was there already, with the same parameters.
    Existed(SessionRow),
}

/// Begins a session, or finds that it has begun already. A one-shot session that was not sealed is
/// begun anew, its chunks staying known; one that was sealed is answered as it is, even with other
/// parameters, since only its content can say whether it is the same. The id of a removed session is
/// refused.
pub fn create_session(
    vault: &Vault,
    locks: &SessionLocks,
    request: NewSession,
) -> Result<Created, OpError> {
    request.id.as_ref().map_or(Ok(()), refuse_reserved)?;
    create_own(vault, locks, request)
}

/// The same for a session that the service keeps itself.
pub(in crate::ops) fn create_own(
    vault: &Vault,
    locks: &SessionLocks,
    request: NewSession,
) -> Result<Created, OpError> {
    check_described(&request.user, &request.metadata)?;
    check_origin(request.source.as_ref(), request.terminal)?;
    if let Some(id) = request.id.as_ref().filter(|id| [".", ".."].contains(&id.as_str())) {
        return Err(OpError::Invalid(format!(
            "{id:?} is no id of a session: clients take it out of an address before they send it"
        )));
    }
    let id = match request.id.clone() {
        Some(id) => id,
        None => unused_id(vault, request.started_at)?,
    };
    let held = locks.hold(&id);
    let created = look_again(|| begin(vault, &id, &request))?;
    drop(held);
    match (&created, request.retain_until) {
        (Created::Began(_), _) => locks.forget_clock(&id),
        // Who says the same once more may have been cut off in between.
        (Created::Existed(_), Some(until)) => retain_at_least(vault, locks, &id, until)?,
        (Created::Existed(_), None) => {}
    }
    Ok(created)
}

fn begin(vault: &Vault, id: &SessionId, request: &NewSession) -> Result<Created, OpError> {
    let look = vault.look();
    let name = SessionName::of(vault.cipher(), id);
    let existing = match find_session(&look, vault.cipher(), id) {
        Ok(existing) if !request.sight.sees(&existing) => return Err(taken(id)),
        Ok(existing) => Some(existing),
        Err(OpError::NoSession(_)) => None,
        Err(OpError::Removed(_)) if !request.sight.sees_removed(id) => return Err(taken(id)),
        Err(error) => return Err(error),
    };
    if let Some(existing) = existing {
        let interrupted = existing.one_shot && existing.sealed.is_none();
        if interrupted && (existing.anchored.is_some() || look.get(&name.manifest_key())?.is_some())
        {
            return Err(OpError::Conflict(
                Clash::Lost,
                format!(
                    "session {id} was sealed, and its manifest cannot be read: put the log back from a copy \
                 and reindex, or choose another id"
                ),
            ));
        }
        if request.one_shot && interrupted {
            refuse_unread_seal(vault, id)?;
        }
        let answerable =
            same(&existing, request) || (request.one_shot && existing.sealed.is_some());
        match request.one_shot && interrupted {
            true => refuse_held(&look, vault.cipher(), &name, id)?,
            false if answerable => return Ok(Created::Existed(existing)),
            false => {
                return Err(OpError::Conflict(
                    Clash::Exists,
                    format!(
                        "session {id} exists, and {}: say the same, or choose another id",
                        differences(&existing, request).join(", and ")
                    ),
                ));
            }
        }
    }
    let secret = if request.public { None } else { Some(SessionSecret::new(random()?)) };
    let fact = Fact::Started(Started {
        session: id.clone(),
        user: request.user.clone(),
        layout: request.layout,
        secret,
        profile: request.profile,
        started_at: request.started_at,
        metadata: request.metadata.clone(),
        one_shot: request.one_shot,
        owner: match request.own_copies {
            true => Owner::new(vault.cipher().index_name(format!("copies of {id}").as_bytes())),
            false => Owner::SHARED,
        },
        begun_by: request.sight.caller().map(str::to_owned),
        source: request.source.clone(),
        terminal: request.terminal,
    });
    let retained = request.retain_until.map(|until| {
        let session = id.clone();
        Fact::Retained(Retained { session, until })
    });
    let facts = fact_records(vault, [fact].into_iter().chain(retained))?;
    let rests_on = look.seen();
    let purpose = purpose_of(id);
    vault.commit(Submission { facts, rests_on, purpose, ..Submission::default() })?;
    get_session(vault, id).map(Created::Began)
}

/// What a caller is told that does not see a session.
fn taken(id: &SessionId) -> OpError {
    OpError::Conflict(Clash::Exists, format!("{id} is taken: choose another id"))
}

/// Refuses to begin an archive anew that may have been sealed, in a place of the log that cannot be read.
/// Every time the log is read for that: a start only names the damage that it has just met.
fn refuse_unread_seal(vault: &Vault, id: &SessionId) -> Result<(), OpError> {
    let mut suspect = None;
    let mut visit = |fact: Result<&[u8], Damage>| {
        match fact.map(Fact::decode) {
            // What lies in front of its beginning is no seal of it.
            Ok(Ok(Fact::Started(fact))) if fact.session == *id => suspect = None,
            Ok(_) => {}
            Err(damage) => suspect = suspect.take().or(Some(damage)),
        }
        Ok(())
    };
    vault.facts_around_damage(&mut visit, &mut |_, _| true)?;
    match suspect {
        None => Ok(()),
        Some(damage) => Err(OpError::Conflict(
            Clash::Lost,
            format!(
                "session {id} may have been sealed, where the log cannot be read ({damage}): put the log back \
             from a copy and reindex, or choose another id"
            ),
        )),
    }
}

/// What a manifest can say of a session: whose it is, and what is kept with it.
pub fn check_described(user: &str, metadata: &BTreeMap<String, String>) -> Result<(), OpError> {
    if user.len() > USER_ID_BYTES_MAX {
        return Err(OpError::Invalid(format!("a user id has at most {USER_ID_BYTES_MAX} bytes")));
    }
    check_metadata(metadata)
}

/// What a manifest can say of where a session comes from.
pub fn check_origin(source: Option<&Source>, terminal: Option<Terminal>) -> Result<(), OpError> {
    let of = |what: &str, (member, rule): (&str, &str)| {
        OpError::Invalid(format!("{what}.{member} of the session cannot be kept: {rule}"))
    };
    if let Some(fault) = source.and_then(Source::fault) {
        return Err(of("source", fault));
    }
    terminal
        .and_then(|terminal| terminal.fault())
        .map_or(Ok(()), |fault| Err(of("terminal", fault)))
}

/// What a manifest can hold.
pub fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), OpError> {
    if metadata.len() > METADATA_ENTRIES_MAX {
        return Err(OpError::Invalid(format!(
            "metadata has at most {METADATA_ENTRIES_MAX} entries"
        )));
    }
    match metadata.iter().find(|(key, value)| key.len() + value.len() > METADATA_ENTRY_BYTES_MAX) {
        Some((key, _)) => Err(OpError::Invalid(format!(
            "metadata {key:?} is over {METADATA_ENTRY_BYTES_MAX} bytes"
        ))),
        None => Ok(()),
    }
}

fn same(existing: &SessionRow, request: &NewSession) -> bool {
    existing.one_shot == request.one_shot
        && existing.user == request.user
        && existing.layout == request.layout
        && existing.secret.is_none() == request.public
        && existing.profile == request.profile
        && same_metadata(existing, &request.metadata)
        && same_tags(existing, request)
}

/// What of a session is not as it is asked for, each in a few words; what [`same`] compares.
fn differences(existing: &SessionRow, request: &NewSession) -> Vec<String> {
    let mut differ = Vec::new();
    let mut hold = |is_same: bool, sentence: String| {
        if !is_same {
            differ.push(sentence);
        }
    };
    let user = format!("its user is {:?}, not {:?}", existing.user, request.user);
    hold(existing.user == request.user, user);
    let layout = |layout| if layout == Layout::Tree { "a folder" } else { "a recording" };
    let kind = format!("it is {}, not {}", layout(existing.layout), layout(request.layout));
    hold(existing.layout == request.layout, kind);
    let way = |one_shot| if one_shot { "was archived in one go" } else { "is open for more" };
    hold(
        existing.one_shot == request.one_shot,
        format!("it {}, and this one {}", way(existing.one_shot), way(request.one_shot)),
    );
    let is_public = existing.secret.is_none();
    let salted = |is_public| if is_public { "public" } else { "not public" };
    let root = format!("its root is {}, not {}", salted(is_public), salted(request.public));
    hold(is_public == request.public, root);
    hold(existing.profile == request.profile, "it is cut in another way".to_owned());
    if !same_metadata(existing, &request.metadata) {
        let keys: BTreeSet<&String> =
            existing.metadata.keys().chain(request.metadata.keys()).collect();
        let shown = |value: Option<&String>| value.map_or("nothing".into(), |v| format!("{v:?}"));
        for key in keys {
            let (has, wanted) = (existing.metadata.get(key), request.metadata.get(key));
            // Sealing adds to it.
            let is_same = has == wanted || (existing.sealed.is_some() && wanted.is_none());
            let sentence = format!("its metadata {key} is {}, not {}", shown(has), shown(wanted));
            hold(is_same, sentence);
        }
    }
    if !same_tags(existing, request) {
        let (has, wanted) = (tags(existing.source.as_ref()), tags(request.source.as_ref()));
        hold(false, format!("its tags are {has:?}, not {wanted:?}"));
    }
    differ
}

fn tags(source: Option<&Source>) -> &[String] {
    source.map_or(&[], |source| source.tags.as_slice())
}

/// Tags are what its recorder sorts a session by, so others make it another one. Its host and its paths do not: a
/// recording goes on as the same one where its machine is called otherwise since, or works in another folder.
fn same_tags(existing: &SessionRow, request: &NewSession) -> bool {
    tags(existing.source.as_ref()) == tags(request.source.as_ref())
}

/// Sealing may have added to what a session began with.
fn same_metadata(existing: &SessionRow, wanted: &BTreeMap<String, String>) -> bool {
    let kept = |(key, value): (&String, &String)| existing.metadata.get(key) == Some(value);
    wanted.iter().all(kept)
        && (existing.sealed.is_some() || existing.metadata.len() == wanted.len())
}
