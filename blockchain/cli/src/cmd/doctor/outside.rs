//! What no service knows of itself: whether its keys are kept elsewhere, too, when it was mirrored and verified last,
//! and what is about to count no more.

use std::path::{Path, PathBuf};

use lucid_api::access::TokenList;
use lucid_core::time::Timestamp;
use lucid_http::tls::fault_at;
use lucid_store::files::folder::keys::{KeyExport, key_export};
use lucid_store::files::folder::{Note, Noted};

use super::finding::{DAY, Finding, State, ago, is_older};

/// A mirror that is older should be looked at, and one that is older than the second is none.
const MIRROR_DAYS: [u64; 2] = [7, 30];
/// The same of a verification.
const VERIFIED_DAYS: [u64; 2] = [90, 365];
/// What ends within so many days should be looked at, and within the second it is late.
const ENDS_DAYS: [u64; 2] = [14, 2];

/// Whether the keys that open a folder are kept elsewhere, too.
pub fn keys(name: &str, root: &Path) -> Finding {
    let about = ("keys", name);
    match key_export(root) {
        Ok(KeyExport::NotEncrypted) => Finding::ok("keys", name, "it is not encrypted"),
        Ok(KeyExport::Verified(at)) => {
            Finding::ok("keys", name, format!("an export of its root key opened it on {at}"))
        }
        Ok(KeyExport::Passphrase) => Finding::new(
            State::NotKnown,
            about,
            "it opens with a passphrase, and no program knows where else that is kept",
            "",
        ),
        Ok(KeyExport::NotVerified) => Finding::new(
            State::Look,
            about,
            "no export of its root key was verified: without the key everything is lost",
            format!(
                "have one in another place, and try it: `lucid keys export FILE --of {name}`, then `lucid keys \
                 verify-export FILE`"
            ),
        ),
        Ok(KeyExport::Unknown(why)) => Finding::new(
            State::NotKnown,
            about,
            format!("whether an export of its root key was verified cannot be read: {why}"),
            "try one: `lucid keys verify-export FILE`",
        ),
        Err(error) => Finding::new(
            State::Wrong,
            about,
            format!("STORE or the data keys cannot be read: {error}"),
            "put them back from a copy",
        ),
    }
}

/// How old what a second store has is.
pub fn mirror(root: &Path, now: Timestamp) -> Finding {
    let about = ("mirror", "data-chain");
    let again = "`lucid mirror DEST` brings a second store up to date";
    match Note::read(root, Noted::Mirrored) {
        None => Finding::new(
            State::Look,
            about,
            "no mirror of this store was made from here",
            "`lucid mirror DEST` keeps the same sessions in a second store",
        ),
        Some(note) => {
            let found = format!("{} was mirrored to {}", ago(note.at, now), note.about);
            match note.is_sound {
                false => {
                    Finding::new(State::Wrong, about, format!("{found}, and not all of it"), again)
                }
                true => aged(about, found, note.at, now, MIRROR_DAYS, again),
            }
        }
    }
}

/// When every byte was verified last.
pub fn verified(root: &Path, now: Timestamp) -> Finding {
    let about = ("verified", "data-chain");
    let again = "`lucid verify --all` reads every byte";
    match Note::read(root, Noted::Verified) {
        None => Finding::new(State::Look, about, "not every byte was verified yet", again),
        Some(note) => {
            let found = format!("{} every byte was verified", ago(note.at, now));
            match note.is_sound {
                false => {
                    Finding::new(State::Wrong, about, format!("{found}, and faults found"), again)
                }
                true => aged(about, found, note.at, now, VERIFIED_DAYS, again),
            }
        }
    }
}

fn aged(
    about: (&'static str, &str),
    found: String,
    at: Timestamp,
    now: Timestamp,
    [look, wrong]: [u64; 2],
    remedy: &str,
) -> Finding {
    match (is_older(at, now, wrong), is_older(at, now, look)) {
        (true, _) => Finding::new(State::Wrong, about, found, remedy),
        (_, true) => Finding::new(State::Look, about, found, remedy),
        _ => Finding::ok(about.0, about.1, found),
    }
}

/// Whether tokens of these lists are about to count no more. Of other credentials nothing can be told.
pub fn tokens(lists: &[PathBuf], now: Timestamp) -> Finding {
    let (mut count, mut worst) = (0_u64, State::Ok);
    let (mut ending, mut of) = (Vec::new(), Vec::new());
    for path in lists {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return unread(path, &error),
        };
        let list: TokenList = match text.parse() {
            Ok(list) => list,
            Err(fault) => return unread(path, &fault),
        };
        of.push(path.display().to_string());
        for token in list.entries() {
            count += 1;
            let Some(expires) = token.expires else { continue };
            let state = ends(expires, now);
            if state != State::Ok {
                worst = worst.max(state);
                let past = if expires <= now { "expired" } else { "expires" };
                ending.push(format!("{} {past} at {expires}", token.name));
            }
        }
    }
    let about = of.join(", ");
    match (count, worst) {
        (0, _) => Finding::ok("tokens", "lists of tokens", "there are none"),
        (_, State::Ok) => Finding::ok("tokens", about, "none is about to expire"),
        _ => Finding::new(
            worst,
            ("tokens", &about),
            ending.join(", "),
            "make new ones with `lucid token create`, and revoke those with `lucid token revoke`",
        ),
    }
}

fn unread(path: &Path, why: &dyn std::fmt::Display) -> Finding {
    let of = path.display().to_string();
    Finding::new(State::Wrong, ("tokens", &of), why.to_string(), "correct what is named")
}

/// What it means that something ends then.
fn ends(at: Timestamp, now: Timestamp) -> State {
    let [look, wrong] = ENDS_DAYS.map(|days| i64::try_from(days * DAY).unwrap_or(i64::MAX));
    match at {
        at if at < now.plus_seconds(wrong) => State::Wrong,
        at if at < now.plus_seconds(look) => State::Look,
        _ => State::Ok,
    }
}

/// How long a certificate counts.
pub fn certificate(file: &Path, now: Timestamp) -> Finding {
    let of = file.display().to_string();
    let about = ("certificate", of.as_str());
    let renew = "put a new one in its place: the services read it again";
    let [look, wrong] = ENDS_DAYS;
    let at = |days: u64| {
        let days = i64::try_from(days * DAY).unwrap_or(i64::MAX);
        fault_at(file, now.plus_seconds(days).as_micros())
    };
    match (at(0), at(wrong), at(look)) {
        (Err(why), ..) => Finding::new(State::Wrong, about, why, renew),
        (Ok(Some(why)), ..) => Finding::said(State::Wrong, about, &format!("{why}; {renew}")),
        (_, Ok(Some(_)), _) => {
            Finding::new(State::Wrong, about, format!("it ends within {wrong} days"), renew)
        }
        (.., Ok(Some(_))) => {
            Finding::new(State::Look, about, format!("it ends within {look} days"), renew)
        }
        _ => Finding::ok("certificate", of.clone(), format!("it counts for {look} days and more")),
    }
}
