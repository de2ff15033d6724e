//! Blocks of a peer, many requests at a time, given away in their order.
//!
//! One thread reads heads and says whether they hang together; others fetch bodies, whichever is next.
//! The caller takes the blocks one by one. What is fetched and not yet taken has a bound in bytes: beyond
//! it only the block that is waited for is fetched. So a peer decides neither about memory nor about time.
//!
//! In one file because asking ahead, in order and within memory is one protocol with a peer; a sixth are its tests.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lucid_api::behalf::Behalf;
use lucid_api::v1::sync::{BODY_BYTES_MAX, RUN_BYTES_MAX};
use lucid_core::block::{Candidate, Parent};
use lucid_core::digest::BlockHash;
use lucid_core::limits::{BLOCK_TIME_TOLERANCE_SECONDS, BLOCK_TRANSACTIONS_MAX};
use lucid_core::record::{Head, decode_body};
use lucid_core::time::Timestamp;
use parking_lot::{Condvar, Mutex};

use super::SyncError;
use crate::ops::take_blocks::Pins;
use crate::peer::ENGINE_BLOCK_BYTES_MAX;
use crate::peer::{Peer, PeerError, Speaks};

/// Fetched and not yet taken, in bytes; what is on its way counts with what it may have.
const BUDGET_BYTES: usize = 64 << 20;
/// Heads in one request.
const HEADS: u32 = 2_000;
/// A request for bodies aims at so many bytes.
const BODIES_BYTES: u64 = 1 << 20;
/// What a transaction is taken to have until its body is there.
const TRANSACTION_BYTES: u64 = 256;
/// Requests at once to a peer that gives many blocks in one.
const RUN_REQUESTS: usize = 12;
/// Requests at once to a peer that gives one block in each.
const BLOCK_REQUESTS: usize = 32;
/// What one block's JSON is expected to have at most; longer ones come one at a time.
const BLOCK_BYTES: usize = 2 << 20;
/// Requests that are planned ahead.
const PLANNED_MAX: usize = 256;
/// How often a wait looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// Which blocks are to be fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchPlan {
    /// How the peer speaks.
    pub(super) speaks: Speaks,
    /// The first height.
    pub(super) from: u64,
    /// The last height; below the first there is nothing to fetch.
    pub(super) to: u64,
    /// The block before the first.
    pub(super) after: Option<Parent>,
    /// What the chain must be.
    pub(super) pins: Pins,
    /// Bodies in one request at most.
    pub(super) batch: u32,
    /// It is asked for half as much at a time for each of these.
    pub(super) slow: u32,
    /// The clock.
    pub(super) now: Timestamp,
}

/// A block that was fetched: nobody has judged it yet.
pub(super) struct Fetched {
    pub(super) height: u64,
    pub(super) candidate: Candidate,
    pub(super) bytes: usize,
}

/// A request: consecutive blocks, with their heads where the peer gives such.
struct FetchTask {
    number: u64,
    from: u64,
    heads: VecDeque<Head>,
}

/// What came of a task so far: blocks, and why no more did.
#[derive(Default)]
struct Fetching {
    blocks: Vec<Fetched>,
    fault: Option<SyncError>,
    /// Whether this is all that comes of it.
    is_whole: bool,
}

impl Fetching {
    fn failed(fault: SyncError) -> Self {
        Self { fault: Some(fault), is_whole: true, ..Self::default() }
    }

    fn bytes(&self) -> usize {
        self.blocks.iter().map(|fetched| fetched.bytes).sum()
    }
}

#[derive(Default)]
struct State {
    tasks: VecDeque<FetchTask>,
    done: BTreeMap<u64, Fetching>,
    /// The task whose blocks are taken next.
    next: u64,
    planned: u64,
    all_planned: bool,
    held_bytes: usize,
    cancelled: bool,
}

struct Fetcher<'a> {
    peer: &'a dyn Peer,
    plan: FetchPlan,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while a block is fetched that is longer than expected.
    long: Mutex<()>,
}

/// Fetches while `take` takes: it is given the blocks in order, and an error once there are no more. `on`
/// says whether the caller still wants them.
pub(super) fn fetched<T>(
    peer: &dyn Peer,
    plan: &FetchPlan,
    on: &dyn Fn() -> bool,
    take: impl FnOnce(&mut dyn Iterator<Item = Result<Fetched, SyncError>>) -> T,
) -> T {
    let fetcher = Fetcher {
        peer,
        plan: *plan,
        state: Mutex::default(),
        changed: Condvar::new(),
        long: Mutex::new(()),
    };
    let nothing = plan.from > plan.to;
    std::thread::scope(|scope| {
        // When `take` ends, even by a panic, the fetching for it ends, too.
        let _ended = Cancel(&fetcher);
        if !nothing {
            let start = |work: fn(&Fetcher<'_>)| {
                let (fetcher, behalf) = (&fetcher, Behalf::current());
                let work = move || match behalf {
                    Some(behalf) => behalf.run(|| work(fetcher)),
                    None => work(fetcher),
                };
                std::thread::Builder::new().spawn_scoped(scope, work).is_ok()
            };
            let plans = start(|fetcher| fetcher.plan());
            let works = (0..fetcher.requests()).filter(|_| start(|fetcher| fetcher.work())).count();
            if !plans || works == 0 {
                fetcher.give_up();
            }
        }
        let ready = VecDeque::new();
        take(&mut Blocks { fetcher: &fetcher, on, ready, fault: None, ended: nothing })
    })
}

struct Cancel<'a>(&'a Fetcher<'a>);

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The blocks in their order.
struct Blocks<'a> {
    fetcher: &'a Fetcher<'a>,
    on: &'a dyn Fn() -> bool,
    ready: VecDeque<Fetched>,
    /// What comes behind the last of them.
    fault: Option<SyncError>,
    ended: bool,
}

impl Iterator for Blocks<'_> {
    type Item = Result<Fetched, SyncError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && self.fault.is_none() && !self.ended {
            match self.fetcher.next_batch(self.on) {
                Some(batch) => {
                    self.ready.extend(batch.blocks);
                    self.fault = batch.fault;
                }
                None => self.ended = true,
            }
        }
        if let Some(fetched) = self.ready.pop_front() {
            return Some(Ok(fetched));
        }
        self.ended = true;
        self.fault.take().map(Err)
    }
}

impl Fetcher<'_> {
    fn requests(&self) -> usize {
        let requests = match self.plan.speaks {
            Speaks::Runs => RUN_REQUESTS,
            Speaks::Blocks => BLOCK_REQUESTS,
        };
        requests.checked_shr(self.plan.slow).unwrap_or(0).max(1)
    }

    /// What a request may bring, as long as its blocks are as expected.
    fn expected_bytes(&self) -> usize {
        match self.plan.speaks {
            Speaks::Runs => RUN_BYTES_MAX,
            Speaks::Blocks => BLOCK_BYTES,
        }
    }

    fn cancel(&self) {
        self.state.lock().cancelled = true;
        self.changed.notify_all();
    }

    /// The system gives no threads now.
    fn give_up(&self) {
        let mut state = self.state.lock();
        let why = "no thread could be started to fetch blocks".to_owned();
        let next = state.next;
        state.done.insert(next, Fetching::failed(SyncError::Outrun(why)));
    }

    /// Waits for the blocks that come next; `None` when there are no more, or nobody wants them.
    fn next_batch(&self, on: &dyn Fn() -> bool) -> Option<Fetching> {
        let mut state = self.state.lock();
        loop {
            let next = state.next;
            if let Some(batch) = state.done.remove(&next) {
                state.next += u64::from(batch.is_whole);
                state.held_bytes = state.held_bytes.saturating_sub(batch.bytes());
                self.changed.notify_all();
                return Some(batch);
            }
            if (state.all_planned && state.planned == next) || !on() {
                return None;
            }
            self.changed.wait_for(&mut state, LOOK);
        }
    }

    /// Plans the requests; for a peer that gives heads, after having looked at these.
    fn plan(&self) {
        match self.plan.speaks {
            Speaks::Blocks => {
                for height in self.plan.from..=self.plan.to {
                    if !self.put(height, VecDeque::new()) {
                        return;
                    }
                }
            }
            Speaks::Runs => {
                if let Err(error) = self.plan_runs() {
                    let mut state = self.state.lock();
                    let number = state.planned;
                    state.done.insert(number, Fetching::failed(error));
                    state.planned += 1;
                }
            }
        }
        self.state.lock().all_planned = true;
        self.changed.notify_all();
    }

    fn plan_runs(&self) -> Result<(), SyncError> {
        let FetchPlan { from, to, mut after, .. } = self.plan;
        let mut height = from;
        while height <= to {
            let wanted = u32::try_from(to - height + 1).unwrap_or(u32::MAX).min(HEADS);
            let heads = self.peer.heads(height, wanted)?;
            if heads.is_empty() {
                let sentence = format!(
                    "the peer says that it has block {to}, and gives none from {height} on"
                );
                return Err(PeerError::Unreadable(sentence).into());
            }
            let (good, fault) = self.look_at(&heads, height, &mut after);
            // What a key is pinned for: one signature vouches for everything below it.
            let pins = &self.plan.pins;
            let signed = |head: &Head| head.producer.filter(|key| pins.producer.have(key));
            let last = good.iter().rev().find_map(|head| Some((head, signed(head)?)));
            if let Some((last, key)) = last
                && !last.is_signed_by(&key)
            {
                let why = "the producer's signature does not verify".to_owned();
                return Err(SyncError::Refused { height: last.entry.index, why });
            }
            if !self.cut(height, good) {
                return Ok(());
            }
            if let Some(fault) = fault {
                return Err(fault);
            }
            height += heads.len() as u64;
        }
        Ok(())
    }

    /// The heads that hang together, and what is wrong with the one after them.
    fn look_at<'h>(
        &self,
        heads: &'h [Head],
        from: u64,
        after: &mut Option<Parent>,
    ) -> (&'h [Head], Option<SyncError>) {
        for (position, (head, height)) in heads.iter().zip(from..).enumerate() {
            match self.next_parent(head, height, after.as_ref()) {
                Ok(parent) => *after = Some(parent),
                Err(fault) => return (heads.get(..position).unwrap_or_default(), Some(fault)),
            }
        }
        (heads, None)
    }

    /// Holds a head against the one before it.
    fn next_parent(
        &self,
        head: &Head,
        height: u64,
        after: Option<&Parent>,
    ) -> Result<Parent, SyncError> {
        let refused = |why: &str| Err(SyncError::Refused { height, why: why.to_owned() });
        let Ok(parent) = head.as_parent() else { return refused("its time cannot be read") };
        let entry = &head.entry;
        let pins = &self.plan.pins;
        if entry.index != height {
            return refused("the peer gives another block in its place");
        }
        if entry.previous_hash != after.map_or(BlockHash::ZERO, |after| after.hash) {
            return refused(
                "it does not follow the block before: the chain has a gap, or changed while it was read",
            );
        }
        if entry.computed_hash() != entry.hash {
            return refused("it breaks block_hash: the hash is not that of its fields");
        }
        if height == 0 && pins.genesis.is_some_and(|pinned| pinned != entry.hash) {
            return refused("it is another genesis than the pinned one");
        }
        if pins.producer.are_pinned() && head.producer.is_some_and(|key| !pins.producer.have(&key))
        {
            return refused(
                "it breaks block_hash: it is signed by another than the pinned producer",
            );
        }
        if after.is_some_and(|after| parent.time < after.time) {
            return refused("it breaks timestamp: it is older than its parent");
        }
        if entry.transaction_count > BLOCK_TRANSACTIONS_MAX as u64 {
            return refused("it breaks block_structure: it has too many transactions");
        }
        if parent.time >= self.plan.now.plus_seconds(BLOCK_TIME_TOLERANCE_SECONDS) {
            return Err(SyncError::NotYet { height });
        }
        Ok(parent)
    }

    /// Cuts heads into requests of about [`BODIES_BYTES`]; says whether they are still wanted.
    fn cut(&self, from: u64, heads: &[Head]) -> bool {
        let (mut task, mut bytes, mut first) = (VecDeque::new(), 0, from);
        let bytes_max = BODIES_BYTES.checked_shr(self.plan.slow).unwrap_or(0);
        for head in heads {
            bytes += (head.entry.transaction_count + 1) * TRANSACTION_BYTES;
            task.push_back(head.clone());
            if bytes >= bytes_max || task.len() >= self.plan.batch as usize {
                let count = task.len() as u64;
                if !self.put(first, std::mem::take(&mut task)) {
                    return false;
                }
                first += count;
                bytes = 0;
            }
        }
        task.is_empty() || self.put(first, task)
    }

    /// Plans a request, when there is room; says whether it is still wanted.
    fn put(&self, from: u64, heads: VecDeque<Head>) -> bool {
        let mut state = self.state.lock();
        while state.tasks.len() >= PLANNED_MAX && !state.cancelled {
            self.changed.wait(&mut state);
        }
        let number = state.planned;
        state.planned += 1;
        state.tasks.push_back(FetchTask { number, from, heads });
        self.changed.notify_all();
        !state.cancelled
    }

    /// Makes requests until there are no more.
    fn work(&self) {
        while let Some(task) = self.take_task() {
            match self.plan.speaks {
                Speaks::Runs => self.bodies(task),
                Speaks::Blocks => {
                    let batch = match self.block(task.from) {
                        Ok(fetched) => {
                            Fetching { blocks: vec![fetched], fault: None, is_whole: true }
                        }
                        Err(fault) => Fetching::failed(fault),
                    };
                    self.deliver(task.number, batch);
                }
            }
        }
    }

    /// Hands over what one request brought. It counts from now on with the bytes that it has.
    fn deliver(&self, number: u64, batch: Fetching) {
        let bytes = batch.bytes();
        let mut state = self.state.lock();
        state.held_bytes = state.held_bytes.saturating_sub(self.expected_bytes()) + bytes;
        let there = state.done.entry(number).or_default();
        there.blocks.extend(batch.blocks);
        (there.fault, there.is_whole) = (batch.fault, batch.is_whole);
        self.changed.notify_all();
    }

    /// Waits until there is room for one more request of a task; says whether it is still wanted. The task
    /// that is taken from always goes on once what it brought has been taken.
    fn may_go_on(&self, number: u64) -> bool {
        let need = self.expected_bytes();
        let mut state = self.state.lock();
        loop {
            let is_waited_for = number == state.next && !state.done.contains_key(&number);
            if state.cancelled {
                return false;
            }
            if is_waited_for || state.held_bytes + need <= BUDGET_BYTES {
                state.held_bytes += need;
                return true;
            }
            self.changed.wait(&mut state);
        }
    }

    fn take_task(&self) -> Option<FetchTask> {
        let need = self.expected_bytes();
        let mut state = self.state.lock();
        loop {
            if state.cancelled || (state.all_planned && state.tasks.is_empty()) {
                return None;
            }
            let front = state.tasks.front().map(|task| task.number);
            let room = state.held_bytes + need <= BUDGET_BYTES || front == Some(state.next);
            if room && let Some(task) = state.tasks.pop_front() {
                state.held_bytes += need;
                self.changed.notify_all();
                return Some(task);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Fetches the bodies of a task, with as many requests as their bytes ask for.
    fn bodies(&self, task: FetchTask) {
        let FetchTask { number, from: mut height, mut heads } = task;
        loop {
            let mut batch = Fetching::default();
            batch.fault = self.some_bodies(&mut height, &mut heads, &mut batch.blocks).err();
            batch.is_whole = heads.is_empty() || batch.fault.is_some();
            let is_whole = batch.is_whole;
            self.deliver(number, batch);
            if is_whole || !self.may_go_on(number) {
                return;
            }
        }
    }

    /// One request for the bodies of these heads; takes those that came from the heads.
    fn some_bodies(
        &self,
        height: &mut u64,
        heads: &mut VecDeque<Head>,
        blocks: &mut Vec<Fetched>,
    ) -> Result<(), SyncError> {
        let count = u32::try_from(heads.len()).unwrap_or(HEADS);
        let reply = match self.peer.bodies(*height, count, RUN_BYTES_MAX as u64) {
            Err(PeerError::TooLong { .. }) => {
                let _alone = self.long.lock();
                self.peer.bodies(*height, 1, BODY_BYTES_MAX as u64)
            }
            reply => reply,
        }?;
        if reply.is_empty() {
            let sentence = format!("the peer gives no transactions of block {height}");
            return Err(PeerError::Unreadable(sentence).into());
        }
        for body in reply {
            let Some(head) = heads.pop_front() else { break };
            let transactions = decode_body(&body).map_err(|fault| SyncError::Refused {
                height: *height,
                why: format!("its transactions cannot be read: {fault}"),
            })?;
            let candidate = Candidate::from(head.with_body(transactions));
            blocks.push(Fetched { height: *height, candidate, bytes: body.len() });
            *height += 1;
        }
        Ok(())
    }

    fn block(&self, height: u64) -> Result<Fetched, SyncError> {
        let text = match self.peer.block(height, BLOCK_BYTES as u64) {
            Err(PeerError::TooLong { .. }) => {
                let _alone = self.long.lock();
                self.peer.block(height, ENGINE_BLOCK_BYTES_MAX)
            }
            reply => reply,
        }?;
        let Some(text) = text else {
            let sentence =
                format!("the peer says that it has block {height}, and does not give it");
            return Err(PeerError::Unreadable(sentence).into());
        };
        let refused = |why: String| SyncError::Refused { height, why };
        let candidate = Candidate::parse_posted(text.as_bytes());
        let candidate = candidate.map_err(|fault| refused(fault.to_string()))?.with_default_nonce();
        match candidate.index() {
            Some(index) if index != height => {
                Err(refused(format!("the peer gives block {index} in its place")))
            }
            _ => Ok(Fetched { height, candidate, bytes: text.len() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use lucid_core::block::Block;
    use lucid_core::record::{BlockRecord, encode_body};
    use lucid_core::sign::SigningKey;
    use lucid_core::transaction::Transaction;

    use super::*;
    use crate::peer::Greeting;

    const BLOCKS: u64 = 160;
    /// Far more than heads let expect.
    const LONG: usize = 900_000;

    fn body(n: u64) -> Vec<Transaction> {
        let text = format!(r#"{{"id": "t-{n}", "pad": "{}"}}"#, "x".repeat(LONG));
        vec![Transaction::parse(text.as_bytes()).unwrap()]
    }

    struct Heavy {
        heads: Vec<Head>,
        given: AtomicUsize,
    }

    impl Heavy {
        fn new() -> Self {
            let key = SigningKey::from_seed([3; 32]);
            let (mut heads, mut parent) = (Vec::new(), None);
            for n in 0..BLOCKS {
                let now = Timestamp::from_micros(i64::try_from(n).unwrap());
                let block = Block::build(parent.as_ref(), body(n), now, &key);
                heads.push(Head::of(&BlockRecord::of(&block)));
                parent = Some(block.as_parent().unwrap());
            }
            Self { heads, given: AtomicUsize::new(0) }
        }
    }

    impl Peer for Heavy {
        fn name(&self) -> &str {
            "heavy"
        }

        fn greet(&self) -> Result<Greeting, PeerError> {
            Ok(Greeting { speaks: Speaks::Runs, height: Some(BLOCKS - 1) })
        }

        fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, PeerError> {
            let heads = self.heads.iter().skip(from as usize).take(limit as usize);
            Ok(heads.cloned().collect())
        }

        fn bodies(&self, from: u64, limit: u32, most: u64) -> Result<Vec<Bytes>, PeerError> {
            let mut bytes = 0;
            let heights = from..(from + u64::from(limit)).min(BLOCKS);
            let bodies = heights.map(|n| Bytes::from(encode_body(&body(n)))).take_while(|body| {
                bytes += body.len();
                bytes as u64 <= most
            });
            let bodies: Vec<Bytes> = bodies.collect();
            self.given.fetch_add(bodies.iter().map(Bytes::len).sum(), Ordering::SeqCst);
            Ok(bodies)
        }

        fn block(&self, _: u64, _: u64) -> Result<Option<String>, PeerError> {
            Ok(None)
        }
    }

    #[test]
    fn bodies_that_are_longer_than_their_heads_promise_are_fetched_a_few_at_a_time() {
        let peer = Heavy::new();
        let plan = FetchPlan {
            speaks: Speaks::Runs,
            from: 0,
            to: BLOCKS - 1,
            after: None,
            pins: Pins::default(),
            batch: 100,
            slow: 0,
            now: Timestamp::from_micros(0),
        };
        let (mut taken, mut most, mut next) = (0, 0, 0);
        fetched(&peer, &plan, &|| true, |blocks| {
            for fetched in blocks {
                let fetched = fetched.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(fetched.height, next);
                next += 1;
                // The taker is slower than the peer that gives.
                std::thread::sleep(Duration::from_millis(3));
                taken += fetched.bytes;
                most = most.max(peer.given.load(Ordering::SeqCst) - taken);
            }
        });
        assert_eq!(next, BLOCKS);
        // The bound, and what one batch has that is being taken.
        assert!(most <= BUDGET_BYTES + 2 * RUN_BYTES_MAX, "{most} bytes waited");
    }
}
