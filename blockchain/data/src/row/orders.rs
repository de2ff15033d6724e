//! Where documents stand among others.
//!
//! In the order of time stand all documents of a kind, and once more those that share a facet (a type, a session,
//! a status, a user, an entry of the metadata): the key says which by a hash, and has the time in clear. The
//! sessions of this store stand in those orders, too, but for that of all sessions: they have one of their own.
//! Blocks also stand in the order of their indexes.

use lucid_core::manifest::Source;
use lucid_core::time::Timestamp;
use lucid_store::crypt::Cipher;
use lucid_store::registry::data_chain::key::{BY_INDEX, IN_ORDER, SESSIONS_IN_ORDER};

use super::documents::DocumentName;
use super::ordered;
use crate::document::{DocumentKind, Facets};

/// What documents that stand in one order share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facet<'a> {
    /// Nothing: all of a kind.
    All,
    /// Transactions of a type.
    Type(&'a str),
    /// Transactions about a session.
    Session(&'a str),
    /// Sessions of a status.
    Status(&'a str),
    /// Sessions of a user.
    User(&'a str),
    /// Sessions of which the same is said.
    Metadata(&'a str, &'a str),
    /// Sessions that come from a host.
    Host(&'a str),
    /// Sessions with a tag.
    Tag(&'a str),
    /// Sessions of a path.
    Path(&'a [u8]),
    /// Sessions of this store whose ids begin like this: [`beginnings`].
    Beginning(&'a str),
}

impl Facet<'_> {
    /// What stands in front of the time and the name in the keys of such an order.
    pub fn prefix(&self, cipher: &Cipher, kind: DocumentKind) -> Vec<u8> {
        let of_bytes = |code: u8, texts: &[&[u8]]| {
            let mut key = vec![IN_ORDER, kind.code(), code];
            if code > 0 {
                // With the length of the first, no two pairs are one text.
                let first = texts.first().map_or(0, |text| text.len() as u64);
                let all = [first.to_be_bytes().as_slice(), &texts.concat()].concat();
                key.extend_from_slice(&cipher.index_name(&all));
            }
            key
        };
        let of = |code: u8, text: &str| of_bytes(code, &[text.as_bytes()]);
        match self {
            Self::All => of_bytes(0, &[]),
            Self::Type(text) => of(1, text),
            Self::Session(text) => of(2, text),
            Self::Status(text) => of(3, text),
            Self::User(text) => of(4, text),
            Self::Metadata(name, value) => of_bytes(5, &[name.as_bytes(), value.as_bytes()]),
            Self::Host(text) => of(6, text),
            Self::Tag(text) => of(7, text),
            Self::Path(path) => of_bytes(8, &[path]),
            Self::Beginning(text) => of(9, text),
        }
    }
}

/// The facets of a document; `All` is not among them.
pub fn facets(of: &Facets) -> Vec<Facet<'_>> {
    match of {
        Facets::Block { .. } => Vec::new(),
        Facets::Transaction { tx_type, session_id } => {
            let tx_type = tx_type.as_deref().map(Facet::Type);
            tx_type.into_iter().chain(session_id.as_deref().map(Facet::Session)).collect()
        }
        Facets::Session { status, user_id, metadata, source, .. } => {
            let status = status.as_deref().map(Facet::Status);
            let user = user_id.as_deref().map(Facet::User);
            let said = metadata.iter().map(|(name, value)| Facet::Metadata(name, value));
            status.into_iter().chain(user).chain(said).chain(of_source(source.as_ref())).collect()
        }
    }
}

fn of_source(source: Option<&Source>) -> impl Iterator<Item = Facet<'_>> {
    source.into_iter().flat_map(|source| {
        let host = Some(source.host.as_str()).filter(|host| !host.is_empty()).map(Facet::Host);
        let tags = source.tags.iter().map(|tag| Facet::Tag(tag));
        host.into_iter().chain(tags).chain(source.paths.iter().map(|path| Facet::Path(path)))
    })
}

/// How long the beginnings of ids are by which sessions are looked for: what is asked for by a shorter one is asked
/// for by many, and one that is in between is looked for among those of the next shorter one.
const BEGINNING_LENGTHS: [usize; 3] = [4, 8, 16];

/// The shortest beginning of an id by which sessions are looked for.
pub const BEGINNING_MIN: usize = 4;

/// The beginnings of an id in whose orders its session stands. They are hashed like every facet, so an index tells of
/// ids no more than before: that two begin alike.
pub fn beginnings(id: &str) -> impl Iterator<Item = Facet<'_>> {
    BEGINNING_LENGTHS.iter().filter_map(|length| id.get(..*length)).map(Facet::Beginning)
}

/// The order in which all sessions stand whose ids begin like this.
pub fn narrowest_beginning(prefix: &str) -> Option<Facet<'_>> {
    beginnings(prefix).last()
}

/// The value of a session of this store where it stands among documents, whose own values are empty.
pub const KEPT: &[u8] = &[1];

/// Where a document stands among those it is listed with: its time, then its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    time: [u8; 8],
    name: [u8; 16],
}

impl Standing {
    /// Of a document of that time.
    pub fn of(at: Timestamp, name: &DocumentName) -> Self {
        Self { time: ordered(at), name: name.name }
    }

    /// The first that a document of that time can have.
    pub fn first(at: Timestamp) -> Self {
        Self { time: ordered(at), name: [0; 16] }
    }

    /// As bytes that sort like it.
    pub fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (time, name) = bytes.split_at_mut(8);
        time.copy_from_slice(&self.time);
        name.copy_from_slice(&self.name);
        bytes
    }

    /// Reads [`Self::bytes`].
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (time, name) = bytes.split_at_checked(8)?;
        Some(Self { time: time.try_into().ok()?, name: name.try_into().ok()? })
    }

    /// Behind the prefix of an order's key.
    pub fn in_key(key: &[u8]) -> Option<Self> {
        Self::read(key.get(key.len().checked_sub(24)?..)?)
    }

    /// The document that stands there.
    pub fn name(&self, kind: DocumentKind) -> DocumentName {
        DocumentName { kind, name: self.name }
    }
}

/// The key that puts a document into an order.
pub fn order_key(
    cipher: &Cipher,
    name: &DocumentName,
    facet: &Facet<'_>,
    at: Timestamp,
) -> Vec<u8> {
    let mut key = facet.prefix(cipher, name.kind);
    key.extend_from_slice(&Standing::of(at, name).bytes());
    key
}

/// The key of the block of an index; its value is the block's name.
pub fn by_index_key(index: u64) -> Vec<u8> {
    [[BY_INDEX].as_slice(), &index.to_be_bytes()].concat()
}

/// Behind all blocks in the order of their indexes.
pub fn by_index_end() -> Vec<u8> {
    vec![BY_INDEX + 1]
}

/// The index in such a key.
pub fn index_in(key: &[u8]) -> Option<u64> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes)
}

/// The block in such a row.
pub fn block_named(value: &[u8]) -> Option<DocumentName> {
    Some(DocumentName { kind: DocumentKind::Block, name: value.try_into().ok()? })
}

/// The value of [`sessions_in_order_key`] where sessions stand in the orders of their ids' beginnings, too. In an index
/// that a version before them made it is empty until it is made anew.
pub const WITH_BEGINNINGS: &[u8] = &[1];

/// The key of the mark that the sessions of this store stand in their orders: an index that an earlier version
/// made lacks it until it is made anew.
pub fn sessions_in_order_key() -> Vec<u8> {
    vec![SESSIONS_IN_ORDER]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_by_time_and_no_two_facets_share_an_order() {
        let cipher = Cipher::new(None);
        let name = DocumentName::of(&cipher, DocumentKind::Session, "s");
        let at = |micros| Standing::of(Timestamp::from_micros(micros), &name);
        assert!(at(-5).bytes() < at(-4).bytes() && at(-1).bytes() < at(0).bytes());
        assert_eq!(Standing::read(&at(5).bytes()), Some(at(5)));
        let facets = [
            Facet::All,
            Facet::Type("a"),
            Facet::Session("a"),
            Facet::Status("a"),
            Facet::User("a"),
            Facet::Metadata("a", ""),
            Facet::Metadata("", "a"),
            Facet::Metadata("ab", "c"),
            Facet::Metadata("a", "bc"),
            Facet::Host("a"),
            Facet::Tag("a"),
            Facet::Path(b"a"),
            Facet::Beginning("a"),
        ];
        let prefixes: std::collections::BTreeSet<Vec<u8>> =
            facets.iter().map(|facet| facet.prefix(&cipher, DocumentKind::Session)).collect();
        assert_eq!(prefixes.len(), facets.len());
    }
}
