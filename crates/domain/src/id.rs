//! Typed identifiers: a UUID with the prefix of what it names (requirements section 7).
//!
//! Inside the program and the database an identifier is a UUID; outside it is its prefix, an underscore and 32 lower-case
//! hexadecimal digits, `cert_0198c5…`. New ones are of version 7, so that rows are stored in the order in which they were made.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A text that is not an identifier of the kind that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of the form {prefix}_ followed by 32 hexadecimal digits")]
pub struct IdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier, larger than those made before on this machine.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text, $prefix).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(<D::Error as serde::de::Error>::custom)
            }
        }
    )*};
}

identifiers! {
    /// A tenant.
    AccountId = "acct";
    /// A person who signs in.
    UserId = "user";
    /// An API token.
    TokenId = "tok";
    /// An API key of one certificate or one private key (requirements S1.2).
    ApiKeyId = "apikey";
    /// An invitation into an account.
    InvitationId = "inv";
    /// An entry of the audit log.
    AuditEntryId = "audit";
    /// A DNS zone of an account.
    ZoneId = "zone";
    /// All records of one name and type in a zone that we host.
    RecordSetId = "rrset";
    /// A certificate: stable while its versions come and go (requirements X5).
    CertificateId = "cert";
    /// An ACME account that a customer has at a CA themselves.
    AcmeAccountId = "acme";
    /// One wish for a new version, with its retries.
    IssuanceId = "iss";
    /// One ACME order.
    OrderId = "order";
    /// One authorization of an ACME order.
    AuthorizationId = "authz";
    /// One version of a certificate: immutable.
    VersionId = "ver";
    /// A wish to have a version revoked at its CA.
    RevocationId = "rev";
    /// A private key as a resource.
    KeyId = "key";
    /// One generation of a private key's material.
    KeyVersionId = "keyver";
    /// A version with its key as PKCS#12.
    PfxFileId = "pfx";
    /// Where an account is told what becomes of its certificates.
    WebhookId = "hook";
    /// A Cert Warden client to which the version in use of a certificate is pushed.
    PushTargetId = "push";
    /// One message to one webhook, or one push to one target, with its attempts.
    DeliveryId = "dlv";
}

fn parse(text: &str, prefix: &'static str) -> Result<Uuid, IdError> {
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    match digits {
        Some(digits) if digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
            Uuid::try_parse(digits).map_err(|_| IdError { prefix })
        }
        _ => Err(IdError { prefix }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_read_back_from_its_text() {
        let id = CertificateId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with("cert_"));
        assert_eq!(serde_json::from_value::<CertificateId>(serde_json::to_value(id).unwrap()).unwrap(), id);
    }

    #[test]
    fn another_kind_of_identifier_is_refused() {
        let zone = ZoneId::new().to_string();
        assert_eq!(zone.parse::<CertificateId>(), Err(IdError { prefix: "cert" }));
        let hex = Uuid::nil().simple().to_string();
        for text in ["", "cert", "cert_", "cert_abc123", &hex, &format!("cert_{}", Uuid::nil()), &format!("cert_{}", "F".repeat(32))] {
            assert!(text.parse::<CertificateId>().is_err(), "{text}");
        }
    }
}
