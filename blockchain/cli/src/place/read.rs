//! What a place promises to who reads it: its sessions, their content, and proofs of it.

use lucid_api::v1::find::FindLine;
use lucid_api::v1::list::LIMIT_MAX;
use lucid_api::v1::sessions::Session;
use lucid_api::v1::usage::{UsageBy, UsageLine};
use lucid_core::digest::ChunkId;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::ops::sessions::find_files::FindFiles;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::source::SessionSource;

/// A chunk of a session, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkAt {
    /// Its place in the session.
    pub index: u64,
    /// Its first byte there; unknown while it waits for others in front of it.
    pub offset: Option<u64>,
    /// How long it is.
    pub length: u64,
    /// What it is.
    pub id: ChunkId,
    /// Bytes that it takes in the store.
    pub stored_bytes: u64,
    /// Whether it is encrypted there.
    pub encrypted: bool,
    /// The unit that holds it, and where in it. A server does not tell.
    pub place: Option<(u32, u64)>,
}

/// Reads sessions.
pub trait ReadSessions: Sync {
    /// A session.
    fn session(&self, id: &SessionId) -> anyhow::Result<Session>;

    /// Sessions, the newest first, each given to `visit` until that has seen enough. So many are asked for at once.
    fn sessions_until(
        &self,
        filter: &SessionFilter,
        at_once: usize,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()>;

    /// All sessions, the newest first, each given to `visit`.
    fn sessions(
        &self,
        filter: &SessionFilter,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.sessions_until(filter, LIMIT_MAX as usize, &mut |session| {
            visit(session).map(|()| true)
        })
    }

    /// Looks for files in archived folders, and gives what becomes known to `visit`, at once.
    fn find_files(
        &self,
        wanted: &FindFiles,
        visit: &mut dyn FnMut(FindLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Reads a session.
    fn source<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn SessionSource + 'a>>;

    /// Hands over a session's bytes from one on, as they come, until it is sealed. Says whether it is: in a folder of
    /// this process nothing comes.
    fn follow(
        &self,
        id: &SessionId,
        from: u64,
        take: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool>;

    /// The chunks of a session in order, each given to `visit`.
    fn chunks(
        &self,
        id: &SessionId,
        visit: &mut dyn FnMut(ChunkAt) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Says what sessions take, all or those that are named: each group is given to `visit`, and in the end all of them
    /// together.
    fn usage(
        &self,
        by: UsageBy,
        sessions: &[SessionId],
        visit: &mut dyn FnMut(UsageLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Makes a proof bundle.
    fn prove(&self, id: &SessionId, wanted: &WantedProof) -> anyhow::Result<Vec<u8>>;
}
