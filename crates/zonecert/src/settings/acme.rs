//! Our account at the certificate authority.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use zeroize::Zeroizing;
use zonecert_domain::email::Email;
use zonecert_pki::MasterKeys;
use zonecert_store::Store;
use zonecert_store::issuing::Environment;
use zonecert_worker::acme::{AcmeDirectory, AcmeSettings, ExternalAccount};
use zonecert_worker::{Authority, Directories};

use super::ca::{self, CaArgs};

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
        let mut directories = Directories::default();
        for authority in ca.authorities()? {
            let environment = authority.environment()?;
            let named = || format!("the CA {}", authority.directory);
            let settings = self.settings(&authority, environment).with_context(named)?;
            let directory = AcmeDirectory::new(settings, store.clone(), Arc::clone(masters)).with_context(named)?;
            let entry =
                Authority { directory: Arc::new(directory), ledger: authority.ledger()?, caa_identities: authority.caa_identities()? };
            match environment {
                Environment::Production => directories.production.push(entry),
                Environment::Staging => directories.staging.push(entry),
            }
        }
        Ok(directories)
    }

    fn settings(&self, authority: &ca::Authority, environment: Environment) -> Result<AcmeSettings> {
        let own_contact = authority.contact.as_deref().map(contact).transpose().map_err(|error| anyhow!("contact: {error}"))?;
        let (key_id, mac_key_file) = if authority.from_file {
            (authority.eab_key_id.as_deref(), authority.eab_mac_key_file.as_deref())
        } else if environment == Environment::Production {
            (self.acme_eab_key_id.as_deref(), self.acme_eab_mac_key_file.as_deref())
        } else {
            (None, None)
        };
        Ok(AcmeSettings {
            external_account: external_account(key_id, mac_key_file)?,
            contact: own_contact.or_else(|| self.acme_contact.clone()),
            ca_file: authority.ca_file.clone().or_else(|| self.acme_ca_file.clone()),
            recreate_account: self.acme_recreate_account,
            ..AcmeSettings::new(&authority.directory)
        })
    }
}

fn external_account(key_id: Option<&str>, mac_key_file: Option<&Path>) -> Result<Option<ExternalAccount>> {
    let (Some(key_id), Some(file)) = (key_id, mac_key_file) else { return Ok(None) };
    let read = std::fs::read_to_string(file).map(Zeroizing::new);
    let mac_key = read.with_context(|| format!("the external account's MAC key: {} cannot be read", file.display()))?;
    ExternalAccount::new(key_id, &mac_key).map(Some).with_context(|| format!("the external account {key_id}"))
}

fn contact(text: &str) -> Result<Email, String> {
    Email::parse(text.strip_prefix("mailto:").unwrap_or(text)).map_err(|error| error.detail().clone())
}
