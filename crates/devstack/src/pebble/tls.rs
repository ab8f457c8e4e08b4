//! A small CA and one leaf, for the HTTPS of proxy and Pebble.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::layout;

pub(super) struct Tls {
    pub(super) ca_file: PathBuf,
    pub(super) certificate_file: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) server: Arc<ServerConfig>,
}

impl Tls {
    /// New keys at each start: nothing outlives the stack that trusts them.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        ca.distinguished_name.push(DnType::CommonName, "Zonecert devstack HTTPS");
        let ca_certificate = ca.self_signed(&ca_key)?;

        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        leaf.distinguished_name.push(DnType::CommonName, "localhost");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key))?;

        let file = |name: &str, pem: &str| -> Result<PathBuf> {
            let path = dir.join(name);
            layout::write_private(&path, pem)?;
            Ok(path)
        };
        // The provider is named, since the executable that uses us may not have set a default.
        let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .context("the new certificate cannot be served")?;
        Ok(Self {
            ca_file: file("ca.pem", &ca_certificate.pem())?,
            certificate_file: file("https.pem", &leaf.pem())?,
            key_file: file("https.key", &key.serialize_pem())?,
            server: Arc::new(server),
        })
    }
}
