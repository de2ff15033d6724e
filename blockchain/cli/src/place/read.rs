//! What a place promises to who reads it: its sessions, their content, and proofs of it.

use lucid_api::v1::find::FindLine;
use lucid_api::v1::sessions::Session;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::proofs::prove_session::WantedProof;
use lucid_data_chain::ops::sessions::find_files::FindFiles;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::source::SessionSource;

/// Reads sessions.
pub trait ReadSessions: Sync {
    /// A session.
    fn session(&self, id: &SessionId) -> anyhow::Result<Session>;

    /// Sessions, the newest first, each given to `visit`.
    fn sessions(
        &self,
        filter: &SessionFilter,
        visit: &mut dyn FnMut(Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Looks for files in archived folders, and gives what becomes known to `visit`, at once.
    fn find_files(
        &self,
        wanted: &FindFiles,
        visit: &mut dyn FnMut(FindLine) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;

    /// Reads a session.
    fn source<'a>(&'a self, id: &SessionId) -> anyhow::Result<Box<dyn SessionSource + 'a>>;

    /// Makes a proof bundle.
    fn prove(&self, id: &SessionId, wanted: &WantedProof) -> anyhow::Result<Vec<u8>>;
}
