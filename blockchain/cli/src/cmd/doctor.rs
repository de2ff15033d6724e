//! `lucid doctor`: looks at what makes a folder refuse its work, and says what an operator alone can say.

use lucid_block_manager::opened::{Options, accept_clock};
use lucid_core::time::Timestamp;
use serde::Serialize;

use super::chain::chain_of;
use super::{DONE, Home, now};
use crate::output::Output;
use crate::place::local::manager_options;

/// Arguments of `lucid doctor`.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Say that this machine's clock is right, though it is far ahead of the newest block. Blocks are made
    /// again.
    #[arg(long, required = true)]
    accept_clock: bool,
}

#[derive(Serialize)]
struct Done {
    clock: Timestamp,
    newest_block: Option<Timestamp>,
    produces: bool,
}

impl Doctor {
    /// Notes what was said.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        anyhow::ensure!(
            home.server.is_none(),
            "a clock is accepted in a folder, and --server (LUCID_DATA_CHAIN_URL) names a server: stop its \
             block-manager, leave that out, and name its folder with --data"
        );
        let folder = chain_of(home);
        let common = manager_options(home, "`lucid doctor`", &folder);
        let clock = now();
        let accepted = accept_clock(&folder, &Options { create: false, ..common }, clock)?;
        let done = Done { clock, newest_block: accepted.tip, produces: accepted.produces };
        output.result(&done, |done| {
            let tip = match done.newest_block {
                Some(tip) => format!("the newest block is of {tip}"),
                None => "there is no block yet".to_owned(),
            };
            let mut lines = vec![format!("the clock is taken for right: {}; {tip}", done.clock)];
            if !done.produces {
                lines.push(
                    "no block can be made before the newest one's time: if that is what is wrong, `lucid \
                     chain begin-anew` begins another chain"
                        .into(),
                );
            }
            lines
        })?;
        Ok(DONE)
    }
}
