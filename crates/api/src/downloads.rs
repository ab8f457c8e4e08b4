//! The download API of LeGo CertHub and of its successor Cert Warden (requirements S1.1 to S1.6, `docs/adr/0024-download-api.md`): files for programs that
//! hold an API key of just these. Paths, names of files, media types and bytes are those of the originals.

mod face;
mod file;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{self, EntityTag, HeaderName, HeaderValue, VARY, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, web};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;
use zonecert_domain::id::{AccountId, ApiKeyId};
use zonecert_domain::plan::Plan;
use zonecert_pki::pfx::Encryption;
use zonecert_store::accounts::Account;
use zonecert_store::api_keys::{self, Resource};
use zonecert_store::downloads::{self, UsedKey};
use zonecert_store::{Connection, StoreError};

use crate::app::App;
use crate::auth::api_key;
use crate::auth::caller::{self, check_status};
use crate::auth::recognised::Accepted;
use crate::certificates::download::{Pem, if_none_match, is_known};
use crate::clock;
use crate::pfx::Pfx;
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::route::{Access, Route};
use crate::traffic::client_address;
use face::{CertWardenKind, Face, Kind, LegoKind};
use file::What;

/// The names that the key's header goes by, in the order in which Cert Warden looks for them.
const HEADERS: [HeaderName; 2] = [HeaderName::from_static("apikey"), HeaderName::from_static("x-api-key")];

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::new(__path_of_lego, of_lego, Access::ApiKey),
        Route::new(__path_of_lego_by_url, of_lego_by_url, Access::ApiKeyInPath),
        Route::new(__path_of_cert_warden, of_cert_warden, Access::ApiKey),
        Route::new(__path_of_cert_warden_by_url, of_cert_warden_by_url, Access::ApiKeyInPath),
    ]
}

/// A file, as LeGo CertHub hands it out
///
/// Always that of the newest version that is valid. `{name}` is that of the certificate, of `privatekeys` that of the private key. With the same `ETag` come
/// the same bytes; sent back in `If-None-Match` it is answered 304.
#[utoipa::path(
    get, path = "/legocerthub/api/v1/download/{kind}/{name}", tag = "downloads", operation_id = "downloadAsLego",
    params(
        ("kind" = inline(LegoKind), Path, description = "`privatekeys`: the key. `certificates`: leaf and chain. `privatecerts`: key, leaf and chain. \
            `certrootchains`: the chain without the leaf."),
        ("name" = String, Path, example = "app.your-domain.com"),
    ),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has it already.", headers(("ETag" = String))),
        (status = 404, description = "`nothing_to_download`: There is no valid version yet, or none any more; look at the certificate's status\n\
            `not_found`: There is nothing here that this account can see"),
    ),
)]
async fn of_lego(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Problem> {
    answer(&request, &app, Face::Lego, &by_header(&request)).await
}

/// A file, as LeGo CertHub hands it out to clients that can set no header
///
/// Only where `api_key_via_url` is set for the certificate or private key, of both for both. The API key is in no log of ours; whoever stands in between may
/// write it down.
#[utoipa::path(
    get, path = "/legocerthub/api/v1/download/{kind}/{name}/{api_key}", tag = "downloads", operation_id = "downloadAsLegoByUrl",
    params(
        ("kind" = inline(LegoKind), Path), ("name" = String, Path, example = "app.your-domain.com"),
        ("api_key" = String, Path, example = "zck_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk"),
    ),
    responses(
        (status = 200, description = "The file.", body = Pem, content_type = "application/x-pem-file",
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has it already.", headers(("ETag" = String))),
        (status = 404, description = "`nothing_to_download`: There is no valid version yet, or none any more; look at the certificate's status\n\
            `not_found`: There is nothing here that this account can see"),
    ),
)]
async fn of_lego_by_url(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Problem> {
    answer(&request, &app, Face::Lego, &by_url(&request)).await
}

/// A file, as Cert Warden hands it out
///
/// As for LeGo CertHub, with more kinds. The password of a `pfx` is the API key of the private key; `?3des` has it encrypted for old readers.
#[utoipa::path(
    get, path = "/certwarden/api/v1/download/{kind}/{name}", tag = "downloads", operation_id = "downloadAsCertWarden",
    params(
        ("kind" = inline(CertWardenKind), Path, description = "`privatekeys`: the key. `certificates`: leaf and chain. `privatecerts`: key and leaf. \
            `privatecertchains`: key, leaf and chain. `certrootchains`: the chain without the leaf. `pfx`: all of it in PKCS#12."),
        ("name" = String, Path, example = "app.your-domain.com"),
    ),
    responses(
        (status = 200, description = "The file.", content((Pem = "application/x-pem-file"), (Pfx = "application/x-pkcs12")),
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has it already.", headers(("ETag" = String))),
        (status = 404, description = "`nothing_to_download`: There is no valid version yet, or none any more; look at the certificate's status\n\
            `not_found`: There is nothing here that this account can see"),
    ),
)]
async fn of_cert_warden(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Problem> {
    answer(&request, &app, Face::CertWarden, &by_header(&request)).await
}

/// A file, as Cert Warden hands it out to clients that can set no header
///
/// Only where `api_key_via_url` is set for the certificate or private key, of both for both. The API key is in no log of ours; whoever stands in between may
/// write it down.
#[utoipa::path(
    get, path = "/certwarden/api/v1/download/{kind}/{name}/{api_key}", tag = "downloads", operation_id = "downloadAsCertWardenByUrl",
    params(
        ("kind" = inline(CertWardenKind), Path), ("name" = String, Path, example = "app.your-domain.com"),
        ("api_key" = String, Path, example = "zck_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk"),
    ),
    responses(
        (status = 200, description = "The file.", content((Pem = "application/x-pem-file"), (Pfx = "application/x-pkcs12")),
            headers(("ETag" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has it already.", headers(("ETag" = String))),
        (status = 404, description = "`nothing_to_download`: There is no valid version yet, or none any more; look at the certificate's status\n\
            `not_found`: There is nothing here that this account can see"),
    ),
)]
async fn of_cert_warden_by_url(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Problem> {
    answer(&request, &app, Face::CertWarden, &by_url(&request)).await
}

/// What was given for an API key, or for two with a dot between them; nothing at all is an empty text.
struct Given {
    text: Zeroizing<String>,
    via_url: bool,
}

fn by_header(request: &HttpRequest) -> Given {
    let header = HEADERS.iter().find_map(|name| request.headers().get(name).filter(|value| !value.is_empty()));
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    Given { text: Zeroizing::new(text.trim().to_owned()), via_url: false }
}

fn by_url(request: &HttpRequest) -> Given {
    let text = request.match_info().get("api_key").unwrap_or_default();
    Given { text: Zeroizing::new(text.to_owned()), via_url: true }
}

impl Given {
    /// The API keys of certificate and private key; there is no second one where there is not exactly one dot.
    fn both(&self) -> (&str, &str) {
        match self.text.split_once('.') {
            Some((certificate, key)) if !key.contains('.') => (certificate, key),
            _ => (&self.text, ""),
        }
    }
}

/// What the API keys open.
struct Opened {
    account: Account,
    resource: Resource,
    /// Those that were used: one, or two.
    keys: Vec<UsedKey>,
    /// None where nothing is valid.
    what: Option<What>,
}

impl Opened {
    /// Whether all of its API keys may stand in the URL.
    fn via_url(&self) -> bool {
        self.keys.iter().all(|key| key.via_url)
    }
}

/// A client that has asked for a file that it has already, and may have. It is told so again for a moment without a question to the database
/// (`docs/adr/0015-recognised-callers.md`). Never what a file is made of: each that is sent was asked for.
pub(crate) struct Poll {
    account: AccountId,
    plan: Plan,
    resource: Resource,
    /// Whether all of its API keys may stand in the URL.
    via_url: bool,
    tag: EntityTag,
}

impl Accepted for Poll {
    fn account(&self) -> AccountId {
        self.account
    }
}

/// What names a poll: all that its answer depends on. No part of it but the last can hold a zero byte.
fn poll_sha256(kind: &str, name: &str, encryption: Encryption, given: &Given) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [kind, name, encryption.as_str()] {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(given.text.as_bytes());
    hash.finalize().into()
}

/// Where anything is wrong the answer is the same, and takes as long: each such request is one question to the database (requirements S1.6).
async fn answer(request: &HttpRequest, app: &App, face: Face, given: &Given) -> Result<HttpResponse, Problem> {
    let word = request.match_info().get("kind").unwrap_or_default();
    let kind = face.kind(word).ok_or_else(Problem::not_found)?;
    let name = request.match_info().get("name").filter(|name| is_name(name)).unwrap_or_default();
    let (address, now) = (client_address::of(request, &app.settings.traffic), Instant::now());
    app.rate_limiter.admit(address, &given.text, now)?;
    let known = if_none_match(request);
    let encryption = encryption(request);
    let sha256 = poll_sha256(word, name, encryption, given);
    let again = app.polls.find(&sha256, now).filter(|poll| is_known(&known, &poll.tag) && (poll.via_url || !given.via_url));
    if let Some(poll) = again {
        tracing::Span::current().record("account", tracing::field::display(poll.account));
        app.rate_limiter.count_download(request, poll.resource, poll.plan, &given.text, now)?;
        return Ok(not_modified(poll.tag.clone()));
    }
    let question = app.polls.ask(now);
    let opened = open(app, kind, name, given, encryption).await?;
    let allowed = opened.filter(|opened| !given.via_url || opened.via_url());
    let Some(opened) = allowed else {
        app.rate_limiter.count_refused(address, now);
        return Err(refused());
    };
    let (account, resource) = (&opened.account, opened.resource);
    tracing::Span::current().record("account", tracing::field::display(account.id));
    app.rate_limiter.count_download(request, resource, account.plan, &given.text, now)?;
    check_status(account.status, caller::Access::Read)?;
    note_use(app, &opened).await?;
    let Some(what) = &opened.what else {
        let detail = "There is no valid version yet, or none any more; look at the certificate's status";
        return Err(Problem::absent("nothing_to_download", detail));
    };
    let tag = EntityTag::new_strong(what.tag());
    if is_known(&known, &tag) {
        let poll = Poll { account: account.id, plan: account.plan, resource, via_url: opened.via_url(), tag: tag.clone() };
        app.polls.keep(&question, sha256, Arc::new(poll));
        return Ok(not_modified(tag));
    }
    let used: Vec<ApiKeyId> = opened.keys.iter().map(|key| key.id).collect();
    let file = what.read(app, account.id, resource, &used, name, &RequestId::of(request)).await?;
    Ok(HttpResponse::Ok()
        .insert_header(header::ETag(tag))
        .insert_header((VARY, VARIES))
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static(what.media_type())))
        // A name that was found is one of ours, and those are safe in a header.
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}{}\"", what.file_ending())))
        .body(file))
}

fn not_modified(tag: EntityTag) -> HttpResponse {
    HttpResponse::NotModified().insert_header(header::ETag(tag)).insert_header((VARY, HeaderValue::from_static(VARIES))).finish()
}

const VARIES: &str = "Apikey, X-Api-Key";

async fn open(app: &App, kind: Kind, name: &str, given: &Given, encryption: Encryption) -> Result<Option<Opened>, Problem> {
    if kind == Kind::PrivateKey {
        let found = downloads::find_private_key(&app.store, name, &api_key::sha256(&given.text)).await?;
        return Ok(found.map(|found| Opened {
            resource: found.resource(),
            account: found.account,
            keys: vec![found.key],
            what: found.material.map(What::PrivateKey),
        }));
    }
    let (certificate_key, private_key) = if kind.holds_key() { given.both() } else { (given.text.as_str(), "") };
    let (first, second) = (api_key::sha256(certificate_key), api_key::sha256(private_key));
    let Some(found) = downloads::find_certificate(&app.store, name, &first, &second).await? else { return Ok(None) };
    let resource = found.resource();
    let (mut keys, mut of_key) = (vec![found.key], None);
    if kind.holds_key() {
        // Without the private key's own, the certificate's opens nothing.
        let Some(second) = found.private_key else { return Ok(None) };
        keys.push(second);
        of_key = Some((second.id, Zeroizing::new(private_key.to_owned())));
    }
    let what = found.version.map(|(version, key_version)| What::of(kind, version, key_version, of_key, encryption));
    Ok(Some(Opened { account: found.account, resource, keys, what }))
}

/// Whether anything of ours can have this name. What cannot is looked for as well, as the empty name, which nothing has.
fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// `?3des`, with or without a value. Whatever else stands in the query means nothing, as in the original.
fn encryption(request: &HttpRequest) -> Encryption {
    let named = |pair: &str| pair.split('=').next() == Some("3des");
    if request.query_string().split('&').any(named) { Encryption::TripleDes } else { Encryption::Aes256 }
}

/// To the minute, and so mostly nothing is written.
async fn note_use(app: &App, opened: &Opened) -> Result<(), Problem> {
    let (now, account) = (clock::now(), opened.account.id);
    let due: Vec<ApiKeyId> = opened.keys.iter().filter(|key| api_keys::is_use_due(key.last_used_at, now)).map(|key| key.id).collect();
    if !due.is_empty() {
        let mark = async |conn: &mut Connection| api_keys::mark_used(conn, account, &due, now).await;
        app.store.tenant::<_, StoreError, _>(account, mark).await?;
    }
    Ok(())
}

/// Whatever is wrong: no key, another's, a retired one, the two swapped, one in the URL where that is not allowed, or a name that there is not.
fn refused() -> Problem {
    let detail = "No valid API key of what is asked for was sent; send it in the header X-API-Key, of certificate and private key as \
                  <certificate's>.<private key's>";
    Problem::unauthorized("api_key_refused", detail).with_header(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey realm=\"zonecert\""))
}

/// How a path is shown in a problem: of the download API without name and key, so that no answer tells one name from another, and nobody who keeps an answer
/// keeps a key. `decoded` is the path as the router reads it, which leaves `%2F` as it is.
pub(crate) fn shown<'a>(path: &'a str, decoded: &str) -> Cow<'a, str> {
    let decoded: Cow<'_, str> = if decoded.contains('%') { decoded.replace("%2F", "/").replace("%2f", "/").into() } else { decoded.into() };
    let mut parts = decoded.split('/').filter(|part| !part.is_empty());
    let (name, face) = match parts.next() {
        Some("legocerthub") => ("legocerthub", Face::Lego),
        Some("certwarden") => ("certwarden", Face::CertWarden),
        _ => return path.into(),
    };
    let is_ours = |(place, part): &(usize, &str)| match ["api", "v1", "download"].get(*place) {
        Some(ours) => part == ours,
        None => *place == 3 && face.kind(part).is_some(),
    };
    let ours = parts.enumerate().take_while(is_ours).map(|(_, part)| part);
    std::iter::once(name).chain(ours).fold(String::new(), |shown, part| shown + "/" + part).into()
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use actix_web::dev::Url;
    use actix_web::http::StatusCode;

    use super::*;

    fn given(text: &str) -> Given {
        Given { text: Zeroizing::new(text.to_owned()), via_url: false }
    }

    #[test]
    fn two_keys_have_exactly_one_dot_between_them() {
        assert_eq!(given("a.b").both(), ("a", "b"));
        assert_eq!(given("a.").both(), ("a", ""));
        assert_eq!(given("a").both(), ("a", ""));
        assert_eq!(given("a.b.c").both(), ("a.b.c", ""));
        assert_eq!(given("").both(), ("", ""));
    }

    #[test]
    fn neither_name_nor_key_is_shown_however_the_path_is_written() {
        let shown = |path: &str| {
            let read = Url::new(path.parse().unwrap());
            shown(path, read.path()).into_owned()
        };
        for path in [
            "/certwarden/api/v1/download/pfx/app/zck_secret",
            "//certwarden//api/v1/download/pfx//app/zck_secret/",
            "/certwarden/api/v1/download/pfx/app",
            "/certwarden/api/v1/download/pfx/app/a/b/c",
            "/%63ertwarden/api/v1/download/pfx/app/zck_secret",
            "/certwarden/api/v1/%64ownload/pf%78/app/zck_secret",
            "/certwarden%2Fapi%2fv1/download/pfx%2Fapp%2Fzck_secret",
            "/%2Fcertwarden/api/v1/download/pfx/app/zck_secret",
        ] {
            assert_eq!(shown(path), "/certwarden/api/v1/download/pfx", "{path}");
        }
        assert_eq!(shown("/legocerthub/zck_secret"), "/legocerthub", "of a path that there is not, what is ours");
        assert_eq!(shown("/legocerthub/api/v1/download/pfx/app/zck_secret"), "/legocerthub/api/v1/download");
        assert_eq!(shown("/api/v1/zones/"), "/api/v1/zones/");
        assert_eq!(shown("/api/v1/%7Aones/a%2Fb"), "/api/v1/%7Aones/a%2Fb");
    }

    #[test]
    fn polls_are_alike_only_where_all_that_is_asked_is() {
        let of = |kind: &str, name: &str, encryption: Encryption, text: &str| poll_sha256(kind, name, encryption, &given(text));
        let poll = of("pfx", "shop", Encryption::Aes256, "a.b");
        assert_eq!(poll, of("pfx", "shop", Encryption::Aes256, "a.b"));
        for other in [
            of("privatecerts", "shop", Encryption::Aes256, "a.b"),
            of("pfx", "shop2", Encryption::Aes256, "a.b"),
            of("pfx", "shop", Encryption::TripleDes, "a.b"),
            of("pfx", "shop", Encryption::Aes256, "a.c"),
            of("pfx", "", Encryption::Aes256, "shop\0a.b"),
        ] {
            assert_ne!(poll, other);
        }
    }

    #[test]
    fn a_refusal_is_a_401_that_says_how_to_authenticate() {
        assert_eq!(refused().status_code(), StatusCode::UNAUTHORIZED);
        let answer = refused().render(None);
        assert_eq!(answer.headers().get(WWW_AUTHENTICATE).unwrap(), "ApiKey realm=\"zonecert\"");
    }
}
