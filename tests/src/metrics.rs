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

/// The dashboard.
pub fn dashboard_file() -> PathBuf {
    rules_file().with_file_name("dashboard.json")
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

    /// The sum of the series of this name that have each of these labels, `of="zone"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.series().into_iter().filter(|(series, _)| name_of(series) == name);
        series.filter(|(series, _)| labels.iter().all(|label| series.contains(label))).map(|(_, value)| value).sum()
    }

    /// The names of its series, `_bucket` and the like included.
    pub fn names(&self) -> BTreeSet<&str> {
        self.series().into_keys().map(name_of).collect()
    }

    /// Its labels and all their values.
    pub fn labels(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut labels: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for series in self.series().into_keys() {
            let mut rest = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
            while let Some((name, (value, others))) = rest.split_once("=\"").and_then(|(name, rest)| Some((name, rest.split_once('"')?))) {
                labels.entry(name).or_default().insert(value);
                rest = others.trim_start_matches(',');
            }
        }
        labels
    }
}

/// The pages of several processes, as they followed each other.
pub struct Pages<'a> {
    instances: &'a [&'a str],
    moments: Vec<Vec<Page>>,
}

/// How many looks of Prometheus show the first pages, and each of those that follow.
const FIRST: usize = 10;
const NEXT: usize = 200;

/// As `docker/monitoring/prometheus.yml` has it.
const EVERY_SECONDS: usize = 15;

impl<'a> Pages<'a> {
    /// The pages of these instances before anything happens.
    pub fn before(instances: &'a [&'a str], pages: Vec<Page>) -> Self {
        Self { instances, moments: vec![pages] }
    }

    /// What they have become. A process that shows none has an empty one.
    pub fn then(&mut self, pages: Vec<Page>) {
        self.moments.push(pages);
    }

    /// Has `promtool` evaluate the rules. Errors where one of these alerts fires with the first pages, or does not at any moment after that.
    pub fn fire(&self, alerts: &[&str]) -> Result<()> {
        let rules = alerts.iter().map(|alert| rule(alert)).collect::<Result<String>>()?;
        let mut text = self.input(&names_in(&rules))?;
        text.push_str("    promql_expr_test:\n");
        for alert in alerts {
            for (looks, fires) in [(FIRST - 1, 0), (FIRST + NEXT * (self.moments.len() - 1), 1)] {
                let seconds = looks * EVERY_SECONDS;
                let firing = format!(r#"ALERTS{{alertname="{alert}",alertstate="firing"}}[{seconds}s]"#);
                let firing = format!("(count(count_over_time({firing})) > bool 0) or vector(0)");
                writeln!(text, "      - expr: '{firing}'\n        eval_time: {seconds}s")?;
                writeln!(text, "        exp_samples: [{{labels: '{{}}', value: {fires}}}]")?;
            }
        }
        let file = tempfile::Builder::new().suffix(".yml").tempfile()?;
        std::fs::write(file.path(), text)?;
        promtool(&["test", "rules", &file.path().display().to_string()], "").with_context(|| self.shown(&names_in(&rules)))
    }

    /// The pages as Prometheus would have read them, of these metrics.
    fn input(&self, names: &BTreeSet<&str>) -> Result<String> {
        let mut text = format!("rule_files: [{}]\nevaluation_interval: {EVERY_SECONDS}s\ntests:\n", rules_file().display());
        writeln!(text, "  - interval: {EVERY_SECONDS}s\n    input_series:")?;
        for (index, instance) in self.instances.iter().enumerate() {
            let history: Vec<_> = self.moments.iter().map(|pages| pages[index].series()).collect();
            let wanted = history.iter().flat_map(BTreeMap::keys).filter(|series| names.contains(name_of(series)));
            for series in wanted.collect::<BTreeSet<_>>() {
                let values = history.iter().enumerate().map(|(moment, page)| {
                    let looks = if moment == 0 { FIRST } else { NEXT };
                    page.get(series).map_or_else(|| format!("_x{looks}"), |value| format!("{value}+0x{}", looks - 1))
                });
                let (written, values) = (with_instance(series, instance).replace('\'', "''"), values.collect::<Vec<_>>().join(" "));
                writeln!(text, "      - series: '{written}'\n        values: '{values}'")?;
            }
        }
        Ok(text)
    }

    /// What the pages say of these metrics.
    fn shown(&self, names: &BTreeSet<&str>) -> String {
        let mut shown = String::new();
        for (moment, pages) in self.moments.iter().enumerate() {
            for (instance, page) in self.instances.iter().zip(pages) {
                let lines = page.series().into_iter().filter(|(series, _)| names.contains(name_of(series)));
                shown.extend(lines.map(|(series, value)| format!("{instance} {moment}: {series} {value}\n")));
            }
        }
        shown
    }
}

/// The part of the rules that is about this alert.
fn rule(alert: &str) -> Result<String> {
    let rules = std::fs::read_to_string(rules_file())?;
    let rule = rules.split("- alert: ").find(|rule| rule.lines().next() == Some(alert));
    rule.map(str::to_owned).with_context(|| format!("there is no alert {alert}"))
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap_or(series)
}

/// Every metric of ours that a text names.
pub fn names_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| word.starts_with("zonecert_")).collect()
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
