//! `cargo xtask bench issue`.

use anyhow::{Result, ensure};
use clap::Args;
use zonecert_devstack::product::setting;
use zonecert_devstack::{Product, Stack, StackOptions};

use super::{median, percentile_95};
use crate::account::{self, Account};
use crate::api::Api;
use crate::certificate::{Show, issue};
use crate::report::say;
use crate::{cargo, workspace};

/// The wait between the TXT records and the call to the CA: no issuance can be faster (requirements S3.22).
const PROPAGATION_SECONDS: f64 = 5.0;
/// How much longer than that the median may be.
const ALLOWANCE_SECONDS: f64 = 2.0;
const ZONE: &str = "bench.test";

#[derive(Args)]
#[command(
    about = "Time issuances, one after the other, from the request to `issued`",
    long_about = "Time issuances, one after the other, from the request to `issued`, on a stack of its own under .dev/bench.

The propagation wait is the default of 5 s. Prints each time, the median and the 95th percentile, and fails when the median is \
above 7 s."
)]
pub(crate) struct Issue {
    /// How many certificates, at most the 100 of the Elite plan
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    count: u32,
}

impl Issue {
    pub(super) async fn measure(&self) -> Result<()> {
        say("building zonecert");
        cargo::run(&["build", "--workspace", "--bins"]).await?;
        let dir = workspace::dev("bench")?;
        let stack = Stack::start(StackOptions { fresh: true, progress: say, ..StackOptions::new(&dir) }).await?;
        let product =
            Product::kept_in(&stack.handle(), &dir, "zonecert").await?.with(setting::PROPAGATION_SECONDS, PROPAGATION_SECONDS.to_string());
        let mut api_process = product.serve().await?;
        let mut worker = product.work().await?;
        let api = Api::new(api_process.api_url())?;
        let account = Account::ensure(&product, &api, &dir.join("product/demo-account.json")).await?;
        let api = api.with_bearer(account.token.as_deref().unwrap_or_default());
        let zone_id = account::ensure_verified_zone(&product, &api, ZONE).await?;

        let mut times = Vec::new();
        for number in 1..=self.count {
            let domain = format!("b{number}.{ZONE}");
            let (_, seconds) = issue(&api, &zone_id, &domain, &[], Show::Nothing).await?;
            say(&format!("{domain:<16} {seconds:.2} s"));
            times.push(seconds);
        }
        worker.stop().await?;
        api_process.stop().await?;
        stack.stop().await?;

        times.sort_by(f64::total_cmp);
        let (median, p95) = (median(&times), percentile_95(&times));
        println!(
            "
{} issuances, one at a time, debug build
  fastest  {:.2} s
  median   {median:.2} s: the {PROPAGATION_SECONDS:.0} s of propagation and {:.2} s more (×{:.2})
  p95      {p95:.2} s
  slowest  {:.2} s",
            times.len(),
            times[0],
            median - PROPAGATION_SECONDS,
            median / PROPAGATION_SECONDS,
            times[times.len() - 1],
        );
        let limit = PROPAGATION_SECONDS + ALLOWANCE_SECONDS;
        ensure!(median <= limit, "the median of {median:.2} s is above {limit:.0} s");
        Ok(())
    }
}
