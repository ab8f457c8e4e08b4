//! The subjectAltName extension (RFC 5280 §4.2.1.6), as requests and certificates carry it.

use openssl::stack::StackRef;
use openssl::x509::GeneralName;

/// The names of a request or of a certificate.
#[derive(Clone, Default)]
pub(crate) struct AlternativeNames {
    /// DNS names in lower case, in the order in which they stand there.
    pub(crate) dns: Vec<String>,
    /// Whether names of other kinds (addresses, mailboxes, bytes that are no text) are among them.
    pub(crate) has_others: bool,
}

impl AlternativeNames {
    pub(crate) fn read(names: &StackRef<GeneralName>) -> Self {
        let mut read = Self::default();
        for name in names {
            match name.dnsname() {
                Some(dns) => read.dns.push(dns.to_ascii_lowercase()),
                None => read.has_others = true,
            }
        }
        read
    }
}
