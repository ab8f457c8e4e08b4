//! Accounts and the people in them.

mod accept;
pub(crate) mod answers;
mod invitations;
mod me;
mod password;
mod reset;
mod sign_in;
mod stay;
mod templates;
mod users;
mod verification;

use zonecert_domain::email::Email;
use zonecert_domain::id::AccountId;
use zonecert_domain::plan::Plan;
use zonecert_domain::scope::Scope;
use zonecert_pki::MasterKeys;
use zonecert_store::accounts::{self, Account};
use zonecert_store::users::{EMAIL_KEY, NewUser, PasswordHash, Role, User, insert_user};
use zonecert_store::{Connection, Store, StoreError, audit_log, data_keys};

use crate::auth::password::{HashingError, Password, Secret};
use crate::problem::{FieldError, NOT_FOUND, Problem};
use crate::route::{Access, Route};
use crate::text;

/// Most characters of an account's name.
const MAX_NAME_CHARACTERS: usize = 200;

/// Most characters of a person's name.
const MAX_PERSON_NAME_CHARACTERS: usize = 100;

/// Signing in, oneself, each other.
pub(crate) fn routes() -> Vec<Route> {
    let administers = Access::Scopes(&[Scope::AccountAdmin]);
    vec![
        Route::new(sign_in::__path_register, sign_in::register, Access::Open),
        Route::new(sign_in::__path_login, sign_in::login, Access::Open),
        Route::new(stay::__path_refresh, stay::refresh, Access::RefreshToken),
        Route::new(stay::__path_logout, stay::logout, Access::RefreshToken),
        Route::new(stay::__path_logout_everywhere, stay::logout_everywhere, Access::Person),
        Route::new(verification::__path_verify, verification::verify, Access::Open),
        Route::new(reset::__path_forgot, reset::forgot, Access::Open),
        Route::new(reset::__path_reset, reset::reset, Access::Open),
        Route::new(accept::__path_accept, accept::accept, Access::Open),
        Route::new(me::__path_get, me::get, Access::Account),
        Route::new(me::__path_change, me::change, Access::Person),
        Route::new(password::__path_change, password::change, Access::Person),
        Route::new(verification::__path_send_again, verification::send_again, Access::Person),
        Route::new(users::__path_list, users::list, administers),
        Route::new(users::__path_get, users::get, administers),
        Route::new(users::__path_change, users::change, administers),
        Route::new(users::__path_delete, users::delete, administers),
        Route::new(invitations::__path_list, invitations::list, administers),
        Route::new(invitations::__path_create, invitations::create, administers),
        Route::new(invitations::__path_get, invitations::get, administers),
        Route::new(invitations::__path_delete, invitations::delete, administers),
        Route::new(invitations::__path_resend, invitations::resend, administers),
    ]
}

/// A new tenant and its first person, who owns it.
pub struct NewAccount {
    /// With which the owner signs in.
    pub email: Email,
    /// The owner's.
    pub password: Password,
    /// What the tenant calls itself.
    pub name: AccountName,
    /// What it pays for.
    pub plan: Plan,
}

/// What a tenant calls itself: a line of 1 to 200 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountName(String);

impl AccountName {
    /// Reads what a person typed. The error says what is wrong, for the field `account_name`.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        text::line("/account_name", text, MAX_NAME_CHARACTERS).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why an account could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateAccountError {
    /// Somebody signs in with this address.
    #[error("somebody signs in with this e-mail address already; use another, or sign in")]
    EmailTaken,
    /// The password could not be hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The database refused or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CreateAccountError> for Problem {
    fn from(error: CreateAccountError) -> Self {
        match error {
            CreateAccountError::EmailTaken => {
                let field =
                    FieldError::new("/email", "email_taken", "Somebody signs in with this address already; sign in, or use another");
                Self::conflict("email_taken", field.detail.clone()).with_errors(vec![field])
            }
            CreateAccountError::Hashing(error) => Self::caused_by(&error),
            CreateAccountError::Store(error) => error.into(),
        }
    }
}

/// Makes an account with its data key and its owner: all of it or nothing. For the operator; `actor` is whom the audit log names.
pub async fn create_account(
    store: &Store,
    masters: &MasterKeys,
    new: NewAccount,
    actor: &str,
) -> Result<(Account, User), CreateAccountError> {
    let hash = new.password.hash().await?;
    let id = AccountId::new();
    store.tenant(id, async |conn| insert(conn, masters, id, &new, &hash, Author { actor: Some(actor), request_id: None }).await).await
}

/// Who makes an account: the operator, or its owner by registering.
#[derive(Clone, Copy)]
struct Author<'a> {
    actor: Option<&'a str>,
    request_id: Option<&'a str>,
}

/// In the transaction of the new account.
async fn insert(
    conn: &mut Connection,
    masters: &MasterKeys,
    id: AccountId,
    new: &NewAccount,
    hash: &PasswordHash,
    author: Author<'_>,
) -> Result<(Account, User), CreateAccountError> {
    accounts::insert_account(conn, id, &new.name.0).await?;
    if new.plan != Plan::default() {
        accounts::set_plan(conn, id, new.plan).await?;
    }
    data_keys::insert_data_key(conn, masters, id).await?;
    let owner = NewUser { email: &new.email, password: hash, role: Role::Owner, name: None, email_verified_at: None };
    let user = insert_user(conn, id, &owner)
        .await
        .map_err(|error| if error.is_constraint(EMAIL_KEY) { CreateAccountError::EmailTaken } else { error.into() })?;
    let (owner, subject) = (user.id.to_string(), id.to_string());
    let entry = audit_log::Entry {
        actor: author.actor.unwrap_or(&owner),
        action: "account.created",
        subject: Some(&subject),
        request_id: author.request_id,
        details: serde_json::json!({ "plan": new.plan }),
    };
    audit_log::insert_entry(conn, id, &entry).await?;
    Ok((accounts::get_account(conn, id).await?, user))
}

/// Reads the field `email` of a body.
fn read_email(text: &str) -> Result<Email, FieldError> {
    Email::parse(text).map_err(|error| FieldError::new("/email", error.code(), error.detail()))
}

/// Reads a new password of a body. `pointer` says where it stands.
fn read_password(pointer: &str, secret: Secret) -> Result<Password, FieldError> {
    Password::parse(secret).map_err(|error| FieldError::new(pointer, error.code(), error.to_string()))
}

/// Reads the name of a person.
fn read_person_name(text: &str) -> Result<String, FieldError> {
    text::line("/name", text, MAX_PERSON_NAME_CHARACTERS)
}

/// The token of a link is no good, whatever the reason: it is for whoever holds it to ask for another.
fn link_refused() -> FieldError {
    FieldError::new("/token", "token_invalid", "The link is unknown, used, replaced or expired; ask for another")
}

/// The same as a whole answer.
fn refuse_link() -> Problem {
    Problem::invalid(vec![link_refused()])
}

/// What following a link has led to. Where the account went away meanwhile, the link is as good as any other that is void.
fn unless_gone<T>(outcome: Result<T, Problem>) -> Result<T, Problem> {
    outcome.map_err(|problem| if problem.code() == NOT_FOUND { refuse_link() } else { problem })
}
