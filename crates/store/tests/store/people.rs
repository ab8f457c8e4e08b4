//! People, their sign-ins, tokens and links.

use chrono::{DateTime, TimeDelta, Utc};
use zonecert_domain::email::Email;
use zonecert_domain::id::{AccountId, UserId};
use zonecert_domain::scope::ScopeSet;
use zonecert_store::api_tokens::{self, NewApiToken};
use zonecert_store::email_tokens::{self, NewEmailToken, Purpose};
use zonecert_store::invitations::{self, Link};
use zonecert_store::refresh_tokens::{self, FamilyId, NewRefreshToken, Transport, Use};
use zonecert_store::users::{self, NewUser, PasswordHash, Role};
use zonecert_store::{Connection, StoreError, lookup};

use crate::world::{World, now};

fn address() -> Email {
    Email::parse(&format!("{}@customer.test", zonecert_devstack::unique_label())).unwrap()
}

async fn user(world: &World, account: AccountId, role: Role) -> UserId {
    let (email, password) = (address(), PasswordHash::new("no hash".to_owned()));
    let new = NewUser { email: &email, password: &password, role, name: None, email_verified_at: None };
    world.api.tenant(account, async |conn| users::insert_user(conn, account, &new).await).await.unwrap().id
}

async fn use_token(world: &World, account: AccountId, sha256: [u8; 32], at: DateTime<Utc>) -> Use {
    let found = world.api.platform(async |conn| lookup::find_refresh_token(conn, &sha256).await).await.unwrap();
    let (found, id) = found.unwrap();
    assert_eq!(found, account);
    world.api.tenant(account, async |conn| refresh_tokens::use_refresh_token(conn, account, id, at).await).await.unwrap()
}

#[tokio::test]
async fn a_cookie_is_good_for_ten_seconds_more_and_a_programs_token_once() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let user = user(&world, account, Role::Owner).await;
    let start = now();
    let after = |seconds: i64| start + TimeDelta::seconds(seconds);
    for (transport, sha256) in [(Transport::Body, [1; 32]), (Transport::Cookie, [2; 32])] {
        let family = FamilyId::new();
        let new = NewRefreshToken { user, family, sha256: &sha256, transport, expires_at: after(3_600) };
        world.api.tenant(account, async |conn| refresh_tokens::insert_refresh_token(conn, account, &new).await).await.unwrap();
        let accepted = Use::Accepted(user, family, transport);
        assert_eq!(use_token(&world, account, sha256, after(0)).await, accepted);
        if transport == Transport::Cookie {
            // Each of them does not begin the ten seconds anew.
            for seconds in [0, 5, 9] {
                assert_eq!(use_token(&world, account, sha256, after(seconds)).await, accepted, "{seconds}");
            }
        }
        assert_eq!(use_token(&world, account, sha256, after(10)).await, Use::Reused(user));
        assert_eq!(use_token(&world, account, sha256, after(10)).await, Use::Refused, "its family is revoked");
    }
    let family = FamilyId::new();
    let new = NewRefreshToken { user, family, sha256: &[3; 32], transport: Transport::Cookie, expires_at: after(60) };
    world.api.tenant(account, async |conn| refresh_tokens::insert_refresh_token(conn, account, &new).await).await.unwrap();
    assert_eq!(use_token(&world, account, [3; 32], after(60)).await, Use::Refused, "it has expired");
}

#[tokio::test]
async fn of_somebodys_tokens_those_end_that_may_more_than_is_allowed() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let (one, other) = (user(&world, account, Role::Owner).await, user(&world, account, Role::Owner).await);
    let scopes = |names: &[&str]| ScopeSet::parse(names).unwrap();
    let mut number = 0_u8;
    let mut insert = async |user: UserId, names: &[&str]| {
        number += 1;
        let (scopes, sha256) = (scopes(names), [number; 32]);
        let new =
            NewApiToken { name: "t", prefix: "zc_test", sha256: &sha256, scopes: &scopes, expires_at: None, cidrs: &[], created_by: user };
        world.api.tenant(account, async |conn| api_tokens::insert_api_token(conn, account, &new).await).await.unwrap().id
    };
    let within = insert(one, &["zones:read"]).await;
    let same = insert(one, &["zones:read", "certificates:read"]).await;
    let beyond = insert(one, &["zones:read", "zones:write"]).await;
    let apart = insert(one, &["account:admin"]).await;
    let others = insert(other, &["account:admin"]).await;
    let withdraw = async |allowed: &ScopeSet| {
        let mut ended = world
            .api
            .tenant(account, async |conn| api_tokens::revoke_tokens_beyond(conn, account, one, allowed, now()).await)
            .await
            .unwrap();
        ended.sort_unstable();
        ended
    };
    assert_eq!(withdraw(&scopes(&["zones:read", "certificates:read"])).await, [beyond, apart]);
    assert_eq!(withdraw(&ScopeSet::default()).await, [within, same]);
    assert_eq!(withdraw(&ScopeSet::default()).await, []);
    let left = world.api.tenant(account, async |conn| api_tokens::list_api_tokens(conn, account).await).await.unwrap();
    assert_eq!(left.iter().map(|token| token.id).collect::<Vec<_>>(), [others]);
}

#[tokio::test]
async fn an_account_has_another_owner_or_not() {
    let world = World::new().await;
    let (account, elsewhere) = (world.tenant().await.account, world.tenant().await.account);
    let has_another =
        async |beside: UserId| world.api.tenant(account, async |conn| users::has_another_owner(conn, account, beside).await).await.unwrap();
    let owner = user(&world, account, Role::Owner).await;
    user(&world, account, Role::Member).await;
    user(&world, elsewhere, Role::Owner).await;
    assert!(!has_another(owner).await);
    let second = user(&world, account, Role::Owner).await;
    assert!(has_another(owner).await);
    let remove = async |conn: &mut Connection| users::delete_user(conn, account, second, now()).await;
    world.api.tenant(account, remove).await.unwrap();
    assert!(!has_another(owner).await);
    assert!(matches!(world.api.tenant(account, remove).await, Err(StoreError::NotFound)));
    assert_eq!(world.api.tenant(account, async |conn| users::count_users(conn, account).await).await.unwrap(), 2);
}

#[tokio::test]
async fn a_link_belongs_to_its_account_purpose_and_address_until_it_is_used_up() {
    let world = World::new().await;
    let (account, elsewhere) = (world.tenant().await.account, world.tenant().await.account);
    let id = user(&world, account, Role::Owner).await;
    let email = world.api.tenant(account, async |conn| users::get_user(conn, account, id).await).await.unwrap().email;
    let (made_at, expires_at) = (now(), now() + TimeDelta::hours(1));
    for sha256 in [[1; 32], [2; 32]] {
        let new = NewEmailToken { user: id, purpose: Purpose::ResetPassword, email: &email, sha256: &sha256, expires_at };
        world.api.tenant(account, async |conn| email_tokens::insert_email_token(conn, account, &new).await).await.unwrap();
    }
    let found = world.api.platform(async |conn| lookup::find_email_token(conn, &[1; 32]).await).await.unwrap();
    let (found, token) = found.unwrap();
    assert_eq!(found, account);
    let owner = async |tenant: AccountId, purpose: Purpose, at: DateTime<Utc>| {
        world.api.tenant(tenant, async |conn| email_tokens::find_owner(conn, tenant, token, purpose, at).await).await.unwrap()
    };
    assert_eq!(owner(account, Purpose::ResetPassword, made_at).await, Some(id));
    assert_eq!(owner(account, Purpose::VerifyEmail, made_at).await, None);
    assert_eq!(owner(elsewhere, Purpose::ResetPassword, made_at).await, None);
    assert_eq!(owner(account, Purpose::ResetPassword, expires_at).await, None);
    let made = async |since: DateTime<Utc>| {
        let list = async |conn: &mut Connection| email_tokens::list_made_since(conn, account, id, Purpose::ResetPassword, since).await;
        world.api.tenant(account, list).await.unwrap().len()
    };
    assert_eq!((made(made_at - TimeDelta::hours(1)).await, made(made_at + TimeDelta::hours(1)).await), (2, 0));
    world.api.tenant(account, async |conn| email_tokens::use_up(conn, account, id, Purpose::ResetPassword, made_at).await).await.unwrap();
    assert_eq!(owner(account, Purpose::ResetPassword, made_at).await, None);
    assert_eq!(world.database.value::<i64>("SELECT count(*) FROM email_tokens WHERE used_at IS NULL").await, 0);
}

/// A link that is sent now.
fn link(sha256: &[u8; 32], now: DateTime<Utc>) -> Link<'_> {
    Link { sha256, sent_at: now, expires_at: now + TimeDelta::days(7) }
}

#[tokio::test]
async fn an_invitation_is_accepted_by_its_last_link_alone() {
    let world = World::new().await;
    let account = world.tenant().await.account;
    let inviter = user(&world, account, Role::Owner).await;
    let (email, start) = (address(), now());
    let invite = async |sha256: [u8; 32]| {
        let insert = async |conn: &mut Connection| {
            invitations::insert_invitation(conn, account, &email, Role::Viewer, inviter, link(&sha256, start)).await
        };
        world.api.tenant(account, insert).await
    };
    let made = invite([1; 32]).await.unwrap();
    let again = invite([4; 32]).await.unwrap_err();
    assert!(again.is_constraint(invitations::OPEN_KEY), "{again}");
    let acceptable = async |sha256: [u8; 32], at: DateTime<Utc>| {
        let find = async |conn: &mut Connection| invitations::find_acceptable(conn, account, made.id, &sha256, at).await;
        world.api.tenant(account, find).await.unwrap().is_some()
    };
    assert!(acceptable([1; 32], start).await && !acceptable([1; 32], start + TimeDelta::days(7)).await);
    world.api.tenant(account, async |conn| invitations::replace_link(conn, account, made.id, link(&[2; 32], start)).await).await.unwrap();
    assert!(!acceptable([1; 32], start).await && acceptable([2; 32], start).await);
    let found = world.api.platform(async |conn| lookup::find_invitation(conn, &[2; 32]).await).await.unwrap();
    assert_eq!(found, Some((account, made.id)));

    world.api.tenant(account, async |conn| invitations::mark_accepted(conn, account, made.id, start).await).await.unwrap();
    let accepted_twice = world.api.tenant(account, async |conn| invitations::mark_accepted(conn, account, made.id, start).await).await;
    assert!(matches!(accepted_twice, Err(StoreError::NotFound)));
    assert!(!acceptable([2; 32], start).await);
    // The address may be invited again, and whoever invited takes all back that is open.
    let next = invite([3; 32]).await.unwrap();
    let revoke = async |conn: &mut Connection| invitations::revoke_invitations_of(conn, account, inviter, start).await;
    assert_eq!(world.api.tenant(account, revoke).await.unwrap(), [next.id]);
    assert_eq!(world.api.tenant(account, async |conn| invitations::count_open_invitations(conn, account).await).await.unwrap(), 0);
}
