//! What a customer may change of a certificate (requirements S3.33, section 7).

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use zonecert_domain::csr_subject::CsrSubject;
use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::{NamePolicy, NameSet, NameWish};
use zonecert_domain::plan::{self, CreateWish};
use zonecert_domain::scope::Scope;
use zonecert_store::certificates::{self, Certificate, Change, KeyPolicy, Kind};
use zonecert_store::events::{self, NewEvent};
use zonecert_store::key_resources::{self, KeyResource};
use zonecert_store::{Connection, StoreError, accounts, own_acme_accounts, renewal_schedule};

use super::csr_subject::CsrSubjectBody;
use super::key_choice::{self, KeyChoice};
use super::view::CertificateView;
use super::wish::{self, name_fault};
use super::{naming, profiles, taken, upload, zone};
use crate::acme_accounts::AcmeAccountChoice;
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Body, Id, given};

/// What is absent stays as it is; `label`, `subject`, `profile` and `acme_account_id` can be `null`, which takes them away.
#[derive(Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CertificateChange)]
pub(super) struct ChangeBody {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false, example = true)]
    auto_renew: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", example = "app")]
    name: Option<String>,
    /// Free text of one line.
    #[expect(clippy::option_option, reason = "absent and null mean different things in a change (RFC 7396)")]
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, example = json!(null))]
    label: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = values::KeyAlgorithm, required = false)]
    key_algorithm: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = values::KeyPolicy, required = false)]
    key_policy: Option<String>,
    /// A private key that is there already. The next version has it, and it is kept at renewals.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = values::KeyId, required = false)]
    private_key_id: Option<String>,
    /// An ACME account of your own, with which the next version is ordered; null for one of this service.
    #[expect(clippy::option_option, reason = "absent and null mean different things in a change (RFC 7396)")]
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<values::AcmeAccountId>)]
    acme_account_id: Option<Option<String>>,
    /// Whether its API keys may stand in the URL. Addresses are written down in more places than headers are.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false, example = false)]
    api_key_via_url: Option<bool>,
    /// All that the next requests say of the certificate's owner: a field that is left out is taken away.
    #[expect(clippy::option_option, reason = "absent and null mean different things in a change (RFC 7396)")]
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<CsrSubjectBody>)]
    subject: Option<Option<CsrSubjectBody>>,
    /// A kind of certificate that a CA offers: one of `GET /certificates/profiles`; the CA's own choice where it is null. The next version has it.
    #[expect(clippy::option_option, reason = "absent and null mean different things in a change (RFC 7396)")]
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100, example = json!(null))]
    profile: Option<Option<String>>,
    /// All names beside the domain, which itself stays. The next version has them.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<String>, required = false, example = json!(["www.your-domain.com"]))]
    sans: Option<Vec<String>>,
}

impl ChangeBody {
    /// Nobody has to pay for that.
    fn only_stops_renewal(&self) -> bool {
        *self == Self { auto_renew: Some(false), ..Self::default() }
    }

    /// Whether it has what an uploaded certificate has not.
    fn is_of_managed(&self) -> bool {
        let of_keys = self.key_algorithm.is_some() || self.key_policy.is_some() || self.private_key_id.is_some();
        of_keys || self.auto_renew.is_some() || self.sans.is_some()
    }
}

/// A change that is well-formed.
struct Wish {
    auto_renew: Option<bool>,
    name: Option<String>,
    #[expect(clippy::option_option, reason = "absent and null mean different things in a change (RFC 7396)")]
    label: Option<Option<String>>,
    key_algorithm: Option<KeyAlgorithm>,
    key_policy: Option<KeyPolicy>,
    private_key: Option<KeyChoice>,
    api_key_via_url: Option<bool>,
    #[expect(clippy::option_option, reason = "absent and null mean different things in a change (RFC 7396)")]
    csr_subject: Option<Option<CsrSubject>>,
    #[expect(clippy::option_option, reason = "absent and null mean different things in a change (RFC 7396)")]
    profile: Option<Option<String>>,
    names: Option<NameSet>,
}

/// Change a certificate
///
/// Needs a paid plan as well, unless auto-renewal is only turned off. What is changed of names, keys, subject and profile is taken up by the next version.
#[utoipa::path(
    patch, path = "/api/v1/certificates/{id}", tag = "certificates", operation_id = "changeCertificate",
    params(("id" = inline(values::CertificateId), Path)),
    request_body(content = ChangeBody, example = json!({"auto_renew": false})),
    responses(
        (status = 200, description = "The certificate.", body = CertificateView),
        (status = 400, description = "`domain_not_under_zone`: Domain not under zone\n`certificate_name_invalid`, `unknown_choice`\n\
            `key_algorithm_mismatch`, `key_types_equal`, `shared_key_is_kept`\n`country_invalid`\n\
            `profile_not_offered` at /profile: Give one of shortlived, tlsserver, or leave the profile out\n{names}\n`too_many_names`, `name_redundant_with_wildcard`\n{line}"),
        (status = 403, description = "`paid_plan_required`: Certificate management requires paid subscription\n\
            `wildcard_requires_elite`: Wildcard certificates require Elite plan\n\
            `auto_renew_requires_pro`: Auto-renewal requires Pro or Elite plan"),
        (status = 404, description = "`zone_not_found`: Zone not found or no permission\n\
            `key_not_found`: Private key not found or no permission\n\
            `acme_account_not_found`: ACME account not found or no permission"),
        (status = 409, description = "`acme_account_not_valid`: The ACME account is pending; see GET /api/v1/acme-accounts/acme_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f for why, \
            and use it once it is valid\n\
            `certificate_name_taken`: The account has a certificate with the name app already; give another\n\
            `certificate_is_uploaded`: The certificate was uploaded, so it is not issued or renewed here; upload its successor as a new version\n\
            `zone_not_verified`: The zone your-domain.com is not verified yet; set its TXT record and \
            POST /api/v1/zones/zone_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/verify first"),
    ),
)]
pub(super) async fn change(
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    body: Body<ChangeBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    let body = body.read();
    if !body.as_ref().is_ok_and(ChangeBody::only_stops_renewal) {
        plan::check_paid(caller.plan)?;
    }
    let (id, body, policy) = (id.read()?, body?, &app.settings.names);
    let certificate = app.store.tenant_write(caller.account, async move |conn| apply(conn, &caller, id, &body, policy).await).await?;
    Ok(HttpResponse::Ok().json(CertificateView::new(&certificate)))
}

/// Errors in the order of requirements S3.53.
async fn apply(
    conn: &mut Connection,
    caller: &Caller,
    id: CertificateId,
    body: &ChangeBody,
    policy: &NamePolicy,
) -> Result<Certificate, Problem> {
    let account = caller.account;
    let before = certificates::get_certificate(conn, account, id).await?;
    if before.kind == Kind::Uploaded && body.is_of_managed() {
        return Err(upload::not_managed());
    }
    let wish = Wish::parse(body, &before, policy)?;
    if let Some(names) = &wish.names {
        let zone = zone::get_verified(conn, account, before.zone).await?;
        zone::check_under(names, &zone.name)?;
    }
    if let Some(Some(profile)) = &wish.profile {
        profiles::check(conn, before.environment, profile).await?;
    }
    if !body.only_stops_renewal() {
        let plan = accounts::get_account(conn, account).await?.plan;
        let wants_wildcard = wish.names.as_ref().is_some_and(NameSet::has_wildcard);
        plan::check_create(plan, &CreateWish { wants_wildcard, wants_auto_renew: wish.auto_renew == Some(true) })?;
    }
    let chosen = wish.check_key(conn, account, &before).await?;
    if let (Some(alternate), Some(algorithm)) = (&before.alternate, chosen.as_ref().map(|key| key.algorithm).or(wish.key_algorithm)) {
        let pointer = if chosen.is_some() { "/private_key_id" } else { "/key_algorithm" };
        wish::check_alternate(pointer, algorithm, alternate.key_algorithm)?;
    }
    let mut changed = wish.difference(&before);
    if let Some(key) = &chosen {
        if before.private_key != Some(key.id) {
            changed.insert("private_key_id".to_owned(), json!({"from": before.private_key, "to": key.id}));
        }
        if before.key_policy == KeyPolicy::Rotate {
            changed.insert("key_policy".to_owned(), json!({"from": KeyPolicy::Rotate.as_str(), "to": KeyPolicy::Keep.as_str()}));
        }
    }
    let acme_account = match body.acme_account_id.as_ref() {
        Some(Some(text)) => Some(AcmeAccountChoice::parse(text).get(conn, account).await?),
        Some(None) => None,
        None => before.acme_account,
    };
    if acme_account != before.acme_account {
        changed.insert("acme_account_id".to_owned(), json!({"from": before.acme_account, "to": acme_account}));
    }
    if changed.is_empty() {
        return Ok(before);
    }
    let written = certificates::change_certificate(conn, account, id, &wish.change()).await;
    written.map_err(|error| taken::problem(error, wish.name.as_deref()))?;
    if let Some(key) = &chosen {
        key_choice::take(conn, account, id, key).await?;
    }
    if acme_account != before.acme_account {
        own_acme_accounts::use_for(conn, account, id, acme_account).await?;
    }
    renewal_schedule::reschedule_certificate(conn, account, id).await?;
    record(conn, caller, id, changed).await?;
    Ok(certificates::get_certificate(conn, account, id).await?)
}

impl Wish {
    /// Errors with all that is wrong with the body.
    fn parse(body: &ChangeBody, certificate: &Certificate, policy: &NamePolicy) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        let name = faults.check(body.name.as_deref().map(naming::check).transpose());
        let label = faults.check(body.label.as_ref().map(|label| wish::label(label.as_deref())).transpose());
        let key_algorithm = faults.check(wish::key_algorithm(body.key_algorithm.as_deref()));
        let key_policy = faults.check(wish::key_policy(body.key_policy.as_deref()));
        let csr_subject = body.subject.as_ref().map(|subject| subject.as_ref().and_then(|subject| subject.parse(&mut faults)));
        let names = body.sans.as_deref().map(|sans| parse_names(certificate.domain(), sans, policy)).transpose();
        let names = names.map_err(|invalid| faults.extend(invalid)).ok();
        let wish = (|| {
            Some(Self {
                auto_renew: body.auto_renew,
                name: name?.map(str::to_owned),
                label: label?,
                key_algorithm: key_algorithm?,
                key_policy: key_policy?,
                private_key: body.private_key_id.as_deref().map(KeyChoice::parse),
                api_key_via_url: body.api_key_via_url,
                csr_subject,
                profile: body.profile.clone(),
                names: names?,
            })
        })();
        faults.finish(wish)
    }

    /// The key that was chosen, if one was. A key that is shared, or is to be, stays as it is (requirements X19).
    async fn check_key(&self, conn: &mut Connection, account: AccountId, before: &Certificate) -> Result<Option<KeyResource>, Problem> {
        if let Some(choice) = self.private_key {
            let key = choice.get(conn, account).await?;
            key_choice::check(&key, self.key_algorithm, self.key_policy)?;
            return Ok(Some(key));
        }
        if let Some(id) = before.private_key {
            let key = key_resources::get_key(conn, account, id).await?;
            if key.is_shared() {
                key_choice::check(&key, self.key_algorithm, self.key_policy)?;
            }
        }
        Ok(None)
    }

    fn change(&self) -> Change<'_> {
        Change {
            auto_renew: self.auto_renew,
            name: self.name.as_deref(),
            label: self.label.as_ref().map(Option::as_deref),
            // Of a key that was chosen, both are the key's.
            key_algorithm: self.key_algorithm.filter(|_| self.private_key.is_none()),
            key_policy: self.key_policy,
            api_key_via_url: self.api_key_via_url,
            csr_subject: self.csr_subject.as_ref().map(Option::as_ref),
            profile: self.profile.as_ref().map(Option::as_deref),
            sans: self.names.as_ref().map(NameSet::sans),
        }
    }

    /// By field, what was there and what is to be there, where the two differ.
    fn difference(&self, before: &Certificate) -> Map<String, Value> {
        let fields = [
            ("auto_renew", self.auto_renew.map(|new| (json!(before.auto_renew), json!(new)))),
            ("name", self.name.as_ref().map(|new| (json!(before.name), json!(new)))),
            ("label", self.label.as_ref().map(|new| (json!(before.label), json!(new)))),
            ("key_algorithm", self.key_algorithm.map(|new| (json!(before.key_algorithm), json!(new)))),
            ("key_policy", self.key_policy.map(|new| (json!(before.key_policy.as_str()), json!(new.as_str())))),
            ("api_key_via_url", self.api_key_via_url.map(|new| (json!(before.api_key_via_url), json!(new)))),
            ("subject", self.csr_subject.as_ref().map(|new| (json!(before.csr_subject), json!(new)))),
            ("profile", self.profile.as_ref().map(|new| (json!(before.profile), json!(new)))),
            ("sans", self.names.as_ref().map(|new| (json!(before.sans()), json!(new.sans())))),
        ];
        let changed = fields.into_iter().filter_map(|(field, pair)| pair.filter(|(from, to)| from != to).map(|pair| (field, pair)));
        changed.map(|(field, (from, to))| (field.to_owned(), json!({"from": from, "to": to}))).collect()
    }
}

/// The domain with other names beside it. The base of a wildcard is one of them only where it is listed.
fn parse_names(domain: &str, sans: &[String], policy: &NamePolicy) -> Result<NameSet, Vec<FieldError>> {
    let wish = NameWish { domain, sans, wildcard: false, include_base: false };
    NameSet::parse(&wish, policy).map_err(|invalid| invalid.iter().map(name_fault).collect())
}

async fn record(conn: &mut Connection, caller: &Caller, id: CertificateId, changed: Map<String, Value>) -> Result<(), StoreError> {
    let fields = changed.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let next = if ["sans", "key_algorithm", "private_key_id", "subject", "profile", "acme_account_id"]
        .iter()
        .any(|&field| changed.contains_key(field))
    {
        "; the next version has it"
    } else {
        ""
    };
    let details = json!({"changed": changed});
    audit::record(conn, caller, "certificate.changed", &id.to_string(), details.clone()).await?;
    let event = NewEvent { certificate: Some(id), details, ..NewEvent::info("certificate_changed", format!("Changed: {fields}{next}")) };
    events::record(conn, caller.account, event).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<ChangeBody, serde_json::Error> {
        serde_json::from_value(body)
    }

    #[test]
    fn only_what_is_optional_can_be_taken_away() {
        let taken_away = read(json!({"label": null, "subject": null, "profile": null, "acme_account_id": null})).unwrap();
        assert_eq!((taken_away.label, taken_away.subject, taken_away.profile), (Some(None), Some(None), Some(None)));
        assert_eq!(taken_away.acme_account_id, Some(None));
        assert_eq!(read(json!({})).unwrap(), ChangeBody::default());
        for field in ["auto_renew", "name", "key_algorithm", "key_policy", "private_key_id", "api_key_via_url", "sans"] {
            let error = read(json!({field: null})).unwrap_err().to_string();
            assert!(error.starts_with("invalid type: null"), "{field}: {error}");
        }
    }

    #[test]
    fn turning_renewal_off_and_nothing_else_is_free() {
        assert!(read(json!({"auto_renew": false})).unwrap().only_stops_renewal());
        for more in [json!({}), json!({"auto_renew": true}), json!({"auto_renew": false, "label": null})] {
            assert!(!read(more).unwrap().only_stops_renewal());
        }
    }
}
