//! Where connections come in: over the network, or through a socket in the data folder that only this machine's
//! administrator reaches.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// What callers of the local door have in place of an address.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A connection's bytes.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

/// Something that is bound.
#[derive(Debug)]
pub(super) enum Door {
    Network(TcpListener),
    Local(LocalSocket),
}

/// A socket that is a file, and goes away with its listener.
#[derive(Debug)]
pub(super) struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // One that stays is put away by the next start.
        let _gone_already = fs::remove_file(&self.path);
    }
}

impl Door {
    /// Binds a file, in place of one that an earlier process left. The folder is this process's own.
    pub(super) fn local(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self::Local(LocalSocket { listener, path: path.to_owned() }))
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Where callers find it, if they come over the network.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Network(listener) => listener.local_addr(),
            Self::Local(_) => Ok(HERE),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Box<dyn Wire>, SocketAddr)> {
        match self {
            Self::Network(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Replies are written whole; waiting for more to fill a packet only delays them.
                let _best_effort = stream.set_nodelay(true);
                Ok((Box::new(stream), peer))
            }
            Self::Local(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                Ok((Box::new(stream), HERE))
            }
        }
    }
}
