//! What customers keep in a zone: which record sets are to be written or removed, and which of those found there are theirs to read in. Pure.
//!
//! A record set that a customer has set is replaced as a whole; one that they have deleted is removed as a whole; one that was there before us is left
//! alone. SOA, the zone's own NS, challenges and the proof of control are ours, whatever a row says.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use zonecert_domain::name::CHALLENGE_LABEL;
use zonecert_domain::records::MAX_CONTENTS;
use zonecert_domain::zone_name::OWNERSHIP_LABEL;
use zonecert_store::hosted_zones::{FoundRecord, ZoneRecord};

use super::zone::{ChangeType, Record, RrSet, RrSetChange, Zone, fqdn};

const LONGEST_TTL_SECONDS: u32 = 604_800;

/// Name, with its final dot, and type.
pub(super) type Key = (String, String);

/// What a row asks of `PowerDNS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The record set shall be as the row says.
    Show,
    /// Nothing.
    Leave,
    /// The record set shall go, and then the row.
    Remove,
    /// The record set stays as it is; the row goes.
    Forget,
}

/// What the rows say about a zone.
pub(super) struct Records<'a> {
    rows: Vec<(Key, Fate, &'a ZoneRecord)>,
}

impl<'a> Records<'a> {
    pub(super) fn new(dns_zone: &str, rows: &'a [ZoneRecord]) -> Self {
        let mut rows: Vec<_> = rows.iter().map(|row| ((fqdn(&row.name), row.record_type.clone()), fate(dns_zone, row), row)).collect();
        // What the zone passed on with is its new holder's, not the old one's to take away.
        let held: BTreeSet<Key> =
            rows.iter().filter(|(_, fate, row)| row.held && *fate != Fate::Remove).map(|(key, ..)| key.clone()).collect();
        for (key, fate, row) in &mut rows {
            if !row.held && held.contains(key) {
                *fate = Fate::Forget;
            }
        }
        Self { rows }
    }

    /// Record sets that shall go and are there.
    pub(super) fn removals(&self, zone: &Zone) -> Vec<RrSetChange> {
        let there = |(name, record_type): &Key| zone.find(name, record_type).is_some_and(|rrset| !rrset.records.is_empty());
        let removal = |key: &Key| RrSetChange {
            name: key.0.clone(),
            record_type: key.1.clone(),
            changetype: ChangeType::Delete,
            ttl: 0,
            records: Vec::new(),
            comments: None,
        };
        let keys: BTreeSet<&Key> = self.with(Fate::Remove).map(|(key, _)| key).filter(|key| there(key)).collect();
        keys.into_iter().map(removal).collect()
    }

    /// Record sets that shall be there and are not, or differ; not those that `PowerDNS` would not have as the zone is now.
    pub(super) fn additions(&self, zone: &Zone) -> Vec<RrSetChange> {
        let wanted = self.with(Fate::Show).filter(|(key, row)| !row.settled && !shows(zone.find(&key.0, &key.1), row));
        wanted
            .map(|(key, row)| {
                // PowerDNS refuses a set that holds a content twice.
                let contents: BTreeSet<&String> = row.contents.iter().collect();
                RrSetChange {
                    name: key.0.clone(),
                    record_type: key.1.clone(),
                    changetype: ChangeType::Replace,
                    ttl: row.ttl_seconds,
                    records: contents.into_iter().map(|content| Record { content: content.clone(), disabled: false }).collect(),
                    comments: None,
                }
            })
            .collect()
    }

    /// Rows that can go once the record sets of [`Self::removals`] are gone, those of `refused` excepted.
    pub(super) fn gone(&self, refused: &BTreeMap<Key, String>) -> Vec<Uuid> {
        let removed = self.with(Fate::Remove).filter(|(key, _)| !refused.contains_key(*key));
        removed.chain(self.with(Fate::Forget)).map(|(_, row)| row.id).collect()
    }

    /// Rows that were written, with what `PowerDNS` said of each that it would not have.
    pub(super) fn shown<'s>(&'s self, refused: &'s BTreeMap<Key, String>) -> impl Iterator<Item = (&'a ZoneRecord, Option<&'s str>)> {
        let written = self.with(Fate::Show).filter(|(_, row)| !row.settled);
        written.map(|(key, row)| (row, refused.get(key).map(String::as_str)))
    }

    /// Record sets that `PowerDNS` would not have as the zone is now, and why.
    pub(super) fn settled(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.with(Fate::Show).filter(|(_, row)| row.settled).map(|(key, row)| (key, row.refusal.as_deref().unwrap_or_default()))
    }

    /// Record sets of the zone that no row speaks of and that are not ours: what was there before. By name and type; and how many more there are that
    /// no row can hold.
    pub(super) fn foreign(&self, dns_zone: &str, zone: &Zone) -> (Vec<FoundRecord>, usize) {
        let known: BTreeSet<&Key> = self.rows.iter().filter(|(_, _, row)| row.held).map(|(key, ..)| key).collect();
        let (mut found, mut unfit) = (BTreeMap::new(), 0);
        for rrset in &zone.rrsets {
            let key = (fqdn(&rrset.name), rrset.record_type.clone());
            let contents: Vec<String> =
                rrset.records.iter().filter(|record| !record.disabled).map(|record| record.content.clone()).collect();
            if is_ours(dns_zone, &key) || known.contains(&key) || contents.is_empty() {
                continue;
            }
            if contents.len() > MAX_CONTENTS {
                unfit += 1;
                continue;
            }
            let record = FoundRecord {
                name: key.0.trim_end_matches('.').to_owned(),
                record_type: key.1.clone(),
                ttl_seconds: rrset.ttl.clamp(1, LONGEST_TTL_SECONDS),
                contents,
            };
            found.insert(key, record);
        }
        (found.into_values().collect(), unfit)
    }

    fn with(&self, wanted: Fate) -> impl Iterator<Item = (&Key, &'a ZoneRecord)> {
        self.rows.iter().filter(move |(_, fate, _)| *fate == wanted).map(|(key, _, row)| (key, *row))
    }
}

fn fate(dns_zone: &str, row: &ZoneRecord) -> Fate {
    let ours = is_ours(dns_zone, &(fqdn(&row.name), row.record_type.clone()));
    match (row.held && !row.deleted, row.deleted || !row.adopted) {
        (true, _) if row.adopted || ours => Fate::Leave,
        (true, _) => Fate::Show,
        (false, true) if !ours => Fate::Remove,
        (false, _) => Fate::Forget,
    }
}

/// SOA, the zone's own NS, challenges and the proof of control.
fn is_ours(dns_zone: &str, (name, record_type): &Key) -> bool {
    match record_type.as_str() {
        "SOA" => true,
        "NS" => *name == fqdn(dns_zone),
        "TXT" => name.split('.').next() == Some(CHALLENGE_LABEL) || *name == fqdn(&format!("{OWNERSHIP_LABEL}.{dns_zone}")),
        _ => false,
    }
}

fn shows(rrset: Option<&RrSet>, row: &ZoneRecord) -> bool {
    let Some(rrset) = rrset else { return false };
    let shown: BTreeSet<&str> = rrset.records.iter().filter(|record| !record.disabled).map(|record| record.content.as_str()).collect();
    let wanted: BTreeSet<&str> = row.contents.iter().map(String::as_str).collect();
    rrset.ttl == row.ttl_seconds && shown == wanted && rrset.records.len() == wanted.len()
}

#[cfg(test)]
mod tests;
