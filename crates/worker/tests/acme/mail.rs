//! Mail on its way: handed in at a server that speaks SMTP, or written to files.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use tokio_postgres::Client;
use uuid::Uuid;
use zonecert_devstack::StackHandle;
use zonecert_domain::id::AccountId;
use zonecert_domain::order::OrderTiming;
use zonecert_domain::retry::RetryLadder;
use zonecert_pki::MasterKeys;
use zonecert_preflight::Expectations;
use zonecert_resolver::Resolver;
use zonecert_store::mails::{self, MailText, NewMail};
use zonecert_store::{Store, StoreError, accounts, data_keys};
use zonecert_worker::dns::{NameServers, PowerDns, Projector};
use zonecert_worker::mail::{self, MailJob, Mailer, SmtpRelay};
use zonecert_worker::{Directories, KeyStockSettings, Worker, WorkerSettings, sweeper, worker_name};

use crate::database::{self, Database, master_keys, stack};
use crate::smtp_server::{SmtpServer, Tls};

const FROM: &str = "Zonecert <no-reply@zonecert.test>";
const RECIPIENT: &str = "ada@customer.test";

/// A database with an account, and the way to its mail.
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
        let (masters, account) = (Arc::new(master_keys('m')), AccountId::new());
        let made = owner.tenant(account, async |conn| {
            accounts::insert_account(conn, account, "Customer").await?;
            data_keys::insert_data_key(conn, &masters, account).await
        });
        made.await?;
        Ok(Self { stack, database, admin, owner, masters, account })
    }

    /// A worker that sends mail this way.
    fn worker(&self, mailer: Option<Mailer>) -> Result<Worker> {
        let store = &self.database.store;
        let powerdns = PowerDns::new(&self.stack.powerdns.api_url().parse()?, "localhost", self.stack.powerdns.api_key().parse()?)?;
        let projector = Projector::new(store.clone(), powerdns, NameServers::parse(["ns1.zonecert.test."])?, None, "mail");
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
        let (masters, resolver) = (Arc::clone(&self.masters), Resolver::new(&[self.stack.powerdns.dns_address()])?);
        Ok(Worker::new(worker_name(), store.clone(), masters, Directories::default(), projector, resolver, settings).with_mailer(mailer))
    }

    /// A worker that hands mail in without encryption.
    fn plain(&self, server: &SmtpServer) -> Result<Worker> {
        self.relay(&format!("smtp://{}?tls=none", server.address), None)
    }

    fn relay(&self, url: &str, server: Option<&SmtpServer>) -> Result<Worker> {
        let relay = SmtpRelay::parse(url, server.map(|server| server.ca_file.path()))?;
        self.worker(Some(Mailer::smtp(FROM, relay)?))
    }

    /// Writes a mail as the API does, and answers its job.
    async fn write(&self) -> Result<MailJob> {
        let text = MailText { subject: "Set a new password".to_owned(), body: "https://a.test/reset?token=secret\n.\nEnd\n".to_owned() };
        let mail = NewMail { recipient: RECIPIENT, template: "reset_password", text: &text };
        self.owner.tenant(self.account, async |conn| mails::insert_mail(conn, &self.masters, self.account, &mail).await).await?;
        let mut jobs = self.jobs().await?;
        let (payload, run_at) = jobs.pop().context("a job")?;
        assert!(run_at <= 0.0, "at once, and not in {run_at} s");
        Ok(serde_json::from_str(&payload)?)
    }

    /// Payload, and in how many seconds it is due, of every job for mail, in the order in which they were sent.
    async fn jobs(&self) -> Result<Vec<(String, f64)>> {
        let query = "SELECT convert_from(job, 'UTF8'), extract(epoch FROM run_at - now())::float8 FROM apalis.jobs WHERE job_type = 'mail' ORDER BY id";
        Ok(self.admin.query(query, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn state(&self, job: MailJob) -> Result<State> {
        let query = "SELECT attempts, sealed IS NULL, sent_at IS NOT NULL, failed_at IS NOT NULL, coalesce(last_error, ''),
                        coalesce(extract(epoch FROM next_attempt_at - now()), 0)::float8 FROM mails WHERE id = $1::text::uuid";
        let row = self.admin.query_one(query, &[&job.mail_id.to_string()]).await?;
        let (attempts, wiped, sent, failed, error) = (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
        Ok(State { attempts, wiped, sent, failed, error, due_in_seconds: row.get(5) })
    }

    async fn change(&self, change: &str) -> Result<()> {
        Ok(self.admin.batch_execute(change).await?)
    }

    async fn make_due(&self) -> Result<()> {
        self.change("UPDATE mails SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL").await
    }
}

/// A row of `mails`.
#[derive(Debug)]
struct State {
    attempts: i32,
    wiped: bool,
    sent: bool,
    failed: bool,
    error: String,
    due_in_seconds: f64,
}

impl State {
    #[track_caller]
    fn is_waiting(&self, attempts: i32, seconds: f64, error: &str) {
        assert!(!self.wiped && !self.sent && !self.failed && self.attempts == attempts, "{self:?}");
        assert!(self.error.contains(error), "{self:?}");
        assert!((seconds - 50.0..=seconds).contains(&self.due_in_seconds), "{self:?}");
    }

    #[track_caller]
    fn is_given_up(&self, error: &str) {
        assert!(self.wiped && !self.sent && self.failed && self.error.contains(error), "{self:?}");
    }

    #[track_caller]
    fn is_sent(&self) {
        assert!(self.wiped && self.sent && !self.failed && self.error.is_empty(), "{self:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_handed_in_once_and_wiped() -> Result<()> {
    let (world, server) = (World::new().await?, SmtpServer::start(Tls::Never).await?);
    let worker = world.relay(&format!("smtp://us%65r:p%40ss@{}/worker.zonecert.test?tls=none", server.address), None)?;
    let job = world.write().await?;
    let sealed: String = world.admin.query_one("SELECT encode(sealed, 'escape') FROM mails", &[]).await?.get(0);
    assert!(!sealed.contains("secret"));
    for _ in 0..2 {
        mail::run(&worker, job).await?;
    }
    world.state(job).await?.is_sent();
    let [message] = server.messages().try_into().map_err(|messages| anyhow::anyhow!("{messages:?}"))?;
    let (head, body) = message.split_once("\r\n\r\n").context("headers")?;
    assert_eq!(body.trim_end(), "https://a.test/reset?token=secret\r\n.\r\nEnd");
    for header in ["From: Zonecert <no-reply@zonecert.test>", "To: ada@customer.test", "Subject: Set a new password"] {
        assert!(head.lines().any(|line| line == header), "{head}");
    }
    assert!(head.contains(&format!("Message-ID: <{}@zonecert.test>", job.mail_id.simple())), "{head}");
    let expected = [
        "EHLO worker.zonecert.test",
        "AUTH PLAIN AHVzZXIAcEBzcw==",
        "MAIL FROM:<no-reply@zonecert.test>",
        "RCPT TO:<ada@customer.test>",
        "DATA",
        "QUIT",
    ];
    assert_eq!(server.said(), expected);
    assert_eq!(world.jobs().await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_take_a_mail_at_once_one_sends_it() -> Result<()> {
    let (world, server) = (World::new().await?, SmtpServer::start(Tls::Never).await?);
    let workers = [world.plain(&server)?, world.plain(&server)?];
    let job = world.write().await?;
    for done in join_all(workers.iter().cycle().take(8).map(|worker| mail::run(worker, job))).await {
        done?;
    }
    assert_eq!(server.messages().len(), 1);
    world.state(job).await?.is_sent();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_later() -> Result<()> {
    let (world, server) = (World::new().await?, SmtpServer::start(Tls::Never).await?);
    let worker = world.relay(&format!("smtp://user:pass@{}?tls=none", server.address), None)?;
    for (command, reply, error) in [
        ("RCPT", "451 4.7.1 greylisted", "451"),
        ("DATA", "421 4.3.2 going down", "421"),
        (".", "452 4.3.1 mailbox full", "452"),
        (".", "", "incomplete response"),
        // What concerns us and not this mail: for the operator to mend, while mail waits.
        ("", "554 5.7.1 we do not know you", "554"),
        ("EHLO", "550 5.7.1 go away", "550"),
        ("AUTH", "535 5.7.8 wrong password", "535"),
        ("MAIL", "553 5.7.1 you are not no-reply", "553"),
    ] {
        server.answer(command, reply);
        let job = world.write().await?;
        mail::run(&worker, job).await?;
        world.state(job).await?.is_waiting(1, 60.0, error);
        // Not before it is due.
        server.recover();
        let taken = server.messages().len();
        mail::run(&worker, job).await?;
        assert_eq!(server.messages().len(), taken, "{command} {reply}");
        let (_, due_in_seconds) = world.jobs().await?.pop().context("another job")?;
        assert!((10.0..=60.0).contains(&due_in_seconds), "{command} {reply}: {due_in_seconds}");
        world.make_due().await?;
        mail::run(&worker, job).await?;
        world.state(job).await?.is_sent();
        assert_eq!(server.messages().len(), taken + 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_not_tried_again() -> Result<()> {
    let (world, server) = (World::new().await?, SmtpServer::start(Tls::Never).await?);
    let worker = world.plain(&server)?;
    for (command, reply) in [("RCPT", "550 5.1.1 no such user"), (".", "554 5.7.1 looks like spam")] {
        server.answer(command, reply);
        let job = world.write().await?;
        let jobs = world.jobs().await?.len();
        mail::run(&worker, job).await?;
        world.state(job).await?.is_given_up(&reply[4..]);
        assert_eq!(world.jobs().await?.len(), jobs);
        server.recover();
        mail::run(&worker, job).await?;
        assert!(server.messages().is_empty());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_waited_for_until_the_next_day() -> Result<()> {
    let world = World::new().await?;
    let gone = SmtpServer::start(Tls::Never).await?.address;
    // Nobody listens at a port that was bound and is free again.
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    assert_ne!(gone, free);
    let worker = world.relay(&format!("smtp://{free}?tls=none"), None)?;
    let job = world.write().await?;
    for (attempt, minutes) in (1..).zip([1_u32, 10, 60, 6 * 60, 16 * 60]) {
        mail::run(&worker, job).await?;
        world.state(job).await?.is_waiting(attempt, f64::from(minutes * 60), "onnection");
        world.make_due().await?;
    }
    mail::run(&worker, job).await?;
    world.state(job).await?.is_given_up("onnection");
    assert_eq!(world.jobs().await?.len(), 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_mail_travel_encrypted_unless_that_is_asked_for() -> Result<()> {
    let world = World::new().await?;
    let (tls, starttls, never) =
        (SmtpServer::start(Tls::FromTheStart).await?, SmtpServer::start(Tls::AfterCommand).await?, SmtpServer::start(Tls::Never).await?);
    for (server, scheme) in [(&tls, "smtps"), (&starttls, "smtp")] {
        let url = format!("{scheme}://user:pass@{}", server.address);
        let job = world.write().await?;
        // Whoever has another certificate than we trust is told nothing.
        mail::run(&world.relay(&url, None)?, job).await?;
        world.state(job).await?.is_waiting(1, 60.0, "ertificate");
        assert!(server.said().iter().all(|line| line.starts_with("EHLO") || line == "STARTTLS"), "{:?}", server.said());
        world.make_due().await?;
        mail::run(&world.relay(&url, Some(server))?, job).await?;
        world.state(job).await?.is_sent();
        assert_eq!(server.messages().len(), 1);
    }
    let job = world.write().await?;
    mail::run(&world.relay(&format!("smtp://user:pass@{}", never.address), Some(&never))?, job).await?;
    world.state(job).await?.is_waiting(1, 60.0, "STARTTLS");
    assert!(never.said().iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{:?}", never.said());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_must_not_leave_any_more_is_given_up_unsent() -> Result<()> {
    let (world, server) = (World::new().await?, SmtpServer::start(Tls::Never).await?);
    let worker = world.plain(&server)?;
    for (change, back, error) in [
        ("UPDATE mails SET created_at = now() - interval '1 day'", "SELECT 1", "within a day"),
        ("UPDATE mails SET attempts = 6", "SELECT 1", "within a day"),
        (
            "UPDATE accounts SET status = 'suspended_abuse', suspended_at = now()",
            "UPDATE accounts SET status = 'active', suspended_at = NULL",
            "suspended for abuse",
        ),
        ("UPDATE accounts SET deleted_at = now()", "UPDATE accounts SET deleted_at = NULL", "account is gone"),
        ("UPDATE data_keys SET wrapped = NULL, destroyed_at = now()", "SELECT 1", "key was destroyed"),
    ] {
        let job = world.write().await?;
        world.change(change).await?;
        mail::run(&worker, job).await?;
        world.state(job).await?.is_given_up(error);
        world.change(back).await?;
    }
    assert!(server.said().is_empty(), "{:?}", server.said());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_that_is_missing_costs_no_attempt() -> Result<()> {
    let (world, server) = (World::new().await?, SmtpServer::start(Tls::Never).await?);
    let job = world.write().await?;
    let stranger = World { masters: Arc::new(MasterKeys::parse("other:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?), ..world };
    let refused = mail::run(&stranger.plain(&server)?, job).await;
    assert!(matches!(refused, Err(StoreError::Seal(_))), "{refused:?}");
    assert_eq!(stranger.state(job).await?.attempts, 0);
    assert!(server.said().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_waits_where_no_way_is_set() -> Result<()> {
    let world = World::new().await?;
    let worker = world.worker(None)?;
    let job = world.write().await?;
    mail::run(&worker, job).await?;
    world.change("UPDATE mails SET next_attempt_at = now() - interval '1 hour'").await?;
    sweeper::sweep(&worker).await?;
    let state = world.state(job).await?;
    assert!(state.attempts == 0 && !state.wiped, "{state:?}");
    assert_eq!(world.jobs().await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_job_got_lost_gets_another_and_not_one_from_each_sweeper() -> Result<()> {
    let (world, server) = (World::new().await?, SmtpServer::start(Tls::Never).await?);
    let workers = [world.plain(&server)?, world.plain(&server)?];
    let job = world.write().await?;
    world.change("DELETE FROM apalis.jobs").await?;
    // Nobody has had the time to come by yet.
    sweeper::sweep(&workers[0]).await?;
    assert_eq!(world.jobs().await?.len(), 0);
    world.change("UPDATE mails SET next_attempt_at = now() - interval '11 seconds'").await?;
    for done in join_all(workers.iter().cycle().take(4).map(sweeper::sweep)).await {
        done?;
    }
    let jobs = world.jobs().await?;
    // Two where a minute has just begun.
    assert!((1..=2).contains(&jobs.len()), "{jobs:?}");
    let sent: MailJob = serde_json::from_str(&jobs[0].0)?;
    assert_eq!(sent.mail_id, job.mail_id);
    mail::run(&workers[0], sent).await?;
    world.state(job).await?.is_sent();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_development_mail_is_written_to_files_for_their_owner_alone() -> Result<()> {
    let world = World::new().await?;
    let scratch = tempfile::tempdir()?;
    let directory = scratch.path().join("mail");
    let worker = world.worker(Some(Mailer::directory(FROM, directory.clone())?))?;
    let job = world.write().await?;
    mail::run(&worker, job).await?;
    world.state(job).await?.is_sent();
    let file = directory.join(format!("{}.eml", job.mail_id.simple()));
    assert!(std::fs::read_to_string(&file)?.contains("https://a.test/reset?token=secret\r\n"));
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&directory)?.count(), 1);

    let blocked = world.worker(Some(Mailer::directory(FROM, file.join("below"))?))?;
    let job = world.write().await?;
    mail::run(&blocked, job).await?;
    world.state(job).await?.is_waiting(1, 60.0, "below");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_for_a_mail_that_is_not_there_does_nothing() -> Result<()> {
    let (world, server) = (World::new().await?, SmtpServer::start(Tls::Never).await?);
    let job = world.write().await?;
    let worker = world.plain(&server)?;
    mail::run(&worker, MailJob { mail_id: Uuid::now_v7(), ..job }).await?;
    // Another account's is not there either.
    mail::run(&worker, MailJob { account_id: Uuid::now_v7(), ..job }).await?;
    assert!(server.said().is_empty());
    Ok(())
}
