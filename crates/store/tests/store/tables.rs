//! Which tables there are, as the catalogue says, and rows for all that are a tenant's.

use zonecert_domain::id::AccountId;

use crate::database::{Database, Role};

/// Tables that belong to the platform and not to a tenant, and why.
pub(crate) const PLATFORM: [(&str, &str); 10] = [
    ("__diesel_schema_migrations", "which migrations have run"),
    ("acme_accounts", "our accounts at certificate authorities, shared by all tenants"),
    ("ca_budget", "the limits of a CA hold for all tenants together; the account says only whose use it was"),
    ("ca_pauses", "what a CA has said to all that we do, or to one of its limits"),
    ("ca_profiles", "what the CAs offer to everybody"),
    ("key_stock", "keys that belong to nobody yet"),
    ("platform_data_keys", "seal what belongs to no tenant"),
    ("sign_in_failures", "before anybody knows whose they are; hashes and times"),
    ("workers", "processes, which work for all tenants"),
    ("zone_projections", "a zone in PowerDNS, whoever's records it holds"),
];

/// Every table of ours, by name.
pub(crate) async fn all(database: &Database) -> Vec<String> {
    database
        .column("SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace ORDER BY 1")
        .await
}

/// Every table that holds tenants' rows: those under row-level security.
pub(crate) async fn tenants(database: &Database) -> Vec<String> {
    database.column("SELECT relname::text FROM pg_class WHERE relrowsecurity AND relnamespace = 'public'::regnamespace ORDER BY 1").await
}

/// The column that says whose a row is.
pub(crate) fn account_column(table: &str) -> &'static str {
    if table == "accounts" { "id" } else { "account_id" }
}

/// A new tenant with a row in each table, and more of what others can refer to. Written as the owner of the tables, who needs the account
/// to be set like everybody else.
pub(crate) async fn fill_tenant(database: &Database) -> AccountId {
    let account = AccountId::new();
    let mut owner = database.connect(Role::Owner).await;
    let transaction = owner.transaction().await.unwrap();
    transaction.batch_execute(&format!("SET LOCAL zonecert.account = '{}'", account.0)).await.unwrap();
    transaction.batch_execute(include_str!("tenant.sql")).await.unwrap();
    transaction.commit().await.unwrap();
    for table in tenants(database).await {
        let rows = format!("SELECT count(*) FROM {table} WHERE {} = '{}'", account_column(&table), account.0);
        assert!(database.value::<i64>(&rows).await > 0, "{table} is a tenant's table: give it a row in tenant.sql");
    }
    account
}

/// A row of a table for each of these two tenants.
pub(crate) async fn fill_two_tenants(database: &Database) -> (AccountId, AccountId) {
    (fill_tenant(database).await, fill_tenant(database).await)
}

/// All that tenants' tables hold, in a few characters.
pub(crate) async fn contents(database: &Database) -> Vec<String> {
    let mut contents = Vec::new();
    for table in tenants(database).await {
        let rows =
            format!("SELECT format('%s rows of {table}: %s', count(*), md5(string_agg(t::text, '|' ORDER BY t::text))) FROM {table} AS t");
        contents.push(database.value(&rows).await);
    }
    contents
}
