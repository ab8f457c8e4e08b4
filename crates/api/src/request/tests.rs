use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use actix_web::{HttpResponse, ResponseError};
use serde_json::Value;
use zonecert_domain::id::ZoneId;

use super::*;

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    domain: String,
    #[serde(default)]
    sans: Vec<String>,
    #[serde(default)]
    days: Option<u8>,
    #[serde(default)]
    inner: Option<Inner>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    size: u8,
}

async fn read(request: TestRequest, body: impl Into<web::Bytes>) -> Result<Wish, Problem> {
    let (request, mut payload) = request.set_payload(body).to_http_parts();
    let Ok(body) = Body::<Wish>::from_request(&request, &mut payload).await;
    body.read()
}

fn json_request() -> TestRequest {
    TestRequest::post().insert_header(("content-type", "application/json"))
}

async fn document(response: HttpResponse) -> Value {
    serde_json::from_slice(&actix_web::body::to_bytes(response.into_body()).await.unwrap()).unwrap()
}

async fn only_error(body: &'static str) -> (String, String) {
    let problem = read(json_request(), body).await.unwrap_err();
    assert_eq!(problem.status_code(), StatusCode::BAD_REQUEST, "{body}");
    let document = document(problem.error_response()).await;
    let [error] = document["errors"].as_array().unwrap().as_slice() else { panic!("{document}") };
    assert_eq!((&document["detail"], &document["code"]), (&error["detail"], &error["code"]));
    (error["pointer"].as_str().unwrap().to_owned(), error["code"].as_str().unwrap().to_owned())
}

#[actix_web::test]
async fn a_json_body_is_read() {
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"] {
        let request = TestRequest::post().insert_header(("content-type", content_type));
        let wish = read(request, r#"{"domain": "app.example.com", "sans": ["www.example.com"]}"#).await.unwrap();
        assert_eq!((wish.domain.as_str(), wish.sans.len()), ("app.example.com", 1));
    }
}

#[actix_web::test]
async fn an_error_points_at_its_value() {
    for (body, pointer, code) in [
        ("{}", "/domain", "required"),
        (r#"{"domain": 1}"#, "/domain", "wrong_type"),
        (r#"{"domain": "a", "sans": ["b", null]}"#, "/sans/1", "wrong_type"),
        (r#"{"domain": "a", "days": 256}"#, "/days", "invalid_value"),
        (r#"{"domain": "a", "inner": {}}"#, "/inner/size", "required"),
        (r#"{"domain": "a", "inner": {"size": 1, "a/b": 1}}"#, "/inner/a~1b", "unknown_field"),
        (r#"{"domain": "a", "autorenew": true}"#, "/autorenew", "unknown_field"),
        (r#"{"domain": "a", "domain": "b"}"#, "/domain", "duplicate_field"),
        (r#"["app.example.com"]"#, "", "wrong_type"),
        (" null", "", "wrong_type"),
    ] {
        let found = only_error(body).await;
        assert_eq!((found.0.as_str(), found.1.as_str()), (pointer, code), "{body}");
    }
}

#[actix_web::test]
async fn a_body_that_is_not_json_is_malformed() {
    let deep = "[".repeat(1000);
    for body in ["", "{", "{]", "nonsense", r#"{"domain": "a"} {}"#, "{\"domain\": \"\u{0}\"}", deep.as_str()] {
        let problem = read(json_request(), body.to_owned()).await.unwrap_err();
        assert_eq!((problem.status_code(), problem.code()), (StatusCode::BAD_REQUEST, "malformed_json"), "{body:.20}");
    }
    let problem = read(json_request(), &b"{\"domain\": \"\xff\"}"[..]).await.unwrap_err();
    assert_eq!(problem.status_code(), StatusCode::BAD_REQUEST);
}

#[actix_web::test]
async fn another_content_type_or_encoding_is_refused() {
    let body = r#"{"domain": "a"}"#;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "json"] {
        let problem = read(TestRequest::post().insert_header(("content-type", content_type)), body).await.unwrap_err();
        assert_eq!(problem.status_code(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
    assert_eq!(read(TestRequest::post(), body).await.unwrap_err().code(), "unsupported_media_type");
    assert_eq!(read(json_request().insert_header(("content-encoding", "gzip")), body).await.unwrap_err().code(), "unsupported_media_type");
}

#[actix_web::test]
async fn no_more_than_64_kib_are_read() {
    let body = |bytes: usize| format!(r#"{{"domain": "{}"}}"#, "a".repeat(bytes - r#"{"domain": ""}"#.len()));
    assert!(read(json_request(), body(MAX_BODY_BYTES)).await.is_ok());
    let problem = read(json_request(), body(MAX_BODY_BYTES + 1)).await.unwrap_err();
    assert_eq!((problem.status_code(), problem.code()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
}

#[actix_web::test]
async fn what_a_detail_repeats_is_cut_short() {
    let long = format!(r#"{{"domain": "a", "{}": 1}}"#, "x".repeat(10_000));
    let problem = read(json_request(), long).await.unwrap_err();
    let document = document(problem.error_response()).await;
    assert!(document["detail"].as_str().unwrap().chars().count() <= 301, "{document}");
}

#[actix_web::test]
async fn a_query_is_read_or_refused() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        limit: Option<u8>,
    }
    let of = |query: &str| {
        let request = TestRequest::with_uri(&format!("/certificates?{query}")).to_http_request();
        let Ok(query) = Query::<Page>::from_request(&request, &mut Payload::None).into_inner();
        query.read()
    };
    assert_eq!(of("limit=7").unwrap().limit, Some(7));
    assert_eq!(of("").unwrap().limit, None);
    for (query, pointer) in [("limit=x", None), ("limit=300", None), ("lmit=1", Some("?lmit")), ("limit=1&limit=2", Some("?limit"))] {
        let problem = of(query).unwrap_err();
        assert_eq!(problem.code(), "invalid_query", "{query}");
        let shown = format!("{problem:?}");
        assert!(pointer.is_none_or(|pointer| shown.contains(&format!("pointer: \"{pointer}\""))), "{shown}");
        assert!(!shown.contains("deserialize"), "{shown}");
    }
}

#[actix_web::test]
async fn an_identifier_of_another_kind_is_not_found() {
    let of = |text: &str| {
        let request = TestRequest::default().param("id", text.to_owned()).to_http_request();
        let Ok(id) = Id::<ZoneId>::from_request(&request, &mut Payload::None).into_inner();
        id.read()
    };
    let zone = ZoneId::new();
    assert_eq!(of(&zone.to_string()).unwrap(), zone);
    for text in ["", "zone_1", "%00", &zone.to_string().replace("zone", "cert")] {
        assert_eq!(of(text).unwrap_err().status_code(), StatusCode::NOT_FOUND, "{text}");
    }
}
