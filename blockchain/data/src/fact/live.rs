//! What a live recording adds to the log besides its bytes.

use lucid_core::session::SessionId;
use lucid_core::timeline::Mark;
use lucid_core::wire::{Reader, WireFault, Writer};

use super::read_number;

/// How much of a recording there was at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The session.
    pub session: SessionId,
    /// The mark.
    pub mark: Mark,
}

impl Marked {
    /// Everything behind the session's id.
    pub fn write(&self, to: &mut Writer) {
        to.i64(self.mark.micros).u64(self.mark.offset);
    }

    /// Reads [`Marked::write`].
    pub fn read(session: SessionId, from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let mark = Mark {
            micros: from.i64("a mark's time")?,
            offset: read_number(from, "a mark's offset")?,
        };
        Ok(Self { session, mark })
    }
}
