//! `GET /certificates` (requirements S3.30).

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use zonecert_domain::certificate::CertificateStatus;
use zonecert_domain::scope::Scope;
use zonecert_store::certificates::{self, Filter, Position};
use zonecert_store::{Connection, StoreError, accounts};

use super::view::CertificateView;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::faults::Faults;
use crate::limits::LimitsView;
use crate::paging::{Cursor, Limit};
use crate::problem::{FieldError, Problem};
use crate::request::Query;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    cursor: Option<String>,
    limit: Option<String>,
    status: Option<String>,
    zone_id: Option<String>,
    name: Option<String>,
}

/// Which certificates, and which page of them.
struct Wanted {
    /// None where no certificate can match: no zone has such an id, or no certificate such a name.
    filter: Option<Filter>,
    after: Option<Position>,
    limit: Limit,
}

#[derive(Serialize)]
struct List<'a> {
    certificates: Vec<CertificateView<'a>>,
    limits: LimitsView,
    next_cursor: Option<String>,
}

pub(super) async fn list(app: web::Data<App>, caller: Caller, query: Query<Parameters>) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let Wanted { filter, after, limit } = parse(query.read()?)?;
    let account = caller.account;
    let body = async move |conn: &mut Connection| {
        let plan = accounts::get_account(conn, account).await?.plan;
        let count = certificates::count_slots(conn, account).await?;
        let rows = match filter {
            Some(filter) => certificates::list_certificates(conn, account, &filter, after, limit.to_read()).await?,
            None => Vec::new(),
        };
        Ok((plan, count, rows))
    };
    let (plan, count, mut rows) = app.store.tenant::<_, StoreError, _>(account, body).await?;
    let next_cursor = limit.cut(&mut rows, |last| Position { created_at: last.created_at, id: last.id }.write());
    let certificates = rows.iter().map(|certificate| CertificateView::new(certificate, plan)).collect();
    Ok(HttpResponse::Ok().json(List { certificates, limits: LimitsView::new(plan, count), next_cursor }))
}

fn parse(parameters: Parameters) -> Result<Wanted, Problem> {
    let mut faults = Faults::default();
    let after = faults.check(Position::parse_parameter(parameters.cursor.as_deref()));
    let limit = faults.check(Limit::parse(parameters.limit.as_deref()));
    let status = faults.check(parameters.status.as_deref().map(status).transpose());
    let ((after, limit), status) = faults.finish(after.zip(limit).zip(status))?;
    let zone = parameters.zone_id.map(|text| text.parse().ok());
    let name = parameters.name.map(|name| super::naming::check(&name).is_ok().then_some(name));
    let filter = match (zone, name) {
        (Some(None), _) | (_, Some(None)) => None,
        (zone, name) => Some(Filter { status, zone: zone.flatten(), name: name.flatten() }),
    };
    Ok(Wanted { filter, after, limit })
}

fn status(text: &str) -> Result<CertificateStatus, FieldError> {
    CertificateStatus::parse(text).ok_or_else(|| {
        let all = CertificateStatus::ALL.map(CertificateStatus::as_str).join(", ");
        FieldError::new("?status", "unknown_choice", format!("Give one of {all}"))
    })
}
