//! Looks for the TXT record that proves control.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;
use zonecert_domain::id::ZoneId;
use zonecert_domain::scope::Scope;
use zonecert_domain::zone_name::proves_control;
use zonecert_resolver::{Answer, RecordType};
use zonecert_store::events::NewEvent;
use zonecert_store::zone_overviews::{self, ZoneOverview};
use zonecert_store::zones::{self, Zone, ZoneStatus};
use zonecert_store::{Connection, StoreError, events};

use super::view::{ZoneView, instructions};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::Id;

/// Of what stands at the name, so much is repeated in a problem.
const SHOWN_VALUES: usize = 5;
const SHOWN_CHARACTERS: usize = 100;

/// Look for the TXT record that proves control
///
/// Asks the DNS now, without a cache; takes up to 10 s where the zone's name servers do not answer. Once a hosted zone is verified it is made in
/// PowerDNS, or adopted if it is there.
#[utoipa::path(
    post, path = "/api/v1/zones/{id}/verify", tag = "zones", operation_id = "verifyZone",
    params(("id" = inline(values::ZoneId), Path), idempotency::Parameters),
    responses(
        (status = 200, description = "The zone is verified, now or before.", body = ZoneView),
        (status = 409, description = "`zone_verification_failed`: The zone is not verified: _zonecert.your-domain.com does not exist \
            (NXDOMAIN). Set a TXT record at _zonecert.your-domain.com with the value zonecert-verification=4f0c1a2b3d4e5f60718293a4b5c6d7e8 \
            in the present DNS of your-domain.com, then POST /api/v1/zones/zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/verify\n\
            `zone_held_by_another_account`: Another account holds the zone your-domain.com; have it deleted there first, or write to our \
            support"),
        (status = 503, description = "`resolver_unavailable`: Our DNS resolver cannot be reached; try again in a few seconds"),
    ),
)]
pub(super) async fn verify(app: web::Data<App>, caller: Caller, idempotency: Idempotency, id: Id<ZoneId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let (id, once) = (id.read()?, idempotency.of(&caller)?);
    if let Some(answer) = once.find(&app.store).await? {
        return Ok(answer);
    }
    let (account, settings) = (caller.account, &app.settings);
    let read = async move |conn: &mut Connection| zone_overviews::get_zone_overview(conn, account, id).await;
    let overview = app.store.tenant::<_, StoreError, _>(account, read).await?;
    let zone = &overview.zone;
    if zone.status == ZoneStatus::Verified {
        return Ok(HttpResponse::Ok().json(ZoneView::new(&overview, settings)));
    }
    // No connection is held meanwhile.
    let answer = app.resolver.look_up(&zone.name.ownership_record(), RecordType::Txt).await;
    if proves_control(answer.texts(), &zone.verification_value) {
        let work = async move |conn: &mut Connection| {
            let overview = accept(conn, &caller, id).await?;
            Reply::json(StatusCode::OK, &ZoneView::new(&overview, settings))
        };
        return once.run(&app.store, work).await;
    }
    let zone = app.store.tenant_write::<_, StoreError, _>(account, async move |conn| zones::mark_checked(conn, account, id).await).await?;
    Err(refusal(&zone, &answer))
}

/// The proof was seen. Somebody else may have deleted or verified the zone since it was read.
async fn accept(conn: &mut Connection, caller: &Caller, id: ZoneId) -> Result<ZoneOverview, Problem> {
    let account = caller.account;
    let zone = zones::get_zone(conn, account, id).await?;
    if zone.status != ZoneStatus::Verified {
        let zone = zones::mark_verified(conn, account, id).await.map_err(|error| {
            if error.is_constraint(zones::VERIFIED_NAME_KEY) {
                let detail = format!("Another account holds the zone {}; have it deleted there first, or write to our support", zone.name);
                return Problem::conflict("zone_held_by_another_account", detail);
            }
            error.into()
        })?;
        let regained = zones::take_over_certificates(conn, account, &zone).await?;
        record(conn, caller, &zone, regained).await?;
    }
    Ok(zone_overviews::get_zone_overview(conn, account, id).await?)
}

async fn record(conn: &mut Connection, caller: &Caller, zone: &Zone, regained: usize) -> Result<(), StoreError> {
    let (name, id) = (&zone.name, zone.id.to_string());
    audit::record(conn, caller, "zone.verified", &id, json!({"name": name})).await?;
    let message = match regained {
        0 => format!("Zone {name} verified"),
        1 => format!("Zone {name} verified; 1 certificate from before its deletion is under it again"),
        more => format!("Zone {name} verified; {more} certificates from before its deletion are under it again"),
    };
    let details = json!({"zone_id": id, "zone": name, "certificates_regained": regained});
    events::record(conn, caller.account, NewEvent { details, ..NewEvent::info("zone_verified", message) }).await?;
    Ok(())
}

/// What was seen, where, and what to do.
fn refusal(zone: &Zone, answer: &Answer) -> Problem {
    let record = zone.name.ownership_record();
    let seen = match answer {
        Answer::Unreachable(error) => {
            tracing::error!(%error, "the DNS servers of the setting for resolvers cannot be reached");
            return Problem::unavailable("resolver_unavailable", "Our DNS resolver cannot be reached; try again in a few seconds", 5);
        }
        Answer::Records(_) => format!("{record} has other TXT values: {}", shown(&answer.texts().collect::<Vec<_>>())),
        Answer::NoSuchName(remembered) => format!("{record} does not exist (NXDOMAIN){}", remembered_for(*remembered)),
        Answer::NoRecords(remembered) => format!("{record} exists but has no TXT record{}", remembered_for(*remembered)),
        Answer::TimedOut => format!("no DNS server answered for {record} in time; check that the name servers of {} are up", zone.name),
        Answer::Refused(code) => {
            format!("the DNS answered {code} for {record}; check the name servers of {}, their delegation and DNSSEC", zone.name)
        }
    };
    Problem::conflict("zone_verification_failed", format!("The zone is not verified: {seen}. {}", instructions(zone)))
}

fn remembered_for(seconds: Option<u32>) -> String {
    seconds
        .filter(|&seconds| seconds > 0)
        .map_or_else(String::new, |seconds| format!("; if you have just set it, resolvers may go on saying so for up to {seconds} s"))
}

fn shown(values: &[&str]) -> String {
    let quoted = |value: &&str| {
        let cut: String = value.chars().take(SHOWN_CHARACTERS).collect();
        let dots = if cut.len() < value.len() { "…" } else { "" };
        format!("{cut:?}{dots}")
    };
    let list = values.iter().take(SHOWN_VALUES).map(quoted).collect::<Vec<_>>().join(", ");
    match values.len().saturating_sub(SHOWN_VALUES) {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_values_are_shown_escaped_and_in_bounds() {
        let many = ["0", "1", "2", "3", "4", "5", "6"];
        assert_eq!(shown(&many), r#""0", "1", "2", "3", "4" and 2 more"#);
        assert_eq!(shown(&["a\n\"b\"\u{1b}[0m"]), r#""a\n\"b\"\u{1b}[0m""#);
        assert_eq!(shown(&["é".repeat(300).as_str()]), format!("\"{}\"…", "é".repeat(100)));
    }
}
