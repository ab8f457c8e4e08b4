//! Our account at the CA: made once, kept sealed, replaced where that is allowed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_postgres::Client;
use zonecert_devstack::{Pebble, PebbleOptions, PebbleServer, Stack, unique_label};
use zonecert_domain::email::Email;
use zonecert_domain::failure::{FailureClass, FailureCode};
use zonecert_store::Store;
use zonecert_worker::acme::{AcmeDirectory, AcmeSettings, ExternalAccount};

use crate::database::{fresh, master_keys, stack};

fn settings(pebble: &Pebble, recreate_account: bool) -> AcmeSettings {
    AcmeSettings {
        contact: Email::parse("operator@example.com").ok(),
        ca_file: Some(pebble.ca_file().to_owned()),
        recreate_account,
        ..AcmeSettings::new(pebble.directory_url())
    }
}

fn open(pebble: &Pebble, store: &Store, recreate_account: bool) -> Result<AcmeDirectory> {
    Ok(AcmeDirectory::new(settings(pebble, recreate_account), store.clone(), Arc::new(master_keys('k')))?)
}

/// Live and lost accounts on record.
async fn count(admin: &Client) -> Result<(i64, i64)> {
    let row = admin.query_one("SELECT count(*) FILTER (WHERE lost_at IS NULL), count(lost_at) FROM acme_accounts", &[]).await?;
    Ok((row.get(0), row.get(1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_need_an_account_at_the_same_moment_end_with_the_same_one() -> Result<()> {
    let stack = stack().await?;
    let database = fresh(&stack).await?;
    let directories: Vec<_> = (0..3).map(|_| open(&stack.pebble, &database.store, false)).collect::<Result<_>>()?;
    let asked = directories.iter().flat_map(|directory| (0..5).map(|_| directory.account()));
    let accounts = futures::future::try_join_all(asked).await?;
    assert!(accounts.iter().all(|account| account.id == accounts[0].id));
    for directory in &directories {
        let placed = directory.new_order(&[format!("{}.example.test", unique_label())]).await?;
        assert_eq!(placed.acme_account_id, accounts[0].id, "whoever came second signs as the first");
    }
    let admin = stack.postgres.connect_as_admin(&database.name).await?;
    assert_eq!(count(&admin).await?, (1, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credentials_are_sealed_and_open_under_the_same_master_key_only() -> Result<()> {
    let stack = stack().await?;
    let database = fresh(&stack).await?;
    let account = open(&stack.pebble, &database.store, false)?.account().await?;
    let admin = stack.postgres.connect_as_admin(&database.name).await?;
    let row = admin.query_one("SELECT sealed_credentials, account_url FROM acme_accounts", &[]).await?;
    let sealed = String::from_utf8_lossy(row.get(0)).into_owned();
    assert!(!sealed.contains("key_pkcs8") && !sealed.contains(row.get::<_, &str>(1)));

    let again = open(&stack.pebble, &database.store, false)?.account().await?;
    assert_eq!(again.id, account.id);
    let stranger = AcmeDirectory::new(settings(&stack.pebble, true), database.store.clone(), Arc::new(master_keys('s')))?;
    let failure = stranger.account().await.err().context("another master key opened it")?;
    assert_eq!((failure.code, failure.class()), (FailureCode::Internal, FailureClass::Heal));
    assert_eq!(count(&admin).await?, (1, 0), "no account is made because one does not open");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_ca_has_forgotten_is_replaced_where_that_is_allowed_and_reported_elsewhere() -> Result<()> {
    let mut stack = Stack::temporary(PebbleOptions::default()).await?;
    let database = fresh(&stack.handle()).await?;
    let strict = open(&stack.pebble, &database.store, false)?;
    let lenient = open(&stack.pebble, &database.store, true)?;
    let late = open(&stack.pebble, &database.store, true)?;
    let name = [format!("{}.example.test", unique_label())];
    let before = strict.new_order(&name).await?;
    assert_eq!(lenient.order(&before.url).await?.retry_after, None, "each knows the account before it is lost");
    late.account().await?;

    stack.pebble.stop().await?;
    let unreachable = lenient.order(&before.url).await.expect_err("the CA is down");
    assert_eq!((unreachable.code, unreachable.class()), (FailureCode::CaUnreachable, FailureClass::Heal));
    let newcomer = open(&stack.pebble, &database.store, true)?;
    assert_eq!(newcomer.account().await.err().map(|failure| failure.code), Some(FailureCode::CaUnreachable));
    stack.pebble.start().await?;

    let admin = stack.postgres.connect_as_admin(&database.name).await?;
    for _ in 0..2 {
        let failure = strict.new_order(&name).await.expect_err("the account is gone, and no other may be made");
        assert_eq!((failure.code, failure.class()), (FailureCode::AcmeAccountDoesNotExist, FailureClass::Heal));
    }
    assert_eq!(count(&admin).await?, (1, 0));

    let lost = lenient.order(&before.url).await.expect_err("the order went with the account");
    assert_eq!(lost.code, FailureCode::OrderLost);
    let after = lenient.new_order(&name).await?;
    assert_ne!(after.acme_account_id, before.acme_account_id);
    let joined = late.new_order(&name).await?;
    assert_eq!(joined.acme_account_id, after.acme_account_id, "one new account, not one for each process");
    assert_eq!(lenient.order(&before.url).await.expect_err("it does not come back").code, FailureCode::OrderLost);
    assert_eq!(count(&admin).await?, (1, 1));
    stack.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_whose_certificate_leads_to_no_trusted_root_is_not_talked_to() -> Result<()> {
    let stack = stack().await?;
    let database = fresh(&stack).await?;
    let settings = AcmeSettings { ca_file: None, request_timeout: Duration::from_secs(5), ..settings(&stack.pebble, false) };
    let directory = AcmeDirectory::new(settings, database.store, Arc::new(master_keys('k')))?;
    assert_eq!(directory.account().await.err().map(|failure| failure.code), Some(FailureCode::CaUnreachable));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_knows_its_customers_from_elsewhere_gets_the_binding_that_it_wants() -> Result<()> {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let stack = stack().await?;
    let options = PebbleOptions { external_account: Some(("customer-1".to_owned(), KEY.to_owned())), ..PebbleOptions::default() };
    let ca = PebbleServer::beside(&stack.powerdns, &options).await?;
    let bound_to = async |external_account: Option<ExternalAccount>| -> Result<AcmeDirectory> {
        let settings = AcmeSettings { external_account, ..settings(&ca, false) };
        Ok(AcmeDirectory::new(settings, fresh(&stack).await?.store, Arc::new(master_keys('k')))?)
    };

    let without = bound_to(None).await?.account().await.err();
    assert_eq!(
        without.map(|failure| (failure.code, failure.class())),
        Some((FailureCode::AcmeExternalAccountRequired, FailureClass::Heal))
    );
    let stranger = bound_to(Some(ExternalAccount::new("customer-2", KEY)?)).await?.account().await;
    assert!(stranger.is_err(), "an account was made for a customer that the CA does not know");
    let padded = format!("{KEY}==\n");
    let bound = bound_to(Some(ExternalAccount::new("customer-1", &padded)?)).await?;
    bound.new_order(&[format!("{}.example.test", unique_label())]).await?;

    assert!(ExternalAccount::new("customer-1", "not base64url!").is_err() && ExternalAccount::new("", KEY).is_err());
    assert!(!format!("{:?}", ExternalAccount::new("customer-1", KEY)?).contains("mac"));
    Ok(())
}
