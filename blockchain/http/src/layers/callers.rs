//! Callers that are browsers. A browser on the machine of an operator runs pages of strangers, and
//! lends them its place in the network; so a request must name the service by a name that is the
//! service's own, and a request that changes something must not come from a stranger's page.
//!
//! Invariants: a name that a stranger can point at this machine (DNS rebinding) is refused, on
//! every route, unless credentials are asked for: a stranger's page has none, and the open routes tell nothing; a
//! request with a method that may change something is refused when a browser says
//! that it comes from a page of another origin, unless that origin is listed.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lucid_api::problem::ErrorCode;

use super::{Cors, is_open};
use crate::credentials::Credentials;
use crate::reply::{Refusal, Reply};

/// Where a browser says how the page that asks and the service are related.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names that a service answers to, beside those that nobody else can own: `localhost` and
/// what ends in it, and IP addresses, which no name server can point elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    any: bool,
    named: Vec<String>,
}

impl Hosts {
    /// Reads a list of names without ports, or `*` for any. The error is the entry that is none.
    pub fn new(names: &[String]) -> Result<Self, String> {
        let any = names.iter().any(|name| name == "*");
        let names = names.iter().filter(|name| *name != "*");
        let named = names.map(|name| host_name(name).ok_or_else(|| name.clone()));
        Ok(Self { any, named: named.collect::<Result<_, _>>()? })
    }

    /// Answers to this name, too.
    pub fn and(mut self, name: &str) -> Self {
        self.named.extend(host_name(name));
        self
    }

    /// Whether a request that names this host, with or without a port, is meant for it.
    pub fn are_meant_by(&self, host: &str) -> bool {
        read(host).is_some_and(|authority| self.have(&tidy(authority.host())))
    }

    fn have(&self, host: &str) -> bool {
        let local = host == "localhost" || host.ends_with(".localhost");
        self.any || local || is_address(host) || self.named.iter().any(|name| name == host)
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = self.any.then_some("*");
        let names: Vec<_> = any.into_iter().chain(self.named.iter().map(String::as_str)).collect();
        f.write_str(&names.join(","))
    }
}

/// A name as it is compared: without a port, in lower case, without the dot at the end.
fn host_name(text: &str) -> Option<String> {
    let authority = read(text)?;
    (authority.as_str() == authority.host()).then(|| tidy(authority.host()))
}

/// A host with an optional port, and nothing else.
fn read(text: &str) -> Option<Authority> {
    let authority: Authority = text.trim().parse().ok()?;
    let port = authority.as_str().strip_prefix(authority.host())?;
    let digits = port.strip_prefix(':').unwrap_or(port);
    let is_port = (port.is_empty() || port != digits) && digits.bytes().all(|b| b.is_ascii_digit());
    (is_port && !authority.host().is_empty()).then_some(authority)
}

fn tidy(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn is_address(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
    }
}

/// Who may call.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    pub(crate) hosts: Hosts,
    pub(crate) cors: Cors,
    pub(crate) credentials: Credentials,
}

pub(crate) async fn callers(
    State(callers): State<Arc<Callers>>,
    request: Request,
    next: Next,
) -> Response {
    match callers.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

impl Callers {
    fn check(&self, request: &Request) -> Reply<()> {
        let authority = authority(request)?;
        if let Some(authority) = &authority {
            let host = tidy(authority.host());
            if !self.hosts.have(&host) && !self.has_credentials(request) {
                let detail = format!(
                    "this service is not called {host:?}: ask for it by its address, or name it in \
                     LUCID_ALLOWED_HOSTS"
                );
                return Err(Refusal::new(ErrorCode::Forbidden, detail));
            }
        }
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        if safe || self.may_change(request.headers(), authority.as_ref()) {
            return Ok(());
        }
        let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let detail = format!(
            "a web page of {} may not change anything here; CORS_ORIGINS lists the pages that may",
            origin.unwrap_or("another site")
        );
        Err(Refusal::new(ErrorCode::Forbidden, detail))
    }

    /// Whether nobody is let in for what its place in the network lends it.
    fn has_credentials(&self, request: &Request) -> bool {
        self.credentials.are_asked_for()
            && (request.headers().contains_key(AUTHORIZATION) || is_open(request.uri().path()))
    }

    /// Whether the request comes from no page, or from one that may: what the browser says of the
    /// page decides, and for old browsers the page's origin.
    fn may_change(&self, given: &HeaderMap, authority: Option<&Authority>) -> bool {
        let mut origins = given.get_all(ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (_, Some(_)) => return false,
            (origin, None) => origin,
        };
        if origin.is_some_and(|origin| self.cors.lists(origin)) {
            return true;
        }
        match (given.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes), origin) {
            (Some(b"same-origin" | b"none"), _) => true,
            (Some(_), _) => false,
            (None, None) => true,
            (None, Some(origin)) => authority.is_some_and(|own| is_of(origin, own)),
        }
    }
}

/// Whether a page's origin is the service itself.
fn is_of(origin: &HeaderValue, own: &Authority) -> bool {
    let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
    let Some((scheme, origin)) = origin else { return false };
    let default = if scheme == "https" { 443 } else { 80 };
    read(origin).is_some_and(|origin| {
        let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
        tidy(origin.host()) == tidy(own.host()) && port(&origin) == port(own)
    })
}

/// The name that the request asks for. HTTP/1.1 must have exactly one (RFC 9112, 3.2).
fn authority(request: &Request) -> Reply<Option<Authority>> {
    let malformed = |detail: &str| Refusal::new(ErrorCode::Malformed, detail);
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(malformed("the request names several hosts")),
        (None, None) if request.version() == Version::HTTP_10 => None,
        (None, None) => return Err(malformed("the request names no Host")),
        (host, None) => host,
    };
    let host = host.map(|host| {
        let authority = host.to_str().ok().and_then(read);
        authority.ok_or_else(|| malformed("Host is not a name with an optional port"))
    });
    // What the request line says comes before the header.
    let host = host.transpose()?;
    let asked = request.uri().authority().map(|authority| {
        read(authority.as_str()).ok_or_else(|| malformed("the address names no host"))
    });
    Ok(asked.transpose()?.or(host))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn judge(callers: &Callers, method: &str, headers: &[(&str, &str)]) -> Result<(), ErrorCode> {
        let mut request = Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        callers.check(&request.body(Body::empty()).unwrap()).map_err(|refusal| refusal.code())
    }

    fn callers(hosts: &[&str], origins: &[&str]) -> Callers {
        let owned =
            |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (hosts, cors) =
            (Hosts::new(&owned(hosts)).unwrap(), Cors::new(&owned(origins)).unwrap());
        Callers { hosts, cors, credentials: Credentials::nobody_asks() }
    }

    #[test]
    fn only_names_that_no_stranger_can_point_here_are_answered_to() {
        let callers = callers(&["lucid.example"], &[]);
        for host in [
            "localhost",
            "LocalHost.:8087",
            "a.localhost",
            "127.0.0.1:8087",
            "[::1]:8087",
            "192.168.1.7",
            "Lucid.Example:80",
            "0.0.0.0:1",
        ] {
            assert_eq!(judge(&callers, "GET", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "xlocalhost",
            "0x7f000001",
            "2130706433",
            "lucid.example.evil",
            "block-manager",
        ] {
            assert!(judge(&callers, "GET", &[("host", host)]).is_err(), "{host}");
        }
        for host in ["", "a b", "user@localhost", "[::1", "[::1].evil.example", "[::1]x:1", ":80"] {
            let judged = judge(&callers, "GET", &[("host", host)]);
            assert_eq!(judged, Err(ErrorCode::Malformed), "{host:?}");
        }
        assert_eq!(judge(&callers, "GET", &[]), Err(ErrorCode::Malformed));
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(judge(&callers, "GET", &twice), Err(ErrorCode::Malformed));
        let any = self::callers(&["*"], &[]);
        assert_eq!(judge(&any, "GET", &[("host", "evil.example")]), Ok(()));
    }

    #[test]
    fn what_changes_something_does_not_come_from_a_page_of_somebody_else() {
        let callers = callers(&[], &["https://friend.example"]);
        let host = ("host", "127.0.0.1:8087");
        let site = "sec-fetch-site";
        for (headers, may) in [
            (vec![], true),
            (vec![("origin", "http://127.0.0.1:8087")], true),
            (vec![("origin", "http://127.0.0.1:3000")], false),
            (vec![("origin", "http://127.0.0.1")], false),
            (vec![("origin", "http://evil.example")], false),
            (vec![("origin", "null")], false),
            (vec![("origin", "https://friend.example")], true),
            (vec![("origin", "https://friend.example"), (site, "cross-site")], true),
            (vec![("origin", "http://127.0.0.1:8087"), (site, "cross-site")], false),
            (vec![("origin", "http://127.0.0.1:3000"), (site, "same-site")], false),
            // Behind a proxy that speaks TLS and changes the name, the browser knows better.
            (vec![("origin", "https://outside.example"), (site, "same-origin")], true),
            (vec![(site, "none")], true),
            (vec![(site, "cross-site")], false),
            (vec![(site, "new-word")], false),
        ] {
            let all = [vec![host], headers.clone()].concat();
            for method in ["POST", "PUT", "DELETE", "PATCH", "BREW"] {
                let wanted = if may { Ok(()) } else { Err(ErrorCode::Forbidden) };
                assert_eq!(judge(&callers, method, &all), wanted, "{method} {headers:?}");
            }
            for method in ["GET", "HEAD", "OPTIONS"] {
                assert_eq!(judge(&callers, method, &all), Ok(()), "{method} {headers:?}");
            }
        }
        let twice = [host, ("origin", "https://friend.example"), ("origin", "http://evil.example")];
        assert!(judge(&callers, "POST", &twice).is_err());
        // Any page may read where that is said; none may change anything for it.
        let open = self::callers(&[], &["*"]);
        assert!(judge(&open, "POST", &[host, ("origin", "http://evil.example")]).is_err());
    }

    #[test]
    fn names_are_read_and_shown() {
        let read = |text: &str| Hosts::new(&[text.to_owned()]);
        assert_eq!(read("Lucid.Example.").unwrap().to_string(), "lucid.example");
        assert_eq!(read("*").unwrap().and("block-manager").to_string(), "*,block-manager");
        for wrong in ["a:1", "http://a", "a/b", "u@a", ""] {
            assert_eq!(read(wrong), Err(wrong.to_owned()), "{wrong}");
        }
    }
}
