//! Requests to the API, counted and timed.

use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec};

const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The class of what fails by our fault.
const FAULT: &str = "5xx";

/// How long requests took, by the template of their route, and how many there were. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct HttpMetrics(HistogramVec);

impl HttpMetrics {
    pub(crate) fn new() -> Self {
        let help =
            "Time until a request was answered; for a stream until it began. The route is the template, without what clients put into it.";
        let options = HistogramOpts::new("zonecert_http_request_seconds", help).buckets(BUCKETS.to_vec());
        Self(HistogramVec::new(options, &["method", "route", "status"]).expect("Prometheus takes these constants"))
    }

    /// A request was answered. `route` is a template of ours, none where no route fits. What fails by our fault is there at 0 before it happens: a series that
    /// appears with a 1 has not risen.
    pub(crate) fn answered(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        let (method, route) = (method_name(method), route.unwrap_or("none"));
        self.0.with_label_values(&[method, route, FAULT]);
        self.0.with_label_values(&[method, route, class(status)]).observe(took.as_secs_f64());
    }
}

impl Collector for HttpMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.collect()
    }
}

/// Clients may make methods up.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => FAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_client_makes_up_becomes_a_label() {
        let metrics = HttpMetrics::new();
        for made_up in ["BREW", "WHEN", "PROPFIND"] {
            let method = Method::from_bytes(made_up.as_bytes()).unwrap();
            metrics.answered(&method, None, StatusCode::NOT_FOUND, Duration::from_millis(1));
        }
        metrics.answered(&Method::GET, Some("/api/v1/zones/{id}"), StatusCode::OK, Duration::from_millis(2));
        // Each with the class of its answer, and that of our faults.
        assert_eq!(metrics.collect()[0].get_metric().len(), 4);
    }

    #[test]
    fn the_first_failure_of_a_route_is_a_rise() {
        let metrics = HttpMetrics::new();
        let failures = || metrics.0.with_label_values(&["GET", "/api/v1/zones", FAULT]).get_sample_count();
        metrics.answered(&Method::GET, Some("/api/v1/zones"), StatusCode::OK, Duration::from_millis(2));
        assert_eq!((metrics.collect()[0].get_metric().len(), failures()), (2, 0));
        metrics.answered(&Method::GET, Some("/api/v1/zones"), StatusCode::SERVICE_UNAVAILABLE, Duration::from_millis(2));
        assert_eq!((metrics.collect()[0].get_metric().len(), failures()), (2, 1));
    }
}
