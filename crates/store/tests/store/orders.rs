//! Orders move on from the state in which they were read, and in no other way.

use serde_json::json;
use uuid::Uuid;
use zonecert_domain::issuance::{IssuanceProgress, IssuanceStep, next_step};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::order::{OrderEvent, OrderStatus, OrderTiming};
use zonecert_pki::PrivateKey;
use zonecert_store::issuances::Lease;
use zonecert_store::orders::{self, AuthorizationStatus, NewAuthorization, NewOrder, Order, OrderChange};
use zonecert_store::{StoreError, acme_accounts};

use crate::outcome::{Outcome, attempt};
use crate::world::{DIRECTORY, Requested, World, now};

async fn advance(world: &World, lease: &Lease, order: &Order, event: OrderEvent, change: OrderChange) -> Result<OrderStatus, StoreError> {
    world.held(lease, async |conn| orders::advance(conn, lease.account, order, event, change, None).await).await
}

async fn live_order(world: &World, requested: Requested) -> Order {
    world.issuance(requested).await.live_order.unwrap()
}

/// A requested certificate whose order is written down.
async fn begun(world: &World) -> (Requested, Lease, Order) {
    let requested = world.requested().await;
    let lease = world.lease(requested).await;
    let (_, issuance) = world.begin_order(requested, &lease).await;
    (requested, lease, issuance.live_order.unwrap())
}

async fn placed(world: &World) -> OrderChange {
    let account = world.worker.platform(async |conn| {
        acme_accounts::insert_acme_account(conn, &world.masters, DIRECTORY, "https://ca.test/account", b"credentials").await
    });
    OrderChange {
        url: Some(format!("https://ca.test/order/{}", Uuid::now_v7())),
        acme_account_id: Some(account.await.unwrap().id),
        ..OrderChange::default()
    }
}

async fn prepared(world: &World, requested: Requested) -> OrderChange {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    OrderChange {
        key_version_id: Some(world.key_version(requested, &key).await.0),
        csr: Some(b"request".to_vec()),
        ..OrderChange::default()
    }
}

#[tokio::test]
async fn an_order_goes_its_way_and_keeps_what_was_recorded() {
    let world = World::new().await;
    let (requested, lease, mut order) = begun(&world).await;
    assert_eq!(
        (order.status, order.directory_url.as_str(), &*order.names),
        (OrderStatus::Intended, DIRECTORY, &["app.example.test".to_owned()][..])
    );
    let placed = placed(&world).await;
    let url = placed.url.clone();
    let prepared = prepared(&world, requested).await;
    let (key_version, csr) = (prepared.key_version_id, prepared.csr.clone());
    let presented = OrderChange { presented_at: Some(now()), ..OrderChange::default() };
    let way = [
        (OrderEvent::Placed, placed, OrderStatus::Placed),
        (OrderEvent::ChallengesWritten, OrderChange::default(), OrderStatus::Presenting),
        (OrderEvent::Presented, presented, OrderStatus::Propagating),
        (OrderEvent::Prepared, prepared, OrderStatus::Propagating),
        (OrderEvent::Notified, OrderChange::default(), OrderStatus::Validating),
        (OrderEvent::Authorized, OrderChange::default(), OrderStatus::Authorized),
        (OrderEvent::Finalized, OrderChange::default(), OrderStatus::Finalizing),
    ];
    for (event, change, status) in way {
        // Looks are counted anew in each state.
        let looked = world.held(&lease, async |conn| orders::record_poll(conn, lease.account, &order, now()).await);
        looked.await.unwrap();
        let read = live_order(&world, requested).await;
        assert!(read.polls == 1 && read.next_poll_at.is_some());
        assert_eq!(advance(&world, &lease, &order, event, change).await.unwrap(), status);
        order = live_order(&world, requested).await;
        assert_eq!((order.status, order.polls, order.next_poll_at), (status, 0, None), "{event:?}");
    }
    assert_eq!((order.url, order.key_version.map(|id| id.0), order.csr), (url, key_version, csr));
    assert!(order.presented_at.is_some());

    let order = live_order(&world, requested).await;
    assert_eq!(advance(&world, &lease, &order, OrderEvent::Issued, OrderChange::default()).await.unwrap(), OrderStatus::Issued);
    assert!(world.issuance(requested).await.live_order.is_none());
    let finished = format!("SELECT finished_at IS NOT NULL FROM orders WHERE id = '{}'", order.id.0);
    assert!(world.database.value::<bool>(&finished).await);
}

#[tokio::test]
async fn an_event_that_cannot_follow_changes_nothing() {
    let world = World::new().await;
    let (requested, lease, order) = begun(&world).await;
    let mut impossible = 0;
    for status in OrderStatus::ALL {
        for event in OrderEvent::ALL.into_iter().filter(|event| status.after(*event).is_none()) {
            let read = Order { status, ..order.clone() };
            let refused = advance(&world, &lease, &read, event, OrderChange::default()).await;
            assert!(matches!(refused, Err(StoreError::Stale)), "{event:?} after {status}: {refused:?}");
            impossible += 1;
        }
    }
    assert!(impossible > 60);
    assert_eq!(live_order(&world, requested).await.status, OrderStatus::Intended);
}

#[tokio::test]
async fn what_was_read_before_another_moved_on_is_stale() {
    let world = World::new().await;
    let (requested, lease, order) = begun(&world).await;
    for status in OrderStatus::ALL.into_iter().filter(|status| !status.is_terminal() && *status != order.status) {
        let read = Order { status, ..order.clone() };
        let failed = advance(&world, &lease, &read, OrderEvent::Failed, OrderChange::default()).await;
        assert!(matches!(failed, Err(StoreError::Stale)), "{status}: {failed:?}");
        let looked = world.held(&lease, async |conn| orders::record_poll(conn, lease.account, &read, now()).await).await;
        assert!(matches!(looked, Err(StoreError::Stale)), "{status}: {looked:?}");
    }
    let placed = placed(&world).await;
    let (url, acme_account_id) = (placed.url.clone(), placed.acme_account_id);
    advance(&world, &lease, &order, OrderEvent::Placed, placed).await.unwrap();
    let again = OrderChange { url, acme_account_id, ..OrderChange::default() };
    assert!(matches!(advance(&world, &lease, &order, OrderEvent::Placed, again).await, Err(StoreError::Stale)));
    assert_eq!(live_order(&world, requested).await.status, OrderStatus::Placed);
}

#[tokio::test]
async fn another_accounts_order_is_stale_to_everybody_else() {
    let world = World::new().await;
    let (requested, _, order) = begun(&world).await;
    let other = world.tenant().await.account;
    for account in [other, requested.account] {
        let moved = world
            .worker
            .tenant(other, async |conn| orders::advance(conn, account, &order, OrderEvent::Failed, OrderChange::default(), None).await);
        assert!(matches!(moved.await, Err(StoreError::Stale)));
    }
    assert_eq!(live_order(&world, requested).await.status, OrderStatus::Intended);
}

#[tokio::test]
async fn an_order_that_is_over_frees_its_issuance_for_another() {
    let world = World::new().await;
    let (requested, lease, order) = begun(&world).await;
    let Requested { account, certificate, issuance } = requested;
    let another = async || {
        let names = ["app.example.test".to_owned()];
        let new = NewOrder {
            issuance,
            certificate,
            directory_url: DIRECTORY,
            own_acme_account: None,
            names: &names,
            replaces: None,
            profile: None,
        };
        world.held(&lease, async |conn| orders::insert_order(conn, account, &new).await).await
    };
    let refused = another().await;
    assert!(matches!(&refused, Err(error) if error.is_constraint("orders_issuance_id_live_key")), "{refused:?}");
    let failure = OrderChange { failure: Some(json!({"code": "order_invalid"})), ..OrderChange::default() };
    advance(&world, &lease, &order, OrderEvent::Failed, failure).await.unwrap();
    assert!(world.issuance(requested).await.live_order.is_none());
    let second = another().await.unwrap();
    assert_eq!(live_order(&world, requested).await.id, second);
    let failure = format!("SELECT failure ->> 'code' FROM orders WHERE id = '{}'", order.id.0);
    assert_eq!(world.database.value::<String>(&failure).await, "order_invalid");
}

#[tokio::test]
async fn key_and_request_of_an_order_are_final_once_they_are_set() {
    let world = World::new().await;
    let (requested, lease, order) = begun(&world).await;
    let id = order.id.0;
    advance(&world, &lease, &order, OrderEvent::Placed, placed(&world).await).await.unwrap();
    let order = live_order(&world, requested).await;
    advance(&world, &lease, &order, OrderEvent::AlreadyAuthorized, OrderChange::default()).await.unwrap();
    let order = live_order(&world, requested).await;
    let without = advance(&world, &lease, &order, OrderEvent::Finalized, OrderChange::default()).await;
    assert!(matches!(&without, Err(error) if error.is_constraint("orders_finalizing_check")), "{without:?}");

    let half = OrderChange { csr: Some(b"request".to_vec()), ..OrderChange::default() };
    let half = advance(&world, &lease, &order, OrderEvent::Prepared, half).await;
    assert!(matches!(&half, Err(error) if error.is_constraint("orders_csr_check")), "{half:?}");

    advance(&world, &lease, &order, OrderEvent::Prepared, prepared(&world, requested).await).await.unwrap();
    let first = live_order(&world, requested).await;
    let another = prepared(&world, requested).await;
    let (other_key, other_csr) = (another.key_version_id.unwrap(), another.csr.clone());
    let again = advance(&world, &lease, &first, OrderEvent::Prepared, another).await;
    assert!(matches!(&again, Err(StoreError::Database(error)) if error.to_string().contains("are final")), "{again:?}");
    for change in ["csr = 'another'".to_owned(), format!("key_version_id = '{other_key}'"), "csr = NULL, key_version_id = NULL".to_owned()]
    {
        // Not even the superuser, whom no grant and no policy binds.
        let outcome = attempt(&world.database.admin, &format!("UPDATE orders SET {change} WHERE id = '{id}'")).await;
        assert_eq!(outcome, Outcome::Refused(tokio_postgres::error::SqlState::INTEGRITY_CONSTRAINT_VIOLATION), "{change}");
    }
    let order = live_order(&world, requested).await;
    assert_eq!((order.key_version, &order.csr), (first.key_version, &other_csr));

    advance(&world, &lease, &order, OrderEvent::Finalized, OrderChange::default()).await.unwrap();
    assert_eq!(live_order(&world, requested).await.csr, order.csr);
}

#[tokio::test]
async fn an_order_that_the_ca_knows_has_an_address_which_no_other_has() {
    let world = World::new().await;
    let (requested, lease, order) = begun(&world).await;
    let nameless = advance(&world, &lease, &order, OrderEvent::Placed, OrderChange::default()).await;
    assert!(matches!(&nameless, Err(error) if error.is_constraint("orders_url_check")), "{nameless:?}");
    let placed = placed(&world).await;
    let (url, acme_account_id) = (placed.url.clone(), placed.acme_account_id);
    advance(&world, &lease, &order, OrderEvent::Placed, placed).await.unwrap();

    let (_, other_lease, other) = begun(&world).await;
    let same = OrderChange { url, acme_account_id, ..OrderChange::default() };
    let same = advance(&world, &other_lease, &other, OrderEvent::Placed, same).await;
    assert!(matches!(&same, Err(error) if error.is_constraint("orders_directory_url_url_key")), "{same:?}");
    assert_eq!(live_order(&world, requested).await.status, OrderStatus::Placed);
}

#[tokio::test]
async fn looks_at_an_authorization_are_recorded() {
    let world = World::new().await;
    let (requested, lease, order) = begun(&world).await;
    let account = requested.account;
    let new = |wildcard| NewAuthorization {
        url: format!("https://ca.test/authz/{wildcard}"),
        identifier: "app.example.test".to_owned(),
        wildcard,
        status: AuthorizationStatus::Pending,
    };
    let inserted = world.held(&lease, async |conn| {
        orders::insert_authorization(conn, account, order.id, &new(true)).await?;
        orders::insert_authorization(conn, account, order.id, &new(false)).await
    });
    let id = inserted.await.unwrap();
    for status in [AuthorizationStatus::Pending, AuthorizationStatus::Valid] {
        world.held(&lease, async |conn| orders::record_authorization(conn, account, id, status).await).await.unwrap();
    }
    assert_eq!(live_order(&world, requested).await.authorizations.len(), 0, "no step depends on them yet");
    advance(&world, &lease, &order, OrderEvent::Placed, placed(&world).await).await.unwrap();
    let order = live_order(&world, requested).await;
    advance(&world, &lease, &order, OrderEvent::ChallengesWritten, OrderChange::default()).await.unwrap();
    let found = live_order(&world, requested).await.authorizations;
    let seen: Vec<_> = found.iter().map(|authorization| (authorization.wildcard, authorization.status, authorization.polls)).collect();
    assert_eq!(seen, [(false, AuthorizationStatus::Valid, 2), (true, AuthorizationStatus::Pending, 0)]);
    let doubled = world.held(&lease, async |conn| orders::insert_authorization(conn, account, order.id, &new(true)).await).await;
    assert!(matches!(&doubled, Err(error) if error.is_constraint("authorizations_order_id_url_key")), "{doubled:?}");
}

#[tokio::test]
async fn what_is_read_back_leads_to_the_step_that_is_next() {
    let world = World::new().await;
    let requested = world.requested().await;
    let timing = OrderTiming::default();
    let step = async || {
        let issuance = world.issuance(requested).await;
        let progress: IssuanceProgress = issuance.progress();
        next_step(&progress, &timing, issuance.now)
    };
    assert_eq!(step().await, IssuanceStep::BeginOrder);
    let lease = world.lease(requested).await;
    let (_, issuance) = world.begin_order(requested, &lease).await;
    assert!(matches!(step().await, IssuanceStep::Order(_)));
    let order = issuance.live_order.unwrap();
    advance(&world, &lease, &order, OrderEvent::Failed, OrderChange::default()).await.unwrap();
    assert_eq!(step().await, IssuanceStep::BeginOrder);
    world
        .held(&lease, async |conn| zonecert_store::issuances::rest(conn, &lease, std::time::Duration::from_mins(1), json!({})).await)
        .await
        .unwrap();
    assert!(matches!(step().await, IssuanceStep::Wait(_)));
    world.shift(requested, "next_wake_at = NULL, status = 'failed', finished_at = now()").await;
    assert_eq!(step().await, IssuanceStep::Nothing);
}
