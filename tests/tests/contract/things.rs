//! One thing of each kind that a path can name, so that routes can be called with what is there, and with what is another account's.

use std::collections::BTreeMap;

use serde_json::json;
use zonecert_devstack::unique_label;
use zonecert_tests::{Account, System, Zone};

use super::described::{Described, Request};
use super::{text, token_of};

/// A server that has reported.
const TARGET: &str = "web1";

/// What an account has: an identifier of each kind, by its prefix.
pub(crate) struct Things {
    ids: BTreeMap<&'static str, String>,
    /// Under which the certificate is.
    pub(crate) zone: Zone,
}

impl Things {
    /// Makes them. The certificate is issued, the zone hosted and verified, the record set in the zone.
    pub(crate) async fn make(api: &Described, system: &System, account: &Account) -> Self {
        let owner = account.access_token.as_str();
        let zone = system.verified_zone(account).await.unwrap();
        let certificate = account.request(&zone, "app", &[]).await.unwrap();
        let records = json!({"name": format!("mx.{}", zone.name), "type": "MX", "ttl": 300, "contents": ["10 mail.example.test."]});
        let record_set = api.expect(200, Request::put(format!("/api/v1/zones/{}/records", zone.id)).by(owner).json(records)).await;
        let token = json!({"name": "thing", "scopes": ["zones:read"]});
        let token = api.expect(201, Request::post("/api/v1/tokens").by(owner).json(token)).await;
        let me = api.expect(200, Request::get("/api/v1/me").by(owner)).await;
        system.confirm_email(&account.email).await.unwrap();
        let guest = json!({"email": format!("{}@customers.test", unique_label()), "role": "viewer"});
        let invitation = api.expect(201, Request::post("/api/v1/invitations").by(owner).json(guest)).await;
        let issued = account.becomes(&certificate, "issued").await.unwrap();
        let orders = api.expect(200, Request::get(format!("/api/v1/certificates/{certificate}/orders")).by(owner)).await;
        let key = text(&issued["private_key_id"]);
        let api_keys = format!("/api/v1/certificates/{certificate}/api-keys");
        let api_key = api.expect(201, Request::post(api_keys).by(owner)).await;
        let report = Request::put(format!("/api/v1/certificates/{certificate}/deployments/{TARGET}")).by(owner);
        api.expect(200, report.json(json!({"served_sha256": issued["current_version"]["fingerprint_sha256"]}))).await;
        let own = json!({"name": "thing", "terms_of_service_agreed": true});
        let own = api.expect(201, Request::post("/api/v1/acme-accounts").by(owner).json(own)).await;
        // Nothing more comes of it.
        let registered = format!("/api/v1/acme-accounts/{}", text(&own["id"]));
        let is_valid = async || {
            let shown = api.expect(200, Request::get(&registered).by(owner)).await;
            Ok((shown["status"] == "valid").then_some(()))
        };
        zonecert_devstack::wait::until("it is registered", zonecert_tests::PATIENCE, is_valid).await.unwrap();
        let webhook = json!({"url": "https://hooks.customer.test/"});
        let webhook = api.expect(201, Request::post("/api/v1/webhooks").by(owner).json(webhook)).await;
        let test = format!("/api/v1/webhooks/{}/test", text(&webhook["id"]));
        let delivery = api.expect(202, Request::post(test).by(owner)).await;
        // Nothing more comes of its messages.
        let off = Request::patch(format!("/api/v1/webhooks/{}", text(&webhook["id"])));
        api.expect(200, off.by(owner).json(json!({"enabled": false}))).await;
        let target = Request::post(format!("/api/v1/certificates/{certificate}/push-targets")).by(owner);
        let target = api.expect(201, target.json(json!({"address": "web1.customer.test"}))).await;
        let ids = [
            ("acct", text(&me["account"]["id"])),
            ("acme", text(&own["id"])),
            ("apikey", text(&api_key["id"])),
            ("cert", certificate),
            ("dlv", text(&delivery["id"])),
            ("hook", text(&webhook["id"])),
            ("inv", text(&invitation["id"])),
            ("push", text(&target["id"])),
            ("order", text(&orders["orders"][0]["id"])),
            ("key", key),
            ("rrset", text(&record_set["id"])),
            ("tok", text(&token["id"])),
            ("user", text(&me["user"]["id"])),
            ("ver", text(&issued["current_version"]["id"])),
            ("zone", zone.id.clone()),
        ];
        Self { ids: ids.into_iter().collect(), zone }
    }

    /// The identifier of the kind.
    pub(crate) fn id(&self, prefix: &str) -> &str {
        self.ids.get(prefix).unwrap_or_else(|| panic!("no thing has an identifier {prefix}_…: have things.rs make one"))
    }

    /// All of them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.values().map(String::as_str)
    }

    /// What stands in a path for a parameter: the identifier, or the name of a plan.
    pub(crate) fn fill(&self, name: &str, prefix: Option<&str>) -> String {
        match (name, prefix) {
            (_, Some(prefix)) => self.id(prefix).to_owned(),
            ("plan", None) => "plus".to_owned(),
            ("kind", None) => "certificates".to_owned(),
            ("name" | "api_key", None) => "app".to_owned(),
            ("target", None) => TARGET.to_owned(),
            (other, None) => panic!("say in things.rs what stands for {{{other}}} in a path"),
        }
    }
}

/// An API token of the account with these scopes.
pub(crate) async fn make_token(api: &Described, person: &str, scopes: &[&str]) -> String {
    let wish = json!({"name": format!("{} scopes", scopes.len()), "scopes": scopes});
    token_of(&api.expect(201, Request::post("/api/v1/tokens").by(person).json(wish)).await)
}
