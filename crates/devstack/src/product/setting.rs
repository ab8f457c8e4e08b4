//! Names of the product's settings, and their values on a stack. What is not set here keeps the product's own default.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::keys::Keys;
use crate::stack::StackHandle;

/// URL of the database, as the role of the process.
pub const DATABASE_URL: &str = "ZONECERT_DATABASE_URL";
/// URL of the database as the worker's role, for `all`.
pub const WORKER_DATABASE_URL: &str = "ZONECERT_WORKER_DATABASE_URL";
/// Connections that a process keeps at the most.
pub const DATABASE_CONNECTIONS: &str = "ZONECERT_DATABASE_CONNECTIONS";
/// Seconds that a request waits for a connection.
pub const DATABASE_PATIENCE_SECONDS: &str = "ZONECERT_DATABASE_PATIENCE_SECONDS";
/// `migrate` gives this password to the API's role.
pub const API_DB_PASSWORD: &str = "ZONECERT_API_DB_PASSWORD";
/// `migrate` gives this password to the worker's role.
pub const WORKER_DB_PASSWORD: &str = "ZONECERT_WORKER_DB_PASSWORD";
/// `127.0.0.1:<port>` of `serve`; port 0 is any.
pub const LISTEN: &str = "ZONECERT_LISTEN";
/// `serve` writes its address here once it listens.
pub const ADDRESS_FILE: &str = "ZONECERT_ADDRESS_FILE";
/// Under which address the API is reached.
pub const PUBLIC_URL: &str = "ZONECERT_PUBLIC_URL";
/// Links in mails begin with it.
pub const DASHBOARD_URL: &str = "ZONECERT_DASHBOARD_URL";
/// `work` writes each mail to a file of this directory.
pub const MAIL_DIR: &str = "ZONECERT_MAIL_DIR";
/// Who writes mail.
pub const MAIL_FROM: &str = "ZONECERT_MAIL_FROM";
/// Where mail is handed in.
pub const SMTP_URL: &str = "ZONECERT_SMTP_URL";
/// File of lines `id:base64 of 32 bytes`, the first being current.
pub const MASTER_KEYS_FILE: &str = "ZONECERT_MASTER_KEYS_FILE";
/// `migrate` gives this password to the operator's role.
pub const ADMIN_DB_PASSWORD: &str = "ZONECERT_ADMIN_DB_PASSWORD";
/// URL of the database as the operator's role, for the operator's part of `serve`.
pub const ADMIN_DATABASE_URL: &str = "ZONECERT_ADMIN_DATABASE_URL";
/// SHA-256 of the operator's tokens, comma separated.
pub const ADMIN_TOKEN_SHA256: &str = "ZONECERT_ADMIN_TOKEN_SHA256";
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
/// `ip:port` of the name servers that have to show a challenge before the CA is told.
pub const PROPAGATION_CHECK: &str = "ZONECERT_PROPAGATION_CHECK";
/// URL of the ACME directory.
pub const ACME_DIRECTORY: &str = "ZONECERT_ACME_DIRECTORY";
/// URL of the ACME directory for `environment: staging`.
pub const ACME_STAGING_DIRECTORY: &str = "ZONECERT_ACME_STAGING_DIRECTORY";
/// PEM root of the ACME directory's HTTPS.
pub const ACME_CA_FILE: &str = "ZONECERT_ACME_CA_FILE";
/// Contact of the ACME account.
pub const ACME_CONTACT: &str = "ZONECERT_ACME_CONTACT";
/// Key identifier of an account that one has with the CA outside of ACME.
pub const ACME_EAB_KEY_ID: &str = "ZONECERT_ACME_EAB_KEY_ID";
/// File with the MAC key of that account.
pub const ACME_EAB_MAC_KEY_FILE: &str = "ZONECERT_ACME_EAB_MAC_KEY_FILE";
/// Whether an ACME account that the CA has forgotten is made anew.
pub const ACME_RECREATE_ACCOUNT: &str = "ZONECERT_ACME_RECREATE_ACCOUNT";
/// What the CA allows in a time, `order=300/10800,exact_names=off`, or `off`.
pub const CA_LIMITS: &str = "ZONECERT_CA_LIMITS";
/// JSON file with more CAs.
pub const MORE_AUTHORITIES_FILE: &str = "ZONECERT_MORE_AUTHORITIES_FILE";
/// Zone of the platform's own where the challenges of delegated zones are written.
pub const CHALLENGE_ZONE: &str = "ZONECERT_CHALLENGE_ZONE";
/// `ip:port` of the resolver for what customers have set in their DNS.
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
/// Private keys made in advance.
pub const KEY_STOCK: &str = "ZONECERT_KEY_STOCK";
/// Seconds between looks at the stock of private keys.
pub const KEY_STOCK_SECONDS: &str = "ZONECERT_KEY_STOCK_SECONDS";
/// Issuances that a worker works on at the same time.
pub const WORKER_CONCURRENCY: &str = "ZONECERT_WORKER_CONCURRENCY";
/// Seconds between sweeps.
pub const SWEEP_INTERVAL_SECONDS: &str = "ZONECERT_SWEEP_INTERVAL_SECONDS";
/// Seconds between scans for what is due.
pub const RENEWAL_SCAN_SECONDS: &str = "ZONECERT_RENEWAL_SCAN_SECONDS";
/// Seconds before each further attempt, comma separated.
pub const RETRY_LADDER_SECONDS: &str = "ZONECERT_RETRY_LADDER_SECONDS";
/// Calls, and seconds for as many more, `elite=200/10,address=400/20`, or `off`.
pub const RATE_LIMITS: &str = "ZONECERT_RATE_LIMITS";
/// Failed sign-ins that are free, and seconds of the longest wait, `email=5/60,address=20/900`.
pub const SIGN_IN_LIMITS: &str = "ZONECERT_SIGN_IN_LIMITS";
/// `127.0.0.1:<port>` of the page of metrics, port 0 being any, or `off`.
pub const METRICS_LISTEN: &str = "ZONECERT_METRICS_LISTEN";
/// A process writes the address of its page of metrics here.
pub const METRICS_ADDRESS_FILE: &str = "ZONECERT_METRICS_ADDRESS_FILE";
/// Networks to which messages to webhooks may go beside the public Internet, comma separated.
pub const WEBHOOK_NETWORKS: &str = "ZONECERT_WEBHOOK_NETWORKS";
/// Filter of the logs (`tracing-subscriber`'s `EnvFilter`).
pub const LOG: &str = "ZONECERT_LOG";
/// `pretty` or `json`.
pub const LOG_FORMAT: &str = "ZONECERT_LOG_FORMAT";

/// Everybody calls from one address here, and tests and benches call as fast as they can: limits that are there, and that nobody meets.
const STACK_RATE_LIMITS: &str = "free=1000000/10,plus=1000000/10,pro=1000000/10,elite=1000000/10,address=1000000/10";
const STACK_SIGN_IN_LIMITS: &str = "address=1000000/900";
/// The token with which the operator calls the API of a product on a stack: 43 characters behind `zca_`.
pub const STACK_OPERATOR_TOKEN: &str = "zca_development-development-development-develop";

/// NS names of the zones that the product creates on a stack.
pub const STACK_NAMESERVERS: [&str; 2] = ["ns1.zonecert.test", "ns2.zonecert.test"];

/// Everything but the database's URL, which depends on the role.
pub(super) fn for_stack(stack: &StackHandle, keys: &Keys) -> BTreeMap<String, String> {
    let settings = [
        (API_DB_PASSWORD, stack.postgres.api_password().to_owned()),
        (WORKER_DB_PASSWORD, stack.postgres.worker_password().to_owned()),
        (ADMIN_DB_PASSWORD, stack.postgres.operator_password()),
        (ADMIN_TOKEN_SHA256, hex::encode(Sha256::digest(STACK_OPERATOR_TOKEN))),
        (LISTEN, "127.0.0.1:0".to_owned()),
        (MASTER_KEYS_FILE, keys.master_keys_file.display().to_string()),
        (JWT_KEY_FILE, keys.jwt_key_file.display().to_string()),
        (POWERDNS_URL, stack.powerdns.api_url()),
        (POWERDNS_API_KEY, stack.powerdns.api_key().to_owned()),
        (POWERDNS_SERVER_ID, "localhost".to_owned()),
        (NAMESERVERS, STACK_NAMESERVERS.join(",")),
        (PROPAGATION_CHECK, stack.powerdns.dns_address().to_string()),
        (ACME_DIRECTORY, stack.pebble.directory_url()),
        (ACME_STAGING_DIRECTORY, stack.pebble.directory_url()),
        (ACME_CA_FILE, stack.pebble.ca_file().display().to_string()),
        // Pebble limits nothing, and benches order thousands.
        (CA_LIMITS, "off".to_owned()),
        (ACME_CONTACT, "mailto:operator@zonecert.test".to_owned()),
        (ACME_RECREATE_ACCOUNT, "true".to_owned()),
        (RESOLVER, stack.customer_dns.dns_address().to_string()),
        (ALLOW_SPECIAL_USE_NAMES, "true".to_owned()),
        (RATE_LIMITS, STACK_RATE_LIMITS.to_owned()),
        (SIGN_IN_LIMITS, STACK_SIGN_IN_LIMITS.to_owned()),
        // Many products run at the same time, and none for long.
        (KEY_STOCK, "0".to_owned()),
        (METRICS_LISTEN, "off".to_owned()),
        (MAIL_FROM, "Zonecert <no-reply@zonecert.test>".to_owned()),
        (LOG_FORMAT, "json".to_owned()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
