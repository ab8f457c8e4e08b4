//! What the operator sets. The binary reads it from flags and variables and checks it by [`crate::App::new`].

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use zeroize::Zeroizing;
use zonecert_domain::name::NamePolicy;
use zonecert_domain::webhook::Destinations;
use zonecert_domain::zone_name::ZoneName;
use zonecert_preflight::Expectations;
use zonecert_resolver::ResolverError;
use zonecert_store::ca_budget::Ledger;
use zonecert_store::issuing::Environment;

use crate::auth::password::HashingError;
use crate::traffic::TrafficSettings;

/// The settings of the API.
pub struct ApiSettings {
    /// Under which address the API is reached from outside, without a trailing slash: issuer and audience of access tokens.
    pub public_url: String,
    /// Where people find the dashboard, without a trailing slash: links in mails begin with it.
    pub dashboard_url: String,
    /// Whether this server serves the dashboard, at `/`.
    pub dashboard: bool,
    /// Private keys for access tokens: ECDSA P-256, PKCS#8 in PEM, one after the other. The first signs, all verify, so that a new key
    /// is put in front and the old one taken out [`crate::auth::access_token::LIFETIME`] later.
    pub token_keys_pem: Zeroizing<String>,
    /// DNS servers that are asked about the ownership of zones. None means those of the operating system.
    pub resolvers: Vec<SocketAddr>,
    /// Which names certificates and zones may have.
    pub names: NamePolicy,
    /// The CAs as the workers have them, the one that is asked first in front: what is left of their limits is counted by their directories.
    pub authorities: Vec<(Environment, Ledger)>,
    /// The issuer domain names by which CAA records allow the CA (RFC 8659 §4.2).
    pub caa_identities: Vec<ZoneName>,
    /// Our name servers, which the registrar of a hosted zone is to point at.
    pub name_servers: Vec<ZoneName>,
    /// The zone in which the challenges of delegated zones are answered; without it there are none. To be one of the platform's zones in `names`.
    pub challenge_zone: Option<ZoneName>,
    /// Threads that answer requests.
    pub threads: NonZeroUsize,
    /// How many passwords are hashed at once; each takes 19 MiB and a core for some 20 ms.
    pub parallel_password_hashes: NonZeroUsize,
    /// Who may call from where, and how often.
    pub traffic: TrafficSettings,
    /// Where webhooks may be.
    pub webhook_destinations: Destinations,
    /// How long running requests may take to end once a stop is asked for.
    pub stop_patience: Duration,
}

impl ApiSettings {
    /// What a look at the DNS of a certificate compares it with.
    pub(crate) fn expectations(&self) -> Expectations {
        Expectations::new(&self.name_servers, &self.caa_identities, self.challenge_zone.as_ref())
    }

    /// The CAs for certificates of this kind.
    pub(crate) fn ledgers(&self, environment: Environment) -> impl Iterator<Item = &Ledger> {
        self.authorities.iter().filter(move |(of, _)| *of == environment).map(|(_, ledger)| ledger)
    }
}

/// Why the API cannot start with its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No key, or one of another kind. The text of the setting is never shown.
    #[error("token keys: {0}; make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`")]
    TokenKeys(String),
    /// The operating system names no DNS servers.
    #[error("no DNS servers: {0}")]
    Resolvers(#[from] ResolverError),
    /// A password cannot be hashed here.
    #[error(transparent)]
    Hashing(#[from] HashingError),
}
