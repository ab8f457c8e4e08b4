//! Keys, certificate requests, certificate chains and the sealing of secrets.
//!
//! The one crate that uses `openssl`, and only as a library of cryptography: TLS is rustls' everywhere. Nothing here does I/O or
//! reads a clock. Types that hold a secret implement neither `Debug` nor `Display`, hand the secret out only in [`zeroize::Zeroizing`],
//! and wipe their own copy when dropped (requirements S3.27).

mod alternative_names;
pub mod chain;
pub mod csr;
mod der;
mod error;
mod jws;
pub mod key;
mod mac;
pub mod pfx;
pub mod seal;
pub mod upload;

pub use chain::{CertificateChain, ChainProblem};
pub use error::PkiError;
pub use key::PrivateKey;
pub use mac::hmac_sha256;
pub use pfx::PfxFile;
pub use seal::{Binding, DataKey, KeyOwner, MasterKeys, SealError, WrappedDataKey};
