//! The profiles that the CAs offer (draft-ietf-acme-profiles), as the workers read them from the directories. The platform's, for all tenants together.

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::RunQueryDsl;

use crate::issuing::Environment;
use crate::schema::ca_profiles;
use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// A profile that a CA offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Which certificates may have it.
    pub environment: Environment,
    /// The CA's directory.
    pub directory_url: String,
    /// What orders call it.
    pub name: String,
    /// The CA's words about it, or a link to them.
    pub description: String,
}

/// All that are offered, those of production first, by name. Runs with or without a tenant.
pub async fn list_profiles(conn: &mut Connection) -> Result<Vec<Profile>, StoreError> {
    let rows = ca_profiles::table
        .order((ca_profiles::environment, ca_profiles::name, ca_profiles::directory_url))
        .select((ca_profiles::environment, ca_profiles::directory_url, ca_profiles::name, ca_profiles::description))
        .load::<(String, String, String, String)>(conn)
        .await?;
    rows.into_iter()
        .map(|(environment, directory_url, name, description)| {
            let environment =
                Environment::parse(&environment).ok_or_else(|| StoreError::corrupt("ca_profiles.environment", environment))?;
            Ok(Profile { environment, directory_url, name, description })
        })
        .collect()
}

/// Writes down what a directory offers (name and description): that, and nothing else. Runs without a tenant.
pub async fn record_profiles(
    conn: &mut Connection,
    environment: Environment,
    directory_url: &str,
    offered: &[(String, String)],
) -> Result<(), StoreError> {
    let (names, descriptions): (Vec<&str>, Vec<&str>) =
        offered.iter().map(|(name, description)| (name.as_str(), description.as_str())).unzip();
    sql_query("DELETE FROM ca_profiles WHERE environment = $1 AND directory_url = $2 AND name <> ALL ($3)")
        .bind::<sql_types::Text, _>(environment.as_str())
        .bind::<sql_types::Text, _>(directory_url)
        .bind::<sql_types::Array<sql_types::Text>, _>(names.clone())
        .execute(conn)
        .await?;
    sql_query(
        "INSERT INTO ca_profiles (environment, directory_url, name, description)
         SELECT $1, $2, offered.name, offered.description FROM unnest($3, $4) AS offered (name, description) ORDER BY offered.name
         ON CONFLICT (environment, directory_url, name) DO UPDATE SET description = excluded.description
         WHERE ca_profiles.description <> excluded.description",
    )
    .bind::<sql_types::Text, _>(environment.as_str())
    .bind::<sql_types::Text, _>(directory_url)
    .bind::<sql_types::Array<sql_types::Text>, _>(names)
    .bind::<sql_types::Array<sql_types::Text>, _>(descriptions)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what directories offered that are not among these any more. Runs without a tenant.
pub async fn forget_others(conn: &mut Connection, environment: Environment, directory_urls: &[&str]) -> Result<(), StoreError> {
    sql_query("DELETE FROM ca_profiles WHERE environment = $1 AND directory_url <> ALL ($2)")
        .bind::<sql_types::Text, _>(environment.as_str())
        .bind::<sql_types::Array<sql_types::Text>, _>(directory_urls.to_vec())
        .execute(conn)
        .await?;
    Ok(())
}
