//! What is a name and what is not, case by case, and properties of whatever text comes in.

use proptest::prelude::*;

use super::*;

fn production() -> NamePolicy {
    NamePolicy::default()
}

fn development() -> NamePolicy {
    NamePolicy { allow_special_use: true, ..NamePolicy::default() }
}

fn good(text: &str) -> DnsName {
    DnsName::parse(text, &production()).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn code(text: &str) -> &'static str {
    DnsName::parse(text, &production()).expect_err(text).code()
}

#[test]
fn spellings_of_one_name_become_one_name() {
    for (text, expected) in [
        ("app.zonecert.io", "app.zonecert.io"),
        ("APP.ZoneCert.IO.", "app.zonecert.io"),
        ("*.ZONECERT.io", "*.zonecert.io"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("BÜCHER.de", "xn--bcher-kva.de"),
        ("bu\u{308}cher.de", "xn--bcher-kva.de"),
        ("XN--BCHER-KVA.de", "xn--bcher-kva.de"),
        ("*.bücher.de", "*.xn--bcher-kva.de"),
        // Non-transitional: sharp s stays itself.
        ("straße.de", "xn--strae-oqa.de"),
        ("例え。jp", "xn--r8jz45g.jp"),
        ("ｚｏｎｅｃｅｒｔ．ｉｏ", "zonecert.io"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("a.b.c.d.shop.co.uk", "a.b.c.d.shop.co.uk"),
        ("octocat.github.io", "octocat.github.io"),
        ("1.2.3.zonecert.io", "1.2.3.zonecert.io"),
        ("www.ck", "www.ck"),
        ("city.kawasaki.jp", "city.kawasaki.jp"),
    ] {
        assert_eq!(good(text).as_str(), expected, "{text:?}");
    }
}

#[test]
fn a_name_knows_its_parts() {
    let name = good("*.eu.shop.co.uk");
    assert!(name.is_wildcard());
    assert_eq!(name.base(), "eu.shop.co.uk");
    assert_eq!(name.challenge_name(), "_acme-challenge.eu.shop.co.uk");
    assert_eq!(name.registered_domain(), "shop.co.uk");
    assert_eq!(name.reversed(), "uk.co.shop.eu.*");
    assert_eq!(name.labels().collect::<Vec<_>>(), ["*", "eu", "shop", "co", "uk"]);
    assert_eq!(name.to_string(), "*.eu.shop.co.uk");
    assert_eq!(name.as_ref(), name.as_str());
    assert_eq!(serde_json::to_value(&name).unwrap(), "*.eu.shop.co.uk");
    assert!(!good("eu.shop.co.uk").is_wildcard());
    assert_eq!(good("app.octocat.github.io").registered_domain(), "octocat.github.io");
}

#[test]
fn the_apex_and_what_lies_below_it_are_under_a_zone() {
    let zone = ZoneName::parse("shop.co.uk", &production()).unwrap();
    for (text, expected) in [
        ("shop.co.uk", true),
        ("*.shop.co.uk", true),
        ("a.b.shop.co.uk", true),
        ("workshop.co.uk", false),
        ("shop.co.uk.zonecert.io", false),
        ("other.co.uk", false),
    ] {
        assert_eq!(good(text).is_at_or_below(&zone), expected, "{text}");
    }
}

#[test]
fn malformed_names_are_refused_with_their_code() {
    for (text, expected) in [
        ("", "name_empty"),
        (".", "name_empty"),
        ("*.", "name_empty"),
        ("..", "name_empty_label"),
        (".zonecert.io", "name_empty_label"),
        ("a..zonecert.io", "name_empty_label"),
        ("zonecert.io..", "name_empty_label"),
        ("*..zonecert.io", "name_empty_label"),
        ("a。。zonecert.io", "name_empty_label"),
        // A soft hyphen maps to nothing, and so does the label.
        ("a.\u{ad}.zonecert.io", "name_empty_label"),
        ("localhost", "name_too_few_labels"),
        ("*.io", "name_too_few_labels"),
        ("*", "name_wildcard_misplaced"),
        ("a.*.zonecert.io", "name_wildcard_misplaced"),
        ("*.*.zonecert.io", "name_wildcard_misplaced"),
        ("w*.zonecert.io", "name_wildcard_misplaced"),
        ("*a.zonecert.io", "name_wildcard_misplaced"),
        ("*。zonecert.io", "name_wildcard_misplaced"),
        ("＊.zonecert.io", "name_invalid_idn"),
        (" zonecert.io", "name_invalid_character"),
        ("zonecert.io\n", "name_invalid_character"),
        ("zone cert.io", "name_invalid_character"),
        ("zone\u{3000}cert.io", "name_invalid_character"),
        ("zone\0cert.io", "name_invalid_character"),
        ("https://zonecert.io/", "name_invalid_character"),
        ("zonecert.io:443", "name_invalid_character"),
        ("a@zonecert.io", "name_invalid_character"),
        ("a,b.zonecert.io", "name_invalid_character"),
        ("zonecert.io%00.de", "name_invalid_character"),
        ("_acme-challenge.zonecert.io", "name_underscore"),
        ("a_b.zonecert.io", "name_underscore"),
        ("-a.zonecert.io", "name_hyphen"),
        ("a-.zonecert.io", "name_hyphen"),
        ("ab--c.zonecert.io", "name_hyphen"),
        ("xn--.zonecert.io", "name_invalid_idn"),
        // Punycode of plain ASCII, of something not in normal form, and of nothing at all.
        ("xn--zonecert-.io", "name_invalid_idn"),
        ("xn--u-ccb.zonecert.io", "name_invalid_idn"),
        ("xn--a\u{fc}.zonecert.io", "name_invalid_idn"),
        ("xn--99999999.zonecert.io", "name_invalid_idn"),
        // Right-to-left override, a zero-width joiner out of place, a mixed-direction label, an account-of sign.
        ("zone\u{202e}cert.io", "name_invalid_idn"),
        ("zone\u{200d}cert.io", "name_invalid_idn"),
        ("אa1.zonecert.io", "name_invalid_idn"),
        ("℀.zonecert.io", "name_invalid_idn"),
        ("192.0.2.1", "name_is_ip_address"),
        ("１９２.0.2.1", "name_is_ip_address"),
        ("192.0.2.1.", "name_is_ip_address"),
        ("2001:db8::1", "name_is_ip_address"),
        ("[2001:db8::1]", "name_is_ip_address"),
        ("192.0.2", "name_numeric_tld"),
        ("zonecert.123", "name_numeric_tld"),
    ] {
        assert_eq!(code(text), expected, "{text:?}");
    }
}

#[test]
fn names_that_nobody_may_have_are_refused_with_their_code() {
    for (text, expected) in [
        ("co.uk", "name_is_public_suffix"),
        ("*.co.uk", "name_is_public_suffix"),
        ("github.io", "name_is_public_suffix"),
        ("*.github.io", "name_is_public_suffix"),
        ("foo.ck", "name_is_public_suffix"),
        ("*.foo.ck", "name_is_public_suffix"),
        ("kawasaki.jp", "name_is_public_suffix"),
        ("*.kawasaki.jp", "name_is_public_suffix"),
        ("公司.cn", "name_is_public_suffix"),
        ("app.example.test", "name_special_use"),
        ("*.example.com", "name_special_use"),
        ("www.example.org", "name_special_use"),
        ("a.example", "name_special_use"),
        ("printer.local", "name_special_use"),
        ("a.localhost", "name_special_use"),
        ("a.invalid", "name_special_use"),
        ("duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion", "name_special_use"),
        ("db.internal", "name_special_use"),
        ("nas.home.arpa", "name_special_use"),
        ("1.168.192.in-addr.arpa", "name_special_use"),
        ("a.alt", "name_special_use"),
        ("server.corp", "name_unknown_tld"),
        ("a.b.lan", "name_unknown_tld"),
    ] {
        assert_eq!(code(text), expected, "{text:?}");
    }
    // Only whole labels are reserved.
    for text in ["contest.com", "myexample.com", "example.com.de", "local.zonecert.io"] {
        good(text);
    }
}

#[test]
fn the_development_setting_lifts_reservations_and_nothing_else() {
    for text in ["example.test", "*.example.test", "app.example.com", "nas.lan", "a.b.internal"] {
        assert!(DnsName::parse(text, &development()).is_ok(), "{text}");
    }
    for (text, expected) in [
        ("test", "name_too_few_labels"),
        ("*.test", "name_too_few_labels"),
        ("co.uk", "name_is_public_suffix"),
        ("127.0.0.1", "name_is_ip_address"),
        ("a_b.example.test", "name_underscore"),
    ] {
        assert_eq!(DnsName::parse(text, &development()).expect_err(text).code(), expected, "{text}");
    }
}

#[test]
fn a_name_leaves_room_for_its_challenge_record() {
    let of_length = |length: usize| {
        let mut name = "a.".repeat((length - ".zonecert.io".len()) / 2);
        name.truncate(length - ".zonecert.io".len() - 1);
        format!("{name}a.zonecert.io").replacen("a.a.", "aaa.", length % 2)
    };
    let longest = of_length(MAX_NAME_LENGTH);
    assert_eq!((longest.len(), good(&longest).challenge_name().len()), (237, 253));
    assert_eq!(good(&format!("*.{longest}.")).base(), longest);
    assert_eq!(code(&format!("a.{longest}")), "name_too_long");
    assert_eq!(code(&"ü".repeat(600)), "name_too_long");
    assert_eq!(code(&"a.".repeat(5_000_000)), "name_too_long");
    good(&format!("{}.zonecert.io", "a".repeat(63)));
    assert_eq!(code(&format!("{}.zonecert.io", "a".repeat(64))), "name_label_too_long");
    // Short in Unicode, too long as an A-label.
    assert_eq!(code(&format!("{}.zonecert.io", "ü".repeat(60))), "name_label_too_long");
}

#[test]
fn the_platforms_zones_are_refused() {
    let zone = ZoneName::platform("acme.zonecert.io").unwrap();
    let policy = NamePolicy { platform_zones: vec![zone.clone()], ..production() };
    for text in ["acme.zonecert.io", "a.b.ACME.zonecert.io", "*.acme.zonecert.io", "*.zonecert.io"] {
        assert_eq!(DnsName::parse(text, &policy), Err(NameError::PlatformZone { zone: zone.clone() }), "{text}");
    }
    for text in ["www.zonecert.io", "*.www.zonecert.io", "myacme.zonecert.io"] {
        assert!(DnsName::parse(text, &policy).is_ok(), "{text}");
    }
}

#[test]
fn a_stored_name_is_read_back_and_a_damaged_one_is_not() {
    for text in ["app.zonecert.io", "*.example.test", "co.uk"] {
        assert_eq!(DnsName::from_stored(text).unwrap().as_str(), text);
    }
    for text in ["", "*.", "App.zonecert.io", "zonecert.io.", "a b.io", "bücher.de", "*.*.io", "a..io", "a_b.io", "io", "-a.io"] {
        assert!(DnsName::from_stored(text).is_err(), "{text:?}");
    }
    let stored = ["co.uk", "a..io", "*.example.test"].map(str::to_owned);
    assert_eq!(DnsName::readable(&stored), ["co.uk", "*.example.test"].map(|text| DnsName::from_stored(text).unwrap()));
    // A suffix of today's list, stored before it was one.
    assert_eq!(DnsName::from_stored("co.uk").unwrap().registered_domain(), "co.uk");
}

#[test]
fn the_text_of_an_error_shows_what_was_meant_and_never_raw_control_characters() {
    assert!(DnsName::parse("a\0b.de", &production()).unwrap_err().detail().contains(r"'\0'"));
    assert!(DnsName::parse("*.co.uk", &production()).unwrap_err().detail().starts_with("co.uk is a public suffix"));
    assert!(DnsName::parse("nas.lan", &production()).unwrap_err().detail().starts_with("lan is not"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_is_accepted_is_a_host_name_that_is_its_own_normal_form(
        text in prop_oneof![
            any::<String>(),
            r"(\*\.)?([a-zA-Z0-9_*ßüА-я。．-]{1,8}[.。]){1,4}(test|com|co\.uk|рф|123)\.?",
        ],
    ) {
        if let Ok(name) = DnsName::parse(&text, &development()) {
            prop_assert_eq!(DnsName::parse(name.as_str(), &development()), Ok(name.clone()));
            prop_assert_eq!(DnsName::from_stored(name.as_str()), Ok(name.clone()));
            prop_assert!(name.challenge_name().len() <= 253);
            prop_assert!(name.base().bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')));
            prop_assert!(name.base().split('.').all(|label| (1..=63).contains(&label.len())));
            prop_assert!(name.base().contains('.'));
            prop_assert!(syntax::is_at_or_below(name.base(), name.registered_domain()));
            prop_assert_eq!(syntax::reversed(&name.reversed()), name.as_str());
        }
    }

    #[test]
    fn case_and_a_trailing_dot_never_matter(labels in proptest::collection::vec("[a-z0-9]{1,10}", 1..5), wildcard: bool) {
        let text = format!("{}{}.zonecert.io", if wildcard { "*." } else { "" }, labels.join("."));
        let name = good(&text);
        prop_assert_eq!(name.as_str(), &text);
        prop_assert_eq!(&good(&format!("{}.", text.to_uppercase())), &name);
    }

    #[test]
    fn nobody_gets_a_public_suffix_or_its_wildcard(label in "[a-z]{3,12}", index in 0..6_usize) {
        let suffix = ["co.uk", "com.au", "github.io", "blogspot.com", "s3.amazonaws.com", "xn--55qx5d.cn"][index];
        for text in [suffix.to_owned(), format!("*.{suffix}")] {
            for policy in [production(), development()] {
                prop_assert_eq!(DnsName::parse(&text, &policy).unwrap_err().code(), "name_is_public_suffix");
            }
        }
        let name = format!("{label}-zonecert.{suffix}");
        let name = good(&name);
        prop_assert_eq!(name.registered_domain(), name.as_str());
    }
}

#[test]
fn as_many_challenge_values_as_fit_an_answer_of_512_octets_with_one_to_spare() {
    assert_eq!(challenge_capacity("_acme-challenge.example.test"), 7);
    assert_eq!(challenge_capacity(&format!("_acme-challenge.{}", "a".repeat(237))), 3);
    // Header, question and records of the most that are allowed, and one more.
    for length in 20..=253 {
        let name = "a".repeat(length);
        let records = challenge_capacity(&name) + 1;
        assert!(12 + 6 + length + records * 56 <= 512, "{length}: {records}");
    }
}
