//! TLS of the servers on loopback, which only their tests trust.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Result;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

/// What a server takes connections with, and the file with the certificate that a client trusts it by.
pub(crate) fn self_signed() -> Result<(TlsAcceptor, NamedTempFile)> {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let mut ca_file = NamedTempFile::new()?;
    ca_file.write_all(certified.cert.pem().as_bytes())?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()).into())?;
    Ok((TlsAcceptor::from(Arc::new(config)), ca_file))
}
