//! Where the records of a zone live.

/// Where the records of a zone live (requirements S3.71).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZoneMode {
    /// In our `PowerDNS`.
    #[default]
    Hosted,
    /// Where they are; aliases lead the CA to our challenge zone.
    Delegated,
}

impl ZoneMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hosted, Self::Delegated];

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hosted => "hosted",
            Self::Delegated => "delegated",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}
