//! An API of the test's own, and the people who call it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use zonecert_api::{ApiSettings, App, Server};
use zonecert_devstack::product::Role;
use zonecert_devstack::{Product, StackHandle, unique_label};
use zonecert_domain::id::AccountId;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::NamePolicy;
use zonecert_domain::zone_name::ZoneName;
use zonecert_pki::{MasterKeys, PrivateKey};
use zonecert_store::Store;

/// A zone of the platform in these tests.
pub(crate) const PLATFORM_ZONE: &str = "acme.zonecert-platform.test";

/// One API with a database of its own.
pub(crate) struct TestApi {
    pub(crate) stack: StackHandle,
    pub(crate) product: Product,
    pub(crate) masters: Arc<MasterKeys>,
    pub(crate) url: String,
    client: Client,
    _server: Server,
}

/// Somebody signed in: the owner of an account.
#[derive(Clone)]
pub(crate) struct Caller<'a> {
    pub(crate) api: &'a TestApi,
    pub(crate) account: AccountId,
    pub(crate) token: String,
}

/// What the API answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl TestApi {
    pub(crate) async fn start() -> Self {
        Self::start_with(true, None).await
    }

    /// `resolver` is where proofs are looked up, by default the customers' DNS of the stack.
    pub(crate) async fn start_with(allow_special_use: bool, resolver: Option<SocketAddr>) -> Self {
        let stack = zonecert_devstack::shared().await.unwrap();
        let product = Product::fresh(&stack).await.unwrap();
        let store = Store::open(&product.database_url(Role::Api), 8, Duration::from_mins(1)).unwrap();
        let masters = Arc::new(MasterKeys::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap());
        let token_key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap().to_pkcs8_pem().unwrap();
        let settings = ApiSettings {
            public_url: "https://api.zonecert-platform.test".to_owned(),
            token_keys_pem: token_key,
            resolvers: vec![resolver.unwrap_or(stack.customer_dns.dns_address())],
            names: NamePolicy { allow_special_use, platform_zones: vec![ZoneName::platform(PLATFORM_ZONE).unwrap()] },
            threads: NonZeroUsize::MIN,
            parallel_password_hashes: NonZeroUsize::MIN,
            stop_patience: Duration::from_secs(1),
        };
        let app = Arc::new(App::new(store, Arc::clone(&masters), settings).unwrap());
        let server = Server::start(app, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).unwrap();
        let url = format!("http://{}", server.address());
        Self { stack, product, masters, url, client: Client::builder().no_proxy().build().unwrap(), _server: server }
    }

    /// A new account on this plan, and its owner signed in.
    pub(crate) async fn register(&self, plan: &str) -> Caller<'_> {
        let body = json!({
            "email": format!("{}@customer.zonecert.io", unique_label()), "password": "correct horse battery staple", "account_name": "Customer",
        });
        let answer = self.send(Method::POST, "/api/v1/auth/register", None, Some(body)).await.expect(StatusCode::CREATED);
        let account: AccountId = answer["account"]["id"].as_str().unwrap().parse().unwrap();
        let caller = Caller { api: self, account, token: answer["access_token"].as_str().unwrap().to_owned() };
        caller.set_plan(plan).await;
        caller
    }

    /// One request; `body` is JSON.
    pub(crate) async fn send(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        self.send_with(method, path, token, body, &[]).await
    }

    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(match body {
                // Malformed on purpose.
                Value::String(raw) => raw,
                json => json.to_string(),
            });
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    /// The rows of a statement as JSON, as somebody whom row-level security does not bind.
    pub(crate) async fn sql(&self, statement: &str) -> Vec<Value> {
        let admin = self.stack.postgres.connect_as_admin(self.product.database()).await.unwrap();
        let rows = admin.query(&format!("WITH asked AS ({statement}) SELECT to_jsonb(asked)::text FROM asked"), &[]).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
    }

    /// Runs a statement as somebody whom row-level security does not bind.
    pub(crate) async fn execute(&self, statement: &str) {
        let admin = self.stack.postgres.connect_as_admin(self.product.database()).await.unwrap();
        admin.batch_execute(statement).await.unwrap();
    }

    /// The payloads of the jobs in a queue, in the order in which they were sent.
    pub(crate) async fn jobs(&self, queue: &str) -> Vec<Value> {
        let rows = self
            .sql(&format!("SELECT convert_from(job, 'UTF8')::jsonb AS job FROM apalis.jobs WHERE job_type = '{queue}' ORDER BY id"))
            .await;
        rows.into_iter().map(|row| row["job"].clone()).collect()
    }
}

impl Caller<'_> {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.api.send(method, &format!("/api/v1{path}"), Some(&self.token), body).await
    }

    /// The same account, called with an API token of these scopes.
    pub(crate) async fn with_token(&self, scopes: &[&str]) -> Self {
        let answer = self.post("/tokens", json!({"name": "test", "scopes": scopes})).await.expect(StatusCode::CREATED);
        Self { token: answer["token"].as_str().unwrap().to_owned(), ..self.clone() }
    }

    pub(crate) async fn set_plan(&self, plan: &str) {
        self.api.execute(&format!("UPDATE accounts SET plan = '{plan}' WHERE id = '{}'", self.account.0)).await;
    }

    /// Imports a zone that no other test has, and has it verified without asking the DNS. Returns its identifier and its name.
    pub(crate) async fn verified_zone(&self) -> (String, String) {
        let name = format!("{}.test", unique_label());
        let id = self.verified_zone_named(&name).await;
        (id, name)
    }

    pub(crate) async fn verified_zone_named(&self, name: &str) -> String {
        let zone = self.post("/zones", json!({"name": name})).await.expect(StatusCode::CREATED);
        let id = zone["id"].as_str().unwrap().to_owned();
        let uuid = id.strip_prefix("zone_").unwrap();
        self.api.execute(&format!("UPDATE zones SET status = 'verified', verified_at = now() WHERE id = '{uuid}'")).await;
        id
    }

    /// Requests a certificate and returns it.
    pub(crate) async fn certificate(&self, zone: &str, domain: &str) -> Value {
        self.post("/certificates", json!({"zone_id": zone, "domain": domain})).await.expect(StatusCode::ACCEPTED)
    }
}

impl Answer {
    /// The body as JSON, if the status is this one.
    #[track_caller]
    pub(crate) fn expect(&self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The `code` and `detail` of a problem with this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> (String, String) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        (problem["code"].as_str().unwrap().to_owned(), problem["detail"].as_str().unwrap().to_owned())
    }

    /// Pointer and code of every fault of a problem 400.
    #[track_caller]
    pub(crate) fn faults(&self) -> BTreeMap<String, String> {
        self.problem(400);
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        errors.iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().unwrap()
    }
}

/// The UUID within an identifier.
pub(crate) fn uuid(id: &Value) -> String {
    id.as_str().unwrap().split_once('_').unwrap().1.to_owned()
}
