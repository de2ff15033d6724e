//! A value that is never written out.

use std::fmt;

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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STRUCK_OUT)
    }
}

/// What stands in a secret's place.
pub(super) const STRUCK_OUT: &str = "***";

/// Strikes user and password out of a URL; any other text stays as it is.
pub(super) fn without_credentials(text: &str) -> String {
    match text.split_once("://") {
        None => text.to_owned(),
        Some((scheme, rest)) => {
            let authority = rest.find('/').unwrap_or(rest.len());
            let host = rest.get(..authority).and_then(|authority| authority.rfind('@'));
            match host.and_then(|at| rest.get(at..)) {
                Some(from_host) => format!("{scheme}://{STRUCK_OUT}{from_host}"),
                None => text.to_owned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_struck_out() {
        assert_eq!(
            without_credentials("mongodb://u:p@ss@h:1/db?a=b@c"),
            "mongodb://***@h:1/db?a=b@c"
        );
        assert_eq!(without_credentials("http://h/a@b"), "http://h/a@b");
        assert_eq!(without_credentials("a@b"), "a@b");
        assert_eq!(format!("{:?}", Secret::new("x".into())), "***");
    }
}
