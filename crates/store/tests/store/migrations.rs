//! Migrations: up, down and up again, two at a time, and whether they have run.

use tokio::process::Command;
use zonecert_store::migrate::{self, LoginRole, MigrateError};

use crate::database::{Database, Role};

const MIGRATIONS: usize = 26;

async fn migrate_all(database: &Database) -> Result<Vec<String>, MigrateError> {
    let url = database.url(Role::Owner);
    migrate::run(&url, zonecert_worker::queue::migrate(&url)).await
}

/// The schema as SQL, without diesel's own table.
async fn dump(database: &Database) -> String {
    let mut command = Command::new("pg_dump");
    command.args(["--schema-only", "--exclude-table=__diesel_schema_migrations"]).arg(database.url(Role::Owner));
    let output = command.output().await.expect("pg_dump comes with PostgreSQL's client (Debian package postgresql-client)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // `\restrict` and `\unrestrict` carry another random word each time.
    text.lines().filter(|line| !line.starts_with('\\')).fold(String::new(), |dump, line| dump + line + "\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn up_down_and_up_again_is_the_same_schema() {
    let database = Database::empty().await;
    zonecert_worker::queue::migrate(&database.url(Role::Owner)).await.unwrap();
    let queue_alone = dump(&database).await;
    assert_eq!(migrate_all(&database).await.unwrap().len(), MIGRATIONS);
    let first = dump(&database).await;
    for part in
        ["CREATE TABLE public.issuances", "CREATE POLICY", "FORCE ROW LEVEL SECURITY", "CREATE TRIGGER versions_immutable", "GRANT "]
    {
        assert!(first.contains(part), "{part}");
    }

    migrate::revert_all(&database.url(Role::Owner)).await.unwrap();
    assert_eq!(dump(&database).await, queue_alone, "something of ours is left");

    assert_eq!(migrate_all(&database).await.unwrap().len(), MIGRATIONS);
    assert_eq!(dump(&database).await, first);
    assert_eq!(migrate_all(&database).await.unwrap(), [""; 0], "nothing is left to run");
    assert_eq!(dump(&database).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_that_run_at_once_run_each_step_once() {
    let database = Database::empty().await;
    let all = futures::future::join_all((0..4).map(|_| migrate_all(&database))).await;
    let mut ran: Vec<String> = all.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(ran.len(), MIGRATIONS);
    ran.dedup();
    assert_eq!(ran.len(), MIGRATIONS);
    assert_eq!(dump(&database).await, dump(&Database::migrated().await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_is_told_whether_all_migrations_have_run() {
    let database = Database::empty().await;
    let current = async |role| {
        let store = database.store(role, 1);
        store.platform(async |conn| migrate::is_current(conn).await).await.unwrap()
    };
    for role in Role::ALL {
        assert!(!current(role).await, "{role:?}, an empty database");
    }
    migrate_all(&database).await.unwrap();
    for role in Role::ALL {
        assert!(current(role).await, "{role:?}");
    }
    database.run("DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)").await;
    for role in Role::ALL {
        assert!(!current(role).await, "{role:?}, one migration short");
    }
}

#[tokio::test]
async fn passwords_can_be_set_by_many_at_once_and_none_reaches_the_server() {
    let database = Database::migrated().await;
    let (url, password) = (database.url(Role::Owner), database.stack.postgres.api_password());
    let set = futures::future::join_all((0..8).map(|_| migrate::set_password(&url, LoginRole::Api, password))).await;
    assert!(set.iter().all(Result::is_ok), "{set:?}");
    database.connect(Role::Api).await;
    let stored: String = database.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'zonecert_api'").await;
    assert!(stored.starts_with("SCRAM-SHA-256$") && !stored.contains(password), "{stored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_cannot_be_made_is_said_and_leaves_the_lock_free() {
    let database = Database::empty().await;
    let failed = migrate::run(&database.url(Role::Owner), async { Err::<(), _>("no hstore") }).await;
    assert!(matches!(&failed, Err(MigrateError::Queue(reason)) if reason == "no hstore"), "{failed:?}");
    assert_eq!(migrate_all(&database).await.unwrap().len(), MIGRATIONS);
}
