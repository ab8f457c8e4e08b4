//! A route: the method and path that it answers, to whom, and what `openapi.yaml` says of it. All of it in one value, so that there is no
//! route without a description and no description without a route.

use std::rc::Rc;

use actix_web::dev::Handler;
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::mime::Mime;
use actix_web::{FromRequest, Responder, web};
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::{RefOr, Schema};
use zonecert_domain::scope::Scope;

use crate::accept;

/// Whom a route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Whoever has a refresh token, in the body or as a cookie.
    RefreshToken,
    /// Whoever has a credential of an account.
    Account,
    /// Whoever has signed in: a person, and no program.
    Person,
    /// Whoever has a credential of an account that holds all of these scopes.
    Scopes(&'static [Scope]),
    /// A person who holds all of these scopes.
    PersonWith(&'static [Scope]),
    /// Whoever has an API key of what is asked for, in a header.
    ApiKey,
    /// The same, in the path.
    ApiKeyInPath,
    /// The operator.
    Operator,
}

impl Access {
    /// Whether a credential of an account is asked for.
    pub fn is_of_account(self) -> bool {
        !matches!(self, Self::Open | Self::RefreshToken | Self::Operator) && !self.is_by_api_key()
    }

    /// Whether an API key of a certificate or private key is asked for.
    pub fn is_by_api_key(self) -> bool {
        matches!(self, Self::ApiKey | Self::ApiKeyInPath)
    }

    /// Whether programs are refused.
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Person | Self::PersonWith(_))
    }

    /// The scopes that the credential must hold.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Scopes(scopes) | Self::PersonWith(scopes) => scopes,
            _ => &[],
        }
    }
}

/// One method of one path.
pub struct Route {
    /// What it answers to. HEAD goes to GET and is no route of its own.
    pub method: Method,
    /// The whole path, with its parameters in braces.
    pub path: String,
    /// Whom it answers.
    pub access: Access,
    /// What was written at the handler.
    pub(crate) operation: Operation,
    /// Every schema that the operation refers to, by name.
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
    pub(crate) service: actix_web::Route,
}

impl Route {
    /// The route of a handler. Method, path and description are those of its `#[utoipa::path]`, which makes `__path_<handler>`.
    pub(crate) fn new<D, H, A>(_description: D, handler: H, access: Access) -> Self
    where
        D: utoipa::Path + utoipa::__dev::SchemaReferences + for<'t> utoipa::__dev::Tags<'t>,
        H: Handler<A, Output: Responder>,
        A: FromRequest + 'static,
    {
        let method = D::methods().first().map_or(Method::GET, method);
        let mut operation = D::operation();
        operation.tags = Some(D::tags().into_iter().map(str::to_owned).collect());
        let mut schemas = Vec::new();
        D::schemas(&mut schemas);
        let path = D::path();
        let mut service = web::method(method.clone()).to(handler);
        let answered: Rc<[Mime]> = answered(&operation).collect();
        if path.starts_with(API) && !answered.is_empty() {
            service = service.wrap(from_fn(move |request, next| accept::check(Rc::clone(&answered), request, next)));
        }
        Self { method, path, access, operation, schemas, service }
    }

    /// Whether clients may say what they take: everywhere in the API, where anything is answered.
    pub(crate) fn negotiates(&self) -> bool {
        self.path.starts_with(API) && answered(&self.operation).next().is_some()
    }
}

/// Where the paths of the API begin. Beside it are pages and probes, which answer whoever asks.
const API: &str = "/api/";

/// The media types of what is answered when all is well.
fn answered(operation: &Operation) -> impl Iterator<Item = Mime> {
    let well = operation.responses.responses.iter().filter(|(status, _)| status.starts_with('2'));
    let contents = well.filter_map(|(_, response)| if let RefOr::T(response) = response { Some(response.content.keys()) } else { None });
    contents.flatten().filter_map(|media_type| media_type.parse().ok())
}

fn method(described: &HttpMethod) -> Method {
    match described {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}
