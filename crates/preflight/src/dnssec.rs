//! Whether DNSSEC gets in the way: a CA validates (Baseline Requirements §3.2.2.4), so that a broken chain of trust is as good as no zone.

use zonecert_resolver::{Answer, Data, KeyId, Record, RecordType};

use crate::Subject;
use crate::finding::{Finding, FindingCode};
use crate::seen::{Question, Seen};

pub(crate) fn questions(subject: &Subject<'_>) -> Vec<Question> {
    [RecordType::Ds, RecordType::Dnskey, RecordType::Soa].map(|kind| (subject.zone.to_string(), kind)).into()
}

pub(crate) fn judge(subject: &Subject<'_>, seen: &Seen) -> Vec<Finding> {
    let zone = subject.zone.as_str();
    let ds = seen.at(zone, RecordType::Ds).records();
    if ds.is_empty() {
        return Vec::new();
    }
    let finding = |code, kind, detail: String, remedy: String| {
        vec![Finding::new(code, zone, detail, remedy).because([seen.sight(zone, RecordType::Ds), seen.sight(zone, kind)])]
    };
    let records = if ds.len() == 1 { "a DS record".to_owned() } else { format!("{} DS records", ds.len()) };
    let remedy = format!("Have the registrar of {zone} remove its DS records, or sign the zone with the key that they name.");
    let (keys, soa) = (seen.at(zone, RecordType::Dnskey), seen.at(zone, RecordType::Soa));
    for (kind, answer) in [(RecordType::Soa, soa), (RecordType::Dnskey, keys)] {
        if let Answer::Refused(word) = answer {
            let detail = format!("the zone above has {records} for {zone}, and the resolver answers {word} for the zone");
            return finding(FindingCode::DnssecBroken, kind, detail, remedy);
        }
    }
    if let Answer::NoRecords(_) | Answer::NoSuchName(_) = keys {
        let detail = format!("the zone above has {records} for {zone}, which has no DNSKEY");
        return finding(FindingCode::DnssecUnsigned, RecordType::Dnskey, detail, remedy);
    }
    let (named, there) = (ids(ds), ids(keys.records()));
    if !named.is_empty() && !there.is_empty() && named.iter().all(|id| !there.contains(id)) {
        let detail = format!("the zone above has {records} for {zone}, none of which names a key of the zone");
        return finding(FindingCode::DnssecKeyMismatch, RecordType::Dnskey, detail, remedy);
    }
    Vec::new()
}

fn ids(records: &[Record]) -> Vec<KeyId> {
    let id = |record: &Record| match record.data {
        Data::Key(id) => Some(id),
        _ => None,
    };
    records.iter().filter_map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{World, keys, other};
    use zonecert_domain::zone_mode::ZoneMode;

    fn codes(ds: Answer, key: Answer, soa: Answer) -> Vec<FindingCode> {
        let zone = "example.test";
        let seen = Seen::of([(zone, RecordType::Ds, ds), (zone, RecordType::Dnskey, key), (zone, RecordType::Soa, soa)]);
        let world = World::new(ZoneMode::Hosted, &[zone]);
        judge(&world.subject(), &seen).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_promise_of_signatures_has_to_be_kept() {
        let (ds, key, soa) = (keys(&[12345]), keys(&[12345, 1]), other("ns1 hostmaster 1 2 3 4 5"));
        assert_eq!(codes(Answer::NoRecords(None), Answer::NoRecords(None), soa.clone()), [], "unsigned, and nobody says otherwise");
        assert_eq!(codes(ds.clone(), key.clone(), soa.clone()), []);
        assert_eq!(codes(keys(&[7, 12345]), key.clone(), soa.clone()), [], "while keys are exchanged");
        assert_eq!(codes(ds.clone(), Answer::NoRecords(None), soa.clone()), [FindingCode::DnssecUnsigned]);
        assert_eq!(codes(ds.clone(), keys(&[1]), soa.clone()), [FindingCode::DnssecKeyMismatch]);
        assert_eq!(codes(ds.clone(), key, Answer::Refused("SERVFAIL".to_owned())), [FindingCode::DnssecBroken]);
        assert_eq!(codes(ds, Answer::Refused("SERVFAIL".to_owned()), soa), [FindingCode::DnssecBroken]);
    }
}
