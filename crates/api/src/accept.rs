//! Whether a client takes what a route answers (RFC 9110 §12.5.1). A problem document is answered to everybody.

use std::rc::Rc;

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{Accept, Header as _, Quality};
use actix_web::middleware::Next;
use actix_web::mime::{Mime, STAR};

use crate::problem::Problem;

/// Around a handler that answers one of these media types: 406 before it has done anything, where the header `Accept` allows none of them.
pub(crate) async fn check(
    answered: Rc<[Mime]>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    // Whatever cannot be read as a list of media ranges says nothing.
    let accepted = Accept::parse(&request).unwrap_or_else(|_| Accept::star());
    if accepted.is_empty() || answered.iter().any(|media_type| allows(&accepted, media_type)) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    Ok(request.error_response(Problem::not_acceptable(&answered)))
}

/// The range that is closest to the media type decides.
fn allows(accepted: &Accept, media_type: &Mime) -> bool {
    let closeness = |range: &Mime| match (range.type_(), range.subtype()) {
        (STAR, STAR) => Some(0),
        (kind, STAR) => (kind == media_type.type_()).then_some(1),
        (kind, subtype) => (kind == media_type.type_() && subtype == media_type.subtype()).then_some(2),
    };
    let closest = accepted.iter().filter_map(|range| Some((closeness(&range.item)?, range.quality))).max();
    closest.is_some_and(|(_, quality)| quality > Quality::ZERO)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::ACCEPT;
    use actix_web::test::TestRequest;

    use super::*;

    fn allowed(accept: &str, media_type: &str) -> bool {
        let request = TestRequest::default().insert_header((ACCEPT, accept)).to_http_request();
        allows(&Accept::parse(&request).unwrap(), &media_type.parse().unwrap())
    }

    #[test]
    fn the_closest_range_decides() {
        for accept in ["*/*", "application/*", "application/json", "Application/JSON; charset=utf-8", "text/html, */*;q=0.1"] {
            assert!(allowed(accept, "application/json"), "{accept}");
        }
        for accept in ["text/html", "text/*", "application/xml", "application/json;q=0, */*", "*/*;q=0"] {
            assert!(!allowed(accept, "application/json"), "{accept}");
        }
        assert!(allowed("*/*;q=0, application/x-pem-file", "application/x-pem-file"));
    }
}
