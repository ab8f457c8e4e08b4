//! What a service really shows: a TLS handshake, and the fingerprint of the leaf.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::pair::sha256_hex;

/// Of connecting and handshake together.
const WITHIN: Duration = Duration::from_secs(10);

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Host and port.
    pub(crate) address: String,
    /// Whom we ask for (RFC 6066 §3).
    pub(crate) server_name: ServerName<'static>,
}

/// SHA-256 of the leaf that is shown, in hexadecimal digits. Nobody is trusted: only that the service has the key of what it shows is checked.
pub(crate) async fn served(target: &Target) -> Result<String> {
    let look = async {
        let tcp = TcpStream::connect(&target.address).await.context("no connection")?;
        let stream = connector()?.connect(target.server_name.clone(), tcp).await.context("no TLS handshake")?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).context("no certificate was shown")?;
        Ok(sha256_hex(leaf))
    };
    let found = tokio::time::timeout(WITHIN, look).await;
    let found = found.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", WITHIN.as_secs())));
    found.with_context(|| format!("the service at {} cannot be looked at", target.address))
}

fn connector() -> Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes every certificate, whoever issued it and whatever its names, if the other side holds its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
