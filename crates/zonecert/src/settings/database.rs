//! The database.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use zonecert_store::Store;

/// Where the database is.
#[derive(Args)]
#[command(next_help_heading = "Database")]
pub(crate) struct DatabaseUrl {
    /// postgres://ROLE:PASSWORD@HOST:PORT/NAME. The role is `zonecert_api` for `serve`, `zonecert_worker` for `work`, the database's owner for
    /// `migrate` and `admin`. TLS is used and checked where the server offers it; `?sslmode=disable` or `require` decides otherwise.
    #[arg(long, env = "ZONECERT_DATABASE_URL", hide_env_values = true, value_name = "ZONECERT_DATABASE_URL")]
    database_url: String,
}

impl DatabaseUrl {
    /// The URL as it is set. Holds a password.
    pub(crate) fn url(&self) -> &str {
        &self.database_url
    }

    /// A few connections, for a command that soon ends.
    pub(crate) fn open(&self) -> Result<Store> {
        Store::open(&self.database_url, 2, Duration::from_secs(10)).context("ZONECERT_DATABASE_URL")
    }
}

/// Where the database is, and how many connections are kept to it.
#[derive(Args)]
#[command(next_help_heading = "Database")]
pub(crate) struct DatabaseArgs {
    #[command(flatten)]
    database: DatabaseUrl,
    /// Connections kept at the most. The API keeps one more for each core, up to 8, which short questions share.
    #[arg(long, env = "ZONECERT_DATABASE_CONNECTIONS", default_value = "16", value_name = "ZONECERT_DATABASE_CONNECTIONS",
        value_parser = clap::value_parser!(u32).range(2..=1000))]
    database_connections: u32,
    /// How long a request or a step waits for a connection.
    #[arg(long, env = "ZONECERT_DATABASE_PATIENCE_SECONDS", default_value = "5", value_name = "ZONECERT_DATABASE_PATIENCE_SECONDS",
        value_parser = super::positive_seconds)]
    database_patience_seconds: Duration,
}

impl DatabaseArgs {
    /// The URL as it is set. Holds a password.
    pub(crate) fn url(&self) -> &str {
        self.database.url()
    }

    /// The same settings for another role.
    pub(crate) fn with_url(&self, database_url: String) -> Self {
        Self {
            database: DatabaseUrl { database_url },
            database_connections: self.database_connections,
            database_patience_seconds: self.database_patience_seconds,
        }
    }

    /// Opens the pool. A database that is down is found out at first use.
    pub(crate) fn open(&self) -> Result<Store> {
        Store::open(self.url(), self.database_connections, self.database_patience_seconds).context("ZONECERT_DATABASE_URL")
    }
}
