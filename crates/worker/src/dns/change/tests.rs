//! From zones as `PowerDNS` shows them to the changes that are sent.

use proptest::prelude::*;
use uuid::Uuid;

use super::super::zone::Comment;
use super::*;

const NAME: &str = "_acme-challenge.a.test.";
const SOA: &str = "ns1.b.test. hostmaster.a.test. 7 10800 3600 604800 60";

fn servers() -> NameServers {
    NameServers::parse(["ns1.b.test"]).unwrap()
}

fn row(value: &str, wanted: bool) -> ZoneValue {
    ZoneValue { id: Uuid::now_v7(), name: "_acme-challenge.a.test".to_owned(), value: value.to_owned(), wanted }
}

fn record(content: &str) -> Record {
    Record { content: content.to_owned(), disabled: false }
}

fn rrset(name: &str, record_type: &str, contents: &[&str]) -> RrSet {
    let records = contents.iter().map(|content| record(content)).collect();
    RrSet { name: name.to_owned(), record_type: record_type.to_owned(), ttl: 86_400, records, comments: Vec::new() }
}

/// A zone in order, with these TXT records.
fn zone(contents: &[&str]) -> Zone {
    Zone { account: String::new(), rrsets: vec![rrset("a.test.", "SOA", &[SOA]), rrset(NAME, "TXT", contents)] }
}

fn changes(zone: &Zone, rows: &[ZoneValue]) -> Vec<RrSetChange> {
    Desired::new(rows).changes("a.test", zone, &servers())
}

fn change(zone: &Zone, rows: &[ZoneValue]) -> RrSetChange {
    let mut changes = changes(zone, rows);
    assert_eq!(changes.len(), 1, "{changes:?}");
    changes.remove(0)
}

fn contents(change: &RrSetChange) -> Vec<&str> {
    change.records.iter().map(|record| record.content.as_str()).collect()
}

#[test]
fn a_value_is_added_beside_foreign_ones_and_their_ttl_stays() {
    let added = change(&zone(&[r#""foreign" "in two""#]), &[row("ours", true)]);
    assert_eq!(contents(&added), [r#""foreign" "in two""#, r#""ours""#]);
    assert_eq!((added.ttl, added.changetype), (86_400, ChangeType::Replace));
}

#[test]
fn a_value_of_ours_alone_has_our_ttl() {
    let mut empty = zone(&[]);
    empty.rrsets.pop();
    assert_eq!(change(&empty, &[row("ours", true)]).ttl, 60);
}

#[test]
fn the_last_value_goes_with_its_record_set() {
    let removed = change(&zone(&[r#""ours""#]), &[row("ours", false)]);
    assert_eq!((removed.changetype, removed.records.len()), (ChangeType::Delete, 0));
}

#[test]
fn a_foreign_value_is_never_removed() {
    let removed = change(&zone(&[r#""ours""#, r#""foreign""#]), &[row("ours", false)]);
    assert_eq!(contents(&removed), [r#""foreign""#]);
    assert!(changes(&zone(&[r#""foreign""#]), &[row("ours", false)]).is_empty());
}

#[test]
fn comments_outlive_the_last_record() {
    let mut noted = zone(&[r#""ours""#]);
    let comment = Comment { content: "do not touch".to_owned(), account: "them".to_owned(), modified_at: Some(5) };
    noted.rrsets[1].comments.push(comment.clone());
    let removed = change(&noted, &[row("ours", false)]);
    assert_eq!((removed.changetype, removed.comments), (ChangeType::Replace, Some(vec![comment])));
    assert_eq!(change(&noted, &[row("more", true), row("ours", true)]).comments, None, "they stay by themselves");
}

#[test]
fn disabled_records_are_kept_and_a_disabled_one_of_ours_is_enabled() {
    let mut set = zone(&[r#""off""#, r#""ours""#]);
    for record in &mut set.rrsets[1].records {
        record.disabled = true;
    }
    let enabled = change(&set, &[row("ours", true)]);
    assert_eq!(enabled.records, [Record { content: r#""off""#.to_owned(), disabled: true }, record(r#""ours""#)]);
}

#[test]
fn what_another_row_wants_stays() {
    assert!(changes(&zone(&[r#""ours""#]), &[row("ours", false), row("ours", true)]).is_empty());
}

#[test]
fn case_and_splitting_make_no_difference() {
    let mut set = zone(&[r#""ou" "rs""#]);
    set.rrsets[1].name = "_ACME-challenge.A.test.".to_owned();
    assert!(changes(&set, &[row("ours", true)]).is_empty());
    assert_eq!(change(&set, &[row("ours", false)]).changetype, ChangeType::Delete);
}

#[test]
fn doubled_records_become_one() {
    let doubled = change(&zone(&[r#""ours""#, r#""ours""#, r#""x""#, r#""x""#]), &[row("ours", true)]);
    assert_eq!(contents(&doubled), [r#""x""#, r#""ours""#]);
}

#[test]
fn of_several_soa_records_the_latest_stays() {
    let mut doubled = zone(&[]);
    let latest = SOA.replace(" 7 ", " 2026112110 ");
    doubled.rrsets[0] = rrset("a.test.", "SOA", &[SOA, &latest, &SOA.replace(" 7 ", " 9 ")]);
    let repaired = change(&doubled, &[]);
    assert_eq!((repaired.record_type.as_str(), contents(&repaired), repaired.ttl), ("SOA", vec![latest.as_str()], 86_400));
}

#[test]
fn a_lost_soa_record_is_written_anew() {
    let mut lost = zone(&[]);
    lost.rrsets.remove(0);
    assert_eq!(contents(&change(&lost, &[])), ["ns1.b.test. hostmaster.a.test. 0 10800 3600 604800 60"]);
}

#[test]
fn a_foreign_record_that_is_missing_afterwards_is_noticed() {
    let desired = Desired::new(&[row("ours", false)]);
    let before = zone(&[r#""ours""#, r#""foreign""#]);
    assert_eq!(desired.lost_foreign(&before, &zone(&[r#""foreign""#])), Vec::<String>::new());
    assert_eq!(desired.lost_foreign(&before, &zone(&[])), [NAME]);
}

/// Makes the change as `PowerDNS` does.
fn apply(zone: &mut Zone, changes: Vec<RrSetChange>) {
    for change in changes {
        zone.rrsets.retain(|rrset| rrset.name != change.name || rrset.record_type != change.record_type);
        if !change.records.is_empty() {
            let record_type = change.record_type.clone();
            zone.rrsets.push(RrSet { name: change.name, record_type, ttl: change.ttl, records: change.records, comments: Vec::new() });
        }
    }
}

proptest! {
    #[test]
    fn one_change_brings_the_zone_there_and_keeps_what_is_foreign(
        present in proptest::collection::vec(("[a-f]", any::<bool>()), 0..8),
        rows in proptest::collection::vec(("[a-f]", any::<bool>()), 0..8),
        soas in 0..3usize,
    ) {
        let mut now = zone(&[]);
        now.rrsets[0].records = vec![record(SOA); soas];
        now.rrsets[1].records = present.iter().map(|(value, disabled)| Record { content: txt::quote(value), disabled: *disabled }).collect();
        let rows: Vec<_> = rows.iter().map(|(value, wanted)| row(value, *wanted)).collect();
        let before = now.clone();

        apply(&mut now, changes(&before, &rows));

        prop_assert!(changes(&now, &rows).is_empty(), "{now:?}");
        let answered = |zone: &Zone, value: &str| {
            zone.find(NAME, "TXT").is_some_and(|set| set.records.contains(&record(&txt::quote(value))))
        };
        for value in ["a", "b", "c", "d", "e", "f"] {
            let named = rows.iter().filter(|row| row.value == value).map(|row| row.wanted).max();
            prop_assert_eq!(answered(&now, value), named.unwrap_or_else(|| answered(&before, value)), "{}", value);
        }
    }
}

#[test]
fn the_holders_proof_replaces_that_of_who_held_the_zone_before() {
    let mut before = zone(&[]);
    before.rrsets.push(rrset("_zonecert.a.test.", "TXT", &[r#""theirs""#, r#""foreign""#]));
    let proofs = [("theirs", false), ("ours", true)].map(|(value, wanted)| ZoneProof { value: value.to_owned(), wanted });
    let changes = Desired::new(&[]).with_proofs("a.test", &proofs).changes("a.test", &before, &servers());
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((changes[0].name.as_str(), contents(&changes[0])), ("_zonecert.a.test.", vec![r#""foreign""#, r#""ours""#]));
}
