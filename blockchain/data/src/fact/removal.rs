//! The facts about the end of sessions: held, released, kept until a time, removed.

use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_core::wire::{Reader, WireFault, Writer};
use lucid_store::registry::data_chain::fact::{HELD, RELEASED, REMOVED, RETAINED};

/// A session was removed; its tombstone stands in its place. An archive that was interrupted long ago
/// leaves none: nobody was promised anything, and its id may be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The session.
    pub session: SessionId,
    /// The text of the transaction that says so, built once.
    pub tombstone: Option<String>,
}

/// A session must not be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The session.
    pub session: SessionId,
    /// Why; may be empty.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// A session may be removed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The session.
    pub session: SessionId,
}

/// A session is not removed before a time. Of several the latest counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// The session.
    pub session: SessionId,
    /// From when on it may be removed.
    pub until: Timestamp,
}

impl Retained {
    pub(super) fn encode(&self, to: &mut Writer) {
        to.u8(RETAINED).text(self.session.as_str()).i64(self.until.as_micros());
    }

    pub(super) fn decode(session: SessionId, from: &mut Reader<'_>) -> Result<Self, WireFault> {
        Ok(Self { session, until: from.time("a time")? })
    }
}

impl Removed {
    pub(super) fn encode(&self, to: &mut Writer) {
        to.u8(REMOVED).text(self.session.as_str());
        to.option(self.tombstone.as_ref(), |to, text| {
            to.text(text);
        });
    }

    pub(super) fn decode(session: SessionId, from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let tombstone = from.option("a tombstone", |from| from.text("a tombstone"))?;
        Ok(Self { session, tombstone: tombstone.map(str::to_owned) })
    }
}

impl Held {
    pub(super) fn encode(&self, to: &mut Writer) {
        to.u8(HELD).text(self.session.as_str()).text(&self.reason).i64(self.since.as_micros());
    }

    pub(super) fn decode(session: SessionId, from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let reason = from.text("a reason")?.to_owned();
        Ok(Self { session, reason, since: from.time("a time")? })
    }
}

impl Released {
    pub(super) fn encode(&self, to: &mut Writer) {
        to.u8(RELEASED).text(self.session.as_str());
    }
}
