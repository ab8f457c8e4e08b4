//! What a client asks for when it requests a certificate, read and checked (requirements section 7).

use serde::Deserialize;
use utoipa::ToSchema;
use zonecert_domain::csr_subject::CsrSubject;
use zonecert_domain::id::ZoneId;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::{InvalidName, NamePolicy, NameSet, NameWish};
use zonecert_store::certificates::KeyPolicy;
use zonecert_store::issuing::Environment;

use super::csr_subject::CsrSubjectBody;
use super::key_choice::KeyChoice;
use super::naming;
use crate::acme_accounts::AcmeAccountChoice;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::text;

const MAX_LABEL_LENGTH: usize = 200;

/// A certificate that is wanted. A field that is `null` counts as absent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCertificate)]
pub(super) struct WishBody {
    #[schema(example = "zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f")]
    zone_id: String,
    /// At the apex of the zone or below it. May be a wildcard: `*.your-domain.com`.
    #[schema(example = "app.your-domain.com")]
    domain: String,
    /// More names. At most 100 names in all, the domain included.
    #[schema(example = json!(["www.your-domain.com"]))]
    sans: Option<Vec<String>>,
    /// Makes `*.` of the domain. False where it is absent.
    wildcard: Option<bool>,
    /// With `wildcard`: whether the domain itself is added as well. True where it is absent.
    include_base: Option<bool>,
    /// By default as the plan allows.
    auto_renew: Option<bool>,
    /// Unique in the account. Chosen after the domain where it is absent.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", example = "app")]
    name: Option<String>,
    /// Free text of one line.
    #[schema(min_length = 1, max_length = 200)]
    label: Option<String>,
    /// `rsa2048` where it is absent.
    #[schema(value_type = Option<values::KeyAlgorithm>)]
    key_algorithm: Option<String>,
    /// Makes it a dual certificate: RSA beside ECDSA, for servers that load one of each. Of the type that `key_algorithm` is not.
    #[schema(value_type = Option<values::KeyAlgorithm>)]
    alternate_key_algorithm: Option<String>,
    /// `rotate` where it is absent.
    #[schema(value_type = Option<values::KeyPolicy>)]
    key_policy: Option<String>,
    /// A private key that is there already, which is then kept at renewals. A new one where it is absent.
    #[schema(value_type = Option<values::KeyId>)]
    private_key_id: Option<String>,
    /// What the request says of the certificate's owner. The CA may ignore it.
    subject: Option<CsrSubjectBody>,
    /// A kind of certificate that a CA offers: one of `GET /certificates/profiles`. The CA's own choice where it is absent.
    #[schema(min_length = 1, max_length = 100, example = "shortlived")]
    profile: Option<String>,
    /// An ACME account of your own, whose CA it is then ordered from, whatever the environment is. One of this service where it is absent.
    #[schema(value_type = Option<values::AcmeAccountId>)]
    acme_account_id: Option<String>,
    /// `production` where it is absent.
    #[schema(value_type = Option<values::Environment>)]
    environment: Option<String>,
    /// Whether issuance begins now. True where it is absent.
    place_order: Option<bool>,
}

/// A request that is well-formed. Whether it may be had is for the zone, the plan and the other certificates to say.
#[derive(Debug)]
pub(super) struct Wish {
    /// None where the text is no identifier of a zone: then there is no such zone.
    pub(super) zone: Option<ZoneId>,
    pub(super) names: NameSet,
    /// None where nothing was said: as the plan allows.
    pub(super) auto_renew: Option<bool>,
    /// None where we choose it.
    pub(super) name: Option<String>,
    pub(super) label: Option<String>,
    pub(super) key_algorithm: KeyAlgorithm,
    /// That of the other key of a dual certificate.
    pub(super) alternate_key_algorithm: Option<KeyAlgorithm>,
    pub(super) key_policy: KeyPolicy,
    /// None where it gets a key of its own.
    pub(super) private_key: Option<KeyChoice>,
    /// None where it is ordered with ours.
    pub(super) acme_account: Option<AcmeAccountChoice>,
    /// Algorithm and policy as far as they were given, for a key that is there to be held against.
    pub(super) given_of_key: (Option<KeyAlgorithm>, Option<KeyPolicy>),
    /// None where it says nothing.
    pub(super) csr_subject: Option<CsrSubject>,
    /// None where the CA chooses.
    pub(super) profile: Option<String>,
    pub(super) environment: Environment,
    /// Whether it is to be issued now (requirements S0.9, X1).
    pub(super) place_order: bool,
}

impl Wish {
    /// Reads the body. Errors with all that is wrong with it.
    pub(super) fn parse(body: &WishBody, policy: &NamePolicy) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let names = NameSet::parse(
            &NameWish {
                domain: &body.domain,
                sans: body.sans.as_deref().unwrap_or_default(),
                wildcard: body.wildcard.unwrap_or(false),
                include_base: body.include_base.unwrap_or(true),
            },
            policy,
        );
        let names = names.map_err(|invalid| faults.extend(invalid.iter().map(name_fault))).ok();
        let name = faults.check(body.name.as_deref().map(naming::check).transpose());
        let label = faults.check(label(body.label.as_deref()));
        let key_algorithm = faults.check(key_algorithm(body.key_algorithm.as_deref()));
        let key_policy = faults.check(key_policy(body.key_policy.as_deref()));
        let csr_subject = body.subject.as_ref().and_then(|subject| subject.parse(&mut faults));
        let alternate_key_algorithm = faults.check(algorithm("/alternate_key_algorithm", body.alternate_key_algorithm.as_deref()));
        // That of a key that is there already is known once that is found.
        if let (Some(first), Some(Some(alternate)), None) = (key_algorithm, alternate_key_algorithm, &body.private_key_id) {
            faults.check(check_alternate("/alternate_key_algorithm", first.unwrap_or_default(), alternate));
        }
        let environment = faults.check(environment(body.environment.as_deref()));
        let wish = (|| {
            Some(Self {
                zone: body.zone_id.parse().ok(),
                names: names?,
                auto_renew: body.auto_renew,
                name: name?.map(str::to_owned),
                label: label?,
                key_algorithm: key_algorithm?.unwrap_or_default(),
                alternate_key_algorithm: alternate_key_algorithm?,
                key_policy: key_policy?.unwrap_or_default(),
                private_key: body.private_key_id.as_deref().map(KeyChoice::parse),
                acme_account: body.acme_account_id.as_deref().map(AcmeAccountChoice::parse),
                given_of_key: (key_algorithm?, key_policy?),
                csr_subject,
                profile: body.profile.clone(),
                environment: environment?.unwrap_or(Environment::Production),
                place_order: body.place_order.unwrap_or(true),
            })
        })();
        faults.finish(wish)
    }
}

pub(super) fn name_fault(invalid: &InvalidName) -> FieldError {
    FieldError::new(invalid.field.pointer(), invalid.error.code(), invalid.error.detail())
}

/// Free text of the customer's, if there is any.
pub(super) fn label(given: Option<&str>) -> Result<Option<String>, FieldError> {
    given.map(|label| text::line("/label", label, MAX_LABEL_LENGTH)).transpose()
}

pub(super) fn key_algorithm(given: Option<&str>) -> Result<Option<KeyAlgorithm>, FieldError> {
    algorithm("/key_algorithm", given)
}

/// `pointer` says where it stands in the body.
pub(crate) fn algorithm(pointer: &str, given: Option<&str>) -> Result<Option<KeyAlgorithm>, FieldError> {
    text::choice(pointer, given, &KeyAlgorithm::ALL, KeyAlgorithm::as_str)
}

/// Whether the two keys of a dual certificate are of different types: a server that loads two of one type uses one of them.
pub(super) fn check_alternate(pointer: &str, first: KeyAlgorithm, alternate: KeyAlgorithm) -> Result<(), FieldError> {
    if first.key_type() != alternate.key_type() {
        return Ok(());
    }
    let detail = format!("{first} and {alternate} are of the same type; of a dual certificate one key is RSA and the other ECDSA");
    Err(FieldError::new(pointer, "key_types_equal", detail))
}

pub(super) fn key_policy(given: Option<&str>) -> Result<Option<KeyPolicy>, FieldError> {
    text::choice("/key_policy", given, &KeyPolicy::ALL, KeyPolicy::as_str)
}

fn environment(given: Option<&str>) -> Result<Option<Environment>, FieldError> {
    text::choice("/environment", given, &Environment::ALL, Environment::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(body: Value) -> Result<Wish, Problem> {
        let policy = NamePolicy { allow_special_use: true, ..NamePolicy::default() };
        Wish::parse(&serde_json::from_value(body).unwrap(), &policy)
    }

    #[test]
    fn absent_and_null_fields_take_their_defaults() {
        let least = json!({"zone_id": ZoneId::new(), "domain": "app.example.test"});
        let nulls = json!({
            "zone_id": ZoneId::new(), "domain": "app.example.test", "sans": null, "wildcard": null, "include_base": null,
            "auto_renew": null, "name": null, "label": null, "key_algorithm": null, "alternate_key_algorithm": null, "key_policy": null, "private_key_id": null,
            "subject": null, "profile": null, "acme_account_id": null, "environment": null,
            "place_order": null,
        });
        for body in [least, nulls] {
            let wish = parse(body).unwrap();
            assert_eq!(wish.names.names().len(), 1);
            assert_eq!((wish.auto_renew, wish.name, wish.label), (None, None, None));
            assert_eq!(
                (wish.key_algorithm, wish.alternate_key_algorithm, wish.key_policy),
                (KeyAlgorithm::Rsa2048, None, KeyPolicy::Rotate)
            );
            assert_eq!((wish.environment, wish.place_order), (Environment::Production, true));
            assert_eq!((wish.csr_subject, wish.profile), (None, None));
        }
    }

    #[test]
    fn fields_of_the_subject_are_trimmed_and_one_that_says_nothing_is_none() {
        let subject = |subject: Value| {
            parse(json!({"zone_id": ZoneId::new(), "domain": "app.example.test", "subject": subject})).map(|wish| wish.csr_subject)
        };
        let given = json!({"country": "ch", "state": null, "organization": " Zürich AG ", "organizational_unit": "ü".repeat(64)});
        let expected = CsrSubject {
            country: Some("CH".to_owned()),
            organization: Some("Zürich AG".to_owned()),
            organizational_unit: Some("ü".repeat(64)),
            ..CsrSubject::default()
        };
        assert_eq!(subject(given).unwrap(), Some(expected));
        assert_eq!(subject(json!({})).unwrap(), None);
        assert_eq!(subject(json!({"locality": null})).unwrap(), None);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let problem = parse(json!({
            "zone_id": "zone_x", "domain": "co.uk", "sans": ["ok.example.test", "a_b.example.test"], "name": "a b", "label": "\u{0}",
            "key_algorithm": "rsa1024", "key_policy": "", "environment": "prod",
            "subject": {"country": "CHE", "state": "", "locality": "x".repeat(129), "organization": "a\nb", "organizational_unit": "x".repeat(65)},
        }))
        .unwrap_err();
        assert_eq!(problem.code(), "invalid_input");
        let rendered = format!("{problem:?}");
        let of_subject = ["country", "state", "locality", "organization", "organizational_unit"].map(|field| format!("/subject/{field}"));
        let others = ["/domain", "/sans/1", "/name", "/label", "/key_algorithm", "/key_policy", "/environment"].map(str::to_owned);
        for pointer in others.into_iter().chain(of_subject) {
            assert!(rendered.contains(&format!("pointer: \"{pointer}\"")), "{pointer}: {rendered}");
        }
    }

    #[test]
    fn a_single_fault_gives_the_problem_its_code() {
        let problem = parse(json!({"zone_id": "x", "domain": "app.example.test", "sans": ["127.0.0.1"]})).unwrap_err();
        assert_eq!(problem.code(), "name_is_ip_address");
    }

    #[test]
    fn a_text_that_is_no_zone_id_is_a_zone_that_is_not_there() {
        assert_eq!(parse(json!({"zone_id": "nonsense", "domain": "app.example.test"})).unwrap().zone, None);
    }
}
