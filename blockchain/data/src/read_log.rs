//! The read log: what is asked of the service, on its way to the sessions that keep it ([`crate::ops::audit`]).
//!
//! Requests bring entries ([`witness`]), a thread writes them ([`crate::workers::read_log`]). A commit costs as much as
//! many entries, so they go together: an entry waits up to half a millisecond for each read that is under way, and ten
//! at most. One caller alone waits for one commit, and for nobody.
//!
//! Invariants: what waits to be written is bounded, and where there is no room nothing is given that would have to be
//! noted; an entry about what was done is tried again for as long as the service runs, and who waits for one that fails
//! is told at once.

mod body;
mod gathering;
pub mod witness;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use lucid_api::v1::audit::{AuditEnd, AuditEntry, AuditKind};
use lucid_core::time::Timestamp;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use self::gathering::{Alike, Gathering};

/// Bytes of entries that wait, about: from there on, nothing more is begun that would have to be noted.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// From there on, entries about what was done are lost, and counted.
const KEPT_BYTES_MAX: usize = 2 * WAITING_BYTES_MAX;
/// What an entry takes beside its line.
const ENTRY_BYTES: usize = 64;
/// Most lines are shorter.
const LINE_BYTES: usize = 512;

/// An entry that is not written, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the read log cannot be written: {0}")]
pub struct Unrecorded(Arc<str>);

/// The entries that wait. Cloning shares them.
#[derive(Clone, Default)]
pub struct ReadLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
    /// Reads that are not answered yet.
    under_way: AtomicUsize,
    /// Entries that are waited for.
    awaited: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    entries: Vec<Waiting>,
    /// When the first came of those that are waited for.
    since: Option<Instant>,
    /// Bytes of entries that wait, or are being written.
    bytes: usize,
    /// Entries for which there was no room.
    lost: u64,
    gathering: Gathering,
    fault: Option<Arc<str>>,
    is_ending: bool,
}

/// A reply that is under way.
pub(crate) struct UnderWay(ReadLog);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.came();
    }
}

/// An entry, and who waits for it.
pub(crate) struct Waiting {
    /// As it is kept, with the end of its line.
    pub(crate) line: Vec<u8>,
    waiter: Option<oneshot::Sender<Result<(), Unrecorded>>>,
    /// Whether it is true even if it cannot be written, and so is tried again.
    is_kept: bool,
}

/// What there is to write.
pub(crate) struct Batch {
    pub(crate) entries: Vec<Waiting>,
    /// Whether these are the last.
    pub(crate) is_last: bool,
}

/// Comes when an entry is durable.
pub(crate) struct Written(Result<oneshot::Receiver<Result<(), Unrecorded>>, Unrecorded>);

impl Future for Written {
    type Output = Result<(), Unrecorded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Err(why) => Poll::Ready(Err(why.clone())),
            Ok(written) => Pin::new(written).poll(cx).map(|written| match written {
                Ok(written) => written,
                Err(_) => Err(Unrecorded("the service ends".into())),
            }),
        }
    }
}

/// An entry as it is kept.
fn line(entry: &AuditEntry) -> Result<Vec<u8>, Unrecorded> {
    let mut line = Vec::with_capacity(LINE_BYTES);
    serde_json::to_writer(&mut line, entry)
        .map_err(|error| Unrecorded(error.to_string().into()))?;
    line.push(b'\n');
    Ok(line)
}

/// How full the read log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFigures {
    /// Entries that wait.
    pub entries: usize,
    /// Bytes of entries that wait, or are being written.
    pub bytes: usize,
    /// From so many on, nothing is given that would have to be noted.
    pub bytes_max: usize,
}

/// Counts entries for which there was no room.
fn count_lost(entries: u64) {
    metrics::counter!("lucid_read_log_lost_total").increment(entries);
}

impl ReadLog {
    /// How full it is.
    pub fn figures(&self) -> LogFigures {
        let queue = self.0.queue.lock();
        let (entries, bytes) = (queue.entries.len(), queue.bytes);
        LogFigures { entries, bytes, bytes_max: WAITING_BYTES_MAX }
    }

    /// Why the last entries could not be written, if so.
    pub fn fault(&self) -> Option<String> {
        self.0.queue.lock().fault.as_deref().map(str::to_owned)
    }

    /// Counts a read that is under way: it may bring an entry, with which others can go.
    pub(crate) fn comes(&self) {
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts a reply that others may wait for, until this is dropped.
    pub(crate) fn follow(&self) -> UnderWay {
        self.comes();
        UnderWay(self.clone())
    }

    /// Counts it no longer.
    pub(crate) fn came(&self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        if self.0.awaited.load(Ordering::SeqCst) > 0 && self.others() == 0 {
            let _queue = self.0.queue.lock();
            self.0.news.notify_one();
        }
    }

    /// Writes an entry about what was done, or refused.
    pub(crate) fn write(&self, entry: AuditEntry) -> Written {
        self.push(&entry, true)
    }

    /// Writes an entry about what is done only if it is written.
    pub(crate) fn ask(&self, entry: AuditEntry) -> Written {
        self.push(&entry, false)
    }

    fn push(&self, entry: &AuditEntry, is_kept: bool) -> Written {
        let line = match line(entry) {
            Ok(line) => line,
            Err(why) => return Written(Err(why)),
        };
        let (waiter, written) = oneshot::channel();
        let mut queue = self.0.queue.lock();
        // What is done already has more room than what may still be refused.
        if queue.bytes >= if is_kept { KEPT_BYTES_MAX } else { WAITING_BYTES_MAX } {
            queue.lost += u64::from(is_kept);
            count_lost(u64::from(is_kept));
            let why = queue.fault.clone();
            let why = why.unwrap_or_else(|| "it does not keep up with what is asked".into());
            return Written(Err(Unrecorded(why)));
        }
        queue.push(Waiting { line, waiter: Some(waiter), is_kept });
        let is_first = self.0.awaited.fetch_add(1, Ordering::SeqCst) == 0;
        if is_first {
            queue.since = Some(Instant::now());
        }
        drop(queue);
        if is_first || self.others() == 0 {
            self.0.news.notify_one();
        }
        Written(Ok(written))
    }

    /// Writes an entry that nobody waits for: of what was let in when there was room.
    pub(crate) fn note(&self, entry: AuditEntry) {
        self.0.queue.lock().note(&entry);
    }

    /// How many are under way with whom those that wait could go.
    fn others(&self) -> usize {
        let awaited = self.0.awaited.load(Ordering::SeqCst);
        self.0.under_way.load(Ordering::SeqCst).saturating_sub(awaited)
    }

    /// Notes a request of which many may be alike: the first by itself, the others of the next minute together.
    pub(crate) fn gather(&self, alike: Alike, entry: AuditEntry) {
        let mut queue = self.0.queue.lock();
        let now = Instant::now();
        let single = queue.gathering.add(alike, entry, now);
        single.iter().for_each(|entry| queue.note(entry));
    }

    /// Waits for entries that are worth a commit, at most so long.
    pub(crate) fn next(&self, at_most: Duration) -> Batch {
        let mut queue = self.0.queue.lock();
        let at_most = if queue.fault.is_some() { at_most.min(RETRY) } else { at_most };
        let until = Instant::now() + at_most;
        loop {
            let now = Instant::now();
            let others = u32::try_from(self.others()).unwrap_or(u32::MAX);
            let together = TOGETHER.min(EACH.saturating_mul(others));
            let due = queue.since.map_or(until, |since| until.min(since + together));
            if queue.is_ending || now >= due {
                break;
            }
            self.0.news.wait_for(&mut queue, due - now);
        }
        let (now, is_last) = (Instant::now(), queue.is_ending);
        for entry in queue.gathering.take(now, is_last) {
            queue.note(&entry);
        }
        queue.since = None;
        self.0.awaited.store(0, Ordering::SeqCst);
        Batch { entries: std::mem::take(&mut queue.entries), is_last }
    }

    /// Says that these could be written.
    pub(crate) fn is_well(&self, written: &[Waiting]) {
        let mut queue = self.0.queue.lock();
        queue.fault = None;
        queue.bytes -= written.iter().map(Waiting::bytes).sum::<usize>();
        let lost = std::mem::take(&mut queue.lost);
        drop(queue);
        if lost > 0 {
            tracing::error!(
                entries = lost,
                "there was no room for some of the read log, and they are lost"
            );
        }
    }

    /// Tells those that wait for entries that they are durable.
    pub(crate) fn wrote(entries: Vec<Waiting>) {
        for waiter in entries.into_iter().filter_map(|entry| entry.waiter) {
            // A caller that is gone was noted all the same.
            let _gone = waiter.send(Ok(()));
        }
    }

    /// Says that entries are not written, and keeps those that are true all the same.
    pub(crate) fn failed(&self, mut entries: Vec<Waiting>, why: &str) {
        let why: Arc<str> = why.into();
        for waiter in entries.iter_mut().filter_map(|waiting| waiting.waiter.take()) {
            let _gone = waiter.send(Err(Unrecorded(why.clone())));
        }
        let mut given_up = 0;
        entries.retain(|waiting| {
            given_up += if waiting.is_kept { 0 } else { waiting.bytes() };
            waiting.is_kept
        });
        let mut queue = self.0.queue.lock();
        queue.fault = Some(why);
        queue.bytes -= given_up;
        entries.append(&mut queue.entries);
        queue.entries = entries;
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&self) {
        self.0.queue.lock().is_ending = true;
        self.0.news.notify_all();
    }
}

/// So long entries wait for others, if many are under way.
const TOGETHER: Duration = Duration::from_millis(10);
/// So long they wait for each of them.
const EACH: Duration = Duration::from_micros(500);
/// After a failure it is tried again when something comes, and after so long besides.
const RETRY: Duration = Duration::from_millis(200);

impl Waiting {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.line.len()
    }
}

impl Queue {
    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.entries.push(waiting);
    }

    fn note(&mut self, entry: &AuditEntry) {
        match line(entry) {
            Ok(_) if self.bytes >= KEPT_BYTES_MAX => {
                self.lost += 1;
                count_lost(1);
            }
            Ok(line) => self.push(Waiting { line, waiter: None, is_kept: true }),
            Err(error) => tracing::error!(%error, "an entry cannot be noted"),
        }
    }
}

/// An entry about nothing yet.
pub(crate) fn entry(at: Timestamp, kind: AuditKind, method: &str, target: String) -> AuditEntry {
    AuditEntry {
        at: at.to_string(),
        kind,
        caller: None,
        from: String::new(),
        method: method.to_owned(),
        target,
        session: None,
        chunks: Vec::new(),
        range: None,
        bytes: None,
        status: None,
        ended: AuditEnd::Whole,
        times: None,
        until: None,
        request_id: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str) -> AuditEntry {
        entry(Timestamp::from_micros(0), AuditKind::Read, "GET", target.to_owned())
    }

    #[tokio::test]
    async fn an_entry_that_fails_is_told_at_once_and_kept() {
        let log = ReadLog::default();
        let written = log.write(read("/a"));
        log.note(read("/b"));
        let asked = log.ask(read("/c"));
        let batch = log.next(Duration::from_secs(9));
        assert_eq!(batch.entries.len(), 3);
        log.failed(batch.entries, "the disk is full");
        for written in [written, asked] {
            assert!(written.await.unwrap_err().to_string().contains("the disk is full"));
        }
        assert_eq!(log.fault().as_deref(), Some("the disk is full"));
        let again = log.next(Duration::ZERO);
        // The last one was asked for, and was not given.
        let kept = again.entries.iter().map(|waiting| String::from_utf8_lossy(&waiting.line));
        let kept: Vec<_> = kept.map(|line| line.contains("/a") || line.contains("/b")).collect();
        assert_eq!(kept, [true, true]);
        log.is_well(&again.entries);
        assert_eq!(log.0.queue.lock().bytes, 0);
        ReadLog::wrote(again.entries);
        assert_eq!(log.fault(), None);
    }

    #[tokio::test]
    async fn where_there_is_no_room_nothing_more_is_begun() {
        let log = ReadLog::default();
        let target = "x".repeat(1 << 20);
        let mut kept = Vec::new();
        for _ in 0..40 {
            kept.push(log.ask(read(&target)));
        }
        let refused = kept.pop().unwrap().await.unwrap_err();
        assert!(refused.to_string().contains("does not keep up"), "{refused}");
        let batch = log.next(Duration::ZERO);
        assert!((31..34).contains(&batch.entries.len()), "{}", batch.entries.len());
        ReadLog::wrote(batch.entries);
        assert_eq!(kept.swap_remove(0).await, Ok(()));
    }

    #[test]
    fn entries_wait_for_those_that_are_coming_and_not_for_long() {
        let log = ReadLog::default();
        let waits = |count| {
            let begun = Instant::now();
            assert_eq!(log.next(Duration::from_secs(9)).entries.len(), count);
            begun.elapsed()
        };
        (0..40).for_each(|_| log.comes());
        let _one = log.write(read("/a"));
        let waited = waits(1);
        assert!((TOGETHER..TOGETHER * 100).contains(&waited), "{waited:?}");
        // All forty.
        let _all: Vec<_> = (0..40).map(|_| log.write(read("/b"))).collect();
        let waited = waits(40);
        assert!(waited < TOGETHER, "{waited:?}");
        (0..39).for_each(|_| log.came());
        let _last = log.write(read("/c"));
        let waited = waits(1);
        assert!(waited < TOGETHER, "{waited:?}");
    }

    #[tokio::test]
    async fn who_waits_while_the_service_ends_is_told() {
        let log = ReadLog::default();
        let written = log.write(read("/a"));
        log.end();
        let batch = log.next(Duration::from_secs(9));
        assert!(batch.is_last);
        drop(batch);
        assert!(written.await.is_err());
    }
}
