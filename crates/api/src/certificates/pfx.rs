//! The version in use with its key as one encrypted file (requirements S2.4).

use actix_web::http::header::{self, CacheControl, CacheDirective, EntityTag, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use zonecert_domain::id::CertificateId;
use zonecert_domain::scope::Scope;
use zonecert_pki::pfx::{Encryption, MAX_PASSWORD_BYTES};
use zonecert_store::{Connection, certificates};

use super::download::{Known, if_none_match, in_use, is_known, key_type};
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::pfx::{self, Pfx, Wish};
use crate::problem::{FieldError, Problem};
use crate::request::{Id, Query};
use crate::text;

/// Addresses are logged on the way, headers are not.
const PASSWORD: &str = "X-PFX-Password";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// `aes256`, where it is absent, or `3des` for old readers.
    #[param(value_type = Option<values::PfxEncryption>, inline)]
    encryption: Option<String>,
    /// Of a dual certificate: the version with a key of this type. Where it is absent, the version with the first key.
    #[param(value_type = Option<values::KeyType>, inline)]
    key_type: Option<String>,
}

/// Certificate, chain and private key in one encrypted file
///
/// PKCS#12, for Windows and Java. The same bytes each time, for the same version, encryption and password; of 16 passwords. Each download is noted in the
/// audit log.
#[utoipa::path(
    get, path = "/api/v1/certificates/{id}/pfx", tag = "certificates", operation_id = "getCertificatePfx",
    params(
        ("id" = inline(values::CertificateId), Path),
        ("X-PFX-Password" = String, Header, min_length = 1, max_length = 128, pattern = "^[!-~]([ -~]*[!-~])?$", description = "What the file is encrypted with: 1 to 128 printable ASCII characters."),
        Known, Parameters,
    ),
    responses(
        (status = 200, description = "The file.", body = Pfx, content_type = "application/x-pkcs12",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has this file already.", headers(("ETag" = String))),
        (status = 400, description = "`pfx_password_missing`: Send the password of the file in the header X-PFX-Password\n\
            `pfx_password_invalid`: A password has 1 to 128 printable ASCII characters\n\
            `unknown_choice` at ?encryption: Give one of aes256, 3des"),
        (status = 409, description = "`certificate_not_ready`: The certificate is not issued yet; look at its `status` again in some seconds, \
            and at its logs if it takes longer\n\
            `no_version_of_key_type`: The certificate has no valid version with a key of the type ecdsa; `alternate` says what is known of its other key"),
    ),
)]
pub(super) async fn pfx(
    request: HttpRequest,
    app: web::Data<App>,
    caller: Caller,
    id: Id<CertificateId>,
    query: Query<Parameters>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    caller.require(Scope::KeysRead)?;
    let (id, parameters) = (id.read()?, query.read()?);
    let encryption =
        text::choice("?encryption", parameters.encryption.as_deref(), &Encryption::ALL, Encryption::as_str)?.unwrap_or_default();
    let key_type = key_type(parameters.key_type.as_deref())?;
    let account = caller.account;
    let certificate = certificates::read_certificate(&app.store, account, id).await?;
    let password = password(&request)?;
    let current = app.store.tenant(account, async |conn| in_use(conn, account, &certificate, key_type).await).await?;
    let wish = Wish { account, version: current, name: &certificate.name, encryption, password };
    let file = pfx::get_or_make(&app, wish).await?;
    let tag = EntityTag::new_strong(file.id.to_string());
    let known = if_none_match(&request);
    let caching = CacheControl(vec![CacheDirective::NoStore]);
    if is_known(&known, &tag) {
        return Ok(HttpResponse::NotModified().insert_header(header::ETag(tag)).insert_header(caching).finish());
    }
    let note = async |conn: &mut Connection| {
        audit::record(conn, &caller, "key.downloaded", &id.to_string(), json!({"version_id": current, "form": "pfx"})).await
    };
    app.store.tenant(account, note).await?;
    Ok(HttpResponse::Ok()
        .insert_header(header::ETag(tag))
        .insert_header(caching)
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(pfx::MEDIA_TYPE)))
        // Names of certificates are safe in a header.
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.pfx\"", certificate.name)))
        .body(Bytes::from_owner(file.der)))
}

fn password(request: &HttpRequest) -> Result<&str, Problem> {
    let Some(given) = request.headers().get(PASSWORD) else {
        return Err(Problem::bad_request("pfx_password_missing", "Send the password of the file in the header X-PFX-Password"));
    };
    let fits = |text: &&str| (1..=MAX_PASSWORD_BYTES).contains(&text.len());
    given.to_str().ok().filter(fits).ok_or_else(|| {
        let detail = format!("A password has 1 to {MAX_PASSWORD_BYTES} printable ASCII characters");
        FieldError::new(PASSWORD, "pfx_password_invalid", detail).into()
    })
}
