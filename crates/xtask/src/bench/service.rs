//! The product on a stack of its own, asked by one account.

use std::path::Path;

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::json;
use tokio_postgres::Client;
use zonecert_devstack::product::ProductProcess;
use zonecert_devstack::{Product, Stack, StackOptions};

use super::release;
use crate::api::{Api, text};
use crate::report::say;
use crate::workspace;

/// With nothing in it but the account.
pub(super) struct Service {
    stack: Stack,
    product: Product,
    process: ProductProcess,
    /// With a token of the account that reads.
    pub(super) api: Api,
}

impl Service {
    /// Under `.dev/<name>`, with the binary that is named, else one that is built now.
    pub(super) async fn start(binary: Option<&Path>, name: &str, email: &str) -> Result<Self> {
        let binary = release::binary(binary).await?;
        let dir = workspace::dev(name)?;
        let stack = Stack::start(StackOptions { fresh: true, durable: false, progress: say, ..StackOptions::new(&dir) }).await?;
        let product = Product::kept_by(binary, &stack.handle(), &dir, "zonecert").await?;
        let process = product.serve().await?;
        let api = sign_in(&product, &Api::new(process.api_url())?, email).await?;
        Ok(Self { stack, product, process, api })
    }

    /// As the superuser.
    pub(super) async fn connect(&self) -> Result<Client> {
        self.stack.postgres.connect_as_admin(self.product.database()).await
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        self.process.stop().await?;
        self.stack.stop().await
    }
}

/// Makes an account, and answers its client with a token that reads.
async fn sign_in(product: &Product, api: &Api, email: &str) -> Result<Api> {
    let password = zonecert_devstack::random_password();
    product.create_account(email, &password, "elite").await?;
    let api = api.with_bearer(&api.sign_in(email, &password).await?);
    let token = json!({"name": "bench", "scopes": ["certificates:read"]});
    let token = api.post("/tokens", &token).await?.expect(StatusCode::CREATED)?;
    Ok(api.with_bearer(&text(&token, "token")?))
}
