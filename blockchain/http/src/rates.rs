//! How many requests a caller may make: so many a second, and as many more at once after a pause.
//!
//! A caller is its credentials, or the address that it comes from where it showed none that count. Addresses of IPv6
//! are one for the 2^64 that a subscriber has. An address is taken from `X-Forwarded-For` only if a proxy says it
//! that is known. Invariant: whatever callers do, the memory of all this is bounded.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use lucid_api::problem::ErrorCode;

use crate::reply::{Refusal, Reply};

/// Where a proxy says for whom it asks.
const FORWARDED: &str = "x-forwarded-for";
/// Callers that are kept in mind. Beyond, those of whom nothing is known share one allowance.
const CALLERS_MAX: usize = 1 << 16;

/// What the settings say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RatesConfig {
    /// `LUCID_RATE_LIMIT`: requests a second of one caller; without it as many as it likes.
    pub per_second: Option<NonZeroU32>,
    /// `LUCID_TRUSTED_PROXIES`: who is believed that it asks for another caller.
    pub proxies: Vec<IpNet>,
}

/// Who a request is counted to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    Name(String),
    Address(IpAddr),
    /// Everybody for whom there is no room.
    Rest,
}

/// The allowances of all callers. Cloning shares them.
#[derive(Clone)]
pub struct Rates(Option<Arc<Shared>>);

struct Shared {
    limiter: DefaultKeyedRateLimiter<Counted>,
    clock: DefaultClock,
    proxies: Vec<IpNet>,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rates(limited: {})", self.0.is_some())
    }
}

impl Rates {
    /// As the settings say.
    pub fn new(config: &RatesConfig) -> Self {
        Self(config.per_second.map(|per_second| {
            let limiter = RateLimiter::keyed(Quota::per_second(per_second));
            let (clock, proxies) = (DefaultClock::default(), config.proxies.clone());
            Arc::new(Shared { limiter, clock, proxies })
        }))
    }

    /// Counts a request to its caller, and refuses it if that is one too many.
    pub(crate) fn count(&self, name: Option<&str>, peer: IpAddr, given: &HeaderMap) -> Reply<()> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let counted = match name {
            Some(name) => Counted::Name(name.to_owned()),
            None => Counted::Address(network(client(&shared.proxies, peer, given))),
        };
        let counted = shared.with_room(counted);
        let Err(early) = shared.limiter.check_key(&counted) else { return Ok(()) };
        // Seconds are all that the header has.
        let wait = early.wait_time_from(shared.clock.now()) + Duration::from_millis(999);
        let wait = wait.as_secs().max(1);
        let whose = if name.is_some() { "these credentials" } else { "this address" };
        let detail = format!("too many requests of {whose}: again in {wait} s");
        Err(Refusal::new(ErrorCode::Busy, detail).retry_after(wait))
    }
}

impl Shared {
    /// The same, or everybody else's share where too many are kept in mind already.
    fn with_room(&self, counted: Counted) -> Counted {
        if self.limiter.len() < CALLERS_MAX {
            return counted;
        }
        // Who asked for nothing in the last second has all of its allowance again, and need not be known.
        self.limiter.retain_recent();
        if self.limiter.len() < CALLERS_MAX { counted } else { Counted::Rest }
    }
}

/// The address that a request comes from: the last one that no known proxy has.
pub(crate) fn client(proxies: &[IpNet], peer: IpAddr, given: &HeaderMap) -> IpAddr {
    let is_proxy = |address: &IpAddr| proxies.iter().any(|net| net.contains(address));
    let mut client = peer.to_canonical();
    if !is_proxy(&client) {
        return client;
    }
    let said = given.get_all(FORWARDED).iter().filter_map(|value| value.to_str().ok());
    let said: Vec<&str> = said.flat_map(|value| value.split(',')).collect();
    for address in said.iter().rev() {
        let Ok(address) = address.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !is_proxy(&client) {
            break;
        }
    }
    client
}

/// Whom an address stands for.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn rates(per_second: u32, proxies: &[&str]) -> Rates {
        let proxies = proxies.iter().map(|text| text.parse().unwrap()).collect();
        Rates::new(&RatesConfig { per_second: NonZeroU32::new(per_second), proxies })
    }

    /// How many of so many requests are let in at once.
    fn let_in(rates: &Rates, name: Option<&str>, peer: &str, forwarded: &[&'static str]) -> usize {
        let mut given = HeaderMap::new();
        for value in forwarded {
            given.append(FORWARDED, HeaderValue::from_static(value));
        }
        let peer = peer.parse().unwrap();
        (0..30).filter(|_| rates.count(name, peer, &given).is_ok()).count()
    }

    #[test]
    fn each_caller_has_an_allowance_of_its_own() {
        let rates = rates(5, &[]);
        assert!((5..9).contains(&let_in(&rates, Some("a"), "10.0.0.1", &[])));
        assert!((5..9).contains(&let_in(&rates, Some("b"), "10.0.0.1", &[])));
        assert!((5..9).contains(&let_in(&rates, None, "10.0.0.1", &[])));
        assert!((5..9).contains(&let_in(&rates, None, "10.0.0.2", &[])));
        // One subscriber, who has many addresses.
        assert!((5..9).contains(&let_in(&rates, None, "2001:db8::1", &[])));
        assert!(let_in(&rates, None, "2001:db8::2", &[]) < 4);
        assert!((5..9).contains(&let_in(&rates, None, "2001:db8:0:1::1", &[])));
        assert!(let_in(&rates, None, "::ffff:10.0.0.1", &[]) < 4);
        let refused =
            rates.count(None, "10.0.0.1".parse().unwrap(), &HeaderMap::new()).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Busy);
        assert!(refused.detail().contains("again in 1 s"), "{}", refused.detail());
        assert_eq!(let_in(&Rates::new(&RatesConfig::default()), None, "10.0.0.1", &[]), 30);
    }

    #[test]
    fn an_address_that_is_said_counts_only_if_a_known_proxy_says_it() {
        let rates = rates(5, &["10.1.0.0/16", "::1/128"]);
        // Who is no proxy may say what it likes.
        assert!((5..9).contains(&let_in(&rates, None, "10.0.0.1", &["1.1.1.1"])));
        assert!(let_in(&rates, None, "10.0.0.1", &["2.2.2.2"]) < 4);
        // What stands in front of what the proxies say was said by the client.
        assert!((5..9).contains(&let_in(&rates, None, "10.1.0.1", &["9.9.9.9, 3.3.3.3"])));
        assert!(let_in(&rates, None, "10.1.0.2", &["8.8.8.8, 3.3.3.3, 10.1.0.7"]) < 4);
        assert!(let_in(&rates, None, "::1", &["7.7.7.7", "3.3.3.3"]) < 4);
        // A proxy that says nothing that can be read is who asks.
        assert!((5..9).contains(&let_in(&rates, None, "10.1.0.1", &["unknown"])));
        assert!(let_in(&rates, None, "10.1.0.1", &[]) < 4);
    }

    #[test]
    fn however_many_callers_there_are_no_more_are_kept_in_mind() {
        let rates = rates(1, &[]);
        for number in 0..(CALLERS_MAX as u32 + 5_000) {
            let address = IpAddr::V4(number.into());
            let _counted = rates.count(None, address, &HeaderMap::new());
        }
        let shared = rates.0.as_ref().unwrap();
        assert!(shared.limiter.len() <= CALLERS_MAX + 1, "{}", shared.limiter.len());
    }
}
