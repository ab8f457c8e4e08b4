//! What somebody is given who has signed in: an access token, and a refresh token for the next one.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::SET_COOKIE;
use chrono::{DateTime, Utc};
use utoipa::ToSchema;
use zonecert_store::accounts::Account;
use zonecert_store::issuances::database_now;
use zonecert_store::refresh_tokens::{self, FamilyId, NewRefreshToken, Transport};
use zonecert_store::users::User;
use zonecert_store::{Connection, StoreError};

use crate::app::App;
use crate::auth::access_token::{self, Subject};
use crate::auth::opaque::OpaqueToken;
use crate::auth::{cookie, refresh_token};
use crate::openapi::values;
use crate::people::answers::{AccountAnswer, UserAnswer};
use crate::problem::Problem;

/// Somebody who has signed in, with the refresh token that was stored for them.
pub(crate) struct Session {
    account: Account,
    user: User,
    signed_in_at: DateTime<Utc>,
    refresh_token: OpaqueToken,
    transport: Transport,
}

/// Somebody who has signed in.
#[derive(serde::Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionAnswer<'a> {
    account: AccountAnswer<'a>,
    user: UserAnswer<'a>,
    /// A JWT.
    #[schema(example = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl")]
    access_token: &'a str,
    /// Good for one use. Absent where it travels as a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = "^zcr_[A-Za-z0-9_-]{43}$",
        example = "zcr_3q2-7wAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk")]
    refresh_token: Option<&'a str>,
    #[schema(schema_with = values::bearer)]
    token_type: &'static str,
    /// Seconds that the access token is good for.
    #[schema(minimum = 1, example = 900)]
    expires_in: i64,
}

impl Session {
    /// Stores a refresh token of the family in the transaction of the sign-in, which holds the account's lock: a log-out everywhere then comes clearly
    /// before it or after it.
    pub(crate) async fn open(
        conn: &mut Connection,
        account: Account,
        user: User,
        family: FamilyId,
        transport: Transport,
    ) -> Result<Self, StoreError> {
        let now = database_now(conn).await?;
        // Whatever the clock does: never before the log-out that made it necessary.
        let signed_in_at = user.signed_out_at.map_or(now, |signed_out_at| now.max(signed_out_at));
        let refresh_token = refresh_token::generate();
        let new = NewRefreshToken {
            user: user.id,
            family,
            sha256: &refresh_token.sha256(),
            transport,
            expires_at: now + refresh_token::LIFETIME,
        };
        refresh_tokens::insert_refresh_token(conn, account.id, &new).await?;
        Ok(Self { account, user, signed_in_at, refresh_token, transport })
    }

    /// The answer that hands both tokens over.
    pub(crate) fn answer(&self, app: &App, status: StatusCode) -> Result<HttpResponse, Problem> {
        let subject = Subject { account: self.account.id, user: self.user.id, signed_in_at: self.signed_in_at };
        let access_token = app.access_tokens.sign(subject).map_err(|error| Problem::caused_by(&error))?;
        let mut answer = HttpResponse::build(status);
        let refresh_token = match self.transport {
            Transport::Body => Some(self.refresh_token.reveal()),
            Transport::Cookie => {
                answer.insert_header((SET_COOKIE, cookie::set(&self.refresh_token, &app.settings)));
                None
            }
        };
        Ok(answer.json(SessionAnswer {
            account: AccountAnswer::from(&self.account),
            user: UserAnswer::from(&self.user),
            access_token: &access_token,
            refresh_token,
            token_type: "Bearer",
            expires_in: access_token::LIFETIME.num_seconds(),
        }))
    }
}
