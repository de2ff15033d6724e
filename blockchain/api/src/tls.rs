//! Servers that are known by their key: a pin is the SHA-256 of a certificate's public key (its
//! `SubjectPublicKeyInfo`), as browsers and curl have had it. A server with that key is believed regardless of who
//! signed its certificate, and no other is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use webpki::EndEntityCert;

/// What the protocol is called that is spoken within (RFC 7301).
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// The key of a server. As text it is `sha256:` and 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The key of a certificate; `None` if that is none.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let key = certificate.subject_public_key_info();
        digest(&SHA256, key.as_ref()).as_ref().try_into().ok().map(Self)
    }
}

/// Which key a server must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerKey {
    /// This one.
    Pinned(Pin),
    /// That of the first certificate in this file, as it is when a connection is made: the file is the server's own,
    /// which takes a new one whenever the file changes.
    OfFile(PathBuf),
}

impl From<Pin> for ServerKey {
    fn from(pin: Pin) -> Self {
        Self::Pinned(pin)
    }
}

impl ServerKey {
    /// A client that believes in this key alone.
    pub fn client(self, provider: CryptoProvider) -> Result<ClientConfig, Error> {
        let provider = Arc::new(provider);
        let verifier = Arc::new(PinnedServer { key: self, provider: provider.clone() });
        let versions =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config =
            versions.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(config)
    }

    fn pin(&self) -> Result<Pin, Error> {
        match self {
            Self::Pinned(pin) => Ok(*pin),
            Self::OfFile(path) => {
                let certificate = CertificateDer::from_pem_file(path);
                let pin = certificate.ok().and_then(|certificate| Pin::of(&certificate));
                pin.ok_or_else(|| {
                    Error::General(format!("there is no certificate to read in {}", path.display()))
                })
            }
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pin is sha256: and 64 hex digits, as the server says when it starts")]
pub struct PinFault;

impl FromStr for Pin {
    type Err = PinFault;

    fn from_str(text: &str) -> Result<Self, PinFault> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut key = [0; 32];
        hex::decode_to_slice(digits, &mut key).map_err(|_| PinFault)?;
        Ok(Self(key))
    }
}

/// Believes in one key. That the server has it, its signature in the handshake shows.
#[derive(Debug)]
struct PinnedServer {
    key: ServerKey,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let wanted = self.key.pin()?;
        match Pin::of(certificate) {
            Some(pin) if pin == wanted => Ok(ServerCertVerified::assertion()),
            Some(pin) => {
                Err(Error::General(format!("the server's key is {pin}, and not the pinned one")))
            }
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_as_it_is_written() {
        let text = format!("sha256:{}", "0f".repeat(32));
        assert_eq!(text.parse::<Pin>().unwrap().to_string(), text);
        assert_eq!("0F".repeat(32).parse::<Pin>().unwrap().to_string(), text);
        for wrong in ["", "sha256:", "sha256:0f", "sha1:0f", &"0g".repeat(32)] {
            assert_eq!(wrong.parse::<Pin>(), Err(PinFault), "{wrong}");
        }
        assert_eq!(Pin::of(&CertificateDer::from_slice(b"no certificate")), None);
    }
}
