//! What a place promises to who checks it: that what it holds is what was put in.

use lucid_core::session::SessionId;

/// What a verification found.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Findings {
    /// Sessions that were verified.
    pub sessions: u64,
    /// Blocks that were validated.
    pub blocks: u64,
    /// Records that were read.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong with files: each names file and offset.
    pub damage: Vec<String>,
    /// What is wrong with sessions.
    pub faults: Vec<String>,
    /// Files that do not belong there.
    pub unknown_files: Vec<String>,
    /// What was not checked, and why.
    pub not_checked: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.faults.is_empty()
    }

    /// Adds what was found besides.
    pub fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.blocks += other.blocks;
        self.records += other.records;
        self.bytes += other.bytes;
        self.damage.extend(other.damage);
        self.faults.extend(other.faults);
        self.unknown_files.extend(other.unknown_files);
        for what in other.not_checked {
            if !self.not_checked.contains(&what) {
                self.not_checked.push(what);
            }
        }
    }
}

/// Verifies sessions, and all that they rest on.
pub trait VerifySessions: Sync {
    /// Verifies one session. `progress` is told how many bytes are done.
    fn verify_session(
        &self,
        id: &SessionId,
        progress: &(dyn Fn(u64) + Sync),
    ) -> anyhow::Result<Findings>;

    /// Verifies everything there is. `progress` is told how many bytes of how many are done.
    fn verify_all(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> anyhow::Result<Findings>;
}
