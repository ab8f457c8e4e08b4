//! Which CA an order goes to.

use zonecert_domain::failure::{Failure, FailureCode};
use zonecert_store::issuing::Environment;

use crate::acme::AcmeDirectory;

/// The directories that are configured (requirements S3.8).
pub struct Directories {
    /// Trusted by everybody.
    pub production: AcmeDirectory,
    /// For trying things out, where there is one.
    pub staging: Option<AcmeDirectory>,
}

impl Directories {
    /// The directory for new orders of this environment.
    pub(crate) fn for_environment(&self, environment: Environment) -> Result<&AcmeDirectory, Failure> {
        match environment {
            Environment::Production => Ok(&self.production),
            Environment::Staging => {
                self.staging.as_ref().ok_or_else(|| Failure::new(FailureCode::Internal, "no ACME directory is configured for staging"))
            }
        }
    }

    /// The directory at which an order was placed: it is finished there.
    pub(crate) fn by_url(&self, url: &str) -> Result<&AcmeDirectory, Failure> {
        std::iter::once(&self.production)
            .chain(&self.staging)
            .find(|directory| directory.directory_url() == url)
            .ok_or_else(|| Failure::new(FailureCode::OrderLost, "the directory in which the order was placed is not configured any more"))
    }
}
