//! HTTP/1.1, as far as the proxy has to know it: heads, bodies, and which call of S3 a request is.

use std::io::{self, BufRead};

use crate::proxy::{Fault, Request, Wire};

/// The protocol.
#[derive(Clone, Copy)]
pub(crate) struct HttpWire;

/// A head: its first line and its fields, as they came.
pub(crate) struct Head {
    bytes: Vec<u8>,
    lines: Vec<String>,
}

impl Head {
    /// Reads one; `None` at the end of the connection.
    pub(crate) fn read(from: &mut dyn BufRead) -> io::Result<Option<Self>> {
        let (mut bytes, mut lines) = (Vec::new(), Vec::new());
        loop {
            let begun = bytes.len();
            if from.read_until(b'\n', &mut bytes)? == 0 {
                return match begun {
                    0 => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
            let line = String::from_utf8_lossy(&bytes[begun..]).trim_end().to_owned();
            if line.is_empty() {
                return Ok(Some(Self { bytes, lines }));
            }
            lines.push(line);
        }
    }

    /// A word of the first line.
    pub(crate) fn word(&self, at: usize) -> &str {
        self.lines[0].split(' ').nth(at).unwrap_or_default()
    }

    /// A field, by its name in small letters.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.lines[1..].iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.to_ascii_lowercase() == name).then(|| value.trim())
        })
    }

    /// Reads the body behind it, as it comes; what has no length has none, or goes on to the end of the connection.
    pub(crate) fn body(&self, from: &mut dyn BufRead, to_end: bool) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = self.field("content-length") {
            body.resize(length.parse().unwrap(), 0);
            from.read_exact(&mut body)?;
        } else if self.field("transfer-encoding").is_some_and(|how| how.contains("chunked")) {
            loop {
                let begun = body.len();
                from.read_until(b'\n', &mut body)?;
                let line = String::from_utf8_lossy(&body[begun..]).trim().to_owned();
                let length = usize::from_str_radix(line.split(';').next().unwrap(), 16);
                let length = length.map_err(|_| io::ErrorKind::UnexpectedEof)?;
                let behind = body.len();
                // A chunk has a line's end behind it, and the last one nothing else.
                body.resize(behind + length + 2, 0);
                from.read_exact(&mut body[behind..])?;
                if length == 0 {
                    break;
                }
            }
        } else if to_end {
            from.read_to_end(&mut body)?;
        }
        Ok(body)
    }
}

impl Wire for HttpWire {
    fn request(&self, from: &mut dyn BufRead) -> io::Result<Option<Request>> {
        let Some(head) = Head::read(from)? else { return Ok(None) };
        let body = head.body(from, false)?;
        let (path, query) = head.word(1).split_once('?').unwrap_or((head.word(1), ""));
        let name = match head.word(0) {
            "GET" if query.contains("list-type") => "LIST",
            method => method,
        };
        // Some servers ignore conditions, so nothing may rest on one.
        let condition =
            ["if-none-match", "if-match"].into_iter().find(|it| head.field(it).is_some());
        let wrong = condition
            .filter(|_| name == "PUT")
            .map(|condition| format!("{path} is put with a condition: {condition}"));
        Ok(Some(Request {
            name: name.to_owned(),
            target: path.to_owned(),
            key: format!("{name} {}", head.word(1)),
            how: head.field("range").unwrap_or_default().to_owned(),
            wrong,
            is_work: true,
            is_answered: true,
            bytes: [head.bytes, body].concat(),
        }))
    }

    fn reply(&self, to: &Request, from: &mut dyn BufRead) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let Some(head) = Head::read(from)? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            all.extend_from_slice(&head.bytes);
            match head.word(1) {
                // It goes on with the request, and answers later.
                "100" => continue,
                "204" | "304" => {}
                _ if to.name == "HEAD" => {}
                _ => all.extend(head.body(from, true)?),
            }
            return Ok(all);
        }
    }

    fn suits(&self, fault: Fault, request: &Request) -> bool {
        match fault {
            Fault::Duplicate | Fault::DuplicateOfNothing | Fault::ConcernErrorDropped => false,
            Fault::NotFound => request.name == "GET",
            _ => true,
        }
    }

    fn lie(&self, fault: Fault, _: &Request, _: Option<Vec<u8>>) -> Vec<u8> {
        let (status, code) = match fault {
            Fault::NotFound => ("404 Not Found", "NoSuchKey"),
            _ => ("503 Slow Down", "SlowDown"),
        };
        refusal(status, code)
    }
}

/// An answer that refuses, as S3 words it.
pub(crate) fn refusal(status: &str, code: &str) -> Vec<u8> {
    let body = format!("<Error><Code>{code}</Code><Message>as a test says</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}
