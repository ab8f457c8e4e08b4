//! What a certificate request says of its owner beside the names (requirements S0.6). CAs that validate only domains ignore it.

use serde::{Deserialize, Serialize};

/// The longest state and locality, in characters (X.520, `ub-state-name` and `ub-locality-name`).
pub const MAX_PLACE_LENGTH: usize = 128;

/// The longest organization and organizational unit, in characters (X.520, `ub-organization-name` and `ub-organizational-unit-name`).
pub const MAX_ORGANIZATION_LENGTH: usize = 64;

/// The fields of a request's subject, in the order in which they stand there. Each is checked where it comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsrSubject {
    /// Two capital letters (ISO 3166-1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// State or province, of at most [`MAX_PLACE_LENGTH`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// City, of at most [`MAX_PLACE_LENGTH`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// Of at most [`MAX_ORGANIZATION_LENGTH`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Of at most [`MAX_ORGANIZATION_LENGTH`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizational_unit: Option<String>,
}

impl CsrSubject {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Two letters, in capitals; none where the text is anything else.
pub fn parse_country(text: &str) -> Option<String> {
    (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())).then(|| text.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_two_letters() {
        assert_eq!((parse_country("ch").as_deref(), parse_country("CH").as_deref()), (Some("CH"), Some("CH")));
        for text in ["", "C", "CHE", "C1", "C ", "é", "ÄÖ", "C\0"] {
            assert_eq!(parse_country(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_said_is_not_stored() {
        let subject = CsrSubject { organization: Some("Example AG".to_owned()), ..CsrSubject::default() };
        let stored = serde_json::json!({"organization": "Example AG"});
        assert_eq!(serde_json::to_value(&subject).unwrap(), stored);
        assert_eq!(serde_json::from_value::<CsrSubject>(stored).unwrap(), subject);
        assert!(!subject.is_empty() && serde_json::from_str::<CsrSubject>("{}").unwrap().is_empty());
    }
}
