//! Connections, and the transaction of a tenant.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::methods::LoadQuery;
use diesel_async::pooled_connection::bb8::PooledConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolableConnection, RecyclingMethod};
use diesel_async::{AnsiTransactionManager, AsyncConnection, RunQueryDsl, SimpleAsyncConnection, TransactionManager as _};
use futures::FutureExt;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;
use zonecert_domain::id::AccountId;

use crate::shared_connections::SharedConnections;
use crate::statement::sql_query;
use crate::tenant_query::Question;
use crate::{Connection, StoreError};

/// A transaction's body: an async closure whose future can move between threads.
///
/// `AsyncFnOnce` alone cannot say that its future is `Send`; every async closure over `Send` values implements this by itself.
pub trait TransactionBody<C, R>: AsyncFnOnce(C) -> R + FnOnce(C) -> <Self as TransactionBody<C, R>>::Fut {
    /// What the closure returns.
    type Fut: Future<Output = R>;
}

impl<F, C, Fut, R> TransactionBody<C, R> for F
where
    F: AsyncFnOnce(C) -> R + FnOnce(C) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// The database as one role sees it: a pool of connections.
#[derive(Clone)]
pub struct Store {
    url: Arc<str>,
    patience: Duration,
    shared: Arc<SharedConnections>,
    pool: bb8::Pool<AsyncDieselConnectionManager<Connection>>,
}

impl Store {
    /// Opens a pool of up to `max_connections`, beside which questions share a few ([`SharedConnections`]). Must be called on the async runtime, and waits for no connection: a database that is down is an error at first use, so that a process
    /// can start before its database. A connection is waited for up to `patience`.
    ///
    /// TLS is used as `sslmode` in the URL says (`prefer` by default), with the roots of the operating system.
    pub fn open(database_url: &str, max_connections: u32, patience: Duration) -> Result<Self, StoreError> {
        let mut config = ManagerConfig::default();
        // What died while it was idle, with the server or on the way to it, is told without asking the server, and never handed out.
        config.recycling_method = RecyclingMethod::CustomFunction(Box::new(|conn: &mut Connection| {
            let lost = conn.is_broken();
            async move { if lost { Err(diesel::result::Error::BrokenTransactionManager) } else { Ok(()) } }.boxed()
        }));
        config.custom_setup = Box::new(|url| {
            let url = url.to_owned();
            async move { connect(&url).await.map_err(|error| ConnectionError::BadConnection(error.to_string())) }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config(database_url, config);
        let pool = bb8::Pool::builder()
            .max_size(max_connections)
            .connection_timeout(patience)
            .test_on_check_out(true)
            .idle_timeout(Some(Duration::from_mins(5)))
            .build_unchecked(manager);
        Ok(Self { url: database_url.into(), patience, shared: Arc::new(SharedConnections::new()), pool })
    }

    /// Runs `body` in a transaction of the tenant, to read.
    pub async fn tenant<R, E, F>(&self, account: AccountId, body: F) -> Result<R, E>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<R, E> + TransactionBody<&'c mut Connection, Result<R, E>, Fut: Send> + Send,
        R: Send,
        E: From<StoreError> + Send,
    {
        self.transaction(Some((account, false)), body).await
    }

    /// Asks one question as a tenant, in one round trip. Where the connection is lost on the way, it is asked once more over a new one: it changes nothing.
    pub(crate) async fn ask<R, Q>(&self, question: Q) -> Result<Vec<R>, StoreError>
    where
        R: Send,
        Q: Question + for<'c, 'q> LoadQuery<'q, &'c Connection, R> + Clone + Send,
    {
        match self.ask_once(question.clone()).await {
            Err(StoreError::Unavailable(_)) => self.ask_once(question).await,
            answered => answered,
        }
    }

    async fn ask_once<R, Q>(&self, question: Q) -> Result<Vec<R>, StoreError>
    where
        R: Send,
        Q: for<'c, 'q> LoadQuery<'q, &'c Connection, R> + Send,
    {
        let conn = self.shared.get(&self.url, self.patience).await?;
        let answered = question.load(&mut &*conn).await.map_err(StoreError::from);
        if matches!(answered, Err(StoreError::Unavailable(_))) {
            self.shared.discard(&conn);
        }
        answered
    }

    /// Runs `body` in a transaction of the tenant, to write. The account's row is locked first, so that whatever is counted or numbered per
    /// account is safe, and so that two writers of one account never wait for each other in a circle.
    ///
    /// Errors with [`StoreError::NotFound`] when there is no such account.
    pub async fn tenant_write<R, E, F>(&self, account: AccountId, body: F) -> Result<R, E>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<R, E> + TransactionBody<&'c mut Connection, Result<R, E>, Fut: Send> + Send,
        R: Send,
        E: From<StoreError> + Send,
    {
        self.transaction(Some((account, true)), body).await
    }

    /// Runs `body` in a transaction without a tenant: row-level security shows no tenant's row to it. For the platform's own tables and
    /// for the functions that find out which tenant is meant.
    pub async fn platform<R, E, F>(&self, body: F) -> Result<R, E>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<R, E> + TransactionBody<&'c mut Connection, Result<R, E>, Fut: Send> + Send,
        R: Send,
        E: From<StoreError> + Send,
    {
        self.transaction(None, body).await
    }

    /// Runs `body` outside of any transaction and without a tenant: each statement is a transaction of its own, in one round trip.
    pub async fn autocommit<R, F>(&self, body: F) -> Result<R, StoreError>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<R, StoreError>
            + TransactionBody<&'c mut Connection, Result<R, StoreError>, Fut: Send>
            + Send,
        R: Send,
    {
        body(&mut *self.get().await?).await
    }

    async fn transaction<R, E, F>(&self, tenant: Option<(AccountId, bool)>, body: F) -> Result<R, E>
    where
        for<'c> F: AsyncFnOnce(&'c mut Connection) -> Result<R, E> + TransactionBody<&'c mut Connection, Result<R, E>, Fut: Send> + Send,
        R: Send,
        E: From<StoreError> + Send,
    {
        let mut conn = self.get_begun(tenant.map(|(account, _)| account)).await?;
        let conn = &mut *conn;
        if let Some((account, true)) = tenant
            && let Err(error) = lock_account(conn, account).await
        {
            return Err(roll_back(conn, error.into()).await);
        }
        match body(&mut *conn).await {
            Ok(done) => {
                TransactionManager::commit_transaction(conn).await.map_err(StoreError::from)?;
                Ok(done)
            }
            Err(error) => Err(roll_back(conn, error).await),
        }
    }

    /// A connection in whose transaction nothing has been done yet. One that turns out to be lost, as all are in the first milliseconds after a cut, costs another one and no error.
    async fn get_begun(&self, tenant: Option<AccountId>) -> Result<PooledConnection<'_, Connection>, StoreError> {
        let mut conn = self.get().await?;
        match begin(&mut conn, tenant).await {
            Err(StoreError::Unavailable(_)) => {
                drop(conn);
                conn = self.get().await?;
                begin(&mut conn, tenant).await?;
            }
            begun => begun?,
        }
        Ok(conn)
    }

    async fn get(&self) -> Result<PooledConnection<'_, Connection>, StoreError> {
        self.pool.get().await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// How the pool stands.
    pub fn pool_state(&self) -> PoolState {
        let state = self.pool.state();
        let counts = state.statistics;
        PoolState {
            connections: state.connections,
            idle: state.idle_connections,
            waited: counts.get_waited,
            timed_out: counts.get_timed_out,
            waited_for: counts.get_wait_time,
        }
    }

    /// A connection of its own, beside the pool, for something that lasts.
    pub(crate) async fn connect_apart(&self) -> Result<Connection, StoreError> {
        connect(&self.url).await
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.autocommit(async |conn| sql_query("SELECT 1").execute(conn).await.map(drop).map_err(StoreError::from)).await
    }
}

/// How a pool of connections stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Connections, idle ones included.
    pub connections: u32,
    /// Connections that nobody uses.
    pub idle: u32,
    /// How often one had to be waited for, since the start.
    pub waited: u64,
    /// How often the patience has run out.
    pub timed_out: u64,
    /// How long was waited, all together.
    pub waited_for: Duration,
}

type TransactionManager = <Connection as AsyncConnection>::TransactionManager;

/// Begins a transaction and enters the tenant, in one round trip.
async fn begin(conn: &mut Connection, tenant: Option<AccountId>) -> Result<(), StoreError> {
    let sql = match tenant {
        // Not SET, of which pg_stat_statements would keep a line for each account.
        Some(account) => format!("BEGIN; SELECT set_config('zonecert.account', '{}', true)", account.0.as_hyphenated()),
        None => "BEGIN".to_owned(),
    };
    let begun = AnsiTransactionManager::begin_transaction_sql(conn, &sql).await;
    if begun.is_err() {
        // The first half may have been done.
        let _ = conn.batch_execute("ROLLBACK").await;
    }
    Ok(begun?)
}

/// Returns the error that is to be told: the body's, unless the roll-back itself has failed.
async fn roll_back<E: From<StoreError>>(conn: &mut Connection, error: E) -> E {
    match TransactionManager::rollback_transaction(conn).await {
        Ok(()) | Err(diesel::result::Error::BrokenTransactionManager) => error,
        Err(failed) => StoreError::from(failed).into(),
    }
}

async fn lock_account(conn: &mut Connection, account: AccountId) -> Result<(), StoreError> {
    let locked = sql_query("SELECT 1 FROM accounts WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE")
        .bind::<diesel::sql_types::Uuid, Uuid>(account.0)
        .execute(conn)
        .await?;
    if locked == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

/// Opens one connection outside of any pool.
pub(crate) async fn connect(database_url: &str) -> Result<Connection, StoreError> {
    let unavailable = |error: &dyn std::error::Error| StoreError::Unavailable(chain(error));
    let config: tokio_postgres::Config = database_url.parse().map_err(|error| unavailable(&error))?;
    if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(|error| unavailable(&error))?;
        return Connection::try_from_client_and_connection(client, connection).await.map_err(|error| unavailable(&error));
    }
    let (client, connection) = config.connect(tls()?).await.map_err(|error| unavailable(&error))?;
    Connection::try_from_client_and_connection(client, connection).await.map_err(|error| unavailable(&error))
}

/// Made once: reading the roots of the operating system takes longer than all else of a connection.
fn tls() -> Result<MakeRustlsConnect, StoreError> {
    static TLS: OnceLock<MakeRustlsConnect> = OnceLock::new();
    if let Some(tls) = TLS.get() {
        return Ok(tls.clone());
    }
    let made = MakeRustlsConnect::new(tls_config()?);
    Ok(TLS.get_or_init(|| made).clone())
}

fn tls_config() -> Result<rustls::ClientConfig, StoreError> {
    use rustls_platform_verifier::BuilderVerifierExt;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map(rustls::ConfigBuilder::<rustls::ClientConfig, _>::with_no_client_auth)
        .map_err(|error| StoreError::Unavailable(format!("no TLS roots: {error}")))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
