//! Pebble through our proxy: it validates for real, and the proxy counts and keeps it from locking up.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use zonecert_devstack::{Pebble, PebbleOptions, PowerDns, Stack, shared, unique_label};

struct Http(reqwest::Client);

impl HttpClient for Http {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| Error::Other(error.into()))?.to_bytes();
            let sent = client.request(head.method, head.uri.to_string()).headers(head.headers).body(body).send().await;
            let answer = sent.map_err(|error| Error::Other(error.into()))?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut response = Response::new(Full::<Bytes>::from(answer.bytes().await.map_err(|error| Error::Other(error.into()))?));
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            Ok(BytesResponse::from(response))
        })
    }
}

async fn new_account(pebble: &Pebble) -> Result<(Account, AccountCredentials)> {
    let root = reqwest::Certificate::from_pem(&std::fs::read(pebble.ca_file())?)?;
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).timeout(Duration::from_secs(30)).build()?;
    let new = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
    Ok(Account::builder_with_http(Box::new(Http(client))).create(&new, pebble.directory_url(), None).await?)
}

async fn order(account: &Account, name: &str) -> Result<Order> {
    let identifiers = [Identifier::Dns(name.to_owned())];
    // Pebble rejects some nonces for the test's sake, and the library gives up after three in a row.
    for _ in 0..5 {
        if let Ok(order) = account.new_order(&NewOrder::new(&identifiers)).await {
            return Ok(order);
        }
    }
    Ok(account.new_order(&NewOrder::new(&identifiers)).await?)
}

/// Puts `value` (or the right one) at the challenge's name, tells the CA, and waits for its verdict.
async fn validate(order: &mut Order, powerdns: &PowerDns, zone: &str, value: Option<&str>) -> Result<OrderStatus> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization.challenge(ChallengeType::Dns01).context("the CA offers no dns-01")?;
        let name = format!("_acme-challenge.{}", challenge.identifier());
        let right = challenge.key_authorization().dns_value();
        powerdns.add_txt(zone, &name, value.unwrap_or(&right)).await?;
        challenge.set_ready().await?;
    }
    Ok(order.poll_ready(&RetryPolicy::default().timeout(Duration::from_secs(30))).await?)
}

async fn issue(account: &Account, powerdns: &PowerDns, zone: &str, name: &str) -> Result<String> {
    let mut order = order(account, name).await?;
    let status = validate(&mut order, powerdns, zone, None).await?;
    ensure!(status == OrderStatus::Ready, "{name}: {status:?}");
    let mut csr = CertificateParams::new([name.to_owned()])?;
    csr.distinguished_name = DistinguishedName::new();
    order.finalize_csr(csr.serialize_request(&KeyPair::generate()?)?.der()).await?;
    Ok(order.poll_certificate(&RetryPolicy::default().timeout(Duration::from_secs(30))).await?)
}

async fn zone(powerdns: &PowerDns) -> Result<String> {
    let zone = format!("{}.test", unique_label());
    powerdns.create_zone(&zone, &["ns1.zonecert.test"]).await?;
    Ok(zone)
}

#[tokio::test]
async fn a_right_txt_value_is_accepted_and_the_proxy_has_seen_one_order() -> Result<()> {
    let stack = shared().await?;
    let zone = zone(&stack.powerdns).await?;
    let name = format!("app.{zone}");
    let (account, _) = new_account(&stack.pebble).await?;
    let chain = issue(&account, &stack.powerdns, &zone, &name).await?;
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "leaf and intermediate");

    let seen = stack.pebble.seen().await?;
    let orders = seen.orders_for(&name);
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].names, [name]);
    assert_eq!(orders[0].account, account.id());
    assert!(orders[0].url.starts_with(stack.pebble.directory_url().trim_end_matches("dir")), "URLs lead to the proxy: {}", orders[0].url);
    let accepted: Vec<_> = seen.finalizations_of(orders[0]).into_iter().filter(|finalization| finalization.status == 200).collect();
    assert_eq!(accepted.len(), 1);
    assert!(!accepted[0].csr.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_wrong_txt_value_is_refused() -> Result<()> {
    let stack = shared().await?;
    let zone = zone(&stack.powerdns).await?;
    let (account, _) = new_account(&stack.pebble).await?;
    let mut order = order(&account, &zone).await?;
    match validate(&mut order, &stack.powerdns, &zone, Some("not the right value")).await {
        Ok(status) => bail!("the CA's verdict is {status:?}"),
        Err(error) => assert!(error.to_string().contains("Correct value not found for DNS challenge"), "{error:#}"),
    }
    Ok(())
}

#[tokio::test]
async fn many_orders_at_once_do_not_lock_pebble_up() -> Result<()> {
    let stack = shared().await?;
    let zone = zone(&stack.powerdns).await?;
    let (account, _) = new_account(&stack.pebble).await?;
    // One order after the other changes the zone: what is tried here is Pebble, not PowerDNS.
    let changes = tokio::sync::Mutex::new(());
    let all = (0..32).map(async |number| {
        let mut order = order(&account, &format!("n{number}.{zone}")).await?;
        for _ in 0..10 {
            // Reads authorizations while the others place orders.
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                authorization?.refresh().await?;
            }
        }
        let _turn = changes.lock().await;
        validate(&mut order, &stack.powerdns, &zone, None).await
    });
    let verdicts = try_join_all(all).await?;
    assert_eq!(verdicts, [OrderStatus::Ready; 32]);
    Ok(())
}

#[tokio::test]
async fn a_restarted_pebble_has_the_same_urls_and_new_roots() -> Result<()> {
    let mut stack = Stack::temporary(PebbleOptions::default()).await?;
    let pebble = stack.handle().pebble;
    let (account, _) = new_account(&pebble).await?;
    order(&account, "before.test").await?;
    let before = pebble.root_certificate_pem().await?;

    stack.pebble.stop().await?;
    assert!(pebble.seen().await.is_err(), "the proxy is closed too");
    stack.pebble.start().await?;
    assert_ne!(pebble.root_certificate_pem().await?, before);
    let forgotten = account.new_order(&NewOrder::new(&[Identifier::Dns("after.test".to_owned())])).await;
    assert!(forgotten.is_err(), "it knows no account of before");
    assert_eq!(pebble.orders_seen().await?.len(), 1, "what the proxy has seen outlives a restart");
    Ok(())
}
