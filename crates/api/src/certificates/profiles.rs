//! The profiles that the CAs offer: kinds of certificates, among them such as live for days only (draft-ietf-acme-profiles).

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use zonecert_domain::scope::Scope;
use zonecert_store::ca_profiles::{self, Profile};
use zonecert_store::issuing::Environment;
use zonecert_store::{Connection, StoreError};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::openapi::values;
use crate::problem::{FieldError, Problem};

#[derive(Serialize, ToSchema)]
#[schema(as = ProfileList)]
struct List<'a> {
    /// Those of production first.
    profiles: Vec<ProfileView<'a>>,
}

/// A kind of certificates that a CA offers.
#[derive(Serialize, ToSchema)]
#[schema(as = Profile)]
struct ProfileView<'a> {
    /// For the field `profile` of a certificate.
    #[schema(example = "shortlived")]
    name: &'a str,
    /// The CA's words about it, or a link to them.
    #[schema(example = "https://letsencrypt.org/docs/profiles#shortlived")]
    description: &'a str,
    /// Of the certificates that may have it.
    #[schema(value_type = values::Environment)]
    environment: &'static str,
    /// Of the CA. Orders for the profile go to no CA that does not offer it.
    #[schema(example = "https://acme-v02.api.letsencrypt.org/directory")]
    directory_url: &'a str,
}

/// The profiles that the CAs offer
///
/// As their directories said within the last hour. Some CAs have none.
#[utoipa::path(
    get, path = "/api/v1/certificates/profiles", tag = "certificates", operation_id = "listProfiles",
    responses((status = 200, description = "The profiles.", body = List)),
)]
pub(super) async fn list(app: web::Data<App>, caller: Caller) -> Result<HttpResponse, Problem> {
    caller.require(Scope::CertificatesRead)?;
    let read = async |conn: &mut Connection| ca_profiles::list_profiles(conn).await;
    let profiles = app.store.tenant::<_, StoreError, _>(caller.account, read).await?;
    Ok(HttpResponse::Ok().json(List { profiles: profiles.iter().map(ProfileView::from).collect() }))
}

/// Whether a CA of this environment offers the profile that is wished.
pub(super) async fn check(conn: &mut Connection, environment: Environment, wished: &str) -> Result<(), Problem> {
    let mut offered = ca_profiles::list_profiles(conn).await?;
    offered.retain(|profile| profile.environment == environment);
    if offered.iter().any(|profile| profile.name == wished) {
        return Ok(());
    }
    let mut names: Vec<&str> = offered.iter().map(|profile| profile.name.as_str()).collect();
    names.dedup();
    let detail = if names.is_empty() {
        "No CA offers profiles; leave the profile out".to_owned()
    } else {
        format!("Give one of {}, or leave the profile out", names.join(", "))
    };
    Err(Problem::invalid(vec![FieldError::new("/profile", "profile_not_offered", detail)]))
}

impl<'a> From<&'a Profile> for ProfileView<'a> {
    fn from(profile: &'a Profile) -> Self {
        let Profile { environment, directory_url, name, description } = profile;
        Self { name, description, environment: environment.as_str(), directory_url }
    }
}
