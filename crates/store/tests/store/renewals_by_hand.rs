//! Renewals that somebody asks for.

use chrono::{TimeDelta, TimeZone, Utc};
use zonecert_domain::id::IssuanceId;
use zonecert_store::certificates::{self, Change, DOMAIN_KEY};
use zonecert_store::renewals_by_hand::{self, LiveIssuance};
use zonecert_store::{Connection, StoreError};

use crate::world::{Requested, World};

async fn find(world: &World, requested: Requested) -> Option<LiveIssuance> {
    let Requested { account, certificate, .. } = requested;
    world.api.tenant_write(account, async |conn| renewals_by_hand::find_live(conn, account, certificate).await).await.unwrap()
}

async fn begin(world: &World, requested: Requested) -> IssuanceId {
    let Requested { account, certificate, .. } = requested;
    world.api.tenant_write(account, async |conn| renewals_by_hand::begin(conn, account, certificate).await).await.unwrap()
}

async fn end_issuance(world: &World, requested: Requested) {
    world.shift(requested, "status = 'failed', next_wake_at = NULL, finished_at = now()").await;
}

#[tokio::test]
async fn an_issuance_rests_between_attempts_and_at_no_other_time() {
    let world = World::new().await;
    let requested = world.requested().await;
    let (resting, under_way) = (LiveIssuance::Resting(requested.issuance), LiveIssuance::UnderWay(requested.issuance));
    assert_eq!(find(&world, requested).await, Some(under_way), "its first attempt is due");
    world.shift(requested, "next_wake_at = now() + interval '1 min'").await;
    assert_eq!(find(&world, requested).await, Some(resting));
    world.database.run("UPDATE certificates SET status = 'validating'").await;
    assert_eq!(find(&world, requested).await, Some(under_way), "its order waits for the CA");
    world.database.run("UPDATE certificates SET status = 'issued'").await;
    assert_eq!(find(&world, requested).await, Some(resting), "beside a valid version");
    end_issuance(&world, requested).await;
    assert_eq!(find(&world, requested).await, None);
}

#[tokio::test]
async fn one_that_has_begun_while_somebody_waited_for_their_turn_does_not_look_as_if_it_rested() {
    let world = World::new().await;
    let requested = world.requested().await;
    let Requested { account, certificate, issuance } = requested;
    // What this transaction takes for now is before the moment at which another begins the issuance.
    let look = async |conn: &mut Connection| -> Result<_, StoreError> {
        world.shift(requested, "next_wake_at = clock_timestamp()").await;
        renewals_by_hand::find_live(conn, account, certificate).await
    };
    assert_eq!(world.api.tenant(account, look).await.unwrap(), Some(LiveIssuance::UnderWay(issuance)));
}

#[tokio::test]
async fn the_first_is_the_first_and_another_gives_up_with_the_version_in_use() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let certificate = world.certificate(&tenant, "app").await;
    let deferred = Requested { account: tenant.account, certificate, issuance: IssuanceId::new() };
    let begun = async |requested: Requested| {
        let issuance = begin(&world, requested).await;
        let requested = Requested { issuance, ..requested };
        let row = (world.column(requested, "reason").await.unwrap(), world.issuance(requested).await.give_up_at);
        end_issuance(&world, requested).await;
        row
    };
    let (reason, first) = begun(deferred).await;
    assert_eq!(reason, "first");
    let (reason, second) = begun(deferred).await;
    assert_eq!(reason, "by_hand");
    assert!(second > first && second - first < TimeDelta::hours(1), "a day each");

    let issued = world.issued(&tenant, "issued").await.requested;
    let ends = Utc.with_ymd_and_hms(2099, 1, 2, 3, 4, 5).unwrap();
    let shift = async |to: &str, revoked: &str| {
        let change = "ALTER TABLE versions DISABLE TRIGGER versions_immutable; UPDATE versions SET";
        world
            .database
            .run(&format!("{change} not_after = {to}, revoked_at = {revoked}; ALTER TABLE versions ENABLE TRIGGER versions_immutable"))
            .await;
    };
    shift("'2099-01-02T03:04:05Z'", "NULL").await;
    assert_eq!(begun(issued).await, ("by_hand".to_owned(), ends));
    for (not_after, revoked_at) in [("'2099-01-02T03:04:05Z'", "now()"), ("now() - interval '1 s'", "NULL")] {
        shift(not_after, revoked_at).await;
        let (_, give_up_at) = begun(issued).await;
        assert!(give_up_at > second && give_up_at - second < TimeDelta::hours(1), "nothing valid: a day");
    }
}

#[tokio::test]
async fn a_renewal_by_itself_that_is_resumed_is_one_by_hand_and_is_due_now() {
    let world = World::new().await;
    let requested = world.requested().await;
    let (account, id) = (requested.account, requested.issuance);
    let resume = async || world.api.tenant_write(account, async |conn| renewals_by_hand::resume(conn, account, id).await).await;
    for (before, after) in [("renewal", "by_hand"), ("first", "first"), ("by_hand", "by_hand")] {
        world.shift(requested, &format!("reason = '{before}', next_wake_at = now() + interval '1 h'")).await;
        resume().await.unwrap();
        assert_eq!(world.column(requested, "reason").await.as_deref(), Some(after));
        assert_eq!(world.column(requested, "(next_wake_at <= now())").await.as_deref(), Some("true"));
    }
    assert_eq!(world.jobs(requested).await.len(), 4);
    end_issuance(&world, requested).await;
    assert!(matches!(resume().await, Err(StoreError::Stale)));
}

#[tokio::test]
async fn slot_and_domain_are_taken_where_they_were_lost() {
    let world = World::new().await;
    let tenant = world.tenant().await;
    let account = tenant.account;
    let certificate = world.certificate(&tenant, "app").await;
    let take = async || world.api.tenant_write(account, async |conn| certificates::take_slot(conn, account, certificate).await).await;
    let status = async || world.database.value::<String>(&format!("SELECT status FROM certificates WHERE id = '{}'", certificate.0)).await;
    for held in ["pending", "validating", "issued"] {
        world.database.run(&format!("UPDATE certificates SET status = '{held}'")).await;
        assert!(!take().await.unwrap());
        assert_eq!(status().await, held);
    }
    for lost in ["failed", "expired", "revoked"] {
        world.database.run(&format!("UPDATE certificates SET status = '{lost}'")).await;
        assert!(take().await.unwrap());
        assert_eq!(status().await, "pending");
    }
    world.database.run("UPDATE certificates SET status = 'failed'").await;
    world.certificate(&tenant, "app").await;
    assert!(take().await.unwrap_err().is_constraint(DOMAIN_KEY));
    world.database.run(&format!("UPDATE certificates SET deleted_at = now() WHERE id <> '{}'", certificate.0)).await;
    assert!(take().await.unwrap());
    let delete = async |conn: &mut Connection| certificates::mark_deleted(conn, account, certificate).await;
    world.api.tenant_write(account, delete).await.unwrap();
    assert!(!take().await.unwrap(), "deleted");
    assert!(matches!(world.api.tenant_write(account, delete).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn another_tenants_certificate_cannot_be_changed_renewed_or_deleted() {
    let world = World::new().await;
    let (mine, theirs) = (world.tenant().await.account, world.requested().await);
    let certificate = theirs.certificate;
    let before: String = world.database.value("SELECT jsonb_agg(to_jsonb(certificates))::text FROM certificates").await;
    let change = async |conn: &mut Connection| {
        let change = Change { name: Some("mine"), sans: Some(&[]), ..Change::default() };
        certificates::change_certificate(conn, mine, certificate, &change).await
    };
    assert!(matches!(world.api.tenant_write(mine, change).await, Err(StoreError::NotFound)));
    let delete = async |conn: &mut Connection| certificates::mark_deleted(conn, mine, certificate).await;
    assert!(matches!(world.api.tenant_write(mine, delete).await, Err(StoreError::NotFound)));
    let take = async |conn: &mut Connection| certificates::take_slot(conn, mine, certificate).await;
    assert!(!world.api.tenant_write(mine, take).await.unwrap());
    let find = async |conn: &mut Connection| renewals_by_hand::find_live(conn, mine, certificate).await;
    assert_eq!(world.api.tenant_write::<_, StoreError, _>(mine, find).await.unwrap(), None);
    let resume = async |conn: &mut Connection| renewals_by_hand::resume(conn, mine, theirs.issuance).await;
    assert!(matches!(world.api.tenant_write(mine, resume).await, Err(StoreError::Stale)));
    end_issuance(&world, theirs).await;
    let begin = async |conn: &mut Connection| renewals_by_hand::begin(conn, mine, certificate).await;
    assert!(world.api.tenant_write(mine, begin).await.unwrap_err().is_constraint("issuances_account_id_certificate_id_fkey"));
    assert_eq!(world.database.value::<String>("SELECT jsonb_agg(to_jsonb(certificates))::text FROM certificates").await, before);
}
