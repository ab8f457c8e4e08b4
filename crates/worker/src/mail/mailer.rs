//! The way that mail takes: a relay, or a directory of files in development.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use zonecert_store::mails::{ClaimedMail, MailText};

use super::message::{self, Charset};
use super::smtp::SmtpRelay;
use super::{SendError, directory};

/// How long one attempt takes at the most.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);

/// Sends mail from one address of ours.
pub struct Mailer {
    from: Mailbox,
    way: Way,
}

enum Way {
    Smtp(SmtpRelay),
    Directory(PathBuf),
}

/// A setting of mail that cannot be used. Never shows the setting: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// Not an address with or without a name.
    #[error("not a sender; give one such as Zonecert <no-reply@your-domain.com>")]
    From,
    /// Not the URL of a relay.
    #[error("{0}; give smtps://USER:PASSWORD@HOST:465, or smtp://USER:PASSWORD@HOST:587 for STARTTLS; write special characters as %XX")]
    Url(&'static str),
    /// The roots cannot be read.
    #[error("{file}: {reason}; give a file with certificates in PEM")]
    Roots {
        /// Which file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl Mailer {
    /// Hands mail to a relay. `from` is an address, with or without a name.
    pub fn smtp(from: &str, relay: SmtpRelay) -> Result<Self, MailerError> {
        Ok(Self { from: read_sender(from)?, way: Way::Smtp(relay) })
    }

    /// Writes each mail to a file `<id>.eml` of a directory, which is made where it is missing.
    pub fn directory(from: &str, directory: PathBuf) -> Result<Self, MailerError> {
        Ok(Self { from: read_sender(from)?, way: Way::Directory(directory) })
    }

    /// Looks whether mail could be handed in now, and hands in none. What was found, for people; or what stands in the way.
    pub async fn check(&self) -> Result<String, String> {
        match &self.way {
            Way::Smtp(relay) => {
                let check = tokio::time::timeout(PATIENCE, relay.check(&self.from.email)).await;
                check.unwrap_or_else(|_| Err("no answer in time".to_owned()))
            }
            Way::Directory(directory) => match std::fs::create_dir_all(directory) {
                Ok(()) => Ok(format!("mail becomes files in {}", directory.display())),
                Err(error) => Err(format!("{}: {error}", directory.display())),
            },
        }
    }

    /// One attempt. Takes no longer than [`PATIENCE`].
    pub(super) async fn send(&self, mail: &ClaimedMail, text: &MailText) -> Result<(), SendError> {
        let charset = match &self.way {
            Way::Smtp(_) => Charset::Ascii,
            Way::Directory(_) => Charset::Utf8,
        };
        let message = message::compose(&self.from, mail.id, &mail.recipient, text, charset)?;
        let attempt = async {
            match &self.way {
                Way::Smtp(relay) => relay.send(&self.from.email, &message).await,
                Way::Directory(directory) => directory::write(directory, mail.id, &message.formatted()).await,
            }
        };
        tokio::time::timeout(PATIENCE, attempt).await.unwrap_or_else(|_| Err(SendError::Later("no answer in time".to_owned())))
    }
}

fn read_sender(text: &str) -> Result<Mailbox, MailerError> {
    text.parse().map_err(|_| MailerError::From)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        for sender in ["no-reply@zonecert.test", "Zonecert <no-reply@zonecert.test>", "\"Zone, cert\" <no-reply@zonecert.test>"] {
            assert!(read_sender(sender).is_ok(), "{sender}");
        }
        for sender in ["", "Zonecert", "a@b@c.test", "a@b.test\r\nBcc: c@d.test"] {
            assert!(matches!(read_sender(sender), Err(MailerError::From)), "{sender}");
        }
    }
}
