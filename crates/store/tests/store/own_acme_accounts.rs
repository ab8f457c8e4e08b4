//! ACME accounts of customers: what the CA is to be asked for, by whom, and what is left when it was.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use zonecert_domain::acme_account::AcmeAccountStatus;
use zonecert_domain::id::{AccountId, AcmeAccountId, CertificateId};
use zonecert_store::ended_accounts::{self, Ending};
use zonecert_store::own_acme_accounts::{
    self, ExternalAccount, InUse, NewOwnAcmeAccount, OwnAcmeAccount, OwnAcmeAccountChange, Task, Work,
};
use zonecert_store::{StoreError, accounts, acme_accounts, ca_budget, certificates};

use crate::world::{DIRECTORY, Tenant, World, now};

const CLAIM: Duration = Duration::from_mins(1);
const URL: &str = "https://ca.test/account/7";

async fn insert(world: &World, account: AccountId) -> AcmeAccountId {
    let contact = ["ops@customer.test".to_owned()];
    let external_account = Some(ExternalAccount { kid: "kid-1", mac_key: b"mac key" });
    let new = NewOwnAcmeAccount { name: "ours", contact: &contact, directory_url: DIRECTORY, external_account };
    let made = world.api.tenant_write(account, async |conn| own_acme_accounts::insert(conn, &world.masters, account, &new).await);
    made.await.unwrap().id
}

async fn get(world: &World, account: AccountId, id: AcmeAccountId) -> Result<OwnAcmeAccount, StoreError> {
    world.api.tenant(account, async |conn| own_acme_accounts::get(conn, account, id).await).await
}

async fn due(world: &World) -> Vec<(AccountId, AcmeAccountId)> {
    world.worker.autocommit(async |conn| own_acme_accounts::claim_due(conn, CLAIM, 10).await).await.unwrap()
}

async fn work(world: &World, account: AccountId, id: AcmeAccountId) -> Option<Work> {
    let work = world.worker.tenant(account, async |conn| own_acme_accounts::find_work(conn, &world.masters, account, id).await);
    work.await.unwrap()
}

async fn key(world: &World, id: AcmeAccountId, credentials: &[u8]) -> Vec<u8> {
    let stored =
        world.worker.platform(async |conn| acme_accounts::insert_own_credentials(conn, &world.masters, id, DIRECTORY, credentials).await);
    stored.await.unwrap().to_vec()
}

async fn registered(world: &World, account: AccountId, id: AcmeAccountId, contact: &[&str]) {
    let contact: Vec<String> = contact.iter().map(|&address| address.to_owned()).collect();
    let record = async |conn: &mut zonecert_store::Connection| {
        own_acme_accounts::record_registered(conn, &world.masters, account, id, (URL, b"registered"), &contact).await
    };
    world.worker.tenant_write(account, record).await.unwrap();
}

/// One that the CA knows.
async fn valid(world: &World, account: AccountId) -> AcmeAccountId {
    let id = insert(world, account).await;
    key(world, id, b"key").await;
    due(world).await;
    registered(world, account, id, &["ops@customer.test"]).await;
    id
}

async fn use_for(world: &World, account: AccountId, certificate: CertificateId, id: Option<AcmeAccountId>) {
    let used = world.api.tenant_write(account, async |conn| own_acme_accounts::use_for(conn, account, certificate, id).await);
    used.await.unwrap();
}

async fn delete(world: &World, account: AccountId, id: AcmeAccountId) -> Result<Option<InUse>, StoreError> {
    world.api.tenant_write(account, async |conn| own_acme_accounts::delete(conn, account, id).await).await
}

#[tokio::test]
async fn an_account_is_registered_by_one_worker_with_the_key_that_came_first_and_its_mac_key_is_forgotten_then() {
    let world = World::new().await;
    let Tenant { account, .. } = world.tenant().await;
    let id = insert(&world, account).await;
    assert_eq!((due(&world).await, due(&world).await), (vec![(account, id)], vec![]));
    let to_do = work(&world, account, id).await.unwrap();
    assert_eq!((to_do.task, to_do.attempts, to_do.contact), (Task::Register, 1, vec!["ops@customer.test".to_owned()]));
    let (kid, mac_key) = to_do.external_account.unwrap();
    assert_eq!((kid.as_str(), mac_key.as_slice()), ("kid-1", &b"mac key"[..]));
    let sealed: Vec<u8> = world.database.value("SELECT sealed_eab FROM own_acme_accounts").await;
    assert!(!sealed.windows(7).any(|bytes| bytes == b"mac key"));

    assert_eq!(key(&world, id, b"first").await, b"first");
    assert_eq!(key(&world, id, b"second").await, b"first", "what was begun is gone on with");
    let found =
        async || world.worker.platform(async |conn| acme_accounts::find_own_acme_account(conn, &world.masters, id).await).await.unwrap();
    assert!(found().await.is_none(), "the CA does not know it yet");
    registered(&world, account, id, &["ops@customer.test"]).await;
    let signs = found().await.unwrap();
    assert_eq!((signs.id, signs.account_url.as_str(), signs.credentials.as_slice()), (id.0, URL, &b"registered"[..]));
    let shown = get(&world, account, id).await.unwrap();
    assert_eq!((shown.status, shown.next_attempt_at, shown.eab_kid.as_deref()), (AcmeAccountStatus::Valid, None, Some("kid-1")));
    assert!(world.database.value::<bool>("SELECT sealed_eab IS NULL AND data_key_id IS NULL FROM own_acme_accounts").await);
    // It is not ours, whatever the directory.
    let ours = world.worker.platform(async |conn| acme_accounts::find_acme_account(conn, &world.masters, DIRECTORY).await).await;
    assert!(ours.unwrap().is_none());
}

#[tokio::test]
async fn trouble_is_told_and_put_off_and_a_refusal_ends_it_until_the_contact_changes() {
    let world = World::new().await;
    let Tenant { account, .. } = world.tenant().await;
    let id = insert(&world, account).await;
    due(&world).await;
    let (again, failure) = (now() + TimeDelta::minutes(5), json!({"code": "ca_unreachable"}));
    let trouble = async |conn: &mut zonecert_store::Connection| own_acme_accounts::record_trouble(conn, account, id, &failure, again).await;
    world.worker.tenant_write(account, trouble).await.unwrap();
    let shown = get(&world, account, id).await.unwrap();
    assert_eq!((shown.status, shown.last_error.as_ref()), (AcmeAccountStatus::Pending, Some(&failure)));
    assert!(shown.next_attempt_at.unwrap() > now() && due(&world).await.is_empty());

    let refused = async |conn: &mut zonecert_store::Connection| own_acme_accounts::record_refused(conn, account, id, &failure).await;
    world.worker.tenant_write(account, refused).await.unwrap();
    let shown = get(&world, account, id).await.unwrap();
    assert_eq!((shown.status, shown.next_attempt_at), (AcmeAccountStatus::Failed, None));
    let change = OwnAcmeAccountChange { name: Some("theirs".to_owned()), contact: Some(vec!["other@customer.test".to_owned()]) };
    let changed = world.api.tenant_write(account, async |conn| own_acme_accounts::change(conn, account, id, &change).await).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.status, changed.last_error), ("theirs", AcmeAccountStatus::Pending, None));
    assert_eq!(due(&world).await, [(account, id)]);
    assert_eq!(work(&world, account, id).await.unwrap().attempts, 1, "it begins anew");
}

#[tokio::test]
async fn what_is_wished_for_while_the_ca_is_asked_is_done_next() {
    let world = World::new().await;
    let Tenant { account, .. } = world.tenant().await;
    let id = valid(&world, account).await;
    let change = |address: &str| OwnAcmeAccountChange { name: None, contact: Some(vec![address.to_owned()]) };
    let wish = async |address: &str| {
        let change = change(address);
        world.api.tenant_write(account, async |conn| own_acme_accounts::change(conn, account, id, &change).await).await.unwrap();
    };
    wish("second@customer.test").await;
    assert_eq!(due(&world).await, [(account, id)]);
    assert_eq!(work(&world, account, id).await.unwrap().task, Task::ChangeContact);
    wish("third@customer.test").await;
    assert!(due(&world).await.is_empty(), "whoever is at it is waited for");
    let told = ["second@customer.test".to_owned()];
    world.worker.tenant_write(account, async |conn| own_acme_accounts::record_told(conn, account, id, &told).await).await.unwrap();
    assert_eq!(due(&world).await, [(account, id)]);
    assert_eq!(work(&world, account, id).await.unwrap().contact, ["third@customer.test"]);
    registered(&world, account, id, &["third@customer.test"]).await;
    assert!(due(&world).await.is_empty());
}

#[tokio::test]
async fn one_that_is_used_stays_and_one_that_is_deleted_is_seen_by_nobody_and_its_key_destroyed() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let id = valid(&world, account).await;
    let certificate = world.certificate(&tenant, "www").await;
    use_for(&world, account, certificate, Some(id)).await;
    let read = world.api.tenant(account, async |conn| certificates::get_certificate(conn, account, certificate).await).await.unwrap();
    assert_eq!(read.acme_account, Some(id));
    assert_eq!(delete(&world, account, id).await.unwrap(), Some(InUse::By(certificate)));
    use_for(&world, account, certificate, None).await;

    // An order that was placed with it.
    let requested = world.request(&tenant, "app").await;
    let lease = world.lease(requested).await;
    let (order, _) = world.begin_order(requested, &lease).await;
    world.database.run(&format!("UPDATE orders SET own_acme_account_id = '{}' WHERE id = '{}'", id.0, order.0)).await;
    assert_eq!(world.issuance(requested).await.live_order.unwrap().own_acme_account, Some(id));
    assert_eq!(delete(&world, account, id).await.unwrap(), Some(InUse::Busy));
    world.database.run("UPDATE orders SET status = 'failed', finished_at = now()").await;

    let other = world.tenant().await.account;
    assert!(matches!(delete(&world, other, id).await, Err(StoreError::NotFound)));
    assert_eq!(delete(&world, account, id).await.unwrap(), None);
    assert!(matches!(get(&world, account, id).await, Err(StoreError::NotFound)));
    assert!(matches!(delete(&world, account, id).await, Err(StoreError::NotFound)));
    assert_eq!(due(&world).await, [(account, id)]);
    assert_eq!(work(&world, account, id).await.unwrap().task, Task::Deactivate { waits: false });
    let over = world.worker.tenant_write(account, async |conn| own_acme_accounts::record_deactivated(conn, account, id, None).await);
    over.await.unwrap();
    assert!(work(&world, account, id).await.is_none());
    assert!(world.database.value::<bool>("SELECT sealed_credentials IS NULL AND data_key_id IS NULL FROM acme_accounts").await);
}

#[tokio::test]
async fn a_page_begins_behind_the_last_and_holds_nothing_of_another_account() {
    let world = World::new().await;
    let (account, other) = (world.tenant().await.account, world.tenant().await.account);
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(insert(&world, account).await);
    }
    insert(&world, other).await;
    let list = async |after, limit| {
        let page = world.api.tenant(account, async move |conn| own_acme_accounts::list(conn, account, after, limit).await).await.unwrap();
        page.iter().map(|own| (own.id, own.created_at)).collect::<Vec<_>>()
    };
    let first = list(None, 2).await;
    assert_eq!(first.iter().map(|(id, _)| *id).collect::<Vec<_>>(), made[..2]);
    let after = own_acme_accounts::Position { id: first[1].0, created_at: first[1].1 };
    assert_eq!(list(Some(after), 2).await.iter().map(|(id, _)| *id).collect::<Vec<_>>(), made[2..]);
}

#[tokio::test]
async fn an_account_of_the_service_is_not_over_before_the_ca_has_deactivated_its_acme_accounts() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let id = valid(&world, account).await;
    world.api.tenant_write(account, async |conn| accounts::set_deletion_requested(conn, account, true).await).await.unwrap();
    world.database.run("UPDATE accounts SET deletion_requested_at = now() - interval '31 days'").await;
    let end = async || world.worker.tenant_write(account, async |conn| ended_accounts::end_account(conn, account).await).await.unwrap();
    assert_eq!(end().await, Ending::Winding);
    let listed = async || world.worker.platform(async |conn| ended_accounts::list_ended(conn, 10).await).await.unwrap();
    assert!(listed().await.is_empty(), "nothing can be done for it before");
    // What signs for it is sealed by the platform, and opens though the account's own data keys are gone.
    assert_eq!(due(&world).await, [(account, id)]);
    assert_eq!(work(&world, account, id).await.unwrap().task, Task::Deactivate { waits: false });
    let signs = world.worker.platform(async |conn| acme_accounts::find_own_acme_account(conn, &world.masters, id).await).await;
    assert_eq!(signs.unwrap().unwrap().account_url, URL);
    let over = world.worker.tenant_write(account, async |conn| own_acme_accounts::record_deactivated(conn, account, id, None).await);
    over.await.unwrap();
    assert_eq!((listed().await, end().await), (vec![account], Ending::Over));
}

#[tokio::test]
async fn an_order_with_a_customers_own_account_costs_nothing_of_what_is_allowed_to_ours() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let requested = world.request(&tenant, "www").await;
    let lease = world.lease(requested).await;
    let (order, _) = world.begin_order(requested, &lease).await;
    let names = ["www.customer.example".to_owned()];
    let ledger =
        ca_budget::Ledger { directory_url: DIRECTORY.to_owned(), limits: "order=1/10800,registered_domain=1/10800".parse().unwrap() };
    let charge = async |names: &[String], own_account| {
        let charge = ca_budget::Charge { order, names, replaces: false, renewal: false, overdraws: false, own_account };
        world.worker.tenant_write(account, async |conn| ca_budget::charge(conn, account, &ledger, &charge).await).await.unwrap()
    };
    assert_eq!(charge(&names, true).await, None);
    let kinds: Vec<String> = world.database.column("SELECT kind FROM ca_budget ORDER BY kind").await;
    assert_eq!(kinds, ["exact_names", "registered_domain"]);
    assert_eq!(charge(&["a.other.example".to_owned()], false).await, None, "there is room for an order of ours");
    let spent = charge(&["b.third.example".to_owned()], false).await.unwrap();
    assert_eq!(spent.kind, Some(zonecert_domain::ca_limits::CaLimitKind::Order));
    assert_eq!(charge(&["b.third.example".to_owned()], true).await, None, "its own is not held up by ours");
    // A registered domain has one allowance, whoever asks.
    assert!(charge(&["mail.customer.example".to_owned()], true).await.is_some());
}
