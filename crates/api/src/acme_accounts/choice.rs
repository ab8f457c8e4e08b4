//! The ACME account that a customer wants for a certificate.

use zonecert_domain::acme_account::AcmeAccountStatus;
use zonecert_domain::id::{AccountId, AcmeAccountId};
use zonecert_store::{Connection, StoreError, own_acme_accounts};

use crate::problem::Problem;

/// None where the text is no identifier of an ACME account: then there is no such account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcmeAccountChoice(Option<AcmeAccountId>);

impl AcmeAccountChoice {
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.parse().ok())
    }

    /// The account, with which something can be ordered. In a transaction to write, so that it is not deleted meanwhile.
    pub(crate) async fn get(self, conn: &mut Connection, account: AccountId) -> Result<AcmeAccountId, Problem> {
        let not_found = || Problem::absent("acme_account_not_found", "ACME account not found or no permission");
        let Some(id) = self.0 else { return Err(not_found()) };
        let found = own_acme_accounts::get(conn, account, id).await.map_err(|error| match error {
            StoreError::NotFound => not_found(),
            other => other.into(),
        })?;
        if found.status == AcmeAccountStatus::Valid {
            return Ok(id);
        }
        let (status, path) = (found.status.as_str(), format!("/api/v1/acme-accounts/{id}"));
        let detail = format!("The ACME account is {status}; see GET {path} for why, and use it once it is valid");
        Err(Problem::conflict("acme_account_not_valid", detail))
    }
}
