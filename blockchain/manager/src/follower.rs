//! What a running follower knows: whom it follows, how far that is, and that one round runs at a time.
//!
//! The worker and the route make rounds; health, metrics and the chain's status read what came of them.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use lucid_api::client::{ClientError, ClientOptions, GivenUp, Retry};
use lucid_api::v1::sync::{Divergence, SyncReport, SyncState, SyncStatus, TentativeBlock};
use lucid_core::time::Timestamp;
use lucid_http::config::Outbound;
use lucid_http::serve::Shutdown;
use lucid_store::StoreError;
use parking_lot::Mutex;

use crate::config::Follow;
use crate::fact::forks;
use crate::figures;
use crate::opened::Opened;
use crate::ops::sync_chain::{Following, RoundOutcome, SyncError, sync_chain};
use crate::ops::take_blocks::Pins;
use crate::peer::http::HttpPeer;
use crate::peer::{Peer, PeerError};

/// A follower that has heard nothing for so many intervals is not well.
const SILENT_INTERVALS: u32 = 3;
/// A slow peer is asked for so many times half as much at once at most.
const SLOW_MAX: u32 = 16;
/// And never before so long.
const SILENT_AT_LEAST: Duration = Duration::from_secs(60);

/// Whom a service follows, and how that goes.
pub struct Follower {
    peer: HttpPeer,
    batch: u32,
    interval: Duration,
    running: Mutex<()>,
    course: Mutex<SyncCourse>,
}

#[derive(Default)]
struct SyncCourse {
    state: SyncState,
    remote: Option<u64>,
    blocks: u64,
    began: Option<Timestamp>,
    well: Option<Timestamp>,
    failures: u64,
    slow: u32,
    error: Option<String>,
}

impl Follower {
    /// Follows whom the settings name, and calls it as they say.
    pub fn new(
        follow: &Follow,
        outbound: &Outbound,
        shutdown: Shutdown,
    ) -> Result<Self, ClientError> {
        let options = outbound.options(GivenUp::when(move || shutdown.is_asked()));
        let options = ClientOptions { timeout: follow.timeout, ..options };
        Ok(Self {
            peer: HttpPeer::with(follow.peer.expose(), options)?,
            batch: follow.batch,
            interval: follow.interval,
            running: Mutex::new(()),
            course: Mutex::new(SyncCourse { state: SyncState::Starting, ..SyncCourse::default() }),
        })
    }

    /// The peer.
    pub fn peer(&self) -> &HttpPeer {
        &self.peer
    }

    /// Makes rounds until everything the peer has is here; `None` if another thread is about it. `now` is
    /// asked for each round, `stop` often; `begun` is called once it is known that nobody else is about it.
    pub fn synchronise(
        &self,
        manager: &Opened,
        now: &dyn Fn() -> Timestamp,
        stop: &dyn Fn() -> bool,
        begun: impl FnOnce(),
    ) -> Option<Result<SyncReport, SyncError>> {
        let _running = self.running.try_lock()?;
        begun();
        let mut brought = 0;
        loop {
            self.begin(now());
            let round = self.round(manager, now, stop);
            self.end(manager, &round, now());
            match round {
                Err(error) => return Some(Err(error)),
                Ok((blocks, outcome)) => {
                    brought += blocks;
                    if outcome != RoundOutcome::More || blocks == 0 || stop() {
                        return Some(
                            self.report(manager, brought, outcome).map_err(SyncError::from),
                        );
                    }
                }
            }
        }
    }

    fn round(
        &self,
        manager: &Opened,
        now: &dyn Fn() -> Timestamp,
        stop: &dyn Fn() -> bool,
    ) -> Result<(u64, RoundOutcome), SyncError> {
        let following = Following {
            vault: &manager.vault,
            chain: manager.chain.as_ref(),
            staging: &manager.staging,
            peer: &self.peer,
            pins: Pins { genesis: manager.kind.genesis, producer: manager.kind.producer },
            batch: self.batch,
            slow: self.course.lock().slow,
        };
        let before = self.course.lock().blocks;
        let began = Instant::now();
        let synced = sync_chain(&following, now(), &|progress| {
            let mut course = self.course.lock();
            course.remote = progress.remote;
            if course.blocks < before + progress.blocks {
                // A long round is well as long as it goes on.
                (course.blocks, course.well) = (before + progress.blocks, Some(now()));
            }
            if stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        figures::STAGES.took("follow", began.elapsed());
        self.course.lock().blocks = before + synced.blocks;
        metrics::counter!("lucid_sync_blocks_total").increment(synced.blocks);
        Ok((synced.blocks, synced.outcome))
    }

    fn begin(&self, now: Timestamp) {
        let mut course = self.course.lock();
        course.began = Some(now);
        if course.state == SyncState::Starting {
            course.state = SyncState::Syncing;
        }
    }

    fn end(
        &self,
        manager: &Opened,
        round: &Result<(u64, RoundOutcome), SyncError>,
        now: Timestamp,
    ) {
        let mut course = self.course.lock();
        match round {
            Ok((blocks, outcome)) => {
                course.state = match outcome {
                    RoundOutcome::Synchronized => SyncState::Synchronized,
                    RoundOutcome::PeerBehind => SyncState::PeerBehind,
                    RoundOutcome::More => SyncState::Syncing,
                };
                (course.well, course.failures, course.error) = (Some(now), 0, None);
                course.slow = course.slow.saturating_sub(1);
                if *blocks > 0 {
                    tracing::info!(blocks, peer = self.peer.name(), "blocks were synchronized");
                }
            }
            Err(error) => {
                let sentence = error.to_string();
                if course.error.as_ref() != Some(&sentence) {
                    tracing::warn!(
                        error = sentence,
                        peer = self.peer.name(),
                        "synchronising failed"
                    );
                }
                course.state = state_of(error);
                if matches!(
                    error,
                    SyncError::Peer(PeerError::Unreachable(_) | PeerError::Unreadable(_))
                ) {
                    course.slow = (course.slow + 1).min(SLOW_MAX);
                }
                course.failures += 1;
                course.error = Some(sentence);
                metrics::counter!("lucid_sync_failures_total").increment(1);
            }
        }
        let local = manager.chain.tip().ok().flatten().map(|tip| tip.height);
        metrics::gauge!("lucid_sync_lag_blocks").set(lag(local, course.remote) as f64);
    }

    /// A round ended before it could say how.
    pub fn note_mistake(&self, why: &str) {
        let mut course = self.course.lock();
        course.state = SyncState::Failed;
        course.failures += 1;
        course.error = Some(why.to_owned());
    }

    fn report(
        &self,
        manager: &Opened,
        synced_blocks: u64,
        outcome: RoundOutcome,
    ) -> Result<SyncReport, StoreError> {
        let local_height = manager.chain.tip()?.map(|tip| tip.height);
        let remote_height = self.course.lock().remote;
        let tentative = manager.staging.list().len();
        let behind = outcome == RoundOutcome::PeerBehind;
        let message = match (behind, tentative) {
            (true, _) => {
                Some("the peer has fewer blocks than this chain, and the same ones".to_owned())
            }
            (false, 0) => None,
            (false, 1) => Some("1 block is tentative: it is not final yet".to_owned()),
            (false, count) => Some(format!("{count} blocks are tentative: they are not final yet")),
        };
        let synchronized = outcome != RoundOutcome::More;
        Ok(SyncReport {
            success: true,
            synchronized,
            synced_blocks,
            local_height,
            remote_height,
            message,
        })
    }

    /// How it is.
    pub fn status(&self, manager: &Opened) -> Result<SyncStatus, StoreError> {
        let local_height = manager.chain.tip()?.map(|tip| tip.height);
        let staged = manager.staging.list();
        let divergences = forks(manager.vault.index())?.into_iter().map(|fork| Divergence {
            height: fork.height,
            found_at: fork.at.to_string(),
            ours: fork.ours,
            theirs: fork.theirs,
        });
        let course = self.course.lock();
        Ok(SyncStatus {
            enabled: true,
            peer: Some(self.peer.name().to_owned()),
            state: course.state,
            local_height,
            tentative_height: staged.last().map(|top| top.height),
            remote_height: course.remote,
            lag: lag(local_height, course.remote),
            synced_blocks: course.blocks,
            last_success: course.well.map(|at| at.to_string()),
            last_attempt: course.began.map(|at| at.to_string()),
            failures: course.failures,
            last_error: course.error.clone(),
            tentative: staged
                .iter()
                .map(|staged| TentativeBlock {
                    index: staged.height,
                    hash: staged.hash,
                    first_seen: staged.first_seen.to_string(),
                })
                .collect(),
            divergences: divergences.collect(),
        })
    }

    /// Why synchronisation is not well, if so.
    pub fn fault(&self, opened_at: Timestamp, now: Timestamp) -> Option<String> {
        let course = self.course.lock();
        let said = course.error.as_deref();
        if matches!(
            course.state,
            SyncState::Diverged | SyncState::Refused | SyncState::UnsupportedHashRule
        ) {
            return Some(said.unwrap_or("the peer's chain is not this one").to_owned());
        }
        let patience = (self.interval * SILENT_INTERVALS).max(SILENT_AT_LEAST).as_secs();
        let since = course.well.unwrap_or(opened_at);
        let silent = now > since.plus_seconds(i64::try_from(patience).unwrap_or(i64::MAX));
        silent.then(|| {
            let why = said.unwrap_or("no round has ended");
            format!("nothing was synchronized since {since}: {why}")
        })
    }

    /// How long to wait for the next round.
    pub fn pause(&self, round: Option<&SyncError>) -> Duration {
        let failures = self.course.lock().failures;
        match round {
            // What may pass by itself is asked for again soon, and then ever more rarely.
            Some(
                SyncError::Peer(PeerError::Unreachable(_) | PeerError::Unreadable(_))
                | SyncError::Outrun(_),
            ) => {
                let retry = Retry { count: u32::MAX, delay: Duration::from_secs(1) };
                let attempt = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
                retry.wait(attempt).min(self.interval)
            }
            _ => self.interval,
        }
    }
}

fn lag(local: Option<u64>, remote: Option<u64>) -> u64 {
    let count = |height: Option<u64>| height.map_or(0, |height| height.saturating_add(1));
    count(remote).saturating_sub(count(local))
}

fn state_of(error: &SyncError) -> SyncState {
    match error {
        SyncError::Peer(_) => SyncState::Unreachable,
        SyncError::Refused { .. } => SyncState::Refused,
        SyncError::NotYet { .. } => SyncState::NotYet,
        SyncError::UnsupportedHashRule { .. } => SyncState::UnsupportedHashRule,
        SyncError::Diverged(_) => SyncState::Diverged,
        SyncError::Store(_) | SyncError::Commit(_) | SyncError::Outrun(_) => SyncState::Failed,
    }
}
