//! Credentials of every kind, sound ones and others.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lucid_api::access::{Role, Token};
use ring::hmac;

/// What JWTs are signed with here.
pub const SECRET: &str = "a secret of thirty-two bytes or more";

/// A JWT with these claims, signed with `secret`.
pub fn jwt(header: &str, claims: &str, secret: &str) -> String {
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = parts.join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes())))
}

pub const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A list of tokens, one for each role, and one that is narrowed for each; `dead` has expired.
pub fn list(folder: &Path) -> PathBuf {
    let path = folder.join("list-of-tokens");
    let mut file = std::fs::File::create(&path).unwrap();
    for role in Role::ALL {
        writeln!(file, "{role} {role} {}", token(role.as_str()).hash()).unwrap();
        let narrowed = format!("{role}-narrowed");
        let hash = token(&narrowed).hash();
        writeln!(file, "{narrowed} {role} {hash} prefix:within-").unwrap();
    }
    writeln!(file, "dead admin {} 2020-01-01T00:00:00Z", token("dead").hash()).unwrap();
    path
}

/// The token that goes by a name.
pub fn token(name: &str) -> Token {
    Token::given(&format!("lucid_{name}"))
}
