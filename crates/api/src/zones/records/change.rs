//! What every change of records has in common: the rules about a zone as a whole, the account of what was done, and the projection.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use zonecert_domain::id::{RecordSetId, ZoneId};
use zonecert_domain::records::{MAX_RECORD_SETS, RecordError, RecordSet, stand_together};
use zonecert_store::events::NewEvent;
use zonecert_store::zone_projections::request_projection;
use zonecert_store::zone_records::{self, KeptRecordSet};
use zonecert_store::zones::{Zone, ZoneStatus};
use zonecert_store::{Connection, StoreError, events};

use super::{get_hosted_zone, problem};
use crate::audit;
use crate::auth::caller::Caller;
use crate::problem::Problem;

/// Of the record sets that have changed, so many are named in events and in the audit log.
const NAMED: usize = 20;

/// Name and type.
type Key<'a> = (&'a str, &'a str);

/// What has become of a zone's records.
pub(super) struct Outcome {
    /// As they are kept now, by name and type.
    pub(super) set: Vec<KeptRecordSet>,
    /// Those that were so already.
    pub(super) unchanged: Vec<KeptRecordSet>,
    /// As they were.
    pub(super) deleted: Vec<KeptRecordSet>,
}

/// The zone, if its records can be changed.
pub(super) async fn get_zone(conn: &mut Connection, caller: &Caller, id: ZoneId) -> Result<Zone, Problem> {
    let zone = get_hosted_zone(conn, caller.account, id).await?;
    if zone.status == ZoneStatus::Verified {
        return Ok(zone);
    }
    let detail = format!(
        "Control of the zone {} is not proven; set its TXT record and POST /api/v1/zones/{}/verify before you change its records",
        zone.name, zone.id
    );
    Err(Problem::conflict("zone_not_verified", detail))
}

/// Sets record sets; with `replace`, deletes all others. `pointer` says where in the request they are named. In a transaction to write.
pub(super) async fn set(
    conn: &mut Connection,
    caller: &Caller,
    zone: &Zone,
    wanted: &[RecordSet],
    replace: bool,
    pointer: &str,
) -> Result<Outcome, Problem> {
    let account = caller.account;
    let present = zone_records::list_all_record_sets(conn, account, zone.id).await?;
    let by_key: HashMap<Key<'_>, &KeptRecordSet> = present.iter().map(|kept| (key_of(kept), kept)).collect();
    let wanted_keys: HashSet<Key<'_>> = wanted.iter().map(wanted_key).collect();
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    for set in wanted {
        match by_key.get(&wanted_key(set)) {
            Some(&kept) if kept.equals(set) => unchanged.push(kept.clone()),
            _ => changed.push(set),
        }
    }
    let deleted: Vec<&KeptRecordSet> =
        if replace { present.iter().filter(|kept| !wanted_keys.contains(&key_of(kept))).collect() } else { Vec::new() };
    let stays = || present.iter().filter(|kept| !(replace || wanted_keys.contains(&key_of(kept)))).map(key_of);
    let after: Vec<Key<'_>> = stays().chain(wanted_keys.iter().copied()).collect();
    if after.len() > MAX_RECORD_SETS && after.len() > present.len() {
        return Err(too_many(zone, after.len()));
    }
    check_aliases(&after, &changed).map_err(|error| problem(&error, pointer))?;

    let changed: Vec<RecordSet> = changed.into_iter().cloned().collect();
    let mut outcome = Outcome { set: Vec::new(), unchanged, deleted: deleted.into_iter().cloned().collect() };
    if !changed.is_empty() {
        outcome.set = zone_records::set_record_sets(conn, account, zone.id, &changed).await?;
        outcome.set.sort_by(|one, other| key_of(one).cmp(&key_of(other)));
    }
    delete_all(conn, caller, zone, &outcome.deleted).await?;
    record(conn, caller, zone, &outcome).await?;
    Ok(outcome)
}

/// Deletes a record set. In a transaction to write.
pub(super) async fn delete(conn: &mut Connection, caller: &Caller, zone: &Zone, kept: KeptRecordSet) -> Result<(), Problem> {
    let outcome = Outcome { set: Vec::new(), unchanged: Vec::new(), deleted: vec![kept] };
    delete_all(conn, caller, zone, &outcome.deleted).await?;
    record(conn, caller, zone, &outcome).await?;
    Ok(())
}

fn key_of(kept: &KeptRecordSet) -> Key<'_> {
    (&kept.name, &kept.record_type)
}

fn wanted_key(set: &RecordSet) -> Key<'_> {
    (set.name().as_str(), set.record_type().as_str())
}

fn too_many(zone: &Zone, count: usize) -> Problem {
    let detail = format!(
        "The zone {} would have {count} record sets, and holds at most {MAX_RECORD_SETS}; delete some, or put records of one name and type into one set",
        zone.name
    );
    Problem::conflict("record_limit_reached", detail)
}

/// Looks at the names that change: what stood together before us is none of our business.
fn check_aliases(after: &[Key<'_>], changed: &[&RecordSet]) -> Result<(), RecordError> {
    let mut types: HashMap<&str, Vec<&str>> = HashMap::new();
    for (name, record_type) in after {
        types.entry(name).or_default().push(record_type);
    }
    let together = |set: &&&RecordSet| !stand_together(types.get(set.name().as_str()).into_iter().flatten().copied());
    changed.iter().find(together).map_or(Ok(()), |set| Err(RecordError::CnameNotAlone { name: set.name().to_string() }))
}

async fn delete_all(conn: &mut Connection, caller: &Caller, zone: &Zone, sets: &[KeptRecordSet]) -> Result<(), StoreError> {
    if sets.is_empty() {
        return Ok(());
    }
    let ids: Vec<RecordSetId> = sets.iter().map(KeptRecordSet::id).collect();
    zone_records::delete_record_sets(conn, caller.account, zone.id, &ids).await
}

/// Says what was done, if anything was, and has our name servers show it.
async fn record(conn: &mut Connection, caller: &Caller, zone: &Zone, outcome: &Outcome) -> Result<(), StoreError> {
    let (set, deleted) = (outcome.set.len(), outcome.deleted.len());
    if set + deleted == 0 {
        return Ok(());
    }
    request_projection(conn, zone.name.as_str()).await?;
    let id = zone.id.to_string();
    let details = json!({
        "zone_id": id, "zone": zone.name, "set_count": set, "deleted_count": deleted,
        "set": named(&outcome.set), "deleted": named(&outcome.deleted),
    });
    audit::record(conn, caller, "records.changed", &id, details.clone()).await?;
    let message = match (outcome.set.as_slice(), outcome.deleted.as_slice()) {
        ([one], []) => format!("{} {} set in the zone {}", one.name, one.record_type, zone.name),
        ([], [one]) => format!("{} {} deleted from the zone {}", one.name, one.record_type, zone.name),
        _ => format!("Records of the zone {} changed: {set} record sets set, {deleted} deleted", zone.name),
    };
    events::record(conn, caller.account, NewEvent { details, ..NewEvent::info("records_changed", message) }).await?;
    Ok(())
}

fn named(sets: &[KeptRecordSet]) -> Value {
    sets.iter().take(NAMED).map(|set| format!("{} {}", set.name, set.record_type)).collect()
}
