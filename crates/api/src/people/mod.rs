//! Accounts and the people in them.

pub(crate) mod answers;
pub(crate) mod me;
pub(crate) mod sign_in;

use zonecert_domain::email::Email;
use zonecert_domain::id::AccountId;
use zonecert_domain::plan::Plan;
use zonecert_pki::MasterKeys;
use zonecert_store::accounts::{self, Account};
use zonecert_store::users::{self, PasswordHash, Role, User};
use zonecert_store::{Connection, Store, StoreError, audit_log, data_keys};

use crate::auth::password::{HashingError, Password};
use crate::problem::{FieldError, Problem};
use crate::text;

/// Most characters of an account's name.
const MAX_NAME_CHARACTERS: usize = 200;

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
    accounts::insert_account(conn, id, &new.name.0, new.plan).await?;
    data_keys::insert_data_key(conn, masters, id).await?;
    let user = users::insert_user(conn, id, &new.email, hash, Role::Owner)
        .await
        .map_err(|error| if error.is_constraint(users::EMAIL_KEY) { CreateAccountError::EmailTaken } else { error.into() })?;
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
