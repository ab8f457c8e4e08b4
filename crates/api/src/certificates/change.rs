//! What a customer may change of a certificate (requirements S3.33, section 7).

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use zonecert_domain::id::{AccountId, CertificateId};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::{NamePolicy, NameSet, NameWish};
use zonecert_domain::plan::{self, CreateWish};
use zonecert_domain::scope::Scope;
use zonecert_store::certificates::{self, Certificate, Change, KeyPolicy, Kind};
use zonecert_store::events::{self, NewEvent};
use zonecert_store::key_resources::{self, KeyResource};
use zonecert_store::{Connection, StoreError, accounts, renewal_schedule};

use super::key_choice::{self, KeyChoice};
use super::view::CertificateView;
use super::wish::{self, name_fault};
use super::{naming, taken, upload, zone};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{Body, Id, given};

/// What is absent stays as it is; only `label` can be `null`, which takes it away.
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
    /// Whether its API keys may stand in the URL. Addresses are written down in more places than headers are.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = bool, required = false, example = false)]
    api_key_via_url: Option<bool>,
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
    names: Option<NameSet>,
}

/// Change a certificate
///
/// Needs a paid plan as well, unless auto-renewal is only turned off. What is changed of names and keys is taken up by the next version.
#[utoipa::path(
    patch, path = "/api/v1/certificates/{id}", tag = "certificates", operation_id = "changeCertificate",
    params(("id" = inline(values::CertificateId), Path)),
    request_body(content = ChangeBody, example = json!({"auto_renew": false})),
    responses(
        (status = 200, description = "The certificate.", body = CertificateView),
        (status = 400, description = "`domain_not_under_zone`: Domain not under zone\n`certificate_name_invalid`, `unknown_choice`\n\
            `key_algorithm_mismatch`, `shared_key_is_kept`\n{names}\n`too_many_names`, `name_redundant_with_wildcard`\n{line}"),
        (status = 403, description = "`paid_plan_required`: Certificate management requires paid subscription\n\
            `wildcard_requires_elite`: Wildcard certificates require Elite plan\n\
            `auto_renew_requires_pro`: Auto-renewal requires Pro or Elite plan"),
        (status = 404, description = "`zone_not_found`: Zone not found or no permission\n\
            `key_not_found`: Private key not found or no permission"),
        (status = 409, description = "`certificate_name_taken`: The account has a certificate with the name app already; give another\n\
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
    if !body.only_stops_renewal() {
        let plan = accounts::get_account(conn, account).await?.plan;
        let wants_wildcard = wish.names.as_ref().is_some_and(NameSet::has_wildcard);
        plan::check_create(plan, &CreateWish { wants_wildcard, wants_auto_renew: wish.auto_renew == Some(true) })?;
    }
    let chosen = wish.check_key(conn, account, &before).await?;
    let mut changed = wish.difference(&before);
    let another = chosen.filter(|key| before.private_key != Some(key.id));
    if let Some(key) = &another {
        changed.insert("private_key_id".to_owned(), json!({"from": before.private_key, "to": key.id}));
    }
    if changed.is_empty() {
        return Ok(before);
    }
    let written = certificates::change_certificate(conn, account, id, &wish.change()).await;
    written.map_err(|error| taken::problem(error, wish.name.as_deref()))?;
    if let Some(key) = &another {
        key_resources::use_key(conn, account, id, key).await?;
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
    let next = if ["sans", "key_algorithm", "private_key_id"].iter().any(|&field| changed.contains_key(field)) {
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
    fn only_the_label_can_be_taken_away() {
        assert_eq!(read(json!({"label": null})).unwrap().label, Some(None));
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
