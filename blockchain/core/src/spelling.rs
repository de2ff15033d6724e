//! Types that are bytes with a name, so that one thing's bytes can never be handed over where another's are
//! meant: each is written in one way, and read from nothing else.
//!
//! [`crate::digest`] has those that are written in hex, [`crate::sign`] those in base64.

use std::fmt;

/// A way to write bytes as text: one text for some bytes, and one value for a text.
pub(crate) trait Spelling {
    /// What is said of a text that is none.
    type Fault;

    /// Writes bytes.
    fn write<const N: usize>(bytes: &[u8; N], to: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Reads exactly `N` bytes of a `noun`.
    fn read<const N: usize>(noun: &'static str, text: &str) -> Result<[u8; N], Self::Fault>;
}

/// Makes a type for each name: so many bytes, spelled so, and called so in faults.
macro_rules! spelled {
    ($spelling:ty, $fault:ty: $($(#[$doc:meta])* $name:ident[$size:literal] = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $size]);

        impl $name {
            /// Wraps bytes that are known to be this.
            pub const fn new(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// The bytes themselves.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                <$spelling as $crate::spelling::Spelling>::write(&self.0, f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = $fault;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                <$spelling as $crate::spelling::Spelling>::read($noun, text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

pub(crate) use spelled;
