//! A database of one's own, a tenant with a zone, and the worker's way to both.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;
use zonecert_devstack::{PowerDns as Server, StackHandle, unique_label, wait};
use zonecert_domain::id::{AccountId, OrderId};
use zonecert_domain::zone_name::ZoneName;
use zonecert_store::challenge_records::{self, NewChallengeRecord};
use zonecert_store::orders::{self, AuthorizationStatus, NewAuthorization};
use zonecert_store::zone_projections::{self, Generation, ZoneProjection};
use zonecert_store::{Store, StoreError, migrate};
use zonecert_worker::dns::{NameServers, PowerDns, Projector};

/// Key of the advisory lock that lets one test at a time migrate: roles belong to the server, and two who grant the same one fail.
const LOCK: i64 = 0x007a_6364_6e73;

pub(crate) const NAMESERVERS: [&str; 2] = ["ns1.zonecert.test.", "ns2.zonecert.test."];

/// One tenant, one zone.
pub(crate) struct World {
    pub(crate) stack: StackHandle,
    pub(crate) admin: Client,
    pub(crate) store: Store,
    pub(crate) account: AccountId,
    /// Without trailing dot.
    pub(crate) zone: String,
    database: String,
    orders: AtomicI32,
}

impl World {
    /// On the stack that tests share.
    pub(crate) async fn new() -> Result<Self> {
        Box::pin(Self::on(Box::pin(zonecert_devstack::shared()).await?)).await
    }

    /// A migrated database, and in it a tenant who holds a verified zone. `PowerDNS` does not have the zone yet.
    pub(crate) async fn on(stack: StackHandle) -> Result<Self> {
        let database = format!("dns_{}", unique_label());
        stack.postgres.create_database(&database).await?;
        let url = stack.postgres.admin_url_of(&database);
        let turn = stack.postgres.connect_as_admin("postgres").await?;
        turn.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
        Box::pin(migrate::run(&url, zonecert_worker::queue::migrate(&url))).await?;
        drop(turn);
        let admin = stack.postgres.connect_as_admin(&database).await?;
        let zone = format!("{}.test", unique_label());
        let account = AccountId::new();
        let owner = account.0.to_string();
        admin.execute("INSERT INTO accounts (id, name, plan) VALUES ($1::text::uuid, 'Tenant', 'elite')", &[&owner]).await?;
        let verified = "INSERT INTO zones (id, account_id, name, status, verification_value, verified_at)
                        VALUES (gen_random_uuid(), $1::text::uuid, $2, 'verified', 'v', now())";
        admin.execute(verified, &[&owner, &zone]).await?;
        let store = open(&stack, &database)?;
        Ok(Self { stack, admin, store, account, zone, database, orders: AtomicI32::new(1) })
    }

    /// What another process has: connections, client and queues of its own.
    pub(crate) fn projector(&self) -> Result<Projector> {
        let server = &self.stack.powerdns;
        let powerdns = PowerDns::new(&server.api_url().parse()?, "localhost", server.api_key().parse()?)?;
        self.projector_on(powerdns)
    }

    pub(crate) fn projector_on(&self, powerdns: PowerDns) -> Result<Projector> {
        let challenge_zone = ZoneName::platform(&self.challenge_zone())?;
        Ok(Projector::new(
            open(&self.stack, &self.database)?,
            powerdns,
            NameServers::parse(NAMESERVERS)?,
            Some(challenge_zone),
            unique_label(),
        ))
    }

    /// The platform's own zone.
    pub(crate) fn challenge_zone(&self) -> String {
        format!("challenges.{}", self.zone)
    }

    pub(crate) fn server(&self) -> &Server {
        &self.stack.powerdns
    }

    /// `_acme-challenge.<label>.<zone>`, or that of the apex where the label is empty.
    pub(crate) fn name(&self, label: &str) -> String {
        if label.is_empty() { format!("_acme-challenge.{}", self.zone) } else { format!("_acme-challenge.{label}.{}", self.zone) }
    }

    /// An order that wants these values at these names, and the generation that holds them.
    pub(crate) async fn want(&self, records: &[(&str, &str)]) -> Result<(OrderId, Generation)> {
        let order = self.insert_order().await?;
        let account = self.account;
        let generation = self.store.tenant_write(account, async |conn| {
            let mut rows = Vec::new();
            for (label, value) in records {
                let authorization = NewAuthorization {
                    url: format!("https://ca.test/{}", Uuid::now_v7()),
                    identifier: (*label).to_owned(),
                    wildcard: false,
                    status: AuthorizationStatus::Pending,
                };
                let authorization = orders::insert_authorization(conn, account, order, &authorization).await?;
                let (dns_zone, name) = (self.zone.clone(), self.name(label));
                rows.push(NewChallengeRecord { authorization, dns_zone, name, value: (*value).to_owned() });
            }
            challenge_records::insert_challenge_records(conn, account, order, &rows).await?;
            // A step that is repeated after a crash writes the same rows.
            challenge_records::insert_challenge_records(conn, account, order, &rows).await?;
            zone_projections::request_projection(conn, &self.zone).await
        });
        Ok((order, generation.await?))
    }

    /// The order wants its values no more.
    pub(crate) async fn unwant(&self, order: OrderId) -> Result<Generation> {
        let account = self.account;
        let generation = self.store.tenant_write(account, async |conn| {
            let zones = challenge_records::mark_order_unwanted(conn, account, order).await?;
            assert_eq!(zones, std::slice::from_ref(&self.zone));
            assert!(challenge_records::mark_order_unwanted(conn, account, order).await?.is_empty());
            zone_projections::request_projection(conn, &self.zone).await
        });
        Ok(generation.await?)
    }

    /// The tenant gives the zone up.
    pub(crate) async fn delete_zone(&self) -> Result<Generation> {
        self.admin.execute("UPDATE zones SET deleted_at = now() WHERE name = $1", &[&self.zone]).await?;
        self.request_projection().await
    }

    pub(crate) async fn request_projection(&self) -> Result<Generation> {
        Ok(self.store.platform(async |conn| zone_projections::request_projection(conn, &self.zone).await).await?)
    }

    pub(crate) async fn projection(&self) -> Result<ZoneProjection> {
        let found = self.store.platform(async |conn| zone_projections::find_projection(conn, &self.zone).await);
        found.await?.context("nobody has asked for a projection")
    }

    /// How many rows of `challenge_records` there are.
    pub(crate) async fn rows(&self) -> Result<i64> {
        Ok(self.admin.query_one("SELECT count(*) FROM challenge_records WHERE dns_zone = $1", &[&self.zone]).await?.get(0))
    }

    /// Jobs for the zone that are due later, and all of them.
    pub(crate) async fn jobs(&self) -> Result<(i64, i64)> {
        let jobs = "SELECT count(*) FILTER (WHERE run_at > now()), count(*) FROM apalis.jobs
                    WHERE job_type = 'project' AND convert_from(job, 'UTF8')::jsonb = jsonb_build_object('dns_zone', $1::text)";
        let row = self.admin.query_one(jobs, &[&self.zone]).await?;
        Ok((row.get(0), row.get(1)))
    }

    /// Unquoted values at a name, in order.
    pub(crate) async fn values(&self, label: &str) -> Result<Vec<String>> {
        let mut values = self.server().txt_values(&self.zone, &self.name(label)).await?;
        values.sort_unstable();
        Ok(values)
    }

    /// Changes the zone behind our back, as another program does. `path` begins after the zone's name.
    pub(crate) async fn meddle(&self, method: Method, body: Value) -> Result<()> {
        let server = self.server();
        let url = format!("{}/api/v1/servers/localhost/zones/{}.", server.api_url(), self.zone);
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.request(method, url).header("X-API-Key", server.api_key()).json(&body).send().await?;
        let status = answer.status();
        anyhow::ensure!(status == StatusCode::NO_CONTENT, "{status}: {}", answer.text().await?);
        Ok(())
    }

    /// Makes `records` the whole record set of a name.
    pub(crate) async fn meddle_with_records(
        &self,
        label: &str,
        record_type: &str,
        ttl: u32,
        records: Value,
        comments: Value,
    ) -> Result<()> {
        let name = format!("{}.", self.name(label));
        let rrset =
            json!({"name": name, "type": record_type, "ttl": ttl, "changetype": "REPLACE", "records": records, "comments": comments});
        self.meddle(Method::PATCH, json!({"rrsets": [rrset]})).await
    }

    /// A connection to the database of `PowerDNS`.
    pub(crate) async fn powerdns_database(&self) -> Result<Client> {
        self.stack.postgres.connect_as_admin("powerdns").await
    }

    /// Waits until the row says what is asked.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&ZoneProjection) -> bool) -> Result<()> {
        wait::until(what, Duration::from_secs(20), async || Ok(condition(&self.projection().await?).then_some(()))).await
    }

    async fn insert_order(&self) -> Result<OrderId> {
        let order = OrderId::new();
        let statement = "WITH certificate AS (
                 INSERT INTO certificates (id, account_id, zone_id, name, number, domain, key_algorithm, auto_renew)
                 SELECT gen_random_uuid(), account_id, id, $1, $2, $1, 'rsa2048', false FROM zones WHERE name = $3
                 RETURNING account_id, id
             ), issuance AS (
                 INSERT INTO issuances (id, account_id, certificate_id, reason, give_up_at, next_wake_at)
                 SELECT gen_random_uuid(), account_id, id, 'first', now() + interval '1 day', now() FROM certificate
                 RETURNING account_id, id, certificate_id
             )
             INSERT INTO orders (id, account_id, issuance_id, certificate_id, directory_url, names)
             SELECT $1::uuid, account_id, id, certificate_id, 'https://ca.test', ARRAY[$1] FROM issuance";
        let number = self.orders.fetch_add(1, Ordering::Relaxed);
        assert_eq!(self.admin.execute(statement, &[&order.0.to_string(), &number, &self.zone]).await?, 1);
        Ok(order)
    }
}

/// As the role of the worker, so that its grants and row-level security hold.
fn open(stack: &StackHandle, database: &str) -> Result<Store, StoreError> {
    let url = format!("{}?options=-c%20role%3Dzonecert_worker", stack.postgres.admin_url_of(database));
    Store::open(&url, 8, Duration::from_secs(20))
}
