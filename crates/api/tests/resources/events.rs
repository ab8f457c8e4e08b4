//! Live events over HTTP, as a browser reads them.

use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use zonecert_api::ApiSettings;
use zonecert_api::traffic::LiveSettings;
use zonecert_devstack::wait;
use zonecert_domain::id::AccountId;

use crate::support::{Caller, TestApi, uuid};

/// For what must happen.
const SOON: Duration = Duration::from_secs(40);

/// Nothing is made up for at a keep-alive: what arrives was announced.
const NEVER: Duration = Duration::from_hours(1);

const OFTEN: Duration = Duration::from_millis(100);

fn keep_alive(every: Duration) -> impl FnOnce(&mut ApiSettings) {
    move |settings| settings.traffic.live = LiveSettings { keep_alive: every, ..LiveSettings::default() }
}

/// A client that reads.
struct Stream {
    response: Response,
    unread: String,
}

#[derive(Debug, PartialEq)]
struct Message {
    id: i64,
    event: String,
    data: Value,
}

impl Stream {
    async fn request(url: &str, token: &str, query: &str, headers: &[(&str, &str)]) -> Response {
        let client = Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("{url}/api/v1/events{query}")).bearer_auth(token);
        headers.iter().fold(request, |request, &(name, value)| request.header(name, value)).send().await.unwrap()
    }

    async fn open_at(url: &str, token: &str, query: &str, headers: &[(&str, &str)]) -> Self {
        let response = Self::request(url, token, query, headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut stream = Self { response, unread: String::new() };
        assert_eq!(stream.block().await.unwrap(), "retry: 2000");
        stream
    }

    async fn open(caller: &Caller<'_>) -> Self {
        Self::open_at(&caller.api.url, &caller.token, "", &[]).await
    }

    /// What stands before the next empty line; none at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(SOON, self.response.chunk()).await.expect("nothing came").expect("the answer broke off");
            let Some(chunk) = chunk else {
                assert_eq!(self.unread, "", "the stream ended within a message");
                return None;
            };
            self.unread += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// The next event, past keep-alives; none at the end.
    async fn next(&mut self) -> Option<Message> {
        loop {
            let block = self.block().await?;
            if block == ": keep-alive" {
                continue;
            }
            let lines: Vec<&str> = block.lines().collect();
            let [id, event, data] = lines[..] else { panic!("{block}") };
            return Some(Message {
                id: id.strip_prefix("id: ").unwrap().parse().unwrap(),
                event: event.strip_prefix("event: ").unwrap().to_owned(),
                data: serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
            });
        }
    }

    async fn ids(&mut self, count: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.next().await.expect("the stream ended").id);
        }
        ids
    }
}

/// Lets as many events happen in an account as the worker would record them, each in a transaction of its own.
async fn happen(api: &TestApi, account: AccountId, event: &str, details: &str, count: usize) {
    let one = format!(
        "WITH counted AS (UPDATE accounts SET last_event_number = last_event_number + 1 WHERE id = '{}' RETURNING last_event_number)
         INSERT INTO events (account_id, number, level, event, message, details)
         SELECT '{}', last_event_number, 'info', '{event}', 'Something happened', '{details}' FROM counted;",
        account.0, account.0
    );
    for _ in 0..count {
        api.execute(&one).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_as_it_happens() {
    let api = TestApi::start_set(keep_alive(NEVER)).await;
    let caller = api.register("elite").await;
    let (zone, name) = caller.verified_zone().await;
    let response = Stream::request(&api.url, &caller.token, "", &[("Accept-Encoding", "gzip"), ("Accept", "text/event-stream")]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").as_deref(), Some("text/event-stream"));
    assert_eq!((header("cache-control").as_deref(), header("x-accel-buffering").as_deref()), (Some("no-store"), Some("no")));
    assert_eq!((header("content-encoding"), header("content-length")), (None, None));
    assert_eq!(header("x-request-id").unwrap().len(), 32);

    let mut stream = Stream { response, unread: String::new() };
    assert_eq!(stream.block().await.unwrap(), "retry: 2000");
    let certificate = caller.certificate(&zone, &format!("app.{name}")).await;
    let requested = stream.next().await.unwrap();
    let log = caller.get(&format!("/certificates/{}/logs", certificate["id"].as_str().unwrap())).await.json()["logs"][0].clone();
    assert_eq!((requested.event.as_str(), &requested.data["number"]), ("certificate_requested", &json!(requested.id)));
    for field in ["at", "level", "event", "message", "details"] {
        assert_eq!(requested.data[field], log[field], "{field}");
    }
    assert_eq!(requested.data["certificate_id"], certificate["id"]);
    assert_eq!(
        requested.data["certificate"],
        json!({"domain": format!("app.{name}"), "status": "pending", "issued_at": null, "expires_at": null})
    );

    let other = caller.post("/zones", json!({"name": format!("other.{name}")})).await.expect(StatusCode::CREATED);
    let imported = stream.next().await.unwrap();
    assert_eq!((imported.event.as_str(), imported.id), ("zone_imported", requested.id + 1));
    assert_eq!((&imported.data["zone_id"], imported.data.get("certificate_id")), (&other["id"], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was_cut_off() {
    let api = TestApi::start_set(keep_alive(NEVER)).await;
    let caller = api.register("elite").await;
    happen(&api, caller.account, "tested", "{}", 5).await;
    let mut first = Stream::open(&caller).await;
    happen(&api, caller.account, "tested", "{}", 3).await;
    assert_eq!(first.ids(2).await, [6, 7], "without a number it begins with what happens next");
    drop(first);
    happen(&api, caller.account, "tested", "{}", 2).await;
    let resume = async |query: &str, headers: &[(&str, &str)]| Stream::open_at(&api.url, &caller.token, query, headers).await;
    assert_eq!(resume("", &[("Last-Event-ID", "7")]).await.ids(3).await, [8, 9, 10]);
    assert_eq!(resume("?last_event_id=7", &[]).await.ids(3).await, [8, 9, 10]);
    assert_eq!(resume("?last_event_id=1", &[("Last-Event-ID", "9")]).await.ids(1).await, [10], "the header is the later one");
    assert_eq!(resume("?last_event_id=0", &[]).await.ids(10).await, (1..=10).collect::<Vec<_>>());
    // A number that was never given begins with what happens next, as none does.
    let (mut ahead, mut level) = (resume("?last_event_id=9999", &[]).await, resume("?last_event_id=10", &[]).await);
    happen(&api, caller.account, "tested", "{}", 1).await;
    assert_eq!((ahead.ids(1).await, level.ids(1).await), (vec![11], vec![11]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_none_is_refused() {
    let api = TestApi::start().await;
    let caller = api.register("plus").await;
    for (text, pointer) in [
        ("x", "?last_event_id"),
        ("-1", "?last_event_id"),
        ("", "?last_event_id"),
        ("1.5", "?last_event_id"),
        ("99999999999999999999", "?last_event_id"),
    ] {
        let faults = caller.get(&format!("/events?last_event_id={text}")).await.faults();
        assert_eq!(faults, [(pointer.to_owned(), "last_event_id_invalid".to_owned())].into(), "{text}");
    }
    let answer = api.send_with(Method::GET, "/api/v1/events?last_event_id=1", Some(&caller.token), None, &[("Last-Event-ID", "x")]).await;
    assert_eq!(answer.faults(), [("Last-Event-ID".to_owned(), "last_event_id_invalid".to_owned())].into());
    assert_eq!(caller.get("/events?since=1").await.problem(400).0, "invalid_query");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_account_is_told_its_own_and_nothing_else() {
    let api = TestApi::start_set(keep_alive(OFTEN)).await;
    let (caller, stranger) = (api.register("plus").await, api.register("plus").await);
    let (mut mine, mut theirs) = (Stream::open(&caller).await, Stream::open(&stranger).await);
    // From the beginning too, with a number of the other account's.
    happen(&api, caller.account, "mine", "{}", 4).await;
    let mut resumed = Stream::open_at(&api.url, &stranger.token, "?last_event_id=1", &[]).await;
    happen(&api, stranger.account, "theirs", "{}", 2).await;
    happen(&api, caller.account, "mine", "{}", 1).await;
    for number in 1..=5 {
        let message = mine.next().await.unwrap();
        assert_eq!((message.id, message.event.as_str()), (number, "mine"));
    }
    for stream in [&mut theirs, &mut resumed] {
        for number in 1..=2 {
            let message = stream.next().await.unwrap();
            assert_eq!((message.id, message.event.as_str()), (number, "theirs"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_decide_what_is_told() {
    let api = TestApi::start_set(keep_alive(NEVER)).await;
    let caller = api.register("elite").await;
    for scopes in [&["zones:read"][..], &["account:admin", "zones:write", "certificates:write", "keys:read"]] {
        assert_eq!(caller.with_token(scopes).await.get("/events").await.problem(403).0, "scope_missing");
    }
    assert_eq!(api.send(Method::GET, "/api/v1/events", None, None).await.problem(401).0, "credential_missing");
    let certificates = caller.with_token(&["certificates:read"]).await;
    let both = caller.with_token(&["certificates:read", "zones:read"]).await;
    let (mut certificates, mut both) = (Stream::open(&certificates).await, Stream::open(&both).await);
    happen(&api, caller.account, "zone_lost", r#"{"zone_id": "zone_1"}"#, 2).await;
    happen(&api, caller.account, "tested", "{}", 1).await;
    assert_eq!(certificates.ids(1).await, [3]);
    assert_eq!(both.ids(3).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_events_at_once_all_arrive_in_order() {
    const EVENTS: usize = 230;
    let api = TestApi::start_set(keep_alive(NEVER)).await;
    let caller = api.register("plus").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Stream::open(&caller).await);
    }
    api.execute(&format!(
        "INSERT INTO events (account_id, number, level, event, message) SELECT '{0}', n, 'info', 'tested', '' FROM generate_series(1, {EVENTS}) AS n;
         UPDATE accounts SET last_event_number = {EVENTS} WHERE id = '{0}'",
        caller.account.0
    ))
    .await;
    for mut stream in streams {
        assert_eq!(stream.ids(EVENTS).await, (1..=230).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_no_good_any_more_ends_its_stream() {
    let api = TestApi::start_set(keep_alive(OFTEN)).await;
    let caller = api.register("elite").await;
    let token_id = async |token: &Caller<'_>| uuid(&token.get("/me").await.json()["token"]["id"]);
    for reason in ["revoked", "expired", "elsewhere", "abuse", "scope"] {
        let token = caller.with_token(&["certificates:read"]).await;
        let id = token_id(&token).await;
        let (mut stream, mut untouched) = (Stream::open(&token).await, Stream::open(&caller).await);
        happen(&api, caller.account, "before", "{}", 1).await;
        assert_eq!(stream.next().await.unwrap().event, "before");
        match reason {
            "revoked" => drop(caller.delete(&format!("/tokens/tok_{}", id.replace('-', ""))).await),
            "expired" => api.execute(&format!("UPDATE api_tokens SET expires_at = now() WHERE id = '{id}'")).await,
            "elsewhere" => api.execute(&format!("UPDATE api_tokens SET cidrs = '{{192.0.2.0/24}}' WHERE id = '{id}'")).await,
            "abuse" => api.execute("UPDATE accounts SET status = 'suspended_abuse', suspended_at = now()").await,
            _ => api.execute(&format!("UPDATE api_tokens SET scopes = '{{zones:read}}' WHERE id = '{id}'")).await,
        }
        assert_eq!(stream.next().await, None, "{reason}");
        if reason == "abuse" {
            assert_eq!(untouched.next().await.unwrap().event, "before");
            assert_eq!(untouched.next().await, None);
            api.execute("UPDATE accounts SET status = 'active', suspended_at = NULL").await;
        }
    }
    let mut stream = Stream::open(&caller).await;
    api.execute("UPDATE users SET deleted_at = now()").await;
    assert_eq!(stream.next().await, None, "a person who is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_told_nothing_more_even_without_a_keep_alive() {
    let api = TestApi::start_set(keep_alive(NEVER)).await;
    let caller = api.register("elite").await;
    let token = caller.with_token(&["certificates:read"]).await;
    let mut stream = Stream::open(&token).await;
    let id = token.get("/me").await.json()["token"]["id"].as_str().unwrap().to_owned();
    assert_eq!(caller.delete(&format!("/tokens/{id}")).await.status, StatusCode::NO_CONTENT);
    let ended = async {
        // What happened within the second for which the database's word is taken may still come.
        while stream.next().await.is_some() {}
    };
    let happening = async {
        loop {
            happen(&api, caller.account, "after", "{}", 1).await;
        }
    };
    tokio::select! { () = ended => {} () = happening => {} }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_suspended_for_payment_goes_on_reading() {
    let api = TestApi::start_set(keep_alive(OFTEN)).await;
    let caller = api.register("elite").await;
    api.execute("UPDATE accounts SET status = 'suspended_payment', suspended_at = now()").await;
    let mut stream = Stream::open(&caller).await;
    assert_eq!(stream.block().await.unwrap(), ": keep-alive");
    happen(&api, caller.account, "tested", "{}", 1).await;
    assert_eq!(stream.ids(1).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_streams_and_gets_a_place_back_when_one_ends() {
    let api = TestApi::start_set(|settings| {
        settings.traffic.live = LiveSettings { streams_per_account: 2, keep_alive: OFTEN, ..LiveSettings::default() };
    })
    .await;
    let (caller, other) = (api.register("plus").await, api.register("plus").await);
    let (one, _two) = (Stream::open(&caller).await, Stream::open(&caller).await);
    let refused = caller.get("/events").await;
    assert_eq!(refused.problem(429).0, "too_many_streams");
    assert_eq!(refused.header("retry-after"), "5");
    let _theirs = Stream::open(&other).await;
    drop(one);
    let place = async || {
        let response = Stream::request(&api.url, &caller.token, "", &[]).await;
        Ok((response.status() == StatusCode::OK).then_some(response))
    };
    wait::until("the place is free again", SOON, place).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_loses_its_stream() {
    let api = TestApi::start_set(|settings| {
        settings.traffic.live = LiveSettings { streams_per_account: 1, keep_alive: NEVER, patience: Duration::from_millis(500) };
    })
    .await;
    let caller = api.register("plus").await;
    // Held, and never read from again.
    let _idle = Stream::open(&caller).await;
    assert_eq!(caller.get("/events").await.problem(429).0, "too_many_streams");
    let details = format!(r#"{{"much": "{}"}}"#, "x".repeat(500_000));
    let place = async || {
        happen(&api, caller.account, "tested", &details, 1).await;
        let response = Stream::request(&api.url, &caller.token, "", &[]).await;
        Ok((response.status() == StatusCode::OK).then_some(()))
    };
    wait::until("its place is free", 4 * SOON, place).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_outlive_the_database() {
    let api = TestApi::start_set(keep_alive(NEVER)).await;
    let caller = api.register("plus").await;
    let mut stream = Stream::open(&caller).await;
    happen(&api, caller.account, "before", "{}", 1).await;
    assert_eq!(stream.ids(1).await, [1]);
    let database = api.product.database();
    // As in a restart: every session of the API ends, and new ones are refused for a while.
    let admin = api.stack.postgres.connect_as_admin(database).await.unwrap();
    let end = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'zonecert_api'";
    admin.batch_execute(&format!("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")).await.unwrap();
    let ended: i64 = admin.query_one(end, &[]).await.unwrap().get(0);
    assert!(ended >= 1);
    happen(&api, caller.account, "meanwhile", "{}", 3).await;
    admin.batch_execute(&format!("GRANT CONNECT ON DATABASE {database} TO PUBLIC")).await.unwrap();
    assert_eq!(stream.ids(3).await, [2, 3, 4]);
    // It listens again.
    happen(&api, caller.account, "after", "{}", 1).await;
    assert_eq!(stream.ids(1).await, [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_announced_is_made_up_for_at_the_keep_alive() {
    let api = TestApi::start_set(keep_alive(OFTEN)).await;
    let caller = api.register("plus").await;
    let mut stream = Stream::open(&caller).await;
    api.execute("ALTER TABLE events DISABLE TRIGGER events_notify").await;
    happen(&api, caller.account, "unannounced", "{}", 2).await;
    assert_eq!(stream.ids(2).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_shows_that_it_is_alive() {
    let api = TestApi::start_set(keep_alive(OFTEN)).await;
    let caller = api.register("plus").await;
    let mut stream = Stream::open(&caller).await;
    for _ in 0..3 {
        assert_eq!(stream.block().await.unwrap(), ": keep-alive");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_and_another_process_goes_on_with_them() {
    let api = TestApi::start_set(keep_alive(NEVER)).await;
    let other = api.another_process(|settings| {
        keep_alive(NEVER)(settings);
        // Were streams waited for, this would be how long.
        settings.stop_patience = Duration::from_hours(1);
    });
    let caller = api.register("plus").await;
    let mut stream = Stream::open_at(&other.url, &caller.token, "", &[]).await;
    happen(&api, caller.account, "tested", "{}", 1).await;
    assert_eq!(stream.ids(1).await, [1]);
    let stopped = tokio::spawn(other.server.stop());
    assert_eq!(stream.next().await, None);
    tokio::time::timeout(SOON, stopped).await.expect("the stop waits").unwrap().unwrap();
    happen(&api, caller.account, "tested", "{}", 1).await;
    let mut stream = Stream::open_at(&api.url, &caller.token, "", &[("Last-Event-ID", "1")]).await;
    assert_eq!(stream.ids(1).await, [2]);
}
