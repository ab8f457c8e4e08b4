//! What becomes of a statement that should perhaps be refused.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran, and touched or counted so many rows.
    Rows(i64),
    /// The role has no grant for it.
    NoGrant,
    /// A policy of row-level security forbids the row.
    Policy,
    /// A constraint forbids it.
    Constraint(String),
    /// Anything else.
    Refused(SqlState),
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        let error = error.as_db_error().unwrap_or_else(|| panic!("not an answer of the server: {error:?}"));
        match (error.code(), error.constraint()) {
            (&SqlState::INSUFFICIENT_PRIVILEGE, _) if error.message().contains("row-level security") => Self::Policy,
            (&SqlState::INSUFFICIENT_PRIVILEGE, _) => Self::NoGrant,
            (_, Some(constraint)) => Self::Constraint(constraint.to_owned()),
            (code, None) => Self::Refused(code.clone()),
        }
    }
}

/// Runs a statement; how many rows did it touch?
pub(crate) async fn attempt(client: &Client, statement: &str) -> Outcome {
    match client.execute(statement, &[]).await {
        Ok(rows) => Outcome::Rows(i64::try_from(rows).unwrap()),
        Err(error) => error.into(),
    }
}

/// Asks for a number.
pub(crate) async fn count(client: &Client, query: &str) -> Outcome {
    match client.query_one(query, &[]).await {
        Ok(row) => Outcome::Rows(row.get(0)),
        Err(error) => error.into(),
    }
}
