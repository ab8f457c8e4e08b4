//! Tenants as the API makes them, and their issuances in the hands of workers.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use uuid::Uuid;
use zonecert_devstack::unique_label;
use zonecert_domain::id::{AccountId, CertificateId, IssuanceId, KeyVersionId, OrderId, VersionId, ZoneId};
use zonecert_domain::issuance::{IssuanceEvent, IssuanceReason};
use zonecert_domain::key::KeyAlgorithm;
use zonecert_domain::name::{NamePolicy, NameSet, NameWish};
use zonecert_domain::order::OrderEvent;
use zonecert_domain::zone_name::ZoneName;
use zonecert_pki::{CertificateChain, MasterKeys, PrivateKey};
use zonecert_store::certificates::{self, KeyPolicy, NewCertificate, NewName};
use zonecert_store::issuances::{self, Issuance, Lease};
use zonecert_store::issuing::{self, Environment};
use zonecert_store::orders::{self, NewOrder, OrderChange};
use zonecert_store::pool::TransactionBody;
use zonecert_store::zones::ZoneMode;
use zonecert_store::{Connection, Store, StoreError, accounts, data_keys, private_keys, versions, zones};

use crate::database::{Database, Role};

pub(crate) const DIRECTORY: &str = "https://ca.test/dir";

/// A database with an API and a worker.
pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) api: Store,
    pub(crate) worker: Store,
    pub(crate) masters: MasterKeys,
}

/// An account with a verified zone.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) account: AccountId,
    pub(crate) zone: ZoneId,
    pub(crate) zone_name: String,
}

/// A certificate that was requested, and its first issuance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requested {
    pub(crate) account: AccountId,
    pub(crate) certificate: CertificateId,
    pub(crate) issuance: IssuanceId,
}

/// A certificate that was issued, with its one version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Issued {
    pub(crate) requested: Requested,
    pub(crate) order: OrderId,
    pub(crate) version: VersionId,
    pub(crate) key_version: KeyVersionId,
    pub(crate) not_after: DateTime<Utc>,
}

/// A job of the queue.
#[derive(Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) key: String,
    pub(crate) status: String,
    pub(crate) payload: Value,
    pub(crate) run_at: DateTime<Utc>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = Database::migrated().await;
        let (api, worker) = (database.store(Role::Api, 4), database.store(Role::Worker, 10));
        let masters = MasterKeys::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        Self { database, api, worker, masters }
    }

    pub(crate) async fn tenant(&self) -> Tenant {
        let account = AccountId::new();
        let zone_name = format!("{}.test", unique_label());
        let name = ZoneName::from_stored(&zone_name).unwrap();
        let made = self.api.tenant(account, async |conn| {
            accounts::insert_account(conn, account, "Tenant").await?;
            data_keys::insert_data_key(conn, &self.masters, account).await?;
            let zone = zones::insert_zone(conn, account, &name, ZoneMode::Hosted, "proof").await?;
            zones::mark_verified(conn, account, zone.id).await
        });
        let zone = made.await.unwrap().id;
        Tenant { account, zone, zone_name }
    }

    /// A certificate for `<label>.<zone>`, with its names and its number, and without an issuance.
    pub(crate) async fn insert_certificate(
        &self,
        conn: &mut Connection,
        tenant: &Tenant,
        label: &str,
    ) -> Result<CertificateId, StoreError> {
        let domain = format!("{label}.{}", tenant.zone_name);
        let wish = NameWish { domain: &domain, sans: &[], wildcard: false, include_base: false };
        let names = NameSet::parse(&wish, &NamePolicy { allow_special_use: true, platform_zones: Vec::new() }).unwrap();
        let new = NewCertificate {
            zone: tenant.zone,
            name: NewName::Derived(label),
            label: None,
            names: &names,
            environment: Environment::Production,
            key_algorithm: KeyAlgorithm::EcdsaP256,
            key_policy: KeyPolicy::Rotate,
            csr_subject: None,
            profile: None,
            auto_renew: true,
        };
        certificates::insert_certificate(conn, tenant.account, &new).await
    }

    pub(crate) async fn certificate(&self, tenant: &Tenant, label: &str) -> CertificateId {
        let made = self.api.tenant_write(tenant.account, async |conn| self.insert_certificate(conn, tenant, label).await);
        made.await.unwrap()
    }

    /// A request as the API records it: certificate, issuance and job in one transaction.
    pub(crate) async fn request(&self, tenant: &Tenant, label: &str) -> Requested {
        let account = tenant.account;
        let made = self.api.tenant_write(account, async |conn| {
            let certificate = self.insert_certificate(conn, tenant, label).await?;
            let issuance = issuances::insert_issuance(conn, account, certificate, IssuanceReason::First, in_a_day()).await?;
            Ok::<_, StoreError>(Requested { account, certificate, issuance })
        });
        made.await.unwrap()
    }

    /// A tenant with one requested certificate.
    pub(crate) async fn requested(&self) -> Requested {
        self.request(&self.tenant().await, "app").await
    }

    /// The lease of an issuance for a minute, if it can be had.
    pub(crate) async fn try_lease(&self, requested: Requested, owner: &str) -> Option<Lease> {
        self.try_lease_for(requested, owner, Duration::from_mins(1)).await
    }

    /// Takes a lease that has run out. For a moment: within its time of the server's start, which may have been for this test, nobody's would be taken over.
    pub(crate) async fn try_take_over(&self, requested: Requested, owner: &str) -> Option<Lease> {
        self.shift(requested, "lease_expires_at = now()").await;
        self.try_lease_for(requested, owner, Duration::from_millis(1)).await
    }

    async fn try_lease_for(&self, requested: Requested, owner: &str, ttl: Duration) -> Option<Lease> {
        let Requested { account, issuance, .. } = requested;
        self.worker.tenant(account, async |conn| issuances::take_lease(conn, account, issuance, owner, ttl).await).await.unwrap()
    }

    pub(crate) async fn lease(&self, requested: Requested) -> Lease {
        self.try_lease(requested, "worker").await.expect("nobody holds the lease")
    }

    /// Writes down an order behind the fence, and reads the issuance with it.
    pub(crate) async fn begin_order(&self, requested: Requested, lease: &Lease) -> (OrderId, Issuance) {
        let order = self.held(lease, async |conn| {
            let Requested { account, certificate, issuance } = requested;
            let names = ["app.example.test".to_owned()];
            orders::insert_order(
                conn,
                account,
                &NewOrder {
                    issuance,
                    certificate,
                    directory_url: DIRECTORY,
                    own_acme_account: None,
                    names: &names,
                    replaces: None,
                    profile: None,
                },
            )
            .await
        });
        (order.await.unwrap(), self.issuance(requested).await)
    }

    /// One transaction of whoever believes to hold the lease: behind the fence, as every write of a worker.
    pub(crate) async fn held<R, F>(&self, lease: &Lease, write: F) -> Result<R, StoreError>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<R, StoreError>
            + TransactionBody<&'c mut Connection, Result<R, StoreError>, Fut: Send>
            + Send,
        R: Send,
    {
        let lease = *lease;
        let written = self.worker.tenant_write(lease.account, async move |conn| {
            issuances::guard(conn, &lease).await?;
            write(conn).await
        });
        written.await
    }

    pub(crate) async fn issuance(&self, requested: Requested) -> Issuance {
        let Requested { account, issuance, .. } = requested;
        self.worker.autocommit(async |conn| issuances::get_issuance(conn, account, issuance).await).await.unwrap()
    }

    /// New material of a key, which is made where there is none.
    pub(crate) async fn key_version(&self, requested: Requested, key: &PrivateKey) -> KeyVersionId {
        let Requested { account, issuance, .. } = requested;
        let (pkcs8, hash) = (key.to_pkcs8_der().unwrap(), key.public_key_sha256());
        let stored = self.worker.tenant_write(account, async |conn| {
            let issuance = issuances::get_issuance(conn, account, issuance).await?;
            let resource = private_keys::get_or_insert_issuance_key(conn, account, &issuance).await?;
            private_keys::insert_key_version(conn, &self.masters, account, resource, &pkcs8, hash).await
        });
        stored.await.unwrap()
    }

    /// A certificate whose first issuance has just succeeded, with a key of its own.
    pub(crate) async fn issued(&self, tenant: &Tenant, label: &str) -> Issued {
        let requested = self.request(tenant, label).await;
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let key_version = self.key_version(requested, &key).await;
        self.issue_with(requested, &key, key_version).await
    }

    /// Has the first issuance of a certificate succeed, with this key.
    pub(crate) async fn issue_with(&self, requested: Requested, key: &PrivateKey, key_version: KeyVersionId) -> Issued {
        let Requested { account, certificate, .. } = requested;
        let chain = chain(key);
        let not_after = chain.not_after();
        let lease = self.lease(requested).await;
        let (order, _) = self.begin_order(requested, &lease).await;
        self.finalize(order, key_version).await;
        let stored = self.held(&lease, async |conn| {
            let version = versions::insert_issued_version(conn, account, certificate, order, key_version, &chain).await?;
            let live = issuances::get_issuance(conn, account, requested.issuance).await?.live_order.unwrap();
            orders::advance(conn, account, &live, OrderEvent::Issued, OrderChange::default(), None).await?;
            issuances::end(conn, &lease, IssuanceEvent::Succeeded, None).await?;
            issuing::record_issued(conn, account, certificate, issuing::Issued { version, not_after }).await?;
            Ok(version)
        });
        Issued { requested, order, version: stored.await.unwrap(), key_version, not_after }
    }

    /// Brings an order to where the CA has been sent its request.
    pub(crate) async fn finalize(&self, order: OrderId, key_version: KeyVersionId) {
        let acme_account = Uuid::now_v7();
        self.database
            .run(&format!(
                "INSERT INTO platform_data_keys (id, master_key_id, wrapped) VALUES ('{acme_account}', 'test', '');
                 INSERT INTO acme_accounts (id, directory_url, account_url, data_key_id, sealed_credentials, lost_at)
                     VALUES ('{acme_account}', '{DIRECTORY}', 'https://ca.test/account/1', '{acme_account}', '', now());
                 UPDATE orders SET status = 'finalizing', url = 'https://ca.test/order/' || id, acme_account_id = '{acme_account}', csr = '', key_version_id = '{}'
                     WHERE id = '{}'",
                key_version.0, order.0
            ))
            .await;
    }

    /// The jobs of an issuance, in the order of their numbers.
    pub(crate) async fn jobs(&self, requested: Requested) -> Vec<Job> {
        let query = "SELECT idempotency_key, status, convert_from(job, 'UTF8'), extract(epoch FROM run_at)::float8 FROM apalis.jobs
                     WHERE job_type = 'issue' AND split_part(idempotency_key, ':', 1) = $1 ORDER BY split_part(idempotency_key, ':', 2)::bigint";
        let rows = self.database.admin.query(query, &[&requested.issuance.0.to_string()]).await.unwrap();
        let read = |row: &tokio_postgres::Row| Job {
            key: row.get(0),
            status: row.get(1),
            payload: serde_json::from_str(row.get(2)).unwrap(),
            run_at: DateTime::UNIX_EPOCH + TimeDelta::from_std(Duration::from_secs_f64(row.get(3))).unwrap(),
        };
        rows.iter().map(read).collect()
    }

    /// Runs a statement past the triggers, which keep what is past as it was.
    pub(crate) async fn run_replica(&self, statement: &str) {
        self.database.run(&format!("SET session_replication_role = replica; {statement}; RESET session_replication_role")).await;
    }

    /// Changes the row of an issuance behind everybody's back: `lease_expires_at = now()`.
    pub(crate) async fn shift(&self, requested: Requested, change: &str) {
        self.database.run(&format!("UPDATE issuances SET {change} WHERE id = '{}'", requested.issuance.0)).await;
    }

    /// A column of the issuance's row as text.
    pub(crate) async fn column(&self, requested: Requested, column: &str) -> Option<String> {
        self.database.value(&format!("SELECT {column}::text FROM issuances WHERE id = '{}'", requested.issuance.0)).await
    }
}

impl Requested {
    /// The key of the job with this number.
    pub(crate) fn job_key(&self, number: u32) -> String {
        format!("{}:{number}", self.issuance.0)
    }
}

/// A self-signed certificate for this key: valid from 1975 to 4096.
pub(crate) fn chain(key: &PrivateKey) -> CertificateChain {
    let signer = KeyPair::from_pem(&key.to_pkcs8_pem().unwrap()).unwrap();
    let params = CertificateParams::new(["app.example.test".to_owned()]).unwrap();
    CertificateChain::parse_pem(&params.self_signed(&signer).unwrap().pem()).unwrap()
}

/// When an issuance gives up that begins now.
pub(crate) fn in_a_day() -> DateTime<Utc> {
    now() + TimeDelta::days(1)
}

#[expect(clippy::disallowed_methods, reason = "these tests have no other clock before there is a row")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Records as the holder of a lease that a step was taken.
pub(crate) async fn step_taken(conn: &mut Connection, lease: &Lease) -> Result<(), StoreError> {
    let held = issuances::guard(conn, lease).await?;
    issuances::record_step_taken(conn, lease, held).await
}
