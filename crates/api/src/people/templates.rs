//! Every mail that people get, word for word. Plain text: there is nothing in it to click but our own links.

use chrono::{DateTime, Utc};
use zonecert_domain::id::AccountId;
use zonecert_store::mails::{self, MailText, NewMail};
use zonecert_store::users::Role;
use zonecert_store::{Connection, StoreError};

use crate::app::App;
use crate::auth::opaque::OpaqueToken;

/// Most links of one kind that are sent to a person within an hour: whoever asks for them need not be the one who gets them.
pub(super) const MAX_LINKS_AN_HOUR: usize = 5;

/// What somebody calls their account may fill a subject, but not more.
const MAX_NAME_CHARACTERS: usize = 60;

/// A mail, with what is filled in.
pub(super) enum Template<'a> {
    /// To whoever has registered.
    VerifyEmail {
        /// In the link.
        token: &'a OpaqueToken,
        /// When the link ends.
        expires_at: DateTime<Utc>,
    },
    /// To whoever has forgotten their password.
    ResetPassword {
        /// In the link.
        token: &'a OpaqueToken,
        /// When the link ends.
        expires_at: DateTime<Utc>,
    },
    /// To whoever has a new password, in case that it was somebody else who set it.
    PasswordChanged {
        /// When.
        at: DateTime<Utc>,
    },
    /// To somebody who may never have heard of us.
    Invitation {
        /// What the account calls itself: whatever somebody has typed.
        account: &'a str,
        /// The address of who invites.
        inviter: &'a str,
        /// What the guest will be allowed to do.
        role: Role,
        /// In the link.
        token: &'a OpaqueToken,
        /// When the link ends.
        expires_at: DateTime<Utc>,
    },
}

/// Writes a mail in the transaction of what it follows from.
pub(super) async fn post(
    conn: &mut Connection,
    app: &App,
    account: AccountId,
    recipient: &str,
    template: &Template<'_>,
) -> Result<(), StoreError> {
    let text = template.text(&app.settings.dashboard_url);
    mails::insert_mail(conn, &app.masters, account, &NewMail { recipient, template: template.name(), text: &text }).await
}

impl Template<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
            Self::ResetPassword { .. } => "reset_password",
            Self::PasswordChanged { .. } => "password_changed",
            Self::Invitation { .. } => "invitation",
        }
    }

    /// `base` is where the dashboard is, without a trailing slash.
    fn text(&self, base: &str) -> MailText {
        let (subject, body) = match self {
            Self::VerifyEmail { token, expires_at } => (
                "Confirm your e-mail address".to_owned(),
                format!(
                    "Welcome to Zonecert.\n\n\
                     To confirm that this address is yours, open this link by {until}:\n\n\
                     {link}\n\n\
                     If you have not registered, somebody has mistyped an address, and you need not do anything.\n",
                    until = moment(*expires_at),
                    link = link(base, "verify-email", token),
                ),
            ),
            Self::ResetPassword { token, expires_at } => (
                "Set a new password".to_owned(),
                format!(
                    "Somebody has asked for a new password for this address at Zonecert.\n\n\
                     If that was you, set one by {until}, once, at this link:\n\n\
                     {link}\n\n\
                     If it was not you, you need not do anything: your password stays as it is.\n",
                    until = moment(*expires_at),
                    link = link(base, "reset-password", token),
                ),
            ),
            Self::PasswordChanged { at } => (
                "Your password was changed".to_owned(),
                format!(
                    "The password for this address at Zonecert was changed on {at}, and everybody who had signed in with the old one was signed out.\n\n\
                     If that was not you, set another one at once:\n\n\
                     {base}/forgot-password\n\n\
                     Then look at the API tokens of the account: they go on working.\n",
                    at = moment(*at),
                ),
            ),
            Self::Invitation { account, inviter, role, token, expires_at } => (
                format!("Join \"{}\" on Zonecert", harmless(account)),
                format!(
                    "{inviter} invites you to the account \"{account}\" on Zonecert, which issues and keeps TLS certificates. {role}\n\n\
                     To join, open this link by {until}, and choose a password:\n\n\
                     {link}\n\n\
                     If you do not know them, you need not do anything.\n",
                    account = harmless(account),
                    role = explain(*role),
                    until = moment(*expires_at),
                    link = link(base, "accept-invitation", token),
                ),
            ),
        };
        MailText { subject, body }
    }
}

fn link(base: &str, page: &str, token: &OpaqueToken) -> String {
    format!("{base}/{page}?token={}", token.reveal())
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M UTC").to_string()
}

const fn explain(role: Role) -> &'static str {
    match role {
        Role::Owner => "You would be an owner of it: see and change everything.",
        Role::Member => "You would be a member of it: request, renew and download certificates.",
        Role::Viewer => "You would be a viewer of it: see its zones and certificates.",
    }
}

/// What somebody typed, as part of a mail to a stranger: one short line in which no program finds a link, so that nobody sends theirs under our name.
fn harmless(name: &str) -> String {
    let mut result = String::new();
    let mut characters = name.chars().take(MAX_NAME_CHARACTERS).peekable();
    while let Some(c) = characters.next() {
        let joins = matches!(c, '.' | ':' | '/' | '\\' | '@') && characters.peek().is_some_and(|next| !next.is_whitespace());
        result.push(if joins || c.is_control() || c == '"' { ' ' } else { c });
    }
    result.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://app.zonecert.test";

    fn noon() -> DateTime<Utc> {
        "2026-08-01T12:00:00Z".parse().unwrap()
    }

    fn invitation(account: &str, token: &OpaqueToken) -> MailText {
        let (inviter, expires_at) = ("ada@customer.test", noon());
        Template::Invitation { account, inviter, role: Role::Member, token, expires_at }.text(BASE)
    }

    #[test]
    fn every_link_leads_to_its_page_and_says_until_when() {
        let token = OpaqueToken::generate("zce_");
        for (template, page) in [
            (Template::VerifyEmail { token: &token, expires_at: noon() }, "verify-email"),
            (Template::ResetPassword { token: &token, expires_at: noon() }, "reset-password"),
            (
                Template::Invitation { account: "A", inviter: "a@b.test", role: Role::Viewer, token: &token, expires_at: noon() },
                "accept-invitation",
            ),
        ] {
            let text = template.text(BASE);
            let lines: Vec<&str> = text.body.lines().collect();
            let link = format!("{BASE}/{page}?token={}", token.reveal());
            // On a line of its own, so that no program cuts it.
            assert!(lines.contains(&link.as_str()), "{}", text.body);
            assert!(text.body.contains("by 1 August 2026, 12:00 UTC"), "{}", text.body);
            assert!(!text.subject.contains(token.reveal()));
        }
        let changed = Template::PasswordChanged { at: noon() }.text(BASE);
        assert!(changed.body.contains("on 1 August 2026, 12:00 UTC") && changed.body.contains(&format!("{BASE}/forgot-password\n")));
    }

    #[test]
    fn an_invitation_says_who_invites_where_to_and_as_what() {
        let token = OpaqueToken::generate("zci_");
        let text = invitation("Müller & Söhne GmbH", &token);
        assert_eq!(text.subject, "Join \"Müller & Söhne GmbH\" on Zonecert");
        assert!(text.body.starts_with("ada@customer.test invites you to the account \"Müller & Söhne GmbH\" on Zonecert"), "{}", text.body);
        assert!(text.body.contains("a member of it"), "{}", text.body);
    }

    #[test]
    fn no_name_brings_a_link_a_line_or_a_quote_of_its_own_into_a_mail() {
        for (typed, shown) in [
            ("Ada & Co. KG", "Ada & Co. KG"),
            ("You won! http://evil.test/x?y", "You won! http evil test x?y"),
            ("www.evil.test", "www evil test"),
            ("mail evil@evil.test now", "mail evil evil test now"),
            ("A\" sent you money. See\r\nBcc: x", "A sent you money. See Bcc: x"),
            ("a\u{0}b\u{85}c", "a b c"),
            ("  ", ""),
        ] {
            assert_eq!(harmless(typed), shown, "{typed:?}");
            assert_eq!(invitation(typed, &OpaqueToken::generate("zci_")).subject.lines().count(), 1);
        }
        assert_eq!(harmless(&"x".repeat(200)).len(), 60);
    }
}
