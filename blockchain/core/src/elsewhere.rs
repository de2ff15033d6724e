//! Anchored elsewhere: what an engine that keeps no chain of ours says of a session's root.
//!
//! A data-chain keeps the words of such an engine, `lucid show` and the bundles of the session tell them, and
//! [`crate::check`] says what they are worth. There is no way from a root into that engine's blocks that could be
//! followed here, so nothing of this is ever believed: it is kept because the engine can be asked again.
//!
//! The sentences are made here, so that the service, the command line and the checker say the same.

use crate::session::{SessionId, session_key};
use crate::wire::{Reader, WireFault, Writer};

/// The longest address of an engine, in bytes.
pub const ENGINE_BYTES_MAX: usize = 2_048;
/// The longest of its other words, in bytes.
pub const WORD_BYTES_MAX: usize = 256;

/// What the words of an engine do not prove.
pub const NOT_PROVED: &str = "that the root is in a block is the word of this engine alone: nothing here checks it, \
                              and it does not show when the session existed";

/// What an engine says: its own words, as it sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The engine's address, without a password.
    pub engine: String,
    /// What the engine calls the session.
    pub session: String,
    /// How far it says that the anchoring is.
    pub status: String,
    /// The transaction that it names.
    pub transaction: Option<String>,
    /// The height that it names.
    pub height: Option<u64>,
    /// When it says that it was confirmed.
    pub confirmed_at: Option<String>,
}

impl Elsewhere {
    /// What the engine says, as one clause.
    pub fn said(&self) -> String {
        let mut said = format!("{} says that its anchoring is {}", self.engine, self.status);
        if let Some(transaction) = &self.transaction {
            said.push_str(&format!(", in transaction {transaction}"));
        }
        if let Some(height) = self.height {
            said.push_str(&format!(", at height {height}"));
        }
        if let Some(time) = &self.confirmed_at {
            said.push_str(&format!(", since {time}"));
        }
        said
    }

    /// Whether every word is there that has to be, and none is longer than a reader takes.
    pub fn is_sound(&self) -> bool {
        let fits = |word: &str, most| (1..=most).contains(&word.len());
        let options = self.transaction.iter().chain(&self.confirmed_at);
        fits(&self.engine, ENGINE_BYTES_MAX)
            && [&self.session, &self.status]
                .into_iter()
                .chain(options)
                .all(|word| fits(word, WORD_BYTES_MAX))
    }

    /// The bytes as they stand in a bundle, and in a store.
    pub fn write(&self, to: &mut Writer) {
        to.text(&self.engine).text(&self.session).text(&self.status);
        to.option(self.transaction.as_ref(), |to, transaction| {
            to.text(transaction);
        });
        to.option(self.height, |to, height| {
            to.u64(height);
        });
        to.option(self.confirmed_at.as_ref(), |to, time| {
            to.text(time);
        });
    }

    /// Reads [`Elsewhere::write`].
    pub fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let what = "an engine's words";
        let read = Self {
            engine: from.text(what)?.to_owned(),
            session: from.text(what)?.to_owned(),
            status: from.text(what)?.to_owned(),
            transaction: from.option(what, |from| from.text(what).map(str::to_owned))?,
            height: from.option(what, |from| from.u64(what))?,
            confirmed_at: from.option(what, |from| from.text(what).map(str::to_owned))?,
        };
        if read.is_sound() { Ok(read) } else { Err(WireFault::Invalid { what }) }
    }
}

/// What a session is called where every session has a UUID for a name: by its own id, if that is one in its usual
/// spelling, and otherwise by a UUID of version 8 that is made of the id's hash. So the same session has the same
/// name there however often it is submitted.
pub fn session_uuid(session: &SessionId) -> String {
    if is_uuid(session.as_str()) {
        return session.as_str().to_owned();
    }
    let key = session_key(session);
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(key.as_bytes()) {
        *to = *from;
    }
    // The bits that say which version and variant it is.
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = (*version & 0x0f) | 0x80;
    *variant = (*variant & 0x3f) | 0x80;
    let mut name = hex::encode(bytes);
    for at in DASHES {
        name.insert(at, '-');
    }
    name
}

/// Where a UUID has dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];

fn is_uuid(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match DASHES.contains(&at) {
        true => byte == b'-',
        false => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn words() -> Elsewhere {
        Elsewhere {
            engine: "http://engine:8084".into(),
            session: "e1".into(),
            status: "confirmed".into(),
            transaction: Some("tx-1".into()),
            height: Some(7),
            confirmed_at: Some("2026-03-01T13:00:01".into()),
        }
    }

    fn bytes(words: &Elsewhere) -> Vec<u8> {
        let mut to = Writer::new();
        words.write(&mut to);
        to.finish()
    }

    #[test]
    fn words_read_back_and_neither_cut_nor_empty_nor_endless_ones_do() {
        let none = Elsewhere { transaction: None, height: None, confirmed_at: None, ..words() };
        for words in [words(), none] {
            let bytes = bytes(&words);
            assert_eq!(Elsewhere::read(&mut Reader::new(&bytes)), Ok(words));
            for cut in 0..bytes.len() {
                assert!(Elsewhere::read(&mut Reader::new(&bytes[..cut])).is_err(), "{cut}");
            }
        }
        let long = || "x".repeat(WORD_BYTES_MAX + 1);
        for wrong in [
            Elsewhere { engine: String::new(), ..words() },
            Elsewhere { engine: "x".repeat(ENGINE_BYTES_MAX + 1), ..words() },
            Elsewhere { status: String::new(), ..words() },
            Elsewhere { session: long(), ..words() },
            Elsewhere { transaction: Some(long()), ..words() },
            Elsewhere { confirmed_at: Some(String::new()), ..words() },
        ] {
            assert!(!wrong.is_sound(), "{wrong:?}");
            assert!(Elsewhere::read(&mut Reader::new(&bytes(&wrong))).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_engine_is_quoted_with_what_it_said_and_no_more() {
        assert_eq!(
            words().said(),
            "http://engine:8084 says that its anchoring is confirmed, in transaction tx-1, at height 7, since \
             2026-03-01T13:00:01"
        );
        let none = Elsewhere { transaction: None, height: None, confirmed_at: None, ..words() };
        assert_eq!(none.said(), "http://engine:8084 says that its anchoring is confirmed");
    }

    #[test]
    fn every_session_has_one_uuid() {
        let named = |id: &str| session_uuid(&id.parse().unwrap());
        let own = "018f3b2c-9d4e-7abc-8def-0123456789ab";
        assert_eq!(named(own), own);
        // Frozen: an engine knows sessions by these.
        let made = named("demo");
        assert_eq!(made, "81171764-8744-8f4f-9865-6c5f4a833b7b");
        let others = [
            "Demo",
            "018F3B2C-9d4e-7abc-8def-0123456789ab",
            "018f3b2c9d4e7abc8def0123456789ab",
            "018f3b2c-9d4e-7abc-8def-0123456789ab0",
            "018f3b2c.9d4e-7abc-8def-0123456789ab",
        ];
        for other in others {
            let name = named(other);
            assert!(is_uuid(&name) && name != made && name != other, "{other}: {name}");
            assert_eq!((&name[14..15], "89ab".contains(&name[19..20])), ("8", true), "{name}");
        }
    }
}
