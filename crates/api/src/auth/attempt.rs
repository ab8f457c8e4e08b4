//! Slows down guessing at passwords and at tokens that come by mail: per address, and per person where one is guessed at. Counted in the database, so that
//! guesses cannot be spread over processes.
//!
//! [`Attempt::begin`] before anything is looked up. Then [`Attempt::check_password`], which counts what comes of it; or [`Attempt::found`], which
//! counts a token that is nobody's.

use std::net::IpAddr;
use std::time::Duration;

use zonecert_domain::network::Network;
use zonecert_store::sign_in_failures::{self, Subject};
use zonecert_store::users::PasswordHash;
use zonecert_store::{Connection, StoreError};

use crate::app::App;
use crate::auth::password::Secret;
use crate::problem::Problem;

/// Somebody tries to sign in, to prove once more who they are, or to use a token that came by mail.
pub(crate) struct Attempt<'a> {
    app: &'a App,
    network: Subject,
    email: Option<Subject>,
}

/// What a password was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// That of this person.
    Right,
    /// Another.
    Wrong {
        /// How many failures are remembered of the e-mail address, this one included.
        failures: u32,
    },
}

impl<'a> Attempt<'a> {
    /// 429 where so many have failed of late that the next has to wait. `email` is in lower case. Answers the same whether anybody has it or not.
    pub(crate) async fn begin(app: &'a App, address: IpAddr, email: Option<&str>) -> Result<Self, Problem> {
        let network = Subject::network(Network::of_subscriber(address));
        let attempt = Self { app, network, email: email.map(Subject::email) };
        attempt.check().await?;
        Ok(attempt)
    }

    /// Whether the password is that of `stored`. Takes as long when there is none, and says no. A failure is counted before the next password is hashed,
    /// so that many guesses at once get no further than one after the other. Failures of the network are forgotten with time alone: whoever
    /// guesses may have an account of their own.
    pub(crate) async fn check_password(&self, password: Secret, stored: Option<PasswordHash>) -> Result<Verdict, Problem> {
        let turn = self.app.passwords.turn().await?;
        // While others had their turn, they may have failed.
        self.check().await?;
        if !self.app.passwords.verify(&turn, password, stored).await? {
            return Ok(Verdict::Wrong { failures: self.failed().await? });
        }
        if let Some(email) = self.email {
            self.app.store.autocommit(async |conn| sign_in_failures::forget(conn, email).await).await?;
        }
        Ok(Verdict::Right)
    }

    /// What a token has led to. Where that is nothing, a failure is counted, and the token refused.
    pub(crate) async fn found<T>(&self, found: Option<T>, refusal: fn() -> Problem) -> Result<T, Problem> {
        let Some(found) = found else {
            self.failed().await?;
            return Err(refusal());
        };
        Ok(found)
    }

    /// Counts a failure. Returns how many are remembered of the e-mail address, this one included; 0 where there is none.
    async fn failed(&self) -> Result<u32, Problem> {
        let (email, network, limits) = (self.email, self.network, self.app.settings.traffic.sign_in_limits);
        let count = async move |conn: &mut Connection| -> Result<u32, StoreError> {
            let failures = match email {
                Some(email) => sign_in_failures::record_failure(conn, email, limits.email).await?,
                None => 0,
            };
            sign_in_failures::record_failure(conn, network, limits.address).await?;
            Ok(failures)
        };
        Ok(self.app.store.platform(count).await?)
    }

    async fn check(&self) -> Result<(), Problem> {
        let subjects: Vec<Subject> = self.email.into_iter().chain([self.network]).collect();
        match self.app.store.autocommit(async |conn| sign_in_failures::find_wait(conn, &subjects).await).await? {
            None => Ok(()),
            Some(wait) => Err(too_many(wait)),
        }
    }
}

fn too_many(wait: Duration) -> Problem {
    let detail = "Too many sign-ins have failed; wait as long as Retry-After says, and reset the password if it is forgotten";
    Problem::too_many_requests("too_many_sign_ins", detail, wait)
}
