//! Pebble through our proxy: it validates for real, and the proxy counts and keeps it from locking up.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, CertificateIdentifier, ChallengeType, Error, HttpClient,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::Value;
use zonecert_devstack::{
    Pebble, PebbleOptions, PebbleServer, PowerDns, RenewalInfoAnswer, RenewalInfoDirectory, Stack, shared, unique_label,
};

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
    new_account_at(pebble.directory_url(), client(pebble.ca_file())?).await
}

async fn new_account_at(directory_url: String, client: reqwest::Client) -> Result<(Account, AccountCredentials)> {
    let new = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
    Ok(Account::builder_with_http(Box::new(Http(client))).create(&new, directory_url, None).await?)
}

fn client(ca_file: &Path) -> Result<reqwest::Client> {
    let root = reqwest::Certificate::from_pem(&std::fs::read(ca_file)?)?;
    Ok(reqwest::Client::builder().no_proxy().tls_certs_only([root]).timeout(Duration::from_secs(30)).build()?)
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

/// As for a zone that stays with its own name servers: the customer's DNS leads the CA to ours.
#[tokio::test]
async fn an_alias_is_followed_from_the_customers_dns_to_ours() -> Result<()> {
    let stack = shared().await?;
    let (ours, theirs) = (zone(&stack.powerdns).await?, zone(&stack.customer_dns).await?);
    let (account, _) = new_account(&stack.pebble).await?;
    let mut order = order(&account, &theirs).await?;
    let target = format!("label.{ours}.");
    stack.customer_dns.set_rrset(&theirs, &format!("_acme-challenge.{theirs}"), "CNAME", std::slice::from_ref(&target)).await?;
    {
        let mut authorizations = order.authorizations();
        let mut authorization = authorizations.next().await.context("there is no authorization")??;
        if authorization.status != AuthorizationStatus::Valid {
            let mut challenge = authorization.challenge(ChallengeType::Dns01).context("the CA offers no dns-01")?;
            stack.powerdns.add_txt(&ours, &target, &challenge.key_authorization().dns_value()).await?;
            challenge.set_ready().await?;
        }
    }
    assert_eq!(order.poll_ready(&RetryPolicy::default().timeout(Duration::from_secs(30))).await?, OrderStatus::Ready);
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

#[tokio::test]
async fn a_directory_before_pebble_tells_when_to_renew_and_takes_or_refuses_replacements() -> Result<()> {
    let stack = shared().await?;
    let ca = RenewalInfoDirectory::before(&stack.pebble).await?;
    let client = client(ca.ca_file())?;
    let directory: Value = client.get(ca.directory_url()).send().await?.json().await?;
    let about = format!("{}/aYhb.AId", directory["renewalInfo"].as_str().context("renewalInfo")?);
    assert_eq!(client.get(&about).send().await?.status(), 404, "it knows nothing until it is told");
    let (start, end) = ("2031-01-02T00:00:00Z".to_owned(), "2031-01-03T00:00:00Z".to_owned());
    ca.answer(RenewalInfoAnswer::Window { start: start.clone(), end, explanation_url: None, retry_after: Some("60".to_owned()) });
    let told = client.get(&about).send().await?;
    assert_eq!(told.headers()["retry-after"], "60");
    assert_eq!(told.json::<Value>().await?["suggestedWindow"]["start"], start.as_str());
    ca.answer(RenewalInfoAnswer::Other { status: 500, body: "no".to_owned() });
    assert_eq!(client.get(&about).send().await?.status(), 500);
    assert_eq!(ca.asked_about(), ["aYhb.AId"; 3]);

    let (account, _) = new_account_at(ca.directory_url(), client).await?;
    let zone = zone(&stack.powerdns).await?;
    let identifiers = [Identifier::Dns(format!("app.{zone}"))];
    let replacement = || {
        let replaced = CertificateIdentifier { authority_key_identifier: "aYhb".into(), serial: "AId".into() };
        NewOrder::new(&identifiers).replaces(replaced)
    };
    let mut taken = account.new_order(&replacement()).await;
    // Pebble rejects some nonces for the test's sake.
    for _ in 0..5 {
        if taken.is_err() {
            taken = account.new_order(&replacement()).await;
        }
    }
    let taken = taken?;
    assert!(taken.url().starts_with(ca.directory_url().trim_end_matches("dir")), "URLs lead here: {}", taken.url());
    ca.refuse_replacements(409, "alreadyReplaced");
    let refused = account.new_order(&replacement()).await.err().context("refused")?;
    assert!(refused.to_string().contains("alreadyReplaced"), "{refused}");
    assert_eq!(ca.refused_replacements(), ["aYhb.AId"]);
    order(&account, &format!("app.{zone}")).await?;
    let seen = ca.seen();
    let replaced: Vec<_> = seen.orders_for(&format!("app.{zone}")).into_iter().map(|order| order.replaces.as_deref()).collect();
    assert_eq!(replaced, [Some("aYhb.AId"), None]);
    Ok(())
}

#[tokio::test]
async fn a_directory_before_pebble_offers_the_profiles_that_it_is_told_to_and_takes_no_others() -> Result<()> {
    let stack = shared().await?;
    let pebble = PebbleServer::beside(&stack.powerdns, &PebbleOptions::unfailing()).await?;
    let ca = RenewalInfoDirectory::before(&pebble).await?;
    ca.offer_profiles(&[("shortlived", "six days")]);
    let (account, _) = new_account_at(ca.directory_url(), client(ca.ca_file())?).await?;
    let offered: Vec<_> = account.profiles().map(|profile| (profile.name.to_owned(), profile.description.to_owned())).collect();
    assert_eq!(offered, [("shortlived".to_owned(), "six days".to_owned())]);
    let identifiers = [Identifier::Dns("app.example.test".to_owned())];
    let mut taken = account.new_order(&NewOrder::new(&identifiers).profile("shortlived")).await?;
    assert_eq!(taken.state().profile.as_deref(), Some("shortlived"));
    let refused = account.new_order(&NewOrder::new(&identifiers).profile("tlsserver")).await.err().context("refused")?;
    assert!(refused.to_string().contains("invalidProfile"), "{refused}");
    account.new_order(&NewOrder::new(&identifiers)).await?;
    let profiles: Vec<_> = ca.seen().orders.into_iter().map(|order| order.profile).collect();
    assert_eq!(profiles, [Some("shortlived".to_owned()), None]);
    Ok(())
}

#[tokio::test]
async fn a_pebble_of_ones_own_beside_a_shared_stack_issues_for_as_long_as_it_is_told() -> Result<()> {
    let stack = shared().await?;
    let options = PebbleOptions { certificate_validity: Duration::from_hours(6 * 24), ..PebbleOptions::default() };
    let pebble = PebbleServer::beside(&stack.powerdns, &options).await?;
    assert_ne!(pebble.directory_url(), stack.pebble.directory_url());
    let zone = zone(&stack.powerdns).await?;
    let (account, _) = new_account(&pebble).await?;
    let chain = issue(&account, &stack.powerdns, &zone, &format!("app.{zone}")).await?;
    let leaf = openssl_dates(&chain)?;
    assert_eq!(leaf, 6 * 86_400, "{leaf} seconds");
    Ok(())
}

/// How long the first certificate of a chain is valid, in seconds, both ends included.
fn openssl_dates(chain_pem: &str) -> Result<i64> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("chain.pem");
    std::fs::write(&file, chain_pem)?;
    let output = std::process::Command::new("openssl").args(["x509", "-noout", "-dates", "-in"]).arg(&file).output()?;
    let text = String::from_utf8(output.stdout)?;
    let seconds = |name: &str| -> Result<i64> {
        let date = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{name} in {text}"))?;
        let output = std::process::Command::new("date").args(["-u", "+%s", "-d", date]).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    Ok(seconds("notAfter=")? - seconds("notBefore=")? + 1)
}
