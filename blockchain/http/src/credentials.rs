//! Which credentials count, and whose they are: lists of tokens, keys of JWTs, and a token that this process made for
//! its own services.
//!
//! Invariants: a list or a key that was there and cannot be read any more changes nothing, and is said in the log
//! and in `/health`, until it can; one that cannot be read at the start ends it. Where a list is, however empty,
//! credentials are asked for. What is on disk is looked at again within a second, by a request that comes then.

mod jwt;
mod source;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use lucid_api::access::{Role, Token, TokenEntry, TokenHash};
use lucid_api::problem::ErrorCode;
use parking_lot::RwLock;

use self::jwt::JwtKeys;
pub use self::source::{AccessConfig, SecretSource};
use self::source::{Found, Source};
pub(crate) use self::source::{Stamp, stamp};
use crate::caller::Caller;
use crate::looks::Looks;
use crate::reply::{Refusal, Reply};

/// What tells the time, in microseconds since 1970.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// All credentials that count. Cloning shares them.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    sources: Vec<Source>,
    own: Option<(TokenHash, Caller)>,
    now: Now,
    known: RwLock<Known>,
    looks: Looks,
}

/// What was last read.
#[derive(Default)]
struct Known {
    /// By the first bytes of their hashes, which tell nothing of the tokens.
    tokens: HashMap<[u8; 8], Vec<KnownToken>>,
    jwt: JwtKeys,
    /// Whether callers have to show any.
    asked: bool,
    /// Why what is known may not be what the files say now.
    fault: Option<String>,
    stamps: Vec<Stamp>,
}

struct KnownToken {
    hash: TokenHash,
    expires: Option<i64>,
    caller: Caller,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(asked for: {})", self.are_asked_for())
    }
}

impl Credentials {
    /// Reads all there are. The error names the setting and what is wrong, and ends the start.
    pub fn open(config: &AccessConfig, now: Now) -> Result<Self, String> {
        let sources = config.sources();
        let known = Known::read(&sources)?;
        let own = match &config.own {
            None => None,
            Some(token) => {
                let caller = Caller::known("peer", Role::Write.into(), None);
                Some((token.hash(), caller))
            }
        };
        let (known, looks) = (RwLock::new(known), Looks::new());
        Ok(Self(Arc::new(Shared { sources, own, now, known, looks })))
    }

    /// None are asked for: everybody who reaches the service may do everything.
    pub fn nobody_asks() -> Self {
        let (sources, own, known) = Default::default();
        let now: Now = Arc::new(|| 0);
        Self(Arc::new(Shared { sources, own, now, known, looks: Looks::new() }))
    }

    /// Looks at the files again, if the last look is long ago: in front of each request. A look that takes long is not
    /// waited for, and what is known counts until it ends.
    pub async fn look_again(&self) {
        if !self.0.sources.is_empty() {
            let shared = self.0.clone();
            self.0.looks.again(move || shared.read_again()).await;
        }
    }

    /// Whether callers have to show any.
    pub fn are_asked_for(&self) -> bool {
        self.0.known.read().asked
    }

    /// Why a change of the files does not count yet, if so.
    pub fn fault(&self) -> Option<String> {
        self.0.known.read().fault.clone()
    }

    /// Whose the credentials of a request are.
    pub fn caller(&self, given: &HeaderMap) -> Reply<Caller> {
        let known = self.0.known.read();
        if !known.asked {
            return Ok(Caller::anyone());
        }
        let mut all = given.get_all(AUTHORIZATION).iter();
        let said = match (all.next(), all.next()) {
            (None, _) => {
                return Err(unauthorized("send a token as `Authorization: Bearer`", false));
            }
            (Some(_), Some(_)) => {
                let detail = "the request has several Authorization headers; send one";
                return Err(Refusal::new(ErrorCode::Malformed, detail));
            }
            (Some(said), None) => said,
        };
        let bearer = said.to_str().ok().and_then(|said| said.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, text)) = bearer else {
            return Err(unauthorized("Authorization is not `Bearer` and a token", true));
        };
        let text = text.trim();
        let now = (self.0.now)();
        if jwt::looks_like_one(text) {
            return known.jwt.caller(text, now).map_err(|why| unauthorized(&why, true));
        }
        let hash = Token::given(text).hash();
        if let Some((own, caller)) = &self.0.own
            && *own == hash
        {
            return Ok(caller.clone());
        }
        let mut candidates = known.tokens.get(&hash.first()).into_iter().flatten();
        match candidates.find(|token| token.hash == hash) {
            None => Err(unauthorized("the token is none that counts here", true)),
            Some(token) if token.expires.is_some_and(|expires| expires <= now) => {
                Err(unauthorized("the token has expired", true))
            }
            Some(token) => Ok(token.caller.clone()),
        }
    }
}

impl Shared {
    fn read_again(&self) {
        let Self { sources, known, .. } = self;
        let is_as_it_was = {
            let known = known.read();
            known.fault.is_none() && known.stamps == source::stamps(sources)
        };
        if is_as_it_was {
            return;
        }
        match Known::read(sources) {
            Ok(read) => {
                // A list that is taken away opens nothing: the service stays as closed as it was.
                let asked = read.asked || known.read().asked;
                tracing::info!(tokens = read.count(), "credentials were read again");
                *known.write() = Known { asked, ..read };
            }
            Err(why) => {
                let sentence = format!("credentials stay as they were: {why}");
                let mut known = known.write();
                if known.fault.as_ref() != Some(&sentence) {
                    tracing::error!("{sentence}");
                }
                known.fault = Some(sentence);
            }
        }
    }
}

impl Known {
    fn read(sources: &[Source]) -> Result<Self, String> {
        // In front of reading: what changes meanwhile is read once more.
        let mut known = Self { stamps: source::stamps(sources), ..Self::default() };
        let mut named = HashMap::new();
        for source in sources {
            known.asked |= match source.read()? {
                Found::Nothing => false,
                Found::Tokens(list) => {
                    for entry in list.entries() {
                        let was = named.insert(entry.name.clone(), entry.hash);
                        // By its id a session is its beginner's: two of one id would have what is the other's.
                        if was.is_some_and(|was| was != entry.hash) {
                            return Err(format!(
                                "two lists have a token {}: give one another id",
                                entry.name
                            ));
                        }
                        known.take(entry);
                    }
                    true
                }
                Found::Key(key) => {
                    known.jwt.add(key);
                    true
                }
            };
        }
        Ok(known)
    }

    fn take(&mut self, entry: &TokenEntry) {
        let TokenEntry { name, roles, hash, narrowing, expires } = entry.clone();
        let caller = Caller::known(name.as_str(), roles, narrowing);
        let expires = expires.map(|expires| expires.as_micros());
        let alike = self.tokens.entry(hash.first()).or_default();
        alike.push(KnownToken { hash, expires, caller });
    }

    fn count(&self) -> usize {
        self.tokens.values().map(Vec::len).sum()
    }
}

/// 401, and what is to be shown (RFC 6750, 3).
fn unauthorized(why: &str, is_wrong: bool) -> Refusal {
    let challenge = match is_wrong {
        true => HeaderValue::from_static("Bearer realm=\"lucid\", error=\"invalid_token\""),
        false => HeaderValue::from_static("Bearer realm=\"lucid\""),
    };
    Refusal::new(ErrorCode::Unauthorized, why).header(WWW_AUTHENTICATE, challenge)
}
