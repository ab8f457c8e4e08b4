//! Failed sign-ins, before anybody knows whose they are: for [`crate::Store::platform`]. Every API process counts here, so that guesses cannot be spread
//! over them.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;
use sha2::{Digest, Sha256};
use zonecert_domain::network::Network;
use zonecert_domain::sign_in::{FORGET_ONE_AFTER, GuessLimit};

use crate::schema::sign_in_failures;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// Whom failures are counted against. What is stored is a hash, which says nothing to somebody who reads the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject([u8; 32]);

impl Subject {
    /// An e-mail address in lower case ([`zonecert_domain::email::Email::folded`]), whether anybody has it or not.
    pub fn email(folded: &str) -> Self {
        Self::hash("email", folded)
    }

    /// A subscriber's network.
    pub fn network(network: Network) -> Self {
        Self::hash("network", &network.to_string())
    }

    fn hash(kind: &str, text: &str) -> Self {
        Self(Sha256::digest(format!("{kind}:{text}")).into())
    }
}

/// How long the next try of any of these has to wait. `None` if it has not.
pub async fn find_wait(conn: &mut Connection, subjects: &[Subject]) -> Result<Option<Duration>, StoreError> {
    #[derive(QueryableByName)]
    struct Wait {
        #[diesel(sql_type = sql_types::Nullable<sql_types::Double>)]
        seconds: Option<f64>,
    }

    let subjects: Vec<&[u8]> = subjects.iter().map(|subject| &subject.0[..]).collect();
    let row: Wait = sql_query(
        "SELECT extract(epoch FROM max(blocked_until) - now())::float8 AS seconds FROM sign_in_failures
         WHERE subject = ANY ($1) AND blocked_until > now()",
    )
    .bind::<sql_types::Array<sql_types::Bytea>, _>(subjects)
    .get_result(conn)
    .await?;
    Ok(row.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

/// Counts a failure and makes the next try wait. Returns the failures that are remembered, this one included. Whoever counts several in a transaction
/// takes the network last: all take its row in the same order then.
pub async fn record_failure(conn: &mut Connection, subject: Subject, limit: GuessLimit) -> Result<u32, StoreError> {
    #[derive(QueryableByName)]
    struct Counted {
        #[diesel(sql_type = sql_types::Integer)]
        failures: i32,
    }

    let counted: Counted = sql_query(
        // A transaction that began later may have been here before: no time has passed then.
        "INSERT INTO sign_in_failures AS known (subject, failures) VALUES ($1, 1)
         ON CONFLICT (subject) DO UPDATE SET last_failed_at = greatest(known.last_failed_at, now()), failures = 1 + least(1000000, greatest(0,
             known.failures - greatest(0, floor(extract(epoch FROM now() - known.last_failed_at) / $2))))::integer
         RETURNING failures",
    )
    .bind::<sql_types::Bytea, _>(&subject.0[..])
    .bind::<sql_types::Double, _>(FORGET_ONE_AFTER.as_secs_f64())
    .get_result(conn)
    .await?;
    let failures =
        u32::try_from(counted.failures).map_err(|_| StoreError::corrupt("sign_in_failures.failures", counted.failures.to_string()))?;
    let wait = limit.wait(failures);
    if wait > Duration::ZERO {
        sql_query("UPDATE sign_in_failures SET blocked_until = now() + make_interval(secs => $2) WHERE subject = $1")
            .bind::<sql_types::Bytea, _>(&subject.0[..])
            .bind::<sql_types::Double, _>(wait.as_secs_f64())
            .execute(conn)
            .await?;
    }
    Ok(failures)
}

/// Forgets the failures of somebody who has signed in.
pub async fn forget(conn: &mut Connection, subject: Subject) -> Result<(), StoreError> {
    diesel::delete(sign_in_failures::table.filter(sign_in_failures::subject.eq(&subject.0[..]))).execute(conn).await?;
    Ok(())
}

/// Deletes up to `batch` rows that have not changed for so long. For the worker's sweeper. Returns how many there were.
pub async fn purge(conn: &mut Connection, after: Duration, batch: i32) -> Result<usize, StoreError> {
    let deleted = sql_query(
        "DELETE FROM sign_in_failures WHERE subject IN (
             SELECT subject FROM sign_in_failures WHERE last_failed_at < now() - make_interval(secs => $1) ORDER BY last_failed_at LIMIT $2)",
    )
    .bind::<sql_types::Double, _>(after.as_secs_f64())
    .bind::<sql_types::Integer, _>(batch)
    .execute(conn)
    .await?;
    Ok(deleted)
}
