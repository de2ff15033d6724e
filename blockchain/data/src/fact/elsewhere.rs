//! That an engine which keeps no chain of ours has a session's anchor.

use lucid_core::elsewhere::Elsewhere;
use lucid_core::session::SessionId;
use lucid_core::wire::{Reader, WireFault, Writer};

/// What such an engine says. Each such fact of a session takes the place of the one before; an
/// [`Anchored`](super::Anchored) beside it says more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchoredElsewhere {
    /// The session.
    pub session: SessionId,
    /// The engine's words.
    pub words: Elsewhere,
}

impl AnchoredElsewhere {
    pub(super) fn read(session: SessionId, from: &mut Reader<'_>) -> Result<Self, WireFault> {
        Ok(Self { session, words: Elsewhere::read(from)? })
    }

    pub(super) fn write(&self, to: &mut Writer) {
        self.words.write(to);
    }
}
