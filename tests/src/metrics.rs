//! Pages of metrics, and `promtool`, which says what Prometheus would make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use zonecert_devstack::product::ProductProcess;
use zonecert_devstack::wait;

use crate::PATIENCE;

/// The rules of the alerts.
pub fn rules_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/monitoring/alerts.yml")
}

/// What a process showed of itself at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In Prometheus' text format.
    pub text: String,
}

impl Page {
    /// Reads the page of a process.
    pub async fn of(process: &ProductProcess) -> Result<Self> {
        let url = wait::until("the process has its page of metrics", PATIENCE, async || Ok(process.metrics_url())).await?;
        let response = reqwest::get(format!("{url}/metrics")).await?.error_for_status()?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        ensure!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        Ok(Self { text: response.text().await? })
    }

    /// Reads the page again and again until it is as wanted.
    pub async fn until(process: &ProductProcess, what: &str, wanted: impl Fn(&Self) -> bool) -> Result<Self> {
        wait::until(what, PATIENCE, async || Ok(Some(Self::of(process).await?).filter(&wanted))).await
    }

    /// Its series, each as it is written, and their values.
    pub fn series(&self) -> BTreeMap<&str, f64> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit_once(' ')).filter_map(|(series, value)| Some((series, value.parse().ok()?))).collect()
    }

    /// The value of a series, written as on the page.
    pub fn get(&self, series: &str) -> Option<f64> {
        self.series().get(series).copied()
    }

    /// The names of its series, `_bucket` and the like included.
    pub fn names(&self) -> BTreeSet<&str> {
        self.series().into_keys().map(|series| series.split('{').next().unwrap_or(series)).collect()
    }
}

/// The pages of several processes, by the name of the instance, before and after something happened.
pub struct Pages<'a>(pub Vec<(&'a str, Page, Page)>);

/// How many looks of Prometheus show the pages as they were before, and after.
const BEFORE: usize = 10;
const AFTER: usize = 200;

impl Pages<'_> {
    /// Whether an alert fires: with the pages as they were before, and at some moment after they changed.
    pub fn fires(&self, alert: &str) -> Result<(bool, bool)> {
        let before = self.is_ever_firing(alert, BEFORE - 1)?;
        Ok((before, self.is_ever_firing(alert, BEFORE + AFTER)?))
    }

    /// Prometheus looks every 15 s.
    fn is_ever_firing(&self, alert: &str, looks: usize) -> Result<bool> {
        // One of the two tests fails. That of silence is asked too, so that a rule that cannot be evaluated is no answer.
        let answers = [0, 1].map(|fires| self.promtool_says(alert, looks, fires));
        match answers {
            [Ok(()), Err(_)] => Ok(false),
            [Err(_), Ok(())] => Ok(true),
            [Err(error), Err(_)] => Err(error),
            [Ok(()), Ok(())] => anyhow::bail!("{alert} fires and does not fire"),
        }
    }

    fn promtool_says(&self, alert: &str, looks: usize, fires: u8) -> Result<()> {
        let mut text =
            format!("rule_files: [{}]\nevaluation_interval: 15s\ntests:\n  - interval: 15s\n    input_series:\n", rules_file().display());
        let rules = std::fs::read_to_string(rules_file())?;
        let is_named = |series: &&&str| series.split('{').next().is_some_and(|name| rules.contains(name));
        for (instance, before, after) in &self.0 {
            let (before, after) = (before.series(), after.series());
            for series in before.keys().chain(after.keys()).filter(is_named).collect::<BTreeSet<_>>() {
                let values = |value: Option<&f64>, looks: usize| {
                    value.map_or_else(|| format!("_x{looks}"), |value| format!("{value}+0x{}", looks - 1))
                };
                let named = with_instance(series, instance).replace('\'', "''");
                let values = format!("{} {}", values(before.get(*series), BEFORE), values(after.get(*series), AFTER));
                writeln!(text, "      - series: '{named}'\n        values: '{values}'")?;
            }
        }
        let seconds = looks * 15;
        let firing =
            format!(r#"(count(count_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[{seconds}s])) > bool 0) or vector(0)"#);
        writeln!(
            text,
            "    promql_expr_test:\n      - expr: '{firing}'\n        eval_time: {seconds}s\n        exp_samples: [{{labels: '{{}}', value: {fires}}}]"
        )?;
        let file = tempfile::Builder::new().suffix(".yml").tempfile()?;
        std::fs::write(file.path(), text)?;
        promtool(&["test", "rules", &file.path().display().to_string()], "")
    }
}

fn with_instance(series: &str, instance: &str) -> String {
    match series.split_once('{') {
        Some((name, labels)) => format!(r#"{name}{{instance="{instance}",{labels}"#),
        None => format!(r#"{series}{{instance="{instance}"}}"#),
    }
}

/// Runs Debian's `promtool`. Errors with what it says when it finds something.
pub fn promtool(arguments: &[&str], input: &str) -> Result<()> {
    use std::io::Write as _;

    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("promtool cannot be run; Debian's package prometheus has it")?;
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    Ok(())
}
