//! What happens in the account, as server-sent events, for as long as the credential is good.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use futures::StreamExt;
use futures::stream::poll_fn;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;
use zonecert_domain::id::CertificateId;
use zonecert_domain::scope::Scope;
use zonecert_store::events::{self, Event};
use zonecert_store::live_events::{self, CertificateState};
use zonecert_store::{Connection, StoreError};

use super::hub::Seat;
use super::view;
use crate::app::App;
use crate::auth::caller::{self, Access, Caller, Trust, check_status};
use crate::problem::{FieldError, Problem};
use crate::request::Query;
use crate::route::{self, Route};

/// By which a client says where it was cut off. Sent by browsers themselves.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// nginx passes an answer with this on as it comes.
const BUFFERING: (&str, &str) = ("X-Accel-Buffering", "no");

/// Events that are read at a time.
const BATCH: i64 = 50;

/// Batches that wait for a client that takes them slowly.
const WAITING: usize = 2;

/// As long the word of the database is taken that a credential is good.
const TRUST: Duration = Duration::from_secs(1);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// As the header, for a client that cannot set one. The header comes first.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,18}$", example = "7")]
    last_event_id: Option<String>,
}

/// What a client that was cut off says.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the header is read by its name")]
struct CutOff {
    /// The `id` of the last event that was seen: what has happened since is sent first. Without it, what happens from now on. Browsers send it by
    /// themselves.
    #[param(rename = "Last-Event-ID", required = false, pattern = "^[0-9]{1,18}$", example = "7")]
    last_event_id: String,
}

/// Server-sent events (HTML standard, "Server-sent events"). `id` is the event's number, `event` its kind and `data` an `Event` as JSON.
#[derive(ToSchema)]
#[schema(value_type = String, example = "retry: 2000\n\n")]
#[expect(dead_code, reason = "describes a text that is written piece by piece")]
struct EventStream(String);

pub(crate) fn routes() -> Vec<Route> {
    vec![Route::new(__path_open, open, route::Access::Scopes(&[Scope::CertificatesRead]))]
}

/// What happens in the account, as it happens
///
/// A stream that goes on for as long as the credential is good. Events of zones are only for those who hold `zones:read`. At least every 15 s there is a
/// comment. `data` of each event is JSON: `#/components/schemas/Event`.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "certificates", operation_id = "streamEvents",
    params(Parameters, CutOff),
    responses(
        (status = 200, description = "The stream.", content((EventStream = "text/event-stream"))),
        (status = 400, description = "`last_event_id_invalid` at ?last_event_id: Give the `id` of an event of this stream, unchanged, or none to begin \
            with what happens next"),
        (status = 429, description = "`too_many_streams`: The account has 10 streams open, which is as many as it may; close one, or wait until the \
            server notices that it is gone"),
    ),
)]
async fn open(app: web::Data<App>, caller: Caller, request: HttpRequest, query: Query<Parameters>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let after = last_event_id(&request, &query.read()?)?;
    let account = caller.account;
    let seat = app.live.join(account).ok_or_else(|| too_many_streams(app.settings.traffic.live.streams_per_account))?;
    let latest = app.store.tenant::<_, StoreError, _>(account, async |conn| events::latest_number(conn, account).await).await?;
    let credential = Zeroizing::new(caller::bearer(&request)?.to_owned());
    let (chunks, mut waiting) = mpsc::channel::<Bytes>(WAITING);
    // A number that was never given is of another account or of a database that is gone.
    let position = after.map_or(latest, |after| after.min(latest));
    let feed = Feed { app, caller, credential, checked_at: Instant::now(), seat, position, chunks };
    actix_web::rt::spawn(feed.run());
    let body = poll_fn(move |context| waiting.poll_recv(context)).map(Ok::<_, Infallible>);
    Ok(HttpResponse::Ok().content_type("text/event-stream").insert_header(BUFFERING).streaming(body))
}

/// The header wins: it is later than the address that the client began with.
fn last_event_id(request: &HttpRequest, parameters: &Parameters) -> Result<Option<i64>, Problem> {
    let (pointer, text) = match request.headers().get(LAST_EVENT_ID) {
        Some(header) => ("Last-Event-ID", header.to_str().unwrap_or_default()),
        None => match &parameters.last_event_id {
            Some(text) => ("?last_event_id", text.as_str()),
            None => return Ok(None),
        },
    };
    let invalid = || {
        let detail = "Give the `id` of an event of this stream, unchanged, or none to begin with what happens next";
        Problem::invalid(vec![FieldError::new(pointer, "last_event_id_invalid", detail)])
    };
    text.parse::<i64>().ok().filter(|number| *number >= 0).map(Some).ok_or_else(invalid)
}

fn too_many_streams(most: usize) -> Problem {
    let detail = format!(
        "The account has {most} streams open, which is as many as it may; close one, or wait until the server notices that it is gone"
    );
    Problem::too_many_requests("too_many_streams", detail, Duration::from_secs(5))
}

/// What one client is sent, and how far it is.
struct Feed {
    app: web::Data<App>,
    caller: Caller,
    credential: Zeroizing<String>,
    checked_at: Instant,
    seat: Seat,
    /// The last event that was sent or is not for this client.
    position: i64,
    chunks: mpsc::Sender<Bytes>,
}

/// The stream is over: the client has gone or takes nothing, the credential is no good any more, or the process ends.
struct Over;

impl Feed {
    async fn run(mut self) {
        // Whatever ends it: the client sees the end, and connects again.
        let _over: Result<Infallible, Over> = self.send_all().await;
        tracing::debug!(account = %self.caller.account, position = self.position, "a live stream ended");
    }

    async fn send_all(&mut self) -> Result<Infallible, Over> {
        let mut keep_alive = tokio::time::interval(self.app.settings.traffic.live.keep_alive);
        keep_alive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        keep_alive.tick().await;
        self.send(view::GREETING).await?;
        loop {
            self.send_news().await?;
            tokio::select! {
                () = self.seat.news() => {}
                _ = keep_alive.tick() => {
                    self.check_credential(Duration::ZERO).await?;
                    self.send(view::KEEP_ALIVE).await?;
                }
                () = self.chunks.closed() => return Err(Over),
                () = self.app.live.until_closed() => return Err(Over),
            }
        }
    }

    /// Sends what has happened since. While the database is away, there is nothing: the next look makes up for it.
    async fn send_news(&mut self) -> Result<(), Over> {
        loop {
            let (events, states) = match self.read().await {
                Ok(read) => read,
                Err(error) => {
                    tracing::debug!(%error, account = %self.caller.account, "a live stream waits for the database");
                    return Ok(());
                }
            };
            let Some(last) = events.last().map(|event| event.number) else { return Ok(()) };
            if !self.check_credential(TRUST).await? {
                return Ok(());
            }
            if let Some(chunk) = self.write(&events, &states)? {
                self.send(chunk).await?;
            }
            self.position = last;
        }
    }

    async fn read(&self) -> Result<(Vec<Event>, HashMap<CertificateId, CertificateState>), StoreError> {
        let (account, position) = (self.caller.account, self.position);
        let body = async move |conn: &mut Connection| {
            let events = events::list_events(conn, account, position, BATCH).await?;
            let mut ids: Vec<CertificateId> = events.iter().filter_map(|event| event.certificate).collect();
            ids.sort_unstable();
            ids.dedup();
            let states = if ids.is_empty() { HashMap::new() } else { live_events::list_states(conn, account, &ids).await? };
            Ok((events, states))
        };
        self.app.store.tenant::<_, StoreError, _>(account, body).await
    }

    /// Those events that the caller may see.
    fn write(&self, events: &[Event], states: &HashMap<CertificateId, CertificateState>) -> Result<Option<Bytes>, Over> {
        let mut text = String::new();
        for event in events.iter().filter(|event| self.caller.require(view::scope_of(event)).is_ok()) {
            let state = event.certificate.and_then(|id| states.get(&id));
            text += &view::write(event, state).map_err(|error| {
                tracing::error!(%error, number = event.number, "an event cannot be written");
                Over
            })?;
        }
        Ok((!text.is_empty()).then(|| text.into()))
    }

    /// Ends the stream if the credential is no good any more; says whether it is known to be good. Asks the database unless that was done
    /// within `trust`.
    async fn check_credential(&mut self, trust: Duration) -> Result<bool, Over> {
        if self.checked_at.elapsed() < trust {
            return Ok(true);
        }
        let now = Instant::now();
        let Caller { address, request_id, .. } = &self.caller;
        let checked = caller::recognise(&self.app, &self.credential, *address, request_id.clone(), Trust::TheDatabase).await;
        let checked = checked.and_then(|(caller, status)| check_status(status, Access::Read).map(|()| caller));
        match checked.and_then(|caller| caller.require(Scope::CertificatesRead).map(|()| caller)) {
            Ok(caller) => {
                self.caller = caller;
                self.checked_at = now;
                Ok(true)
            }
            Err(problem) if is_ours(&problem) => Ok(false),
            Err(_) => Err(Over),
        }
    }

    /// Waits until the client has room, up to its patience's end.
    async fn send(&mut self, chunk: Bytes) -> Result<(), Over> {
        let patience = self.app.settings.traffic.live.patience;
        tokio::select! {
            sent = tokio::time::timeout(patience, self.chunks.send(chunk)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Over),
            },
            () = self.app.live.until_closed() => Err(Over),
        }
    }
}

/// The database is away: that says nothing about the credential.
fn is_ours(problem: &Problem) -> bool {
    problem.status_code() >= StatusCode::INTERNAL_SERVER_ERROR
}
