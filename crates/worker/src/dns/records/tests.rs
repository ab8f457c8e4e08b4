//! From rows and zones as `PowerDNS` shows them to what is written, removed and read in.

use zonecert_domain::id::AccountId;

use super::*;

const ZONE: &str = "a.test";

fn row(name: &str, record_type: &str, contents: &[&str]) -> ZoneRecord {
    ZoneRecord {
        account: AccountId::new(),
        id: Uuid::now_v7(),
        name: name.to_owned(),
        record_type: record_type.to_owned(),
        ttl_seconds: 300,
        contents: contents.iter().map(|&content| content.to_owned()).collect(),
        adopted: false,
        deleted: false,
        held: true,
        refusal: None,
        settled: false,
    }
}

fn rrset(name: &str, record_type: &str, contents: &[&str]) -> RrSet {
    let records = contents.iter().map(|&content| Record { content: content.to_owned(), disabled: false }).collect();
    RrSet { name: name.to_owned(), record_type: record_type.to_owned(), ttl: 300, records, comments: Vec::new() }
}

fn zone(rrsets: Vec<RrSet>) -> Zone {
    Zone { account: String::new(), rrsets }
}

/// Name and type of each change, removals with a minus.
fn changes(rows: &[ZoneRecord], zone: &Zone) -> Vec<String> {
    let records = Records::new(ZONE, rows);
    let all = records.removals(zone).into_iter().chain(records.additions(zone));
    all.map(|change| format!("{}{} {}", if change.changetype == ChangeType::Delete { "-" } else { "" }, change.name, change.record_type))
        .collect()
}

fn gone(rows: &[ZoneRecord]) -> Vec<Uuid> {
    Records::new(ZONE, rows).gone(&BTreeMap::new())
}

#[test]
fn what_a_customer_has_set_is_written_as_a_whole_until_it_stands_there() {
    let rows = [row("www.a.test", "A", &["192.0.2.2", "192.0.2.1"])];
    for different in [
        zone(vec![]),
        zone(vec![rrset("www.a.test.", "A", &["192.0.2.1"])]),
        zone(vec![rrset("www.a.test.", "A", &["192.0.2.1", "192.0.2.2", "192.0.2.3"])]),
        zone(vec![RrSet { ttl: 60, ..rrset("www.a.test.", "A", &["192.0.2.1", "192.0.2.2"]) }]),
    ] {
        assert_eq!(changes(&rows, &different), ["www.a.test. A"], "{different:?}");
    }
    assert_eq!(changes(&rows, &zone(vec![rrset("WWW.a.test.", "A", &["192.0.2.1", "192.0.2.2"])])), Vec::<String>::new());
    assert_eq!(gone(&rows), Vec::<Uuid>::new());
}

#[test]
fn a_record_that_is_switched_off_is_not_there() {
    let mut off = rrset("www.a.test.", "A", &["192.0.2.1"]);
    off.records[0].disabled = true;
    assert_eq!(changes(&[row("www.a.test", "A", &["192.0.2.1"])], &zone(vec![off.clone()])), ["www.a.test. A"]);
    assert_eq!(Records::new(ZONE, &[]).foreign(ZONE, &zone(vec![off])), (Vec::new(), 0));
}

#[test]
fn what_a_customer_has_deleted_is_removed_first_and_its_row_goes_then() {
    let rows = [
        row("www.a.test", "A", &["192.0.2.1"]),
        ZoneRecord { deleted: true, ..row("www.a.test", "CNAME", &["b.test."]) },
        ZoneRecord { deleted: true, adopted: true, ..row("old.a.test", "MX", &["10 b.test."]) },
    ];
    let there = zone(vec![rrset("www.a.test.", "CNAME", &["b.test."]), rrset("old.a.test.", "MX", &["10 b.test."])]);
    assert_eq!(changes(&rows, &there), ["-old.a.test. MX", "-www.a.test. CNAME", "www.a.test. A"]);
    assert_eq!(gone(&rows), [rows[1].id, rows[2].id]);
    let refused = BTreeMap::from([(("www.a.test.".to_owned(), "CNAME".to_owned()), "no".to_owned())]);
    assert_eq!(Records::new(ZONE, &rows).gone(&refused), [rows[2].id]);
}

#[test]
fn what_was_there_before_is_left_alone_until_the_customer_changes_it() {
    let adopted = ZoneRecord { adopted: true, ..row("www.a.test", "A", &["192.0.2.1"]) };
    let differs = zone(vec![rrset("www.a.test.", "A", &["192.0.2.9"])]);
    assert_eq!(changes(std::slice::from_ref(&adopted), &differs), Vec::<String>::new());
    assert_eq!(changes(&[ZoneRecord { adopted: false, ..adopted }], &differs), ["www.a.test. A"]);
}

#[test]
fn a_zone_that_passes_on_leaves_behind_what_was_there_before_and_what_its_new_holder_has() {
    let former = |row: ZoneRecord| ZoneRecord { held: false, ..row };
    let rows = [
        former(row("set.a.test", "A", &["192.0.2.1"])),
        former(ZoneRecord { adopted: true, ..row("before.a.test", "A", &["192.0.2.2"]) }),
        former(row("both.a.test", "A", &["192.0.2.3"])),
        row("both.a.test", "A", &["192.0.2.4"]),
    ];
    let there = zone(["set", "before", "both"].map(|label| rrset(&format!("{label}.a.test."), "A", &["192.0.2.4"])).to_vec());
    assert_eq!(changes(&rows, &there), ["-set.a.test. A"]);
    assert_eq!(gone(&rows), [rows[0].id, rows[1].id, rows[2].id]);
}

#[test]
fn what_is_ours_is_touched_by_no_row_and_read_in_by_nobody() {
    let ours = [
        ("a.test", "SOA", "ns. host. 1 2 3 4 5"),
        ("a.test", "NS", "ns.elsewhere.test."),
        ("_zonecert.a.test", "TXT", "\"v\""),
        ("_acme-challenge.a.test", "TXT", "\"v\""),
        ("_acme-challenge.www.a.test", "TXT", "\"v\""),
    ];
    let rows: Vec<ZoneRecord> = ours.iter().map(|(name, record_type, content)| row(name, record_type, &[content])).collect();
    let there = zone(ours.iter().map(|(name, record_type, _)| rrset(&fqdn(name), record_type, &["another"])).collect());
    assert_eq!(changes(&rows, &there), Vec::<String>::new());
    let deleted: Vec<ZoneRecord> = rows.into_iter().map(|row| ZoneRecord { deleted: true, ..row }).collect();
    assert_eq!(changes(&deleted, &there), Vec::<String>::new());
    assert_eq!(Records::new(ZONE, &[]).foreign(ZONE, &there), (Vec::new(), 0));
}

#[test]
fn what_nobody_has_set_is_read_in_by_name_and_type_where_a_row_can_hold_it() {
    let many: Vec<String> = (0..101).map(|number| format!("192.0.2.{number}")).collect();
    let there = zone(vec![
        rrset("www.a.test.", "TXT", &["\"two\" \"strings\""]),
        rrset("WWW.a.test.", "A", &["192.0.2.1"]),
        RrSet { ttl: 0, ..rrset("a.test.", "MX", &["10 mx.a.test."]) },
        rrset("sub.a.test.", "NS", &["ns.elsewhere.test."]),
        rrset("_acme-challenge.www.a.test.", "CNAME", &["elsewhere.test."]),
        rrset("known.a.test.", "A", &["192.0.2.9"]),
        rrset("commented.a.test.", "A", &[]),
        rrset("many.a.test.", "A", &many.iter().map(String::as_str).collect::<Vec<_>>()),
    ]);
    let rows = [row("known.a.test", "A", &["192.0.2.1"])];
    let (found, unfit) = Records::new(ZONE, &rows).foreign(ZONE, &there);
    let found: Vec<_> = found.iter().map(|record| (record.name.as_str(), record.record_type.as_str(), record.ttl_seconds)).collect();
    let expected = [
        ("_acme-challenge.www.a.test", "CNAME", 300),
        ("a.test", "MX", 1),
        ("sub.a.test", "NS", 300),
        ("www.a.test", "A", 300),
        ("www.a.test", "TXT", 300),
    ];
    assert_eq!((found, unfit), (expected.to_vec(), 1));
}

#[test]
fn what_powerdns_would_not_have_is_passed_over_while_it_is_settled() {
    let refused = ZoneRecord { refusal: Some("Conflicts with pre-existing RRset".to_owned()), ..row("www.a.test", "A", &["192.0.2.1"]) };
    let settled = ZoneRecord { settled: true, ..refused.clone() };
    assert_eq!(changes(std::slice::from_ref(&refused), &zone(vec![])), ["www.a.test. A"]);
    assert_eq!(changes(std::slice::from_ref(&settled), &zone(vec![])), Vec::<String>::new());
    let rows = [refused, settled];
    let records = Records::new(ZONE, &rows);
    let none = BTreeMap::new();
    assert_eq!(records.shown(&none).map(|(row, refusal)| (row.id, refusal)).collect::<Vec<_>>(), [(rows[0].id, None)]);
}
