//! The sockets of a sink: made at a path, or passed by systemd.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_http::config::Environment;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// The first descriptor that systemd passes.
const FIRST_PASSED: i32 = 3;

/// A socket that listens. Of one that was made here the file goes with it.
#[derive(Debug)]
pub struct Socket {
    name: String,
    listener: UnixListener,
    /// Connections that came while it was looked at.
    early: Vec<UnixStream>,
    file: Option<OwnFile>,
}

/// The file of a socket that was made here, by its number.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    number: u64,
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        // Another one may stand there by now.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.number) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

impl Socket {
    /// Its path, or the name that systemd gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was made here, and ends with this process.
    pub fn is_own(&self) -> bool {
        self.file.is_some()
    }

    /// Listens on the runtime that this is called in.
    pub fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }

    /// Connections that came before it was listened to; asked once.
    pub fn early(&mut self) -> io::Result<Vec<tokio::net::UnixStream>> {
        let streams = std::mem::take(&mut self.early).into_iter();
        let taken = streams.map(|stream| {
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream)
        });
        taken.collect()
    }

    /// Makes a socket at a path. A file that a killed sink left there is replaced; one that is listened to is not.
    pub fn bind(path: &Path, mode: u32) -> anyhow::Result<Self> {
        let shown = path.display();
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("\"{shown}\" cannot be used")),
            Ok(found) if !found.file_type().is_socket() => {
                anyhow::bail!("\"{shown}\" is there, and is no socket: name another path")
            }
            Ok(_) => match UnixStream::connect(path) {
                Ok(_) => anyhow::bail!(
                    "\"{shown}\" is listened to by another program: end that one, or name another path"
                ),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    fs::remove_file(path)
                        .with_context(|| format!("the old socket \"{shown}\" cannot be removed"))?;
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("whether \"{shown}\" is listened to cannot be found out")
                    });
                }
            },
        }
        let context = || format!("\"{shown}\" cannot be listened to");
        let listener = UnixListener::bind(path).with_context(context)?;
        let number = fs::symlink_metadata(path).with_context(context)?.ino();
        let file = OwnFile { path: path.to_owned(), number };
        // The process's mask let nobody else in until now.
        fs::set_permissions(path, Permissions::from_mode(mode)).with_context(context)?;
        let name = path.to_string_lossy().into_owned();
        Ok(Self { name, listener, early: Vec::new(), file: Some(file) })
    }
}

/// The sockets that systemd passes to this process, if it does.
pub fn passed(environment: &Environment) -> anyhow::Result<Vec<Socket>> {
    let said = |name: &str| environment.get(name).map(String::as_str);
    let own = getpid().as_raw_nonzero().get();
    if said("LISTEN_PID").and_then(|pid| pid.parse().ok()) != Some(own) {
        return Ok(Vec::new());
    }
    let count = said("LISTEN_FDS").unwrap_or_default();
    let count: i32 = count
        .parse()
        .ok()
        .filter(|count| (0..=1_024).contains(count))
        .with_context(|| format!("LISTEN_FDS says {count:?}, which is no number of sockets"))?;
    let names: Vec<&str> = said("LISTEN_FDNAMES").unwrap_or_default().split(':').collect();
    let this = pidfd_open(getpid(), PidfdFlags::empty()).context(REFUSED)?;
    let mut sockets = Vec::new();
    for at in 0..count {
        let descriptor = FIRST_PASSED + at;
        // What a process was started with belongs to nobody in it yet: a descriptor of its own is asked for.
        let socket = pidfd_getfd(&this, descriptor, PidfdGetfdFlags::empty()).context(REFUSED)?;
        let listener = UnixListener::from(socket);
        let name = usize::try_from(at).ok().and_then(|at| names.get(at).copied());
        sockets.push(
            look_at(listener, name.unwrap_or_default())
                .with_context(|| format!("descriptor {descriptor}, which systemd passes"))?,
        );
    }
    Ok(sockets)
}

const REFUSED: &str = "the sockets that systemd passes cannot be taken (pidfd_getfd)";

/// Whether what was passed is a socket that listens, as `Accept=no` passes it.
fn look_at(listener: UnixListener, name: &str) -> anyhow::Result<Socket> {
    let address = listener.local_addr().ok().with_context(
        || "it is no Unix socket: have the socket's unit say ListenStream= with a path",
    )?;
    listener.set_nonblocking(true)?;
    let mut early = Vec::new();
    match listener.accept() {
        Ok((stream, _)) => early.push(stream),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => anyhow::bail!(
            "it is a connection, not a socket that listens, as Accept=yes passes it: set Accept=no in the socket's \
             unit, since one sink serves all connections"
        ),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => {
            anyhow::bail!("it is a socket for datagrams: have the socket's unit say ListenStream=")
        }
        Err(error) => return Err(error).context("it cannot be listened to"),
    }
    // What has no name is called `unknown` by systemd, and its path says more.
    let path = address.as_pathname().map(|path| path.to_string_lossy().into_owned());
    let name = match path {
        Some(path) if name.is_empty() || name == "unknown" => path,
        _ => name.to_owned(),
    };
    Ok(Socket { name, listener, early, file: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_to_another_process_or_not_at_all_is_none() {
        let said = |pairs: &[(&str, &str)]| -> Environment {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert!(passed(&said(&[])).unwrap().is_empty());
        assert!(passed(&said(&[("LISTEN_PID", "1"), ("LISTEN_FDS", "1")])).unwrap().is_empty());
        let own = std::process::id().to_string();
        assert!(passed(&said(&[("LISTEN_PID", &own), ("LISTEN_FDS", "0")])).unwrap().is_empty());
        let wrong = passed(&said(&[("LISTEN_PID", &own), ("LISTEN_FDS", "many")]));
        assert!(wrong.unwrap_err().to_string().contains("no number of sockets"));
    }

    #[test]
    fn only_a_unix_socket_that_listens_is_taken() {
        let (one, _other) = UnixStream::pair().unwrap();
        let connected = look_at(UnixListener::from(std::os::fd::OwnedFd::from(one)), "connection");
        assert!(format!("{:#}", connected.unwrap_err()).contains("Accept=no"));
        let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let datagrams = look_at(UnixListener::from(std::os::fd::OwnedFd::from(datagrams)), "");
        assert!(format!("{:#}", datagrams.unwrap_err()).contains("ListenStream="));
        let inet = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inet = look_at(UnixListener::from(std::os::fd::OwnedFd::from(inet)), "");
        assert!(format!("{:#}", inet.unwrap_err()).contains("no Unix socket"));
    }
}
