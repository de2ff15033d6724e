//! Lines on their way to a caller, as they are found: gathered while more come, and handed over before long.

use std::time::{Duration, Instant};

use super::content::BodySender;
use crate::ops::OpError;

/// The media type: JSON, a value a line.
pub(super) const LINES: &str = "application/x-ndjson";

/// Lines that are handed over together, while more are found.
const PIECE_BYTES: usize = 64 << 10;
/// So long a line waits for others, if more is looked at meanwhile.
const GATHER: Duration = Duration::from_millis(100);
/// So long nothing is said; then an empty line says that the search goes on.
const SILENCE: Duration = Duration::from_secs(5);

/// Lines that are not handed over yet.
pub(super) struct Lines<'a> {
    sender: &'a mut BodySender,
    gathered: Vec<u8>,
    /// When something was handed over.
    given: Instant,
}

impl<'a> Lines<'a> {
    /// None yet.
    pub(super) fn to(sender: &'a mut BodySender) -> Self {
        Self { sender, gathered: Vec::new(), given: Instant::now() }
    }

    /// Takes a line, which `write` puts behind the others, without its end.
    pub(super) fn add(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), OpError>,
    ) -> Result<(), OpError> {
        write(&mut self.gathered)?;
        self.gathered.push(b'\n');
        if self.gathered.len() < PIECE_BYTES { Ok(()) } else { self.give() }
    }

    /// Nothing was found for a while.
    pub(super) fn pause(&mut self) -> Result<(), OpError> {
        self.sender.check()?;
        let silent = self.given.elapsed();
        if silent >= SILENCE && self.gathered.is_empty() {
            self.gathered.push(b'\n');
        }
        if silent >= GATHER { self.give() } else { Ok(()) }
    }

    /// Hands over what there is.
    pub(super) fn give(&mut self) -> Result<(), OpError> {
        if !self.gathered.is_empty() {
            self.sender.give(&self.gathered)?;
            self.gathered.clear();
            self.given = Instant::now();
        }
        Ok(())
    }
}
