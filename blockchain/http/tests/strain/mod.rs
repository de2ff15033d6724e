//! Callers that strain a service, and what its process holds meanwhile. Both services' tests use it on the
//! program itself, as a child, so that its memory and threads are its own.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A row of the table of bounds.
#[derive(Debug)]
pub struct Row {
    /// `METHOD /path` of each route.
    pub routes: Vec<String>,
    /// Bytes that all requests of these routes may hold together.
    pub together: u64,
    /// Threads that they may have.
    pub threads: u64,
}

/// Reads the table that stands behind a heading.
pub fn table(text: &str, heading: &str) -> Vec<Row> {
    let (_, text) = text.split_once(heading).expect(heading);
    let lines = text.lines().skip_while(|line| !line.starts_with('|'));
    let lines = lines.take_while(|line| line.starts_with('|')).skip(2);
    let number = |cell: &str| cell.split_whitespace().next().unwrap().parse::<u64>().unwrap();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let routes = cells[0].split('`').skip(1).step_by(2).map(str::to_owned).collect();
            Row { routes, together: number(cells[2]) << 20, threads: number(cells[4]) }
        })
        .collect()
}

/// Every `METHOD /path` of an API document.
pub fn routes(openapi: &Value) -> Vec<String> {
    let paths = openapi["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        // What a path's routes have in common stands beside them.
        methods
            .filter(|name| *name != "parameters")
            .map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    methods.collect()
}

/// A service's program.
pub struct Process {
    child: Child,
    pub address: String,
}

impl Process {
    /// Starts it and waits until it says where it is.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.env("LOG_FORMAT", "text").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let started = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains("started successfully"))
            .expect("it says that it started");
        let (_, address) = started.split_once("address=").unwrap();
        let address = address.split_whitespace().next().unwrap().to_owned();
        // The rest is read, so that writing never blocks.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// A number of `/proc/PID/status`.
    pub fn status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Bytes that are resident.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS") << 10
    }

    /// The most bytes that were resident since this was last asked.
    pub fn peak(&self) -> u64 {
        let peak = self.status("VmHWM") << 10;
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        peak
    }

    /// Opens a connection.
    pub fn connect(&self) -> TcpStream {
        connect(&self.address)
    }

    /// Sends a request and hears its answer.
    pub fn ask(&self, request: &Request) -> (u16, Vec<u8>) {
        ask(&self.address, request).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `METHOD /path`.
    pub line: String,
    pub headers: String,
    pub body: Arc<Vec<u8>>,
}

impl Request {
    pub fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), ..Self::default() }
    }

    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Arc::new(body.into());
        write!(self.headers, "Content-Type: {kind}\r\n").unwrap();
        self
    }

    #[allow(dead_code, reason = "one of the two services has headers that matter")]
    pub fn header(mut self, line: &str) -> Self {
        write!(self.headers, "{line}\r\n").unwrap();
        self
    }

    /// The head, which announces so many bytes.
    fn head(&self, length: usize) -> String {
        let Self { line, headers, .. } = self;
        format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\
             {headers}\r\n"
        )
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn ask(address: &str, request: &Request) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = connect(address);
    stream.write_all(request.head(request.body.len()).as_bytes())?;
    // A caller that is refused may be cut off while it sends.
    let _sent = stream.write_all(&request.body);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(answer.get(..12).unwrap_or_default()).into_owned();
    let status = text.get(9..).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n");
    Ok((status, answer.split_off(body.map_or(answer.len(), |at| at + 4))))
}

/// Drives a route at its limits: by callers that do not read, where it takes no body, else by some that send
/// nothing of what they announce and some that trickle; and beside them by a few that want all of it at once.
pub fn drive(
    process: &Process,
    worst: &Request,
    announced: usize,
    (reading_nothing, wanting_all): (usize, usize),
) {
    if announced == 0 {
        let _unread = unread(process, worst, reading_nothing);
        at_once(process, worst, 4);
        return;
    }
    let _stalling = announce(process, worst, 40, announced);
    let mut trickling = announce(process, worst, 20, announced);
    std::thread::scope(|scope| {
        scope.spawn(|| trickle(&mut trickling, 5));
        at_once(process, worst, wanting_all);
    });
}

/// Callers that announce a body and send nothing of it.
pub fn announce(
    process: &Process,
    request: &Request,
    callers: usize,
    length: usize,
) -> Vec<TcpStream> {
    let head = request.head(length);
    let callers = (0..callers).map(|_| {
        let mut stream = process.connect();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    });
    callers.collect()
}

/// Callers that send a request and read nothing of its answer.
pub fn unread(process: &Process, request: &Request, callers: usize) -> Vec<TcpStream> {
    let mut streams = announce(process, request, callers, request.body.len());
    for stream in &mut streams {
        let _refused = stream.write_all(&request.body);
    }
    streams
}

/// Sends a request from many callers at once, and says what they heard.
pub fn at_once(process: &Process, request: &Request, callers: usize) -> Vec<u16> {
    std::thread::scope(|scope| {
        let ask = || ask(&process.address, request).map_or(0, |(status, _)| status);
        let callers: Vec<_> = (0..callers).map(|_| scope.spawn(ask)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

/// Sends a byte to each now and then, as often as that.
pub fn trickle(callers: &mut [TcpStream], times: usize) {
    for _ in 0..times {
        for caller in callers.iter_mut() {
            let _refused = caller.write_all(b"[");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Everybody else, who wants little and is to have it soon.
pub struct Everybody {
    ends: Arc<AtomicBool>,
    asking: JoinHandle<(usize, Duration, String, Vec<String>)>,
}

impl Everybody {
    /// Asks these in turn; each is to be answered with a status below 300.
    pub fn ask(
        process: &Process,
        requests: impl Fn(usize) -> Vec<Request> + Send + 'static,
    ) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (ending, address) = (ends.clone(), process.address.clone());
        let asking = std::thread::spawn(move || {
            let (mut asked, mut slowest, mut what, mut refused) =
                (0, Duration::ZERO, String::new(), Vec::new());
            while !ending.load(Ordering::Relaxed) {
                for request in requests(asked) {
                    let began = Instant::now();
                    match ask(&address, &request) {
                        Ok((200..=299, _)) => {}
                        Ok((status, body)) => {
                            let body = String::from_utf8_lossy(&body).into_owned();
                            refused.push(format!("{}: {status} {body}", request.line));
                        }
                        Err(error) => refused.push(format!("{}: {error}", request.line)),
                    }
                    if began.elapsed() > slowest {
                        (slowest, what) = (began.elapsed(), request.line.clone());
                    }
                }
                asked += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            (asked, slowest, what, refused)
        });
        Self { ends, asking }
    }

    /// Who was refused, or waited longer than this; `None` where nobody was.
    pub fn was_kept_waiting(self, at_most: Duration) -> Option<String> {
        self.ends.store(true, Ordering::Relaxed);
        let (asked, slowest, what, refused) = self.asking.join().unwrap();
        if !refused.is_empty() {
            return Some(format!("{refused:?}"));
        }
        (asked == 0 || slowest > at_most).then(|| format!("{what} took {slowest:?}"))
    }
}

/// A list that takes far more memory as values than as text, in an object.
pub fn dense(length: usize, name: &str) -> Vec<u8> {
    let mut text = format!("{{\"{name}\":[0").into_bytes();
    while text.len() + 4 < length {
        text.extend_from_slice(b",0");
    }
    text.extend_from_slice(b"]}");
    text
}
