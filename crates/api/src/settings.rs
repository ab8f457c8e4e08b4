//! What the operator sets. The binary reads it from flags and variables and checks it by [`crate::App::new`].

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use zeroize::Zeroizing;
use zonecert_domain::name::NamePolicy;

use crate::auth::password::HashingError;

/// The settings of the API.
pub struct ApiSettings {
    /// Under which address the API is reached from outside, without a trailing slash: issuer and audience of access tokens.
    pub public_url: String,
    /// Private keys for access tokens: ECDSA P-256, PKCS#8 in PEM, one after the other. The first signs, all verify, so that a new key
    /// is put in front and the old one taken out [`crate::auth::access_token::LIFETIME`] later.
    pub token_keys_pem: Zeroizing<String>,
    /// DNS servers that are asked about the ownership of zones. None means those of the operating system.
    pub resolvers: Vec<SocketAddr>,
    /// Which names certificates and zones may have.
    pub names: NamePolicy,
    /// Threads that answer requests.
    pub threads: NonZeroUsize,
    /// How many passwords are hashed at once; each takes 19 MiB and a core for some 20 ms.
    pub parallel_password_hashes: NonZeroUsize,
    /// How long running requests may take to end once a stop is asked for.
    pub stop_patience: Duration,
}

/// Why the API cannot start with its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No key, or one of another kind. The text of the setting is never shown.
    #[error("token keys: {0}; make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`")]
    TokenKeys(String),
    /// The operating system names no DNS servers.
    #[error("no DNS servers: {0}; name some in the setting of the resolvers")]
    Resolvers(String),
    /// A password cannot be hashed here.
    #[error(transparent)]
    Hashing(#[from] HashingError),
}
