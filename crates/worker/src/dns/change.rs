//! What is to be changed in a zone so that it holds what our rows say. Pure: from the zone as it was read to the changes.
//!
//! Challenges, the holder's proof of control, and the SOA; what customers keep beside them is [`super::records`]'.
//!
//! Ours is a record whose value stands in a row under its name, disabled or not, in one character-string or in several; everything else is
//! foreign and is kept byte for byte with its TTL. A foreign record that equals one of ours is thus taken for ours, and goes with it: its value is the
//! hash of a token and our account's key (RFC 8555 §8.4), so it can only be a copy of ours.

use std::collections::{BTreeMap, BTreeSet};

use zonecert_domain::zone_name::OWNERSHIP_LABEL;
use zonecert_store::challenge_records::ZoneValue;
use zonecert_store::hosted_zones::ZoneProof;

use super::nameservers::NameServers;
use super::txt;
use super::zone::{ChangeType, Record, RrSet, RrSetChange, Zone, fqdn};

/// Of a record set that holds only our values. Challenges live for seconds.
const TTL_SECONDS: u32 = 60;

/// Of a SOA that we have to write anew.
const SOA_TTL_SECONDS: u32 = 3600;

/// What our rows say about the names of a zone.
#[derive(Debug, Default)]
pub(super) struct Desired(BTreeMap<String, Values>);

#[derive(Debug, Default)]
struct Values {
    wanted: BTreeSet<String>,
    /// Rows that are to go, whether or not another row wants the same value.
    unwanted: BTreeSet<String>,
}

impl Desired {
    pub(super) fn new(rows: &[ZoneValue]) -> Self {
        let mut desired = Self::default();
        for row in rows {
            desired.add(&row.name, &row.value, row.wanted);
        }
        desired
    }

    /// The same, with the proofs of control that stand or have stood in the zone.
    pub(super) fn with_proofs(mut self, dns_zone: &str, proofs: &[ZoneProof]) -> Self {
        for proof in proofs {
            self.add(&format!("{OWNERSHIP_LABEL}.{dns_zone}"), &proof.value, proof.wanted);
        }
        self
    }

    fn add(&mut self, name: &str, value: &str, wanted: bool) {
        let values = self.0.entry(fqdn(name)).or_default();
        let which = if wanted { &mut values.wanted } else { &mut values.unwanted };
        which.insert(value.to_owned());
    }

    /// What differs between the zone and the rows: nothing, once it holds all that is wanted, nothing that is not, and one SOA record.
    pub(super) fn changes(&self, dns_zone: &str, zone: &Zone, nameservers: &NameServers) -> Vec<RrSetChange> {
        let names = self.0.iter().filter_map(|(name, values)| values.change(name, zone.find(name, "TXT")));
        names.chain(soa_change(dns_zone, zone.find(&fqdn(dns_zone), "SOA"), nameservers)).collect()
    }

    /// Whether a change is of what these rows say, and not of what customers keep.
    pub(super) fn is_about(&self, change: &RrSetChange) -> bool {
        change.record_type == "SOA" || change.record_type == "TXT" && self.0.contains_key(&change.name)
    }

    /// Records of `before`, at names of ours but not ours, that `after` no longer has: somebody else has changed them at the same moment.
    pub(super) fn lost_foreign(&self, before: &Zone, after: &Zone) -> Vec<String> {
        let lost = |(name, values): (&String, &Values)| {
            let kept = values.foreign(before.find(name, "TXT")).is_subset(&values.foreign(after.find(name, "TXT")));
            (!kept).then(|| name.clone())
        };
        self.0.iter().filter_map(lost).collect()
    }
}

impl Values {
    /// The value in our rows that a record shows.
    fn ours(&self, record: &Record) -> Option<&str> {
        let shown = txt::value(&record.content)?;
        self.wanted.iter().chain(&self.unwanted).map(String::as_str).find(|value| value.as_bytes() == shown)
    }

    fn foreign<'a>(&self, rrset: Option<&'a RrSet>) -> BTreeSet<&'a Record> {
        rrset.iter().flat_map(|rrset| &rrset.records).filter(|record| self.ours(record).is_none()).collect()
    }

    fn change(&self, name: &str, rrset: Option<&RrSet>) -> Option<RrSetChange> {
        let present = rrset.map_or(&[][..], |rrset| &rrset.records);
        let ours_now: Vec<&Record> = present.iter().filter(|record| self.ours(record).is_some()).collect();
        let ours: Vec<Record> = self.wanted.iter().map(|value| self.shown(value, &ours_now)).collect();
        if ours_now.len() == ours.len() && ours.iter().all(|record| ours_now.contains(&record)) {
            return None;
        }
        let mut records: Vec<Record> = Vec::with_capacity(present.len() + ours.len());
        for record in present.iter().filter(|record| self.ours(record).is_none()) {
            // PowerDNS refuses a set that holds a content twice, which parallel writers can leave behind. The one that is answered stays.
            match records.iter_mut().find(|kept| kept.content == record.content) {
                Some(kept) => kept.disabled &= record.disabled,
                None => records.push(record.clone()),
            }
        }
        let ttl = rrset.filter(|_| !records.is_empty()).map_or(TTL_SECONDS, |rrset| rrset.ttl);
        records.extend(ours);
        // Without a record left PowerDNS drops the comments too, unless they come with the change.
        let comments = rrset.map(|rrset| rrset.comments.clone()).filter(|comments| records.is_empty() && !comments.is_empty());
        let changetype = if records.is_empty() && comments.is_none() { ChangeType::Delete } else { ChangeType::Replace };
        Some(RrSetChange { name: name.to_owned(), record_type: "TXT".to_owned(), changetype, ttl, records, comments })
    }

    /// The record that shows a wanted value: the one that does so now, else a new one.
    fn shown(&self, value: &str, ours_now: &[&Record]) -> Record {
        let now = ours_now.iter().find(|record| !record.disabled && self.ours(record) == Some(value));
        now.map_or_else(|| Record { content: txt::quote(value), disabled: false }, |record| (*record).clone())
    }
}

/// A zone has one SOA record (RFC 1035 §5.2). Of several, which parallel writers leave behind, the one with the highest serial stays; where
/// there is none, the zone is not answered at all, and it gets one like those of the zones that we make.
fn soa_change(dns_zone: &str, rrset: Option<&RrSet>, nameservers: &NameServers) -> Option<RrSetChange> {
    let answered: Vec<&Record> = rrset.iter().flat_map(|rrset| &rrset.records).filter(|record| !record.disabled).collect();
    if answered.len() == 1 {
        return None;
    }
    let latest = answered.iter().max_by_key(|record| serial(&record.content));
    let content = latest.map_or_else(|| nameservers.soa(dns_zone), |record| record.content.clone());
    let mut records = vec![Record { content, disabled: false }];
    records.extend(rrset.iter().flat_map(|rrset| &rrset.records).filter(|record| record.disabled).cloned());
    let ttl = rrset.filter(|rrset| rrset.ttl > 0).map_or(SOA_TTL_SECONDS, |rrset| rrset.ttl);
    Some(RrSetChange { name: fqdn(dns_zone), record_type: "SOA".to_owned(), changetype: ChangeType::Replace, ttl, records, comments: None })
}

fn serial(soa: &str) -> u32 {
    soa.split_ascii_whitespace().nth(2).and_then(|serial| serial.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
