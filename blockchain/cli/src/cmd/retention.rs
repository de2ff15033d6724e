//! `lucid retention`: which sessions may be removed from when on, and what forbids it until then.

use lucid_api::v1::sessions::Session;
use lucid_core::time::Timestamp;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use serde::Serialize;

use super::{DONE, Home, finish, open};
use crate::output::{Align, Output, table};
use crate::when;

/// Arguments of `lucid retention`.
#[derive(Debug, clap::Args)]
pub struct Retention {
    /// When sessions would go that are kept for so many days (DATA_CHAIN_KEEP_DAYS of a service).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: Option<u32>,
}

/// When a session goes, or may.
#[derive(Serialize)]
struct Going {
    session_id: String,
    /// The time of the block that has its anchor: its age counts from then.
    #[serde(skip_serializing_if = "Option::is_none")]
    anchored_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retain_until: Option<String>,
    held: bool,
    /// When it goes by itself; absent where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    goes_at: Option<String>,
}

const DAY_SECONDS: i64 = 86_400;

impl Retention {
    /// Prints a table, or one object a line.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        let place = open(home, "retention", output)?;
        let mut rows = Vec::new();
        place.sessions(&SessionFilter::default(), &mut |session| {
            let going = self.going(session);
            if output.mode().json {
                output.item(&going, |_| "")?;
                return Ok(());
            }
            let time = |text: Option<String>| text.as_deref().map(when::shown).unwrap_or_default();
            rows.push(vec![
                going.session_id,
                time(going.anchored_at),
                time(going.retain_until),
                if going.held { "held".to_owned() } else { String::new() },
                time(going.goes_at),
            ]);
            Ok(())
        })?;
        if !output.mode().json {
            let columns = [
                ("session", Align::Left),
                ("anchored", Align::Left),
                ("kept until", Align::Left),
                ("held", Align::Left),
                ("goes", Align::Left),
            ];
            output.lines(&table(&columns, rows))?;
        }
        finish(place, DONE)
    }

    fn going(&self, session: Session) -> Going {
        let anchored_at = session.anchor.and_then(|anchor| anchor.confirmed_at);
        let held = session.hold.is_some();
        let read =
            |text: &Option<String>| text.as_deref().and_then(|text| Timestamp::parse(text).ok());
        let over = read(&anchored_at).zip(self.keep_days);
        let over = over.map(|(at, days)| at.plus_seconds(DAY_SECONDS * i64::from(days)));
        // What is kept longer than its age asks for goes by its age, once it may.
        let goes =
            over.map(|over| read(&session.retain_until).map_or(over, |until| over.max(until)));
        Going {
            session_id: session.session_id,
            anchored_at,
            retain_until: session.retain_until,
            held,
            goes_at: goes.filter(|_| !held).map(|goes| goes.to_string()),
        }
    }
}
