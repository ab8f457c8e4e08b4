//! An API of the test's own, and the people who call it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use zeroize::Zeroizing;
use zonecert_api::operators::{OperatorAccess, OperatorToken};
use zonecert_api::traffic::TrafficSettings;
use zonecert_api::{ApiSettings, App, Server};
use zonecert_devstack::product::Role;
use zonecert_devstack::{Product, StackHandle, unique_label};
use zonecert_domain::ca_limits::CaLimits;
use zonecert_domain::id::AccountId;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::NamePolicy;
use zonecert_domain::webhook::Destinations;
use zonecert_domain::zone_name::ZoneName;
use zonecert_pki::{MasterKeys, PrivateKey};
use zonecert_store::Store;
use zonecert_store::ca_budget::Ledger;
use zonecert_store::issuing::Environment;

/// A zone of the platform in these tests.
pub(crate) const PLATFORM_ZONE: &str = "acme.zonecert-platform.test";

/// Where the challenges of delegated zones are answered.
pub(crate) const CHALLENGE_ZONE: &str = "challenges.zonecert-platform.test";

/// The CA, which no test here asks.
pub(crate) const ACME_DIRECTORY: &str = "https://ca.test/directory";

/// What registrars are to point hosted zones at.
pub(crate) const NAME_SERVERS: [&str; 2] = ["ns1.zonecert-platform.test", "ns2.zonecert-platform.test"];

/// One API with a database of its own.
pub(crate) struct TestApi {
    pub(crate) stack: StackHandle,
    pub(crate) product: Product,
    pub(crate) masters: Arc<MasterKeys>,
    pub(crate) url: String,
    /// With which the operator calls.
    pub(crate) operator_token: String,
    token_key: Zeroizing<String>,
    client: Client,
    _server: Server,
}

/// A second process of the same service, on the same database.
pub(crate) struct AnotherProcess {
    pub(crate) url: String,
    pub(crate) server: Server,
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
        Self::start_set(|settings| {
            settings.names.allow_special_use = allow_special_use;
            settings.resolvers = resolver.map_or_else(|| settings.resolvers.clone(), |resolver| vec![resolver]);
        })
        .await
    }

    /// Of an operator who has set no challenge zone.
    pub(crate) async fn start_without_delegation() -> Self {
        Self::start_set(|settings| settings.challenge_zone = None).await
    }

    /// With settings that are changed.
    pub(crate) async fn start_set(change: impl FnOnce(&mut ApiSettings)) -> Self {
        let stack = zonecert_devstack::shared().await.unwrap();
        let product = Product::fresh(&stack).await.unwrap();
        let masters = Arc::new(MasterKeys::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap());
        let token_key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap().to_pkcs8_pem().unwrap();
        let mut settings = settings(&stack, &token_key);
        change(&mut settings);
        let (operator_token, stored) = OperatorToken::generate();
        let operators = Store::open(&product.database_url(Role::Admin), 2, Duration::from_mins(1)).unwrap();
        let access = OperatorAccess { store: operators, tokens: vec![stored] };
        let server = serve(&product.database_url(Role::Api), &masters, settings, Some(access));
        let url = format!("http://{}", server.address());
        let client = Client::builder().no_proxy().build().unwrap();
        Self { stack, product, masters, url, operator_token, token_key, client, _server: server }
    }

    /// Another process beside it.
    pub(crate) fn another_process(&self, change: impl FnOnce(&mut ApiSettings)) -> AnotherProcess {
        let mut settings = settings(&self.stack, &self.token_key);
        change(&mut settings);
        let server = serve(&self.product.database_url(Role::Api), &self.masters, settings, None);
        AnotherProcess { url: format!("http://{}", server.address()), server }
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
        self.send_to(&self.url, method, path, token, body, headers).await
    }

    /// One request to the process with this address.
    pub(crate) async fn send_to(
        &self,
        url: &str,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.client.request(method, format!("{url}{path}"));
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

    /// One request of the operator.
    pub(crate) async fn operate(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send(method, &format!("/api/v1/admin{path}"), Some(&self.operator_token), body).await
    }

    /// The rows of a statement as JSON, as somebody whom row-level security does not bind.
    pub(crate) async fn sql(&self, statement: &str) -> Vec<Value> {
        let admin = self.stack.postgres.connect_as_admin(self.product.database()).await.unwrap();
        let rows = admin.query(&format!("WITH asked AS ({statement}) SELECT to_jsonb(asked)::text FROM asked"), &[]).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
    }

    /// How many rows a table has, whosever they are.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        self.sql(&format!("SELECT count(*) FROM {table}")).await[0]["count"].as_i64().unwrap()
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

    /// The same with an `Idempotency-Key`.
    pub(crate) async fn post_once(&self, key: &str, path: &str, body: Value) -> Answer {
        let headers = [("Idempotency-Key", key)];
        self.api.send_with(Method::POST, &format!("/api/v1{path}"), Some(&self.token), Some(body), &headers).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
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

    /// Puts the account on another plan as the operator does, with all that follows from it.
    pub(crate) async fn change_plan(&self, plan: &str) {
        self.api.operate(Method::PATCH, &format!("/accounts/{}", self.account), Some(json!({"plan": plan}))).await.expect(StatusCode::OK);
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

/// What the tests run with: nobody is slowed down who does not ask for it.
fn settings(stack: &StackHandle, token_key: &Zeroizing<String>) -> ApiSettings {
    ApiSettings {
        public_url: "https://api.zonecert-platform.test".to_owned(),
        dashboard_url: "https://app.zonecert-platform.test".to_owned(),
        dashboard: true,
        token_keys_pem: token_key.clone(),
        resolvers: vec![stack.customer_dns.dns_address()],
        names: NamePolicy {
            allow_special_use: true,
            platform_zones: [PLATFORM_ZONE, CHALLENGE_ZONE].map(|zone| ZoneName::platform(zone).unwrap()).to_vec(),
        },
        authorities: vec![(Environment::Production, Ledger { directory_url: ACME_DIRECTORY.to_owned(), limits: CaLimits::default() })],
        caa_identities: vec![ZoneName::platform("letsencrypt.org").unwrap()],
        name_servers: NAME_SERVERS.map(|name| ZoneName::platform(name).unwrap()).to_vec(),
        challenge_zone: Some(ZoneName::platform(CHALLENGE_ZONE).unwrap()),
        threads: NonZeroUsize::MIN,
        parallel_password_hashes: NonZeroUsize::MIN,
        traffic: TrafficSettings {
            rate_limits: None,
            sign_in_limits: "email=1000000/1,address=1000000/1".parse().unwrap(),
            ..TrafficSettings::default()
        },
        webhook_destinations: Destinations::default(),
        stop_patience: Duration::from_secs(1),
    }
}

fn serve(database_url: &str, masters: &Arc<MasterKeys>, settings: ApiSettings, operators: Option<OperatorAccess>) -> Server {
    let store = Store::open(database_url, 8, Duration::from_mins(1)).unwrap();
    let app = App::new(store, Arc::clone(masters), settings).unwrap();
    let app = match operators {
        Some(access) => app.with_operators(access),
        None => app,
    };
    Server::start(Arc::new(app), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).unwrap()
}

/// The UUID within an identifier.
pub(crate) fn uuid(id: &Value) -> String {
    id.as_str().unwrap().split_once('_').unwrap().1.to_owned()
}
