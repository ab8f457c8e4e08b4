//! A relay that takes our mail (RFC 5321, submission by RFC 6409).
//!
//! The commands are given one by one, since it matters which of them is refused: a relay that does not take us, or our sender, is a matter of the
//! settings and holds all mail up; one that does not take a recipient or a text refuses this mail alone.

use std::path::Path;
use std::time::Duration;

use lettre::Message;
use lettre::address::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use url::{Host, Url};

use super::SendError;
use super::mailer::MailerError;

const CONNECT_WITHIN: Duration = Duration::from_secs(15);

/// A mail that was accepted is not sent again because the relay does not say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(5);

/// More of an answer is not kept.
const MAX_ERROR_CHARACTERS: usize = 300;

/// Where mail is handed in. Implements no `Debug`: it may hold a password.
pub struct SmtpRelay {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    /// How we greet; by the sender's domain where it is not set.
    hello: Option<ClientId>,
}

enum Security {
    /// TLS from the first byte (RFC 8314 §3.3).
    Wrapped(TlsParameters),
    /// TLS after STARTTLS, or nothing.
    StartTls(TlsParameters),
    /// None: the relay is on this machine or in a network of its own.
    Plain,
}

impl SmtpRelay {
    /// Reads `smtps://USER:PASSWORD@HOST:PORT` (TLS at once, port 465), `smtp://…` (STARTTLS, without which nothing is said; port 587) or
    /// `smtp://…?tls=none` (port 25). A path is the name by which we greet. `roots_file` has roots beside those of the operating system.
    pub fn parse(url: &str, roots_file: Option<&Path>) -> Result<Self, MailerError> {
        let url = Url::parse(url).map_err(|_| MailerError::Url("not a URL"))?;
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(MailerError::Url("it names no host")),
        };
        let options: Vec<_> = url.query_pairs().collect();
        let (security, port) = match (url.scheme(), options.as_slice()) {
            ("smtps", []) => (Security::Wrapped(tls(&host, roots_file)?), 465),
            ("smtp", []) => (Security::StartTls(tls(&host, roots_file)?), 587),
            ("smtp", [(name, value)]) if name == "tls" && value == "none" => (Security::Plain, 25),
            ("smtp" | "smtps", _) => return Err(MailerError::Url("the only option is smtp://…?tls=none")),
            _ => return Err(MailerError::Url("the scheme is neither smtps nor smtp")),
        };
        let hello = Some(url.path().trim_matches('/')).filter(|name| !name.is_empty()).map(|name| ClientId::Domain(name.to_owned()));
        Ok(Self { host, port: url.port().unwrap_or(port), security, credentials: credentials(&url)?, hello })
    }

    /// Hands a message in.
    pub(super) async fn send(&self, from: &Address, message: &Message) -> Result<(), SendError> {
        let mut relay = self.connect(from).await.map_err(|error| SendError::Later(shorten(&error)))?;
        let sent = hand_in(&mut relay, from, message).await;
        let _ = tokio::time::timeout(GOODBYE_WITHIN, relay.abort()).await;
        sent
    }

    /// Whether the relay takes us, by TLS and password as they are set.
    pub(super) async fn check(&self, from: &Address) -> Result<String, String> {
        let mut relay = self.connect(from).await.map_err(|error| shorten(&error))?;
        let _ = tokio::time::timeout(GOODBYE_WITHIN, relay.abort()).await;
        Ok(format!("{}:{} takes us", self.host, self.port))
    }

    async fn connect(&self, from: &Address) -> Result<AsyncSmtpConnection, Error> {
        let hello = self.hello.clone().unwrap_or_else(|| ClientId::Domain(from.domain().to_owned()));
        let wrapped = match &self.security {
            Security::Wrapped(tls) => Some(tls.clone()),
            Security::StartTls(_) | Security::Plain => None,
        };
        let server = (self.host.as_str(), self.port);
        let mut relay = AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_WITHIN), &hello, wrapped, None).await?;
        if let Security::StartTls(tls) = &self.security {
            relay.starttls(tls.clone(), &hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            relay.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await?;
        }
        Ok(relay)
    }
}

async fn hand_in(relay: &mut AsyncSmtpConnection, from: &Address, message: &Message) -> Result<(), SendError> {
    relay.command(Mail::new(Some(from.clone()), Vec::new())).await.map_err(|error| SendError::Later(shorten(&error)))?;
    for recipient in message.envelope().to() {
        relay.command(Rcpt::new(recipient.clone(), Vec::new())).await.map_err(|error| judge(&error))?;
    }
    relay.command(Data).await.map_err(|error| judge(&error))?;
    relay.message(&message.formatted()).await.map_err(|error| judge(&error))?;
    Ok(())
}

/// RFC 5321 §4.2.1: 5yz is for good, everything else may pass.
fn judge(error: &Error) -> SendError {
    let text = shorten(error);
    if error.is_permanent() { SendError::Never(text) } else { SendError::Later(text) }
}

/// One line of what went wrong. Holds the relay's words, and nothing that we have sent but addresses.
fn shorten(error: &Error) -> String {
    let line = error.to_string();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR_CHARACTERS).collect()
}

fn credentials(url: &Url) -> Result<Option<Credentials>, MailerError> {
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) => Err(MailerError::Url("there is a password and no user")),
        (_, None) => Err(MailerError::Url("there is a user and no password")),
        (user, Some(password)) => Ok(Some(Credentials::new(decode(user)?, decode(password)?))),
    }
}

/// Undoes `%XX`.
fn decode(text: &str) -> Result<String, MailerError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| after.get(..2)).flatten();
        let decoded = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        if let Some(decoded) = decoded {
            bytes.push(decoded);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| MailerError::Url("user or password are not UTF-8"))
}

fn tls(host: &str, roots_file: Option<&Path>) -> Result<TlsParameters, MailerError> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(file) = roots_file {
        let unreadable = |reason: String| MailerError::Roots { file: file.display().to_string(), reason };
        let pem = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
        let roots = Certificate::from_pem(&pem).map_err(|error| unreadable(error.to_string()))?;
        parameters = parameters.add_root_certificate(roots);
    }
    parameters.build().map_err(|error| MailerError::Tls(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how_and_as_whom() {
        let read = |url: &str| SmtpRelay::parse(url, None).unwrap_or_else(|error| panic!("{url}: {error}"));
        let relay = read("smtps://ada:p%40ss%3Aw%C3%B6rd%@mail.test");
        assert_eq!((relay.host.as_str(), relay.port), ("mail.test", 465));
        assert!(matches!(relay.security, Security::Wrapped(_)) && relay.hello.is_none());
        assert_eq!(relay.credentials, Some(Credentials::new("ada".to_owned(), "p@ss:wörd%".to_owned())));
        let relay = read("smtp://mail.test:2525/worker.zonecert.test");
        assert_eq!((relay.port, relay.hello), (2525, Some(ClientId::Domain("worker.zonecert.test".to_owned()))));
        assert!(matches!(relay.security, Security::StartTls(_)) && relay.credentials.is_none());
        let relay = read("smtp://[::1]?tls=none");
        assert_eq!((relay.host.as_str(), relay.port), ("::1", 25));
        assert!(matches!(relay.security, Security::Plain));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_and_not_repeated() {
        for url in [
            "",
            "mail.test",
            "https://ada:hunter2@mail.test",
            "smtp:hunter2",
            "smtp://ada@mail.test",
            "smtp://:hunter2@mail.test",
            "smtp://ada:hunter2@mail.test?tls=opportunistic",
            "smtps://ada:hunter2@mail.test?tls=none",
            "smtps://ada:hunter2%ff@mail.test",
        ] {
            let Err(error) = SmtpRelay::parse(url, None) else { panic!("accepted: {url}") };
            let text = error.to_string();
            assert!(matches!(error, MailerError::Url(_)) && !text.contains("hunter2") && text.contains("smtps://"), "{url}: {text}");
        }
        let missing = SmtpRelay::parse("smtps://mail.test", Some(Path::new("/nowhere/roots.pem"))).map(drop).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/roots.pem"), "{missing}");
    }
}
