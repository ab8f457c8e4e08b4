//! Deletes, of all tenants, what is over and known to nobody any more. Each runs without a tenant ([`crate::Store::autocommit`]), takes at most
//! `batch` rows, and returns how many it has deleted.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;

use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// What is deleted by its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// Refresh tokens, the used and the revoked ones too, `age` after they have expired.
    RefreshTokens,
    /// Tokens of mails, the used ones too, `age` after they have expired.
    EmailTokens,
    /// Mails that were sent or given up, `age` after they were written.
    Mails,
    /// Messages to webhooks that were delivered or given up, `age` after that.
    WebhookDeliveries,
    /// Secrets of webhooks that were replaced, `age` after their end.
    WebhookSecrets,
}

impl Leftovers {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::RefreshTokens, Self::EmailTokens, Self::Mails, Self::WebhookDeliveries, Self::WebhookSecrets];

    const fn statement(self) -> &'static str {
        match self {
            Self::RefreshTokens => "SELECT sweep_refresh_tokens(make_interval(secs => $1), $2) AS deleted",
            Self::EmailTokens => "SELECT sweep_email_tokens(make_interval(secs => $1), $2) AS deleted",
            Self::Mails => "SELECT sweep_finished_mails(make_interval(secs => $1), $2) AS deleted",
            Self::WebhookDeliveries => "SELECT sweep_finished_deliveries(make_interval(secs => $1), $2) AS deleted",
            Self::WebhookSecrets => "SELECT sweep_webhook_secrets(make_interval(secs => $1), $2) AS deleted",
        }
    }

    /// Deletes what is as old.
    pub async fn delete(self, conn: &mut Connection, age: Duration, batch: i32) -> Result<i64, StoreError> {
        #[derive(QueryableByName)]
        struct Deleted {
            #[diesel(sql_type = sql_types::BigInt)]
            deleted: i64,
        }

        let row: Deleted = sql_query(self.statement())
            .bind::<sql_types::Double, _>(age.as_secs_f64())
            .bind::<sql_types::Integer, _>(batch)
            .get_result(conn)
            .await?;
        Ok(row.deleted)
    }
}
