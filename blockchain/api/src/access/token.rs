//! A token, and the hash that is kept of it.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::address::STRUCK_OUT;

/// What every token begins with, so that those who look for secrets in files find it.
const BEGINNING: &str = "lucid_";
/// What is read of a file with a token.
const BYTES_MAX: u64 = 64 << 10;

/// A secret that a caller shows, as `Authorization: Bearer`. It is shown in its text only when asked by name, and
/// wiped when it is dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token of 32 random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(Zeroizing::new(format!("{BEGINNING}{}", URL_SAFE_NO_PAD.encode(random))))
    }

    /// A token as its holder has it, without white space around it.
    pub fn given(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// Its text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(blake3::hash(self.0.as_bytes()))
    }
}

/// In a time that does not depend on where they differ.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STRUCK_OUT)
    }
}

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// It is this one.
    Text(Token),
    /// It stands in a file, alone, and is read whenever it is shown: a new one counts at once.
    File(PathBuf),
}

impl TokenSource {
    /// The token as it is now. The error names the file.
    pub fn read(&self) -> Result<Token, String> {
        let path = match self {
            Self::Text(token) => return Ok(token.clone()),
            Self::File(path) => path,
        };
        let mut text = Zeroizing::new(String::new());
        let read = File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
        read.map_err(|error| format!("the token in {}: {error}", path.display()))?;
        let token = Token::given(&text);
        let is_one = !token.expose().is_empty()
            && token.expose().bytes().all(|byte| byte.is_ascii_graphic());
        match is_one {
            true => Ok(token),
            false => Err(format!(
                "{} holds no token: one line of letters and signs is wanted",
                path.display()
            )),
        }
    }
}

/// BLAKE3 of a token's text. Two are compared in a time that does not depend on where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    /// Its first bytes, by which lists are searched; they say nothing of the token.
    pub fn first(&self) -> [u8; 8] {
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(self.0.as_bytes()) {
            *to = *from;
        }
        first
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the BLAKE3 hash of a token has 64 hex digits")]
pub struct TokenHashFault;

impl FromStr for TokenHash {
    type Err = TokenHashFault;

    fn from_str(text: &str) -> Result<Self, TokenHashFault> {
        blake3::Hash::from_hex(text).map(Self).map_err(|_| TokenHashFault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_wiped_when_dropped_and_shows_itself_only_when_asked_by_name() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let token = Token::new(&[7; 32]);
        let Token(inner) = &token;
        is_wiped(inner);
        assert_eq!(format!("{token:?}"), "***");
        assert_eq!(token.expose(), "lucid_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        assert_eq!(Token::given(" lucid_x\n").expose(), "lucid_x");
    }

    #[test]
    fn its_hash_is_that_of_its_text() {
        let token = Token::given("lucid_x");
        let hash = token.hash();
        assert_eq!(hash.to_string(), blake3::hash(b"lucid_x").to_string());
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_ne!(hash, Token::given("lucid_y").hash());
        assert!("00".parse::<TokenHash>().is_err());
    }
}
