//! Each part of a private stack, started for real.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Result, bail};
use zonecert_devstack::{OWNER_ROLE, PebbleOptions, Stack, StackHandle, StackOptions, shared, unique_label};

async fn private_stack() -> Result<Stack> {
    Stack::temporary(PebbleOptions::default()).await
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[tokio::test]
async fn every_part_answers_and_stopping_leaves_nothing() -> Result<()> {
    let stack = private_stack().await?;
    let dir = stack.dir().to_path_buf();
    let handle = StackHandle::read(&stack.description_file())?;

    let row = handle.postgres.connect_as_admin("postgres").await?.query_one("SELECT 1 + 1", &[]).await?;
    assert_eq!(row.get::<_, i32>(0), 2);
    for powerdns in [&handle.powerdns, &handle.customer_dns] {
        assert!(powerdns.version().await?.starts_with(|first: char| first.is_ascii_digit()));
        powerdns.create_zone("parts.test", &["ns1.parts.test"]).await?;
        assert_eq!(powerdns.count_soa_records("parts.test").await?, 1);
        assert_eq!(powerdns.resolve_soa_count("parts.test").await?, 1);
    }
    assert!(handle.pebble.root_certificate_pem().await?.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(fs::metadata(stack.description_file())?.permissions().mode() & 0o777, 0o600, "it holds passwords");

    let pids = [stack.postgres.pid(), stack.powerdns.pid(), stack.customer_dns.pid(), stack.pebble.pid()];
    let pids: Vec<u32> = pids.into_iter().flatten().collect();
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    stack.stop().await?;
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert!(!dir.exists());
    Ok(())
}

#[tokio::test]
async fn the_owner_role_may_create_roles_and_is_no_superuser() -> Result<()> {
    let stack = shared().await?;
    let database = format!("owned_{}", unique_label());
    stack.postgres.create_database(&database).await?;
    let admin = stack.postgres.connect_as_admin(&database).await?;
    let query = "SELECT rolcreaterole, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = $1";
    let role = admin.query_one(query, &[&OWNER_ROLE]).await?;
    assert_eq!((role.get::<_, bool>(0), role.get::<_, bool>(1), role.get::<_, bool>(2)), (true, false, false));
    let owner = admin.query_one("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", &[&database]).await?;
    assert_eq!(owner.get::<_, String>(0), OWNER_ROLE);
    drop(admin);
    stack.postgres.drop_database(&database).await?;
    assert!(!stack.postgres.has_database(&database).await?);
    Ok(())
}

#[tokio::test]
async fn a_database_is_copied_from_a_template_with_its_tables() -> Result<()> {
    let stack = shared().await?;
    let (template, copy) = (format!("template_{}", unique_label()), format!("copy_{}", unique_label()));
    stack.postgres.create_database(&template).await?;
    let admin = stack.postgres.connect_as_admin(&template).await?;
    admin.batch_execute("CREATE TABLE kept (value int); INSERT INTO kept VALUES (7)").await?;
    // The server drops its end of a connection a moment after the client: a template must have none.
    let template_is_free = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
    drop(admin);
    let outside = stack.postgres.connect_as_admin("postgres").await?;
    zonecert_devstack::wait::until("nobody is connected to the template", std::time::Duration::from_secs(10), async || {
        let connected: i64 = outside.query_one(template_is_free, &[&template]).await?.get(0);
        Ok((connected == 0).then_some(()))
    })
    .await?;
    stack.postgres.create_database_from_template(&copy, &template).await?;
    let row = stack.postgres.connect_as_admin(&copy).await?.query_one("SELECT value FROM kept", &[]).await?;
    assert_eq!(row.get::<_, i32>(0), 7);
    Ok(())
}

#[tokio::test]
async fn txt_values_are_the_same_over_api_and_dns() -> Result<()> {
    let stack = shared().await?;
    let zone = format!("{}.test", unique_label());
    let name = format!("_acme-challenge.{zone}");
    stack.powerdns.create_zone(&zone, &["ns1.zonecert.test"]).await?;
    stack.powerdns.add_txt(&zone, &name, "one").await?;
    stack.powerdns.add_txt(&zone, &name, r#"two "quoted" \ words"#).await?;
    stack.powerdns.add_txt(&zone, &name, "one").await?;
    for mut values in [stack.powerdns.txt_values(&zone, &name).await?, stack.powerdns.resolve_txt(&name).await?] {
        values.sort();
        assert_eq!(values, ["one", r#"two "quoted" \ words"#]);
    }
    assert_eq!(stack.powerdns.challenge_values(&zone).await?.len(), 2);
    stack.powerdns.set_txt(&zone, &name, &[]).await?;
    assert!(stack.powerdns.resolve_txt(&name).await?.is_empty());
    stack.powerdns.delete_zone(&zone).await?;
    assert!(stack.powerdns.find_zone(&zone).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn parallel_writers_of_the_customers_dns_all_succeed() -> Result<()> {
    let stack = shared().await?;
    let zone = format!("{}.test", unique_label());
    stack.customer_dns.create_zone(&zone, &["ns1.customer.test"]).await?;
    let writers: Vec<_> = (0..16)
        .map(|number| {
            let (powerdns, zone) = (stack.customer_dns.clone(), zone.clone());
            tokio::spawn(async move { powerdns.set_txt(&zone, &format!("n{number}.{zone}"), &[number.to_string()]).await })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    for number in 0..16 {
        assert_eq!(stack.customer_dns.txt_values(&zone, &format!("n{number}.{zone}")).await?, [number.to_string()]);
    }
    Ok(())
}

#[tokio::test]
async fn powerdns_keeps_its_zones_and_ports_through_an_outage() -> Result<()> {
    let mut stack = private_stack().await?;
    let before = stack.handle();
    before.powerdns.create_zone("outage.test", &["ns1.outage.test"]).await?;
    stack.powerdns.stop().await?;
    assert!(before.powerdns.find_zone("outage.test").await.is_err());
    assert!(before.powerdns.resolve_soa_count("outage.test").await.is_err());
    stack.powerdns.start().await?;
    assert_eq!(before.powerdns.resolve_soa_count("outage.test").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_second_start_goes_on_with_ports_passwords_and_data_and_fresh_starts_over() -> Result<()> {
    let dir = tempdir_for_everybody()?;
    let mut options = StackOptions { durable: false, ..StackOptions::new(dir.path()) };
    let first = Stack::start(options.clone()).await?;
    let before = first.handle();
    before.postgres.create_database("kept").await?;
    before.customer_dns.create_zone("kept.test", &["ns1.kept.test"]).await?;
    first.stop().await?;

    let second = Stack::start(options.clone()).await?;
    let after = second.handle();
    assert_eq!(after.postgres.admin_url(), before.postgres.admin_url());
    assert_eq!(after.powerdns.api_url(), before.powerdns.api_url());
    assert_eq!(after.pebble.directory_url(), before.pebble.directory_url());
    assert!(after.postgres.has_database("kept").await?);
    assert!(after.customer_dns.find_zone("kept.test").await?.is_some());
    second.stop().await?;

    options.fresh = true;
    let third = Stack::start(options).await?;
    assert!(!third.postgres.has_database("kept").await?);
    assert!(third.customer_dns.find_zone("kept.test").await?.is_none());
    third.stop().await
}

#[tokio::test]
async fn a_directory_in_use_is_refused() -> Result<()> {
    let stack = private_stack().await?;
    match Stack::start(StackOptions::new(stack.dir())).await {
        Ok(_) => bail!("two stacks run in one directory"),
        Err(error) => assert!(error.to_string().contains("in use by another run"), "{error:#}"),
    }
    Ok(())
}

#[tokio::test]
async fn a_part_that_does_not_come_up_is_explained_by_its_log() -> Result<()> {
    let dir = tempdir_for_everybody()?;
    let options = StackOptions { durable: false, ..StackOptions::new(dir.path()) };
    Stack::start(options.clone()).await?.stop().await?;
    let configuration = dir.path().join("postgres/data/postgresql.conf");
    fs::write(&configuration, fs::read_to_string(&configuration)? + "\nno_such_setting = 1\n")?;
    match Stack::start(options).await {
        Ok(_) => bail!("PostgreSQL started with a setting that does not exist"),
        Err(error) => assert!(format!("{error:#}").contains(r#"unrecognized configuration parameter "no_such_setting""#), "{error:#}"),
    }
    Ok(())
}

#[tokio::test]
async fn a_directory_that_only_its_owner_can_enter_will_do() -> Result<()> {
    // tempfile makes it with mode 0700: as root, PostgreSQL's user cannot pass.
    let dir = tempfile::tempdir()?;
    let stack = Stack::start(StackOptions { durable: false, ..StackOptions::new(dir.path()) }).await?;
    stack.postgres.connect_as_admin("postgres").await?;
    let link = dir.path().join("postgres");
    let elsewhere = fs::read_link(&link).ok();
    stack.stop().await?;
    // A fresh start deletes the data wherever it lies; the dropped stack then leaves only what the new one made.
    let again = Stack::start(StackOptions { fresh: true, durable: false, ..StackOptions::new(dir.path()) }).await?;
    again.stop().await?;
    if let Some(elsewhere) = elsewhere {
        assert!(elsewhere.starts_with("/var/tmp"));
        fs::remove_dir_all(&elsewhere)?;
    } else {
        assert!(link.is_dir());
    }
    Ok(())
}

/// Like the directory of a clone: others may pass through it.
fn tempdir_for_everybody() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir()?)
}
