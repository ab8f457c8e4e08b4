//! Messages to webhooks, at a receiver that fails, hangs, leads elsewhere, is looked up twice.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use tokio::process::Command;
use tokio_postgres::Client;
use zonecert_devstack::StackHandle;
use zonecert_domain::id::{AccountId, DeliveryId, WebhookId};
use zonecert_domain::order::OrderTiming;
use zonecert_domain::retry::RetryLadder;
use zonecert_domain::webhook::Destinations;
use zonecert_pki::MasterKeys;
use zonecert_preflight::Expectations;
use zonecert_resolver::Resolver;
use zonecert_store::webhook_deliveries::{self, Delivery, DeliveryStatus};
use zonecert_store::webhooks::{self, DisabledReason, NewWebhook, Webhook};
use zonecert_store::{Store, accounts, data_keys};
use zonecert_worker::dns::{NameServers, PowerDns, Projector};
use zonecert_worker::webhook::{self, WebhookJob, WebhookSender};
use zonecert_worker::{Directories, KeyStockSettings, Worker, WorkerSettings, sweeper, worker_name};

use crate::database::{self, Database, master_keys, stack};
use crate::receiver::{FickleDns, Receiver, Reply};

const SECRET: &[u8; 32] = b"a secret of exactly thirty-two b";

/// A database with an account, and workers that send its messages.
struct World {
    stack: StackHandle,
    database: Database,
    admin: Client,
    owner: Store,
    masters: Arc<MasterKeys>,
    account: AccountId,
}

impl World {
    async fn new() -> Result<Self> {
        let stack = stack().await?;
        let database = Box::pin(database::fresh(&stack)).await?;
        let admin = stack.postgres.connect_as_admin(&database.name).await?;
        let owner = Store::open(&stack.postgres.owner_url(&database.name), 2, Duration::from_secs(20))?;
        let (masters, account) = (Arc::new(master_keys('w')), AccountId::new());
        let made = owner.tenant(account, async |conn| {
            accounts::insert_account(conn, account, "Customer").await?;
            data_keys::insert_data_key(conn, &masters, account).await
        });
        made.await?;
        let owner_of_it = "INSERT INTO users (id, account_id, email, password_hash, role)
                           SELECT gen_random_uuid(), id, 'ada@customer.test', '', 'owner' FROM accounts";
        admin.batch_execute(owner_of_it).await?;
        Ok(Self { stack, database, admin, owner, masters, account })
    }

    /// A worker that may send to loopback.
    fn worker(&self) -> Result<Worker> {
        self.worker_for("127.0.0.1", self.stack.customer_dns.dns_address())
    }

    /// A worker that may send to these networks beside the public Internet, and asks this DNS server.
    fn worker_for(&self, networks: &str, dns: SocketAddr) -> Result<Worker> {
        let store = &self.database.store;
        let powerdns = PowerDns::new(&self.stack.powerdns.api_url().parse()?, "localhost", self.stack.powerdns.api_key().parse()?)?;
        let projector = Projector::new(store.clone(), powerdns, NameServers::parse(["ns1.zonecert.test."])?, None, "webhook");
        let settings = WorkerSettings {
            timing: OrderTiming { propagation: Duration::ZERO, poll_interval: Duration::from_secs(1), poll_limit: 1 },
            ladder: RetryLadder::default(),
            lease: Duration::from_secs(20),
            sweep_interval: Duration::from_secs(5),
            scan_interval: Duration::from_secs(5),
            key_stock: KeyStockSettings { size: 0, interval: Duration::from_secs(5) },
            concurrency: 1,
            stop_grace: Duration::ZERO,
            expectations: Expectations::new(&[], &[], None),
        };
        let networks = networks.split(',').filter(|network| !network.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        let resolver = Resolver::new(&[dns])?;
        let sender = WebhookSender::new(Destinations::new(networks), &resolver)?;
        let masters = Arc::clone(&self.masters);
        Ok(Worker::new(worker_name(), store.clone(), masters, Directories::default(), projector, resolver, settings).with_webhooks(sender))
    }

    async fn webhook(&self, url: &str) -> Result<WebhookId> {
        let new = NewWebhook { url, events: &[], description: None };
        let made =
            self.owner.tenant(self.account, async |conn| webhooks::insert_webhook(conn, &self.masters, self.account, &new, SECRET).await);
        Ok(made.await?.id)
    }

    /// A message that tells nothing.
    async fn message(&self, webhook: WebhookId) -> Result<DeliveryId> {
        let written = self.owner.tenant(self.account, async |conn| webhook_deliveries::insert_test(conn, self.account, webhook).await);
        Ok(written.await?.id)
    }

    fn job(&self, webhook: WebhookId) -> WebhookJob {
        WebhookJob { account_id: self.account.0, webhook_id: webhook.0 }
    }

    async fn delivery(&self, webhook: WebhookId, id: DeliveryId) -> Result<Delivery> {
        Ok(self.owner.tenant(self.account, async |conn| webhook_deliveries::get_delivery(conn, self.account, webhook, id).await).await?)
    }

    async fn get(&self, webhook: WebhookId) -> Result<Webhook> {
        Ok(self.owner.tenant(self.account, async |conn| webhooks::get_webhook(conn, self.account, webhook).await).await?)
    }

    /// In how many seconds it is sent again.
    async fn due_in(&self, id: DeliveryId) -> Result<f64> {
        let query = "SELECT extract(epoch FROM next_attempt_at - now())::float8 FROM webhook_deliveries WHERE id::text = $1";
        Ok(self.admin.query_one(query, &[&id.0.to_string()]).await?.get(0))
    }

    async fn make_due(&self) -> Result<()> {
        self.change("UPDATE webhook_deliveries SET next_attempt_at = now(), claimed_until = NULL WHERE status = 'pending'").await
    }

    async fn change(&self, change: &str) -> Result<()> {
        Ok(self.admin.batch_execute(change).await?)
    }

    async fn count(&self, query: &str) -> Result<i64> {
        Ok(self.admin.query_one(query, &[]).await?.get(0))
    }
}

/// The signature as `openssl` computes it, which knows nothing of us.
async fn by_openssl(secret: &[u8], signed: &str) -> Result<String> {
    let hex = secret.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let script = format!("printf %s \"$1\" | openssl dgst -sha256 -mac HMAC -macopt hexkey:{hex} -binary | openssl base64 -A");
    let output = Command::new("sh").args(["-c", &script, "sh", signed]).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(format!("v1,{}", String::from_utf8(output.stdout)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_as_it_was_written_signed_with_each_valid_secret() -> Result<()> {
    let (world, receiver) = (World::new().await?, Receiver::start().await?);
    let webhook = world.webhook(&receiver.url()).await?;
    let second = [9; 32];
    let rotated = world.owner.tenant(world.account, async |conn| {
        webhooks::rotate_secret(conn, &world.masters, world.account, webhook, &second, chrono::TimeDelta::hours(24)).await
    });
    rotated.await?;
    let id = world.message(webhook).await?;
    webhook::run(&world.worker()?, world.job(webhook)).await?;
    let requests = receiver.received();
    let [request] = &requests[..] else { anyhow::bail!("{requests:?}") };
    let delivery = world.delivery(webhook, id).await?;
    assert_eq!((request.line.as_str(), &request.body), ("POST /hook HTTP/1.1", &delivery.body));
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-id"), id.to_string());
    let timestamp: i64 = request.header("webhook-timestamp").parse()?;
    let now: f64 = world.admin.query_one("SELECT extract(epoch FROM now())::float8", &[]).await?.get(0);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
    let age = now - timestamp as f64;
    assert!((-2.0..60.0).contains(&age), "{age}");
    let signed = format!("{id}.{timestamp}.{}", request.body);
    let signatures = [by_openssl(&second, &signed).await?, by_openssl(SECRET, &signed).await?];
    assert_eq!(request.header("webhook-signature"), signatures.join(" "));
    assert_eq!(delivery.status, DeliveryStatus::Delivered);
    let [attempt] = &delivery.attempts[..] else { anyhow::bail!("{delivery:?}") };
    assert_eq!((attempt.status, &attempt.error), (Some(204), &None));
    // A job that comes twice, or late, or for what is another's, does nothing.
    webhook::run(&world.worker()?, world.job(webhook)).await?;
    webhook::run(&world.worker()?, WebhookJob { account_id: AccountId::new().0, ..world.job(webhook) }).await?;
    assert_eq!(receiver.received().len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_sent_again_by_the_ladder_under_the_same_identifier_until_it_comes_through() -> Result<()> {
    let (world, receiver, worker) = {
        let world = World::new().await?;
        let worker = world.worker()?;
        (world, Receiver::start().await?, worker)
    };
    let webhook = world.webhook(&receiver.url()).await?;
    let id = world.message(webhook).await?;
    let say = |status, headers: &[&str], body: &[u8]| {
        Reply::Say(status, headers.iter().map(|header| (*header).to_owned()).collect(), body.to_vec())
    };
    receiver.reply([
        say("500 Internal Server Error", &[], &[b'x'; 5000]),
        Reply::Close,
        say("503 Service Unavailable", &["Retry-After: 7200"], b"a\0b"),
        say("400 Bad Request", &[], b""),
    ]);
    for (seconds, told) in [(30.0, "500"), (300.0, "could not be reached"), (7200.0, "503"), (7200.0, "400")] {
        webhook::run(&worker, world.job(webhook)).await?;
        let (delivery, due) = (world.delivery(webhook, id).await?, world.due_in(id).await?);
        assert!(delivery.last_error.as_deref().is_some_and(|error| error.contains(told)), "{delivery:?}");
        assert!((seconds - 5.0..seconds * 1.1 + 1.0).contains(&due), "{due} after {told}");
        // Not before.
        webhook::run(&worker, world.job(webhook)).await?;
        world.make_due().await?;
    }
    assert!(world.get(webhook).await?.failing_since.is_some());
    webhook::run(&worker, world.job(webhook)).await?;
    let delivery = world.delivery(webhook, id).await?;
    assert_eq!((delivery.status, delivery.attempts.len()), (DeliveryStatus::Delivered, 5));
    assert_eq!(delivery.attempts[0].answer.as_deref().map(str::len), Some(1024), "so much of an answer is kept");
    assert_eq!(delivery.attempts[2].answer.as_deref(), Some("a\u{fffd}b"));
    assert!(world.get(webhook).await?.failing_since.is_none());
    let ids: Vec<String> = receiver.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, vec![id.to_string(); 5]);
    // Each attempt has its job.
    assert_eq!(world.count("SELECT count(*) FROM apalis.jobs WHERE job_type = 'webhook'").await?, 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_nobody_else_up_and_is_left_after_ten_seconds() -> Result<()> {
    let (world, slow, quick) = (World::new().await?, Receiver::start().await?, Receiver::start().await?);
    let (hangs, answers) = (world.webhook(&slow.url()).await?, world.webhook(&quick.url()).await?);
    slow.reply(vec![Reply::Hang; 40]);
    let mut stuck = None;
    for _ in 0..8 {
        stuck = Some(world.message(hangs).await?);
        world.message(answers).await?;
    }
    let (worker, other) = (world.worker()?, world.worker()?);
    let began = Instant::now();
    let jobs = join_all((0..8).map(|number| {
        let worker = if number % 2 == 0 { &worker } else { &other };
        tokio::time::timeout(Duration::from_secs(16), webhook::run(worker, world.job(hangs)))
    }));
    let others = async {
        webhook::run(&worker, world.job(answers)).await?;
        quick.has_received(8).await;
        Ok::<_, anyhow::Error>(began.elapsed())
    };
    let (_, took) = tokio::join!(jobs, others);
    assert!(took? < Duration::from_secs(9), "the quick one has waited for the slow one");
    let failed = "SELECT count(*) FROM webhook_deliveries WHERE last_error LIKE 'no answer within 10 seconds'";
    assert_eq!(world.count(failed).await?, 4, "four are under way to it at most, and one once it fails");
    assert_eq!(slow.received().len(), 5);
    let last = world.delivery(hangs, stuck.context("a message")?).await?;
    assert_eq!((last.status, last.attempts.len()), (DeliveryStatus::Pending, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() -> Result<()> {
    let (world, receiver, elsewhere) = (World::new().await?, Receiver::start().await?, Receiver::start().await?);
    let webhook = world.webhook(&receiver.url()).await?;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        receiver.reply([Reply::Say(status, vec![format!("Location: {}", elsewhere.url())], Vec::new())]);
        let id = world.message(webhook).await?;
        webhook::run(&world.worker()?, world.job(webhook)).await?;
        let delivery = world.delivery(webhook, id).await?;
        assert!(delivery.last_error.as_deref().is_some_and(|error| error.contains("redirects are not followed")), "{delivery:?}");
        world.change("UPDATE webhook_deliveries SET next_attempt_at = now() + interval '1 hour' WHERE status = 'pending'").await?;
    }
    assert_eq!((receiver.received().len(), elsewhere.connections()), (4, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_addresses_that_are_not_public_however_they_are_named() -> Result<()> {
    let (world, private) = (World::new().await?, Receiver::start().await?);
    let port = private.address.port();
    let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
    let mapped: IpAddr = "::ffff:127.0.0.1".parse()?;
    let dns = FickleDns::start(vec![vec![loopback], vec![mapped], vec!["8.8.8.8".parse()?, loopback], vec![]]).await?;
    let worker = world.worker_for("", dns.address)?;
    for (url, told) in [
        // As if the operator had allowed them before.
        (format!("http://127.0.0.1:{port}/"), "https"),
        (format!("https://127.0.0.1:{port}/"), "public Internet"),
        (format!("https://[::ffff:127.0.0.1]:{port}/"), "public Internet"),
        (format!("https://2130706433:{port}/"), "public Internet"),
        (format!("https://localhost:{port}/"), "public Internet"),
        (format!("https://a.customer.test:{port}/"), "public Internet"),
        (format!("https://b.customer.test:{port}/"), "public Internet"),
        (format!("https://c.customer.test:{port}/"), "public Internet"),
        (format!("https://d.customer.test:{port}/"), "no address"),
    ] {
        let webhook = world.webhook(&url).await?;
        let id = world.message(webhook).await?;
        webhook::run(&worker, world.job(webhook)).await?;
        let delivery = world.delivery(webhook, id).await?;
        let error = delivery.last_error.as_deref().unwrap_or_default();
        assert!(error.contains(told), "{url}: {delivery:?}");
        assert!(!error.contains("127.0.0.1") && !error.contains("8.8.8.8"), "what our resolver sees stays here: {error}");
        assert_eq!(delivery.attempts[0].status, None);
    }
    assert_eq!(dns.looks(), 4, "names of our own are not even looked up");
    assert_eq!(private.connections(), 0);
    Ok(())
}

/// 127.0.0.2 stands for what is allowed, and 127.0.0.1 for what is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_looked_up_once_and_what_it_says_at_the_second_look_is_looked_at_again() -> Result<()> {
    let world = World::new().await?;
    let (allowed, private): (IpAddr, IpAddr) = (Ipv4Addr::new(127, 0, 0, 2).into(), Ipv4Addr::LOCALHOST.into());
    let receiver = Receiver::start_at(SocketAddr::new(allowed, 0)).await?;
    let trap = Receiver::start_at(SocketAddr::new(private, receiver.address.port())).await?;
    let dns = FickleDns::start(vec![vec![allowed], vec![private], vec![allowed, private], vec![allowed]]).await?;
    let worker = world.worker_for("127.0.0.2", dns.address)?;
    let webhook = world.webhook(&format!("http://rebinds.customer.test:{}/", receiver.address.port())).await?;
    let first = world.message(webhook).await?;
    webhook::run(&worker, world.job(webhook)).await?;
    assert_eq!((world.delivery(webhook, first).await?.status, dns.looks()), (DeliveryStatus::Delivered, 1));
    let second = world.message(webhook).await?;
    for looks in [2, 3] {
        webhook::run(&worker, world.job(webhook)).await?;
        let delivery = world.delivery(webhook, second).await?;
        assert!(delivery.last_error.as_deref().is_some_and(|error| error.contains("public Internet")), "{delivery:?}");
        assert_eq!(dns.looks(), looks);
        world.make_due().await?;
    }
    webhook::run(&worker, world.job(webhook)).await?;
    assert_eq!(world.delivery(webhook, second).await?.status, DeliveryStatus::Delivered, "nothing is lost by it");
    assert_eq!((receiver.received().len(), trap.connections()), (2, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_whose_certificate_is_not_trusted_is_told_nothing() -> Result<()> {
    let (world, server) = (World::new().await?, crate::smtp_server::SmtpServer::start(crate::smtp_server::Tls::FromTheStart).await?);
    let webhook = world.webhook(&format!("https://{}/", server.address)).await?;
    let id = world.message(webhook).await?;
    webhook::run(&world.worker()?, world.job(webhook)).await?;
    let delivery = world.delivery(webhook, id).await?;
    assert!(delivery.last_error.as_deref().is_some_and(|error| error.contains("ertificate")), "{delivery:?}");
    assert!(server.said().is_empty(), "{:?}", server.said());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_gone_or_fails_for_three_days_is_disabled_and_its_owner_told() -> Result<()> {
    let (world, receiver) = (World::new().await?, Receiver::start().await?);
    let worker = world.worker()?;
    let (gone, failing) = (world.webhook(&receiver.url()).await?, world.webhook(&receiver.url()).await?);
    receiver.reply([Reply::Say("410 Gone", Vec::new(), b"click https://evil.test".to_vec())]);
    let id = world.message(gone).await?;
    let waits = world.message(gone).await?;
    webhook::run(&worker, world.job(gone)).await?;
    for id in [id, waits] {
        assert_eq!(world.delivery(gone, id).await?.status, DeliveryStatus::Failed);
    }
    assert!(world.get(gone).await?.disabled.is_some_and(|(_, reason)| reason == DisabledReason::Gone));
    assert_eq!(receiver.received().len(), 1, "what waited is not sent any more");

    let id = world.message(failing).await?;
    receiver.reply(vec![Reply::Close; 10]);
    for attempt in 1..=9 {
        webhook::run(&worker, world.job(failing)).await?;
        assert_eq!(world.delivery(failing, id).await?.status, DeliveryStatus::Pending, "attempt {attempt}");
        world.make_due().await?;
    }
    assert!(world.get(failing).await?.disabled.is_none());
    world.change("UPDATE webhooks SET failing_since = now() - interval '73 hours' WHERE failing_since IS NOT NULL").await?;
    webhook::run(&worker, world.job(failing)).await?;
    assert_eq!(world.delivery(failing, id).await?.status, DeliveryStatus::Failed);
    assert!(world.get(failing).await?.disabled.is_some_and(|(_, reason)| reason == DisabledReason::Failing));

    let mails = world.admin.query("SELECT recipient, template FROM mails", &[]).await?;
    let told: Vec<(&str, &str)> = mails.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(told, [("ada@customer.test", "webhook_disabled"); 2]);
    assert_eq!(world.count("SELECT count(*) FROM apalis.jobs WHERE job_type = 'mail'").await?, 2);
    Ok(())
}

/// The future of a worker that is killed goes on no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_in_the_middle_leaves_the_message_to_another_under_the_same_identifier() -> Result<()> {
    let (world, receiver) = (World::new().await?, Receiver::start().await?);
    let webhook = world.webhook(&receiver.url()).await?;
    let id = world.message(webhook).await?;
    receiver.reply([Reply::Hang]);
    let (dying, next) = (world.worker()?, world.worker()?);
    tokio::select! {
        _ = webhook::run(&dying, world.job(webhook)) => anyhow::bail!("it was to hang"),
        () = receiver.has_received(1) => {}
    }
    // Nobody takes it before its claim is over.
    webhook::run(&next, world.job(webhook)).await?;
    assert_eq!(receiver.received().len(), 1);
    assert!(world.due_in(id).await? <= 30.0);
    world
        .change(
            "DELETE FROM apalis.jobs; UPDATE webhook_deliveries SET next_attempt_at = now() - interval '11 seconds', claimed_until = now()",
        )
        .await?;
    sweeper::sweep(&next).await?;
    assert_eq!(world.count("SELECT count(*) FROM apalis.jobs WHERE job_type = 'webhook'").await?, 1, "the sweeper sends its job");
    webhook::run(&next, world.job(webhook)).await?;
    let requests = receiver.received();
    let sent: Vec<(&str, &str)> = requests.iter().map(|request| (request.header("webhook-id"), request.body.as_str())).collect();
    assert_eq!(sent[0], sent[1]);
    assert_eq!((sent.len(), world.delivery(webhook, id).await?.status), (2, DeliveryStatus::Delivered));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_attempts_never_come_to_an_end_is_given_up() -> Result<()> {
    let (world, receiver) = (World::new().await?, Receiver::start().await?);
    let webhook = world.webhook(&receiver.url()).await?;
    let id = world.message(webhook).await?;
    world.change("UPDATE webhook_deliveries SET attempts = 10").await?;
    webhook::run(&world.worker()?, world.job(webhook)).await?;
    assert_eq!((world.delivery(webhook, id).await?.status, receiver.connections()), (DeliveryStatus::Failed, 0));
    Ok(())
}
