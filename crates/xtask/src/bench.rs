//! `cargo xtask bench …`.

mod api;
mod downloads;
mod drill;
mod fleet;
mod issue;
mod keys;
mod lego;
mod load;
mod release;
mod scan;
mod search;
mod service;
mod usage;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::interrupt::Interrupt;
use crate::packages;

#[derive(Args)]
#[command(about = "Measure the product on this machine")]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
    /// Install nothing: list the packages that are missing and end with an error, or go on if there are none
    #[arg(long, global = true)]
    no_install: bool,
}

#[derive(Subcommand)]
enum What {
    Api(api::Api),
    Downloads(downloads::Downloads),
    Drill(drill::Drill),
    Fleet(fleet::Fleet),
    Issue(issue::Issue),
    Lego(lego::Lego),
    Scan(scan::Scan),
    Search(search::Search),
}

impl Bench {
    pub(crate) async fn run(self) -> Result<()> {
        packages::prepare(self.no_install).await?;
        let mut interrupt = Interrupt::listen()?;
        match self.what {
            What::Api(api) => interrupt.unless(api.measure()).await,
            What::Downloads(downloads) => Box::pin(interrupt.unless(downloads.measure())).await,
            What::Drill(drill) => Box::pin(interrupt.unless(drill.run())).await,
            What::Fleet(fleet) => Box::pin(interrupt.unless(fleet.measure())).await,
            What::Issue(issue) => interrupt.unless(issue.measure()).await,
            What::Lego(lego) => interrupt.unless(lego.measure()).await,
            What::Scan(scan) => interrupt.unless(scan.measure()).await,
            What::Search(search) => interrupt.unless(search.measure()).await,
        }
    }
}

/// Of sorted times, at least one.
fn median(sorted: &[f64]) -> f64 {
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// The median of values in any order, at least one.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    median(&values)
}

/// By nearest rank, of sorted times, at least one.
fn percentile_95(sorted: &[f64]) -> f64 {
    sorted[(sorted.len() * 95).div_ceil(100) - 1]
}

#[cfg(test)]
mod tests {
    use super::{median, percentile_95};

    #[test]
    #[expect(clippy::float_cmp, reason = "the values are taken from the list, or halves of whole numbers")]
    fn median_and_percentile_of_small_samples() {
        assert_eq!((median(&[3.0]), percentile_95(&[3.0])), (3.0, 3.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile_95(&hundred), 95.0);
        let twenty: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(percentile_95(&twenty), 19.0);
    }
}
