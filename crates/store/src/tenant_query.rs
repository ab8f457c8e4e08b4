//! A tenant's read in one statement, and so in one round trip.
//!
//! Row-level security looks at the setting `zonecert.account`, which a transaction has to set first: three round trips for one question. A
//! [`TenantQuery`] sets it in the statement itself, which is a transaction of its own, so that the setting ends with it.

use std::sync::OnceLock;

use diesel::pg::{Pg, PgQueryBuilder};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryBuilder as _, QueryFragment, QueryId};
use diesel::sql_types;
use zonecert_domain::id::AccountId;

/// A query within its tenant.
///
/// What reads the rows is a lateral subquery that depends on what has set the account (`tenant.account`) and that cannot be pulled up
/// (`OFFSET 0`), so that PostgreSQL evaluates it afterwards, whatever it plans. Were that ever wrong, the policies would show no row, never another tenant's.
#[derive(Clone, Debug, QueryId)]
pub(crate) struct TenantQuery<T, Q> {
    tenant: T,
    query: Q,
}

/// The tenant is known.
#[derive(Clone, Debug, QueryId)]
pub(crate) struct Known(String);

/// The tenant is that of the API token with this SHA-256, usable or not. Without one there are no rows.
#[derive(Clone, Debug, QueryId)]
pub(crate) struct OfApiToken([u8; 32]);

/// The tenant is that of the API key with this SHA-256, valid or not. Without one there are no rows.
#[derive(Clone, Debug, QueryId)]
pub(crate) struct OfApiKey([u8; 32]);

impl<Q> TenantQuery<Known, Q> {
    pub(crate) fn new(account: AccountId, query: Q) -> Self {
        Self { tenant: Known(account.0.to_string()), query }
    }
}

impl<Q> TenantQuery<OfApiToken, Q> {
    pub(crate) fn of_api_token(sha256: [u8; 32], query: Q) -> Self {
        Self { tenant: OfApiToken(sha256), query }
    }
}

impl<Q> TenantQuery<OfApiKey, Q> {
    pub(crate) fn of_api_key(sha256: [u8; 32], query: Q) -> Self {
        Self { tenant: OfApiKey(sha256), query }
    }
}

/// What [`Store::ask`](crate::Store::ask) sends: nothing but queries within a tenant.
pub(crate) trait Question {}

impl<T, Q> Question for TenantQuery<T, Q> {}
impl<Q: Question> Question for Worded<Q> {}

/// A question that is always written in the same words. Diesel writes the text of a query anew at each use, which for a long one takes as long as all else that is done about it here.
#[derive(Clone, Debug)]
pub(crate) struct Worded<Q> {
    question: Q,
    text: &'static OnceLock<String>,
}

impl<T, Q> TenantQuery<T, Q> {
    /// `text` keeps the words, and is of this question alone, whose text depends on no value.
    pub(crate) fn worded(self, text: &'static OnceLock<String>) -> Worded<Self> {
        Worded { question: self, text }
    }
}

impl<Q: Query> Query for Worded<Q> {
    type SqlType = Q::SqlType;
}

/// It is known by its text.
impl<Q> QueryId for Worded<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Worded<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.question.walk_ast(out)
    }

    fn to_sql(&self, out: &mut PgQueryBuilder, backend: &Pg) -> QueryResult<()> {
        if self.text.get().is_none() {
            let mut builder = PgQueryBuilder::new();
            self.question.to_sql(&mut builder, backend)?;
            // Whoever was faster has written the same.
            let _ = self.text.set(builder.finish());
        }
        out.push_sql(self.text.get().map_or("", String::as_str));
        Ok(())
    }

    fn is_safe_to_cache_prepared(&self, backend: &Pg) -> QueryResult<bool> {
        self.question.is_safe_to_cache_prepared(backend)
    }
}

impl<T, Q: Query> Query for TenantQuery<T, Q> {
    type SqlType = Q::SqlType;
}

impl<T: QueryFragment<Pg>, Q: QueryFragment<Pg>> QueryFragment<Pg> for TenantQuery<T, Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT answer.* FROM (SELECT set_config('zonecert.account', ");
        self.tenant.walk_ast(out.reborrow())?;
        out.push_sql(") AS tenant, LATERAL (SELECT question.* FROM (");
        self.query.walk_ast(out.reborrow())?;
        out.push_sql(") AS question WHERE tenant.account IS NOT NULL OFFSET 0) AS answer");
        Ok(())
    }

    /// It is, also where diesel cannot know, because a piece of SQL was written by hand: questions are few, and values never stand in their text.
    /// Planned anew each time, a question takes PostgreSQL many times as long as its answer.
    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl QueryFragment<Pg> for Known {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param::<sql_types::Text, _>(&self.0)?;
        out.push_sql(", true) AS account");
        Ok(())
    }
}

impl QueryFragment<Pg> for OfApiToken {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("found.account_id::text, true) AS account FROM lookup_api_token(");
        out.push_bind_param::<sql_types::Binary, _>(&self.0)?;
        out.push_sql(") AS found");
        Ok(())
    }
}

impl QueryFragment<Pg> for OfApiKey {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("found.account_id::text, true) AS account FROM lookup_api_key(");
        out.push_bind_param::<sql_types::Binary, _>(&self.0)?;
        out.push_sql(") AS found");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use diesel::dsl::sql;

    use super::*;
    use crate::schema::certificates;

    #[test]
    fn a_question_is_prepared_once_whatever_it_is_written_in() {
        let by_hand = certificates::table.select(sql::<sql_types::Bool>("true"));
        let knows = <_ as QueryFragment<Pg>>::is_safe_to_cache_prepared(&by_hand, &Pg).unwrap();
        assert!(!knows, "diesel has become wiser, and need not be told any more");
        assert!(TenantQuery::new(AccountId::new(), by_hand).is_safe_to_cache_prepared(&Pg).unwrap());
    }

    #[test]
    fn a_question_that_is_worded_once_has_the_text_and_the_values_that_it_has_otherwise() {
        static TEXT: OnceLock<String> = OnceLock::new();
        let question = |account: AccountId| {
            let names = certificates::table.filter(certificates::id.eq(account.0)).select(certificates::name);
            TenantQuery::new(account, names)
        };
        for account in [AccountId::new(), AccountId::new()] {
            let plain = diesel::debug_query::<Pg, _>(&question(account)).to_string();
            assert_eq!(diesel::debug_query::<Pg, _>(&question(account).worded(&TEXT)).to_string(), plain);
            let text = plain.split(" -- binds: ").next().unwrap();
            assert_eq!(TEXT.get().map(String::as_str), Some(text));
        }
    }

    #[test]
    fn values_are_bound_and_never_part_of_the_text() {
        let account = AccountId::new();
        let question = || certificates::table.filter(certificates::id.eq(account.0)).select(certificates::name);
        let known = diesel::debug_query::<Pg, _>(&TenantQuery::new(account, question())).to_string();
        let of_token = diesel::debug_query::<Pg, _>(&TenantQuery::of_api_token([7; 32], question())).to_string();
        let of_key = diesel::debug_query::<Pg, _>(&TenantQuery::of_api_key([7; 32], question())).to_string();
        for sql in [known, of_token, of_key] {
            let statement = sql.split(" -- binds: ").next().unwrap();
            assert!(statement.contains("$1") && statement.contains("$2") && !statement.contains(&account.0.to_string()), "{sql}");
        }
    }
}
