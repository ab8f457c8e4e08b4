//! What people are sent, as they read it: opened as the worker opens it, and sent nowhere.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;
use zonecert_devstack::product::Role;
use zonecert_devstack::wait;
use zonecert_domain::id::AccountId;
use zonecert_store::mails::{self, MailId};
use zonecert_store::{Connection, Store, StoreError};

use crate::support::TestApi;

/// A mail.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) template: String,
    pub(crate) subject: String,
    pub(crate) body: String,
}

impl Mail {
    /// The token of its link.
    pub(crate) fn token(&self) -> String {
        self.body
            .lines()
            .find_map(|line| Some(line.split_once("?token=")?.1.to_owned()))
            .unwrap_or_else(|| panic!("no link: {}", self.body))
    }
}

impl TestApi {
    /// All that was written to an address, in that order.
    pub(crate) async fn mails_to(&self, recipient: &str) -> Vec<Mail> {
        let worker = Store::open(&self.product.database_url(Role::Worker), 1, Duration::from_mins(1)).unwrap();
        self.execute("UPDATE mails SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL").await;
        let mut mails = Vec::new();
        for row in self.sql(&format!("SELECT id, account_id FROM mails WHERE recipient = '{recipient}' ORDER BY id")).await {
            let uuid = |name: &str| Uuid::try_parse(row[name].as_str().unwrap()).unwrap();
            let (account, id) = (AccountId(uuid("account_id")), MailId(uuid("id")));
            let open = async |conn: &mut Connection| -> Result<_, StoreError> {
                let mail = mails::claim_mail(conn, account, id, &[Duration::ZERO]).await?.ok_or(StoreError::NotFound)?;
                let text = mails::open_mail(conn, &self.masters, account, &mail).await?;
                Ok(Mail { template: mail.template, subject: text.subject.clone(), body: text.body.clone() })
            };
            mails.push(worker.tenant(account, open).await.unwrap());
        }
        mails
    }

    /// The last mail to an address, which must be of this kind.
    pub(crate) async fn last_mail(&self, recipient: &str, template: &str) -> Mail {
        let mail = self.mails_to(recipient).await.pop().unwrap_or_else(|| panic!("nothing was written to {recipient}"));
        assert_eq!(mail.template, template);
        mail
    }

    /// Waits until this many mails of a kind were written, to anybody.
    pub(crate) async fn until_written(&self, template: &str, count: u64) {
        let query = format!("SELECT count(*) FROM mails WHERE template = '{template}'");
        let what = format!("{count} mails {template}");
        let written = async || Ok((self.sql(&query).await[0]["count"].as_u64() >= Some(count)).then_some(()));
        wait::until(&what, Duration::from_mins(1), written).await.unwrap();
        assert_eq!(self.sql(&query).await[0]["count"], Value::from(count));
    }
}
