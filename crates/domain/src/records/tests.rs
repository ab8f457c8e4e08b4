//! What is taken in which form, and what is not; zone files whole, broken and hostile; and properties of whatever text comes in.

use proptest::prelude::*;

use super::*;
use crate::zone_name::ZoneName;

fn zone() -> ZoneName {
    ZoneName::from_stored("example.test").unwrap()
}

fn name(text: &str) -> RecordName {
    RecordName::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn code(record_type: RecordType, text: &str) -> &'static str {
    parse_content(record_type, text).expect_err(text).code()
}

#[test]
fn spellings_of_one_name_become_one_name() {
    for (text, expected) in [
        ("www.example.test", "www.example.test"),
        ("WWW.Example.TEST.", "www.example.test"),
        ("*.example.test.", "*.example.test"),
        ("_Sip._TCP.example.test", "_sip._tcp.example.test"),
        ("bücher.example.test", "xn--bcher-kva.example.test"),
        ("_dmarc.BÜCHER.example.test", "_dmarc.xn--bcher-kva.example.test"),
        ("例え。example。test。", "xn--r8jz45g.example.test"),
        ("XN--BCHER-KVA.example.test", "xn--bcher-kva.example.test"),
        ("-odd-.example.test", "-odd-.example.test"),
        ("test", "test"),
    ] {
        assert_eq!(name(text).as_str(), expected, "{text:?}");
    }
}

#[test]
fn what_is_no_name_is_refused_in_bounds() {
    let long_label = format!("{}.example.test", "a".repeat(64));
    let long_name = "a.".repeat(128);
    let endless = "a.".repeat(1_000_000);
    for text in [
        "",
        ".",
        "..",
        "a..example.test",
        ".example.test",
        "a b.test",
        "a\0.test",
        "a/b.test",
        "w*.test",
        "*",
        "a.*.test",
        "**.test",
        "a\\.b.test",
        "a\"b.test",
        "@",
        "xn--99999999.test",
        "xn--u-ccb.test",
        "zone\u{202e}.test",
        &long_label,
        &long_name,
        &endless,
    ] {
        let error = RecordName::parse(text).expect_err(text);
        assert_eq!(error.code(), "record_name_invalid", "{text:?}");
        assert!(error.detail().len() < 300, "{error}");
    }
    assert_eq!(name(&"a.".repeat(127)).as_str().len(), 253);
}

#[test]
fn names_that_are_ours_are_known_wherever_they_are() {
    for (text, reserved) in [
        ("_acme-challenge.example.test", true),
        ("_ACME-Challenge.a.b.example.test", true),
        ("_zonecert.example.test", true),
        // Another account's, or one's own, proof of a zone below: ours to look up, not to set.
        ("_zonecert.sub.example.test", false),
        ("x._acme-challenge.example.test", false),
        ("_acme-challenges.example.test", false),
        ("example.test", false),
    ] {
        assert_eq!(name(text).is_reserved_in(&zone()), reserved, "{text}");
    }
}

#[test]
fn a_place_is_checked_in_the_order_zone_reservation_apex() {
    let check = |text: &str, record_type| check_place(&zone(), &name(text), record_type).err().map(|error| error.code());
    for (text, record_type, expected) in [
        ("example.test", RecordType::A, None),
        ("*.example.test", RecordType::Cname, None),
        ("sub.example.test", RecordType::Ns, None),
        ("sub.example.test", RecordType::Ds, None),
        ("example.test", RecordType::Ns, Some("record_apex_ns")),
        ("example.test", RecordType::Cname, Some("record_apex_cname")),
        ("example.test", RecordType::Ds, Some("record_apex_ds")),
        ("myexample.test", RecordType::A, Some("record_not_under_zone")),
        ("test", RecordType::A, Some("record_not_under_zone")),
        ("_acme-challenge.other.test", RecordType::Txt, Some("record_not_under_zone")),
        ("_acme-challenge.www.example.test", RecordType::Cname, Some("record_reserved")),
        ("_zonecert.example.test", RecordType::Txt, Some("record_reserved")),
    ] {
        assert_eq!(check(text, record_type), expected, "{text} {record_type}");
    }
}

/// Type, what people write, and what is kept.
const CONTENTS: [(RecordType, &str, &str); 51] = [
    (RecordType::A, " 192.0.2.1 ", "192.0.2.1"),
    (RecordType::Aaaa, "2001:DB8:0:0::0:1", "2001:db8::1"),
    (RecordType::Aaaa, "::2", "::2"),
    (RecordType::Aaaa, "::ffff:192.0.2.1", ""),
    (RecordType::Cname, "WWW.Example.test", "www.example.test."),
    (RecordType::Cname, "_dmarc.bücher.example.", "_dmarc.xn--bcher-kva.example."),
    (RecordType::Ptr, "host.example.test.", "host.example.test."),
    (RecordType::Ns, "ns1.example.test", "ns1.example.test."),
    (RecordType::Ns, "test.", "test."),
    (RecordType::Mx, "10\tmail.example.test", "10 mail.example.test."),
    (RecordType::Mx, "0 .", "0 ."),
    (RecordType::Srv, "010 005 5060 sip.example.test", "10 5 5060 sip.example.test."),
    (RecordType::Srv, "0 0 0 .", "0 0 0 ."),
    (RecordType::Txt, "v=spf1 include:_spf.example.test -all", "\"v=spf1 include:_spf.example.test -all\""),
    (RecordType::Txt, "v=DKIM1; k=rsa; p=MIIB", "\"v=DKIM1; k=rsa; p=MIIB\""),
    (RecordType::Txt, "say \"hi\" \\ now", "\"say \\\"hi\\\" \\\\ now\""),
    (RecordType::Txt, "\"one\" \"two\"", "\"one\" \"two\""),
    (RecordType::Txt, "\"a\\\"b\\\\c\\; \\065\"", "\"a\\\"b\\\\c; A\""),
    (RecordType::Txt, "\"\"", "\"\""),
    (RecordType::Txt, "ü\t", "\"\\195\\188\""),
    (RecordType::Txt, "\"\\000\\255\"", "\"\\000\\255\""),
    (RecordType::Caa, "0 issue \"letsencrypt.org\"", "0 issue \"letsencrypt.org\""),
    (RecordType::Caa, "128 ISSUEWILD ;", ""),
    (RecordType::Caa, "128 ISSUEWILD \";\"", "128 issuewild \";\""),
    (RecordType::Caa, "0 iodef mailto:security@example.test", "0 iodef \"mailto:security@example.test\""),
    (
        RecordType::Naptr,
        "100 10 u E2U+sip \"!^.*$!sip:info@example.test!\" .",
        "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example.test!\" .",
    ),
    (RecordType::Naptr, "1 2 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.test", "1 2 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.test."),
    (RecordType::Ds, "12345 8 1 ABCDEF0123456789ABCD EF0123456789ABCDEF01", "12345 8 1 abcdef0123456789abcdef0123456789abcdef01"),
    (RecordType::Sshfp, "1 1 0123456789abcdef0123456789ABCDEF01234567", "1 1 0123456789abcdef0123456789abcdef01234567"),
    (RecordType::Tlsa, "3 1 0 00ff", "3 1 0 00ff"),
    (RecordType::Https, "1 .", "1 ."),
    (RecordType::Https, "0 Other.example.test", "0 other.example.test."),
    (RecordType::Https, "1 . port=443 alpn=\"h2,h3\"", "1 . alpn=h2,h3 port=443"),
    (
        RecordType::Svcb,
        "16 s.example.test. mandatory=port,alpn PORT=53 alpn=dot",
        "16 s.example.test. mandatory=alpn,port alpn=dot port=53",
    ),
    (
        RecordType::Https,
        "1 . ipv6hint=2001:DB8::1,::2 ipv4hint=192.0.2.1,192.0.2.2 ech=AAEC alpn=h2 no-default-alpn",
        "1 . alpn=h2 no-default-alpn ipv4hint=192.0.2.1,192.0.2.2 ech=\"AAEC\" ipv6hint=2001:db8::1,::2",
    ),
    // From here on, what is refused.
    (RecordType::A, "192.0.2.01", ""),
    (RecordType::A, "192.0.2.1 192.0.2.2", ""),
    (RecordType::A, "2001:db8::1", ""),
    (RecordType::Aaaa, "fe80::1%eth0", ""),
    (RecordType::Cname, "mail", ""),
    (RecordType::Cname, ".", ""),
    (RecordType::Cname, "*.example.test", ""),
    (RecordType::Mx, "mail.example.test", ""),
    (RecordType::Mx, "+10 mail.example.test", ""),
    (RecordType::Srv, "0 0 65536 sip.example.test", ""),
    (RecordType::Txt, "", ""),
    (RecordType::Txt, "two\nlines", ""),
    (RecordType::Tlsa, "3 1 1 00ff", ""),
    (RecordType::Https, "0 . alpn=h2", ""),
    (RecordType::Https, "1 . alpn=h2 alpn=h3", ""),
    (RecordType::Https, "1 . mandatory=port alpn=h2", ""),
];

#[test]
fn contents_are_kept_in_one_form_or_refused() {
    for (record_type, text, expected) in CONTENTS {
        match (parse_content(record_type, text), expected) {
            (Ok(kept), expected) => assert_eq!(kept, expected, "{record_type} {text:?}"),
            (Err(error), "") => assert_eq!(error.code(), "record_content_invalid", "{record_type} {text:?}"),
            (Err(error), _) => panic!("{record_type} {text:?}: {error}"),
        }
    }
}

#[test]
fn more_of_what_cannot_be_is_refused() {
    let hex = "ab".repeat(3000);
    for (record_type, text) in [
        (RecordType::Caa, "256 issue \"x\""),
        (RecordType::Caa, "0 is-sue \"x\""),
        (RecordType::Caa, "0 issue"),
        (RecordType::Naptr, "1 2 u"),
        (RecordType::Ds, "1 8 2 zz"),
        (RecordType::Ds, "1 8 2"),
        (RecordType::Sshfp, "4 2 abc"),
        (RecordType::Tlsa, &format!("3 0 0 {hex}")),
        (RecordType::Https, "1 . key65000=x"),
        (RecordType::Https, "1 . alpn"),
        (RecordType::Https, "1 . alpn=h2,,h3"),
        (RecordType::Https, "1 . no-default-alpn"),
        (RecordType::Https, "1 . alpn=h2 no-default-alpn=1"),
        (RecordType::Https, "1 . port=https"),
        (RecordType::Https, "1 . ech=???"),
        (RecordType::Https, "1 . mandatory=alpn,alpn alpn=h2"),
        (RecordType::Https, "1 . mandatory=mandatory"),
        (RecordType::Aaaa, "::192.0.2.1"),
        (RecordType::Https, "1 . ipv6hint=::ffff:192.0.2.1"),
        (RecordType::Https, "1 . alpn=a;b"),
        (RecordType::Https, "1 . \"alpn=a(b\""),
        (RecordType::Ns, "_ns.example.test"),
        (RecordType::Mx, "10 -mail.example.test"),
        (RecordType::Srv, "0 0 1 sip-.example.test"),
        (RecordType::Mx, "10 \"mail.example.test\""),
        (RecordType::Mx, "10 ma\\046il.example.test"),
        (RecordType::Mx, "10 mail.example.test ; the old one"),
        (RecordType::Txt, "\"open"),
        (RecordType::Txt, &"a".repeat(4097)),
        (RecordType::A, "\\# 4 c0000201"),
    ] {
        assert_eq!(code(record_type, text), "record_content_invalid", "{record_type} {text:?}");
    }
    assert_eq!(code(RecordType::Txt, &"a".repeat(40_000)), "record_contents_too_long");
}

#[test]
fn long_texts_are_cut_at_255_octets() {
    let pieces = |text: &str| parse_content(RecordType::Txt, text).unwrap().split(' ').map(|piece| piece.len() - 2).collect::<Vec<_>>();
    assert_eq!(pieces(&"a".repeat(255)), [255]);
    assert_eq!(pieces(&"a".repeat(600)), [255, 255, 90]);
    assert_eq!(pieces(&format!("\"{}\" \"b\"", "a".repeat(300))), [255, 45, 1]);
    assert_eq!(pieces(&"a".repeat(4096)).len(), 17);
}

#[test]
fn a_set_is_sorted_and_has_bounds() {
    let set = |record_type, contents: &[&str]| {
        let contents = contents.iter().map(|&content| content.to_owned()).collect();
        RecordSet::new(name("www.example.test"), record_type, 300, contents)
    };
    let addresses = set(RecordType::A, &["192.0.2.2", "192.0.2.1", "192.0.2.2"]).unwrap();
    assert_eq!(addresses.contents(), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!((addresses.name().as_str(), addresses.record_type(), addresses.ttl_seconds()), ("www.example.test", RecordType::A, 300));
    assert_eq!(set(RecordType::A, &[]).unwrap_err().code(), "record_contents_empty");
    assert_eq!(set(RecordType::Cname, &["a.test.", "b.test."]).unwrap_err().code(), "record_several_cnames");
    assert!(set(RecordType::Cname, &["a.test.", "a.test."]).is_ok());
    let many = |count: usize, length: usize| -> Vec<String> { (0..count).map(|n| format!("{n:0>length$}")).collect() };
    let made = |contents| RecordSet::new(name("www.example.test"), RecordType::Txt, 300, contents).err().map(|error| error.code());
    assert_eq!(made(many(100, 5)), None);
    assert_eq!(made(many(101, 5)), Some("record_contents_too_many"));
    assert_eq!(made(many(8, 4096)), None);
    assert_eq!(made(many(9, 4096)), Some("record_contents_too_long"));
}

#[test]
fn an_alias_stands_alone_but_for_signatures() {
    for (types, together) in [
        (&["CNAME"][..], true),
        (&["A", "AAAA", "TXT"], true),
        (&["CNAME", "RRSIG", "NSEC"], true),
        (&["CNAME", "TXT"], false),
        (&["LOC", "CNAME"], false),
        (&[], true),
    ] {
        assert_eq!(stand_together(types.iter().copied()), together, "{types:?}");
    }
}

#[test]
fn a_ttl_is_from_a_minute_to_a_day() {
    for (seconds, expected) in [(59, None), (60, Some(60)), (86_400, Some(86_400)), (86_401, None), (-300, None), (i64::MAX, None)] {
        assert_eq!(parse_ttl(seconds).ok(), expected, "{seconds}");
    }
}

fn read(text: &str) -> ZoneFile {
    read_zone_file(text, &zone()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn faults(text: &str) -> Vec<(usize, &'static str)> {
    let faults = read_zone_file(text, &zone()).expect_err(text);
    faults.iter().map(|fault| (fault.line, fault.error.code())).collect()
}

fn lines(file: &ZoneFile) -> Vec<String> {
    let line = |set: &RecordSet| format!("{} {} {} {}", set.name(), set.ttl_seconds(), set.record_type(), set.contents().join(" | "));
    file.record_sets.iter().map(line).collect()
}

#[test]
fn a_zone_file_as_servers_write_it_is_read() {
    let file = read(
        r#"$ORIGIN example.test.
$TTL 1h
@       IN SOA ns1.provider.test. hostmaster.provider.test. (
            2026112101 ; serial
            7200 3600 1209600 300 )
        IN NS  ns1.provider.test.
        IN NS  ns2.provider.test.
@       600 IN A 192.0.2.1
        IN 900 A 192.0.2.2
        MX 10 mail
        MX 20 mail.other.test.
_zonecert   TXT "somebody else's"
www     CNAME @
*.apps  A 192.0.2.3
_acme-challenge.www 60 IN TXT "old"
_ACME-CHALLENGE CNAME elsewhere.test.
mail    30 A 192.0.2.4
        604800 AAAA 2001:db8::4
sel._domainkey TXT ( "v=DKIM1; k=rsa; "
    "p=MIIBIjANBg" )
$ORIGIN sub
@       NS ns1
ns1     A 192.0.2.5
@       DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
www.example.test. RRSIG CNAME 13 3 300 20261201000000 20261101000000 1 example.test. AAAA
example.test. IN DNSKEY 257 3 13 AAAA
"#,
    );
    assert_eq!(
        lines(&file),
        [
            "*.apps.example.test 3600 A 192.0.2.3",
            "example.test 600 A 192.0.2.1 | 192.0.2.2",
            "example.test 3600 MX 10 mail.example.test. | 20 mail.other.test.",
            "mail.example.test 60 A 192.0.2.4",
            "mail.example.test 86400 AAAA 2001:db8::4",
            "ns1.sub.example.test 3600 A 192.0.2.5",
            r#"sel._domainkey.example.test 3600 TXT "v=DKIM1; k=rsa; " "p=MIIBIjANBg""#,
            "sub.example.test 3600 DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "sub.example.test 3600 NS ns1.sub.example.test.",
            "www.example.test 3600 CNAME example.test.",
        ]
    );
    let left_out: Vec<_> =
        file.left_out.iter().map(|left| (left.line, left.name.as_str(), left.record_type.as_str(), left.reason.code())).collect();
    assert_eq!(
        left_out,
        [
            (3, "example.test", "SOA", "soa"),
            (6, "example.test", "NS", "apex_ns"),
            (7, "example.test", "NS", "apex_ns"),
            (12, "_zonecert.example.test", "TXT", "reserved"),
            (15, "_acme-challenge.www.example.test", "TXT", "reserved"),
            (16, "_acme-challenge.example.test", "CNAME", "reserved"),
            (25, "www.example.test", "RRSIG", "dnssec"),
            (26, "example.test", "DNSKEY", "dnssec"),
        ]
    );
}

#[test]
fn a_file_without_ttl_or_class_or_origin_is_read_too() {
    assert_eq!(lines(&read("www A 192.0.2.1\r\nWWW.EXAMPLE.TEST. in a 192.0.2.2\r\n")), ["www.example.test 300 A 192.0.2.1 | 192.0.2.2"]);
    // The last explicit one, where there is no $TTL.
    assert_eq!(lines(&read("a 600 A 192.0.2.1\nb A 192.0.2.2")), ["a.example.test 600 A 192.0.2.1", "b.example.test 600 A 192.0.2.2"]);
    assert_eq!(lines(&read("$ORIGIN .\nexample.test 1w2d MX 10 mail.example.test")), ["example.test 86400 MX 10 mail.example.test."]);
    assert_eq!(read(""), ZoneFile { record_sets: Vec::new(), left_out: Vec::new() });
}

#[test]
fn all_that_is_wrong_with_a_file_is_said_with_its_line() {
    for (text, expected) in [
        ("$INCLUDE /etc/passwd", &[(1, "zone_file_include")][..]),
        ("$include /etc/passwd example.test.", &[(1, "zone_file_include")]),
        ("$GENERATE 1-4000000000 host$ A 192.0.2.1", &[(1, "zone_file_generate")]),
        ("$TTL", &[(1, "zone_file_directive")]),
        ("$TTL soon\n$ORIGIN a b\n$FOO x", &[(1, "zone_file_directive"), (2, "zone_file_directive"), (3, "zone_file_directive")]),
        ("  A 192.0.2.1", &[(1, "zone_file_no_name")]),
        ("www\nwww 300 IN", &[(1, "zone_file_no_type"), (2, "zone_file_no_type")]),
        ("www CH TXT \"x\"\nwww CLASS3 A 192.0.2.1", &[(1, "zone_file_class"), (2, "zone_file_class")]),
        ("www 99999999999 A 192.0.2.1\nwww 1y A 192.0.2.1", &[(1, "zone_file_ttl"), (2, "zone_file_ttl")]),
        (
            "www A 192.0.2.256\nwww LOC 52 N 4 E 0m\nwww TYPE257 \\# 0",
            &[(1, "record_content_invalid"), (2, "record_type_unsupported"), (3, "record_type_unsupported")],
        ),
        ("other.test. A 192.0.2.1\nother.test. NS ns.test.", &[(1, "record_not_under_zone"), (2, "record_not_under_zone")]),
        ("sub SOA a. b. 1 2 3 4 5", &[(1, "record_type_unsupported")]),
        ("a..b A 192.0.2.1\n  AAAA 2001:db8::1\nc A x", &[(1, "record_name_invalid"), (3, "record_content_invalid")]),
        ("@ CNAME www", &[(1, "record_apex_cname")]),
        ("www A 192.0.2.1\nwww CNAME a\nx CNAME a\nx CNAME b", &[(2, "record_cname_conflict"), (3, "record_several_cnames")]),
        ("ok A 192.0.2.1\nbad TXT \"open\nworse A", &[(2, "zone_file_malformed")]),
        ("a\0b A 192.0.2.1", &[(1, "zone_file_malformed")]),
    ] {
        assert_eq!(faults(text), expected, "{text:?}");
    }
}

#[test]
fn a_file_has_bounds_whatever_it_holds() {
    let numbered = |count: usize| (0..count).fold(String::new(), |file, n| file + &format!("h{n} A 192.0.2.1\n"));
    assert_eq!(read(&numbered(500)).record_sets.len(), 500);
    assert_eq!(faults(&numbered(501)), [(501, "zone_file_too_many_record_sets")]);
    assert_eq!(faults(&"_acme-challenge TXT x\n".repeat(5001)), [(5001, "zone_file_too_many_records")]);
    assert_eq!(faults(&"a..b A x\n".repeat(100_000)).len(), 50);
    assert_eq!(faults(&format!("www TXT {}", "\"a\" ".repeat(200_000))), [(1, "record_content_invalid")]);
    assert_eq!(faults(&"(".repeat(1_000_000)), [(1, "zone_file_malformed")]);
    let many: String = (0..101).fold(String::new(), |file, n| file + &format!("www TXT x{n}\n"));
    assert_eq!(faults(&many), [(1, "record_contents_too_many")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_kept_is_its_own_normal_form(
        index in 0..RecordType::ALL.len(),
        text in prop_oneof![
            any::<String>(),
            r#"[0-9]{1,5} [0-9]{1,3} ?[0-9]{0,3} ?[a-zA-Z_.*"\\ü]{0,12}( (alpn|port|ipv4hint|mandatory|ech)=[a-z0-9.,"]{0,9}){0,2}"#,
            r#""[ -~ü\\"]{0,300}""#,
        ],
    ) {
        let record_type = RecordType::ALL[index];
        if let Ok(kept) = parse_content(record_type, &text) {
            prop_assert_eq!(parse_content(record_type, &kept), Ok(kept.clone()));
            prop_assert!(kept.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", kept);
        }
    }

    #[test]
    fn whatever_file_comes_in_is_read_or_refused(
        text in prop_oneof![any::<String>(), r#"([a-z@*$. "();\\0-9\n]|IN|A|TXT|CNAME|\$TTL|\$ORIGIN){0,200}"#],
    ) {
        match read_zone_file(&text, &zone()) {
            Ok(file) => for set in &file.record_sets {
                prop_assert!(check_place(&zone(), set.name(), set.record_type()).is_ok());
                prop_assert!((MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(&set.ttl_seconds()));
                for content in set.contents() {
                    prop_assert_eq!(&parse_content(set.record_type(), content), &Ok(content.clone()));
                }
            },
            Err(faults) => prop_assert!((1..=50).contains(&faults.len())),
        }
    }
}
