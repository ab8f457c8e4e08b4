//! Changes an ACME account.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use zonecert_domain::id::AcmeAccountId;
use zonecert_domain::plan;
use zonecert_domain::scope::Scope;
use zonecert_store::own_acme_accounts::{self, OwnAcmeAccount, OwnAcmeAccountChange};
use zonecert_store::{Connection, StoreError};

use super::view::AcmeAccountView;
use crate::app::App;
use crate::audit;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::openapi::values;
use crate::problem::Problem;
use crate::request::{Body, Id, given};

/// What is absent stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AcmeAccountChange)]
pub(super) struct ChangeBody {
    /// What you call it: free text of one line.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 100, example = "Our account at Let's Encrypt")]
    name: Option<String>,
    /// All e-mail addresses that the CA may write to. It is told of them by a worker; one that has failed is registered once more with them.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<String>, required = false, max_items = 5, example = json!(["certificates@your-domain.com"]))]
    contact: Option<Vec<String>>,
}

impl ChangeBody {
    fn check(&self) -> Result<OwnAcmeAccountChange, Problem> {
        let mut faults = Faults::default();
        let name = faults.check(self.name.as_deref().map(super::name).transpose());
        let contact = match self.contact.as_deref() {
            Some(contact) => super::contact(&mut faults, contact).map(Some),
            None => Some(None),
        };
        faults.finish(name.zip(contact).map(|(name, contact)| OwnAcmeAccountChange { name, contact }))
    }
}

/// Change an ACME account
///
/// Needs a paid plan as well.
#[utoipa::path(
    patch, path = "/api/v1/acme-accounts/{id}", tag = "acme-accounts", operation_id = "changeAcmeAccount",
    params(("id" = inline(values::AcmeAccountId), Path)),
    request_body(content = ChangeBody, example = json!({"contact": ["certificates@your-domain.com"]})),
    responses(
        (status = 200, description = "The ACME account.", body = AcmeAccountView),
        (status = 400, description = "`too_many_contacts` at /contact: Give at most 5 addresses\n{email}\n{line}"),
        (status = 403, description = "`paid_plan_required`: Certificate management requires paid subscription"),
    ),
)]
pub(super) async fn change(
    app: web::Data<App>,
    caller: Caller,
    id: Id<AcmeAccountId>,
    body: Body<ChangeBody>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::AccountAdmin)?;
    plan::check_paid(caller.plan)?;
    let (id, change) = (id.read()?, body.read()?.check()?);
    let body = async |conn: &mut Connection| -> Result<OwnAcmeAccount, StoreError> {
        let changed = own_acme_accounts::change(conn, caller.account, id, &change).await?;
        let details = json!({ "name": change.name, "contact": change.contact });
        audit::record(conn, &caller, "acme_account.changed", &id.to_string(), details).await?;
        Ok(changed)
    };
    let changed = app.store.tenant_write(caller.account, body).await?;
    Ok(HttpResponse::Ok().json(AcmeAccountView::from(&changed)))
}
