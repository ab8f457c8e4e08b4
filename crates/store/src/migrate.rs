//! Migrations of our tables and the log-in passwords of the roles.

use diesel::result::Error as DieselError;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::pool::connect;
use crate::{Connection, StoreError};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// The key of the advisory lock that one migration at a time holds: "zonecert" in ASCII.
const LOCK: i64 = 0x7a6f_6e65_6365_7274;

/// Runs what has not run yet, one process at a time. `queue` makes the queue's own tables, on which ours rest; it runs under the same lock,
/// before our migrations. Returns the names of ours that ran.
///
/// Needs a role that owns the database and may create roles. Must be called on a multi-threaded runtime: diesel's migrations are blocking.
pub async fn run<Q, E>(database_url: &str, queue: Q) -> Result<Vec<String>, MigrateError>
where
    Q: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut lock = connect(database_url).await?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<diesel::sql_types::BigInt, _>(LOCK)
        .execute(&mut lock)
        .await
        .map_err(StoreError::from)?;
    // The lock goes with its connection, also when we fail.
    queue.await.map_err(|error| MigrateError::Queue(error.to_string()))?;
    let conn = connect(database_url).await?;
    let ran = harness(conn, |harness| harness.run_pending_migrations(MIGRATIONS).map(|ran| ran.iter().map(ToString::to_string).collect()))?;
    // For `is_current`: the table is diesel's, so that no migration of ours can be sure of it.
    diesel::sql_query("GRANT SELECT ON __diesel_schema_migrations TO zonecert_api, zonecert_worker")
        .execute(&mut lock)
        .await
        .map_err(StoreError::from)?;
    Ok(ran)
}

/// Takes back all of our migrations: every table of ours and what it holds. For tests of the migrations.
pub async fn revert_all(database_url: &str) -> Result<(), MigrateError> {
    let conn = connect(database_url).await?;
    harness(conn, |harness| harness.revert_all_migrations(MIGRATIONS).map(drop))
}

/// Whether every migration that this program knows has run.
pub async fn is_current(conn: &mut Connection) -> Result<bool, StoreError> {
    use diesel::sql_types::{Bool, Text};

    #[derive(diesel::QueryableByName)]
    struct Version {
        #[diesel(sql_type = Text)]
        version: String,
    }

    #[derive(diesel::QueryableByName)]
    struct Table {
        #[diesel(sql_type = Bool)]
        present: bool,
    }

    let known = known_versions()?;
    let query = diesel::sql_query("SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS present");
    if !query.get_result::<Table>(conn).await?.present {
        return Ok(false);
    }
    let ran: Vec<Version> = diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(conn).await?;
    Ok(known.iter().all(|version| ran.iter().any(|row| row.version == *version)))
}

fn known_versions() -> Result<Vec<String>, StoreError> {
    use diesel::migration::{Migration, MigrationSource};

    let known: Vec<Box<dyn Migration<diesel::pg::Pg>>> =
        MIGRATIONS.migrations().map_err(|error| StoreError::corrupt("migrations", error.to_string()))?;
    Ok(known.iter().map(|migration| migration.name().version().to_string()).collect())
}

/// Sets the password with which a role logs in. What travels is the SCRAM verifier, so that no log of the server can hold the password.
pub async fn set_password(database_url: &str, role: LoginRole, password: &str) -> Result<(), MigrateError> {
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let statement = format!("ALTER ROLE {} PASSWORD '{verifier}'", role.as_str());
    let mut conn = connect(database_url).await?;
    let mut refusals = 0;
    loop {
        match diesel::sql_query(&statement).execute(&mut conn).await {
            Err(DieselError::DatabaseError(_, info)) if info.message() == CHANGED_BY_ANOTHER && refusals < MOST_REFUSALS => refusals += 1,
            outcome => return Ok(outcome.map(drop).map_err(StoreError::from)?),
        }
    }
}

/// Roles belong to the whole server, whose databases no lock of one of them spans: of those who change a role at the same moment one gets
/// through, and PostgreSQL refuses the others with this, once it is done.
const CHANGED_BY_ANOTHER: &str = "tuple concurrently updated";

/// Each refusal means that another got through, so this many have done so before we say that something is wrong.
const MOST_REFUSALS: u32 = 100;

/// The roles that log in.
#[derive(Clone, Copy, Debug)]
pub enum LoginRole {
    /// `zonecert_api`.
    Api,
    /// `zonecert_worker`.
    Worker,
    /// `zonecert_admin`.
    Admin,
}

impl LoginRole {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "zonecert_api",
            Self::Worker => "zonecert_worker",
            Self::Admin => "zonecert_admin",
        }
    }
}

/// Why the database could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database could not be reached or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue's own migrations failed.
    #[error("the queue's tables could not be made: {0}; the database URL must be that of the database's owner")]
    Queue(String),
    /// One of ours failed. It was rolled back.
    #[error("a migration failed and was rolled back: {0}")]
    Migration(String),
}

fn harness<R>(
    conn: Connection,
    work: impl FnOnce(&mut AsyncMigrationHarness<Connection>) -> diesel::migration::Result<R>,
) -> Result<R, MigrateError> {
    let mut harness = AsyncMigrationHarness::new(conn);
    tokio::task::block_in_place(|| work(&mut harness)).map_err(|error| MigrateError::Migration(error.to_string()))
}
