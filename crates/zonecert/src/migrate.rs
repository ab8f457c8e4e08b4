//! `zonecert migrate`.

use anyhow::{Context as _, Result};
use clap::Args;
use zonecert_store::migrate::{LoginRole, set_password};
use zonecert_worker::queue;

use crate::settings::database::DatabaseUrl;

/// Makes the tables or brings them up to date, and sets the passwords with which API and worker log in.
#[derive(Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    database: DatabaseUrl,
    /// Password that `zonecert_api` gets. Without it the role keeps the one it has.
    #[arg(long, env = "ZONECERT_API_DB_PASSWORD", hide_env_values = true, value_name = "ZONECERT_API_DB_PASSWORD")]
    api_db_password: Option<String>,
    /// Password that `zonecert_worker` gets. Without it the role keeps the one it has.
    #[arg(long, env = "ZONECERT_WORKER_DB_PASSWORD", hide_env_values = true, value_name = "ZONECERT_WORKER_DB_PASSWORD")]
    worker_db_password: Option<String>,
    /// Password that `zonecert_admin` gets, with which the operator's part of the API reaches the database. Without it the role keeps the one it has.
    #[arg(long, env = "ZONECERT_ADMIN_DB_PASSWORD", hide_env_values = true, value_name = "ZONECERT_ADMIN_DB_PASSWORD")]
    admin_db_password: Option<String>,
}

pub(crate) async fn run(args: &Migrate) -> Result<()> {
    let url = args.database.url();
    let ran = zonecert_store::migrate::run(url, queue::migrate(url)).await.context("ZONECERT_DATABASE_URL")?;
    let passwords = [
        (LoginRole::Api, &args.api_db_password),
        (LoginRole::Worker, &args.worker_db_password),
        (LoginRole::Admin, &args.admin_db_password),
    ];
    for (role, password) in passwords {
        if let Some(password) = password {
            set_password(url, role, password).await.with_context(|| format!("the password of {role:?} could not be set"))?;
        }
    }
    if ran.is_empty() {
        tracing::info!("the database is up to date");
    } else {
        tracing::info!(migrations = ?ran, "the database was brought up to date");
    }
    Ok(())
}
