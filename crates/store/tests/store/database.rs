//! A database of a test's own, and the roles that reach it.

use std::time::{Duration, UNIX_EPOCH};

use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, NoTls};
use zonecert_devstack::{API_ROLE, OWNER_ROLE, StackHandle, WORKER_ROLE, shared, unique_label};
use zonecert_store::Store;
use zonecert_store::migrate::{self, LoginRole};

/// Key of the advisory lock that lets one process make the template while the others wait. The same as the devstack's for its own
/// template: both give the roles their passwords, and roles belong to the whole server.
const LOCK: i64 = 0x7a63_7465_6d70;

/// Whoever logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Api,
    Worker,
    Owner,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Api, Self::Worker, Self::Owner];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Api => API_ROLE,
            Self::Worker => WORKER_ROLE,
            Self::Owner => OWNER_ROLE,
        }
    }
}

/// One database. The test sees it as a superuser too, whom row-level security does not bind.
pub(crate) struct Database {
    pub(crate) stack: StackHandle,
    pub(crate) name: String,
    pub(crate) admin: Client,
}

impl Database {
    /// With our tables and the queue's: a copy of a template that is migrated once per server and build of these tests.
    pub(crate) async fn migrated() -> Self {
        let stack = shared().await.unwrap();
        let template = ensure_template(&stack).await;
        let name = format!("store_{}", unique_label());
        stack.postgres.create_database_from_template(&name, &template).await.unwrap();
        Self::open(stack, name).await
    }

    /// Without any table, for tests of the migrations. The roles are there already: they belong to the server.
    pub(crate) async fn empty() -> Self {
        let stack = shared().await.unwrap();
        ensure_template(&stack).await;
        let name = format!("store_{}", unique_label());
        stack.postgres.create_database(&name).await.unwrap();
        Self::open(stack, name).await
    }

    async fn open(stack: StackHandle, name: String) -> Self {
        let admin = stack.postgres.connect_as_admin(&name).await.unwrap();
        Self { stack, name, admin }
    }

    pub(crate) fn url(&self, role: Role) -> String {
        let postgres = &self.stack.postgres;
        match role {
            Role::Api => postgres.api_url(&self.name),
            Role::Worker => postgres.worker_url(&self.name),
            Role::Owner => postgres.owner_url(&self.name),
        }
    }

    /// A bare connection, logged in as the role.
    pub(crate) async fn connect(&self, role: Role) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(role), NoTls).await.unwrap();
        // Ends with the client; whatever fails on the connection is the answer of the client's next call.
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    /// A pool of up to this many connections, logged in as the role.
    pub(crate) fn store(&self, role: Role, connections: u32) -> Store {
        Store::open(&self.url(role), connections, Duration::from_secs(30)).unwrap()
    }

    /// Runs statements as the superuser.
    pub(crate) async fn run(&self, statements: &str) {
        self.admin.batch_execute(statements).await.unwrap_or_else(|error| panic!("{error:?}: {statements}"));
    }

    /// The one value that a statement of the superuser answers.
    pub(crate) async fn value<T: FromSqlOwned>(&self, query: &str) -> T {
        self.admin.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{error:?}: {query}")).get(0)
    }

    /// The first column of what a statement of the superuser answers.
    pub(crate) async fn column<T: FromSqlOwned>(&self, query: &str) -> Vec<T> {
        let rows = self.admin.query(query, &[]).await.unwrap_or_else(|error| panic!("{error:?}: {query}"));
        rows.iter().map(|row| row.get(0)).collect()
    }
}

async fn ensure_template(stack: &StackHandle) -> String {
    let postgres = &stack.postgres;
    let executable = std::env::current_exe().unwrap();
    let built = executable.metadata().unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    let name = format!("store_template_{:x}", built.as_nanos());
    // Held until this connection closes, at the end of this function.
    let turn = postgres.connect_as_admin("postgres").await.unwrap();
    turn.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.unwrap();
    if !postgres.has_database(&name).await.unwrap() {
        let draft = format!("{name}_draft");
        postgres.drop_database(&draft).await.unwrap();
        postgres.create_database(&draft).await.unwrap();
        let owner_url = postgres.owner_url(&draft);
        // Diesel's migrations are blocking, and the tests' own runtimes may have one thread.
        let migrated = owner_url.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(migrate::run(&migrated, zonecert_worker::queue::migrate(&migrated))).unwrap();
        })
        .join()
        .unwrap();
        migrate::set_password(&owner_url, LoginRole::Api, postgres.api_password()).await.unwrap();
        migrate::set_password(&owner_url, LoginRole::Worker, postgres.worker_password()).await.unwrap();
        turn.batch_execute(&format!("ALTER DATABASE {draft} RENAME TO {name}")).await.unwrap();
    }
    name
}
