//! Somebody who need not say who they are. A handler without a [`crate::auth::caller::Caller`] takes a [`Visitor`], so that nobody calls it without end.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use super::client_address;
use crate::app::App;
use crate::problem::Problem;

/// A call that needs no credential, and was counted against its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor {
    /// From where.
    pub(crate) address: IpAddr,
}

impl FromRequest for Visitor {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(visit(request))
    }
}

fn visit(request: &HttpRequest) -> Result<Visitor, Problem> {
    let app = request.app_data::<web::Data<App>>().ok_or_else(Problem::internal)?;
    let address = client_address::of(request, &app.settings.traffic);
    app.rate_limiter.count_visit(request, address, Instant::now())?;
    Ok(Visitor { address })
}
