//! Sessions behind a server: the client cuts and hashes, asks what is missing, sends only what is new.

mod audit;
mod mirror;
mod patience;
mod query;
mod read;
mod remove;
mod sink;
mod source;
mod upkeep;
mod verify;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context as _;
use lucid_api::address::Address;
use lucid_api::client::{ClientError, ClientOptions, DataChainClient, Refused, Retry};
use lucid_api::problem::{Documented, ErrorCode};
use lucid_api::v1::maintenance::{Progress, ProgressState};
use lucid_api::v1::sessions::{CreateSession, Layout as WireLayout, Session};
use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::ops::sessions::create_session::NewSession;
use lucid_data_chain::ops::sessions::fresh_id::fresh_id;
use lucid_data_chain::reply::source::{session_source, terminal};
use lucid_store::threads;
use parking_lot::Mutex;

use self::patience::Patience;
use super::Place;
use super::beside::Succession;
use crate::output::Output;

/// How often a server is asked how far its work is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Ids of ours that are tried, each of which may be taken.
const IDS_TRIED: usize = 4;
/// References asked for at once.
const MANIFEST_PAGE: u32 = 1_000;

/// A data-chain behind HTTP.
pub struct Remote {
    client: DataChainClient,
    /// How fast content may be sent, in KiB a second.
    upload_pace: Option<u32>,
    /// Of those who cannot come again.
    patience: Option<Patience>,
    /// What the server said of sessions that were begun here, for credentials that may not ask again.
    begun: Mutex<BTreeMap<String, Session>>,
    /// Goes on where the owner of a folder ends, if that is who is asked.
    succession: Option<Arc<Succession>>,
}

impl Remote {
    /// Names the server; it is spoken to with the first call.
    pub fn connect(url: &Address, options: ClientOptions) -> anyhow::Result<Self> {
        Self::with(url, options, None)
    }

    /// Names the server like [`Self::connect`], for a caller that looks again by itself and has other work to do
    /// meanwhile.
    pub fn connect_briefly(url: &Address, options: ClientOptions) -> anyhow::Result<Self> {
        let retry = Retry { count: 1, delay: Duration::from_millis(200) };
        Self::with(url, ClientOptions { retry, ..options }, None)
    }

    /// Names the server like [`Self::connect`], for content that cannot be sent again: see [`patience`]. With
    /// `from_start` the server need not be there yet.
    pub fn connect_patiently(
        url: &Address,
        options: ClientOptions,
        output: &Output,
        from_start: bool,
    ) -> anyhow::Result<Self> {
        let patience = Patience::new(output, url, from_start);
        Self::with(url, Patience::options(options), Some(patience))
    }

    /// Reads by the door of a folder that this verb opens itself if its owner ends.
    pub(super) fn succeeding(self, succession: Arc<Succession>) -> Self {
        Self { succession: Some(succession), ..self }
    }

    fn with(
        url: &Address,
        options: ClientOptions,
        patience: Option<Patience>,
    ) -> anyhow::Result<Self> {
        let upload_pace = options.pace.upload;
        let client = DataChainClient::new(url.expose(), options).with_context(|| {
            format!("{url:?} names no server: write it like http://127.0.0.1:8087")
        })?;
        Ok(Self { client, upload_pace, patience, begun: Mutex::default(), succession: None })
    }

    /// Makes a call that may be made again.
    fn call<T>(&self, mut call: impl FnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
        match &self.patience {
            Some(patience) => patience.wait_out(call),
            None => call(),
        }
    }

    fn create(&self, new: &NewSession) -> anyhow::Result<Session> {
        if let Some(id) = &new.id {
            return self.create_as(id, new);
        }
        // With an id of ours the call may be made again, and makes one session. Where another caller made the same
        // id, the session is not ours: it began at another time, or otherwise.
        for _ in 0..IDS_TRIED {
            match self.create_as(&fresh_id(new.started_at)?, new) {
                Ok(session) if session.started_at != new.started_at.to_string() => {}
                Err(error) if is_taken(&error) => {}
                created => return created,
            }
        }
        anyhow::bail!("no id was found that is not taken: try again")
    }

    fn create_as(&self, id: &SessionId, new: &NewSession) -> anyhow::Result<Session> {
        let request = CreateSession {
            session_id: Some(id.to_string()),
            user_id: Some(new.user.clone()).filter(|user| !user.is_empty()),
            metadata: new.metadata.clone(),
            started_at: Some(new.started_at.to_string()),
            layout: match new.layout {
                Layout::Raw => WireLayout::Raw,
                Layout::Tree => WireLayout::Tree,
            },
            public: new.public,
            one_shot: new.one_shot,
            cutting: Some(lucid_data_chain::reply::cutting(&new.profile)),
            retain_until: new.retain_until.map(|until| until.to_string()),
            source: new.source.as_ref().map(session_source),
            terminal: new.terminal.map(terminal),
        };
        let session = self.call(|| self.client.create_session(&request))?;
        self.begun.lock().insert(session.session_id.clone(), session.clone());
        Ok(session)
    }

    /// A session, as the server says; where it may not be asked, what it said when the session was begun here, and
    /// since.
    fn look(&self, id: &SessionId) -> Result<Session, ClientError> {
        match self.call(|| self.client.session(id.as_str())) {
            Err(error) if is_forbidden(&error) => {
                let begun = self.begun.lock().get(id.as_str()).cloned();
                let Some(session) = begun else { return Err(error) };
                if session.merkle_root.is_some() {
                    return Ok(session);
                }
                let offset = self.call(|| self.client.upload_offset(id.as_str()))?;
                Ok(Session { offset, content_bytes: offset, ..session })
            }
            looked => looked,
        }
    }

    /// Notes what the server says of a session, for [`Self::look`].
    fn note(&self, id: &SessionId, change: impl FnOnce(&mut Session)) {
        self.begun.lock().get_mut(id.as_str()).map(change);
    }
}

/// Whether a call was refused because of the credentials that were shown.
fn is_forbidden(error: &ClientError) -> bool {
    error.code() == Some(ErrorCode::Forbidden)
}

/// Whether a session of this id is there, and is another one.
fn is_taken(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<ClientError>().and_then(ClientError::code);
    matches!(code, Some(ErrorCode::Exists | ErrorCode::Gone))
}

/// Whether something failed because of the credentials that were shown.
pub fn is_not_allowed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ClientError>().is_some_and(is_forbidden)
}

/// The documented code of a server that could not read what it was asked for.
const UNREAD: &str = Documented::READ_FAILED.as_str();

/// Whether a failure is the server's, and not of what it was asked: it may be there again soon, and
/// would say the same of anything else now.
pub fn is_away(error: &anyhow::Error) -> bool {
    let of_one = |refused: &Refused| {
        refused.code == Some(ErrorCode::Internal) || refused.documented == UNREAD
    };
    error
        .downcast_ref::<ClientError>()
        .is_some_and(|error| error.is_passing() && !error.refused().is_some_and(of_one))
}

/// Asks for long work, and looks from time to time how far it is.
fn watched<T: Send>(
    ask: impl FnOnce() -> anyhow::Result<T> + Send,
    look: impl Fn() -> Result<Progress, ClientError>,
    progress: &(dyn Fn(&str, u64, u64) + Sync),
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let (working, ended) = channel::<()>();
        let work = threads::start_scoped(scope, "asking", move || {
            let _working = working;
            ask()
        })?;
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PROGRESS_INTERVAL) {
            // A look that fails is made again; the work itself says what went wrong.
            if let Ok(at) = look()
                && at.state == ProgressState::Running
            {
                progress(&at.stage, at.done, at.total);
            }
        }
        match work.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl Place for Remote {
    fn store(&self) -> anyhow::Result<Option<String>> {
        let status = match self.call(|| self.client.status()) {
            Err(error) if is_forbidden(&error) => return Ok(None),
            status => status?,
        };
        let store = status.counts.get("store_id").and_then(|id| id.as_str());
        Ok(store.map(str::to_owned))
    }

    fn damage(&self) -> Vec<String> {
        Vec::new()
    }

    fn loss(&self) -> Option<String> {
        None
    }

    fn only_read(&self) -> Option<&lucid_store::files::folder::OnlyRead> {
        None
    }

    fn note(&self, _: lucid_store::files::folder::Noted, _: bool, _: &str) -> anyhow::Result<()> {
        Ok(())
    }

    fn own_folder(&self) -> Option<std::path::PathBuf> {
        None
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        match &self.succession {
            Some(succession) => succession.end(),
            None => Ok(()),
        }
    }
}
