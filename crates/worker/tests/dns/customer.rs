//! What customers do to their zones and see of them, as the API does it for them.

use anyhow::Result;
use serde_json::Value;
use zonecert_domain::id::AccountId;
use zonecert_store::zone_projections::Generation;

use crate::world::World;

impl World {
    /// `www` of the zone, for one; the zone itself for nothing.
    pub(crate) fn host(&self, label: &str) -> String {
        if label.is_empty() { self.zone.clone() } else { format!("{label}.{}", self.zone) }
    }

    /// The tenant sets a record set.
    pub(crate) async fn set(&self, label: &str, record_type: &str, contents: &[&str]) -> Result<Generation> {
        self.set_for(self.account, label, record_type, contents).await
    }

    pub(crate) async fn set_for(&self, account: AccountId, label: &str, record_type: &str, contents: &[&str]) -> Result<Generation> {
        let statement = "INSERT INTO zone_records (id, account_id, zone_id, name, record_type, ttl_seconds, contents)
                         SELECT gen_random_uuid(), account_id, id, $3, $4, 300, $5 FROM zones WHERE name = $1 AND account_id = $2::text::uuid
                         ON CONFLICT (zone_id, name, record_type)
                         DO UPDATE SET contents = excluded.contents, adopted = false, updated_at = now(), deleted_at = NULL";
        let set = self.admin.execute(statement, &[&self.zone, &account.0.to_string(), &self.host(label), &record_type, &contents]).await?;
        assert_eq!(set, 1);
        self.request_projection().await
    }

    /// The tenant deletes a record set.
    pub(crate) async fn unset(&self, label: &str, record_type: &str) -> Result<Generation> {
        let statement = "UPDATE zone_records SET deleted_at = now(), updated_at = now() WHERE name = $1 AND record_type = $2";
        assert_eq!(self.admin.execute(statement, &[&self.host(label), &record_type]).await?, 1);
        self.request_projection().await
    }

    /// The rows: name, type and what the customer is told of each.
    pub(crate) async fn listed(&self) -> Result<Vec<String>> {
        let statement =
            "SELECT name || ' ' || record_type || CASE WHEN adopted THEN ' adopted' ELSE '' END || coalesce(': ' || refusal, '')
                         FROM zone_records ORDER BY 1";
        let rows = self.admin.query(statement, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Events of this kind, of whichever account, in their order: level and details.
    pub(crate) async fn told(&self, event: &str) -> Result<Vec<(String, Value)>> {
        let statement = "SELECT level, details::text FROM events WHERE event = $1 ORDER BY at";
        let rows = self.admin.query(statement, &[&event]).await?;
        rows.iter().map(|row| Ok((row.get(0), serde_json::from_str(row.get(1))?))).collect()
    }

    /// Another tenant who has the same zone.
    pub(crate) async fn another(&self, status: &str) -> Result<AccountId> {
        let account = AccountId::new();
        let owner = account.0.to_string();
        self.admin.execute("INSERT INTO accounts (id, name, plan) VALUES ($1::text::uuid, 'Another', 'elite')", &[&owner]).await?;
        let zone = "INSERT INTO zones (id, account_id, name, status, verification_value, verified_at)
                    VALUES (gen_random_uuid(), $1::text::uuid, $2, $3, 'another''s', CASE WHEN $3 <> 'pending' THEN now() END)";
        self.admin.execute(zone, &[&owner, &self.zone, &status]).await?;
        Ok(account)
    }

    /// Something becomes of the tenant's zone.
    pub(crate) async fn change_zone(&self, account: AccountId, change: &str) -> Result<Generation> {
        let statement = format!("UPDATE zones SET {change} WHERE name = $1 AND account_id = $2::text::uuid");
        assert_eq!(self.admin.execute(&statement, &[&self.zone, &account.0.to_string()]).await?, 1);
        self.request_projection().await
    }

    /// What stands in the zone in `PowerDNS`, but for SOA and NS of the zone itself: name, type and contents.
    pub(crate) async fn shown(&self) -> Result<Vec<String>> {
        let zone = self.server().get_zone(&self.zone).await?;
        let apex = format!("{}.", self.zone);
        let customers = zone.rrsets.iter().filter(|rrset| rrset.name != apex || !matches!(rrset.record_type.as_str(), "SOA" | "NS"));
        let mut shown: Vec<String> =
            customers.map(|rrset| format!("{} {} {}", rrset.name, rrset.record_type, rrset.contents().join(" "))).collect();
        shown.sort_unstable();
        Ok(shown)
    }
}
