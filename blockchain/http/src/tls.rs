//! TLS: the certificate and the key by which connections are encrypted.
//!
//! Invariants: a certificate that cannot be read, or does not fit its key, ends the start, and changes nothing later:
//! the log and `/health` say why; what is on disk is looked at again within a second, by a connection that comes
//! then; nobody who says nothing holds a place for longer than a request's head may take.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lucid_api::tls::{HTTP_1_1, Pin};
use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::{EndEntityCert, KeyUsage};

use crate::credentials::{Now, Stamp, stamp};
use crate::looks::Looks;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// `LUCID_TLS_CERT_FILE`: the service's certificate in PEM, and those that lead to its authority behind it.
    pub certificate: PathBuf,
    /// `LUCID_TLS_KEY_FILE`: its key in PEM.
    pub key: PathBuf,
}

/// What encrypts connections. Cloning shares it.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    config: TlsConfig,
    now: Now,
    known: RwLock<Known>,
    looks: Looks,
}

struct Known {
    server: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
    stamps: [Stamp; 2],
    /// Why what is known may not be what the files say now.
    fault: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.0.config.certificate.display())
    }
}

impl TlsConfig {
    /// What is wrong with it, if anything is: a sentence that names the file.
    pub fn fault(&self) -> Option<String> {
        self.read().err()
    }

    /// The key that clients may pin.
    pub fn pin(&self) -> Option<Pin> {
        self.read().ok().and_then(|known| Pin::of(&known.certificate))
    }

    fn read(&self) -> Result<Known, String> {
        // In front of reading: what changes meanwhile is read once more.
        let stamps = self.stamps();
        let named = |setting: &str, path: &Path, why: &dyn fmt::Display| {
            format!("{setting} ({}): {why}", path.display())
        };
        let wrong = |why: &dyn fmt::Display| named("LUCID_TLS_CERT_FILE", &self.certificate, why);
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(&error))?;
        let certificate = chain.first().cloned().ok_or_else(|| wrong(&"it has no certificate"))?;
        if Pin::of(&certificate).is_none() {
            return Err(wrong(&"it has no certificate that can be read"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| named("LUCID_TLS_KEY_FILE", &self.key, &error))?;
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| {
                let why = format!(
                    "it does not fit the certificate {}: {error}",
                    self.certificate.display()
                );
                named("LUCID_TLS_KEY_FILE", &self.key, &why)
            })?;
        let mut server = server;
        server.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Known { server: Arc::new(server), certificate, stamps, fault: None })
    }

    fn stamps(&self) -> [Stamp; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
    }
}

impl Tls {
    /// Reads certificate and key. The error names the setting and what is wrong, and ends the start.
    pub fn open(config: &TlsConfig, now: Now) -> Result<Self, String> {
        let (known, config) = (RwLock::new(config.read()?), config.clone());
        Ok(Self(Arc::new(Shared { config, now, known, looks: Looks::new() })))
    }

    /// The key that clients may pin.
    pub fn pin(&self) -> Option<Pin> {
        Pin::of(&self.0.known.read().certificate)
    }

    /// Why clients may not believe it, or a change of the files does not count yet.
    pub fn fault(&self) -> Option<String> {
        let known = self.0.known.read();
        known.fault.clone().or_else(|| outdated(&known.certificate, (self.0.now)()))
    }

    /// Looks at the files again, if the last look is long ago: in front of each connection. A look that takes long is
    /// not waited for, and what is known counts until it ends.
    pub async fn look_again(&self) {
        let shared = self.0.clone();
        self.0.looks.again(move || shared.read_again()).await;
    }

    /// Agrees with a caller on how what follows is encrypted.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        self.look_again().await;
        let server = self.0.known.read().server.clone();
        match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(server).accept(stream)).await {
            Ok(accepted) => accepted,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Shared {
    fn read_again(&self) {
        let Self { config, known, .. } = self;
        let is_as_it_was = {
            let known = known.read();
            known.fault.is_none() && known.stamps == config.stamps()
        };
        if is_as_it_was {
            return;
        }
        match config.read() {
            Ok(read) => {
                tracing::info!("certificate and key were read again");
                *known.write() = read;
            }
            Err(why) => {
                let sentence = format!("certificate and key stay as they were: {why}");
                let mut known = known.write();
                if known.fault.as_ref() != Some(&sentence) {
                    tracing::error!("{sentence}");
                }
                known.fault = Some(sentence);
            }
        }
    }
}

/// Why the certificate in a file would not count at a time, in microseconds since 1970, if so; or why it cannot be
/// read.
pub fn fault_at(certificate: &Path, at: i64) -> Result<Option<String>, String> {
    let read = CertificateDer::from_pem_file(certificate);
    let read = read.map_err(|error| format!("{}: {error}", certificate.display()))?;
    if Pin::of(&read).is_none() {
        return Err(format!("{}: it has no certificate that can be read", certificate.display()));
    }
    Ok(outdated(&read, at))
}

/// Whether a certificate does not count at a time, in microseconds since 1970, and why.
fn outdated(certificate: &CertificateDer<'_>, now: i64) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let now = Duration::from_micros(u64::try_from(now).unwrap_or(0));
    let time = UnixTime::since_unix_epoch(now);
    let algorithms = default_provider().signature_verification_algorithms;
    // Without an authority it is never found good; that it is outdated is found first.
    let judged = certificate.verify_for_usage(
        algorithms.all,
        &[],
        &[],
        time,
        KeyUsage::server_auth(),
        None,
        None,
    );
    match judged.err()? {
        webpki::Error::CertExpired { not_after, .. } => {
            let ago = now.as_secs().saturating_sub(not_after.as_secs()) / 86_400;
            Some(format!("the certificate expired {ago} days ago: clients refuse it"))
        }
        webpki::Error::CertNotValidYet { .. } => {
            Some("the certificate does not count yet: clients refuse it".to_owned())
        }
        _ => None,
    }
}
