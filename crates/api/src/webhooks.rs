//! Webhooks: where an account is told what becomes of its certificates, and what it was told (requirements S0.5, X17).

mod change;
mod create;
mod delete;
pub(crate) mod deliveries;
mod read;
mod secret;
mod view;

use zonecert_domain::scope::Scope;
use zonecert_domain::webhook::{Destinations, WebhookEvent};
use zonecert_store::webhooks::Webhook;

use crate::problem::{FieldError, Problem};
use crate::route::{Access, Route};
use crate::text;

/// Most webhooks of an account; keeps the list to one page, and what a change of a certificate has to write within bounds.
const MAX_WEBHOOKS: i64 = 20;

const MAX_DESCRIPTION_CHARACTERS: usize = 200;

pub(crate) fn routes() -> Vec<Route> {
    let access = Access::Scopes(&[Scope::AccountAdmin]);
    vec![
        Route::new(read::__path_list, read::list, access),
        Route::new(create::__path_create, create::create, access),
        Route::new(read::__path_get, read::get, access),
        Route::new(change::__path_change, change::change, access),
        Route::new(delete::__path_delete, delete::delete, access),
        Route::new(secret::__path_rotate, secret::rotate, access),
        Route::new(deliveries::__path_test, deliveries::test, access),
        Route::new(deliveries::__path_list, deliveries::list, access),
        Route::new(deliveries::__path_get, deliveries::get, access),
        Route::new(deliveries::__path_replay, deliveries::replay, access),
    ]
}

/// The URL as it is stored.
fn url(given: &str, destinations: &Destinations) -> Result<String, FieldError> {
    let url = destinations.parse(given).map_err(|error| FieldError::new("/url", error.code(), error.to_string()))?;
    Ok(url.into())
}

/// In the order of a certificate's life, and each once.
fn events(given: &[String]) -> Result<Vec<WebhookEvent>, FieldError> {
    let read = |(index, text): (usize, &String)| {
        WebhookEvent::parse(text).ok_or_else(|| {
            let all = WebhookEvent::ALL.map(WebhookEvent::as_str).join(", ");
            FieldError::new(format!("/events/{index}"), "event_unknown", format!("Give some of {all}, or none for all of them"))
        })
    };
    let mut events: Vec<WebhookEvent> = given.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

fn description(given: &str) -> Result<String, FieldError> {
    text::line("/description", given, MAX_DESCRIPTION_CHARACTERS)
}

/// Nothing is sent to a webhook that is disabled.
fn check_enabled(webhook: &Webhook) -> Result<(), Problem> {
    match webhook.disabled {
        None => Ok(()),
        Some(_) => Err(Problem::conflict("webhook_disabled", "The webhook is disabled; enable it by PATCH with {\"enabled\": true} first")),
    }
}
