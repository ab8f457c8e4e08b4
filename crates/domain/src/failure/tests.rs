//! The vocabulary, entry by entry, against the registry and the requirements.

use std::collections::HashSet;

use proptest::prelude::*;

use super::Actor::{Customer, Nobody, Operator};
use super::FailureClass::{Final, Heal};
use super::*;

/// The registry of ACME error types (RFC 8555 §9.7.4 and the documents that extend it, as IANA had it in 2026), `invalidProfile` of a draft and `conflict` of Let's
/// Encrypt's, and what each means to an issuance.
const REGISTRY: [(&str, FailureClass, Actor); 34] = [
    ("accountDoesNotExist", Heal, Operator),
    ("alreadyReplaced", Heal, Nobody),
    ("alreadyRevoked", Final, Nobody),
    ("autoRenewalCanceled", Heal, Operator),
    ("autoRenewalCancellationInvalid", Heal, Operator),
    ("autoRenewalExpired", Heal, Operator),
    ("autoRenewalRevocationNotSupported", Final, Operator),
    ("badAttestationStatement", Heal, Operator),
    ("badCSR", Final, Customer),
    ("badNonce", Heal, Nobody),
    ("badPublicKey", Heal, Operator),
    ("badRevocationReason", Final, Customer),
    ("badSignatureAlgorithm", Heal, Operator),
    ("caa", Final, Customer),
    ("compound", Heal, Customer),
    ("conflict", Heal, Operator),
    ("connection", Heal, Customer),
    ("dns", Heal, Customer),
    ("externalAccountRequired", Heal, Operator),
    ("incorrectResponse", Heal, Customer),
    ("invalidContact", Heal, Operator),
    ("invalidProfile", Final, Customer),
    ("malformed", Final, Customer),
    ("onionCAARequired", Final, Customer),
    ("orderNotReady", Heal, Nobody),
    ("rateLimited", Heal, Nobody),
    ("rejectedIdentifier", Final, Customer),
    ("serverInternal", Heal, Nobody),
    ("tls", Heal, Nobody),
    ("unauthorized", Heal, Customer),
    ("unknownDelegation", Heal, Operator),
    ("unsupportedContact", Heal, Operator),
    ("unsupportedIdentifier", Final, Customer),
    ("userActionRequired", Heal, Operator),
];

/// What goes wrong on our side of ACME.
const OURS: [(&str, FailureClass, Actor); 29] = [
    ("acme_account_not_valid", Final, Customer),
    ("acme_unknown_problem", Heal, Operator),
    ("ca_budget_spent", Heal, Nobody),
    ("ca_unreachable", Heal, Nobody),
    ("ca_malformed_answer", Heal, Nobody),
    ("challenge_not_offered", Final, Customer),
    ("authorization_timeout", Heal, Nobody),
    ("order_timeout", Heal, Nobody),
    ("order_lost", Heal, Nobody),
    ("order_expired", Heal, Nobody),
    ("order_invalid", Heal, Nobody),
    ("certificate_rejected", Heal, Operator),
    ("revocation_refused", Final, Operator),
    ("certificate_unknown", Heal, Operator),
    ("dns_provider_unreachable", Heal, Operator),
    ("dns_provider_refused", Heal, Operator),
    ("dns_provider_mismatch", Heal, Operator),
    ("propagation_unseen", Heal, Operator),
    ("zone_missing_at_provider", Final, Customer),
    ("zone_lost", Final, Customer),
    ("zone_deleted", Final, Customer),
    ("challenge_cname_missing", Heal, Customer),
    ("challenge_cname_unknown", Heal, Customer),
    ("resolver_unavailable", Heal, Operator),
    ("plan_forbids", Final, Customer),
    ("account_suspended", Heal, Customer),
    ("key_unavailable", Heal, Operator),
    ("database_unavailable", Heal, Operator),
    ("internal", Heal, Operator),
];

/// `badCSR` → `acme_bad_csr`, `onionCAARequired` → `acme_onion_caa_required`.
fn snake_case(acme_type: &str) -> String {
    let words = acme_type.replace("CSR", "Csr").replace("CAA", "Caa");
    words.chars().fold("acme_".to_owned(), |mut name, c| {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
        name
    })
}

#[test]
fn every_registered_acme_type_has_its_code_class_and_actor() {
    for (acme_type, class, actor) in REGISTRY {
        let code = classify_acme(&format!("urn:ietf:params:acme:error:{acme_type}"), Some(400));
        assert_eq!(code.as_str(), snake_case(acme_type));
        assert_eq!((code.class(), code.actor()), (class, actor), "{acme_type}");
        assert_eq!(code.acme_type(), Some(acme_type));
    }
}

#[test]
fn every_failure_of_ours_has_its_class_and_actor() {
    for (name, class, actor) in OURS {
        let code = FailureCode::parse(name).expect(name);
        assert_eq!((code.class(), code.actor(), code.acme_type()), (class, actor, None), "{name}");
    }
}

#[test]
fn the_vocabulary_holds_nothing_else_and_no_name_twice() {
    assert_eq!(FailureCode::ALL.len(), REGISTRY.len() + OURS.len());
    assert_eq!(FailureCode::ALL.iter().map(|code| code.as_str()).collect::<HashSet<_>>().len(), FailureCode::ALL.len());
    for code in FailureCode::ALL {
        assert_eq!(FailureCode::parse(code.as_str()), Some(code));
        assert_eq!(serde_json::to_value(code).unwrap(), code.to_string());
        assert_eq!(serde_json::from_value::<FailureCode>(code.as_str().into()).unwrap(), code);
        assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
    }
    assert_eq!(FailureCode::parse("acme_bad_CSR"), None);
}

#[test]
fn every_remedy_is_a_sentence_that_fits_its_class_and_actor() {
    for code in FailureCode::ALL {
        let remedy = code.remedy();
        assert!(remedy.ends_with('.') && remedy.starts_with(|c: char| c.is_uppercase()), "{code}");
        let goes_on = remedy.contains("by itself") || code == FailureCode::AcmeAlreadyReplaced;
        assert_eq!(goes_on, code.class() == Heal, "{code}: {remedy}");
        assert!(code.actor() == Operator || !remedy.contains("alerted"), "{code}");
        assert!(code.actor() != Customer || !remedy.starts_with("Nothing to do"), "{code}");
    }
}

#[test]
fn an_unknown_type_is_judged_by_its_status_and_heals() {
    for (problem_type, status, expected) in [
        ("urn:ietf:params:acme:error:fromTheFuture", Some(400), "acme_unknown_problem"),
        ("urn:ietf:params:acme:error:fromTheFuture", None, "acme_unknown_problem"),
        // Types are compared as RFC 3986 §6.2.1 has it: character by character, with their namespace.
        ("urn:ietf:params:acme:error:CAA", Some(403), "acme_unknown_problem"),
        ("caa", Some(403), "acme_unknown_problem"),
        ("urn:acme:error:caa", Some(403), "acme_unknown_problem"),
        ("", Some(404), "order_lost"),
        ("about:blank", Some(429), "acme_rate_limited"),
        ("about:blank", Some(500), "acme_server_internal"),
        ("about:blank", Some(503), "acme_server_internal"),
        ("about:blank", Some(409), "acme_unknown_problem"),
    ] {
        let code = classify_acme(problem_type, status);
        assert_eq!((code.as_str(), code.class()), (expected, Heal), "{problem_type} {status:?}");
    }
}

#[test]
fn malformed_is_final_only_where_the_status_says_nothing_better() {
    let malformed = "urn:ietf:params:acme:error:malformed";
    for (status, expected, class) in [
        (None, "acme_malformed", Final),
        (Some(400), "acme_malformed", Final),
        (Some(404), "order_lost", Heal),
        (Some(409), "acme_unknown_problem", Heal),
        (Some(429), "acme_rate_limited", Heal),
        (Some(502), "acme_server_internal", Heal),
    ] {
        let code = classify_acme(malformed, status);
        assert_eq!((code.as_str(), code.class()), (expected, class), "{status:?}");
    }
    // A type that says enough keeps its meaning whatever the status.
    assert_eq!(classify_acme("urn:ietf:params:acme:error:caa", Some(500)), FailureCode::AcmeCaa);
    assert_eq!(classify_acme("urn:ietf:params:acme:error:dns", Some(404)), FailureCode::AcmeDns);
}

#[test]
fn one_final_subproblem_makes_the_whole_final() {
    let [compound, dns, caa, rejected] =
        ["compound", "dns", "caa", "rejectedIdentifier"].map(|name| format!("urn:ietf:params:acme:error:{name}"));
    let classify = |whole: &str, parts: &[&String]| classify_subproblems(whole, Some(400), parts.iter().map(|part| part.as_str()));
    assert_eq!(classify(&compound, &[&dns, &caa, &rejected]), FailureCode::AcmeCaa);
    assert_eq!(classify(&compound, &[&dns]), FailureCode::AcmeCompound);
    assert_eq!(classify(&compound, &[]), FailureCode::AcmeCompound);
    assert_eq!(classify(&rejected, &[&dns, &caa]), FailureCode::AcmeRejectedIdentifier);
    assert_eq!(classify(&dns, &[&rejected]), FailureCode::AcmeRejectedIdentifier);
}

#[test]
fn a_failure_carries_what_its_code_says() {
    let wait = Some(Duration::from_secs(90));
    let failure = Failure::from_acme("urn:ietf:params:acme:error:rateLimited", Some(429), "too many").with_retry_after(wait);
    assert_eq!((failure.code, failure.class(), failure.retry_after), (FailureCode::AcmeRateLimited, Heal, wait));
    assert_eq!(failure.remedy(), FailureCode::AcmeRateLimited.remedy());
    assert_eq!(failure.to_string(), "acme_rate_limited: too many");
    assert_eq!(failure.with_remedy("Wait until five.").remedy(), "Wait until five.");
}

proptest! {
    #[test]
    fn a_detail_is_one_bounded_line_whatever_the_other_side_says(text in any::<String>(), times in 1..400_usize) {
        let failure = Failure::new(FailureCode::CaMalformedAnswer, text.repeat(times));
        prop_assert!(failure.detail().chars().count() <= 1000);
        prop_assert!(!failure.detail().contains(char::is_control));
    }

    #[test]
    fn any_problem_type_has_a_code(text in prop_oneof![any::<String>(), "urn:ietf:params:acme:error:[a-zA-Z]{0,12}"], status: Option<u16>) {
        let known = REGISTRY.iter().any(|(name, ..)| text.strip_prefix(ACME_NAMESPACE) == Some(name));
        prop_assert!(known || classify_acme(&text, status).class() == Heal);
    }
}
