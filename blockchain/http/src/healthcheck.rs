//! `<binary> healthcheck`: asks the service on this machine whether it is there, without any
//! other program in the image. Exit code 0 when it is, 1 when it is not.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use lucid_api::paths;
use lucid_api::tls::ServerKey;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::tls::TlsConfig;

/// Longer than this, and a service is as good as gone.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The head of any reply of ours is shorter.
const HEAD_BYTES: u64 = 4 << 10;

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Whether the socket takes a connection.
    Socket,
    /// Whether `/health` answers 200.
    Http,
}

/// Asks the service that binds `address`, and encrypts by `tls`.
pub fn check(address: SocketAddr, tls: Option<&TlsConfig>, how: Check) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&reachable(address), TIMEOUT)?;
    if how == Check::Socket {
        return Ok(());
    }
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let Some(tls) = tls else { return ask(stream) };
    // It is this machine's own: its key tells enough.
    let pin = tls.pin().ok_or_else(|| io::Error::other("its certificate cannot be read"))?;
    let config = ServerKey::from(pin).client(default_provider()).map_err(io::Error::other)?;
    let name = ServerName::from(reachable(address).ip());
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    ask(StreamOwned::new(connection, stream))
}

fn ask(mut stream: impl Read + Write) -> io::Result<()> {
    let path = paths::HEALTH;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.take(HEAD_BYTES).read_to_end(&mut reply)?;
    match reply.starts_with(b"HTTP/1.1 200 ") {
        true => Ok(()),
        false => {
            let status = reply.split(|byte| *byte == b'\r').next().unwrap_or_default();
            Err(io::Error::other(String::from_utf8_lossy(status).into_owned()))
        }
    }
}

/// Where a service that binds `address` is reached from its own machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
