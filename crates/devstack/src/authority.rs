//! A CA with one intermediate that issues at once: for tests of programs that only see what a CA has issued.

use std::time::SystemTime;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Root and intermediate.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate in PEM, its chain without the root, and its key.
#[derive(Clone)]
pub struct Issued {
    /// The leaf.
    pub certificate: String,
    /// The intermediate.
    pub chain: String,
    /// In PKCS#8.
    pub key: String,
}

impl Authority {
    /// With keys of its own.
    ///
    /// # Errors
    /// When no keys can be made.
    pub fn new() -> Result<Self> {
        let params = |name: &str| -> Result<CertificateParams> {
            let mut params = CertificateParams::new(Vec::new())?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            Ok(params)
        };
        let root = CertifiedIssuer::self_signed(params("Root")?, KeyPair::generate()?)?;
        let intermediate = CertifiedIssuer::signed_by(params("Intermediate")?, KeyPair::generate()?, &root)?;
        Ok(Self { root, intermediate })
    }

    /// The root in PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The intermediate in PEM.
    pub fn intermediate_pem(&self) -> String {
        self.intermediate.pem()
    }

    /// For these names and a new key.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue(&self, names: &[&str], not_before: SystemTime, not_after: SystemTime) -> Result<Issued> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<String>>())?;
        (params.not_before, params.not_after) = (not_before.into(), not_after.into());
        let certificate = params.signed_by(&key, &self.intermediate)?.pem();
        Ok(Issued { certificate, chain: self.intermediate_pem(), key: key.serialize_pem() })
    }
}
