//! A proxy in front of a server, for tests: it does to requests and replies what a network does to them, or what
//! stands in one.
//!
//! [`Proxy`] carries whole messages, one request and its reply after the other, in the words of one protocol
//! ([`Wire`]): so it can lose exactly the reply, repeat exactly the request, and cut in the middle of either. What a
//! request meets is said by a test ([`Proxy::next`]), or drawn from a seed ([`Proxy::draw`]). It knows no secret of
//! either side, so it stands before real servers as well as before those of these tests; only TLS it cannot read.
//!
//! Late requests wait for no time to pass: a request that is to come too late goes on when its sender has hung up,
//! which is how a sender gives up, or when the test says so ([`Proxy::release`]).

#[cfg(feature = "s3")]
pub(crate) mod http;
#[cfg(feature = "mongodb")]
pub(crate) mod mongo;
pub(crate) mod plan;

use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use plan::Plan;

/// What a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is cut before anything of the request goes on.
    Cut,
    /// Half of the request goes on, and the connection is cut.
    CutInRequest,
    /// It is carried out, and the connection is cut before anything of the reply comes.
    ReplyLost,
    /// It is carried out, and the connection is cut in the middle of the reply.
    CutInReply,
    /// It is carried out twice, and the second reply comes.
    Repeated,
    /// It is carried out and answered, and once more before the next request of its connection, or at its end.
    RepeatedLater,
    /// It is not carried out, and nothing is ever heard of it.
    Stalled,
    /// It is carried out, and nothing is ever heard of it.
    StalledDone,
    /// It is carried out when its sender has given up.
    Late,
    /// It is carried out when the test says so, and its sender never hears of it.
    Held,
    /// MongoDB: it is carried out, and the answer is that there was one already.
    Duplicate,
    /// MongoDB: it is not carried out, and the answer is that there was one already.
    DuplicateOfNothing,
    /// MongoDB: what the answer says of its write concern is left out.
    ConcernErrorDropped,
    /// S3: it is not carried out, and fewer requests are asked for.
    SlowDown,
    /// S3: it is not carried out, and the object is said not to be there.
    NotFound,
}

/// A request as it came, and what its protocol says of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// What it asks for: the name of a command, or a method.
    pub(crate) name: String,
    /// What it is about: a collection, or a path.
    pub(crate) target: String,
    /// The same for every request that asks for the same.
    pub(crate) key: String,
    /// How it is to be done: the level of a read, the concern of a write.
    pub(crate) how: String,
    /// What no request of ours may say, as a sentence without a full stop.
    pub(crate) wrong: Option<String>,
    /// Whether it is what tests are about: what a driver says to begin a connection is not.
    pub(crate) is_work: bool,
    /// Whether it wants a reply.
    pub(crate) is_answered: bool,
}

/// What the proxy has to know of a protocol.
pub(crate) trait Wire: Send + Sync {
    /// Reads a request; `None` at the end of the connection.
    fn request(&self, from: &mut dyn BufRead) -> io::Result<Option<Request>>;

    /// Reads the reply to a request.
    fn reply(&self, to: &Request, from: &mut dyn BufRead) -> io::Result<Vec<u8>>;

    /// Whether another reply comes behind this one, unasked.
    fn goes_on(&self, _reply: &[u8]) -> bool {
        false
    }

    /// Whether a request can meet a fault.
    fn suits(&self, fault: Fault, request: &Request) -> bool;

    /// What is answered in the place of the server's reply, or of none.
    fn lie(&self, fault: Fault, to: &Request, reply: Option<Vec<u8>>) -> Vec<u8>;
}

/// A connection to the server.
struct Link {
    to: TcpStream,
    from: BufReader<TcpStream>,
}

impl Link {
    fn to(server: SocketAddr) -> io::Result<Self> {
        let to = TcpStream::connect(server)?;
        to.set_nodelay(true)?;
        Ok(Self { from: BufReader::new(to.try_clone()?), to })
    }

    fn ask(&mut self, wire: &dyn Wire, request: &Request) -> io::Result<Vec<u8>> {
        self.to.write_all(&request.bytes)?;
        match request.is_answered {
            true => wire.reply(request, &mut self.from),
            false => Ok(Vec::new()),
        }
    }
}

struct Inner {
    wire: Box<dyn Wire>,
    server: SocketAddr,
    plan: Mutex<Plan>,
    seen: Mutex<Vec<Request>>,
    held: Mutex<Vec<(Request, Link)>>,
    /// Requests that will be carried out although no sender waits for them any more.
    late: Mutex<usize>,
    settled: Condvar,
    ends: AtomicBool,
}

/// The proxy. It ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    inner: Arc<Inner>,
}

/// Nothing takes longer than this, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

impl Proxy {
    /// Stands before a server; nothing is done to requests yet.
    pub(crate) fn before(server: SocketAddr, wire: impl Wire + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            wire: Box::new(wire),
            server,
            plan: Mutex::default(),
            seen: Mutex::default(),
            held: Mutex::default(),
            late: Mutex::new(0),
            settled: Condvar::new(),
            ends: AtomicBool::new(false),
        });
        let theirs = inner.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if theirs.ends.load(SeqCst) {
                    return;
                }
                let (Ok(client), inner) = (client, theirs.clone()) else { continue };
                std::thread::spawn(move || {
                    // Either side hangs up in the end.
                    let _gone = carry(client, &inner);
                });
            }
        });
        Self { address, inner }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request of this name that is about this, or is to be done so, meets this; behind what was said before.
    pub(crate) fn next(&self, name: &'static str, text: &'static str, fault: Fault) {
        self.inner.plan.lock().say(name, text, fault);
    }

    /// From now on requests meet these, as a seed has it.
    pub(crate) fn draw(&self, seed: u64, faults: &[Fault]) {
        self.inner.plan.lock().draw(seed, faults);
    }

    /// Nothing is done to requests any more. Says how many met something.
    pub(crate) fn rest(&self) -> usize {
        std::mem::take(&mut *self.inner.plan.lock()).met()
    }

    /// Carries out what is held, in the order in which it came, and says how much that was.
    pub(crate) fn release(&self) -> usize {
        let held = std::mem::take(&mut *self.inner.held.lock());
        let count = held.len();
        for (request, mut link) in held {
            link.ask(self.inner.wire.as_ref(), &request).unwrap();
        }
        count
    }

    /// Waits until everything is carried out that is only to come late. Senders have given up by then.
    pub(crate) fn settle(&self) {
        let mut late = self.inner.late.lock();
        while *late > 0 {
            let waited = self.inner.settled.wait_for(&mut late, PATIENCE);
            assert!(!waited.timed_out(), "{} requests are still on their way", *late);
        }
    }

    /// Sends a request once more, over a connection of its own, and reads the reply.
    pub(crate) fn again(&self, request: &Request) -> Vec<u8> {
        let mut link = Link::to(self.inner.server).unwrap();
        link.ask(self.inner.wire.as_ref(), request).unwrap()
    }

    /// All requests of a name so far whose target has this text, in their order.
    pub(crate) fn seen(&self, name: &str, target: &str) -> Vec<Request> {
        let all = self.inner.seen.lock();
        let wanted = |request: &&Request| request.name == name && request.target.contains(target);
        all.iter().filter(wanted).cloned().collect()
    }

    /// Forgets what was seen.
    pub(crate) fn forget(&self) {
        self.inner.seen.lock().clear();
    }

    /// Asserts that no request said what none may say.
    pub(crate) fn assert_right(&self) {
        let all = self.inner.seen.lock();
        assert!(!all.is_empty(), "nothing came through the proxy");
        let wrong: Vec<&str> = all.iter().filter_map(|request| request.wrong.as_deref()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.ends.store(true, SeqCst);
        // It wakes up, and sees that.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Inner {
    /// Notes a request, and says what it meets.
    fn meet(&self, request: &Request) -> Option<Fault> {
        self.seen.lock().push(request.clone());
        let fault = self.plan.lock().fault(self.wire.as_ref(), request);
        if matches!(fault, Some(Fault::Late | Fault::RepeatedLater)) {
            *self.late.lock() += 1;
        }
        fault
    }

    fn no_longer_late(&self) {
        *self.late.lock() -= 1;
        self.settled.notify_all();
    }
}

/// Carries a connection until one side hangs up, or it is cut.
fn carry(mut client: TcpStream, inner: &Inner) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (wire, mut link) = (inner.wire.as_ref(), Link::to(inner.server)?);
    let mut requests = BufReader::new(client.try_clone()?);
    let mut repeated: Option<Request> = None;
    loop {
        let next = wire.request(&mut requests);
        if let Some(earlier) = repeated.take() {
            let asked = link.ask(wire, &earlier);
            inner.no_longer_late();
            asked?;
        }
        let Some(request) = next? else { return Ok(()) };
        match inner.meet(&request) {
            None => {
                let mut reply = link.ask(wire, &request)?;
                client.write_all(&reply)?;
                while wire.goes_on(&reply) {
                    reply = wire.reply(&request, &mut link.from)?;
                    client.write_all(&reply)?;
                }
            }
            Some(Fault::Cut) => return Ok(()),
            Some(Fault::CutInRequest) => return link.to.write_all(half(&request.bytes)),
            Some(Fault::ReplyLost) => return link.ask(wire, &request).map(drop),
            Some(Fault::CutInReply) => {
                let reply = link.ask(wire, &request)?;
                return client.write_all(half(&reply));
            }
            Some(Fault::Repeated) => {
                link.ask(wire, &request)?;
                client.write_all(&link.ask(wire, &request)?)?;
            }
            Some(Fault::RepeatedLater) => {
                let reply = link.ask(wire, &request);
                repeated = Some(request);
                client.write_all(&reply?)?;
            }
            Some(Fault::Stalled) => return wait_for_end(&mut requests),
            Some(Fault::StalledDone) => {
                link.ask(wire, &request)?;
                return wait_for_end(&mut requests);
            }
            Some(Fault::Late) => {
                let asked = wait_for_end(&mut requests).and_then(|()| link.ask(wire, &request));
                inner.no_longer_late();
                return asked.map(drop);
            }
            Some(Fault::Held) => {
                inner.held.lock().push((request, link));
                return wait_for_end(&mut requests);
            }
            Some(fault @ (Fault::Duplicate | Fault::ConcernErrorDropped)) => {
                let reply = link.ask(wire, &request)?;
                client.write_all(&wire.lie(fault, &request, Some(reply)))?;
            }
            Some(fault @ (Fault::DuplicateOfNothing | Fault::SlowDown | Fault::NotFound)) => {
                client.write_all(&wire.lie(fault, &request, None))?
            }
        }
    }
}

fn half(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len() / 2]
}

/// Waits until the client hangs up.
fn wait_for_end(client: &mut BufReader<TcpStream>) -> io::Result<()> {
    match io::copy(client, &mut io::sink()) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(()),
    }
}
