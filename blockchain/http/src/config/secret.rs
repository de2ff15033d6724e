//! A value that is never written out.

use std::fmt;

use lucid_api::address::STRUCK_OUT;
use zeroize::Zeroizing;

/// A secret text. Shows itself only when asked by name, and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// In a time that does not depend on where they differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STRUCK_OUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_wiped_when_dropped_and_shows_itself_only_when_asked_by_name() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let secret = Secret::new("x".into());
        let Secret(inner) = &secret;
        is_wiped(inner);
        assert_eq!((format!("{secret:?}").as_str(), secret.expose()), ("***", "x"));
    }
}
