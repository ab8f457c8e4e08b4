//! The private `PostgreSQL`: [`Postgres`] is how to reach it, [`PostgresServer`] the process.

mod databases;
pub(crate) mod home;
mod proxy;
mod server;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, NoTls};

pub use proxy::{DatabaseProxy, Traffic};
pub use server::PostgresServer;
pub(crate) use server::is_installed;

/// Database and role of `PowerDNS`, which connects anew for each call of its API. SCRAM would cost it milliseconds of CPU each time, so it has md5.
pub(crate) const CONNECTS_OFTEN: &str = "powerdns";

/// Superuser of the private server; the product never sees it.
const SUPERUSER: &str = "zonecert_devstack";
/// Migrates and owns the product's databases, as in production.
pub const OWNER_ROLE: &str = "zonecert_owner";
/// The API's log-in role. `zonecert migrate` creates it.
pub const API_ROLE: &str = "zonecert_api";
/// The worker's log-in role. `zonecert migrate` creates it.
pub const WORKER_ROLE: &str = "zonecert_worker";

/// The log-in role of the operator's part of the API. `zonecert migrate` creates it.
pub const ADMIN_ROLE: &str = "zonecert_admin";

/// How to reach the private `PostgreSQL` (TCP on 127.0.0.1, scram-sha-256 but for `PowerDNS`).
#[derive(Clone, Serialize, Deserialize)]
pub struct Postgres {
    port: u16,
    superuser_password: String,
    owner_password: String,
    api_password: String,
    worker_password: String,
}

impl Postgres {
    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A program that comes with the newest installed server, such as `pgbench`.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        server::program(name)
    }

    /// URL of the database `postgres` as the stack's superuser: for tests and the stack itself, never for the product.
    pub fn admin_url(&self) -> String {
        self.admin_url_of("postgres")
    }

    /// URL of `database` as the stack's superuser, who is not subject to row-level security.
    pub fn admin_url_of(&self, database: &str) -> String {
        self.url(SUPERUSER, &self.superuser_password, database)
    }

    /// URL of `database` as `role` with `password`.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// URL of `database` as [`OWNER_ROLE`].
    pub fn owner_url(&self, database: &str) -> String {
        self.url(OWNER_ROLE, &self.owner_password, database)
    }

    /// URL of `database` as [`API_ROLE`].
    pub fn api_url(&self, database: &str) -> String {
        self.url(API_ROLE, &self.api_password, database)
    }

    /// URL of `database` as [`WORKER_ROLE`].
    pub fn worker_url(&self, database: &str) -> String {
        self.url(WORKER_ROLE, &self.worker_password, database)
    }

    /// URL of `database` as [`ADMIN_ROLE`].
    pub fn operator_url(&self, database: &str) -> String {
        self.url(ADMIN_ROLE, &self.operator_password(), database)
    }

    /// The password that `zonecert migrate` shall give [`ADMIN_ROLE`].
    pub fn operator_password(&self) -> String {
        format!("{}-operator", self.owner_password)
    }

    /// The password that `zonecert migrate` shall give [`API_ROLE`]: roles belong to the server, so all databases share it.
    pub fn api_password(&self) -> &str {
        &self.api_password
    }

    /// The password that `zonecert migrate` shall give [`WORKER_ROLE`].
    pub fn worker_password(&self) -> &str {
        &self.worker_password
    }

    /// A connection to `database` as the stack's superuser. It closes when the client is dropped.
    pub async fn connect_as_admin(&self, database: &str) -> Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.admin_url_of(database), NoTls)
            .await
            .with_context(|| format!("cannot connect to the private PostgreSQL on port {}", self.port))?;
        // Ends with the client; whatever fails on the connection is the answer of the client's next call.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }
}
