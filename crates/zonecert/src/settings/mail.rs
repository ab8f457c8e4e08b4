//! How mail leaves.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use zonecert_worker::mail::{Mailer, SmtpRelay};

/// Mail to people: links that confirm an address, set a password, accept an invitation.
#[derive(Args)]
#[command(next_help_heading = "Mail")]
pub(crate) struct MailArgs {
    /// Where mail is handed in: `smtps://USER:PASSWORD@HOST:465`, or `smtp://USER:PASSWORD@HOST:587` for STARTTLS; special characters as %XX. A relay on this
    /// machine: `smtp://HOST:25?tls=none`. A path behind it is the name by which we greet. Without it mail waits, and is given up after a day.
    #[arg(long, env = "ZONECERT_SMTP_URL", hide_env_values = true, value_name = "ZONECERT_SMTP_URL", requires = "mail_from")]
    smtp_url: Option<String>,
    /// A PEM file with roots for the relay's TLS, beside those of the operating system: for a private CA.
    #[arg(long, env = "ZONECERT_SMTP_CA_FILE", value_name = "ZONECERT_SMTP_CA_FILE")]
    smtp_ca_file: Option<PathBuf>,
    /// A directory that gets each mail as a file .eml instead. For development.
    #[arg(long, env = "ZONECERT_MAIL_DIR", value_name = "ZONECERT_MAIL_DIR", requires = "mail_from", conflicts_with = "smtp_url")]
    mail_dir: Option<PathBuf>,
    /// Who writes: `Zonecert <no-reply@your-domain.com>`. The relay must let us write as this address.
    #[arg(long, env = "ZONECERT_MAIL_FROM", value_name = "ZONECERT_MAIL_FROM")]
    mail_from: Option<String>,
}

impl MailArgs {
    /// The way that is set, if one is.
    pub(crate) fn mailer(&self) -> Result<Option<Mailer>> {
        let from = self.mail_from.as_deref().unwrap_or_default();
        match (&self.smtp_url, &self.mail_dir) {
            (Some(url), _) => {
                let relay = SmtpRelay::parse(url, self.smtp_ca_file.as_deref()).context("ZONECERT_SMTP_URL or ZONECERT_SMTP_CA_FILE")?;
                Ok(Some(Mailer::smtp(from, relay).context("ZONECERT_MAIL_FROM")?))
            }
            (None, Some(directory)) => Ok(Some(Mailer::directory(from, directory.clone()).context("ZONECERT_MAIL_FROM")?)),
            (None, None) => Ok(None),
        }
    }
}
