//! A tenant's rows are seen and changed by nobody but the tenant (docs/adr/0003-row-level-security.md).

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;
use zonecert_domain::id::AccountId;

use crate::database::{Database, Role};
use crate::outcome::{Outcome, attempt, count};
use crate::tables::{self, PLATFORM, account_column};

#[tokio::test]
async fn every_table_of_a_tenant_forces_row_level_security_and_every_other_is_known() {
    let database = Database::migrated().await;
    let with_account: Vec<String> = database
        .column("SELECT table_name::text FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'account_id'")
        .await;
    for table in tables::all(&database).await {
        let security = format!("SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = '{table}'::regclass");
        let forced: bool = database.value(&security).await;
        let platform = PLATFORM.iter().find(|(name, _)| *name == table);
        match platform {
            None => assert!(forced, "{table} holds tenants' rows: force row-level security on it, or explain in PLATFORM why not"),
            Some((_, why)) => assert!(!forced, "{table} is under row-level security, though it was thought to be the platform's: {why}"),
        }
        let says_whose = table == "accounts" || with_account.contains(&table);
        assert!(says_whose || platform.is_some(), "{table} has no account_id");
    }
    for (table, why) in PLATFORM {
        assert!(tables::all(&database).await.iter().any(|name| name == table), "{table} ({why}) is gone");
    }
}

#[tokio::test]
async fn each_role_sees_and_changes_the_rows_of_the_account_that_is_set_and_no_others() {
    let database = Database::migrated().await;
    let (mine, theirs) = tables::fill_two_tenants(&database).await;
    let before = tables::contents(&database).await;
    for role in Role::ALL {
        let client = database.connect(role).await;
        let setting = "SELECT current_setting('zonecert.account', true)";
        let rows = Rows { database: &database, client: &client, role, mine, theirs };

        assert_eq!(client.query_one(setting, &[]).await.unwrap().get::<_, Option<String>>(0), None);
        rows.are_all_out_of_reach("before any account was set").await;

        client.batch_execute(&format!("BEGIN; SET LOCAL zonecert.account = '{}'", mine.0)).await.unwrap();
        rows.of_mine_are_there().await;
        client.batch_execute("COMMIT").await.unwrap();
        assert_eq!(client.query_one(setting, &[]).await.unwrap().get::<_, Option<String>>(0).as_deref(), Some(""));
        rows.are_all_out_of_reach("after SET LOCAL has ended").await;

        client.batch_execute(&format!("SET zonecert.account = '{}'", mine.0)).await.unwrap();
        rows.of_mine_are_there().await;
        rows.of_theirs_are_out_of_reach().await;

        client.batch_execute(&format!("SET zonecert.account = '{}'", Uuid::now_v7())).await.unwrap();
        rows.are_all_out_of_reach("with an account that does not exist").await;

        client.batch_execute("SET zonecert.account = 'nobody'").await.unwrap();
        assert_eq!(count(&client, "SELECT count(*) FROM zones").await, Outcome::Refused(SqlState::INVALID_TEXT_REPRESENTATION), "{role:?}");
    }
    assert_eq!(tables::contents(&database).await, before);
}

/// The rows of two tenants, in the eyes of a role.
struct Rows<'a> {
    database: &'a Database,
    client: &'a Client,
    role: Role,
    mine: AccountId,
    theirs: AccountId,
}

impl Rows<'_> {
    async fn are_all_out_of_reach(&self, when: &str) {
        for table in tables::tenants(self.database).await {
            let said = format!("{:?}, {table}, {when}", self.role);
            let seen = count(self.client, &format!("SELECT count(*) FROM {table}")).await;
            assert_eq!(seen, self.granted(&table, "SELECT").await.unwrap_or(Outcome::Rows(0)), "{said}");
            let changed = attempt(self.client, &format!("UPDATE {table} SET {}", self.harmless_change(&table).await)).await;
            assert_eq!(changed, self.granted(&table, "UPDATE").await.unwrap_or(Outcome::Rows(0)), "{said}");
            let deleted = attempt(self.client, &format!("DELETE FROM {table}")).await;
            assert_eq!(deleted, self.granted(&table, "DELETE").await.unwrap_or(Outcome::Rows(0)), "{said}");
            for account in [self.mine, self.theirs] {
                let inserted = attempt(self.client, &self.insertion(&table, account).await).await;
                assert_eq!(inserted, self.granted(&table, "INSERT").await.unwrap_or(Outcome::Policy), "{said}");
            }
        }
    }

    async fn of_mine_are_there(&self) {
        let mut tables_read = 0;
        for table in tables::tenants(self.database).await {
            // A refusal would end the transaction that the account may be set for.
            if self.granted(&table, "SELECT").await.is_none() {
                let there: i64 = self.database.value(&format!("SELECT count(*) FROM {table} WHERE {}", of(&table, self.mine))).await;
                let seen = count(self.client, &format!("SELECT count(*) FROM {table}")).await;
                assert_eq!(seen, Outcome::Rows(there), "{:?}, {table}", self.role);
                tables_read += 1;
            }
        }
        assert!(tables_read >= 14, "{:?} reads {tables_read} tables: too few for a test", self.role);
    }

    async fn of_theirs_are_out_of_reach(&self) {
        for table in tables::tenants(self.database).await {
            let said = format!("{:?}, {table}", self.role);
            let theirs = of(&table, self.theirs);
            let seen = count(self.client, &format!("SELECT count(*) FROM {table} WHERE {theirs}")).await;
            assert_eq!(seen, self.granted(&table, "SELECT").await.unwrap_or(Outcome::Rows(0)), "{said}");
            let changed = attempt(self.client, &format!("UPDATE {table} SET {} WHERE {theirs}", self.harmless_change(&table).await)).await;
            let read = self.granted(&table, "SELECT").await;
            assert_eq!(changed, self.granted(&table, "UPDATE").await.or(read).unwrap_or(Outcome::Rows(0)), "{said}");
            let deleted = attempt(self.client, &format!("DELETE FROM {table} WHERE {theirs}")).await;
            assert_eq!(deleted, self.granted(&table, "DELETE").await.unwrap_or(Outcome::Rows(0)), "{said}");

            let inserted = attempt(self.client, &self.insertion(&table, self.theirs).await).await;
            assert_eq!(inserted, self.granted(&table, "INSERT").await.unwrap_or(Outcome::Policy), "{said}");
            // What is ours passes the policy, and only meets itself.
            let inserted = attempt(self.client, &self.insertion(&table, self.mine).await).await;
            let doubled = matches!(&inserted, Outcome::Constraint(key) if key.ends_with("_pkey"));
            assert!(doubled || self.granted(&table, "INSERT").await == Some(inserted), "{said}");

            let given = attempt(self.client, &format!("UPDATE {table} SET {theirs}")).await;
            let immutable = Outcome::Refused(SqlState::INTEGRITY_CONSTRAINT_VIOLATION);
            assert!(
                matches!(given, Outcome::Policy | Outcome::NoGrant) || (table == "versions" && given == immutable),
                "{said}: {given:?}"
            );
        }
    }

    /// `None` when the role has the privilege, at least on the columns that [`Self::harmless_change`] names; else how it is refused.
    async fn granted(&self, table: &str, privilege: &str) -> Option<Outcome> {
        // Whoever may read one column may count the rows.
        let check = if ["SELECT", "UPDATE"].contains(&privilege) { "has_any_column_privilege" } else { "has_table_privilege" };
        let granted: bool = self.database.value(&format!("SELECT {check}('{}', '{table}', '{privilege}')", self.role.name())).await;
        (!granted).then_some(Outcome::NoGrant)
    }

    /// Sets a column that the role may change, and read if there is one of these, to what it is; any column where it may change none.
    async fn harmless_change(&self, table: &str) -> String {
        let columns = format!(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
             ORDER BY has_column_privilege('{role}', attrelid, attnum, 'UPDATE') DESC, has_column_privilege('{role}', attrelid, attnum, 'SELECT') DESC, attnum",
            role = self.role.name()
        );
        let column = self.database.column::<String>(&columns).await.swap_remove(0);
        format!("{column} = {column}")
    }

    /// Inserts a copy of a row of the account.
    async fn insertion(&self, table: &str, account: AccountId) -> String {
        let row = format!("SELECT to_jsonb(t)::text FROM {table} AS t WHERE {} LIMIT 1", of(table, account));
        let row: String = self.database.value(&row).await;
        format!("INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, $row${row}$row$)")
    }
}

fn of(table: &str, account: AccountId) -> String {
    format!("{} = '{}'", account_column(table), account.0)
}
