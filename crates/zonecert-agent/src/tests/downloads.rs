//! What is put in place, and what is refused.

use chrono::TimeDelta;
use rustls::pki_types::ServerName;

use super::authority::Authority;
use crate::pair::{Pair, PairFault};
use crate::round::now;

#[test]
fn a_pair_that_belongs_together_is_taken_with_its_chain_with_the_root_and_with_none() {
    let authority = Authority::new();
    let issued = authority.issue(1);
    let name = ServerName::try_from("www.example.test").unwrap();
    for chain in [issued.chain.clone(), format!("{}{}", issued.chain, authority.root_pem()), String::new()] {
        let pair = Pair::new(issued.certificate.clone(), chain, issued.key.clone());
        assert_eq!(pair.check(&issued.version, Some(&name), now()), Ok(()));
    }
}

#[test]
fn a_pair_that_does_not_belong_together_is_refused() {
    let authority = Authority::new();
    let (issued, other) = (authority.issue(1), authority.issue(2));
    let check = |certificate: &str, chain: &str, key: &str| {
        Pair::new(certificate.to_owned(), chain.to_owned(), key.to_owned()).check(&issued.version, None, now()).unwrap_err()
    };
    let (certificate, chain, key) = (issued.certificate.as_str(), issued.chain.as_str(), issued.key.as_str());
    assert_eq!(check(&certificate[..certificate.len() / 2], chain, key), PairFault::NotPem("certificate"));
    assert_eq!(check(certificate, &chain.replace("MII", "!!!"), key), PairFault::NotPem("chain"));
    assert_eq!(check(certificate, chain, &key[..key.len() / 2]), PairFault::NotPem("private key"));
    assert_eq!(check(&other.certificate, chain, key), PairFault::AnotherCertificate);
    assert_eq!(check(certificate, chain, &other.key), PairFault::AnotherKey);
    let root = authority.root_pem();
    for chain in
        [root.clone(), format!("{root}{chain}"), Authority::new().issue(1).chain, format!("{chain}{}", Authority::new().root_pem())]
    {
        let fault = check(certificate, &chain, key);
        assert!(matches!(fault, PairFault::Chain(_)), "{fault}");
    }
}

#[test]
fn a_certificate_that_cannot_serve_is_refused() {
    let authority = Authority::new();
    let issued = authority.issue(1);
    let pair = issued.pair();
    let mut version = issued.version.clone();
    version.names.push("shop.example.org".to_owned());
    assert_eq!(pair.check(&version, None, now()), Err(PairFault::Name("shop.example.org".to_owned())));
    let name = ServerName::try_from("deep.www.example.test").unwrap();
    assert_eq!(pair.check(&issued.version, Some(&name), now()), Err(PairFault::ProbeName("deep.www.example.test".to_owned())));

    let expired = authority.issue_between(2, now() - TimeDelta::days(9), now() - TimeDelta::seconds(1));
    assert_eq!(expired.pair().check(&expired.version, None, now()), Err(PairFault::Expired(expired.version.not_after)));
    let early = authority.issue_between(3, now() + TimeDelta::days(1), now() + TimeDelta::days(9));
    assert_eq!(early.pair().check(&early.version, None, now()), Err(PairFault::NotYet(early.version.not_before)));
    let by_skew = authority.issue_between(4, now() + TimeDelta::minutes(2), now() + TimeDelta::days(9));
    assert_eq!(by_skew.pair().check(&by_skew.version, None, now()), Ok(()));
}

#[test]
fn no_fault_shows_a_key() {
    let authority = Authority::new();
    let (issued, other) = (authority.issue(1), authority.issue(2));
    let line = other.key.lines().nth(1).unwrap();
    for key in [other.key.clone(), other.key.replace("PRIVATE KEY", "SECRET"), other.key.replace("MI", "AA")] {
        let fault = Pair::new(issued.certificate.clone(), issued.chain.clone(), key).check(&issued.version, None, now()).unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains(&line[2..20]), "{fault:?}");
    }
}
