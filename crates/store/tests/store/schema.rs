//! What diesel believes against what the database is.

use std::collections::BTreeMap;

use crate::database::Database;
use crate::tables;

/// Table, the columns of its primary key, and all its columns with their types, in order.
type Tables = BTreeMap<String, (Vec<String>, Vec<(String, String)>)>;

/// Columns that triggers and SQL written by hand see to: a table of diesel's has 32 columns, unless it is to be built for 64, which takes long.
const LEFT_TO_SQL: [(&str, &str); 5] = [
    ("certificates", "acme_account_id"),
    ("certificates", "announced"),
    ("certificates", "csr_subject"),
    ("certificates", "expiry_notice_due_at"),
    ("certificates", "profile"),
];

/// Reads `schema.rs`: blocks of `table (key, key) {`, `column -> Type,`, `}`.
fn believed() -> Tables {
    let text = include_str!("../../src/schema.rs");
    let blocks = text.split("diesel::table! {").skip(1).map(|block| block.split_once("\n}").unwrap().0);
    blocks
        .map(|block| {
            let (name, rest) = block.split_once('(').unwrap();
            let (key, rest) = rest.split_once(") {").unwrap();
            let columns = rest.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" -> "));
            let columns = columns.map(|(column, kind)| (column.to_owned(), kind.to_owned())).collect();
            (name.trim().to_owned(), (key.split(", ").map(str::to_owned).collect(), columns))
        })
        .collect()
}

/// The type that diesel has for it.
fn diesel_type(postgres: &str) -> String {
    match postgres {
        "uuid" => "Uuid",
        "text" => "Text",
        "bytea" => "Bytea",
        "jsonb" => "Jsonb",
        "boolean" => "Bool",
        "integer" => "Int4",
        "bigint" => "Int8",
        "timestamp with time zone" => "Timestamptz",
        "text[]" => "Array<Text>",
        other => panic!("which type of diesel's is {other}?"),
    }
    .to_owned()
}

async fn actual(database: &Database) -> Tables {
    let mut found = Tables::new();
    for table in tables::all(database).await.into_iter().filter(|table| !table.starts_with("__diesel")) {
        let key = format!(
            "SELECT attname::text FROM pg_index, unnest(indkey::int2[]) WITH ORDINALITY AS k (number, place), pg_attribute AS a
             WHERE indrelid = '{table}'::regclass AND indisprimary AND a.attrelid = indrelid AND attnum = number ORDER BY place"
        );
        let columns = format!(
            "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
             WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        );
        let columns = database.admin.query(&columns, &[]).await.unwrap();
        let columns = columns.iter().map(|row| {
            let kind = diesel_type(row.get(1));
            (row.get(0), if row.get(2) { kind } else { format!("Nullable<{kind}>") })
        });
        found.insert(table.clone(), (database.column(&key).await, columns.collect()));
    }
    found
}

#[tokio::test]
async fn diesel_believes_of_every_table_what_the_database_is() {
    let (believed, mut actual) = (believed(), actual(&Database::migrated().await).await);
    for (table, column) in LEFT_TO_SQL {
        let columns = &mut actual.get_mut(table).unwrap().1;
        columns.remove(columns.iter().position(|(name, _)| name == column).unwrap());
    }
    assert_eq!(believed.keys().collect::<Vec<_>>(), actual.keys().collect::<Vec<_>>());
    for (table, columns) in actual {
        assert_eq!(believed[&table], columns, "{table}");
    }
}
