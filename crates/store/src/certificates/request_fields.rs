//! What a certificate's requests say beside names and key: fields of the subject, and the CA's profile. Both columns are left to SQL written by hand: a table of
//! diesel's has 32 columns.

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::sql_types;
use diesel::sql_types::{Jsonb, Nullable, Text};
use diesel_async::RunQueryDsl;
use zonecert_domain::csr_subject::CsrSubject;
use zonecert_domain::id::{AccountId, CertificateId};

use crate::statement::sql_query;
use crate::{Connection, StoreError};

/// What [`columns`] answers, for [`read`].
pub(crate) type RequestFieldColumns = (Option<serde_json::Value>, Option<String>);

/// Both columns, in a query of `certificates`.
pub(crate) fn columns() -> (SqlLiteral<Nullable<Jsonb>>, SqlLiteral<Nullable<Text>>) {
    (sql("certificates.csr_subject"), sql("certificates.profile"))
}

pub(crate) fn read((subject, profile): RequestFieldColumns) -> Result<(Option<CsrSubject>, Option<String>), StoreError> {
    let corrupt = |value: &serde_json::Value| StoreError::corrupt("certificates.csr_subject", value.to_string());
    let subject = subject.map(|value| serde_json::from_value(value.clone()).map_err(|_| corrupt(&value))).transpose()?;
    Ok((subject, profile))
}

/// Writes what its requests are to say of their owner.
pub(super) async fn write_subject(
    conn: &mut Connection,
    account: AccountId,
    id: CertificateId,
    subject: Option<&CsrSubject>,
) -> Result<(), StoreError> {
    let fields = subject.map(serde_json::to_value).transpose();
    let fields = fields.map_err(|error| StoreError::corrupt("certificates.csr_subject", error.to_string()))?;
    sql_query("UPDATE certificates SET csr_subject = $3 WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL")
        .bind::<sql_types::Uuid, _>(account.0)
        .bind::<sql_types::Uuid, _>(id.0)
        .bind::<Nullable<Jsonb>, _>(fields)
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes which profile is wished.
pub(super) async fn write_profile(
    conn: &mut Connection,
    account: AccountId,
    id: CertificateId,
    profile: Option<&str>,
) -> Result<(), StoreError> {
    sql_query("UPDATE certificates SET profile = $3 WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL")
        .bind::<sql_types::Uuid, _>(account.0)
        .bind::<sql_types::Uuid, _>(id.0)
        .bind::<Nullable<Text>, _>(profile.map(str::to_owned))
        .execute(conn)
        .await?;
    Ok(())
}
