//! The certificate authority, as far as API and worker share it.

use clap::Args;
use zonecert_domain::zone_name::ZoneName;

/// Which CA.
#[derive(Args)]
#[command(next_help_heading = "Certificate authority")]
pub(crate) struct CaArgs {
    /// The CA's directory for certificates that everybody trusts. By using it you agree to the CA's terms.
    #[arg(
        long,
        env = "ZONECERT_ACME_DIRECTORY",
        default_value = "https://acme-v02.api.letsencrypt.org/directory",
        value_name = "ZONECERT_ACME_DIRECTORY"
    )]
    pub(crate) acme_directory: String,
    /// The CA's directory for certificates with `environment: staging`.
    #[arg(long, env = "ZONECERT_ACME_STAGING_DIRECTORY", value_name = "ZONECERT_ACME_STAGING_DIRECTORY")]
    pub(crate) acme_staging_directory: Option<String>,
    /// The names by which CAA records allow the CA, comma separated (RFC 8659): `caaIdentities` of its directory. Customers are told the first.
    #[arg(long, env = "ZONECERT_CAA_IDENTITIES", value_delimiter = ',', default_value = "letsencrypt.org", value_name = "ZONECERT_CAA_IDENTITIES",
        value_parser = super::platform_zone)]
    pub(crate) caa_identities: Vec<ZoneName>,
}
