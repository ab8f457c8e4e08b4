//! Checking chains: every problem, and what is none.

use chrono::{DateTime, TimeDelta, Utc};
use zonecert_pki::chain::NOT_BEFORE_TOLERANCE;
use zonecert_pki::{CertificateChain, ChainProblem};

use crate::authority::{Family, Identity, Recipe, Role, days, new_key, now};
use crate::openssl_command::openssl;

const NAMES: [&str; 2] = Family::NAMES;

fn check_at(pem: &str, leaf: &Identity, now: DateTime<Utc>) -> Result<(), ChainProblem> {
    CertificateChain::parse_pem(pem).unwrap().check(leaf.public_key_sha256(), &NAMES, now)
}

fn check(pem: &str, leaf: &Identity) -> Result<(), ChainProblem> {
    check_at(pem, leaf, now())
}

fn check_family(family: &Family) -> Result<(), ChainProblem> {
    check(&family.pem(), &family.leaf)
}

/// What `openssl verify` says with the root for its anchor.
fn openssl_verifies(family: &Family) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let root = file("root.pem", family.root.pem());
    let intermediate = file("intermediate.pem", family.intermediate.pem());
    let leaf = file("leaf.pem", family.leaf.pem());
    let at = now().timestamp().to_string();
    openssl(&["verify", "-attime", &at, "-purpose", "sslserver", "-CAfile", &root, "-untrusted", &intermediate, &leaf], b"")
}

#[test]
fn a_good_chain_passes_here_and_with_openssl_verify() {
    let family = Family::new();
    assert_eq!(check_family(&family), Ok(()));
    let said = openssl_verifies(&family).unwrap();
    assert!(said.ends_with("leaf.pem: OK\n"), "{said}");
}

#[test]
fn a_chain_may_end_in_a_self_signed_root_or_be_the_leaf_alone() {
    let family = Family::new();
    assert_eq!(check(&(family.pem() + &family.root.pem()), &family.leaf), Ok(()));
    assert_eq!(check(&family.leaf.pem(), &family.leaf), Ok(()));
    let self_signed = Recipe::server(&NAMES).self_signed();
    assert_eq!(check(&self_signed.pem(), &self_signed), Ok(()));
}

#[test]
fn a_chain_of_old_fashioned_certificates_without_key_identifiers_passes() {
    let without = |recipe: Recipe<'static>| Recipe { key_identifiers: false, ..recipe };
    let family = Family::with(&without(Recipe::issuer("Intermediate")), &without(Recipe::server(&NAMES)));
    assert_eq!(check_family(&family), Ok(()));
}

#[test]
fn names_are_compared_as_a_set_and_without_case() {
    let family = Family::with_leaf(&Recipe::server(&["WWW.Example.Test", "app.example.test"]));
    assert_eq!(check_family(&family), Ok(()));
    let chain = CertificateChain::parse_pem(&family.pem()).unwrap();
    assert_eq!(chain.check(family.leaf.public_key_sha256(), &["APP.example.test", "www.EXAMPLE.test"], now()), Ok(()));
}

#[test]
fn another_key_is_a_key_mismatch() {
    let family = Family::new();
    assert_eq!(check(&family.pem(), &family.intermediate), Err(ChainProblem::KeyMismatch));
}

#[test]
fn missing_additional_and_foreign_kinds_of_names_are_a_names_mismatch() {
    let mismatch = |recipe: &Recipe<'_>| match check_family(&Family::with_leaf(recipe)) {
        Err(ChainProblem::NamesMismatch { missing, unexpected }) => (missing, unexpected),
        other => panic!("{other:?}"),
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(mismatch(&Recipe::server(&["app.example.test"])), (vec!["www.example.test".to_owned()], none.clone()));
    assert_eq!(
        mismatch(&Recipe::server(&["app.example.test", "www.example.test", "*.example.test"])),
        (none.clone(), vec!["*.example.test".to_owned()])
    );
    assert_eq!(mismatch(&Recipe { address: Some("192.0.2.1"), ..Recipe::server(&NAMES) }), (none, vec![String::new()]));
    let common_name_only = Recipe { common_name: "app.example.test", role: Role::Server, ..Recipe::issuer("") };
    assert_eq!(mismatch(&common_name_only).0, NAMES);
}

#[test]
fn a_leaf_may_begin_within_the_tolerance_and_ends_with_its_last_second() {
    let family = Family::new();
    let chain = CertificateChain::parse_pem(&family.pem()).unwrap();
    let at = |moment| check_at(&family.pem(), &family.leaf, moment);
    let second = TimeDelta::seconds(1);
    let (not_before, not_after) = (chain.not_before(), chain.not_after());
    assert_eq!(at(not_before - NOT_BEFORE_TOLERANCE), Ok(()));
    assert_eq!(at(not_before - NOT_BEFORE_TOLERANCE - second), Err(ChainProblem::NotYetValid { not_before }));
    assert_eq!(at(not_after), Ok(()));
    assert_eq!(at(not_after + second), Err(ChainProblem::Expired { not_after }));
}

#[test]
fn only_the_given_time_counts_and_not_the_machines_clock() {
    for years in [-30, 30] {
        let then = now() + days(years * 365);
        let moved = |recipe: Recipe<'static>| Recipe { not_before: then - days(1), not_after: then + days(1), ..recipe };
        let family = Family::with(&moved(Recipe::issuer("Intermediate")), &moved(Recipe::server(&NAMES)));
        assert_eq!(check_at(&family.pem(), &family.leaf, then), Ok(()));
    }
}

#[test]
fn an_issuer_that_is_not_valid_at_the_time_is_found_with_its_position() {
    let intermediate = Recipe::issuer("Intermediate");
    let expired = Recipe { not_after: now() - TimeDelta::seconds(1), ..intermediate.clone() };
    let future = Recipe { not_before: now() + days(1), ..intermediate.clone() };
    let almost_begun = Recipe { not_before: now() + NOT_BEFORE_TOLERANCE, ..intermediate };
    let leaf = Recipe::server(&NAMES);
    assert_eq!(check_family(&Family::with(&expired, &leaf)), Err(ChainProblem::IssuerExpired { position: 1 }));
    assert_eq!(check_family(&Family::with(&future, &leaf)), Err(ChainProblem::IssuerNotYetValid { position: 1 }));
    assert_eq!(check_family(&Family::with(&almost_begun, &leaf)), Ok(()));

    let family = Family::new();
    let old_root = Recipe { not_after: now() - days(1), ..Recipe::issuer("Root") }.sign(&family.root.key, None);
    let old_root = Identity { key: family.root.key.clone(), certificate: old_root };
    assert_eq!(check(&(family.pem() + &old_root.pem()), &family.leaf), Err(ChainProblem::IssuerExpired { position: 2 }));
}

fn wrong_issuer(result: Result<(), ChainProblem>) -> (usize, &'static str) {
    match result {
        Err(ChainProblem::WrongIssuer { position, reason }) => (position, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn certificates_out_of_order_or_of_another_family_have_the_wrong_issuer() {
    let (family, other) = (Family::new(), Family::with(&Recipe::issuer("Other"), &Recipe::server(&NAMES)));
    let (leaf, intermediate, root) = (family.leaf.pem(), family.intermediate.pem(), family.root.pem());
    let mismatch = "subject issuer mismatch";
    for (pem, position) in [
        (format!("{leaf}{root}{intermediate}"), 0),
        (format!("{leaf}{root}"), 0),
        (format!("{leaf}{leaf}{intermediate}"), 0),
        (format!("{leaf}{}", other.intermediate.pem()), 0),
        (format!("{leaf}{intermediate}{}", other.intermediate.pem()), 1),
    ] {
        assert_eq!(wrong_issuer(check(&pem, &family.leaf)), (position, mismatch));
    }
}

#[test]
fn an_issuer_of_the_same_name_with_another_key_is_told_by_identifier_or_signature() {
    let (family, namesake) = (Family::new(), Family::new());
    let pem = family.leaf.pem() + &namesake.intermediate.pem();
    let (position, reason) = wrong_issuer(check(&pem, &family.leaf));
    assert_eq!((position, reason), (0, "authority and subject key identifier mismatch"));

    let without = |recipe: Recipe<'static>| Recipe { key_identifiers: false, ..recipe };
    let make = || Family::with(&without(Recipe::issuer("Intermediate")), &without(Recipe::server(&NAMES)));
    let (family, namesake) = (make(), make());
    let pem = family.leaf.pem() + &namesake.intermediate.pem();
    assert_eq!(check(&pem, &family.leaf), Err(ChainProblem::BadSignature { position: 0 }));
    let pem = family.pem() + &namesake.root.pem();
    assert_eq!(check(&pem, &family.leaf), Err(ChainProblem::BadSignature { position: 1 }));
}

#[test]
fn an_issuer_that_may_not_sign_certificates_is_the_wrong_one() {
    let intermediate = Recipe { role: Role::IssuerWithoutCertSign, ..Recipe::issuer("Intermediate") };
    let family = Family::with(&intermediate, &Recipe::server(&NAMES));
    assert_eq!(wrong_issuer(check_family(&family)), (0, "key usage does not include certificate signing"));
}

fn path_invalid(family: &Family, pem: &str) -> (usize, String) {
    assert!(openssl_verifies(family).is_err());
    match check(pem, &family.leaf) {
        Err(ChainProblem::PathInvalid { position, reason }) => (position, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_issuer_that_is_no_ca_makes_the_path_invalid() {
    let intermediate = Recipe { role: Role::Server, ..Recipe::issuer("Intermediate") };
    let family = Family::with(&intermediate, &Recipe::server(&NAMES));
    for pem in [family.pem(), family.pem() + &family.root.pem()] {
        assert_eq!(path_invalid(&family, &pem), (1, "invalid CA certificate".to_owned()));
    }
}

#[test]
fn a_path_longer_than_its_ca_allows_is_invalid() {
    let root = Recipe { role: Role::Issuer { path_length: Some(0) }, ..Recipe::issuer("Root") }.self_signed();
    let intermediate = Recipe::issuer("Intermediate").issued_by(&root);
    let leaf = Recipe::server(&NAMES).issued_by(&intermediate);
    let family = Family { root, intermediate, leaf };
    let (position, reason) = path_invalid(&family, &(family.pem() + &family.root.pem()));
    assert_eq!((position, reason.as_str()), (2, "path length constraint exceeded"));
}

#[test]
fn a_leaf_that_no_tls_server_may_use_makes_the_path_invalid() {
    let family = Family::with_leaf(&Recipe { role: Role::Client, ..Recipe::server(&NAMES) });
    assert_eq!(path_invalid(&family, &family.pem()).0, 0);
}

#[test]
fn problems_have_stable_codes_and_say_what_to_do() {
    let moment = now();
    let problems = [
        (ChainProblem::KeyMismatch, "key_mismatch"),
        (ChainProblem::NamesMismatch { missing: vec![], unexpected: vec![String::new()] }, "names_mismatch"),
        (ChainProblem::NotYetValid { not_before: moment }, "not_yet_valid"),
        (ChainProblem::Expired { not_after: moment }, "expired"),
        (ChainProblem::IssuerNotYetValid { position: 1 }, "issuer_not_yet_valid"),
        (ChainProblem::IssuerExpired { position: 1 }, "issuer_expired"),
        (ChainProblem::WrongIssuer { position: 0, reason: "subject issuer mismatch" }, "wrong_issuer"),
        (ChainProblem::BadSignature { position: 0 }, "bad_signature"),
        (ChainProblem::PathInvalid { position: 1, reason: "invalid CA certificate".to_owned() }, "path_invalid"),
    ];
    for (problem, code) in problems {
        assert_eq!(problem.code(), code);
        let text = problem.to_string();
        assert!(text.contains("; order again") || text.contains("; ask the CA") || text.contains("; check this machine's clock"), "{text}");
    }
    let mismatch = ChainProblem::NamesMismatch { missing: vec!["a.test".to_owned()], unexpected: vec![String::new()] };
    assert!(mismatch.to_string().contains("(missing: a.test; not ordered: a name that is no DNS name)"), "{mismatch}");
}

#[test]
fn a_failed_check_leaves_nothing_behind_for_the_next_one() {
    let family = Family::new();
    let forged = Recipe::server(&NAMES)
        .sign(&family.leaf.key, Some(&Identity { key: new_key(), certificate: family.intermediate.certificate.clone() }));
    let forged = Identity { key: family.leaf.key.clone(), certificate: forged };
    let pem = forged.pem() + &family.intermediate.pem();
    assert_eq!(check(&pem, &forged), Err(ChainProblem::BadSignature { position: 0 }));
    assert!(openssl::error::ErrorStack::get().errors().is_empty());
    assert_eq!(check_family(&family), Ok(()));
}
