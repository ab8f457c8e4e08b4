//! The certificate authorities, as far as API and worker share them.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Deserialize;
use zonecert_domain::ca_limits::CaLimits;
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::ca_budget::Ledger;
use zonecert_store::issuing::Environment;

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
    acme_staging_directory: Option<String>,
    /// The names by which CAA records allow the CA, comma separated (RFC 8659): `caaIdentities` of its directory. Customers are told the first.
    #[arg(long, env = "ZONECERT_CAA_IDENTITIES", value_delimiter = ',', default_value = "letsencrypt.org", value_name = "ZONECERT_CAA_IDENTITIES",
        value_parser = super::platform_zone)]
    caa_identities: Vec<ZoneName>,
    /// How many orders, certificates and failed validations the CA allows in how many seconds: `order=300/10800,exact_names=off`; what is not named is as at Let's
    /// Encrypt. Orders wait for room. `off` where the CA limits nothing.
    #[arg(long, env = "ZONECERT_CA_LIMITS", value_name = "ZONECERT_CA_LIMITS", default_value_t = CaLimits::default())]
    ca_limits: CaLimits,
    /// A JSON file with more CAs, which take new orders over, in this order, while the one above does not answer or has no room:
    /// `[{"directory": "https://…", "caa_identities": ["ca.example"], "environment": "production", "limits": "off", "contact": "…", "ca_file": "…", "eab_key_id": "…", "eab_mac_key_file": "…"}]`;
    /// all but the first two may be left out.
    #[arg(long, env = "ZONECERT_MORE_AUTHORITIES_FILE", value_name = "ZONECERT_MORE_AUTHORITIES_FILE")]
    more_authorities_file: Option<PathBuf>,
}

/// A CA as the settings have it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authority {
    pub(crate) directory: String,
    #[serde(default = "production")]
    environment: String,
    caa_identities: Vec<String>,
    limits: Option<String>,
    pub(crate) contact: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) eab_key_id: Option<String>,
    pub(crate) eab_mac_key_file: Option<PathBuf>,
    /// Whether it is of the file, and no flag is about it.
    #[serde(skip, default = "yes")]
    pub(crate) from_file: bool,
}

fn production() -> String {
    Environment::Production.as_str().to_owned()
}

const fn yes() -> bool {
    true
}

impl CaArgs {
    /// Every CA with its settings, the one that is asked first in front.
    pub(crate) fn authorities(&self) -> Result<Vec<Authority>> {
        let of_flags = |directory: &String, environment: Environment| Authority {
            directory: directory.clone(),
            environment: environment.as_str().to_owned(),
            caa_identities: self.caa_identities.iter().map(ToString::to_string).collect(),
            limits: Some(self.ca_limits.to_string()),
            contact: None,
            ca_file: None,
            eab_key_id: None,
            eab_mac_key_file: None,
            from_file: false,
        };
        let mut authorities = vec![of_flags(&self.acme_directory, Environment::Production)];
        authorities.extend(self.acme_staging_directory.as_ref().map(|url| of_flags(url, Environment::Staging)));
        if let Some(file) = &self.more_authorities_file {
            let named = || format!("ZONECERT_MORE_AUTHORITIES_FILE: {}", file.display());
            let text = std::fs::read_to_string(file).with_context(named)?;
            let more: Vec<Authority> = serde_json::from_str(&text).with_context(named)?;
            for authority in more {
                authority.check().with_context(named)?;
                let same =
                    authorities.iter().any(|other| other.directory == authority.directory && other.environment == authority.environment);
                ensure!(!same, "{}: {} is there twice", named(), authority.directory);
                authorities.push(authority);
            }
        }
        Ok(authorities)
    }

    /// What the API counts by.
    pub(crate) fn ledgers(&self) -> Result<Vec<(Environment, Ledger)>> {
        self.authorities()?.iter().map(|authority| Ok((authority.environment()?, authority.ledger()?))).collect()
    }

    /// The names by which CAA records allow any CA for certificates that everybody trusts.
    pub(crate) fn all_caa_identities(&self) -> Result<Vec<ZoneName>> {
        let mut all = self.caa_identities.clone();
        for authority in self.authorities()? {
            if authority.environment()? == Environment::Production {
                all.extend(authority.caa_identities()?.into_iter().filter(|name| !self.caa_identities.contains(name)));
            }
        }
        Ok(all)
    }
}

impl Authority {
    fn check(&self) -> Result<()> {
        self.environment()?;
        self.ledger()?;
        ensure!(!self.caa_identities()?.is_empty(), "{}: give the names by which CAA records allow it", self.directory);
        ensure!(
            self.eab_key_id.is_some() == self.eab_mac_key_file.is_some(),
            "{}: eab_key_id and eab_mac_key_file go together",
            self.directory
        );
        Ok(())
    }

    pub(crate) fn environment(&self) -> Result<Environment> {
        Environment::parse(&self.environment).with_context(|| format!("{}: environment is production or staging", self.directory))
    }

    pub(crate) fn ledger(&self) -> Result<Ledger> {
        let limits = self.limits.as_deref().map(str::parse).transpose().with_context(|| format!("{}: limits", self.directory))?;
        Ok(Ledger { directory_url: self.directory.clone(), limits: limits.unwrap_or_default() })
    }

    pub(crate) fn caa_identities(&self) -> Result<Vec<ZoneName>> {
        let read = |text: &String| super::platform_zone(text).map_err(|error| anyhow::anyhow!("{}: {text}: {error}", self.directory));
        self.caa_identities.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(file: Option<PathBuf>) -> CaArgs {
        CaArgs {
            acme_directory: "https://first.test/dir".to_owned(),
            acme_staging_directory: Some("https://staging.test/dir".to_owned()),
            caa_identities: vec![super::super::platform_zone("first.test").unwrap()],
            ca_limits: CaLimits::default(),
            more_authorities_file: file,
        }
    }

    fn with_file(text: &str) -> Result<Vec<(Environment, Ledger)>> {
        let name = format!("zonecert-authorities-{}.json", uuid::Uuid::new_v4());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, text).unwrap();
        let ledgers = args(Some(file.clone())).ledgers();
        std::fs::remove_file(&file).unwrap();
        ledgers
    }

    #[test]
    fn more_cas_come_behind_those_of_the_flags() {
        let urls = |ledgers: &[(Environment, Ledger)], of| -> Vec<String> {
            ledgers.iter().filter(|(environment, _)| *environment == of).map(|(_, ledger)| ledger.directory_url.clone()).collect()
        };
        assert_eq!(urls(&args(None).ledgers().unwrap(), Environment::Production), ["https://first.test/dir"]);
        let text = r#"[{"directory": "https://second.test/dir", "caa_identities": ["second.test"], "limits": "off"},
            {"directory": "https://third.test/dir", "caa_identities": ["third.test"], "environment": "staging"}]"#;
        let ledgers = with_file(text).unwrap();
        assert_eq!(urls(&ledgers, Environment::Production), ["https://first.test/dir", "https://second.test/dir"]);
        assert_eq!(urls(&ledgers, Environment::Staging), ["https://staging.test/dir", "https://third.test/dir"]);
        assert_eq!(ledgers[2].1.limits, CaLimits::OFF);
        assert_eq!(ledgers[3].1.limits, CaLimits::default());
    }

    #[test]
    fn a_file_that_says_something_else_is_refused() {
        for text in [
            "{}",
            r#"[{"directory": "https://a.test/dir"}]"#,
            r#"[{"directory": "https://a.test/dir", "caa_identities": []}]"#,
            r#"[{"directory": "https://a.test/dir", "caa_identities": ["a.test"], "environment": "test"}]"#,
            r#"[{"directory": "https://a.test/dir", "caa_identities": ["a.test"], "limits": "many"}]"#,
            r#"[{"directory": "https://a.test/dir", "caa_identities": ["a.test"], "eab_key_id": "k"}]"#,
            r#"[{"directory": "https://a.test/dir", "caa_identities": ["a.test"], "priority": 1}]"#,
            r#"[{"directory": "https://first.test/dir", "caa_identities": ["a.test"]}]"#,
        ] {
            assert!(with_file(text).is_err(), "{text}");
        }
    }
}
