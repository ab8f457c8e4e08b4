//! SQL that is written by hand, prepared once for each connection.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, BoxedSqlQuery, Query, QueryFragment, QueryId, SqlQuery};
use diesel::serialize::ToSql;
use diesel::sql_types::{self, HasSqlType, Untyped};
use diesel_async::RunQueryDsl;
use uuid::Uuid;
use zonecert_domain::id::AccountId;

use crate::{Connection, StoreError};

/// A statement of [`sql_query`].
pub(crate) struct Statement<'a>(BoxedSqlQuery<'a, Pg, SqlQuery>);

/// Like [`diesel::sql_query`], which prepares its statement at each use anew, in two more round trips. A connection keeps what it has prepared: the texts are to be few, and values are bound.
pub(crate) fn sql_query<'a>(sql: impl Into<String>) -> Statement<'a> {
    Statement(diesel::sql_query(sql).into_boxed())
}

impl<'a> Statement<'a> {
    /// Binds the next of `$1`, `$2`, …
    pub(crate) fn bind<ST, Value>(self, value: Value) -> Self
    where
        Pg: HasSqlType<ST>,
        Value: ToSql<ST, Pg> + Send + 'a,
        ST: Send + 'a,
    {
        Self(self.0.bind::<ST, Value>(value))
    }
}

impl Statement<'_> {
    /// The rows of a statement that answers with whose something is and which it is: `account_id` and `id`.
    pub(crate) async fn load_ids<I>(self, conn: &mut Connection, id: fn(Uuid) -> I) -> Result<Vec<(AccountId, I)>, StoreError> {
        #[derive(QueryableByName)]
        struct Ids {
            #[diesel(sql_type = sql_types::Uuid)]
            account_id: Uuid,
            #[diesel(sql_type = sql_types::Uuid)]
            id: Uuid,
        }

        let rows: Vec<Ids> = self.load(conn).await?;
        Ok(rows.into_iter().map(|row| (AccountId(row.account_id), id(row.id))).collect())
    }
}

/// A query of diesel's builder that is prepared once for each connection. By itself diesel prepares every UPDATE, and all that holds a piece of SQL written by hand, anew at
/// each use: two more round trips, and a plan that is thrown away.
pub(crate) struct Prepared<Q>(Q);

pub(crate) trait PreparedDsl: Sized {
    /// The texts are to be few, and values are bound.
    fn prepared(self) -> Prepared<Self> {
        Prepared(self)
    }
}

impl<Q> PreparedDsl for Q {}

impl<Q: Query> Query for Prepared<Q> {
    type SqlType = Q::SqlType;
}

/// One is known by its text.
impl<Q> QueryId for Prepared<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Prepared<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl Query for Statement<'_> {
    type SqlType = Untyped;
}

/// One is known by its text.
impl QueryId for Statement<'_> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Statement<'_> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}
