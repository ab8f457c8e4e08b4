//! What an API token may do (requirements section 7, S4.4, X10).

use std::collections::BTreeSet;
use std::fmt;

/// One permission of an API token. Writing does not include reading, and nothing includes the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Scope {
    /// See certificates, their logs and chains.
    #[serde(rename = "certificates:read")]
    CertificatesRead,
    /// Request, change, renew, revoke and delete certificates.
    #[serde(rename = "certificates:write")]
    CertificatesWrite,
    /// Report which version of a certificate a server uses, and nothing else.
    #[serde(rename = "deployments:write")]
    DeploymentsWrite,
    /// Download private keys.
    #[serde(rename = "keys:read")]
    KeysRead,
    /// See zones and their verification.
    #[serde(rename = "zones:read")]
    ZonesRead,
    /// Import, verify and delete zones.
    #[serde(rename = "zones:write")]
    ZonesWrite,
    /// See and change users, tokens and settings of the account.
    #[serde(rename = "account:admin")]
    AccountAdmin,
}

impl Scope {
    /// Every scope, in the order in which sets list them.
    pub const ALL: [Self; 7] = [
        Self::CertificatesRead,
        Self::CertificatesWrite,
        Self::DeploymentsWrite,
        Self::KeysRead,
        Self::ZonesRead,
        Self::ZonesWrite,
        Self::AccountAdmin,
    ];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificatesRead => "certificates:read",
            Self::CertificatesWrite => "certificates:write",
            Self::DeploymentsWrite => "deployments:write",
            Self::KeysRead => "keys:read",
            Self::ZonesRead => "zones:read",
            Self::ZonesWrite => "zones:write",
            Self::AccountAdmin => "account:admin",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The scopes of a token or of somebody signed in, each once, in the order of [`Scope::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ScopeSet(BTreeSet<Scope>);

/// Why a list is not a set of scopes for a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// No scope was given.
    #[error("a token needs at least one scope; give some of {}", ScopeSet::all())]
    Empty,
    /// This element, counted from 0, is no scope.
    #[error("element {index} is not a scope; give some of {}", ScopeSet::all())]
    Unknown {
        /// Which element.
        index: usize,
    },
}

impl ScopeError {
    /// The stable code in problem documents.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "scope_missing",
            Self::Unknown { .. } => "scope_unknown",
        }
    }

    /// What is wrong and what to do, for a person.
    pub fn detail(&self) -> String {
        self.to_string()
    }
}

impl ScopeSet {
    /// Reads the scopes of a new token, in any order; doubles count once.
    ///
    /// Errors: the first element that is no scope, or an empty list.
    pub fn parse<S: AsRef<str>>(scopes: impl IntoIterator<Item = S>) -> Result<Self, ScopeError> {
        let set = scopes
            .into_iter()
            .enumerate()
            .map(|(index, text)| Scope::parse(text.as_ref()).ok_or(ScopeError::Unknown { index }))
            .collect::<Result<Self, _>>()?;
        if set.0.is_empty() { Err(ScopeError::Empty) } else { Ok(set) }
    }

    /// Every scope: what somebody has who signed in with a password.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether the set holds this scope.
    pub fn allows(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether the other set holds all of these: nobody hands out more than they have.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    /// The names in order, as the database stores them.
    pub fn names(&self) -> Vec<&'static str> {
        self.iter().map(Scope::as_str).collect()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// The names separated by spaces.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_scope_is_read_back_from_its_name() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.to_string());
            assert_eq!(serde_json::from_value::<Scope>(scope.as_str().into()).unwrap(), scope);
        }
        assert_eq!(Scope::parse("certificates"), None);
        assert_eq!(Scope::parse("Keys:Read"), None);
        assert!(Scope::ALL.is_sorted());
    }

    #[test]
    fn a_set_is_read_in_any_order_and_written_in_one() {
        let set = ScopeSet::parse(["zones:read", "certificates:read", "zones:read"]).unwrap();
        assert_eq!(set.to_string(), "certificates:read zones:read");
        assert_eq!(set.names(), ["certificates:read", "zones:read"]);
        let json = serde_json::to_value(&set).unwrap();
        assert_eq!(json, serde_json::json!(["certificates:read", "zones:read"]));
        assert_eq!(serde_json::from_value::<ScopeSet>(json).unwrap(), set);
    }

    #[test]
    fn no_scope_and_an_unknown_scope_are_refused() {
        assert_eq!(ScopeSet::parse([""; 0]), Err(ScopeError::Empty));
        let error = ScopeSet::parse(["zones:read", "zones:*"]).unwrap_err();
        assert_eq!((&error, error.code()), (&ScopeError::Unknown { index: 1 }, "scope_unknown"));
        assert!(error.detail().contains("certificates:read certificates:write"));
        assert_eq!(ScopeError::Empty.code(), "scope_missing");
    }

    #[test]
    fn no_scope_includes_another() {
        for scope in Scope::ALL {
            let alone: ScopeSet = [scope].into_iter().collect();
            for other in Scope::ALL {
                assert_eq!(alone.allows(other), scope == other);
            }
            assert!(alone.is_subset(&ScopeSet::all()));
            assert!(!ScopeSet::all().is_subset(&alone));
        }
    }

    proptest! {
        #[test]
        fn a_set_allows_exactly_what_was_given(given in proptest::collection::vec(proptest::sample::select(Scope::ALL.to_vec()), 1..12)) {
            let set = ScopeSet::parse(given.iter().map(|scope| scope.as_str())).unwrap();
            for scope in Scope::ALL {
                prop_assert_eq!(set.allows(scope), given.contains(&scope));
            }
            prop_assert_eq!(ScopeSet::parse(set.names()), Ok(set));
        }
    }
}
