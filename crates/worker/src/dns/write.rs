//! Changes of a zone, sent and read back until it holds what the rows say.
//!
//! Challenges and proofs go first, in one change with what customers have deleted; what they have set follows in another. So nobody's certificate waits for
//! a record that `PowerDNS` will not have. Such a record is found by halves, put down, and passed over until the zone's records change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use zonecert_store::StoreError;
use zonecert_store::events::{self, Level, NewEvent};
use zonecert_store::hosted_zones::{self, ZoneRecord};
use zonecert_store::zone_projections;

use super::change::Desired;
use super::failure::DnsFailure;
use super::holder::{Holder, LEASE, Refused, Rows, Trouble};
use super::records::{Key, Records};
use super::zone::{RrSetChange, Zone};

/// How often a change is written that is not there when the zone is read back.
const WRITES: usize = 4;

/// Of one change, so that `PowerDNS` is done with it in time and takes its size.
const MOST_RECORD_SETS: usize = 100;
const MOST_OCTETS: usize = 256 * 1024;

/// What `PowerDNS` would not have; all else is as it should be.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Of ours.
    pub(super) refused: Option<Refused>,
    /// Of customers', and why.
    pub(super) refused_records: BTreeMap<Key, String>,
}

impl Written {
    /// For whoever asks how the zone is: how many record sets are missing, and why the first is.
    pub(super) fn remark(&self, records: &Records<'_>) -> Option<String> {
        let mut missing: BTreeMap<&Key, &str> = records.settled().collect();
        missing.extend(self.refused_records.iter().map(|(key, reason)| (key, reason.as_str())));
        let ((name, record_type), reason) = missing.first_key_value()?;
        let sets = if missing.len() == 1 { "1 record set was".to_owned() } else { format!("{} record sets were", missing.len()) };
        Some(format!("{sets} refused by our DNS server; {} {record_type}: {reason}", name.trim_end_matches('.')))
    }

    fn add(&mut self, refusals: Vec<(&RrSetChange, DnsFailure)>, desired: &Desired) {
        for (change, failure) in refusals {
            if !desired.is_about(change) {
                let reason = if let DnsFailure::Refused(reason) = failure { reason } else { failure.to_string() };
                self.refused_records.insert(key(change), reason);
            } else if let Some(refused) = &mut self.refused {
                refused.names.insert(change.name.clone());
            } else {
                self.refused = Some(Refused { names: BTreeSet::from([change.name.clone()]), failure });
            }
        }
    }

    fn is_open(&self, change: &RrSetChange, desired: &Desired) -> bool {
        if desired.is_about(change) {
            self.refused.as_ref().is_none_or(|refused| !refused.names.contains(&change.name))
        } else {
            !self.refused_records.contains_key(&key(change))
        }
    }
}

impl Holder<'_> {
    /// Writes until the zone, read back, holds what the rows say. Returns what `PowerDNS` would not have, and the zone as it was read last.
    pub(super) async fn write(&self, rows: &Rows, records: &Records<'_>, mut zone: Zone) -> Result<(Written, Zone), Trouble> {
        let dns_zone = &self.lease.dns_zone;
        let desired = Desired::new(&rows.values).with_proofs(dns_zone, &rows.proofs);
        let mut written = Written::default();
        for _ in 0..WRITES {
            let (first, then) = self.still_to_do(&desired, records, &zone, &written);
            if first.is_empty() && then.is_empty() {
                return Ok((written, zone));
            }
            tracing::debug!(dns_zone, ours = ?names(&first), customers = ?names(&then), "zone is changed");
            for changes in [&first, &then] {
                written.add(self.send(changes).await?, &desired);
            }
            let before = std::mem::replace(&mut zone, self.get_zone().await?);
            for name in desired.lost_foreign(&before, &zone) {
                tracing::warn!(dns_zone, name, "somebody else changed the records of this name at the same moment");
            }
        }
        let (first, then) = self.still_to_do(&desired, records, &zone, &written);
        let (ours, theirs): (Vec<_>, Vec<_>) = first.into_iter().chain(then).partition(|change| desired.is_about(change));
        if !ours.is_empty() {
            let names = names(&ours).join(", ");
            return Err(DnsFailure::Mismatch(format!("the records of {names} are not as written, {WRITES} times")).into());
        }
        let reason = || "the DNS server keeps it in another form than it was written in".to_owned();
        written.refused_records.extend(theirs.iter().map(|change| (key(change), reason())));
        Ok((written, zone))
    }

    /// What is sent first, and what after it.
    fn still_to_do(
        &self,
        desired: &Desired,
        records: &Records<'_>,
        zone: &Zone,
        written: &Written,
    ) -> (Vec<RrSetChange>, Vec<RrSetChange>) {
        // Removals come first within the change as well: what they make room for may follow in the same one.
        let mut first = records.removals(zone);
        first.extend(desired.changes(&self.lease.dns_zone, zone, self.nameservers));
        let mut then = records.additions(zone);
        for changes in [&mut first, &mut then] {
            changes.retain(|change| written.is_open(change, desired));
        }
        (first, then)
    }

    /// As few changes as it takes. One that is refused is sent in halves, so that a record set that cannot be changed does not hold up the others. Returns
    /// those that cannot.
    async fn send<'c>(&self, changes: &'c [RrSetChange]) -> Result<Vec<(&'c RrSetChange, DnsFailure)>, Trouble> {
        let mut to_do = portions(changes);
        to_do.reverse();
        let mut refused = Vec::new();
        while let Some(portion) = to_do.pop() {
            let until = self.renew().await?;
            match (self.powerdns.change_zone(&self.lease.dns_zone, portion, until).await, portion) {
                (Ok(()), _) => {}
                (Err(failure @ DnsFailure::Refused(_)), [only]) => refused.push((only, failure)),
                (Err(DnsFailure::Refused(_)), _) => {
                    let (first, second) = portion.split_at(portion.len() / 2);
                    to_do.extend([second, first]);
                }
                (Err(other), _) => return Err(other.into()),
            }
        }
        Ok(refused)
    }

    /// Puts down, for their owner to see, which record sets `PowerDNS` would not have, and forgets of the others that it once would not.
    pub(super) async fn note_refusals(&self, records: &Records<'_>, written: &Written) -> Result<(), Trouble> {
        let noted: Vec<(&ZoneRecord, Option<&str>)> =
            records.shown(&written.refused_records).filter(|(row, refusal)| refusal.is_some() || row.refusal.is_some()).collect();
        let Some(account) = noted.first().map(|(row, _)| row.account) else { return Ok(()) };
        let lease = self.lease;
        let done = self.store.tenant_write(account, async |conn| {
            zone_projections::renew_lease(conn, lease, LEASE).await?;
            let accepted: Vec<_> = noted.iter().filter(|(_, refusal)| refusal.is_none()).map(|(row, _)| row.id).collect();
            hosted_zones::forget_refusals(conn, account, &accepted).await?;
            for (row, refusal) in &noted {
                let Some(refusal) = refusal else { continue };
                hosted_zones::record_refusal(conn, account, row.id, refusal).await?;
                // It has been said once.
                if row.refusal.as_deref() != Some(*refusal) {
                    events::record(conn, account, refused(&lease.dns_zone, row, refusal)).await?;
                }
            }
            Ok::<_, StoreError>(())
        });
        match done.await {
            // The account was deleted meanwhile: nobody is left to be told.
            Err(StoreError::NotFound) => Ok(()),
            done => Ok(done?),
        }
    }
}

fn refused(dns_zone: &str, row: &ZoneRecord, reason: &str) -> NewEvent {
    let message = format!("{} {} is not served by our DNS server, which refused it: {reason}", row.name, row.record_type);
    let details = json!({ "zone": dns_zone, "name": row.name, "type": row.record_type, "reason": reason });
    NewEvent { level: Level::Warning, details, ..NewEvent::info("zone_record_refused", message) }
}

/// The changes in their order, in portions of a bounded size.
fn portions(changes: &[RrSetChange]) -> Vec<&[RrSetChange]> {
    let mut portions = Vec::new();
    let (mut begin, mut octets) = (0, 0);
    for (index, change) in changes.iter().enumerate() {
        let size: usize = change.records.iter().map(|record| record.content.len() + 64).sum();
        if index > begin && (index - begin >= MOST_RECORD_SETS || octets + size > MOST_OCTETS) {
            portions.push(&changes[begin..index]);
            (begin, octets) = (index, 0);
        }
        octets += size;
    }
    if begin < changes.len() {
        portions.push(&changes[begin..]);
    }
    portions
}

fn key(change: &RrSetChange) -> Key {
    (change.name.clone(), change.record_type.clone())
}

fn names(changes: &[RrSetChange]) -> Vec<&str> {
    changes.iter().map(|change| change.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::zone::{ChangeType, Record};
    use super::*;

    fn changes(octets: &[usize]) -> Vec<RrSetChange> {
        let change = |&octets: &usize| RrSetChange {
            name: "a.test.".to_owned(),
            record_type: "TXT".to_owned(),
            changetype: ChangeType::Replace,
            ttl: 60,
            records: vec![Record { content: "x".repeat(octets), disabled: false }],
            comments: None,
        };
        octets.iter().map(change).collect()
    }

    #[test]
    fn a_change_is_bounded_in_record_sets_and_octets_and_loses_nothing() {
        let lengths = |octets: &[usize]| portions(&changes(octets)).iter().map(|portion| portion.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&[]), Vec::<usize>::new());
        assert_eq!(lengths(&[1; 100]), [100]);
        assert_eq!(lengths(&[1; 250]), [100, 100, 50]);
        assert_eq!(lengths(&[MOST_OCTETS / 2; 5]), [1, 1, 1, 1, 1]);
        assert_eq!(lengths(&[MOST_OCTETS / 4; 5]), [3, 2]);
        assert_eq!(lengths(&[1, 2 * MOST_OCTETS, 1]), [1, 1, 1], "one that is too large goes alone");
    }
}
