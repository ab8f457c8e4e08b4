//! `zonecert admin doctor`: everything that the service rests on, each with what to do where something is wrong.

mod database;
mod outside;

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::output::{OutputArgs, Said};
use crate::settings::database::DatabaseUrl;
use crate::settings::outside::OutsideArgs;
use crate::settings::secrets::MasterKeyArgs;
use crate::settings::shared::SharedArgs;

/// Checks everything. Takes the settings of `work`, and the database's URL as its owner.
#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    database: DatabaseUrl,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    master_keys: MasterKeyArgs,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    outside: OutsideArgs,
    /// Private keys made in advance, as it is set for the workers.
    #[arg(long, env = "ZONECERT_KEY_STOCK", default_value = "200", value_name = "ZONECERT_KEY_STOCK")]
    key_stock: u32,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Well,
    /// It works, and should not be so.
    Doubtful,
    Wrong,
    /// It could not be looked at, because of something else that is wrong.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    /// What was seen.
    found: String,
    /// What to do; empty where all is well.
    remedy: &'static str,
}

impl Check {
    fn well(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Well, found: found.into(), remedy: "" }
    }

    fn doubtful(name: &'static str, found: impl Into<String>, remedy: &'static str) -> Self {
        Self { name, verdict: Verdict::Doubtful, found: found.into(), remedy }
    }

    fn wrong(name: &'static str, found: impl Into<String>, remedy: &'static str) -> Self {
        Self { name, verdict: Verdict::Wrong, found: found.into(), remedy }
    }

    fn unknown(name: &'static str, because: &str) -> Self {
        Self { name, verdict: Verdict::Unknown, found: format!("not looked at: {because}"), remedy: "" }
    }
}

pub(super) async fn run(args: Doctor) -> Result<Said> {
    let store = args.database.open()?;
    let mut checks = database::check(&store, &args.master_keys, args.key_stock).await;
    checks.extend(Box::pin(outside::check(&store, &args)).await);
    let well = !checks.iter().any(|check| check.verdict == Verdict::Wrong);
    Ok(Said::either(args.output, &json!({ "well": well, "checks": checks }), text(&checks)).with_health(well))
}

fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let mark = match check.verdict {
            Verdict::Well => "ok   ",
            Verdict::Doubtful => "hm   ",
            Verdict::Wrong => "WRONG",
            Verdict::Unknown => "?    ",
        };
        let _ = writeln!(text, "{mark}  {:<width$}  {}", check.name, check.found);
        if !check.remedy.is_empty() {
            let _ = writeln!(text, "{:>width$}  → {}", "", check.remedy, width = width + 7);
        }
    }
    let wrong = checks.iter().filter(|check| check.verdict == Verdict::Wrong).count();
    let _ = if wrong == 0 { writeln!(text, "\nnothing is wrong") } else { writeln!(text, "\n{wrong} of {} checks: wrong", checks.len()) };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_that_is_wrong_has_its_remedy_below_it() {
        let checks = [
            Check::well("resolver", "answers"),
            Check::wrong("PowerDNS", "no connection", "start it"),
            Check::unknown("roles", "no database"),
        ];
        let expected = "ok     resolver  answers\nWRONG  PowerDNS  no connection\n                 → start it\n?      roles     not looked at: no database\n\n1 of 3 checks: wrong\n";
        assert_eq!(text(&checks), expected);
    }
}
