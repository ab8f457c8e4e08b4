//! The certificate authority.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use zonecert_domain::email::Email;
use zonecert_pki::MasterKeys;
use zonecert_store::Store;
use zonecert_worker::Directories;
use zonecert_worker::acme::{AcmeDirectory, AcmeSettings};

/// The CA's directories, and our account there.
#[derive(Args)]
#[command(next_help_heading = "Certificate authority")]
#[expect(clippy::struct_field_names, reason = "a field is a flag, and the flag says what it is about")]
pub(crate) struct AcmeArgs {
    /// The CA's directory for certificates that everybody trusts. By using it you agree to the CA's terms.
    #[arg(
        long,
        env = "ZONECERT_ACME_DIRECTORY",
        default_value = "https://acme-v02.api.letsencrypt.org/directory",
        value_name = "ZONECERT_ACME_DIRECTORY"
    )]
    acme_directory: String,
    /// The CA's directory for certificates with `environment: staging`.
    #[arg(long, env = "ZONECERT_ACME_STAGING_DIRECTORY", value_name = "ZONECERT_ACME_STAGING_DIRECTORY")]
    acme_staging_directory: Option<String>,
    /// A PEM file with roots for the CA's HTTPS, beside those of the operating system: for a private CA.
    #[arg(long, env = "ZONECERT_ACME_CA_FILE", value_name = "ZONECERT_ACME_CA_FILE")]
    acme_ca_file: Option<PathBuf>,
    /// The address that the CA writes to about our account.
    #[arg(long, env = "ZONECERT_ACME_CONTACT", value_name = "ZONECERT_ACME_CONTACT", value_parser = contact)]
    acme_contact: Option<Email>,
    /// Makes a new account where the CA has forgotten ours. For development: elsewhere a lost account is for a person to look at.
    #[arg(long, env = "ZONECERT_ACME_RECREATE_ACCOUNT", value_name = "ZONECERT_ACME_RECREATE_ACCOUNT", default_value = "false",
        action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    acme_recreate_account: bool,
}

impl AcmeArgs {
    /// The directories that are set.
    pub(crate) fn directories(&self, store: &Store, masters: &Arc<MasterKeys>) -> Result<Directories> {
        let directory = |url: &str, variable: &'static str| {
            let settings = AcmeSettings {
                contact: self.acme_contact.clone(),
                ca_file: self.acme_ca_file.clone(),
                recreate_account: self.acme_recreate_account,
                ..AcmeSettings::new(url)
            };
            AcmeDirectory::new(settings, store.clone(), Arc::clone(masters)).context(variable)
        };
        let staging = self.acme_staging_directory.as_deref();
        Ok(Directories {
            production: directory(&self.acme_directory, "ZONECERT_ACME_DIRECTORY")?,
            staging: staging.map(|url| directory(url, "ZONECERT_ACME_STAGING_DIRECTORY")).transpose()?,
        })
    }
}

fn contact(text: &str) -> Result<Email, String> {
    Email::parse(text.strip_prefix("mailto:").unwrap_or(text)).map_err(|error| error.detail().clone())
}
