//! The CA is told of a challenge once the name servers show it.

use anyhow::{Context as _, Result};
use zonecert_devstack::product::{Product, setting};
use zonecert_devstack::shared;
use zonecert_tests::System;

/// The customer's DNS server stands for a secondary that has not got the change yet, and a closed port for one that is down.
#[tokio::test]
async fn a_name_server_that_does_not_show_the_value_yet_is_waited_for_and_one_that_is_down_is_not() -> Result<()> {
    let stack = shared().await?;
    let servers = format!("{},{},127.0.0.1:1", stack.powerdns.dns_address(), stack.customer_dns.dns_address());
    let system = System::start_with(&stack, |product| product.with(setting::PROPAGATION_CHECK, &servers)).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;

    let failed = account.logs(&id, "step_failed").await?;
    assert_eq!(failed["details"]["code"], "propagation_unseen", "{failed}");
    let detail = failed["details"]["detail"].as_str().context("detail")?;
    assert!(detail.contains(&stack.customer_dns.dns_address().to_string()) && detail.contains("NXDOMAIN"), "{detail}");
    let name = format!("_acme-challenge.app.{}", zone.name);
    let values = stack.powerdns.txt_values(&zone.name, &name).await?;
    assert_eq!(values.len(), 1);
    assert!(!account.log(&id).await?.iter().any(|entry| entry["event"] == "ca_notified"), "the CA was told too soon");

    stack.customer_dns.add_txt(&zone.name, &name, &values[0]).await?;
    account.becomes(&id, "issued").await?;
    let told = account.logs(&id, "ca_notified").await?;
    assert_eq!(told["details"]["name_servers"], 2, "{told}");
    assert_eq!(stack.customer_dns.txt_values(&zone.name, &name).await?, values, "what others have set is left alone");
    Ok(())
}

#[tokio::test]
async fn without_the_check_the_wait_is_all() -> Result<()> {
    let stack = shared().await?;
    let unchecked = |product: Product| product.with(setting::PROPAGATION_CHECK, "off");
    let system = System::start_with(&stack, unchecked).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    account.becomes(&id, "issued").await?;
    assert_eq!(account.logs(&id, "ca_notified").await?["details"]["name_servers"], 0);
    Ok(())
}

#[tokio::test]
async fn name_servers_without_an_address_are_named_in_the_reason() -> Result<()> {
    let stack = shared().await?;
    // Nobody knows an address of the name servers that zones of a stack have.
    let system = System::start_with(&stack, |product| product.with(setting::PROPAGATION_CHECK, "nameservers")).await?;
    let account = system.account("plus").await?;
    let zone = system.verified_zone(&account).await?;
    let id = account.request(&zone, "app", &[]).await?;
    let failed = account.logs(&id, "step_failed").await?;
    assert_eq!(failed["details"]["code"], "propagation_unseen", "{failed}");
    let detail = failed["details"]["detail"].as_str().context("detail")?;
    assert!(detail.contains("ns1.zonecert.test"), "{detail}");
    Ok(())
}
