//! Time passes: what is stored about a certificate is moved into the past.

use anyhow::Result;
use zonecert_devstack::wait;

use crate::{PATIENCE, System};

impl System {
    /// Has so much time pass for a certificate, such as `1 day` or `-1 hour`. What the CA has signed keeps its dates.
    pub async fn let_pass(&self, certificate: &str, interval: &str) -> Result<()> {
        self.let_pass_where(interval, &format!("= '{}'", uuid(certificate))).await
    }

    /// Has time pass for every certificate at once.
    pub async fn let_pass_for_all(&self, interval: &str) -> Result<()> {
        self.let_pass_where(interval, "IS NOT NULL").await
    }

    async fn let_pass_where(&self, interval: &str, certificate: &str) -> Result<()> {
        // Versions are immutable by a trigger.
        let moved = format!(
            "BEGIN; SET LOCAL session_replication_role = replica;
             UPDATE versions SET not_before = not_before - gone, not_after = not_after - gone, created_at = created_at - gone
                 FROM (SELECT interval '{interval}' AS gone) AS time WHERE certificate_id {certificate};
             UPDATE issuances SET created_at = created_at - gone, finished_at = finished_at - gone
                 FROM (SELECT interval '{interval}' AS gone) AS time WHERE certificate_id {certificate};
             UPDATE certificates SET issued_at = issued_at - gone, expires_at = expires_at - gone, next_renewal_at = next_renewal_at - gone,
                     renewal_due_at = renewal_due_at - gone, renewal_info_due_at = renewal_info_due_at - gone
                 FROM (SELECT interval '{interval}' AS gone) AS time WHERE id {certificate};
             COMMIT"
        );
        Ok(self.database().await?.batch_execute(&moved).await?)
    }

    /// Whether a condition holds for the row of a certificate and its version in use, `versions`.
    pub async fn holds(&self, certificate: &str, condition: &str) -> Result<bool> {
        let query = format!(
            "SELECT coalesce({condition}, false) FROM certificates LEFT JOIN versions ON versions.id = current_version_id WHERE certificates.id = '{}'",
            uuid(certificate)
        );
        Ok(self.database().await?.query_one(&query, &[]).await?.get(0))
    }

    /// A number about a certificate: `query` ends in a condition that `$1`, its identifier in the database as text, completes.
    pub async fn count(&self, certificate: &str, query: &str) -> Result<i64> {
        Ok(self.database().await?.query_one(query, &[&uuid(certificate)]).await?.get(0))
    }

    /// How many versions a certificate has had.
    pub async fn versions(&self, certificate: &str) -> Result<i64> {
        self.count(certificate, "SELECT count(*) FROM versions WHERE certificate_id::text = $1").await
    }

    /// Waits until the workers have looked for due renewals this many times more.
    pub async fn scans_again(&self, times: i64) -> Result<()> {
        let database = self.database().await?;
        let done = async || -> Result<i64> {
            let query = "SELECT count(*) FROM apalis.jobs WHERE idempotency_key LIKE 'renewal-scan:%' AND status = 'Done'";
            Ok(database.query_one(query, &[]).await?.get(0))
        };
        let before = done().await?;
        wait::until("the workers look for what is due", PATIENCE, async || Ok((done().await? >= before + times).then_some(()))).await
    }
}

/// `cert_…` as the database writes it.
pub fn uuid(certificate: &str) -> String {
    let hex = certificate.trim_start_matches("cert_");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)].map(|(from, to)| hex.get(from..to).unwrap_or_default());
    parts.join("-")
}
