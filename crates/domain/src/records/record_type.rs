//! Types of records that customers can set.

use std::fmt;

/// A type of records that we take. Its name is the one that DNS gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// IPv4 address (RFC 1035 §3.4.1).
    A,
    /// IPv6 address (RFC 3596).
    Aaaa,
    /// Which CAs may issue (RFC 8659).
    Caa,
    /// Alias (RFC 1035 §3.3.1).
    Cname,
    /// Digest of a child zone's key (RFC 4034 §5).
    Ds,
    /// How to reach a web server (RFC 9460).
    Https,
    /// Mail server (RFC 1035 §3.3.9).
    Mx,
    /// Rewriting rule (RFC 3403).
    Naptr,
    /// Delegation (RFC 1035 §3.3.11), below the apex.
    Ns,
    /// Pointer (RFC 1035 §3.3.12).
    Ptr,
    /// Server of a service (RFC 2782).
    Srv,
    /// Fingerprint of an SSH key (RFC 4255).
    Sshfp,
    /// How to reach a service (RFC 9460).
    Svcb,
    /// Certificate of a TLS server (RFC 6698).
    Tlsa,
    /// Text (RFC 1035 §3.3.14).
    Txt,
}

impl RecordType {
    /// Every type that we take.
    pub const ALL: [Self; 15] = [
        Self::A,
        Self::Aaaa,
        Self::Caa,
        Self::Cname,
        Self::Ds,
        Self::Https,
        Self::Mx,
        Self::Naptr,
        Self::Ns,
        Self::Ptr,
        Self::Srv,
        Self::Sshfp,
        Self::Svcb,
        Self::Tlsa,
        Self::Txt,
    ];

    /// The name in the DNS, in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Caa => "CAA",
            Self::Cname => "CNAME",
            Self::Ds => "DS",
            Self::Https => "HTTPS",
            Self::Mx => "MX",
            Self::Naptr => "NAPTR",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Srv => "SRV",
            Self::Sshfp => "SSHFP",
            Self::Svcb => "SVCB",
            Self::Tlsa => "TLSA",
            Self::Txt => "TXT",
        }
    }

    /// Reads the name, in whatever case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|record_type| record_type.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
