//! What each plan holds and what it refuses (requirements S3.4, S3.5, S3.10, S3.52 and the table of plans).
//!
//! When several errors apply, requirements S3.53 says which comes first. The API asks in this order: [`check_paid`], its own checks of
//! input and zone, [`check_create`], its own check for a duplicate, and last, inside the transaction that takes the slot, [`check_limit`].

use std::fmt;

/// Zones of an account, on every plan: a bound, and not a price.
pub const MAX_ZONES: i64 = 500;

/// Imported zones of an account that wait for their proof: an import costs nothing, so it is bounded.
pub const MAX_PENDING_ZONES: i64 = 50;

/// What an account pays for. Ordered from the smallest to the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Nothing; no certificates.
    #[default]
    Free,
    /// The smallest paid plan.
    Plus,
    /// With auto-renewal.
    Pro,
    /// With auto-renewal and wildcards.
    Elite,
}

/// What a plan holds.
#[expect(clippy::struct_excessive_bools, reason = "each is a row of the plans' table, independent of the others")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PlanLimits {
    /// Managed certificates that are pending, validating or issued (requirements X13).
    pub max_certificates: u32,
    /// Uploaded certificates (requirements S3.52).
    pub max_uploads: u32,
    /// Wildcards in any name.
    pub wildcard: bool,
    /// Renewal without being asked.
    pub auto_renew: bool,
    /// Renewal by hand.
    pub manual_renew: bool,
    /// API tokens can be made.
    pub api_tokens: bool,
    /// Costs money: certificates can be managed at all.
    pub paid: bool,
}

impl PlanLimits {
    /// Whether a certificate renews by itself where that is wished.
    pub const fn renews(&self, has_wildcard: bool) -> bool {
        self.auto_renew && (self.wildcard || !has_wildcard)
    }
}

impl Plan {
    /// Every plan, from the smallest to the largest.
    pub const ALL: [Self; 4] = [Self::Free, Self::Plus, Self::Pro, Self::Elite];

    /// What the plan holds.
    pub const fn limits(self) -> PlanLimits {
        let (max_certificates, max_uploads, wildcard, auto_renew, paid) = match self {
            Self::Free => (0, 0, false, false, false),
            Self::Plus => (5, 25, false, false, true),
            Self::Pro => (25, 250, false, true, true),
            Self::Elite => (100, 2_500, true, true, true),
        };
        PlanLimits { max_certificates, max_uploads, wildcard, auto_renew, manual_renew: paid, api_tokens: paid, paid }
    }

    /// The name in the API and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Plus => "plus",
            Self::Pro => "pro",
            Self::Elite => "elite",
        }
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.as_str() == text)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A plan does not hold what was asked for: 403. The text is exactly that of requirements section 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PlanRefusal {
    /// The account does not pay.
    #[error("Certificate management requires paid subscription")]
    PaidPlanRequired,
    /// A name is a wildcard.
    #[error("Wildcard certificates require Elite plan")]
    WildcardRequiresElite,
    /// Renewal without being asked was asked for.
    #[error("Auto-renewal requires Pro or Elite plan")]
    AutoRenewRequiresPro,
    /// As many managed certificates as the plan holds.
    #[error("Certificate limit reached for plan")]
    CertificateLimitReached,
    /// As many uploaded certificates as the plan holds.
    #[error("Upload limit reached for plan")]
    UploadLimitReached,
    /// The account does not pay, and wants an API token.
    #[error("API access requires paid subscription")]
    ApiAccessRequiresPaidPlan,
}

impl PlanRefusal {
    /// The stable code in problem documents.
    pub const fn code(self) -> &'static str {
        match self {
            Self::PaidPlanRequired => "paid_plan_required",
            Self::WildcardRequiresElite => "wildcard_requires_elite",
            Self::AutoRenewRequiresPro => "auto_renew_requires_pro",
            Self::CertificateLimitReached => "certificate_limit_reached",
            Self::UploadLimitReached => "upload_limit_reached",
            Self::ApiAccessRequiresPaidPlan => "api_access_requires_paid_plan",
        }
    }

    /// The exact text of the table of errors.
    pub fn detail(self) -> String {
        self.to_string()
    }
}

/// What a new certificate needs of its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateWish {
    /// Any name is a wildcard: domain or SAN (requirements X3).
    pub wants_wildcard: bool,
    /// It is to renew by itself.
    pub wants_auto_renew: bool,
}

/// Whether certificates can be managed at all (requirements S3.10): before the input is looked at. Holds for renewal by hand as well.
pub fn check_paid(plan: Plan) -> Result<(), PlanRefusal> {
    require(plan.limits().paid, PlanRefusal::PaidPlanRequired)
}

/// Whether the plan holds what a new certificate needs, wildcard before auto-renewal: after the input is known to be good.
pub fn check_create(plan: Plan, wish: &CreateWish) -> Result<(), PlanRefusal> {
    check_paid(plan)?;
    require(!wish.wants_wildcard || plan.limits().wildcard, PlanRefusal::WildcardRequiresElite)?;
    require(!wish.wants_auto_renew || plan.limits().auto_renew, PlanRefusal::AutoRenewRequiresPro)
}

/// Whether one managed certificate more fits beside the `current_count` that hold a slot: last, under the account's lock.
pub fn check_limit(plan: Plan, current_count: i64) -> Result<(), PlanRefusal> {
    require(current_count < i64::from(plan.limits().max_certificates), PlanRefusal::CertificateLimitReached)
}

/// Whether one uploaded certificate more fits beside the `current_count` that are stored.
pub fn check_upload_limit(plan: Plan, current_count: i64) -> Result<(), PlanRefusal> {
    require(current_count < i64::from(plan.limits().max_uploads), PlanRefusal::UploadLimitReached)
}

/// Whether API tokens can be made. Those that exist go on working for downloads and reading on every plan (requirements section 6).
pub fn check_api_tokens(plan: Plan) -> Result<(), PlanRefusal> {
    require(plan.limits().api_tokens, PlanRefusal::ApiAccessRequiresPaidPlan)
}

fn require(holds: bool, refusal: PlanRefusal) -> Result<(), PlanRefusal> {
    if holds { Ok(()) } else { Err(refusal) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_plans_hold_what_the_requirements_table_says() {
        let row = |plan: Plan| {
            let limits = plan.limits();
            (
                limits.max_certificates,
                limits.max_uploads,
                [limits.wildcard, limits.auto_renew, limits.manual_renew, limits.api_tokens, limits.paid],
            )
        };
        assert_eq!(row(Plan::Free), (0, 0, [false, false, false, false, false]));
        assert_eq!(row(Plan::Plus), (5, 25, [false, false, true, true, true]));
        assert_eq!(row(Plan::Pro), (25, 250, [false, true, true, true, true]));
        assert_eq!(row(Plan::Elite), (100, 2500, [true, true, true, true, true]));
    }

    #[test]
    fn every_plan_is_read_back_from_its_name() {
        for plan in Plan::ALL {
            assert_eq!(Plan::parse(plan.as_str()), Some(plan));
            assert_eq!(serde_json::to_value(plan).unwrap(), plan.to_string());
            assert_eq!(serde_json::from_value::<Plan>(plan.as_str().into()).unwrap(), plan);
        }
        assert_eq!(Plan::parse("ELITE"), None);
        assert!(Plan::ALL.is_sorted());
    }

    #[test]
    fn a_refusal_says_exactly_what_the_requirements_say() {
        for (refusal, detail) in [
            (PlanRefusal::CertificateLimitReached, "Certificate limit reached for plan"),
            (PlanRefusal::PaidPlanRequired, "Certificate management requires paid subscription"),
            (PlanRefusal::WildcardRequiresElite, "Wildcard certificates require Elite plan"),
            (PlanRefusal::AutoRenewRequiresPro, "Auto-renewal requires Pro or Elite plan"),
        ] {
            assert_eq!(refusal.detail(), detail);
        }
    }

    #[test]
    fn the_gate_asks_for_payment_then_wildcard_then_auto_renewal() {
        let everything = CreateWish { wants_wildcard: true, wants_auto_renew: true };
        let renewal = CreateWish { wants_wildcard: false, wants_auto_renew: true };
        let nothing = CreateWish::default();
        for (plan, wish, expected) in [
            (Plan::Free, nothing, Err(PlanRefusal::PaidPlanRequired)),
            (Plan::Free, everything, Err(PlanRefusal::PaidPlanRequired)),
            (Plan::Plus, nothing, Ok(())),
            (Plan::Plus, everything, Err(PlanRefusal::WildcardRequiresElite)),
            (Plan::Plus, renewal, Err(PlanRefusal::AutoRenewRequiresPro)),
            (Plan::Pro, renewal, Ok(())),
            (Plan::Pro, everything, Err(PlanRefusal::WildcardRequiresElite)),
            (Plan::Elite, everything, Ok(())),
        ] {
            assert_eq!(check_create(plan, &wish), expected, "{plan} {wish:?}");
        }
        assert_eq!(check_paid(Plan::Free), Err(PlanRefusal::PaidPlanRequired));
        assert_eq!(check_paid(Plan::Plus), Ok(()));
        assert_eq!(check_api_tokens(Plan::Free), Err(PlanRefusal::ApiAccessRequiresPaidPlan));
        assert_eq!(check_api_tokens(Plan::Plus), Ok(()));
    }

    #[test]
    fn the_last_slot_is_free_and_the_next_is_not() {
        for plan in Plan::ALL {
            let limits = plan.limits();
            let (certificates, uploads) = (i64::from(limits.max_certificates), i64::from(limits.max_uploads));
            assert_eq!(check_limit(plan, certificates), Err(PlanRefusal::CertificateLimitReached), "{plan}");
            assert_eq!(check_upload_limit(plan, uploads), Err(PlanRefusal::UploadLimitReached), "{plan}");
            if limits.paid {
                assert_eq!(check_limit(plan, certificates - 1), Ok(()), "{plan}");
                assert_eq!(check_upload_limit(plan, uploads - 1), Ok(()), "{plan}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_larger_plan_never_refuses_what_a_smaller_one_holds(count in 0..3_000_i64, wants_wildcard: bool, wants_auto_renew: bool) {
            let wish = CreateWish { wants_wildcard, wants_auto_renew };
            for pair in Plan::ALL.windows(2) {
                prop_assert!(check_create(pair[0], &wish).is_err() || check_create(pair[1], &wish).is_ok());
                prop_assert!(check_limit(pair[0], count).is_err() || check_limit(pair[1], count).is_ok());
                prop_assert!(check_upload_limit(pair[0], count).is_err() || check_upload_limit(pair[1], count).is_ok());
            }
        }
    }
}
