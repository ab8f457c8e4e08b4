//! What another certificate of the account has already.

use zonecert_store::StoreError;
use zonecert_store::certificates::{DOMAIN_KEY, NAME_KEY};

use crate::problem::Problem;

/// The problem for an error of a write: requirements section 1 fixes the text for a domain that is held. `name` is what the certificate was to be called.
pub(super) fn problem(error: StoreError, name: Option<&str>) -> Problem {
    if error.is_constraint(DOMAIN_KEY) {
        return Problem::conflict("certificate_exists", "Certificate already exists for domain");
    }
    if error.is_constraint(NAME_KEY) {
        let detail = format!("The account has a certificate with the name {} already; give another", name.unwrap_or_default());
        return Problem::conflict("certificate_name_taken", detail);
    }
    error.into()
}
