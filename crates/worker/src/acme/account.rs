//! Our account at the CA: loaded, made where there is none, replaced where it is lost and that is allowed. Or a customer's own, which is loaded only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use tokio::sync::Mutex;
use uuid::Uuid;
use zeroize::Zeroizing;
use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_domain::id::{AccountId, AcmeAccountId};
use zonecert_pki::MasterKeys;
use zonecert_store::acme_accounts::{self, find_acme_account, find_own_acme_account, insert_acme_account, mark_acme_account_lost};
use zonecert_store::failures::describe;
use zonecert_store::own_acme_accounts;
use zonecert_store::{Connection, Store, StoreError};

use super::failure::{About, classify, from_store};
use super::http::{AcmeHttp, recorded};
use super::renewal_info::Offer;
use super::{AcmeSettings, AcmeSettingsError};

/// How long a directory is used before it is fetched again: a CA may move its URLs.
pub(crate) const DIRECTORY_LIFE: Duration = Duration::from_hours(1);

/// How soon that is tried again when it failed. Until then the old directory serves.
pub(crate) const DIRECTORY_RETRY: Duration = Duration::from_mins(1);

/// A CA as we use it. One for all orders there: it holds the connections and the account.
pub struct AcmeDirectory {
    settings: AcmeSettings,
    /// Whose own account it is, and which; none where it is ours.
    own: Option<(AccountId, AcmeAccountId)>,
    pub(super) http: AcmeHttp,
    pub(super) store: Store,
    pub(super) masters: Arc<MasterKeys>,
    current: Mutex<Current>,
    /// How often no account could be had. Read before waiting for `current`.
    failures: AtomicU64,
    /// What its directory offers beside the rest.
    pub(super) offer: Mutex<Option<Offer>>,
}

#[derive(Default)]
struct Current {
    account: Option<(Arc<AcmeAccount>, Instant)>,
    failure: Option<Failure>,
}

/// Our account at the CA, ready to sign, with the directory that it was opened with.
pub struct AcmeAccount {
    /// Its identifier in our database.
    pub id: Uuid,
    pub(super) client: Account,
    /// When its key was changed last, as far as was known when it was opened.
    pub(super) key_changed_at: Option<DateTime<Utc>>,
}

impl AcmeDirectory {
    /// The CA of these settings; `store` is the worker's. Asks nobody anything: the account is loaded or made at its first use.
    pub fn new(settings: AcmeSettings, store: Store, masters: Arc<MasterKeys>) -> Result<Self, AcmeSettingsError> {
        let http = AcmeHttp::new(&settings)?;
        Ok(Self::with(settings, None, http, store, masters))
    }

    fn with(
        settings: AcmeSettings,
        own: Option<(AccountId, AcmeAccountId)>,
        http: AcmeHttp,
        store: Store,
        masters: Arc<MasterKeys>,
    ) -> Self {
        Self { settings, own, http, store, masters, current: Mutex::default(), failures: AtomicU64::new(0), offer: Mutex::default() }
    }

    /// The same CA, with a customer's own account there.
    pub(crate) fn for_own(&self, account: AccountId, id: AcmeAccountId) -> Self {
        Self::with(self.settings.clone(), Some((account, id)), self.http.clone(), self.store.clone(), Arc::clone(&self.masters))
    }

    /// Which of a customer's own accounts it is; none where it is ours.
    pub(crate) fn own_acme_account(&self) -> Option<AcmeAccountId> {
        self.own.map(|(_, id)| id)
    }

    /// Which directory it is: what an order is stored with.
    pub fn directory_url(&self) -> &str {
        &self.settings.directory_url
    }

    /// Our account. Loaded or made by one call at a time; the others wait for what comes of it.
    pub async fn account(&self) -> Result<Arc<AcmeAccount>, Failure> {
        let failures_before = self.failures.load(Ordering::Acquire);
        let mut current = self.current.lock().await;
        if let Some((account, fresh_until)) = &current.account
            && Instant::now() < *fresh_until
        {
            return Ok(Arc::clone(account));
        }
        // Somebody has tried in vain while we waited: a hundred orders must not ask a dead CA one after the other.
        if let Some(failure) = &current.failure
            && self.failures.load(Ordering::Acquire) != failures_before
        {
            return Err(failure.clone());
        }
        match (self.open().await, current.account.take()) {
            (Ok(account), _) => {
                *current = Current { account: Some((Arc::clone(&account), Instant::now() + DIRECTORY_LIFE)), failure: None };
                Ok(account)
            }
            (Err(failure), Some((account, _))) => {
                tracing::warn!(%failure, directory_url = self.directory_url(), "the CA's directory could not be refreshed; the old one serves on");
                current.account = Some((Arc::clone(&account), Instant::now() + DIRECTORY_RETRY));
                Ok(account)
            }
            (Err(failure), None) => {
                self.failures.fetch_add(1, Ordering::Release);
                current.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    async fn open(&self) -> Result<Arc<AcmeAccount>, Failure> {
        match self.find_stored().await.map_err(|error| from_store(&error))? {
            Some(stored) => self.restore(stored).await,
            None if self.own.is_some() => {
                Err(Failure::new(FailureCode::AcmeAccountNotValid, "the certificate's own ACME account is not valid at the CA"))
            }
            None => self.create().await,
        }
    }

    /// Our account as it is on record.
    pub(super) async fn find_stored(&self) -> Result<Option<acme_accounts::AcmeAccount>, StoreError> {
        let find = async |conn: &mut Connection| match self.own {
            Some((_, id)) => find_own_acme_account(conn, &self.masters, id).await,
            None => find_acme_account(conn, &self.masters, &self.settings.directory_url).await,
        };
        self.store.platform(find).await
    }

    async fn restore(&self, stored: acme_accounts::AcmeAccount) -> Result<Arc<AcmeAccount>, Failure> {
        let credentials = read_credentials(&stored.credentials).map_err(|error| from_store(&error))?;
        let (opened, answer) = recorded(Account::builder_with_http(Box::new(self.http.clone())).from_credentials(credentials)).await;
        let client = opened.map_err(|error| classify(&error, &answer, About::Directory))?;
        Ok(Arc::new(AcmeAccount { id: stored.id, client, key_changed_at: stored.key_changed_at }))
    }

    async fn create(&self) -> Result<Arc<AcmeAccount>, Failure> {
        let contact = self.settings.contact.as_ref().map(|email| format!("mailto:{}", email.as_str()));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = self.settings.external_account.as_ref();
        let external = external.map(|account| ExternalAccountKey::new(account.key_id.clone(), &account.mac_key));
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let (created, answer) = recorded(builder.create(&wanted, self.settings.directory_url.clone(), external.as_ref())).await;
        let (client, credentials) = created.map_err(|error| classify(&error, &answer, About::Directory))?;
        // From here to the commit a crash would lose the account, which nothing hangs on yet.
        let credentials = Zeroizing::new(
            serde_json::to_vec(&credentials)
                .map_err(|_| Failure::new(FailureCode::Internal, "our account at the CA could not be stored"))?,
        );
        let stored = self
            .store
            .platform(async |conn| insert_acme_account(conn, &self.masters, &self.settings.directory_url, client.id(), &credentials).await)
            .await
            .map_err(|error| from_store(&error))?;
        if stored.account_url != client.id() {
            return self.restore(stored).await;
        }
        tracing::info!(directory_url = self.directory_url(), account_url = client.id(), "an account was made at the CA");
        Ok(Arc::new(AcmeAccount { id: stored.id, client, key_changed_at: stored.key_changed_at }))
    }

    /// What to do when the CA does not know `account`: where the settings allow it, makes room for a new one, which takes up new orders; those of
    /// the old one are lost. Elsewhere nothing changes, and the operator is told.
    pub(super) async fn account_lost(&self, account: &AcmeAccount, failure: Failure) -> Failure {
        let (directory_url, account_url) = (self.directory_url(), account.client.id());
        if let Some((owner, id)) = self.own {
            let lost = Failure::new(FailureCode::AcmeAccountNotValid, failure.detail());
            let record = async |conn: &mut Connection| own_acme_accounts::record_deactivated(conn, owner, id, Some(&describe(&lost))).await;
            if let Err(error) = self.store.tenant_write(owner, record).await {
                return from_store(&error);
            }
            tracing::warn!(account = %owner, acme_account = %id, directory_url, "the CA does not know a customer's own account any more");
            self.forget(account).await;
            return lost;
        }
        if !self.settings.recreate_account {
            tracing::error!(
                directory_url,
                account_url,
                "acme_account_lost: the CA does not know our account; check the directory URL, and ask the CA before a new account is made"
            );
            return failure;
        }
        let marked = self.store.platform(async |conn| mark_acme_account_lost(conn, account.id).await).await;
        if let Err(error) = marked {
            return from_store(&error);
        }
        tracing::warn!(directory_url, account_url, "acme_account_lost: the CA does not know our account; a new one is made");
        self.forget(account).await;
        Failure::new(FailureCode::OrderLost, "the CA has forgotten our account, and its orders with it")
    }

    /// Has account and directory loaded anew at their next use.
    pub(super) async fn forget(&self, account: &AcmeAccount) {
        let mut current = self.current.lock().await;
        if current.account.as_ref().is_some_and(|(known, _)| std::ptr::eq(Arc::as_ptr(known), account)) {
            current.account = None;
        }
    }
}

/// What the ACME library has serialised. What serde says about a value may quote it, so it is not told.
pub(super) fn read_credentials(credentials: &[u8]) -> Result<AccountCredentials, StoreError> {
    serde_json::from_slice(credentials).map_err(|_| StoreError::corrupt("acme_accounts.sealed_credentials", "(secret)"))
}
