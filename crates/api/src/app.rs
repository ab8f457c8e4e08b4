//! What every request handler has at hand.

use std::sync::Arc;

use zonecert_domain::id::AccountId;
use zonecert_pki::MasterKeys;
use zonecert_resolver::Resolver;
use zonecert_store::Store;
use zonecert_store::api_tokens::Usable;

use crate::auth::access_token::AccessTokens;
use crate::auth::password::Passwords;
use crate::auth::recognised::Recognised;
use crate::downloads::Poll;
use crate::live::hub::Hub;
use crate::monitoring::HttpMetrics;
use crate::operators::OperatorAccess;
use crate::settings::{ApiSettings, SettingsError};
use crate::traffic::rate_limit::RateLimiter;

/// The API's parts, made once and shared by all requests: `web::Data<App>` in a handler.
pub struct App {
    /// The database as `zonecert_api`.
    pub store: Store,
    /// What the operator has set.
    pub settings: ApiSettings,
    /// The keys that wrap the accounts' data keys.
    pub masters: Arc<MasterKeys>,
    /// Where the ownership of zones is looked up. It caches nothing: a record is seen as soon as it is there.
    pub resolver: Resolver,
    /// How the operator gets in; none where the operator's part of the API is off.
    pub operators: Option<OperatorAccess>,
    pub(crate) access_tokens: AccessTokens,
    pub(crate) passwords: Passwords,
    /// Callers by their API token.
    pub(crate) recognised: Recognised<Usable>,
    /// Polls of downloads that were answered 304.
    pub(crate) polls: Recognised<Poll>,
    pub(crate) rate_limiter: RateLimiter,
    pub(crate) live: Arc<Hub>,
    pub(crate) metrics: HttpMetrics,
}

impl App {
    /// Puts the parts together.
    ///
    /// Errors: a setting that cannot be used; says which and why.
    pub fn new(store: Store, masters: Arc<MasterKeys>, settings: ApiSettings) -> Result<Self, SettingsError> {
        let access_tokens = AccessTokens::new(&settings.token_keys_pem, &settings.public_url)?;
        let resolver = Resolver::new(&settings.resolvers)?;
        let passwords = Passwords::new(settings.parallel_password_hashes)?;
        let (recognised, polls) = (Recognised::new(), Recognised::new());
        let rate_limiter = RateLimiter::new(settings.traffic.rate_limits);
        let live = Arc::new(Hub::new(settings.traffic.live.streams_per_account));
        let metrics = HttpMetrics::new();
        Ok(Self {
            store,
            settings,
            masters,
            resolver,
            operators: None,
            access_tokens,
            passwords,
            recognised,
            polls,
            rate_limiter,
            live,
            metrics,
        })
    }

    /// What it counts and times.
    pub fn metrics(&self) -> &HttpMetrics {
        &self.metrics
    }

    /// After something of an account was changed: whatever was known of it holds no more.
    pub(crate) fn forget(&self, account: AccountId) {
        self.recognised.forget(account);
        self.polls.forget(account);
    }

    /// Lets the operator in.
    #[must_use]
    pub fn with_operators(self, access: OperatorAccess) -> Self {
        Self { operators: Some(access), ..self }
    }
}
