//! A CA with one intermediate, and what it issues.

use chrono::{DateTime, TimeDelta, Utc};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use zonecert_devstack::authority;

use crate::pair::{Pair, Version, sha256_hex};
use crate::round::now;

pub(super) const NAMES: [&str; 2] = ["app.example.test", "*.example.test"];

/// Issues certificates.
pub(super) struct Authority(authority::Authority);

/// What was issued, as the API gives it out.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) chain: String,
    pub(super) key: String,
    pub(super) version: Version,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self(authority::Authority::new().unwrap())
    }

    pub(super) fn root_pem(&self) -> String {
        self.0.root_pem()
    }

    /// For [`NAMES`], valid from a day ago for another 30.
    pub(super) fn issue(&self, number: u32) -> Issued {
        self.issue_between(number, now() - TimeDelta::days(1), now() + TimeDelta::days(30))
    }

    pub(super) fn issue_between(&self, number: u32, not_before: DateTime<Utc>, not_after: DateTime<Utc>) -> Issued {
        let authority::Issued { certificate, chain, key } = self.0.issue(&NAMES, not_before.into(), not_after.into()).unwrap();
        let leaf = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let version = Version {
            id: format!("ver_{number:032x}"),
            fingerprint_sha256: sha256_hex(&leaf),
            not_before,
            not_after,
            names: NAMES.map(str::to_owned).to_vec(),
        };
        Issued { certificate, chain, key, version }
    }
}

impl Issued {
    pub(super) fn pair(&self) -> Pair {
        Pair::new(self.certificate.clone(), self.chain.clone(), self.key.clone())
    }

    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.version.id)
    }

    /// The answer of `/download`.
    pub(super) fn download(&self) -> Value {
        json!({"certificate": self.certificate, "chain": self.chain, "private_key": self.key})
    }

    /// The answer of the certificate itself.
    pub(super) fn shown(&self) -> Value {
        let Version { id, fingerprint_sha256, not_before, not_after, names } = &self.version;
        let version = json!({
            "id": id, "fingerprint_sha256": fingerprint_sha256, "not_before": not_before, "not_after": not_after, "names": names,
            "serial": "01", "issuer": "CN=Intermediate",
        });
        json!({"id": super::ID, "domain": NAMES[0], "downloadable": true, "current_version": version, "deployed": []})
    }
}
