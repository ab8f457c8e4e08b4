//! Names of the product's settings, and their values on a stack. What is not set here keeps the product's own default.

use std::collections::BTreeMap;

use super::keys::Keys;
use crate::stack::StackHandle;

/// URL of the database, as the role of the process.
pub const DATABASE_URL: &str = "ZONECERT_DATABASE_URL";
/// URL of the database as the worker's role, for `all`.
pub const WORKER_DATABASE_URL: &str = "ZONECERT_WORKER_DATABASE_URL";
/// Connections that a process keeps at the most.
pub const DATABASE_CONNECTIONS: &str = "ZONECERT_DATABASE_CONNECTIONS";
/// `migrate` gives this password to the API's role.
pub const API_DB_PASSWORD: &str = "ZONECERT_API_DB_PASSWORD";
/// `migrate` gives this password to the worker's role.
pub const WORKER_DB_PASSWORD: &str = "ZONECERT_WORKER_DB_PASSWORD";
/// `127.0.0.1:<port>` of `serve`; port 0 is any.
pub const LISTEN: &str = "ZONECERT_LISTEN";
/// `serve` writes its address here once it listens.
pub const ADDRESS_FILE: &str = "ZONECERT_ADDRESS_FILE";
/// File of lines `id:base64 of 32 bytes`, the first being current.
pub const MASTER_KEYS_FILE: &str = "ZONECERT_MASTER_KEYS_FILE";
/// The password of the account that `admin create-account` makes.
pub const NEW_PASSWORD: &str = "ZONECERT_NEW_PASSWORD";
/// PEM of the key that signs access tokens.
pub const JWT_KEY_FILE: &str = "ZONECERT_JWT_KEY_FILE";
/// `PowerDNS`' HTTP API.
pub const POWERDNS_URL: &str = "ZONECERT_POWERDNS_URL";
/// `PowerDNS`' API key.
pub const POWERDNS_API_KEY: &str = "ZONECERT_POWERDNS_API_KEY";
/// `PowerDNS`' name for itself.
pub const POWERDNS_SERVER_ID: &str = "ZONECERT_POWERDNS_SERVER_ID";
/// NS names of created zones, comma separated.
pub const NAMESERVERS: &str = "ZONECERT_NAMESERVERS";
/// URL of the ACME directory.
pub const ACME_DIRECTORY: &str = "ZONECERT_ACME_DIRECTORY";
/// URL of the ACME directory for `environment: staging`.
pub const ACME_STAGING_DIRECTORY: &str = "ZONECERT_ACME_STAGING_DIRECTORY";
/// PEM root of the ACME directory's HTTPS.
pub const ACME_CA_FILE: &str = "ZONECERT_ACME_CA_FILE";
/// Contact of the ACME account.
pub const ACME_CONTACT: &str = "ZONECERT_ACME_CONTACT";
/// Whether an ACME account that the CA has forgotten is made anew.
pub const ACME_RECREATE_ACCOUNT: &str = "ZONECERT_ACME_RECREATE_ACCOUNT";
/// `ip:port` of the resolver for ownership look-ups.
pub const RESOLVER: &str = "ZONECERT_RESOLVER";
/// Whether `.test` and its like are allowed (RFC 6761).
pub const ALLOW_SPECIAL_USE_NAMES: &str = "ZONECERT_ALLOW_SPECIAL_USE_NAMES";
/// Seconds between writing the TXT records and telling the CA.
pub const PROPAGATION_SECONDS: &str = "ZONECERT_PROPAGATION_SECONDS";
/// Seconds between polls of an authorization.
pub const POLL_INTERVAL_SECONDS: &str = "ZONECERT_POLL_INTERVAL_SECONDS";
/// Polls of an authorization before giving up.
pub const POLL_LIMIT: &str = "ZONECERT_POLL_LIMIT";
/// Life of an issuance's lease, in seconds.
pub const LEASE_SECONDS: &str = "ZONECERT_LEASE_SECONDS";
/// Issuances that a worker works on at the same time.
pub const WORKER_CONCURRENCY: &str = "ZONECERT_WORKER_CONCURRENCY";
/// Seconds between sweeps.
pub const SWEEP_INTERVAL_SECONDS: &str = "ZONECERT_SWEEP_INTERVAL_SECONDS";
/// Seconds before each further attempt, comma separated.
pub const RETRY_LADDER_SECONDS: &str = "ZONECERT_RETRY_LADDER_SECONDS";
/// Filter of the logs (`tracing-subscriber`'s `EnvFilter`).
pub const LOG: &str = "ZONECERT_LOG";
/// `pretty` or `json`.
pub const LOG_FORMAT: &str = "ZONECERT_LOG_FORMAT";

/// NS names of the zones that the product creates on a stack.
pub const STACK_NAMESERVERS: [&str; 2] = ["ns1.zonecert.test", "ns2.zonecert.test"];

/// Everything but the database's URL, which depends on the role.
pub(super) fn for_stack(stack: &StackHandle, keys: &Keys) -> BTreeMap<String, String> {
    let settings = [
        (API_DB_PASSWORD, stack.postgres.api_password().to_owned()),
        (WORKER_DB_PASSWORD, stack.postgres.worker_password().to_owned()),
        (LISTEN, "127.0.0.1:0".to_owned()),
        (MASTER_KEYS_FILE, keys.master_keys_file.display().to_string()),
        (JWT_KEY_FILE, keys.jwt_key_file.display().to_string()),
        (POWERDNS_URL, stack.powerdns.api_url()),
        (POWERDNS_API_KEY, stack.powerdns.api_key().to_owned()),
        (POWERDNS_SERVER_ID, "localhost".to_owned()),
        (NAMESERVERS, STACK_NAMESERVERS.join(",")),
        (ACME_DIRECTORY, stack.pebble.directory_url()),
        (ACME_STAGING_DIRECTORY, stack.pebble.directory_url()),
        (ACME_CA_FILE, stack.pebble.ca_file().display().to_string()),
        (ACME_CONTACT, "mailto:operator@zonecert.test".to_owned()),
        (ACME_RECREATE_ACCOUNT, "true".to_owned()),
        (RESOLVER, stack.customer_dns.dns_address().to_string()),
        (ALLOW_SPECIAL_USE_NAMES, "true".to_owned()),
        (LOG_FORMAT, "json".to_owned()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
