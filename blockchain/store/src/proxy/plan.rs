//! What requests meet: what a test says, or what a seed has.

use std::collections::{HashMap, VecDeque};

use crate::proxy::{Fault, Request, Wire};

/// A request that is asked again meets nothing any more after so many: what is tried three times comes through.
const OF_ONE_REQUEST: usize = 2;
/// So many requests at least come through between two that do not.
const GAP: u64 = 4;
/// Faults for which a sender has to give up: each costs as long as it is patient.
const COSTLY: [Fault; 3] = [Fault::Stalled, Fault::StalledDone, Fault::Late];

/// What requests meet from now on.
#[derive(Default)]
pub(crate) struct Plan {
    said: VecDeque<(&'static str, &'static str, Fault)>,
    drawn: Option<Drawn>,
    met: usize,
}

/// What a seed has.
struct Drawn {
    state: u64,
    faults: Vec<Fault>,
    /// So many requests come through before the next one that does not.
    left: u64,
    /// How many met something.
    met: u64,
    of_request: HashMap<String, usize>,
    has_waited: bool,
}

impl Plan {
    pub(crate) fn say(&mut self, name: &'static str, text: &'static str, fault: Fault) {
        self.said.push_back((name, text, fault));
    }

    pub(crate) fn draw(&mut self, seed: u64, faults: &[Fault]) {
        let (faults, of_request) = (faults.to_vec(), HashMap::new());
        let mut drawn =
            Drawn { state: seed, faults, left: 0, met: 0, of_request, has_waited: false };
        drawn.left = drawn.below(GAP);
        self.drawn = Some(drawn);
    }

    /// How many requests met something.
    pub(crate) fn met(&self) -> usize {
        self.met
    }

    pub(crate) fn fault(&mut self, wire: &dyn Wire, request: &Request) -> Option<Fault> {
        let said = self.said.iter().position(|(name, text, _)| {
            request.name == *name && (request.target.contains(text) || request.how.contains(text))
        });
        let fault = match said.and_then(|at| self.said.remove(at)) {
            Some((.., fault)) => Some(fault),
            None => self.drawn.as_mut()?.fault(wire, request),
        };
        self.met += usize::from(fault.is_some());
        fault
    }
}

impl Drawn {
    /// The next number of SplitMix64, below this one.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    fn fault(&mut self, wire: &dyn Wire, request: &Request) -> Option<Fault> {
        if !request.is_work {
            return None;
        }
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        let fits = |fault: &&Fault| {
            wire.suits(**fault, request) && !(self.has_waited && COSTLY.contains(fault))
        };
        let suited: Vec<Fault> = self.faults.iter().filter(fits).copied().collect();
        let drawn = usize::try_from(self.below(suited.len() as u64)).unwrap();
        let fault = *suited.get(drawn)?;
        let met = self.of_request.entry(request.key.clone()).or_default();
        if *met == OF_ONE_REQUEST {
            return None;
        }
        *met += 1;
        self.has_waited |= COSTLY.contains(&fault);
        self.met += 1;
        // Each connection that is cut costs a driver some time, so a long test meets fewer of them by and by.
        self.left = GAP + self.below(8 * self.met);
        Some(fault)
    }
}

/// The seeds of this run: those that `LUCID_TEST_PROXY_SEEDS` names, or one.
pub(crate) fn seeds() -> Vec<u64> {
    #[expect(clippy::disallowed_methods, reason = "it says which faults this run of tests draws")]
    let named = std::env::var("LUCID_TEST_PROXY_SEEDS").unwrap_or_else(|_| "1".to_owned());
    named.split(',').map(|seed| seed.trim().parse().unwrap()).collect()
}

/// Says what was tried, if the test failed meanwhile: a seed is needed to see that again.
pub(crate) struct Tried(pub(crate) String);

impl Drop for Tried {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it failed with: {}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead};

    use super::*;

    /// A protocol in which everything can happen to everything.
    struct Any;

    impl Wire for Any {
        fn request(&self, _: &mut dyn BufRead) -> io::Result<Option<Request>> {
            Ok(None)
        }

        fn reply(&self, _: &Request, _: &mut dyn BufRead) -> io::Result<Vec<u8>> {
            Ok(Vec::new())
        }

        fn suits(&self, _: Fault, _: &Request) -> bool {
            true
        }

        fn lie(&self, _: Fault, _: &Request, _: Option<Vec<u8>>) -> Vec<u8> {
            Vec::new()
        }
    }

    #[test]
    fn a_seed_has_the_same_faults_each_time_and_lets_three_tries_come_through() {
        let faults = [Fault::Cut, Fault::Late, Fault::ReplyLost, Fault::StalledDone];
        let drawn = |seed, keys: u64| {
            let mut plan = Plan::default();
            plan.draw(seed, &faults);
            let request = |n: u64| Request {
                key: (n % keys).to_string(),
                is_work: true,
                ..Request::default()
            };
            (0..2_000).map(|n| plan.fault(&Any, &request(n))).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1, 2_000), drawn(1, 2_000));
        assert_ne!(drawn(1, 2_000), drawn(2, 2_000));
        for seed in 0..50 {
            let all = drawn(seed, 2_000);
            let met: Vec<usize> = (0..all.len()).filter(|at| all[*at].is_some()).collect();
            assert!(met.len() > 10 && met[0] < GAP as usize, "{met:?}");
            assert!(met.windows(2).all(|pair| pair[1] - pair[0] > GAP as usize), "{met:?}");
            let costly = all.iter().flatten().filter(|fault| COSTLY.contains(fault)).count();
            assert_eq!(costly, 1);
            // What is asked for again and again comes through from the third time on.
            assert!(drawn(seed, 1).iter().flatten().count() <= OF_ONE_REQUEST);
        }
    }

    #[test]
    fn what_is_said_comes_first_and_in_its_order() {
        let mut plan = Plan::default();
        plan.say("find", "log", Fault::Cut);
        plan.say("insert", "log", Fault::ReplyLost);
        plan.say("insert", "log", Fault::Repeated);
        let request = |name: &str, target: &str| Request {
            name: name.to_owned(),
            target: target.to_owned(),
            ..Request::default()
        };
        for (name, target, fault) in [
            ("insert", "locks", None),
            ("insert", "log", Some(Fault::ReplyLost)),
            ("insert", "log", Some(Fault::Repeated)),
            ("insert", "log", None),
            ("find", "log", Some(Fault::Cut)),
        ] {
            assert_eq!(plan.fault(&Any, &request(name, target)), fault, "{name} {target}");
        }
        assert_eq!(plan.met(), 3);
    }
}
