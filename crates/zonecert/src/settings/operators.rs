//! The operator's part of the API.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use zonecert_api::operators::{OperatorAccess, OperatorToken};
use zonecert_store::Store;

/// Few call it, and seldom.
const CONNECTIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(5);

/// How the operator gets in. Without these two the operator's part of the API is off.
#[derive(Args)]
#[command(next_help_heading = "Operator")]
pub(crate) struct OperatorArgs {
    /// The database as `zonecert_admin`.
    #[arg(long, env = "ZONECERT_ADMIN_DATABASE_URL", hide_env_values = true, value_name = "ZONECERT_ADMIN_DATABASE_URL")]
    admin_database_url: Option<String>,
    /// SHA-256 of the tokens with which the operator calls /api/v1/admin, comma separated; `zonecert admin new-token` makes them.
    #[arg(long, env = "ZONECERT_ADMIN_TOKEN_SHA256", value_delimiter = ',', value_name = "ZONECERT_ADMIN_TOKEN_SHA256", value_parser = OperatorToken::parse)]
    admin_token_sha256: Vec<OperatorToken>,
}

impl OperatorArgs {
    /// What the API is told; none where the operator's part is off.
    pub(crate) fn access(&self) -> Result<Option<OperatorAccess>> {
        let Some(url) = self.admin_database_url.as_deref().filter(|_| !self.admin_token_sha256.is_empty()) else { return Ok(None) };
        let store = Store::open(url, CONNECTIONS, PATIENCE).context("ZONECERT_ADMIN_DATABASE_URL")?;
        Ok(Some(OperatorAccess { store, tokens: self.admin_token_sha256.clone() }))
    }
}
