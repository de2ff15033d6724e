//! Where credentials come from.

use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lucid_api::access::{LIST_BYTES_MAX, Token, TokenList};
use rustix::process::{getegid, geteuid};
use zeroize::Zeroizing;

use super::jwt::JwtKey;
use crate::config::Secret;

/// Bytes of a file with one secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// A secret, or the file that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// It stands in a variable.
    Text(Secret),
    /// It stands in a file, which is read again whenever it changes.
    File(PathBuf),
}

impl SecretSource {
    /// The secret as it is now, without the end of a file's last line.
    pub fn read(&self) -> io::Result<Secret> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let text = read(path, SECRET_BYTES_MAX)?;
                Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
        }
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Self::Text(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

/// What the settings say about credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// `LUCID_TOKENS_FILE`: a list of tokens.
    pub tokens: Option<PathBuf>,
    /// Lists that `lucid token` makes, where there are any.
    pub kept: Vec<PathBuf>,
    /// `LUCID_JWT_SECRET` or `LUCID_JWT_SECRET_FILE`: what JWTs are signed with by HS256.
    pub jwt_secret: Option<SecretSource>,
    /// `LUCID_JWT_PUBLIC_KEY_FILE`: the Ed25519 key of who signs them by EdDSA.
    pub jwt_public_key: Option<PathBuf>,
    /// By which the services of one process know each other, with the role `write`. It makes nobody else show
    /// credentials; no setting.
    pub own: Option<Token>,
}

impl AccessConfig {
    pub(super) fn sources(&self) -> Vec<Source> {
        let named = self.tokens.iter().map(|path| Source::List(path.clone()));
        let kept = self.kept.iter().map(|path| Source::KeptList(path.clone()));
        let secret = self.jwt_secret.iter().map(|secret| Source::JwtSecret(secret.clone()));
        let key = self.jwt_public_key.iter().map(|path| Source::JwtPublicKey(path.clone()));
        named.chain(kept).chain(secret).chain(key).collect()
    }

    /// What is wrong with any of it: a sentence each.
    pub fn faults(&self) -> Vec<String> {
        self.sources().iter().filter_map(|source| source.read().err()).collect()
    }

    /// Whether any of it asks for credentials as things stand.
    pub fn asks(&self) -> bool {
        let named = self.tokens.is_some() || self.jwt_secret.is_some();
        named || self.jwt_public_key.is_some() || self.kept.iter().any(|path| !is_absent(path))
    }
}

/// Whether there surely is nothing. What cannot be looked at, or points to nowhere, is something.
fn is_absent(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// One place where credentials are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A list that has to be there.
    List(PathBuf),
    /// A list that may be there.
    KeptList(PathBuf),
    JwtSecret(SecretSource),
    JwtPublicKey(PathBuf),
}

/// What was found there.
pub(super) enum Found {
    Nothing,
    Tokens(TokenList),
    Key(JwtKey),
}

impl Source {
    /// Reads it. The error names the setting, the file, and what is wrong.
    pub(super) fn read(&self) -> Result<Found, String> {
        match self {
            Self::List(path) => list("LUCID_TOKENS_FILE", path).map(Found::Tokens),
            Self::KeptList(path) if is_absent(path) => Ok(Found::Nothing),
            Self::KeptList(path) => list("tokens", path).map(Found::Tokens),
            Self::JwtSecret(source) => {
                let name = match source {
                    SecretSource::Text(_) => "LUCID_JWT_SECRET".to_owned(),
                    SecretSource::File(path) => said("LUCID_JWT_SECRET_FILE", path),
                };
                let secret = source.read().map_err(|error| format!("{name}: {error}"))?;
                JwtKey::secret(&secret).map_err(|why| format!("{name}: {why}")).map(Found::Key)
            }
            Self::JwtPublicKey(path) => {
                let name = said("LUCID_JWT_PUBLIC_KEY_FILE", path);
                let text = read(path, SECRET_BYTES_MAX);
                let text = text.map_err(|error| format!("{name}: {error}"))?;
                JwtKey::public(&text).map_err(|why| format!("{name}: {why}")).map(Found::Key)
            }
        }
    }

    fn file(&self) -> Option<&Path> {
        match self {
            Self::List(path) | Self::KeptList(path) | Self::JwtPublicKey(path) => Some(path),
            Self::JwtSecret(source) => source.file(),
        }
    }
}

fn said(setting: &str, path: &Path) -> String {
    format!("{setting} ({})", path.display())
}

fn list(setting: &str, path: &Path) -> Result<TokenList, String> {
    let name = said(setting, path);
    // Who can write it can let anybody in.
    let mode = path.metadata().map_err(|error| unread(&name, path, &error))?.mode();
    if mode & 0o002 != 0 {
        return Err(format!("{name}: everybody may write it; take that away (chmod o-w)"));
    }
    let text = read(path, LIST_BYTES_MAX).map_err(|error| unread(&name, path, &error))?;
    text.parse().map_err(|fault| format!("{name}: {fault}"))
}

/// Why a list cannot be read. It is the first thing that a service reads of a folder that belongs to another user, so
/// this says what gives it to the right one.
fn unread(name: &str, path: &Path, error: &io::Error) -> String {
    match path.parent().filter(|_| error.kind() == ErrorKind::PermissionDenied) {
        None => format!("{name}: {error}"),
        Some(folder) => format!(
            "{name}: no permission: run this as its owner, or give it to this user by `sudo chown -R {}:{} {}`",
            geteuid().as_raw(),
            getegid().as_raw(),
            folder.display()
        ),
    }
}

/// A file's text, which is wiped when it is dropped.
fn read(path: &Path, most: u64) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    match text.len() as u64 > most {
        true => Err(io::Error::other(format!("it has more than {most} bytes"))),
        false => Ok(text),
    }
}

/// What tells whether a file is still what was read: who it is, how long, and when it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Option<[i64; 6]>);

/// Of a file as it is now.
pub(crate) fn stamp(path: &Path) -> Stamp {
    Stamp(path.metadata().ok().map(|found| {
        let (inode, bytes) = (found.ino().cast_signed(), found.size().cast_signed());
        let (changed, written) = (found.ctime(), found.mtime());
        [inode, bytes, changed, found.ctime_nsec(), written, found.mtime_nsec()]
    }))
}

/// Of all files of these, in their order.
pub(super) fn stamps(sources: &[Source]) -> Vec<Stamp> {
    sources.iter().filter_map(Source::file).map(stamp).collect()
}
