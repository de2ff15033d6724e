//! A session's name, its secret, and its leaves: what the session tree commits to.
//!
//! Ingest makes a [`Leaf`] for every chunk, hands its hash to [`crate::tree`], and [`crate::check`]
//! makes the same hash again from an opening in a proof.
//!
//! A leaf binds the session, the place in it, the length, the chunk and a salt. It binds nothing of
//! how the chunk is stored: re-keying, recompressing and moving never change a root.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::digest::{ChunkId, LeafHash, SessionKey};
use crate::limits::{CHUNK_BYTES_MAX, SESSION_ID_CHARS_MAX};
use crate::wire::{Reader, WireFault, Writer};

/// The kind of tree that a manifest and an anchor name.
pub const ALGORITHM: &str = "lucid-session-tree/v1";

/// The bytes that one leaf takes when it is opened in a proof.
pub const LEAF_BYTES: usize = 8 + 8 + 4 + 32 + 32;

/// What the names of sessions begin with that services keep themselves: the read log.
pub const RESERVED: &str = "lucid.";

/// A text that is no session's name, or no layout's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionFault {
    /// A session id with other characters, without any, or with too many.
    #[error("{given:?} is not a session id: 1 to 128 characters of A-Z a-z 0-9 . _ : - are wanted")]
    Id {
        /// The beginning of the text.
        given: String,
    },
    /// A layout that is not known.
    #[error("{given:?} is not a session's layout: raw or tree is wanted")]
    Layout {
        /// The beginning of the text.
        given: String,
    },
}

/// The beginning of a text, short enough to be shown.
fn shown(text: &str) -> String {
    text.chars().take(160).collect()
}

/// What a session is called: 1 to 128 characters of `A-Z a-z 0-9 . _ : -`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

impl SessionId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is one of those that services keep for sessions of their own.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED)
    }

    /// BLAKE3 of the name.
    pub fn key(&self) -> SessionKey {
        session_key(self)
    }
}

impl FromStr for SessionId {
    type Err = SessionFault;

    fn from_str(text: &str) -> Result<Self, SessionFault> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        if text.is_empty() || text.len() > SESSION_ID_CHARS_MAX || !text.bytes().all(allowed) {
            return Err(SessionFault::Id { given: shown(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.0)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// How a session's content is arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The bytes as they were given; a recording's appendix is its timeline.
    Raw,
    /// A folder: the bytes of its files in order; the appendix is the catalogue.
    Tree,
}

impl Layout {
    /// The layout's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Tree => "tree",
        }
    }
}

impl FromStr for Layout {
    type Err = SessionFault;

    fn from_str(text: &str) -> Result<Self, SessionFault> {
        match text {
            "raw" => Ok(Self::Raw),
            "tree" => Ok(Self::Tree),
            _ => Err(SessionFault::Layout { given: shown(text) }),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a leaf binds a session by: BLAKE3 of its name.
pub fn session_key(id: &SessionId) -> SessionKey {
    blake3::hash(id.as_str().as_bytes()).into()
}

/// The random secret that a session's salts come from. A reader who has it can guess what is in
/// leaves that they were not shown, so it is never printed, and wiped when dropped.
#[derive(Clone)]
pub struct SessionSecret(Zeroizing<[u8; 32]>);

impl SessionSecret {
    /// Wraps 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the encrypted session event that keeps them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(..)")
    }
}

/// What hides a leaf's content from those who see only its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt([u8; 32]);

impl Salt {
    /// The salt of a public session: nothing is hidden.
    pub const PUBLIC: Self = Self([0; 32]);

    /// Wraps bytes that came from a proof or a store.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The salt of one leaf: BLAKE3 of its index, keyed with the secret; zeros for a public session.
pub fn salt(secret: Option<&SessionSecret>, index: u64) -> Salt {
    secret.map_or(Salt::PUBLIC, |secret| {
        Salt(*blake3::keyed_hash(&secret.0, &index.to_le_bytes()).as_bytes())
    })
}

/// One chunk's place in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// Which chunk of the session it is, content and appendix counted through.
    pub index: u64,
    /// Where it begins, in bytes from the session's start.
    pub offset: u64,
    /// How long it is.
    pub length: u32,
    /// What it contains.
    pub chunk_id: ChunkId,
    /// What hides it.
    pub salt: Salt,
}

impl Leaf {
    /// BLAKE3 of `0x00`, session key, index, offset, length, chunk id and salt.
    pub fn hash(&self, session: &SessionKey) -> LeafHash {
        blake3::Hasher::new()
            .update(&[0])
            .update(session.as_bytes())
            .update(&self.index.to_le_bytes())
            .update(&self.offset.to_le_bytes())
            .update(&self.length.to_le_bytes())
            .update(self.chunk_id.as_bytes())
            .update(self.salt.as_bytes())
            .finalize()
            .into()
    }

    /// Where the chunk ends; it saturates, and no real session comes near.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }

    /// Appends the opening: every field in order, [`LEAF_BYTES`] in all.
    pub fn write(&self, to: &mut Writer) {
        to.u64(self.index)
            .u64(self.offset)
            .u32(self.length)
            .raw(self.chunk_id.as_bytes())
            .raw(self.salt.as_bytes());
    }

    /// Reads an opening. Empty chunks and chunks over the limit do not exist.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, WireFault> {
        let leaf = Self {
            index: from.u64("a leaf's index")?,
            offset: from.u64("a leaf's offset")?,
            length: from.u32("a leaf's length")?,
            chunk_id: ChunkId::new(from.array("a leaf's chunk id")?),
            salt: Salt(from.array("a leaf's salt")?),
        };
        let length_is_sound = (1..=CHUNK_BYTES_MAX).contains(&(leaf.length as usize));
        if !length_is_sound || leaf.offset.checked_add(u64::from(leaf.length)).is_none() {
            return Err(WireFault::Invalid { what: "a leaf's extent" });
        }
        Ok(leaf)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> SessionId {
        text.parse().unwrap()
    }

    fn leaf(salt: Salt) -> Leaf {
        let chunk_id = blake3::hash(b"hello").into();
        Leaf { index: 3, offset: 1_048_576, length: 5, chunk_id, salt }
    }

    #[test]
    fn only_the_documented_characters_name_a_session() {
        for right in ["a", "2024-05-01T10:00:00Z", "A.b_c:d-9", &"x".repeat(128)] {
            assert_eq!(id(right).as_str(), right);
        }
        for wrong in ["", " a", "a/b", "é", "a\n", "a+b", &"x".repeat(129)] {
            assert!(wrong.parse::<SessionId>().is_err(), "{wrong:?}");
        }
        assert!(serde_json::from_str::<SessionId>("\"a/b\"").is_err());
        assert_eq!(serde_json::to_string(&id("a")).unwrap(), "\"a\"");
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = SessionSecret::new([0xaa; 32]);
        assert_eq!(format!("{secret:?}"), "SessionSecret(..)");
    }

    // Frozen: `tests/vectors/session.txt` has the same numbers for other implementations.
    #[test]
    fn a_session_secret_is_wiped_when_dropped_and_never_shown() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let secret = SessionSecret::new([7; 32]);
        let SessionSecret(inner) = &secret;
        is_wiped(inner);
        assert_eq!(format!("{secret:?}"), "SessionSecret(..)");
    }

    #[test]
    fn session_keys_salts_and_leaves_are_frozen() {
        let vectors = include_str!("../tests/vectors/session.txt");
        let secret = SessionSecret::new([0x11; 32]);
        let session = id("session-1");
        let found = format!(
            "session_key {}\nsalt_0 {}\nsalt_1 {}\nleaf_public {}\nleaf_salted {}\n",
            session.key(),
            hex::encode(salt(Some(&secret), 0).as_bytes()),
            hex::encode(salt(Some(&secret), 1).as_bytes()),
            leaf(salt(None, 3)).hash(&session.key()),
            leaf(salt(Some(&secret), 3)).hash(&session.key()),
        );
        assert!(vectors.ends_with(&found), "{found}");
    }

    #[test]
    fn a_leaf_is_the_tree_s_leaf_over_its_fields_in_order() {
        use crate::tree::{Blake3Tree, TreeHash};
        let session = id("session-1").key();
        let mut entry = Writer::new();
        entry.raw(session.as_bytes());
        let mut opening = Writer::new();
        leaf(Salt::PUBLIC).write(&mut opening);
        let opening = opening.finish();
        assert_eq!(opening.len(), LEAF_BYTES);
        entry.raw(&opening);
        let tree_leaf = Blake3Tree::leaf(&entry.finish());
        assert_eq!(&tree_leaf, leaf(Salt::PUBLIC).hash(&session).as_bytes());
    }

    #[test]
    fn every_field_and_the_session_change_the_hash() {
        let session = id("a").key();
        let base = leaf(Salt::PUBLIC);
        let others = [
            Leaf { index: 4, ..base },
            Leaf { offset: 0, ..base },
            Leaf { length: 6, ..base },
            Leaf { chunk_id: ChunkId::ZERO, ..base },
            Leaf { salt: Salt::new([1; 32]), ..base },
        ];
        for other in others {
            assert_ne!(other.hash(&session), base.hash(&session), "{other:?}");
        }
        assert_ne!(base.hash(&id("b").key()), base.hash(&session));
    }

    proptest! {
        #[test]
        fn an_opening_reads_back_and_is_read_from_nothing_else(
            bytes in proptest::collection::vec(any::<u8>(), LEAF_BYTES),
            length in 0u32..20_000_000,
        ) {
            let mut bytes = bytes;
            bytes[16..20].copy_from_slice(&length.to_le_bytes());
            if let Ok(leaf) = Leaf::read(&mut Reader::new(&bytes)) {
                let mut w = Writer::new();
                leaf.write(&mut w);
                prop_assert_eq!(w.finish(), bytes.clone());
            }
            for cut in 0..bytes.len() {
                prop_assert!(Leaf::read(&mut Reader::new(&bytes[..cut])).is_err());
            }
        }
    }
}
