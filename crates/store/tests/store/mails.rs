//! Mail on its way: sealed, taken by one at a time, wiped.

use std::time::Duration;

use zonecert_domain::id::AccountId;
use zonecert_store::StoreError;
use zonecert_store::mails::{self, ClaimedMail, MailId, MailText, NewMail};

use crate::world::World;

const RUNGS: [Duration; 2] = [Duration::from_mins(1), Duration::from_hours(1)];

async fn write(world: &World, account: AccountId, body: &str) -> MailId {
    let text = MailText { subject: "Subject".to_owned(), body: body.to_owned() };
    let mail = NewMail { recipient: "ada@customer.test", template: "verify_email", text: &text };
    world.api.tenant(account, async |conn| mails::insert_mail(conn, &world.masters, account, &mail).await).await.unwrap();
    let id: String = world.database.value("SELECT id::text FROM mails ORDER BY id DESC LIMIT 1").await;
    MailId(id.parse().unwrap())
}

async fn claim(world: &World, account: AccountId, id: MailId) -> Option<ClaimedMail> {
    world.worker.tenant(account, async |conn| mails::claim_mail(conn, account, id, &RUNGS).await).await.unwrap()
}

async fn open(world: &World, account: AccountId, mail: &ClaimedMail) -> Result<String, StoreError> {
    world
        .worker
        .tenant(account, async |conn| mails::open_mail(conn, &world.masters, account, mail).await.map(|text| text.body.clone()))
        .await
}

async fn make_due(world: &World) {
    world.database.run("UPDATE mails SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL").await;
}

async fn due_in_minutes(world: &World) -> Option<f64> {
    world.database.value("SELECT extract(epoch FROM next_attempt_at - now())::float8 / 60 FROM mails").await
}

#[tokio::test]
async fn a_mail_is_sealed_for_its_row_alone_and_opened_by_the_worker() {
    let world = World::new().await;
    let (account, other) = (world.tenant().await.account, world.tenant().await.account);
    let (first, second) = (write(&world, account, "secret one").await, write(&world, account, "secret two").await);
    let stored: String = world.database.value("SELECT string_agg(encode(sealed, 'escape'), ' ') FROM mails").await;
    assert!(!stored.contains("secret"));
    assert!(claim(&world, other, first).await.is_none(), "another account's is not there");

    let mail = claim(&world, account, first).await.unwrap();
    assert_eq!((mail.recipient.as_str(), mail.template.as_str(), mail.attempts), ("ada@customer.test", "verify_email", 1));
    assert_eq!(open(&world, account, &mail).await.unwrap(), "secret one");
    let swap = format!("UPDATE mails SET sealed = (SELECT sealed FROM mails WHERE id = '{}') WHERE id = '{}'", first.0, second.0);
    world.database.run(&swap).await;
    let moved = claim(&world, account, second).await.unwrap();
    assert!(matches!(open(&world, account, &moved).await, Err(StoreError::Seal(_))));
}

#[tokio::test]
async fn whoever_takes_a_mail_puts_it_off_for_everybody_by_the_next_rung() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let id = write(&world, account, "text").await;
    for (attempt, minutes) in [(1, 1.0), (2, 60.0), (3, 60.0)] {
        let taken = futures::future::join_all((0..4).map(|_| claim(&world, account, id))).await;
        let taken: Vec<_> = taken.into_iter().flatten().collect();
        assert_eq!(taken.iter().map(|mail| mail.attempts).collect::<Vec<_>>(), [attempt]);
        let due = due_in_minutes(&world).await.unwrap();
        assert!((minutes - 0.5..=minutes).contains(&due), "{due}");
        make_due(&world).await;
    }
}

#[tokio::test]
async fn whoever_has_lost_a_mail_to_another_says_nothing_about_it() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let id = write(&world, account, "text").await;
    let slow = claim(&world, account, id).await.unwrap();
    make_due(&world).await;
    let quick = claim(&world, account, id).await.unwrap();
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'mail'";
    let record = async |mail: &ClaimedMail| {
        world.worker.tenant(account, async |conn| mails::record_failure(conn, account, mail, "451 later").await).await.unwrap();
    };
    record(&slow).await;
    world.worker.tenant(account, async |conn| mails::mark_failed(conn, account, &slow, "550 no").await).await.unwrap();
    assert_eq!(world.database.value::<Option<String>>("SELECT last_error FROM mails").await, None);
    assert_eq!(world.database.value::<i64>(jobs).await, 1);

    record(&quick).await;
    assert_eq!(world.database.value::<Option<String>>("SELECT last_error FROM mails").await.as_deref(), Some("451 later"));
    assert_eq!(world.database.value::<i64>(jobs).await, 2);
    world.worker.tenant(account, async |conn| mails::mark_sent(conn, account, &quick).await).await.unwrap();
    let end = "SELECT sent_at IS NOT NULL AND failed_at IS NULL AND sealed IS NULL AND last_error IS NULL FROM mails";
    assert!(world.database.value::<bool>(end).await);
    // It is over: nobody takes it again.
    assert_eq!(due_in_minutes(&world).await, None);
    assert!(claim(&world, account, id).await.is_none());
}

#[tokio::test]
async fn mails_that_nobody_came_by_for_are_listed_and_woken_once_a_minute() {
    let world = World::new().await;
    let (one, other) = (world.tenant().await.account, world.tenant().await.account);
    let (first, second) = (write(&world, one, "text").await, write(&world, other, "text").await);
    let grace = Duration::from_secs(10);
    let list = async || world.worker.platform(async |conn| mails::list_forgotten(conn, grace, 10).await).await.unwrap();
    assert_eq!(list().await, []);
    world.database.run(&format!("UPDATE mails SET next_attempt_at = now() - interval '1 h' WHERE id = '{}'", second.0)).await;
    world.database.run(&format!("UPDATE mails SET next_attempt_at = now() - interval '1 min' WHERE id = '{}'", first.0)).await;
    assert_eq!(list().await, [(other, second), (one, first)]);
    for _ in 0..3 {
        world.worker.tenant(other, async |conn| mails::wake_forgotten(conn, other, second).await).await.unwrap();
    }
    let jobs: i64 =
        world.database.value(&format!("SELECT count(*) FROM apalis.jobs WHERE idempotency_key LIKE '{}:minute %'", second.0)).await;
    assert!((1..=2).contains(&jobs), "{jobs}");
}
