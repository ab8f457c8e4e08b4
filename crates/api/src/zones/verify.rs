//! `POST /zones/{id}/verify`: looks for the TXT record that proves control.

use actix_web::{HttpResponse, web};
use serde_json::json;
use zonecert_domain::id::ZoneId;
use zonecert_domain::scope::Scope;
use zonecert_store::events::NewEvent;
use zonecert_store::zones::{self, Zone, ZoneStatus};
use zonecert_store::{Connection, StoreError, events};

use super::view::{ZoneView, instructions, record_name};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::problem::Problem;
use crate::request::Id;
use crate::resolver::{self, TxtAnswer};

/// Of what stands at the name, so much is repeated in a problem.
const SHOWN_VALUES: usize = 5;
const SHOWN_CHARACTERS: usize = 100;

pub(super) async fn verify(app: web::Data<App>, caller: Caller, id: Id<ZoneId>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::ZonesWrite)?;
    let id = id.read()?;
    let account = caller.account;
    let zone = app.store.tenant::<_, StoreError, _>(account, async move |conn| zones::get_zone(conn, account, id).await).await?;
    if zone.status == ZoneStatus::Verified {
        return Ok(HttpResponse::Ok().json(ZoneView::new(&zone)));
    }
    // No connection is held meanwhile.
    let answer = resolver::look_up_txt(&app.resolver, &record_name(&zone.name)).await;
    if proves(&answer, &zone.verification_value) {
        let zone = app.store.tenant_write(account, async move |conn| accept(conn, &caller, id).await).await?;
        return Ok(HttpResponse::Ok().json(ZoneView::new(&zone)));
    }
    let zone = app.store.tenant_write::<_, StoreError, _>(account, async move |conn| zones::mark_checked(conn, account, id).await).await?;
    Err(refusal(&zone, &answer))
}

/// Some providers keep the quotes that a person has typed around a value.
fn proves(answer: &TxtAnswer, wanted: &str) -> bool {
    matches!(answer, TxtAnswer::Values(values) if values.iter().any(|value| value.trim().trim_matches('"').trim() == wanted))
}

/// The proof was seen. Somebody else may have deleted or verified the zone since it was read.
async fn accept(conn: &mut Connection, caller: &Caller, id: ZoneId) -> Result<Zone, Problem> {
    let account = caller.account;
    let zone = zones::get_zone(conn, account, id).await?;
    if zone.status == ZoneStatus::Verified {
        return Ok(zone);
    }
    let zone = zones::mark_verified(conn, account, id).await.map_err(|error| {
        if error.is_constraint(zones::VERIFIED_NAME_KEY) {
            let detail = format!("Another account holds the zone {}; have it deleted there first, or write to our support", zone.name);
            return Problem::conflict("zone_held_by_another_account", detail);
        }
        error.into()
    })?;
    let (name, id) = (&zone.name, id.to_string());
    audit::record(conn, caller, "zone.verified", &id, json!({"name": name})).await?;
    let event =
        NewEvent { details: json!({"zone_id": id, "zone": name}), ..NewEvent::info("zone_verified", format!("Zone {name} verified")) };
    events::record(conn, account, event).await?;
    Ok(zone)
}

/// What was seen, where, and what to do.
fn refusal(zone: &Zone, answer: &TxtAnswer) -> Problem {
    let record = record_name(&zone.name);
    let seen = match answer {
        TxtAnswer::Unreachable(error) => {
            tracing::error!(%error, "the DNS servers of the setting for resolvers cannot be reached");
            return Problem::unavailable("resolver_unavailable", "Our DNS resolver cannot be reached; try again in a few seconds", 5);
        }
        TxtAnswer::Values(values) => format!("{record} has other TXT values: {}", shown(values)),
        TxtAnswer::NoSuchName(remembered) => format!("{record} does not exist (NXDOMAIN){}", remembered_for(*remembered)),
        TxtAnswer::NoTxt(remembered) => format!("{record} exists but has no TXT record{}", remembered_for(*remembered)),
        TxtAnswer::TimedOut => format!("no DNS server answered for {record} in time; check that the name servers of {} are up", zone.name),
        TxtAnswer::Refused(code) => {
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

fn shown(values: &[String]) -> String {
    let quoted = |value: &String| {
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

    fn values(list: &[&str]) -> TxtAnswer {
        TxtAnswer::Values(list.iter().map(|&value| value.to_owned()).collect())
    }

    #[test]
    fn the_value_proves_alone_or_beside_others_and_in_quotes() {
        for seen in [&["v=1"][..], &["spf", "v=1"], &["\"v=1\""], &[" v=1 "]] {
            assert!(proves(&values(seen), "v=1"), "{seen:?}");
        }
        for seen in [&["v=2"][..], &["v=11"], &["x v=1"], &["V=1"], &[""]] {
            assert!(!proves(&values(seen), "v=1"), "{seen:?}");
        }
        for answer in [TxtAnswer::NoSuchName(None), TxtAnswer::NoTxt(None), TxtAnswer::TimedOut] {
            assert!(!proves(&answer, "v=1"), "{answer:?}");
        }
    }

    #[test]
    fn foreign_values_are_shown_escaped_and_in_bounds() {
        let many: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        assert_eq!(shown(&many), r#""0", "1", "2", "3", "4" and 2 more"#);
        assert_eq!(shown(&["a\n\"b\"\u{1b}[0m".to_owned()]), r#""a\n\"b\"\u{1b}[0m""#);
        assert_eq!(shown(&["é".repeat(300)]), format!("\"{}\"…", "é".repeat(100)));
    }
}
