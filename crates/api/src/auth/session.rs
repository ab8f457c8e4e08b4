//! What somebody is given who has signed in: an access token, and a refresh token for the next one.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use zonecert_store::accounts::Account;
use zonecert_store::refresh_tokens::{self, FamilyId};
use zonecert_store::users::User;
use zonecert_store::{Connection, StoreError};

use crate::app::App;
use crate::auth::access_token::{self, Subject};
use crate::auth::opaque::OpaqueToken;
use crate::auth::refresh_token;
use crate::people::answers::{AccountAnswer, UserAnswer};
use crate::problem::Problem;

/// Somebody who has signed in, with the refresh token that was stored for them.
pub(crate) struct Session {
    account: Account,
    user: User,
    refresh_token: OpaqueToken,
}

#[derive(serde::Serialize)]
struct SessionAnswer<'a> {
    account: AccountAnswer<'a>,
    user: UserAnswer<'a>,
    access_token: &'a str,
    refresh_token: &'a str,
    token_type: &'static str,
    /// Seconds that the access token is good for.
    expires_in: i64,
}

impl Session {
    /// Stores a refresh token of the family in the transaction of the sign-in.
    pub(crate) async fn open(
        conn: &mut Connection,
        account: Account,
        user: User,
        family: FamilyId,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let refresh_token = refresh_token::generate();
        let expires_at = now + refresh_token::LIFETIME;
        refresh_tokens::insert_refresh_token(conn, account.id, user.id, family, &refresh_token.sha256(), expires_at).await?;
        Ok(Self { account, user, refresh_token })
    }

    /// The answer that hands both tokens over.
    pub(crate) fn answer(&self, app: &App, status: StatusCode, now: DateTime<Utc>) -> Result<HttpResponse, Problem> {
        let subject = Subject { account: self.account.id, user: self.user.id };
        let access_token = app.access_tokens.sign(subject, now).map_err(|error| Problem::caused_by(&error))?;
        Ok(HttpResponse::build(status).json(SessionAnswer {
            account: AccountAnswer::from(&self.account),
            user: UserAnswer::from(&self.user),
            access_token: &access_token,
            refresh_token: self.refresh_token.reveal(),
            token_type: "Bearer",
            expires_in: access_token::LIFETIME.num_seconds(),
        }))
    }
}
