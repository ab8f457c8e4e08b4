//! Zones in `PowerDNS`: what they should hold is counted in generations, and one holder of a lease at a time changes them.
//!
//! Whoever changes what a zone should hold raises its generation in the same transaction ([`request_projection`]). The zone is through with
//! a generation once `PowerDNS` was seen to hold what the rows said then. Every write of the holder checks the fence of its lease and fails with
//! [`StoreError::Stale`] when somebody else has taken it over.
//!
//! The table is the platform's: all but [`request_projection`] runs as the worker's role and without a tenant.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;

use crate::error::changed_one;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// How often what a zone should hold has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub i64);

/// How far a zone in `PowerDNS` is behind what it should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneProjection {
    /// What it should hold.
    pub generation: Generation,
    /// What it was last seen to hold.
    pub projected_generation: Generation,
    /// Whether we mean to have made the zone in `PowerDNS`, rather than found it there.
    pub created_by_us: bool,
    /// Projections in a row that have failed.
    pub failures: u32,
}

impl ZoneProjection {
    /// Whether the zone was seen to hold what it should.
    pub fn is_through(&self, generation: Generation) -> bool {
        self.projected_generation >= generation
    }
}

/// The right to change a zone in `PowerDNS`, until it runs out and somebody else takes it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneLease {
    /// The zone, without trailing dot.
    pub dns_zone: String,
    /// Raised whenever the lease changes hands.
    pub fence: i64,
}

/// Says that what a zone should hold has changed, and sends a job to project it when this transaction commits. Returns the generation that
/// will hold the change. Runs in the transaction of the change, a tenant's or not.
pub async fn request_projection(conn: &mut Connection, dns_zone: &str) -> Result<Generation, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::BigInt)]
        generation: i64,
    }

    let row: Row = sql_query("SELECT request_projection($1) AS generation").bind::<sql_types::Text, _>(dns_zone).get_result(conn).await?;
    Ok(Generation(row.generation))
}

/// Says that what a zone should hold has changed, where the caller is to project it next: no job is sent. Should they not come to it, the sweeper sends one.
pub async fn raise_generation(conn: &mut Connection, dns_zone: &str) -> Result<(), StoreError> {
    sql_query(
        "INSERT INTO zone_projections (dns_zone, generation) VALUES ($1, 1)
         ON CONFLICT (dns_zone) DO UPDATE SET generation = zone_projections.generation + 1, updated_at = now(),
             woken_at = greatest(zone_projections.woken_at, now()), next_wake_at = greatest(zone_projections.next_wake_at, now())",
    )
    .bind::<sql_types::Text, _>(dns_zone)
    .execute(conn)
    .await?;
    Ok(())
}

/// Says that what a zone should hold has changed, where nobody waits for it: one job is sent for all that changes within `delay`. A change that commits only after that job
/// is found by the sweeper.
pub async fn request_projection_within(conn: &mut Connection, dns_zone: &str, delay: Duration) -> Result<(), StoreError> {
    // A job that is to come early in the delay may not see this change any more.
    const TO_COME: &str = "zone_projections.woken_at > now() + make_interval(secs => $2 / 2)";
    sql_query(format!(
        "WITH changed AS (
             INSERT INTO zone_projections (dns_zone, generation, wake_seq, woken_at, next_wake_at)
             VALUES ($1, 1, 1, now() + make_interval(secs => $2), now() + make_interval(secs => $2))
             ON CONFLICT (dns_zone) DO UPDATE SET generation = zone_projections.generation + 1, updated_at = now(),
                 wake_seq = CASE WHEN {TO_COME} THEN zone_projections.wake_seq ELSE zone_projections.wake_seq + 1 END,
                 woken_at = CASE WHEN {TO_COME} THEN zone_projections.woken_at ELSE excluded.woken_at END,
                 next_wake_at = CASE WHEN {TO_COME} THEN zone_projections.next_wake_at ELSE excluded.next_wake_at END
             RETURNING dns_zone, wake_seq, woken_at
         ),
         woken AS (SELECT * FROM changed WHERE woken_at = now() + make_interval(secs => $2)) {ENQUEUE}"
    ))
    .bind::<sql_types::Text, _>(dns_zone)
    .bind::<sql_types::Double, _>(delay.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}

/// Where a zone stands, or `None` when nobody has ever asked for a projection of it.
pub async fn find_projection(conn: &mut Connection, dns_zone: &str) -> Result<Option<ZoneProjection>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::BigInt)]
        generation: i64,
        #[diesel(sql_type = sql_types::BigInt)]
        projected_generation: i64,
        #[diesel(sql_type = sql_types::Bool)]
        created_by_us: bool,
        #[diesel(sql_type = sql_types::Integer)]
        failures: i32,
    }

    let row = sql_query("SELECT generation, projected_generation, created_by_us, failures FROM zone_projections WHERE dns_zone = $1")
        .bind::<sql_types::Text, _>(dns_zone)
        .get_result::<Row>(conn)
        .await
        .optional()?;
    Ok(row.map(|row| ZoneProjection {
        generation: Generation(row.generation),
        projected_generation: Generation(row.projected_generation),
        created_by_us: row.created_by_us,
        failures: row.failures.unsigned_abs(),
    }))
}

/// Takes the lease unless somebody holds it. `owner` says to people who that is.
pub async fn take_lease(conn: &mut Connection, dns_zone: &str, owner: &str, ttl: Duration) -> Result<Option<ZoneLease>, StoreError> {
    Ok(take_lease_from(conn, dns_zone, owner, ttl).await?.map(|(lease, _)| lease))
}

/// The same, and tells from whom it was taken over: whoever did not give it back before it ran out.
pub async fn take_lease_from(
    conn: &mut Connection,
    dns_zone: &str,
    owner: &str,
    ttl: Duration,
) -> Result<Option<(ZoneLease, Option<String>)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::BigInt)]
        fence: i64,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Text>)]
        previous_owner: Option<String>,
    }

    // Not now(): the statement may have waited for the row, and the transaction begun long before.
    let taken = sql_query(
        "UPDATE zone_projections
         SET lease_owner = $2, lease_expires_at = clock_timestamp() + make_interval(secs => $3), fence = fence + 1, updated_at = now()
         FROM (SELECT dns_zone, lease_owner FROM zone_projections
               WHERE dns_zone = $1 AND (lease_expires_at IS NULL OR lease_expires_at <= clock_timestamp())
               FOR NO KEY UPDATE) AS free
         WHERE zone_projections.dns_zone = free.dns_zone
         RETURNING fence, free.lease_owner AS previous_owner",
    )
    .bind::<sql_types::Text, _>(dns_zone)
    .bind::<sql_types::Text, _>(owner)
    .bind::<sql_types::Double, _>(ttl.as_secs_f64())
    .get_result::<Row>(conn)
    .await
    .optional()?;
    Ok(taken.map(|row| (ZoneLease { dns_zone: dns_zone.to_owned(), fence: row.fence }, row.previous_owner)))
}

/// Holds the lease for another `ttl`.
pub async fn renew_lease(conn: &mut Connection, lease: &ZoneLease, ttl: Duration) -> Result<(), StoreError> {
    let renewed = sql_query(
        "UPDATE zone_projections SET lease_expires_at = clock_timestamp() + make_interval(secs => $3) WHERE dns_zone = $1 AND fence = $2",
    )
    .bind::<sql_types::Text, _>(&lease.dns_zone)
    .bind::<sql_types::BigInt, _>(lease.fence)
    .bind::<sql_types::Double, _>(ttl.as_secs_f64())
    .execute(conn)
    .await?;
    changed_one(renewed)
}

/// Gives the lease back, so that nobody has to wait for its end. [`record_failure`] does so too.
pub async fn release_lease(conn: &mut Connection, lease: &ZoneLease) -> Result<(), StoreError> {
    let released = sql_query(
        "UPDATE zone_projections SET lease_owner = NULL, lease_expires_at = NULL, updated_at = now() WHERE dns_zone = $1 AND fence = $2",
    )
    .bind::<sql_types::Text, _>(&lease.dns_zone)
    .bind::<sql_types::BigInt, _>(lease.fence)
    .execute(conn)
    .await?;
    changed_one(released)
}

/// Records whether the zone in `PowerDNS` is one that we are about to make, or one that is somebody else's.
pub async fn record_created_by_us(conn: &mut Connection, lease: &ZoneLease, created_by_us: bool) -> Result<(), StoreError> {
    let recorded = sql_query("UPDATE zone_projections SET created_by_us = $3, updated_at = now() WHERE dns_zone = $1 AND fence = $2")
        .bind::<sql_types::Text, _>(&lease.dns_zone)
        .bind::<sql_types::BigInt, _>(lease.fence)
        .bind::<sql_types::Bool, _>(created_by_us)
        .execute(conn)
        .await?;
    changed_one(recorded)
}

/// Records that the zone was seen to hold what it should hold at `generation`, but for what `PowerDNS` will not have, which is named in `remark`. Returns
/// the generation that it should hold by now.
pub async fn record_projected(
    conn: &mut Connection,
    lease: &ZoneLease,
    generation: Generation,
    remark: Option<&str>,
) -> Result<Generation, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::BigInt)]
        generation: i64,
    }

    let recorded = sql_query(
        "UPDATE zone_projections
         SET projected_generation = greatest(projected_generation, $3), failures = 0, last_error = $4, updated_at = now()
         WHERE dns_zone = $1 AND fence = $2
         RETURNING generation",
    )
    .bind::<sql_types::Text, _>(&lease.dns_zone)
    .bind::<sql_types::BigInt, _>(lease.fence)
    .bind::<sql_types::BigInt, _>(generation.0)
    .bind::<sql_types::Nullable<sql_types::Text>, _>(remark)
    .get_result::<Row>(conn)
    .await
    .optional()?;
    recorded.map(|row| Generation(row.generation)).ok_or(StoreError::Stale)
}

/// Records a projection that failed, gives the lease back, and sends a job for the next one after `delay`. While such a job is still to
/// come, none is added: however many fail in the meantime, one tries again.
pub async fn record_failure(conn: &mut Connection, lease: &ZoneLease, error: &str, delay: Duration) -> Result<(), StoreError> {
    let recorded = sql_query(
        "UPDATE zone_projections
         SET failures = failures + 1, last_error = $3, lease_owner = NULL, lease_expires_at = NULL, updated_at = now()
         WHERE dns_zone = $1 AND fence = $2",
    )
    .bind::<sql_types::Text, _>(&lease.dns_zone)
    .bind::<sql_types::BigInt, _>(lease.fence)
    .bind::<sql_types::Text, _>(error)
    .execute(conn)
    .await?;
    changed_one(recorded)?;
    sql_query(format!(
        "WITH woken AS (
             UPDATE zone_projections
             SET next_wake_at = now() + make_interval(secs => $2), woken_at = now() + make_interval(secs => $2), wake_seq = wake_seq + 1
             WHERE dns_zone = $1 AND woken_at <= now()
             RETURNING dns_zone, wake_seq, woken_at
         ) {ENQUEUE}"
    ))
    .bind::<sql_types::Text, _>(&lease.dns_zone)
    .bind::<sql_types::Double, _>(delay.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}

/// Zones that are behind and due, that nobody works on and whose job has been due for longer than `grace`, at most `limit`.
pub async fn list_forgotten(conn: &mut Connection, grace: Duration, limit: i32) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Forgotten {
        #[diesel(sql_type = sql_types::Text)]
        dns_zone: String,
    }

    let rows: Vec<Forgotten> = sql_query(format!("SELECT dns_zone FROM zone_projections WHERE {FORGOTTEN} ORDER BY next_wake_at LIMIT $2"))
        .bind::<sql_types::Double, _>(grace.as_secs_f64())
        .bind::<sql_types::Integer, _>(limit)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.dns_zone).collect())
}

/// Sends a job for a zone if it still needs one. Any number of sweepers send one between them.
pub async fn wake_forgotten(conn: &mut Connection, dns_zone: &str, grace: Duration) -> Result<bool, StoreError> {
    let woken = sql_query(format!(
        "WITH woken AS (
             UPDATE zone_projections SET next_wake_at = now(), woken_at = now(), wake_seq = wake_seq + 1
             WHERE dns_zone = $2 AND {FORGOTTEN}
             RETURNING dns_zone, wake_seq, woken_at
         ) {ENQUEUE}"
    ))
    .bind::<sql_types::Double, _>(grace.as_secs_f64())
    .bind::<sql_types::Text, _>(dns_zone)
    .execute(conn)
    .await?;
    Ok(woken == 1)
}

/// Of the grace `$1`.
const FORGOTTEN: &str = "projected_generation < generation AND next_wake_at <= now() AND woken_at <= now() - make_interval(secs => $1)
     AND (lease_expires_at IS NULL OR lease_expires_at <= now())";

/// One job for each row of `woken`, in the form that the SQL function `request_projection` gives it. The number was raised in the same statement, so
/// no earlier job swallows it.
const ENQUEUE: &str =
    "SELECT enqueue_job('project', jsonb_build_object('dns_zone', dns_zone), dns_zone || ':' || wake_seq, woken_at) FROM woken";
