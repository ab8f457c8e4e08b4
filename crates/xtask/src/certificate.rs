//! Asks for a certificate and follows it to its end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use reqwest::StatusCode;
use serde_json::{Value, json};
use zonecert_devstack::wait;

use crate::api::{Api, text};
use crate::report::say;

const POLL: Duration = Duration::from_millis(100);
/// Well above the longest regular course: 5 s of propagation and 30 polls of 2 s.
const ENDS_WITHIN: Duration = Duration::from_mins(2);

/// How the course of an issuance is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Each state and each event as it happens.
    Everything,
    Nothing,
}

/// Requests a certificate for `domain` and `sans`, and answers it once it is issued, with the seconds that took.
///
/// # Errors
/// When it ends otherwise, with its last event.
pub(crate) async fn issue(api: &Api, zone_id: &str, domain: &str, sans: &[&str], show: Show) -> Result<(Value, f64)> {
    let begun = Instant::now();
    let request = json!({"zone_id": zone_id, "domain": domain, "sans": sans});
    let requested = api.post("/certificates", &request).await?.expect(StatusCode::ACCEPTED)?;
    let id = text(&requested, "id")?;
    if show == Show::Everything {
        say(&format!("certificate {id} requested for {} over the REST API", [&[domain], sans].concat().join(", ")));
    }
    let mut course = Course { api, id: &id, show, begun, status: String::new(), events_shown: 0 };
    loop {
        let certificate = api.get(&format!("/certificates/{id}")).await?.expect(StatusCode::OK)?;
        let status = text(&certificate, "status")?;
        course.show_news(&status).await?;
        match status.as_str() {
            "issued" => return Ok((certificate, begun.elapsed().as_secs_f64())),
            "pending" | "validating" if begun.elapsed() < ENDS_WITHIN => wait::pause(POLL).await,
            "pending" | "validating" => {
                bail!("certificate {id} is still {status} after {} s; {}", ENDS_WITHIN.as_secs(), course.last_event().await?)
            }
            _ => bail!("certificate {id} is {status}; {}", course.last_event().await?),
        }
    }
}

struct Course<'a> {
    api: &'a Api,
    id: &'a str,
    show: Show,
    begun: Instant,
    status: String,
    events_shown: usize,
}

impl Course<'_> {
    async fn events(&self) -> Result<Vec<Value>> {
        let logs = self.api.get(&format!("/certificates/{}/logs", self.id)).await?.expect(StatusCode::OK)?;
        Ok(logs["logs"].as_array().context("the API answered no list of logs")?.clone())
    }

    async fn show_news(&mut self, status: &str) -> Result<()> {
        if self.show == Show::Nothing {
            return Ok(());
        }
        let since = self.begun.elapsed().as_secs_f64();
        let events = self.events().await?;
        for event in &events[self.events_shown.min(events.len())..] {
            println!("             +{since:>5.2} s  {}", describe(event));
        }
        self.events_shown = events.len();
        if status != self.status {
            status.clone_into(&mut self.status);
            println!("             +{since:>5.2} s  → {status}");
        }
        Ok(())
    }

    async fn last_event(&self) -> Result<String> {
        Ok(self
            .events()
            .await?
            .last()
            .map_or_else(|| "it has no events".to_owned(), |event| format!("its last event: {}", describe(event))))
    }
}

fn describe(event: &Value) -> String {
    let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let level = match field("level").as_str() {
        "info" => String::new(),
        other => format!("{other}: "),
    };
    format!("{:<24} {level}{}", field("event"), field("message"))
}
