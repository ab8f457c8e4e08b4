//! Foreign keys between tenants' tables carry the tenant: their checks go round row-level security.

use std::collections::{BTreeMap, BTreeSet};

use crate::database::Database;
use crate::outcome::{Outcome, attempt};
use crate::tables;

/// Columns of a tenant's table that look like a reference and are none, and why.
const NO_REFERENCE: [(&str, &str); 5] = [
    ("events.certificate_id", "the log outlives what it tells of"),
    ("events.issuance_id", "the log outlives what it tells of"),
    ("events.order_id", "the log outlives what it tells of"),
    ("refresh_tokens.family_id", "a family has no row"),
    ("webhook_deliveries.certificate_id", "what was told outlives what it tells of, and is written before the certificate's own row"),
];

/// References from a tenant's table to one of the platform.
const TO_PLATFORM: [&str; 1] = ["orders_acme_account_id_fkey"];

struct ForeignKey {
    name: String,
    table: String,
    columns: Vec<String>,
    referred_table: String,
    referred_columns: Vec<String>,
}

async fn foreign_keys(database: &Database) -> Vec<ForeignKey> {
    let names = "SELECT array_agg(attname::text ORDER BY place) FROM unnest(KEYS) WITH ORDINALITY AS k (number, place), pg_attribute
                 WHERE attrelid = RELATION AND attnum = number";
    let query = format!(
        "SELECT conname::text, conrelid::regclass::text, ({}), confrelid::regclass::text, ({}) FROM pg_constraint
         WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY conname",
        names.replace("KEYS", "conkey").replace("RELATION", "conrelid"),
        names.replace("KEYS", "confkey").replace("RELATION", "confrelid"),
    );
    let rows = database.admin.query(&query, &[]).await.unwrap();
    let read = |row: &tokio_postgres::Row| ForeignKey {
        name: row.get(0),
        table: row.get(1),
        columns: row.get(2),
        referred_table: row.get(3),
        referred_columns: row.get(4),
    };
    rows.iter().map(read).collect()
}

#[tokio::test]
async fn every_foreign_key_between_tenants_tables_includes_the_account() {
    let database = Database::migrated().await;
    let tenants = tables::tenants(&database).await;
    let mut to_platform = Vec::new();
    let mut referring = BTreeSet::new();
    let mut with_account = BTreeSet::new();
    for key in foreign_keys(&database).await {
        let (name, table) = (&key.name, &key.table);
        assert_eq!(*name, format!("{table}_{}_fkey", key.columns.join("_")), "house style");
        referring.extend(key.columns.iter().map(|column| format!("{table}.{column}")));
        match (tenants.contains(table), tenants.contains(&key.referred_table)) {
            (true, true) if key.referred_table == "accounts" => {
                assert_eq!((&*key.columns, &*key.referred_columns), (&["account_id".to_owned()][..], &["id".to_owned()][..]), "{name}");
                with_account.insert(table.clone());
            }
            (true, true) => {
                let place = key.columns.iter().position(|column| column == "account_id");
                assert!(place.is_some_and(|place| key.referred_columns[place] == "account_id"), "{name} does not carry the tenant");
            }
            (true, false) => to_platform.push(key.name),
            (false, referred) => assert!(!referred, "{name} leads from the platform to a tenant"),
        }
    }
    assert_eq!(to_platform, TO_PLATFORM);
    for table in tenants.iter().filter(|table| *table != "accounts") {
        assert!(with_account.contains(table), "{table}.account_id refers to no account");
        let columns = format!(
            "SELECT '{table}.' || column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{table}'
             AND data_type = 'uuid' AND column_name <> 'id'"
        );
        for column in database.column::<String>(&columns).await {
            let explained = NO_REFERENCE.iter().any(|(name, _)| *name == column);
            assert!(referring.contains(&column) != explained, "{column}: a foreign key, or an explanation in NO_REFERENCE");
        }
    }
}

#[tokio::test]
async fn no_row_can_refer_to_another_accounts() {
    let database = Database::migrated().await;
    let (mine, theirs) = tables::fill_two_tenants(&database).await;
    let before = tables::contents(&database).await;
    // What is immutable would answer before the foreign key does.
    database.run("ALTER TABLE orders DISABLE TRIGGER USER; ALTER TABLE versions DISABLE TRIGGER USER").await;
    let tenants = tables::tenants(&database).await;
    let mut refused = BTreeMap::new();
    for key in foreign_keys(&database).await {
        if !tenants.contains(&key.referred_table) || key.referred_table == "accounts" {
            continue;
        }
        let pairs = key.columns.iter().zip(&key.referred_columns).filter(|(column, _)| *column != "account_id");
        let [(column, referred_column)] = pairs.collect::<Vec<_>>()[..] else { panic!("{} has other columns", key.name) };
        let (table, referred) = (&key.table, &key.referred_table);
        let targets = format!("SELECT {referred_column}::text FROM {referred} WHERE account_id = '{}'", theirs.0);
        let rows = format!("SELECT ctid::text FROM {table} WHERE account_id = '{}'", mine.0);
        for target in database.column::<String>(&targets).await {
            for row in database.column::<String>(&rows).await {
                let change = format!("UPDATE {table} SET {column} = '{target}' WHERE ctid = '{row}'");
                let outcome = attempt(&database.admin, &change).await;
                assert!(matches!(outcome, Outcome::Constraint(_)), "{}: {outcome:?}", key.name);
                *refused.entry(key.name.clone()).or_insert(0) += i32::from(outcome == Outcome::Constraint(key.name.clone()));
            }
        }
    }
    assert!(refused.len() >= 15, "{} foreign keys: too few for a test", refused.len());
    assert!(refused.values().all(|times| *times > 0), "others than the foreign key have refused: {refused:?}");
    assert_eq!(tables::contents(&database).await, before);
}
