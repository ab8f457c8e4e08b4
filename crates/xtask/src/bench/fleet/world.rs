//! Many accounts with many certificates, and the clock moved so that they are due.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_postgres::Client;
use zonecert_devstack::product::{ProductProcess, setting};
use zonecert_devstack::{Product, Stack, StackOptions, wait};

use crate::account::ensure_verified_zone;
use crate::api::Api;
use crate::report::say;

/// What the plan Elite allows.
pub(super) const PER_ACCOUNT: u32 = 100;
/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_mins(30);
const LOOK: Duration = Duration::from_millis(250);
const FILLERS: usize = 2;

/// A stack, the product on it, and certificates that can be made due.
pub(in crate::bench) struct World {
    pub(in crate::bench) stack: Stack,
    pub(in crate::bench) product: Product,
    /// As the superuser: to move the clock, and to look.
    pub(in crate::bench) database: Client,
}

impl World {
    /// With nothing in it yet.
    pub(in crate::bench) async fn start(binary: PathBuf, dir: &Path) -> Result<Self> {
        let options = StackOptions { fresh: true, durable: false, statistics: true, progress: say, ..StackOptions::new(dir) };
        let stack = Stack::start(options).await?;
        let product = Product::kept_by(binary, &stack.handle(), dir, "zonecert").await?;
        let product = product.with(setting::PROPAGATION_SECONDS, "0").with(setting::RENEWAL_SCAN_SECONDS, "1");
        let database = stack.postgres.connect_as_admin(product.database()).await?;
        database.batch_execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
        Ok(Self { stack, product, database })
    }

    /// So many certificates, issued once, with keys that cost nothing.
    pub(in crate::bench) async fn issue(&self, count: u32) -> Result<()> {
        let mut api = self.product.serve().await?;
        for number in 0..count.div_ceil(PER_ACCOUNT) {
            self.request(&api, number, PER_ACCOUNT.min(count - number * PER_ACCOUNT)).await?;
        }
        say(&format!("{count} certificates requested; issuing each once"));
        let mut worker = self.product.work().await?;
        self.wait_for("SELECT count(*) FROM certificates WHERE status = 'issued'", i64::from(count)).await?;
        worker.stop().await?;
        api.stop().await?;
        Ok(())
    }

    /// Has every certificate get keys of this algorithm from now on.
    pub(super) async fn set_algorithm(&self, algorithm: &str) -> Result<()> {
        for table in ["UPDATE certificates SET key_algorithm", "UPDATE private_keys SET algorithm"] {
            self.database.batch_execute(&format!("{table} = '{algorithm}'")).await?;
        }
        Ok(self.database.batch_execute("VACUUM ANALYZE").await?)
    }

    /// An account with a verified zone, signed in.
    pub(in crate::bench) async fn tenant(&self, api: &ProductProcess, name: &str) -> Result<(Api, String)> {
        let (email, password) = (format!("{name}@zonecert.test"), zonecert_devstack::random_password());
        self.product.create_account(&email, &password, "elite").await?;
        let api = Api::new(api.api_url())?;
        let api = api.with_bearer(&api.sign_in(&email, &password).await?);
        let zone_id = ensure_verified_zone(&self.product, &api, &format!("{name}.test")).await?;
        Ok((api, zone_id))
    }

    async fn request(&self, api: &ProductProcess, number: u32, certificates: u32) -> Result<()> {
        let zone = format!("fleet{number}.test");
        let (api, zone_id) = self.tenant(api, &format!("fleet{number}")).await?;
        for label in 0..certificates {
            let wish = json!({"zone_id": zone_id, "domain": format!("n{label}.{zone}"), "key_algorithm": "ecdsa_p256", "auto_renew": true});
            let _: Value = api.post("/certificates", &wish).await?.expect(StatusCode::ACCEPTED)?;
        }
        Ok(())
    }

    /// Has workers fill the stock of keys.
    pub(super) async fn fill_stock(self, keys: u32) -> Result<Self> {
        say(&format!("making {keys} keys for the stock"));
        let product = self.product.with(setting::KEY_STOCK, keys.to_string()).with(setting::KEY_STOCK_SECONDS, "0.2");
        let world = Self { product, ..self };
        let mut workers = Vec::new();
        for _ in 0..FILLERS {
            workers.push(world.product.work().await?);
        }
        // Two that look at the same time may make one more.
        world.wait_for(&format!("SELECT least(count(*), {keys}) FROM key_stock"), i64::from(keys)).await?;
        for mut worker in workers {
            worker.stop().await?;
        }
        Ok(world)
    }

    pub(in crate::bench) fn with(self, setting: &str, value: impl Into<String>) -> Self {
        Self { product: self.product.with(setting, value), ..self }
    }

    /// Has 61 days pass for so many certificates: those of 90 days are due.
    pub(super) async fn make_due(&self, count: u32) -> Result<()> {
        // Versions are immutable by a trigger.
        let moved = format!(
            "BEGIN; SET LOCAL session_replication_role = replica;
             CREATE TEMPORARY TABLE due ON COMMIT DROP AS SELECT id FROM certificates ORDER BY number, id LIMIT {count};
             UPDATE versions SET not_before = not_before - interval '61 days', not_after = not_after - interval '61 days', created_at = created_at - interval '61 days'
                 WHERE certificate_id IN (SELECT id FROM due);
             UPDATE issuances SET created_at = created_at - interval '61 days', finished_at = finished_at - interval '61 days'
                 WHERE certificate_id IN (SELECT id FROM due);
             UPDATE certificates SET issued_at = issued_at - interval '61 days', expires_at = expires_at - interval '61 days',
                     next_renewal_at = next_renewal_at - interval '61 days', renewal_due_at = renewal_due_at - interval '61 days', renewal_info_due_at = NULL
                 WHERE id IN (SELECT id FROM due);
             COMMIT"
        );
        Ok(self.database.batch_execute(&moved).await?)
    }

    /// Waits until this query counts so many.
    pub(in crate::bench) async fn wait_for(&self, query: &str, count: i64) -> Result<()> {
        wait::until(query, PATIENCE, async || {
            wait::pause(LOOK).await;
            let counted: i64 = self.database.query_one(query, &[]).await?.get(0);
            if counted > count {
                bail!("{counted} where {count} were expected: {query}");
            }
            Ok((counted == count).then_some(()))
        })
        .await
        .with_context(|| format!("waiting for {count}"))
    }
}
