//! Our account at the certificate authority.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use zeroize::Zeroizing;
use zonecert_domain::email::Email;
use zonecert_pki::MasterKeys;
use zonecert_store::Store;
use zonecert_worker::Directories;
use zonecert_worker::acme::{AcmeDirectory, AcmeSettings, ExternalAccount};

use super::ca::CaArgs;

/// How the CA is reached, and our account there.
#[derive(Args)]
#[command(next_help_heading = "Certificate authority")]
#[expect(clippy::struct_field_names, reason = "a field is a flag, and the flag says what it is about")]
pub(crate) struct AcmeArgs {
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
    /// Key identifier of the account that you have with the CA outside of ACME, where new ACME accounts have to be bound to one (RFC 8555 §7.3.4). Not for the staging directory.
    #[arg(long, env = "ZONECERT_ACME_EAB_KEY_ID", value_name = "ZONECERT_ACME_EAB_KEY_ID", requires = "acme_eab_mac_key_file")]
    acme_eab_key_id: Option<String>,
    /// A file with the MAC key of that account, as the CA shows it (base64url).
    #[arg(long, env = "ZONECERT_ACME_EAB_MAC_KEY_FILE", value_name = "ZONECERT_ACME_EAB_MAC_KEY_FILE", requires = "acme_eab_key_id")]
    acme_eab_mac_key_file: Option<PathBuf>,
}

impl AcmeArgs {
    /// The directories that are set.
    pub(crate) fn directories(&self, ca: &CaArgs, store: &Store, masters: &Arc<MasterKeys>) -> Result<Directories> {
        let directory = |url: &str, variable: &'static str, external_account: Option<ExternalAccount>| {
            let settings = AcmeSettings {
                external_account,
                contact: self.acme_contact.clone(),
                ca_file: self.acme_ca_file.clone(),
                recreate_account: self.acme_recreate_account,
                ..AcmeSettings::new(url)
            };
            AcmeDirectory::new(settings, store.clone(), Arc::clone(masters)).context(variable)
        };
        let staging = ca.acme_staging_directory.as_deref();
        Ok(Directories {
            production: directory(&ca.acme_directory, "ZONECERT_ACME_DIRECTORY", self.external_account()?)?,
            staging: staging.map(|url| directory(url, "ZONECERT_ACME_STAGING_DIRECTORY", None)).transpose()?,
        })
    }

    fn external_account(&self) -> Result<Option<ExternalAccount>> {
        let (Some(key_id), Some(file)) = (&self.acme_eab_key_id, &self.acme_eab_mac_key_file) else { return Ok(None) };
        let read = std::fs::read_to_string(file).map(Zeroizing::new);
        let mac_key = read.with_context(|| format!("ZONECERT_ACME_EAB_MAC_KEY_FILE: {} cannot be read", file.display()))?;
        ExternalAccount::new(key_id, &mac_key).map(Some).context("ZONECERT_ACME_EAB_KEY_ID and ZONECERT_ACME_EAB_MAC_KEY_FILE")
    }
}

fn contact(text: &str) -> Result<Email, String> {
    Email::parse(text.strip_prefix("mailto:").unwrap_or(text)).map_err(|error| error.detail().clone())
}
