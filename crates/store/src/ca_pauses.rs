//! Moments before which nothing is asked of a CA, as it has said itself, or because it did not answer, or since our account's key there is about to change.
//! The platform's, for all tenants together.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;

use crate::schema::ca_pauses;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// The kind of a pause that is about all that a CA does; its subject is empty.
pub const SERVICE: &str = "service";

/// The kind of a pause of a CA that does not answer; its subject is empty.
const OUTAGE: &str = "outage";

/// The kind of a pause in which the key of our account there changes; its subject is empty.
const KEY_CHANGE: &str = "key_change";

/// The last moment at which one of these pauses (kind and subject) ends, of those that are not over. Runs with or without a tenant.
pub async fn find_until(
    conn: &mut Connection,
    directory_url: &str,
    wanted: &[(&str, String)],
) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Nullable<sql_types::Timestamptz>)]
        until: Option<DateTime<Utc>>,
    }

    let (kinds, subjects): (Vec<&str>, Vec<&str>) = wanted.iter().map(|(kind, subject)| (*kind, subject.as_str())).unzip();
    let row: Row = sql_query("SELECT max(until) AS until FROM lookup_ca_pauses($1, $2, $3)")
        .bind::<sql_types::Text, _>(directory_url)
        .bind::<sql_types::Array<sql_types::Text>, _>(kinds)
        .bind::<sql_types::Array<sql_types::Text>, _>(subjects)
        .get_result(conn)
        .await?;
    Ok(row.until)
}

/// Writes down what a CA has said: nothing more of this for so long. A longer pause that is there already stays.
pub async fn record(conn: &mut Connection, directory_url: &str, kind: &str, subject: &str, pause: Duration) -> Result<(), StoreError> {
    sql_query(
        "INSERT INTO ca_pauses (directory_url, kind, subject, until) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
         ON CONFLICT (directory_url, kind, subject) DO UPDATE SET until = greatest(ca_pauses.until, excluded.until)",
    )
    .bind::<sql_types::Text, _>(directory_url)
    .bind::<sql_types::Text, _>(kind)
    .bind::<sql_types::Text, _>(subject)
    .bind::<sql_types::Double, _>(pause.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes pauses that are over; an outage only after a day without an order that has tried the CA. Runs without a tenant.
pub async fn purge(conn: &mut Connection) -> Result<usize, StoreError> {
    let over = "DELETE FROM ca_pauses WHERE until < now() - CASE kind WHEN 'outage' THEN interval '1 day' ELSE interval '0' END";
    Ok(sql_query(over).execute(conn).await?)
}

/// A CA did not answer: no new order goes there for so long, and then one to try it ([`find_outage`]), until [`record_answered`].
pub async fn record_outage(conn: &mut Connection, directory_url: &str, pause: Duration) -> Result<(), StoreError> {
    record(conn, directory_url, OUTAGE, "", pause).await
}

/// A CA has answered: it is not away any more.
pub async fn record_answered(conn: &mut Connection, directory_url: &str) -> Result<(), StoreError> {
    lift(conn, directory_url, OUTAGE).await
}

/// The key of our account there is about to change: for so long, or until [`record_key_changed`], no order gets TXT values, which are made of it.
pub async fn record_key_change(conn: &mut Connection, directory_url: &str, pause: Duration) -> Result<(), StoreError> {
    record(conn, directory_url, KEY_CHANGE, "", pause).await
}

/// The key has changed, or stays as it is.
pub async fn record_key_changed(conn: &mut Connection, directory_url: &str) -> Result<(), StoreError> {
    lift(conn, directory_url, KEY_CHANGE).await
}

/// Whether the key of our account there is about to change. Runs with or without a tenant.
pub async fn is_key_changing(conn: &mut Connection, directory_url: &str) -> Result<bool, StoreError> {
    Ok(find_until(conn, directory_url, &[(KEY_CHANGE, String::new())]).await?.is_some())
}

async fn lift(conn: &mut Connection, directory_url: &str, kind: &str) -> Result<(), StoreError> {
    let pause = ca_pauses::directory_url.eq(directory_url).and(ca_pauses::kind.eq(kind));
    diesel::delete(ca_pauses::table.filter(pause)).execute(conn).await?;
    Ok(())
}

/// When a CA that is known to be away is tried again; none where new orders may go there: it is not away, or the moment has come to try it. Of all that ask then,
/// one is told so, and the others after another `probe`.
pub async fn find_outage(conn: &mut Connection, directory_url: &str, probe: Duration) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(QueryableByName)]
    struct Outage {
        #[diesel(sql_type = sql_types::Timestamptz)]
        until: DateTime<Utc>,
    }

    let outage: Option<Outage> = sql_query(
        "WITH probe AS (
             UPDATE ca_pauses SET until = now() + make_interval(secs => $2) WHERE directory_url = $1 AND kind = 'outage' AND until <= now() RETURNING true
         )
         SELECT CASE WHEN until > now() THEN until ELSE now() + make_interval(secs => $2) END AS until
         FROM ca_pauses WHERE directory_url = $1 AND kind = 'outage' AND NOT EXISTS (SELECT FROM probe)",
    )
    .bind::<sql_types::Text, _>(directory_url)
    .bind::<sql_types::Double, _>(probe.as_secs_f64())
    .get_result(conn)
    .await
    .optional()?;
    Ok(outage.map(|outage| outage.until))
}
