//! What can go wrong between us and PostgreSQL.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// An error of the database, sorted by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The row is not there, or belongs to another tenant, which is the same.
    #[error("no such row")]
    NotFound,
    /// The row is there, but somebody else has moved it on since it was read: a lease was lost, a state has changed.
    #[error("the row has moved on since it was read")]
    Stale,
    /// A rule of the schema forbids it. Names the constraint.
    #[error("the constraint {0} forbids it")]
    Constraint(String),
    /// No connection could be had: the database is down, or the pool is used up.
    #[error("no database connection: {0}")]
    Unavailable(String),
    /// A value in the database cannot be read as what it should be. Says where.
    #[error("the value {value:?} in {column} cannot be read")]
    Corrupt {
        /// Table and column.
        column: &'static str,
        /// What stands there.
        value: String,
    },
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] zonecert_pki::seal::SealError),
    /// Anything else that the database says.
    #[error("database error: {0}")]
    Database(#[source] DieselError),
}

impl StoreError {
    /// Whether it is this constraint that forbids it.
    pub fn is_constraint(&self, name: &str) -> bool {
        matches!(self, Self::Constraint(constraint) if constraint == name)
    }

    /// Reads a value that our own code has written.
    pub fn corrupt(column: &'static str, value: impl Into<String>) -> Self {
        Self::Corrupt { column, value: value.into() }
    }
}

/// Of a change of one row: errors with [`StoreError::Stale`] when it was not there to change.
pub(crate) fn changed_one(rows: usize) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(StoreError::Stale) }
}

/// How the server says that it goes down or is not up yet (SQLSTATE class 57P, which diesel does not hand on).
const SHUTTING_DOWN: [&str; 2] = ["terminating connection", "the database system is"];

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::NotFound,
            DieselError::DatabaseError(
                DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::ForeignKeyViolation | DatabaseErrorKind::CheckViolation,
                ref info,
            ) if info.constraint_name().is_some() => Self::Constraint(info.constraint_name().unwrap_or_default().to_owned()),
            DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand, info) => {
                Self::Unavailable(info.message().to_owned())
            }
            DieselError::DatabaseError(_, ref info) if SHUTTING_DOWN.iter().any(|text| info.message().starts_with(text)) => {
                Self::Unavailable(info.message().to_owned())
            }
            DieselError::BrokenTransactionManager => Self::Unavailable("the connection was lost in a transaction".to_owned()),
            other => Self::Database(other),
        }
    }
}
