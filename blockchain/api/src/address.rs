//! Addresses of services, which may have a user and a password in them.
//!
//! Code that takes an URL from a setting or a command line keeps it as an [`Address`]. Invariant: what
//! is shown of one, by `Display` or `Debug`, has no credentials in it; only code that makes a
//! connection asks for all of it, by name.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// What stands in a secret's place.
pub const STRUCK_OUT: &str = "***";

/// An URL as it was given, sound or not.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// All of it, for making a connection.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same without what surrounds it: blanks, and slashes at its end.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self(self.0.trim().trim_end_matches('/').to_owned())
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A service's address has neither; what stands there may be a token.
        let end = self.0.find(['?', '#']);
        let (text, has_more) = match end.and_then(|end| self.0.get(..end)) {
            // A question mark in a password ends nothing.
            Some(text) if !self.0.get(text.len()..).is_some_and(|rest| rest.contains('@')) => {
                (text, true)
            }
            _ => (self.0.as_str(), false),
        };
        // Without a scheme it is no URL, and may be half of one.
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), text),
        };
        match rest.rsplit_once('@') {
            Some((_, host)) => write!(f, "{scheme}{STRUCK_OUT}@{host}")?,
            None => write!(f, "{scheme}{rest}")?,
        }
        if has_more { write!(f, "?{STRUCK_OUT}") } else { Ok(()) }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Strikes user and password out of every URL in a text that need not be one; any other text stays as it
/// is.
pub fn without_credentials(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else { return text.to_owned() };
    // Behind a comma another may begin.
    let (one, others) = match rest.split_once(',').filter(|(_, others)| others.contains("://")) {
        Some((one, others)) => (one, Some(others)),
        None => (rest, None),
    };
    // A password may hold a slash where it should not, so what is shown begins behind the last one.
    let shown = match one.rsplit_once('@') {
        Some((_, host)) => format!("{before}://{STRUCK_OUT}@{host}"),
        None => format!("{before}://{one}"),
    };
    match others {
        Some(others) => format!("{shown},{}", without_credentials(others)),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_credentials_however_it_is_misspelled() {
        for (given, shown) in [
            ("http://h:1", "http://h:1"),
            ("http://u:secret@h:1/", "http://***@h:1/"),
            ("http://u:sec@ret@h", "http://***@h"),
            ("http://u:secret/secret@h", "http://***@h"),
            ("http://u:secret?secret@h", "http://***@h"),
            ("http://u:secret#secret@h/", "http://***@h/"),
            ("http://h/?token=secret", "http://h/?***"),
            ("u:secret@h:1", "***@h:1"),
            ("htp//u:secret@h:1", "***@h:1"),
            ("ftp://secret@h/path", "ftp://***@h/path"),
        ] {
            let address = Address::from(given);
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("\"{shown}\""));
            assert_eq!(address.expose(), given);
        }
    }

    #[test]
    fn credentials_are_struck_out_of_any_text() {
        assert_eq!(without_credentials("mongodb://u:p@ss@h:1/db?a=b"), "mongodb://***@h:1/db?a=b");
        assert_eq!(
            without_credentials("http://u:p@a,http://b,http://u:q@c"),
            "http://***@a,http://b,http://***@c"
        );
        assert_eq!(without_credentials("mongodb://u:p,q@h"), "mongodb://***@h");
        assert_eq!(without_credentials("a@b"), "a@b");
    }
}
