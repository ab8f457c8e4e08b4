//! The two products whose download APIs are spoken here, and what each calls its files.

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Whose paths are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// LeGo CertHub, until 2024.
    Lego,
    /// Cert Warden, as it is called since.
    CertWarden,
}

/// What is downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PrivateKey,
    LeafAndChain,
    KeyAndLeaf,
    /// The key, the leaf and the chain; and how the name of the file ends, which the two products do not agree on.
    KeyLeafAndChain(&'static str),
    Chain,
    Pfx,
}

impl Kind {
    /// Whether the private key is in it, whose own API key is then needed beside the certificate's.
    pub(super) fn holds_key(self) -> bool {
        matches!(self, Self::KeyAndLeaf | Self::KeyLeafAndChain(_) | Self::Pfx)
    }
}

/// Requirements S1.1.
const LEGO: [(&str, Kind); 4] = [
    ("privatekeys", Kind::PrivateKey),
    ("certificates", Kind::LeafAndChain),
    ("privatecerts", Kind::KeyLeafAndChain(".certkey.pem")),
    ("certrootchains", Kind::Chain),
];

/// Requirements S1.5.
const CERT_WARDEN: [(&str, Kind); 6] = [
    ("privatekeys", Kind::PrivateKey),
    ("certificates", Kind::LeafAndChain),
    ("privatecerts", Kind::KeyAndLeaf),
    ("privatecertchains", Kind::KeyLeafAndChain(".certchainkey.pem")),
    ("certrootchains", Kind::Chain),
    ("pfx", Kind::Pfx),
];

impl Face {
    fn kinds(self) -> &'static [(&'static str, Kind)] {
        match self {
            Self::Lego => &LEGO,
            Self::CertWarden => &CERT_WARDEN,
        }
    }

    pub(super) fn kind(self, path: &str) -> Option<Kind> {
        self.kinds().iter().find(|(name, _)| *name == path).map(|&(_, kind)| kind)
    }
}

/// The words that can stand in the path.
pub(super) struct LegoKind;
pub(super) struct CertWardenKind;

fn words(face: Face) -> RefOr<Schema> {
    let names = face.kinds().iter().map(|&(name, _)| name);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build().into()
}

impl PartialSchema for LegoKind {
    fn schema() -> RefOr<Schema> {
        words(Face::Lego)
    }
}

impl ToSchema for LegoKind {}

impl PartialSchema for CertWardenKind {
    fn schema() -> RefOr<Schema> {
        words(Face::CertWarden)
    }
}

impl ToSchema for CertWardenKind {}
