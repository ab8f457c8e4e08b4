//! What every request handler has at hand.

use std::sync::Arc;

use hickory_resolver::TokioResolver;
use zonecert_pki::MasterKeys;
use zonecert_store::Store;

use crate::auth::access_token::AccessTokens;
use crate::auth::password::Passwords;
use crate::resolver;
use crate::settings::{ApiSettings, SettingsError};

/// The API's parts, made once and shared by all requests: `web::Data<App>` in a handler.
pub struct App {
    /// The database as `zonecert_api`.
    pub store: Store,
    /// What the operator has set.
    pub settings: ApiSettings,
    /// The keys that wrap the accounts' data keys.
    pub masters: Arc<MasterKeys>,
    /// Where the ownership of zones is looked up. It caches nothing: a record is seen as soon as it is there.
    pub resolver: TokioResolver,
    pub(crate) access_tokens: AccessTokens,
    pub(crate) passwords: Passwords,
}

impl App {
    /// Puts the parts together.
    ///
    /// Errors: a setting that cannot be used; says which and why.
    pub fn new(store: Store, masters: Arc<MasterKeys>, settings: ApiSettings) -> Result<Self, SettingsError> {
        let access_tokens = AccessTokens::new(&settings.token_keys_pem, &settings.public_url)?;
        let resolver = resolver::build(&settings.resolvers)?;
        let passwords = Passwords::new(settings.parallel_password_hashes)?;
        Ok(Self { store, settings, masters, resolver, access_tokens, passwords })
    }
}
