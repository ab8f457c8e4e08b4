//! The one switch from what the ACME library says to a [`Failure`].

use instant_acme::{Error, Problem, Subproblem};
use zonecert_domain::failure::{Failure, FailureCode, classify_acme, classify_subproblems};
use zonecert_store::StoreError;

use super::http::{Answer, HttpError};

/// What a request was about: it decides what "not found" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The directory, our account, or a new order: the CA must have it.
    Directory,
    /// An order that we had an URL of, or what belongs to it: the CA may have forgotten it.
    Order,
    /// A certificate that is to be revoked: the CA may not know it, or not take the revocation from us.
    Certificate,
}

/// The failure of a call, by the library's error and the answer that led to it.
pub(super) fn classify(error: &Error, answer: &Answer, about: About) -> Failure {
    let failure = match error {
        Error::Api(problem) => from_problem(problem, answer.status, None),
        Error::Other(source) => match source.downcast_ref::<HttpError>() {
            Some(error @ HttpError::TooLong { .. }) => Failure::new(FailureCode::CaMalformedAnswer, error.to_string()),
            Some(error) => Failure::new(FailureCode::CaUnreachable, error.to_string()),
            None => from_answer(answer),
        },
        // Whatever could not be read or was missing from an answer, a URL of the CA's included.
        Error::Json(_) | Error::Str(_) | Error::Http(_) | Error::InvalidUri(_) => from_answer(answer),
        // Our account's key does not sign, or the library has learnt something that this switch has not.
        _ => {
            tracing::error!(%error, "the ACME client has failed");
            Failure::new(FailureCode::Internal, "the ACME client has failed")
        }
    };
    let failure = match (failure.code, about) {
        (FailureCode::OrderLost, About::Directory) => {
            Failure::new(FailureCode::CaMalformedAnswer, format!("the CA does not have what its own directory names: {}", failure.detail()))
        }
        (FailureCode::OrderLost, About::Certificate) => Failure::new(FailureCode::CertificateUnknown, failure.detail()),
        (FailureCode::AcmeUnauthorized, About::Certificate) => Failure::new(FailureCode::RevocationRefused, failure.detail()),
        _ => failure,
    };
    failure.with_retry_after(answer.retry_after)
}

/// A problem document (RFC 8555 §6.7) about `name`, if it is about one. `status` is that of the answer, where the document is one.
pub(super) fn from_problem(problem: &Problem, status: Option<u16>, name: Option<&str>) -> Failure {
    let problem_type = problem.r#type.as_deref().unwrap_or_default();
    let parts = problem.subproblems.iter().filter_map(|part| part.r#type.as_deref());
    let code = classify_subproblems(problem_type, status.or(problem.status), parts);
    let about = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let detail = problem.detail.as_deref().or(problem.r#type.as_deref()).unwrap_or("the CA gave no reason");
    let parts: String = problem.subproblems.iter().map(subproblem).collect();
    Failure::new(code, format!("{about}{detail}{parts}"))
}

fn subproblem(part: &Subproblem) -> String {
    let name = part.identifier.as_ref().map(|identifier| format!("{}: ", identifier.authorized(false))).unwrap_or_default();
    format!("; {name}{}", part.detail.as_deref().or(part.r#type.as_deref()).unwrap_or_default())
}

/// An answer without a problem document: a web page of something that stands before the CA, a shape that RFC 8555 does not know.
pub(super) fn from_answer(answer: &Answer) -> Failure {
    let status = answer.status.unwrap_or_default();
    let code = match status {
        404 | 429 => classify_acme("", answer.status),
        400.. if !answer.not_json => classify_acme("", answer.status),
        _ => FailureCode::CaMalformedAnswer,
    };
    let what = if answer.not_json { "something that is not JSON" } else { "something other than RFC 8555 says" };
    Failure::new(code, format!("the CA answered {what}, with HTTP status {status}"))
}

/// A failure of our own database or of the keys that seal its secrets. The chain of causes goes to the log, not to the customer.
pub(super) fn from_store(error: &StoreError) -> Failure {
    match error {
        StoreError::Unavailable(_) => Failure::new(FailureCode::DatabaseUnavailable, "our database did not answer"),
        error => {
            tracing::error!(%error, "our account at the CA cannot be loaded or stored");
            Failure::new(FailureCode::Internal, "our account at the CA could not be loaded or stored")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use zonecert_domain::failure::FailureClass;

    use super::*;

    fn api(problem: serde_json::Value) -> Error {
        Error::Api(serde_json::from_value(problem).unwrap())
    }

    fn answered(status: u16) -> Answer {
        Answer { status: Some(status), ..Answer::default() }
    }

    fn no_json() -> Error {
        Error::Json(serde_json::from_str::<Problem>("<html>").unwrap_err())
    }

    #[test]
    fn a_problem_document_is_classified_by_type_and_status_and_keeps_the_cas_words() {
        let problem = api(json!({"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many\ncertificates"}));
        let answer = Answer { retry_after: Some(Duration::from_secs(90)), ..answered(429) };
        let failure = classify(&problem, &answer, About::Directory);
        assert_eq!((failure.code, failure.detail()), (FailureCode::AcmeRateLimited, "too many certificates"));
        assert_eq!(failure.retry_after, Some(Duration::from_secs(90)));
    }

    #[test]
    fn every_name_of_a_compound_problem_is_told() {
        let problem = api(json!({"type": "urn:ietf:params:acme:error:compound", "detail": "two names failed", "subproblems": [
            {"type": "urn:ietf:params:acme:error:dns", "detail": "SERVFAIL", "identifier": {"type": "dns", "value": "a.example.com"}},
            {"type": "urn:ietf:params:acme:error:caa", "detail": "forbidden", "identifier": {"type": "dns", "value": "b.example.com"}},
        ]}));
        let failure = classify(&problem, &answered(403), About::Directory);
        assert_eq!(failure.code, FailureCode::AcmeCaa);
        assert_eq!(failure.detail(), "two names failed; a.example.com: SERVFAIL; b.example.com: forbidden");
    }

    #[test]
    fn not_found_means_a_lost_order_or_a_broken_directory() {
        let problem = api(json!({"type": "urn:ietf:params:acme:error:malformed", "detail": "no such order"}));
        let page = Answer { not_json: true, ..answered(404) };
        assert_eq!(classify(&problem, &answered(404), About::Order).code, FailureCode::OrderLost);
        assert_eq!(classify(&no_json(), &page, About::Order).code, FailureCode::OrderLost);
        assert_eq!(classify(&problem, &answered(404), About::Directory).code, FailureCode::CaMalformedAnswer);
        assert_eq!(classify(&no_json(), &page, About::Directory).code, FailureCode::CaMalformedAnswer);
    }

    #[test]
    fn a_certificate_that_is_to_be_revoked_may_be_unknown_to_the_ca_or_not_ours() {
        let unknown = api(json!({"type": "urn:ietf:params:acme:error:malformed", "detail": "no such certificate"}));
        assert_eq!(classify(&unknown, &answered(404), About::Certificate).code, FailureCode::CertificateUnknown);
        let refused = api(json!({"type": "urn:ietf:params:acme:error:unauthorized", "detail": "not yours"}));
        let refused = classify(&refused, &answered(403), About::Certificate);
        assert_eq!((refused.code, refused.class(), refused.detail()), (FailureCode::RevocationRefused, FailureClass::Final, "not yours"));
        let done = api(json!({"type": "urn:ietf:params:acme:error:alreadyRevoked"}));
        assert_eq!(classify(&done, &answered(400), About::Certificate).code, FailureCode::AcmeAlreadyRevoked);
    }

    #[test]
    fn an_answer_without_a_problem_document_is_judged_by_its_status() {
        for (status, not_json, expected) in [
            (200, true, FailureCode::CaMalformedAnswer),
            (200, false, FailureCode::CaMalformedAnswer),
            (400, true, FailureCode::CaMalformedAnswer),
            (429, true, FailureCode::AcmeRateLimited),
            (429, false, FailureCode::AcmeRateLimited),
            (503, true, FailureCode::CaMalformedAnswer),
            (503, false, FailureCode::AcmeServerInternal),
        ] {
            let failure = classify(&no_json(), &Answer { not_json, ..answered(status) }, About::Order);
            assert_eq!((failure.code, failure.class()), (expected, FailureClass::Heal), "{status} {not_json}");
            assert!(failure.detail().contains(&status.to_string()), "{failure}");
        }
    }

    #[test]
    fn no_answer_is_an_unreachable_ca() {
        for error in [
            HttpError::NoConnection { host: "ca.example".to_owned() },
            HttpError::NoAnswer { host: "ca.example".to_owned(), within: Duration::from_secs(20) },
            HttpError::BrokenOff { host: "ca.example".to_owned() },
        ] {
            let failure = classify(&Error::Other(Box::new(error)), &Answer::default(), About::Order);
            assert_eq!(failure.code, FailureCode::CaUnreachable);
            assert!(failure.detail().contains("ca.example"), "{failure}");
        }
        let endless = Error::Other(Box::new(HttpError::TooLong { host: "ca.example".to_owned() }));
        assert_eq!(classify(&endless, &Answer::default(), About::Order).code, FailureCode::CaMalformedAnswer);
    }

    #[test]
    fn nothing_of_our_database_is_told_to_a_customer() {
        let failure = from_store(&StoreError::Constraint("acme_accounts_pkey".to_owned()));
        assert_eq!(failure.code, FailureCode::Internal);
        assert!(!failure.detail().contains("acme_accounts"), "{failure}");
        assert_eq!(from_store(&StoreError::Unavailable("10.0.0.7".to_owned())).code, FailureCode::DatabaseUnavailable);
    }
}
