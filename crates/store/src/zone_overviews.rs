//! Zones as their account sees them: with how many record sets they have, and whether our name servers show what they should.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text};
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use zonecert_domain::id::{AccountId, ZoneId};
use zonecert_domain::zone_name::ZoneName;

use crate::schema::zones;
use crate::zones::{COLUMNS, Columns, Row as ZoneRow, Zone, ZoneMode, ZoneStatus, from_row};
use crate::{Connection, StoreError};

/// A zone, and what is known about it.
#[derive(Clone, Debug)]
pub struct ZoneOverview {
    /// The zone.
    pub zone: Zone,
    /// When control is looked for again.
    pub next_check_at: Option<DateTime<Utc>>,
    /// When control was found to be gone.
    pub lost_at: Option<DateTime<Utc>>,
    /// Record sets that its customer keeps in it.
    pub record_sets: i64,
    /// Whether our name servers show what they should; none where they need not.
    pub projection: Option<Projection>,
}

/// Whether our name servers show what a zone should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projection {
    /// They do.
    Current,
    /// Something has changed, and they soon will.
    Pending,
    /// They do not, or not all of it. It is tried again by itself.
    Failing {
        /// What went wrong last, in words for customers.
        last_error: Option<String>,
    },
}

/// Which zones to list; an empty filter is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this state.
    pub status: Option<ZoneStatus>,
    /// In this mode.
    pub mode: Option<ZoneMode>,
    /// With this in their name; lower case.
    pub text: Option<String>,
}

type Row = (ZoneRow, Option<DateTime<Utc>>, Option<DateTime<Utc>>, i64, Option<serde_json::Value>);

/// The zone, whatever its status; not one that was deleted.
pub async fn get_zone_overview(conn: &mut Connection, account: AccountId, id: ZoneId) -> Result<ZoneOverview, StoreError> {
    overview(query(account).filter(zones::id.eq(id.0)).first::<Row>(conn).await?)
}

/// The zones of an account by name, those behind `after` in that order, at most `limit`.
pub async fn list_zone_overviews(
    conn: &mut Connection,
    account: AccountId,
    filter: &Filter,
    after: Option<&ZoneName>,
    limit: i64,
) -> Result<Vec<ZoneOverview>, StoreError> {
    let mut query = query(account).order(zones::name).limit(limit).into_boxed();
    if let Some(after) = after {
        query = query.filter(zones::name.gt(after.as_str().to_owned()));
    }
    if let Some(status) = filter.status {
        query = query.filter(zones::status.eq(status.as_str()));
    }
    if let Some(mode) = filter.mode {
        query = query.filter(zones::mode.eq(mode.as_str()));
    }
    if let Some(text) = &filter.text {
        query = query.filter(sql::<Bool>("strpos(zones.name, ").bind::<Text, _>(text.clone()).sql(") > 0"));
    }
    query.load::<Row>(conn).await?.into_iter().map(overview).collect()
}

#[diesel::dsl::auto_type]
fn query(account: AccountId) -> _ {
    let account: uuid::Uuid = account.0;
    let record_sets: SqlLiteral<BigInt> =
        sql("(SELECT count(*) FROM zone_records WHERE zone_records.zone_id = zones.id AND zone_records.deleted_at IS NULL)");
    let projection: SqlLiteral<Nullable<Jsonb>> =
        sql("(SELECT to_jsonb(projection) FROM lookup_zone_projection(zones.name) AS projection WHERE zones.status = 'verified')");
    let columns: Columns = COLUMNS;
    zones::table.filter(zones::account_id.eq(account).and(zones::deleted_at.is_null())).select((
        columns,
        zones::next_check_at,
        zones::lost_at,
        record_sets,
        projection,
    ))
}

fn overview((zone, next_check_at, lost_at, record_sets, projection): Row) -> Result<ZoneOverview, StoreError> {
    #[derive(Deserialize)]
    struct Progress {
        generation: i64,
        projected_generation: i64,
        failures: i32,
        last_error: Option<String>,
    }

    let projection = projection.map(serde_json::from_value::<Progress>).transpose();
    let projection = projection.map_err(|error| StoreError::corrupt("zone_projections", error.to_string()))?;
    let projection = projection.map(|progress| {
        let through = progress.projected_generation >= progress.generation;
        match (through, progress.failures, progress.last_error) {
            (true, _, None) => Projection::Current,
            (false, 0, _) => Projection::Pending,
            (_, _, last_error) => Projection::Failing { last_error },
        }
    });
    Ok(ZoneOverview { zone: from_row(zone)?, next_check_at, lost_at, record_sets, projection })
}
