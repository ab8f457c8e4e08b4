//! The dashboard: a client of the public API in the browser. Here is what embeds its build and serves it; its sources are in `web`.

use actix_web::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

/// Name and content of each file of the build, compressed ones too; empty where there was no build.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The addresses of its pages (`web/src/main.tsx`). Named one by one: everything else under `/` is the API's.
const PAGES: [&str; 13] = [
    "/",
    "/login",
    "/register",
    "/forgot-password",
    "/reset-password",
    "/verify-email",
    "/accept-invitation",
    "/certificates",
    "/certificates/{id}",
    "/zones",
    "/tokens",
    "/webhooks",
    "/account",
];

/// Scripts, styles and data from here alone, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The name of an asset changes with its content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The page names the assets of one build, so that it is asked for each time.
const ASKED_FOR: &str = "no-cache";

const NOT_BUILT: &str =
    "The dashboard is not in this binary. `cargo xtask dashboard` builds it; then build zonecert again. The API is here: /docs\n";

/// Serves the dashboard at `/`, beside the routes of the API.
pub fn configure(config: &mut ServiceConfig) {
    config.service(web::resource(PAGES).name("dashboard").route(web::get().to(page)));
    config.service(web::resource("/assets/{file}").route(web::get().to(asset)));
}

async fn page(request: HttpRequest) -> HttpResponse {
    served(FILES, "index.html", ASKED_FOR, &request)
        .unwrap_or_else(|| HttpResponse::NotFound().insert_header((CONTENT_TYPE, "text/plain; charset=utf-8")).body(NOT_BUILT))
}

async fn asset(request: HttpRequest, file: web::Path<String>) -> Result<HttpResponse, actix_web::Error> {
    let name = format!("assets/{file}");
    served(FILES, &name, FOR_EVER, &request).ok_or_else(|| actix_web::error::ErrorNotFound(""))
}

/// The file, in the shortest form that the client takes.
fn served(files: &[(&str, &'static [u8])], name: &str, kept: &'static str, request: &HttpRequest) -> Option<HttpResponse> {
    let plain = find(files, name)?;
    let accepted = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (content, encoding) = [("br", ".br"), ("gzip", ".gz")]
        .into_iter()
        .filter(|(encoding, _)| accepts(accepted, encoding))
        .find_map(|(encoding, ending)| Some((find(files, &format!("{name}{ending}"))?, Some(encoding))))
        .unwrap_or((plain, None));
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, media_type(name)));
    answer.insert_header((CACHE_CONTROL, kept));
    answer.insert_header((CONTENT_SECURITY_POLICY, POLICY));
    answer.insert_header((VARY, "Accept-Encoding"));
    if let Some(encoding) = encoding {
        answer.insert_header((CONTENT_ENCODING, encoding));
    }
    Some(answer.body(content))
}

fn find(files: &[(&str, &'static [u8])], name: &str) -> Option<&'static [u8]> {
    files.iter().find(|(of, _)| *of == name).map(|(_, content)| *content)
}

/// Whether `Accept-Encoding` names it without refusing it (RFC 9110 §12.5.3).
fn accepts(header: &str, encoding: &str) -> bool {
    header.split(',').any(|element| {
        let mut parts = element.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let refused =
            parts.filter_map(|part| part.strip_prefix("q=")).any(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0));
        named && !refused
    })
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const BUILT: &[(&str, &[u8])] =
        &[("assets/a.js", b"long"), ("assets/a.js.br", b"br"), ("assets/a.js.gz", b"gz"), ("index.html", b"page")];

    fn encoding(accepted: &'static str) -> Option<String> {
        let request = TestRequest::default().insert_header((ACCEPT_ENCODING, accepted)).to_http_request();
        let answer = served(BUILT, "assets/a.js", FOR_EVER, &request).unwrap();
        answer.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_client_gets_the_shortest_form_that_it_takes() {
        assert_eq!(encoding("gzip, deflate, br, zstd").as_deref(), Some("br"));
        assert_eq!(encoding("gzip;q=0.5, br;q=0").as_deref(), Some("gzip"));
        assert_eq!(encoding("identity"), None);
    }

    #[test]
    fn an_asset_is_kept_for_ever_and_runs_nothing_from_elsewhere() {
        let answer = served(BUILT, "assets/a.js", FOR_EVER, &TestRequest::default().to_http_request()).unwrap();
        let headers = [(CACHE_CONTROL, FOR_EVER), (CONTENT_TYPE, "text/javascript; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
        for (name, value) in headers {
            assert_eq!(answer.headers().get(name).unwrap(), value);
        }
        for loose in ["unsafe", "*", "http", "data:"] {
            assert!(!POLICY.contains(loose), "{loose}");
        }
    }

    #[test]
    fn what_was_not_built_is_not_there() {
        let request = TestRequest::default().to_http_request();
        assert!(served(BUILT, "assets/b.js", FOR_EVER, &request).is_none());
        assert!(served(&[], "index.html", ASKED_FOR, &request).is_none());
    }

    #[test]
    fn every_page_is_one_that_the_front_end_knows() {
        let (main, sign_in) = (include_str!("../web/src/main.tsx"), include_str!("../web/src/SignIn.tsx"));
        for page in PAGES {
            let path = page.replace("{id}", ":id");
            let quoted = format!("\"{path}\"");
            assert!(main.contains(&quoted) || sign_in.contains(&quoted), "{page}");
        }
    }
}
