//! One look at one certificate: what is new is put in place, the service reads it, and the API is told.

use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};

use crate::api::{Api, ApiError, Download, Report};
use crate::config::Wanted;
use crate::directory::Directory;
use crate::pair::{Pair, PairFault};
use crate::wait::pause;
use crate::{probe, reload};

/// A service that reloads gracefully shows what was there before for a moment.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// Most characters that the API takes of what went wrong.
const MAX_ERROR_CHARACTERS: usize = 500;

/// What has come of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What went wrong, for people.
    pub(crate) troubles: Vec<String>,
    /// All of that may heal by itself.
    pub(crate) is_temporary: bool,
    /// When the API wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
    /// The files were changed.
    pub(crate) has_changed: bool,
}

impl Outcome {
    fn trouble(&mut self, text: String) {
        self.is_temporary = false;
        self.troubles.push(text);
    }

    fn api_trouble(&mut self, error: &ApiError) {
        self.is_temporary = error.is_temporary && self.troubles.is_empty();
        self.retry_after = self.retry_after.max(error.retry_after);
        self.troubles.push(error.to_string());
    }
}

/// Goes on as far as it can: a service that has not read what is there is told to, also when the API does not answer.
pub(crate) async fn run(api: &Api, wanted: &Wanted, directory: &mut Directory) -> Outcome {
    let mut outcome = Outcome::default();
    let may_tell = fetch(api, wanted, directory, &mut outcome).await;
    if directory.state().reload_pending {
        have_reloaded(wanted, directory, &mut outcome).await;
    }
    let served = look(wanted, directory, &mut outcome).await;
    for trouble in &outcome.troubles {
        if outcome.is_temporary {
            tracing::warn!(certificate = wanted.id, "{trouble}");
        } else {
            tracing::error!(certificate = wanted.id, "{trouble}");
        }
    }
    if may_tell {
        let report = report(directory, served, &outcome);
        match api.report(&wanted.id, &wanted.target, &report).await {
            Ok(()) => tracing::debug!(certificate = wanted.id, target = wanted.target, "reported"),
            // The files are what matters; whoever reads the reports sees that this one is missing.
            Err(error) => tracing::warn!(certificate = wanted.id, target = wanted.target, "the report was not taken: {error}"),
        }
    }
    outcome
}

/// Returns whether the API answers, so that it can be told.
async fn fetch(api: &Api, wanted: &Wanted, directory: &mut Directory, outcome: &mut Outcome) -> bool {
    let (etag, pair) = match api.download(&wanted.id, directory.known(wanted)).await {
        Ok(Download::Unchanged) => {
            tracing::debug!(certificate = wanted.id, version = directory.state().version(), "nothing new");
            return true;
        }
        Ok(Download::Changed { etag, pair }) => (etag, pair),
        Err(error) => {
            outcome.api_trouble(&error);
            return error.can_be_told;
        }
    };
    match check(api, wanted, &etag, &pair).await {
        Ok(()) => {}
        Err(Refusal::Api(error)) => {
            outcome.api_trouble(&error);
            return error.can_be_told;
        }
        Err(Refusal::MovedOn) => {
            outcome.troubles.push("the certificate was renewed at this very moment; it is fetched again next time".to_owned());
            outcome.is_temporary = true;
            return true;
        }
        Err(Refusal::Pair(fault)) => {
            outcome.trouble(format!("{fault}. What was there before stays in place"));
            return true;
        }
    }
    match directory.install(wanted, &etag, &pair) {
        Ok(()) => {
            outcome.has_changed = true;
            let version = directory.state().version();
            tracing::info!(certificate = wanted.id, version, directory = %wanted.directory.display(), "the files are those of another version");
        }
        Err(error) => outcome.trouble(format!("{error:#}")),
    }
    true
}

enum Refusal {
    Api(ApiError),
    /// What was downloaded is no longer the version in use.
    MovedOn,
    Pair(PairFault),
}

/// Holds a download to what the API says of the version in use.
async fn check(api: &Api, wanted: &Wanted, etag: &str, pair: &Pair) -> Result<(), Refusal> {
    let version = api.certificate(&wanted.id).await.map_err(Refusal::Api)?.current_version;
    let version = version.filter(|version| etag.trim_matches('"') == version.id).ok_or(Refusal::MovedOn)?;
    let probe_name = wanted.probe.as_ref().map(|probe| &probe.server_name);
    pair.check(&version, probe_name, now()).map_err(Refusal::Pair)
}

async fn have_reloaded(wanted: &Wanted, directory: &mut Directory, outcome: &mut Outcome) {
    match reload::run(&wanted.reload, wanted.reload_within).await {
        Ok(()) => {
            tracing::info!(certificate = wanted.id, command = wanted.reload.first(), "the service was told to read its files");
            if let Err(error) = directory.reloaded() {
                outcome.trouble(format!("{error:#}"));
            }
        }
        Err(error) => outcome.trouble(error.to_string()),
    }
}

/// What the service shows, where there is something to look at.
async fn look(wanted: &Wanted, directory: &Directory, outcome: &mut Outcome) -> Option<String> {
    let target = wanted.probe.as_ref()?;
    let installed = &directory.state().leaf_sha256;
    let begun = Instant::now();
    loop {
        let found = probe::served(target).await;
        let is_as_installed = found.as_ref().is_ok_and(|served| served == installed);
        if !is_as_installed && outcome.has_changed && begun.elapsed() < SETTLES_WITHIN {
            pause(LOOKS_EVERY).await;
            continue;
        }
        return match found {
            Ok(served) => {
                if !is_as_installed && !installed.is_empty() {
                    outcome.trouble(format!(
                        "the service at {} shows another certificate than the one that is installed; have it read its files again by reload",
                        target.address
                    ));
                }
                Some(served)
            }
            Err(error) => {
                outcome.trouble(format!("{error:#}"));
                None
            }
        };
    }
}

fn report(directory: &Directory, served_sha256: Option<String>, outcome: &Outcome) -> Report {
    let state = directory.state();
    let is_installed = !state.leaf_sha256.is_empty();
    Report {
        served_sha256,
        installed_sha256: is_installed.then(|| state.leaf_sha256.clone()),
        installed_version_id: is_installed.then(|| state.version().to_owned()),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        error: (!outcome.troubles.is_empty()).then(|| one_line(&outcome.troubles.join("; "))),
    }
}

/// As the API takes it.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR_CHARACTERS).collect::<String>().trim().to_owned()
}

/// The one look at the clock.
pub(crate) fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}
