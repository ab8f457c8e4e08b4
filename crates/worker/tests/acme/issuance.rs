//! A whole issuance through the port, each call by a process that has just started and knows the order's URL only.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chrono::TimeDelta;
use zonecert_devstack::{StackHandle, unique_label, wait};
use zonecert_domain::csr_subject::CsrSubject;
use zonecert_domain::failure::FailureCode;
use zonecert_domain::key::KeyAlgorithm;
use zonecert_pki::csr::certificate_request;
use zonecert_pki::{CertificateChain, MasterKeys, PrivateKey};
use zonecert_store::Store;
use zonecert_worker::acme::{AcmeDirectory, AcmeSettings, Authorization, AuthorizationStatus, OrderState, OrderStatus};

use crate::database::{fresh, master_keys, stack};

const WITHIN: Duration = Duration::from_secs(30);

/// A zone of the test's own, and what a worker needs to issue for it.
struct Scene {
    stack: StackHandle,
    store: Store,
    masters: Arc<MasterKeys>,
    zone: String,
}

impl Scene {
    async fn new() -> Result<Self> {
        let stack = stack().await?;
        let store = fresh(&stack).await?.store;
        let zone = format!("{}.test", unique_label());
        stack.powerdns.create_zone(&zone, &["ns1.example.test."]).await?;
        Ok(Self { stack, store, masters: Arc::new(master_keys('k')), zone })
    }

    /// A worker that has just started.
    fn worker(&self) -> Result<AcmeDirectory> {
        let settings =
            AcmeSettings { ca_file: Some(self.stack.pebble.ca_file().to_owned()), ..AcmeSettings::new(self.stack.pebble.directory_url()) };
        Ok(AcmeDirectory::new(settings, self.store.clone(), Arc::clone(&self.masters))?)
    }

    async fn present(&self, authorization: &Authorization, value: &str) -> Result<()> {
        let name = format!("_acme-challenge.{}", authorization.identifier);
        self.stack.powerdns.add_txt(&self.zone, &name, value).await
    }

    /// Looks at the order until it is in none of these states.
    async fn wait_while(&self, order_url: &str, states: &[OrderStatus]) -> Result<OrderState> {
        let worker = self.worker()?;
        wait::until("the CA moves the order on", WITHIN, async || {
            let seen = worker.order(order_url).await?;
            Ok((!states.contains(&seen.status)).then_some(seen))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_issued_by_a_process_per_step_and_steps_that_are_repeated_change_nothing() -> Result<()> {
    let scene = Scene::new().await?;
    let names = [scene.zone.clone(), format!("*.{}", scene.zone), format!("www.{}", scene.zone)];
    let url = scene.worker()?.new_order(&names).await?.url;
    assert_eq!(scene.worker()?.order(&url).await?, OrderState { status: OrderStatus::Pending, problem: None, retry_after: None });

    let authorizations = scene.worker()?.authorizations(&url).await?;
    assert_eq!(authorizations.len(), 3);
    for authorization in &authorizations {
        assert_eq!((authorization.status, authorization.told), (AuthorizationStatus::Pending, false), "{authorization:?}");
        assert!(!authorization.identifier.starts_with("*."));
        let value = authorization.txt_value.as_deref().context("dns-01 is offered")?;
        assert_eq!(value.len(), 43, "base64url of 32 bytes (RFC 8555 §8.4)");
        scene.present(authorization, value).await?;
    }
    assert_eq!(authorizations.iter().filter(|authorization| authorization.wildcard).count(), 1);
    let mut again = scene.worker()?.authorizations(&url).await?;
    // Pebble deals them out in another order each time.
    again.sort_by_key(|one| authorizations.iter().position(|other| other.url == one.url));
    assert_eq!(again, authorizations, "the values are the same for whoever asks");

    let pending: Vec<&str> = authorizations.iter().map(|authorization| authorization.url.as_str()).collect();
    scene.worker()?.notify(&url, &pending[..1]).await?;
    scene.worker()?.notify(&url, &pending).await?;
    scene.worker()?.notify(&url, &pending).await?;
    assert_eq!(scene.wait_while(&url, &[OrderStatus::Pending]).await?.status, OrderStatus::Ready);
    scene.worker()?.notify(&url, &pending).await?;
    let one = scene.worker()?.authorization(&url, pending[2]).await?;
    assert_eq!((one.url.as_str(), one.status, one.told), (pending[2], AuthorizationStatus::Valid, true));
    assert_eq!(scene.worker()?.certificate(&url).await.expect_err("not finalized").code, FailureCode::AcmeOrderNotReady);

    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
    let csr = certificate_request(&key, &names, &CsrSubject::default())?;
    scene.worker()?.finalize(&url, &csr).await?;
    scene.worker()?.finalize(&url, &csr).await?;
    assert_eq!(scene.wait_while(&url, &[OrderStatus::Processing]).await?.status, OrderStatus::Valid);
    assert_eq!(scene.worker()?.finalize(&url, &csr).await?.status, OrderStatus::Valid);

    let pem = scene.worker()?.certificate(&url).await?;
    assert_eq!(scene.worker()?.certificate(&url).await?, pem);
    let chain = CertificateChain::parse_pem(&pem)?;
    chain.check(key.public_key_sha256(), &names, chain.not_before() + TimeDelta::minutes(1))?;

    let seen = scene.stack.pebble.seen().await?;
    let orders = seen.orders_for(&scene.zone);
    assert_eq!(orders.len(), 1);
    let accepted = seen.finalizations_of(orders[0]).iter().filter(|finalization| finalization.status == 200).count();
    assert_eq!(accepted, 1, "the CA was asked to sign once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_value_makes_the_order_invalid_with_the_cas_reason() -> Result<()> {
    let scene = Scene::new().await?;
    let name = format!("app.{}", scene.zone);
    let worker = scene.worker()?;
    let url = worker.new_order(&[&name]).await?.url;
    let authorizations = worker.authorizations(&url).await?;
    let [authorization] = authorizations.as_slice() else { bail!("one name, one authorization: {authorizations:?}") };
    scene.present(authorization, "not-what-was-asked-for").await?;
    worker.notify(&url, &[&authorization.url]).await?;

    let order = scene.wait_while(&url, &[OrderStatus::Pending]).await?;
    assert_eq!(order.status, OrderStatus::Invalid);
    assert!(order.problem.is_some());
    let refused = worker.authorization(&url, &authorization.url).await?;
    assert_eq!(refused.status, AuthorizationStatus::Invalid);
    let problem = refused.problem.context("the CA says why")?;
    assert_eq!(problem.code, FailureCode::AcmeUnauthorized);
    assert!(problem.detail().starts_with(&format!("{name}: ")), "{problem}");
    worker.notify(&url, &[&authorization.url]).await?;
    assert_eq!(worker.finalize(&url, b"never sent").await?.status, OrderStatus::Invalid);
    assert!(worker.certificate(&url).await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_ca_does_not_know_is_lost() -> Result<()> {
    let scene = Scene::new().await?;
    let worker = scene.worker()?;
    let known = worker.new_order(&[format!("app.{}", scene.zone)]).await?.url;
    let (parent, _) = known.rsplit_once('/').context("an order has a URL with a path")?;
    let unknown = format!("{parent}/never-placed");
    let nothing: [&str; 0] = [];
    let failures = [
        worker.order(&unknown).await.err(),
        worker.authorizations(&unknown).await.err(),
        worker.notify(&unknown, &nothing).await.err(),
        worker.finalize(&unknown, b"never sent").await.err(),
        worker.certificate(&unknown).await.err(),
    ];
    for failure in failures {
        assert_eq!(failure.map(|failure| failure.code), Some(FailureCode::OrderLost));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_ca_refuses_is_a_failure_with_its_words() -> Result<()> {
    let scene = Scene::new().await?;
    let failure = scene.worker()?.new_order(&["not a name"]).await.expect_err("no CA takes that");
    assert!(matches!(failure.code, FailureCode::AcmeMalformed | FailureCode::AcmeRejectedIdentifier), "{failure}");
    assert!(!failure.detail().is_empty());
    Ok(())
}
