//! Stores certificates that customers bring with their keys (requirements S2.3, S3.52), and new versions of them.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use zeroize::Zeroizing;
use zonecert_domain::id::CertificateId;
use zonecert_domain::name::DnsName;
use zonecert_domain::plan;
use zonecert_domain::scope::Scope;
use zonecert_pki::MasterKeys;
use zonecert_pki::upload::{self, PemUpload, Upload, UploadError, Warning};
use zonecert_store::certificates::{self, Certificate, Kind, NewName};
use zonecert_store::events::{self, NewEvent};
use zonecert_store::uploads::{self, NewUpload};
use zonecert_store::{Connection, StoreError, accounts};

use super::view::CertificateView;
use super::{naming, taken, wish};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::clock;
use crate::faults::Faults;
use crate::idempotency::{self, Idempotency, Reply};
use crate::openapi::values;
use crate::problem::{FieldError, Problem};
use crate::request::{self, Id};
use crate::turn;

/// Three texts of PEM at their longest do not come at once.
const MAX_BODY_BYTES: usize = 512 * 1024;

/// Opening a key takes up to half a second of CPU: one at a time, so that the other cores go on answering.
static TURN: Semaphore = Semaphore::const_new(1);

/// A body that is longer than others.
pub(super) struct UploadBody<T>(Result<T, Problem>);

impl<T: serde::de::DeserializeOwned + 'static> FromRequest for UploadBody<T> {
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Infallible>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { Ok(Self(request::read_json(&request, payload, MAX_BODY_BYTES).await)) })
    }
}

/// A certificate with its key: in PEM, or as a PKCS#12 file. A field that is `null` counts as absent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUpload)]
pub(super) struct NewUploadBody {
    /// Unique in the account. Chosen after the domain where it is absent.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", example = "shop")]
    name: Option<String>,
    /// Free text of one line.
    #[schema(min_length = 1, max_length = 200)]
    label: Option<String>,
    /// PEM: the certificate, and in any order its issuers and its key, where these are not apart. Remarks between the blocks are left out.
    #[schema(max_length = 262_144)]
    certificate: Option<String>,
    /// PEM: its issuers, in any order.
    #[schema(max_length = 262_144)]
    chain: Option<String>,
    /// PEM: PKCS#8, PKCS#1 or SEC1, encrypted or not.
    #[schema(max_length = 262_144)]
    private_key: Option<String>,
    /// A PKCS#12 file in base64, in place of the three above.
    #[schema(max_length = 349_528)]
    pfx: Option<String>,
    /// What the key or the file is encrypted with.
    #[schema(max_length = 1024)]
    passphrase: Option<String>,
}

/// A certificate with its key: in PEM, or as a PKCS#12 file. A field that is `null` counts as absent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUploadedVersion)]
pub(super) struct NewVersionBody {
    /// PEM: the certificate, and in any order its issuers and its key, where these are not apart. Remarks between the blocks are left out.
    #[schema(max_length = 262_144)]
    certificate: Option<String>,
    /// PEM: its issuers, in any order.
    #[schema(max_length = 262_144)]
    chain: Option<String>,
    /// PEM: PKCS#8, PKCS#1 or SEC1, encrypted or not.
    #[schema(max_length = 262_144)]
    private_key: Option<String>,
    /// A PKCS#12 file in base64, in place of the three above.
    #[schema(max_length = 349_528)]
    pfx: Option<String>,
    /// What the key or the file is encrypted with.
    #[schema(max_length = 1024)]
    passphrase: Option<String>,
}

/// An upload that was taken.
#[derive(Serialize, ToSchema)]
struct Uploaded<'a> {
    certificate: CertificateView<'a>,
    /// What you may want to know of it; empty where all is well.
    warnings: Vec<WarningView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UploadWarning)]
struct WarningView {
    /// For programs. Stable.
    #[schema(value_type = values::UploadWarningCode)]
    code: &'static str,
    /// For people: what it means, and what to do.
    #[schema(example = "The certificate is its own issuer; clients trust it only where it was installed")]
    detail: &'static str,
}

impl From<Warning> for WarningView {
    fn from(warning: Warning) -> Self {
        Self { code: warning.code(), detail: warning.detail() }
    }
}

/// Upload a certificate
///
/// With its private key. Needs a paid plan as well. It is stored as it is, and never renewed: upload its successor as a new version. Expired, self-signed
/// and weakly signed certificates are taken, with `warnings`. The key is RSA of 2048, 3072 or 4096 bits or ECDSA on P-256 or P-384. Several uploads may have
/// the same domain.
#[utoipa::path(
    post, path = "/api/v1/certificates/upload", tag = "certificates", operation_id = "uploadCertificate",
    params(idempotency::Parameters),
    request_body(content = NewUploadBody, example = json!({
        "name": "shop", "certificate": "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n",
        "private_key": "-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----\n",
    })),
    responses(
        (status = 201, description = "The certificate.", body = Uploaded, headers(("Location" = String))),
        (status = 400, description = "`certificate_name_invalid`\n{line}\n{upload}"),
        (status = 403, description = "`upload_limit_reached`: Upload limit reached for plan\n\
            `paid_plan_required`: Certificate management requires paid subscription"),
        (status = 409, description = "`certificate_name_taken`: The account has a certificate with the name shop already; give another"),
    ),
)]
pub(super) async fn create(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    body: UploadBody<NewUploadBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    plan::check_paid(caller.plan)?;
    let once = idempotency.of(&caller)?;
    let NewUploadBody { name, label, certificate, chain, private_key, pfx, passphrase } = body.0?;
    let sent = Sent::new(certificate, chain, private_key, pfx, passphrase);
    let mut faults = Faults::default();
    let name = faults.check(name.as_deref().map(naming::check).transpose().map(|name| name.map(str::to_owned)));
    let label = faults.check(wish::label(label.as_deref()));
    let (name, label) = faults.finish(name.zip(label))?;
    let (upload, masters) = (sent.read().await?, app.masters.clone());
    let work = async move |conn: &mut Connection| {
        let certificate = insert(conn, &caller, &masters, name.as_deref(), label.as_deref(), &upload).await?;
        let location = format!("/api/v1/certificates/{}", certificate.id);
        Ok(Reply::json(StatusCode::CREATED, &uploaded(&certificate, &upload))?.at(location))
    };
    once.run(&app.store, work).await
}

/// Upload a new version
///
/// Of an uploaded certificate, for any names. Needs a paid plan as well. It is in use at once; but where it is not valid now and another version is, that
/// stays in use, and this one is put in use by `activate`.
#[utoipa::path(
    post, path = "/api/v1/certificates/{id}/versions", tag = "certificates", operation_id = "uploadCertificateVersion",
    params(("id" = inline(values::CertificateId), Path), idempotency::Parameters),
    request_body(content = NewVersionBody, example = json!({
        "certificate": "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n",
        "private_key": "-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----\n",
    })),
    responses(
        (status = 201, description = "The certificate, which has the version.", body = Uploaded),
        (status = 400, description = "{upload}"),
        (status = 403, description = "`paid_plan_required`: Certificate management requires paid subscription"),
        (status = 409, description = "`certificate_is_managed`: The certificate is issued for you; POST /api/v1/certificates/\
            cert_0198c5f47e5b7c2a9d4e1c2b3a4d5e6f/renew has a new version issued"),
    ),
)]
pub(super) async fn add_version(
    app: web::Data<App>,
    caller: Caller,
    idempotency: Idempotency,
    id: Id<CertificateId>,
    body: UploadBody<NewVersionBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesWrite)?;
    plan::check_paid(caller.plan)?;
    let (id, once) = (id.read()?, idempotency.of(&caller)?);
    let NewVersionBody { certificate, chain, private_key, pfx, passphrase } = body.0?;
    // Before a key is opened for nothing.
    check_uploaded(&certificates::read_certificate(&app.store, caller.account, id).await?)?;
    let upload = Sent::new(certificate, chain, private_key, pfx, passphrase).read().await?;
    let masters = app.masters.clone();
    let work = async move |conn: &mut Connection| {
        let certificate = insert_version(conn, &caller, &masters, id, &upload).await?;
        Reply::json(StatusCode::CREATED, &uploaded(&certificate, &upload))
    };
    once.run(&app.store, work).await
}

fn uploaded<'a>(certificate: &'a Certificate, upload: &Upload) -> Uploaded<'a> {
    Uploaded { certificate: CertificateView::new(certificate), warnings: upload.warnings.iter().copied().map(WarningView::from).collect() }
}

/// The parts of a body that hold certificate and key, wiped when dropped.
struct Sent {
    certificate: Option<Zeroizing<String>>,
    chain: Option<Zeroizing<String>>,
    private_key: Option<Zeroizing<String>>,
    pfx: Option<Zeroizing<String>>,
    passphrase: Option<Zeroizing<String>>,
}

impl Sent {
    fn new(
        certificate: Option<String>,
        chain: Option<String>,
        private_key: Option<String>,
        pfx: Option<String>,
        passphrase: Option<String>,
    ) -> Self {
        let [certificate, chain, private_key, pfx, passphrase] =
            [certificate, chain, private_key, pfx, passphrase].map(|text| text.map(Zeroizing::new));
        Self { certificate, chain, private_key, pfx, passphrase }
    }

    /// Reads it on a thread for work that takes long.
    async fn read(self) -> Result<Upload, Problem> {
        turn::take(&TURN, move || self.parse(clock::now())).await?.map_err(Problem::from)
    }

    fn parse<'s>(&'s self, now: DateTime<Utc>) -> Result<Upload, FieldError> {
        let text = |text: &'s Option<Zeroizing<String>>| text.as_ref().map(|text| text.as_str());
        match (&self.certificate, &self.pfx) {
            (Some(certificate), None) => {
                let sent = PemUpload {
                    certificate: certificate.as_str(),
                    chain: text(&self.chain),
                    private_key: text(&self.private_key),
                    passphrase: text(&self.passphrase),
                };
                upload::read_pem(&sent, now).map_err(|error| fault(&error))
            }
            (None, Some(pfx)) if self.chain.is_none() && self.private_key.is_none() => {
                let compact: Zeroizing<String> = Zeroizing::new(pfx.chars().filter(|character| !character.is_ascii_whitespace()).collect());
                let der = STANDARD.decode(compact.as_bytes()).map(Zeroizing::new);
                let der = der.map_err(|_| FieldError::new("/pfx", "pfx_malformed", "This is not base64; send the file in base64"))?;
                let passphrase = text(&self.passphrase).unwrap_or_default();
                upload::read_pfx(&der, passphrase, now).map_err(|error| fault(&error))
            }
            _ => {
                let detail = "Send either `certificate` in PEM, with `private_key` and `chain` beside it, or `pfx` alone";
                Err(FieldError::new("", "certificate_or_pfx", detail))
            }
        }
    }
}

fn fault(error: &UploadError) -> FieldError {
    let pointer = error.part().map_or_else(String::new, |part| format!("/{}", part.as_str()));
    FieldError::new(pointer, error.code(), error.to_string())
}

async fn insert(
    conn: &mut Connection,
    caller: &Caller,
    masters: &MasterKeys,
    name: Option<&str>,
    label: Option<&str>,
    upload: &Upload,
) -> Result<Certificate, Problem> {
    let account = caller.account;
    // The plan may have changed since the caller was identified.
    let plan = accounts::get_account(conn, account).await?.plan;
    plan::check_paid(plan)?;
    let common_name = upload.chain.common_name().map(|name| name.to_ascii_lowercase());
    let texts = [upload.chain.dns_names(), common_name.as_slice()].concat();
    let derived = DnsName::readable(&texts).first().map_or_else(|| "upload".to_owned(), naming::derive);
    let new = NewUpload { name: name.map_or(NewName::Derived(&derived), NewName::Given), label, upload };
    let inserted = uploads::insert_upload(conn, masters, account, &new).await;
    let id = inserted.map_err(|error| taken::problem(error, name))?;
    // The new one is counted already.
    plan::check_upload_limit(plan, uploads::count_uploads(conn, account).await? - 1)?;
    let certificate = certificates::get_certificate(conn, account, id).await?;
    record(conn, caller, &certificate, "certificate.uploaded", upload).await?;
    Ok(certificate)
}

async fn insert_version(
    conn: &mut Connection,
    caller: &Caller,
    masters: &MasterKeys,
    id: CertificateId,
    upload: &Upload,
) -> Result<Certificate, Problem> {
    let account = caller.account;
    check_uploaded(&certificates::get_certificate(conn, account, id).await?)?;
    uploads::add_version(conn, masters, account, id, upload).await?;
    let certificate = certificates::get_certificate(conn, account, id).await?;
    record(conn, caller, &certificate, "certificate.version_uploaded", upload).await?;
    Ok(certificate)
}

fn check_uploaded(certificate: &Certificate) -> Result<(), Problem> {
    if certificate.kind == Kind::Uploaded {
        return Ok(());
    }
    let detail = format!("The certificate is issued for you; POST /api/v1/certificates/{}/renew has a new version issued", certificate.id);
    Err(Problem::conflict("certificate_is_managed", detail))
}

async fn record(
    conn: &mut Connection,
    caller: &Caller,
    certificate: &Certificate,
    action: &'static str,
    upload: &Upload,
) -> Result<(), StoreError> {
    let warnings: Vec<&str> = upload.warnings.iter().map(|warning| warning.code()).collect();
    let details = json!({
        "domain": certificate.domain(), "serial": upload.chain.serial_hex(), "fingerprint_sha256": upload.chain.sha256_fingerprint_hex(),
        "expires_at": upload.chain.not_after(), "warnings": warnings,
    });
    audit::record(conn, caller, action, &certificate.id.to_string(), details.clone()).await?;
    let message = format!("A version for {} was uploaded", certificate.domain());
    let event = NewEvent { certificate: Some(certificate.id), details, ..NewEvent::info("version_uploaded", message) };
    events::record(conn, caller.account, event).await.map(drop)
}

/// Of what only makes sense where a CA is asked.
pub(super) fn not_managed() -> Problem {
    let detail = "The certificate was uploaded, so it is not issued or renewed here; upload its successor as a new version";
    Problem::conflict("certificate_is_uploaded", detail)
}
