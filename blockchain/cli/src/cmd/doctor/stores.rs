//! What a store knows of itself: whether the clock can be right, what is damaged, what waits for a block. A service
//! that runs is asked by its own door; otherwise the folder is opened, and closed again at once.

use std::path::Path;
use std::time::Duration;

use lucid_api::address::Address;
use lucid_api::client::{
    BlockManagerClient, ClientError, ClientOptions, DataChainClient, LOCAL_SOCKET, Retry,
};
use lucid_api::v1::scrub::{FindingState, Scrub};
use lucid_api::v1::service::{Health, HealthState, HealthValue, Status};
use lucid_block_manager::opened as manager;
use lucid_block_manager::ops::produce_block::check_clock;
use lucid_core::time::Timestamp;
use lucid_core::words::many_do;
use lucid_data_chain::opened::FOLDER_OWNER;
use lucid_http::serve::LOCAL_SOCKET as SOCKET;
use lucid_store::StoreError;
use lucid_store::backend::{Keeper, Pulse};
use lucid_store::files::folder::{DataFolder, RUN, clock_fault};

use super::finding::{Finding, State, ago};
use crate::cmd::{Home, clock};
use crate::place::local::{CHAIN_FOLDER, Local, chain_folder, data_folder, manager_options};
use crate::place::{KeepStore as _, Place as _, reading};
use crate::showing::client_options;

/// An anchor that waits longer waits for something that does not come by itself.
const ANCHOR_MICROS: i64 = 3_600_000_000;
/// A service that does not answer in that time is one that does not answer.
const ANSWER: Duration = Duration::from_secs(2);

/// How a door is asked: once, and not for long.
fn brief(options: ClientOptions) -> ClientOptions {
    ClientOptions { timeout: ANSWER, retry: Retry { count: 0, delay: Duration::ZERO }, ..options }
}

/// The door of the service that has a folder, if there is one.
fn door(root: &Path) -> Option<String> {
    let socket = root.join(RUN).join(SOCKET);
    socket.exists().then(|| format!("{LOCAL_SOCKET}{}", socket.display()))
}

/// Whether nobody listens there: what a service left that was killed. One that listens and says nothing hangs.
fn is_left<T>(asked: &Result<T, ClientError>) -> bool {
    matches!(asked, Err(ClientError::Transport { maybe_applied: false, .. }))
}

/// What the sessions' store says of itself.
pub fn of_data_chain(home: &Home, at: Timestamp, checks: &mut Vec<Finding>) -> anyhow::Result<()> {
    let root = data_folder(home);
    clock_of(FOLDER_OWNER, &root, at, checks);
    if let Some(door) = door(&root) {
        let client = DataChainClient::new(&door, brief(ClientOptions::default()))?;
        let status = client.status();
        if !is_left(&status) {
            checks.push(service(FOLDER_OWNER, client.health()));
            told(FOLDER_OWNER, status, client.scrub(), at, checks);
            return Ok(());
        }
    }
    let place = match Local::open(home, "doctor", &clock()) {
        Ok(place) => place,
        Err(error) => return unopened(FOLDER_OWNER, error, checks),
    };
    checks.push(match (place.loss(), place.damage().len()) {
        (Some(why), _) => Finding::said(State::Wrong, ("store", FOLDER_OWNER), &why),
        (None, places) => damage(FOLDER_OWNER, places as u64),
    });
    checks.extend(place.pulse().into_iter().map(|pulse| kept(FOLDER_OWNER, pulse)));
    checks.push(anchors(FOLDER_OWNER, place.waiting_since()?, at));
    checks.push(scrubbed(FOLDER_OWNER, &place.scrub()?, at));
    Box::new(place).close()
}

/// What the chain's store says of itself.
pub fn of_block_manager(
    home: &Home,
    at: Timestamp,
    checks: &mut Vec<Finding>,
) -> anyhow::Result<()> {
    let root = chain_folder(home);
    clock_of(CHAIN_FOLDER, &root, at, checks);
    if let Some(door) = door(&root) {
        let client = BlockManagerClient::new(&door, brief(ClientOptions::default()))?;
        let health = client.health();
        if !is_left(&health) {
            // It looks at its clock itself, and says so.
            checks.push(service(CHAIN_FOLDER, health));
            return Ok(());
        }
    }
    let options = manager_options(home, "`lucid doctor`", &root);
    let opened = reading::open(
        home.reading,
        || manager::open(&root, &options, at),
        |to_read| manager::read(&root, &options, at, to_read),
        manager::OpenError::store,
    );
    let opened = match opened {
        Ok(opened) => opened,
        Err(manager::OpenError::Store(error)) => {
            return unopened(CHAIN_FOLDER, error.into(), checks);
        }
        Err(error) => return unopened(CHAIN_FOLDER, error.into(), checks),
    };
    checks.push(match opened.read_only().filter(|_| opened.only_read().is_none()) {
        Some(why) => Finding::said(State::Wrong, ("store", CHAIN_FOLDER), &why),
        None => damage(CHAIN_FOLDER, opened.damage().len() as u64),
    });
    let pulse = opened.folder().map(DataFolder::pulse).unwrap_or_default();
    checks.extend(pulse.into_iter().map(|pulse| kept(CHAIN_FOLDER, pulse)));
    let tip = opened.tip_time()?;
    match check_clock(&opened.vault, tip, at) {
        Err(error) => {
            checks.push(Finding::said(State::Wrong, ("clock", CHAIN_FOLDER), &error.to_string()))
        }
        Ok(()) => {
            let newest = tip.map_or("there is no block yet".to_owned(), |tip| {
                format!("the newest block was made {}", ago(tip, at))
            });
            checks.push(Finding::ok("clock", CHAIN_FOLDER, newest));
        }
    }
    Ok(opened.close()?)
}

/// What a server says of itself. What is kept outside of it, only its machine can tell.
pub fn of_server(home: &Home, url: &Address, at: Timestamp) -> anyhow::Result<Vec<Finding>> {
    let client = DataChainClient::new(url.expose(), brief(client_options(home, url)?))?;
    let of = url.to_string();
    let health = client.health();
    if is_left(&health) {
        health?;
        return Ok(Vec::new());
    }
    let mut checks = vec![service(&of, health)];
    told(&of, client.status(), client.scrub(), at, &mut checks);
    for check in ["clock", "disk", "room", "keys", "mirror", "verified", "tokens"] {
        checks.push(Finding::new(
            State::NotKnown,
            (check, &of),
            "a server does not tell this",
            "run `lucid doctor` on its machine, beside it",
        ));
    }
    checks.sort_by_key(|check| std::cmp::Reverse(check.state));
    Ok(checks)
}

/// A folder that does not open: one that is in use says nothing of itself, and a key that does not fit is the
/// caller's.
fn unopened(of: &str, error: anyhow::Error, checks: &mut Vec<Finding>) -> anyhow::Result<()> {
    let state = match error.chain().find_map(|cause| cause.downcast_ref::<StoreError>()) {
        Some(StoreError::Key(_)) => return Err(error),
        Some(StoreError::InUse { .. } | StoreError::Folder(_)) => State::NotKnown,
        _ => State::Wrong,
    };
    checks.push(Finding::said(state, ("store", of), &format!("{error:#}")));
    Ok(())
}

fn clock_of(of: &'static str, root: &Path, at: Timestamp, checks: &mut Vec<Finding>) {
    if let Some(why) = clock_fault(root, at.as_micros()) {
        checks.push(Finding::said(State::Wrong, ("clock", of), &why));
    } else if of == FOLDER_OWNER {
        checks.push(Finding::ok("clock", of, "it is not before the last commit"));
    }
}

fn damage(of: &str, places: u64) -> Finding {
    match places {
        0 => Finding::ok("store", of, "it opens, and nothing is known to be damaged"),
        _ => Finding::new(
            State::Wrong,
            ("store", of),
            format!("{} damaged", many_do(places, "place", "is", "are")),
            "`lucid verify --all` names them; see what OPERATING says of damage",
        ),
    }
}

/// A server that has what is not in the folder.
fn kept(of: &str, pulse: Pulse) -> Finding {
    let Pulse { keeper, title, fault } = pulse;
    let what = if keeper == Keeper::S3 { "chunks are" } else { "the log is" };
    match fault {
        None => Finding::ok("kept", of, format!("{what} in {title}, which answers")),
        Some(why) => Finding::new(
            State::Wrong,
            ("kept", of),
            format!("{what} in {title}, which is no use now: {why}"),
            "look at that server, and at the way to it",
        ),
    }
}

/// Where a service that runs says that things are; nothing where all is in its folder. Its health says whether that
/// answers.
fn told_kept(of: &str, status: &Status) -> Option<Finding> {
    let at = status.counts.get("kept")?.get("at")?.as_array()?;
    let at: Vec<&str> = at.iter().filter_map(|title| title.as_str()).collect();
    (!at.is_empty()).then(|| Finding::ok("kept", of, format!("it is in {}", at.join(", and in "))))
}

fn anchors(of: &str, since: Option<Timestamp>, at: Timestamp) -> Finding {
    let Some(since) = since else {
        return Finding::ok("anchors", of, "none waits for a block");
    };
    let state = match at.micros_since(since) > ANCHOR_MICROS {
        true => State::Wrong,
        false => State::Look,
    };
    Finding::new(
        state,
        ("anchors", of),
        format!("the oldest that waits for a block is of {}", ago(since, at)),
        "run `lucid up`, or look at the /health of the services: a block-manager that can be reached makes one",
    )
}

fn scrubbed(of: &str, scrub: &Scrub, at: Timestamp) -> Finding {
    use FindingState::{Damaged, Quarantined};
    let is_bad = |state| matches!(state, Quarantined | Damaged);
    let bad = scrub.damage.iter().filter(|found| is_bad(found.state)).count() as u64;
    if bad > 0 {
        return Finding::new(
            State::Wrong,
            ("scrub", of),
            format!("{} damaged", many_do(bad, "place", "is", "are")),
            "`lucid scrub` names them; `lucid mirror` heals what another store has",
        );
    }
    let ended = scrub.ended_at.as_deref().and_then(|at| Timestamp::parse(at).ok());
    match ended {
        Some(ended) => Finding::ok("scrub", of, format!("a round ended {}", ago(ended, at))),
        None => Finding::new(
            State::Look,
            ("scrub", of),
            "no round of reading stored bytes again has ended yet",
            "`lucid scrub --now` reads them; a service does so by itself",
        ),
    }
}

/// How a service is that runs.
fn service(of: &str, health: Result<Health, ClientError>) -> Finding {
    let about = ("service", of);
    let health = match health {
        Ok(health) => health,
        Err(error) => {
            let remedy = "look in its log; if it hangs, end it, and start it again";
            return Finding::new(State::Wrong, about, format!("no answer: {error}"), remedy);
        }
    };
    let details: Vec<String> = health
        .components
        .values()
        .filter_map(|value| match value {
            HealthValue::Details(details) => Some(details),
            HealthValue::Works(_) => None,
        })
        .flatten()
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    let said = details.join("; ");
    match health.status {
        HealthState::Healthy => Finding::ok("service", of, "it runs, and is healthy"),
        HealthState::Degraded => {
            Finding::new(State::Look, about, format!("it is degraded: {said}"), "")
        }
        HealthState::Starting => Finding::new(State::Look, about, "it is starting", "wait for it"),
        HealthState::Unhealthy => {
            Finding::new(State::Wrong, about, format!("it is unhealthy: {said}"), "")
        }
    }
}

/// What a service says of what it keeps.
fn told(
    of: &str,
    status: Result<Status, ClientError>,
    scrub: Result<Scrub, ClientError>,
    at: Timestamp,
    checks: &mut Vec<Finding>,
) {
    let untold = |check, error: &ClientError| {
        Finding::said(State::NotKnown, (check, of), &error.to_string())
    };
    match status {
        Ok(status) => {
            let number = |name| status.counts.get(name).and_then(|value| value.as_u64());
            checks.push(damage(of, number("damaged_places").unwrap_or(0)));
            checks.extend(told_kept(of, &status));
            let age = number("unanchored_age_seconds").filter(|age| *age > 0);
            let age = age.and_then(|age| i64::try_from(age).ok());
            checks.push(anchors(of, age.map(|age| at.plus_seconds(-age)), at));
        }
        Err(error) => {
            checks.extend([untold("store", &error), untold("anchors", &error)]);
        }
    }
    match scrub {
        Ok(scrub) => checks.push(scrubbed(of, &scrub, at)),
        Err(error) => checks.push(untold("scrub", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_that_waits_for_over_an_hour_is_wrong() {
        let at = Timestamp::parse("2026-11-30T12:00:00Z").unwrap();
        for (seconds, state) in [(10, State::Look), (3_599, State::Look), (3_601, State::Wrong)] {
            let found = anchors("data-chain", Some(at.plus_seconds(-seconds)), at);
            assert_eq!(found.state, state, "{found:?}");
            assert!(found.remedy.is_some());
        }
        assert_eq!(anchors("data-chain", None, at).state, State::Ok);
    }
}
