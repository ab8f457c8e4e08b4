//! A small certificate authority that makes good and bad chains.

use chrono::{DateTime, TimeDelta, Utc};
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name};

/// The moment at which all tests check their chains.
pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

pub(crate) fn days(count: i64) -> TimeDelta {
    TimeDelta::days(count)
}

/// A certificate with its private key.
pub(crate) struct Identity {
    pub(crate) key: PKey<Private>,
    pub(crate) certificate: X509,
}

impl Identity {
    pub(crate) fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }

    pub(crate) fn public_key_sha256(&self) -> [u8; 32] {
        sha256(&self.key.public_key_to_der().unwrap())
    }
}

/// Whether the certificate may issue others.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Issuer { path_length: Option<u32> },
    IssuerWithoutCertSign,
    Server,
    Client,
}

/// What a certificate is to say.
#[derive(Clone)]
pub(crate) struct Recipe<'a> {
    pub(crate) common_name: &'a str,
    pub(crate) names: &'a [&'a str],
    pub(crate) address: Option<&'a str>,
    pub(crate) serial_hex: &'a str,
    pub(crate) not_before: DateTime<Utc>,
    pub(crate) not_after: DateTime<Utc>,
    pub(crate) role: Role,
    pub(crate) key_identifiers: bool,
}

impl<'a> Recipe<'a> {
    pub(crate) fn issuer(common_name: &'a str) -> Self {
        Self {
            common_name,
            names: &[],
            address: None,
            serial_hex: "01",
            not_before: now() - days(1000),
            not_after: now() + days(1000),
            role: Role::Issuer { path_length: None },
            key_identifiers: true,
        }
    }

    pub(crate) fn server(names: &'a [&'a str]) -> Self {
        Self {
            common_name: names[0],
            names,
            address: None,
            serial_hex: "8a0badcafe",
            not_before: now() - days(1),
            not_after: now() + days(89),
            role: Role::Server,
            key_identifiers: true,
        }
    }

    pub(crate) fn self_signed(&self) -> Identity {
        let key = new_key();
        let certificate = self.sign(&key, None);
        Identity { key, certificate }
    }

    pub(crate) fn issued_by(&self, issuer: &Identity) -> Identity {
        let key = new_key();
        let certificate = self.sign(&key, Some(issuer));
        Identity { key, certificate }
    }

    /// A certificate for a given key; without an issuer it is signed by that key.
    pub(crate) fn sign(&self, key: &PKey<Private>, issuer: Option<&Identity>) -> X509 {
        let mut builder = X509::builder().unwrap();
        let subject = name(self.common_name);
        let serial = BigNum::from_hex_str(self.serial_hex).unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name())).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(self.not_before.timestamp()).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(self.not_after.timestamp()).unwrap()).unwrap();
        builder.set_pubkey(key).unwrap();
        for extension in self.extensions(&builder, issuer) {
            builder.append_extension(extension).unwrap();
        }
        builder.sign(issuer.map_or(key, |issuer| &issuer.key), MessageDigest::sha256()).unwrap();
        builder.build()
    }

    fn extensions(&self, builder: &X509Builder, issuer: Option<&Identity>) -> Vec<X509Extension> {
        let context = builder.x509v3_context(issuer.map(|issuer| &*issuer.certificate), None);
        let mut extensions = match self.role {
            Role::Issuer { path_length } => {
                let mut constraints = BasicConstraints::new();
                constraints.critical().ca();
                path_length.map(|length| constraints.pathlen(length));
                vec![constraints.build().unwrap(), KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap()]
            }
            Role::IssuerWithoutCertSign => {
                vec![BasicConstraints::new().critical().ca().build().unwrap(), KeyUsage::new().critical().crl_sign().build().unwrap()]
            }
            Role::Server => {
                vec![BasicConstraints::new().critical().build().unwrap(), ExtendedKeyUsage::new().server_auth().build().unwrap()]
            }
            Role::Client => vec![ExtendedKeyUsage::new().client_auth().build().unwrap()],
        };
        if self.key_identifiers {
            extensions.push(SubjectKeyIdentifier::new().build(&context).unwrap());
            if issuer.is_some() {
                extensions.push(AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap());
            }
        }
        if !self.names.is_empty() || self.address.is_some() {
            let mut names = SubjectAlternativeName::new();
            for name in self.names {
                names.dns(name);
            }
            if let Some(address) = self.address {
                names.ip(address);
            }
            extensions.push(names.build(&context).unwrap());
        }
        extensions
    }
}

/// The chain that most tests begin with: `leaf` ← `intermediate` ← `root`.
pub(crate) struct Family {
    pub(crate) root: Identity,
    pub(crate) intermediate: Identity,
    pub(crate) leaf: Identity,
}

impl Family {
    pub(crate) const NAMES: [&'static str; 2] = ["app.example.test", "www.example.test"];

    pub(crate) fn new() -> Self {
        Self::with_leaf(&Recipe::server(&Self::NAMES))
    }

    pub(crate) fn with_leaf(leaf: &Recipe<'_>) -> Self {
        Self::with(&Recipe::issuer("Intermediate"), leaf)
    }

    pub(crate) fn with(intermediate: &Recipe<'_>, leaf: &Recipe<'_>) -> Self {
        let root = Recipe::issuer("Root").self_signed();
        let intermediate = intermediate.issued_by(&root);
        let leaf = leaf.issued_by(&intermediate);
        Self { root, intermediate, leaf }
    }

    /// Leaf and intermediate: what a CA sends.
    pub(crate) fn pem(&self) -> String {
        self.leaf.pem() + &self.intermediate.pem()
    }
}

pub(crate) fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(common_name: &str) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COUNTRYNAME, "DE").unwrap();
    name.append_entry_by_nid(Nid::ORGANIZATIONNAME, "Test, Inc").unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, common_name).unwrap();
    name.build()
}
