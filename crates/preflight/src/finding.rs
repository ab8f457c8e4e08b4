//! What was found, where, and what to do about it.

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The CA cannot or will not issue while it is so, or we do not take the request.
    Error,
    /// Issuance may fail because of it.
    Warning,
}

impl Severity {
    /// Every severity, the worst first.
    pub const ALL: [Self; 2] = [Self::Error, Self::Warning];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! finding_codes {
    ($($(#[$doc:meta])* $variant:ident $name:literal: $severity:ident;)*) => {
        /// What was found, for programs. Stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FindingCode { $($(#[$doc])* $variant,)* }

        impl FindingCode {
            /// Every code.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant,)*];

            /// The name in the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }
        }
    };
}

finding_codes! {
    /// The zone has no name servers in the DNS, or is not there at all.
    NotDelegated "zone_not_delegated": Error;
    /// The zone is delegated to name servers that are not ours.
    DelegatedElsewhere "zone_delegated_elsewhere": Error;
    /// The zone is delegated to ours and to others, of which the CA may ask any.
    DelegatedPartly "zone_delegated_partly": Error;
    /// The name servers of the zone do not answer, or refuse to.
    ZoneUnreachable "zone_unreachable": Error;
    /// A CAA record allows other CAs and not ours (RFC 8659).
    CaaForbids "caa_forbids": Error;
    /// A CAA record allows our CA by other kinds of validation only (RFC 8657 §4).
    CaaMethodForbidden "caa_method_forbidden": Error;
    /// A critical CAA property that no CA may ignore (RFC 8659 §4.5).
    CaaCriticalUnknown "caa_critical_unknown": Error;
    /// A CAA record allows our CA for one account of it, which may be another than ours (RFC 8657 §3).
    CaaAccountBound "caa_account_bound": Warning;
    /// CAA records cannot be looked up, and then no CA may issue (RFC 8659 §3).
    CaaLookupFailed "caa_lookup_failed": Error;
    /// An alias stands where we put the TXT record in a zone that we host.
    ChallengeIsAlias "challenge_is_alias": Error;
    /// The alias to our challenge zone is not there.
    ChallengeCnameMissing "challenge_cname_missing": Error;
    /// The alias points elsewhere.
    ChallengeCnameWrong "challenge_cname_wrong": Error;
    /// TXT values of somebody else stand there.
    ChallengeHasOtherValues "challenge_has_other_values": Warning;
    /// What stands at the name cannot be looked up.
    ChallengeLookupFailed "challenge_lookup_failed": Error;
    /// The zone above says that the zone is signed, and it is not.
    DnssecUnsigned "dnssec_unsigned": Error;
    /// The zone above names keys that the zone does not have.
    DnssecKeyMismatch "dnssec_key_mismatch": Error;
    /// Resolvers that validate reject the zone.
    DnssecBroken "dnssec_broken": Error;
    /// What the CA allows in a time is used up.
    CaLimitReached "ca_limit_reached": Error;
    /// The account has a certificate for the domain.
    CertificateExists "certificate_exists": Error;
    /// The account has as many certificates as its plan holds.
    CertificateLimitReached "certificate_limit_reached": Error;
    /// The account has a certificate with the name.
    CertificateNameTaken "certificate_name_taken": Error;
    /// The plan holds no certificates.
    PaidPlanRequired "paid_plan_required": Error;
    /// The plan holds no wildcards.
    WildcardRequiresElite "wildcard_requires_elite": Error;
    /// The plan holds no renewal by itself.
    AutoRenewRequiresPro "auto_renew_requires_pro": Error;
    /// Control of the zone is not proven, or no longer.
    ZoneNotVerified "zone_not_verified": Error;
    /// Not all could be looked up in the time there is.
    Incomplete "check_incomplete": Warning;
    /// The DNS resolver that we ask cannot be reached: nothing could be looked at. Ours to mend.
    ResolverUnreachable "resolver_unreachable": Warning;
}

impl FindingCode {
    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl Serialize for FindingCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sight {
    /// Which server: its address, as far as we know it.
    pub server: String,
    /// What it said, in words.
    pub answer: String,
}

/// Something that stands in the way of a certificate, or may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub code: FindingCode,
    /// How much it matters.
    pub severity: Severity,
    /// The name that it is about.
    pub name: String,
    /// What is wrong.
    pub detail: String,
    /// What was seen, and where; nothing for what is not of the DNS.
    pub seen: Vec<Sight>,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    /// Something found at `name`.
    pub fn new(code: FindingCode, name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (name, detail, remedy) = (name.into(), detail.into(), remedy.into());
        Self { code, severity: code.severity(), name, detail, seen: Vec::new(), remedy }
    }

    /// The same, because of what was seen there.
    #[must_use]
    pub(crate) fn because(self, seen: impl IntoIterator<Item = Sight>) -> Self {
        Self { seen: seen.into_iter().collect(), ..self }
    }
}
