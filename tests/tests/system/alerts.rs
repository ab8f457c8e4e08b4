//! Alerts fire where their cause is there, and not before: the cause is brought about in the real parts, the pages are read before and after, and `promtool`
//! evaluates the rules on them.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use zonecert_devstack::product::setting;
use zonecert_devstack::{shared, wait};
use zonecert_tests::metrics::{Page, Pages, rules_file};
use zonecert_tests::{Account, PATIENCE, System, Zone};

use super::metrics::monitored;

const OF_SCHEMA: [&str; 1] = ["ZonecertSchemaBehind"];
const OF_SLOWNESS: [&str; 2] = ["ZonecertApiSlow", "ZonecertConnectionsUsedUp"];

/// None fires on the pages before, each of these on those after.
fn fire(pages: &Pages<'_>, alerts: &[&str]) -> Result<()> {
    for alert in alerts {
        let fires = pages.fires(alert)?;
        ensure!(fires == (false, true), "{alert}: fires before, after: {fires:?}\n{}", shown(pages, alert));
    }
    Ok(())
}

/// What the pages say that the rule may look at.
fn shown(pages: &Pages<'_>, alert: &str) -> String {
    let rules = std::fs::read_to_string(rules_file()).unwrap_or_default();
    let rule = rules.split("- alert: ").find(|rule| rule.starts_with(alert)).unwrap_or_default();
    let names: BTreeSet<&str> =
        rule.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("zonecert_")).collect();
    let lines = pages.0.iter().flat_map(|(instance, before, after)| [(instance, "before", before), (instance, "after", after)]);
    let lines = lines.flat_map(|(instance, when, page)| page.text.lines().map(move |line| format!("{instance} {when}: {line}")));
    lines.filter(|line| names.iter().any(|name| line.contains(name))).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_alert_has_severity_summary_and_an_entry_in_the_runbook() {
    let text = std::fs::read_to_string(rules_file()).unwrap();
    let rules: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let runbook = std::fs::read_to_string(rules_file().with_file_name("../../docs/runbook.md")).unwrap();
    let mut there = BTreeSet::new();
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let alert = rule["alert"].as_str().unwrap();
        assert!(there.insert(alert), "{alert} is there twice");
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{alert}");
        assert!(rule["annotations"]["summary"].as_str().unwrap().ends_with('.'), "{alert}");
        assert_eq!(rule["annotations"]["runbook"], format!("docs/runbook.md#{}", alert.to_lowercase()));
        let entry = runbook.split(&format!("\n## {alert}\n")).nth(1).unwrap_or_else(|| panic!("{alert} is not in the runbook"));
        let entry = entry.split("\n## ").next().unwrap();
        for part in ["- **Means**: ", "- **Customers notice**: ", "- **Look at**: ", "- **Do**: "] {
            assert!(entry.contains(part), "{alert}: no {part}");
        }
    }
    assert_eq!(runbook.matches("\n## Zonecert").count(), there.len(), "the runbook has an entry for no alert");
}

async fn with_zone(system: &System) -> Result<(Account, Zone)> {
    let account = system.account("elite").await?;
    let zone = system.verified_zone(&account).await?;
    Ok((account, zone))
}

#[tokio::test]
async fn the_alert_of_a_database_that_is_older_than_the_program() -> Result<()> {
    let system = System::start_with(&shared().await?, monitored).await?;
    let before = Page::of(&system.api).await?;
    let newest = "DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)";
    system.database().await?.execute(newest, &[]).await?;
    let after = Page::until(&system.api, "it is shown", |page| page.get("zonecert_database_schema_current") == Some(0.0)).await?;
    fire(&Pages(vec![("api", before, after)]), &OF_SCHEMA)
}

#[tokio::test]
async fn alerts_of_a_slow_database() -> Result<()> {
    let system = System::start_with(&shared().await?, monitored).await?;
    let (account, _zone) = with_zone(&system).await?;
    let few = [(setting::DATABASE_CONNECTIONS, "2"), (setting::DATABASE_PATIENCE_SECONDS, "0.2")];
    let narrow = system.product.serve_with(&few).await?;
    let impatient = zonecert_tests::Client::new(narrow.api_url(), Some(&account.access_token))?;
    for client in [&account.client, &impatient] {
        client.get("/certificates").await?.expect(200)?;
    }
    let before = (Page::of(&system.api).await?, Page::of(&narrow).await?);
    let mut lock = system.database().await?;
    let transaction = lock.transaction().await?;
    transaction.batch_execute("LOCK TABLE certificates IN ACCESS EXCLUSIVE MODE").await?;
    let calls: Vec<_> = (0..14)
        .map(|_| account.client.clone())
        .chain((0..6).map(|_| impatient.clone()))
        .map(|client| tokio::spawn(async move { client.get("/certificates").await }))
        .collect();
    let watch = system.database().await?;
    wait::until("they have waited for more than a second", PATIENCE, async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
                       AND query_start < now() - interval '1.2 seconds'";
        Ok((watch.query_one(waiting, &[]).await?.get::<_, i64>(0) >= 14).then_some(()))
    })
    .await?;
    transaction.rollback().await?;
    for call in calls {
        call.await??;
    }
    let after = (Page::of(&system.api).await?, Page::of(&narrow).await?);
    fire(&Pages(vec![("api", before.0, after.0), ("narrow", before.1, after.1)]), &OF_SLOWNESS)
}
