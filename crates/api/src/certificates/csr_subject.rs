//! What a certificate's requests say of its owner, as clients give and see it (requirements S0.6).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zonecert_domain::csr_subject::{CsrSubject, MAX_ORGANIZATION_LENGTH, MAX_PLACE_LENGTH, parse_country};

use crate::faults::Faults;
use crate::problem::FieldError;
use crate::text;

/// Fields of the request's subject beside the common name. A field that is `null` counts as absent.
#[derive(Debug, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCsrSubject)]
pub(super) struct CsrSubjectBody {
    /// Two letters (ISO 3166-1).
    #[schema(pattern = "^[A-Za-z]{2}$", example = "CH")]
    country: Option<String>,
    /// Or province.
    #[schema(min_length = 1, max_length = 128, example = "Bern")]
    state: Option<String>,
    /// The city.
    #[schema(min_length = 1, max_length = 128, example = "Thun")]
    locality: Option<String>,
    #[schema(min_length = 1, max_length = 64, example = "Example AG")]
    organization: Option<String>,
    #[schema(min_length = 1, max_length = 64, example = "Web")]
    organizational_unit: Option<String>,
}

impl CsrSubjectBody {
    /// None where it says nothing. What is wrong with it goes to `faults`.
    pub(super) fn parse(&self, faults: &mut Faults) -> Option<CsrSubject> {
        let country = faults.check(self.country.as_deref().map(country).transpose()).flatten();
        let mut line = |pointer: &str, given: Option<&str>, longest: usize| {
            faults.check(given.map(|text| text::line(pointer, text, longest)).transpose()).flatten()
        };
        let subject = CsrSubject {
            country,
            state: line("/subject/state", self.state.as_deref(), MAX_PLACE_LENGTH),
            locality: line("/subject/locality", self.locality.as_deref(), MAX_PLACE_LENGTH),
            organization: line("/subject/organization", self.organization.as_deref(), MAX_ORGANIZATION_LENGTH),
            organizational_unit: line("/subject/organizational_unit", self.organizational_unit.as_deref(), MAX_ORGANIZATION_LENGTH),
        };
        (!subject.is_empty()).then_some(subject)
    }
}

fn country(text: &str) -> Result<String, FieldError> {
    let fault = || FieldError::new("/subject/country", "country_invalid", "Give the two letters of the country (ISO 3166-1), such as CH");
    parse_country(text).ok_or_else(fault)
}

/// Fields of the request's subject beside the common name. CAs that validate only domains leave them out of the certificate.
#[derive(Serialize, ToSchema)]
#[schema(as = CsrSubject)]
pub(super) struct CsrSubjectView<'a> {
    #[schema(required, example = "CH")]
    country: Option<&'a str>,
    #[schema(required, example = "Bern")]
    state: Option<&'a str>,
    #[schema(required, example = "Thun")]
    locality: Option<&'a str>,
    #[schema(required, example = "Example AG")]
    organization: Option<&'a str>,
    #[schema(required, example = "Web")]
    organizational_unit: Option<&'a str>,
}

impl<'a> From<&'a CsrSubject> for CsrSubjectView<'a> {
    fn from(subject: &'a CsrSubject) -> Self {
        Self {
            country: subject.country.as_deref(),
            state: subject.state.as_deref(),
            locality: subject.locality.as_deref(),
            organization: subject.organization.as_deref(),
            organizational_unit: subject.organizational_unit.as_deref(),
        }
    }
}
