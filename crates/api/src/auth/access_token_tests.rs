use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::PrivateKey;

use super::*;

const ISSUER: &str = "https://api.zonecert.test";

fn pem(algorithm: KeyAlgorithm) -> Zeroizing<String> {
    PrivateKey::generate(algorithm).unwrap().to_pkcs8_pem().unwrap()
}

fn p256() -> Zeroizing<String> {
    pem(KeyAlgorithm::EcdsaP256)
}

fn tokens(pem: &str) -> AccessTokens {
    AccessTokens::new(pem, ISSUER).unwrap()
}

fn somebody() -> Subject {
    Subject { account: AccountId::new(), user: UserId::new(), signed_in_at: noon() }
}

fn noon() -> DateTime<Utc> {
    "2026-08-01T12:00:00Z".parse().unwrap()
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[test]
fn a_token_says_who_and_until_when() {
    let tokens = tokens(&p256());
    let subject = somebody();
    let token = tokens.sign(subject).unwrap();
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((&header["alg"], &header["kid"]), (&json!("ES256"), &json!(tokens.verifiers[0].kid)));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!(ISSUER)));
    assert_eq!((&claims["sub"], &claims["acct"]), (&json!(subject.user), &json!(subject.account)));
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(noon().timestamp()), &json!(noon().timestamp() + 900)));
    assert_eq!(claims["iat_us"], json!(noon().timestamp_micros()));
    assert_ne!(part(&tokens.sign(subject).unwrap(), 1)["jti"], claims["jti"]);
    assert_eq!(tokens.verify(&token, noon()), Ok(subject));
}

#[test]
fn a_token_ends_after_15_minutes() {
    let tokens = tokens(&p256());
    let token = tokens.sign(somebody()).unwrap();
    assert!(tokens.verify(&token, noon() + TimeDelta::seconds(899)).is_ok());
    assert_eq!(tokens.verify(&token, noon() + TimeDelta::seconds(900)), Err(NotAccepted));
}

#[test]
fn an_old_key_verifies_until_it_is_taken_out() {
    let (old, new) = (p256(), p256());
    let token = tokens(&old).sign(somebody()).unwrap();
    let both = tokens(&format!("{}\n\n{}", *new, *old));
    assert!(both.verify(&token, noon()).is_ok());
    assert_eq!(part(&both.sign(somebody()).unwrap(), 0)["kid"], both.verifiers[0].kid);
    assert_eq!(tokens(&new).verify(&token, noon()), Err(NotAccepted));
}

#[test]
fn another_issuers_token_is_not_accepted() {
    let key = p256();
    let token = AccessTokens::new(&key, "https://other.zonecert.test").unwrap().sign(somebody()).unwrap();
    assert_eq!(tokens(&key).verify(&token, noon()), Err(NotAccepted));
}

#[test]
fn the_token_does_not_choose_its_algorithm() {
    let tokens = tokens(&p256());
    let token = tokens.sign(somebody()).unwrap();
    let kid = &tokens.verifiers[0].kid;
    let claims = token.split('.').nth(1).unwrap();

    let unsigned = format!("{}.{claims}.", encode(&json!({"alg": "none", "kid": kid})));
    assert_eq!(tokens.verify(&unsigned, noon()), Err(NotAccepted));

    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(kid.clone());
    let public = Jwk::from_encoding_key(&tokens.signer, ALGORITHM).unwrap();
    for secret in [serde_json::to_string(&public).unwrap(), kid.clone(), String::new()] {
        let forged = jsonwebtoken::encode(&header, &part(&token, 1), &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        assert_eq!(tokens.verify(&forged, noon()), Err(NotAccepted));
    }
}

#[test]
fn a_token_that_was_tampered_with_is_not_accepted() {
    let tokens = tokens(&p256());
    let token = tokens.sign(somebody()).unwrap();
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let mut later = part(&token, 1);
    later["exp"] = json!(noon().timestamp() + 1_000_000);
    let no_kid = encode(&json!({"alg": "ES256"}));
    for forged in [
        format!("{header}.{}.{signature}", encode(&later)),
        format!("{no_kid}.{claims}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        header.to_owned(),
        String::new(),
    ] {
        assert_eq!(tokens.verify(&forged, noon()), Err(NotAccepted), "{forged}");
    }
}

#[test]
fn a_token_without_one_of_its_claims_is_not_accepted() {
    let tokens = tokens(&p256());
    let whole = part(&tokens.sign(somebody()).unwrap(), 1);
    let signed = |claims: &Value| jsonwebtoken::encode(&tokens.header, claims, &tokens.signer).unwrap();
    assert!(tokens.verify(&signed(&whole), noon()).is_ok());
    for claim in ["iss", "aud", "sub", "acct", "exp", "iat_us"] {
        let mut claims = whole.clone();
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(tokens.verify(&signed(&claims), noon()), Err(NotAccepted), "{claim}");
    }
}

#[test]
fn keys_of_another_kind_are_refused_and_not_repeated() {
    let other_curve = pem(KeyAlgorithm::EcdsaP384);
    let rsa = pem(KeyAlgorithm::Rsa2048);
    let good = p256();
    let second_is_bad = format!("{}{}", *good, *rsa);
    let cut_off = &good[..good.len() / 2];
    for setting in ["", "  \n", "hunter2", &other_curve, &rsa, &second_is_bad, cut_off] {
        let Err(error) = AccessTokens::new(setting, ISSUER) else { panic!("accepted") };
        let text = error.to_string();
        assert!(text.starts_with("token keys: ") && text.contains("openssl genpkey"), "{text}");
        assert!(setting.lines().filter(|line| line.len() > 4).all(|line| !text.contains(line)), "{text}");
    }
}
