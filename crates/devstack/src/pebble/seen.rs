//! What went through the proxy: enough for a test to prove that the CA saw one order.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All that the proxy has seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// newOrder requests answered 201 (RFC 8555 §7.4), oldest first.
    pub orders: Vec<OrderSeen>,
    /// Finalize requests, whatever their answer, oldest first. One with a rejected nonce is answered 400 and sent again.
    pub finalizations: Vec<FinalizeSeen>,
}

/// One order that the CA has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSeen {
    /// From the `Location` of the answer.
    pub url: String,
    /// The ACME account's URL.
    pub account: String,
    /// The DNS names asked for, as they were sent.
    pub names: Vec<String>,
    /// Where it is finalized.
    pub finalize_url: String,
    /// The certificate that it says it replaces (RFC 9773 §5).
    #[serde(default)]
    pub replaces: Option<String>,
    /// The profile that it asks for (draft-ietf-acme-profiles).
    #[serde(default)]
    pub profile: Option<String>,
    /// Whether a fault has kept the answer from the client: nobody may know of the order.
    #[serde(default)]
    pub answer_lost: bool,
}

/// One finalize request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalizeSeen {
    /// The order's finalize URL.
    pub url: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// The CSR as it was sent: base64url of its DER.
    pub csr: String,
}

impl FinalizeSeen {
    /// The CSR in DER; empty where what was sent is none.
    pub fn csr_der(&self) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(&self.csr).unwrap_or_default()
    }
}

impl Seen {
    /// The orders in which `name` was asked for.
    pub fn orders_for(&self, name: &str) -> Vec<&OrderSeen> {
        self.orders.iter().filter(|order| order.names.iter().any(|asked| asked == name)).collect()
    }

    /// The finalize requests of `order`.
    pub fn finalizations_of(&self, order: &OrderSeen) -> Vec<&FinalizeSeen> {
        self.finalizations.iter().filter(|finalization| finalization.url == order.finalize_url).collect()
    }

    pub(super) fn record_order(&mut self, location: &str, request: &[u8], answer: &[u8]) {
        let (protected, payload) = jws(request);
        let identifiers = payload["identifiers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        self.orders.push(OrderSeen {
            url: location.to_owned(),
            account: text(&protected["kid"]),
            names: identifiers.iter().map(|identifier| text(&identifier["value"])).collect(),
            finalize_url: text(&answer["finalize"]),
            replaces: payload["replaces"].as_str().map(str::to_owned),
            profile: payload["profile"].as_str().map(str::to_owned),
            answer_lost: false,
        });
    }

    pub(super) fn answer_lost(&mut self, location: &str) {
        self.orders.iter_mut().filter(|order| order.url == location).for_each(|order| order.answer_lost = true);
    }

    pub(super) fn record_finalization(&mut self, url: String, request: &[u8], status: u16) {
        let (_, payload) = jws(request);
        self.finalizations.push(FinalizeSeen { url, status, csr: text(&payload["csr"]) });
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Protected header and payload of a flattened JWS (RFC 7515 §7.2.2); null where the body is none.
pub(super) fn jws(body: &[u8]) -> (Value, Value) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(body[name].as_str().unwrap_or_default()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    };
    (part("protected"), part("payload"))
}
