//! `GET /me`: whose credential is this, and what may it do?

use actix_web::{HttpResponse, web};
use serde::Serialize;
use zonecert_domain::scope::ScopeSet;
use zonecert_store::{Connection, StoreError, accounts, api_tokens, users};

use super::answers::{AccountAnswer, UserAnswer};
use crate::app::App;
use crate::auth::caller::{Caller, Identity};
use crate::problem::Problem;
use crate::tokens::TokenAnswer;

#[derive(Serialize)]
struct MeAnswer<'a> {
    account: AccountAnswer<'a>,
    /// Null for a program.
    user: Option<UserAnswer<'a>>,
    /// Null for a person.
    token: Option<TokenAnswer<'a>>,
    scopes: ScopeSet,
}

pub(crate) async fn get(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    let (account, identity) = (caller.account, caller.identity);
    let read = async move |conn: &mut Connection| -> Result<_, StoreError> {
        let (user, token) = match identity {
            Identity::User { id, .. } => (users::find_user(conn, account, id).await?, None),
            Identity::Token { id, .. } => (None, Some(api_tokens::get_api_token(conn, account, id).await?)),
        };
        Ok((accounts::get_account(conn, account).await?, user, token))
    };
    let (account, user, token) = app.store.tenant(account, read).await?;
    Ok(HttpResponse::Ok().json(MeAnswer {
        account: AccountAnswer::from(&account),
        user: user.as_ref().map(UserAnswer::from),
        token: token.as_ref().map(TokenAnswer::from),
        scopes: caller.scopes(),
    }))
}
