//! What another plan would mean for what an account has (requirements section 6, "Downgrade").
//!
//! A change of plan deletes and revokes nothing. What the smaller plan does not hold rests, and comes back with the larger one.

use chrono::{DateTime, Utc};

use crate::certificate::CertificateStatus;
use crate::id::CertificateId;
use crate::plan::{Plan, PlanLimits};

/// A managed certificate, as far as plans go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldCertificate {
    /// Its identifier.
    pub id: CertificateId,
    /// What it is called.
    pub name: String,
    /// Its primary domain, with `*.` where it is a wildcard.
    pub domain: String,
    /// What people see.
    pub status: CertificateStatus,
    /// Whether it is to renew by itself.
    pub auto_renew: bool,
    /// Whether any of its names is a wildcard.
    pub wildcard: bool,
    /// The end of its validity.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a change of plan touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanChange<'a> {
    /// How many certificates hold a slot.
    pub current_count: u32,
    /// How many more than the new plan holds: they stay, and no new one can be had until there is room.
    pub over_limit_by: u32,
    /// How many uploaded certificates more than the new plan holds: they stay, and no new one can be uploaded until there is room.
    pub uploads_over_limit_by: u32,
    /// These no longer renew by themselves; that they should is remembered.
    pub auto_renewal_stops: Vec<&'a HeldCertificate>,
    /// These renew by themselves again.
    pub auto_renewal_resumes: Vec<&'a HeldCertificate>,
    /// These stay valid and downloadable, and can be renewed by hand only on a plan with wildcards.
    pub wildcards_rest: Vec<&'a HeldCertificate>,
    /// No certificate can be requested or renewed by hand any more.
    pub certificates_rest: bool,
    /// API tokens go on reading and downloading, and nothing else.
    pub api_tokens_only_read: bool,
}

/// What it would mean to go from one plan to another with these managed certificates, and so many uploaded ones.
pub fn preview(from: Plan, to: Plan, held: &[HeldCertificate], uploads: u32) -> PlanChange<'_> {
    let (before, after) = (from.limits(), to.limits());
    let slots = held.iter().filter(|certificate| certificate.status.holds_slot());
    let current_count = u32::try_from(slots.count()).unwrap_or(u32::MAX);
    let renews = |plan: &PlanLimits, certificate: &HeldCertificate| {
        certificate.auto_renew && certificate.status.holds_slot() && plan.renews(certificate.wildcard)
    };
    let renews_only_by = |these: &PlanLimits, those: &PlanLimits| {
        held.iter().filter(|certificate| renews(these, certificate) && !renews(those, certificate)).collect::<Vec<_>>()
    };
    PlanChange {
        current_count,
        over_limit_by: current_count.saturating_sub(after.max_certificates),
        uploads_over_limit_by: uploads.saturating_sub(after.max_uploads),
        auto_renewal_stops: renews_only_by(&before, &after),
        auto_renewal_resumes: renews_only_by(&after, &before),
        wildcards_rest: held.iter().filter(|certificate| before.wildcard && !after.wildcard && certificate.wildcard).collect(),
        certificates_rest: before.paid && !after.paid,
        api_tokens_only_read: before.api_tokens && !after.api_tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(status: CertificateStatus, auto_renew: bool, wildcard: bool) -> HeldCertificate {
        let domain = if wildcard { "*.example.com" } else { "example.com" }.to_owned();
        HeldCertificate { id: CertificateId::new(), name: "example.com".to_owned(), domain, status, auto_renew, wildcard, expires_at: None }
    }

    #[test]
    fn a_downgrade_names_what_rests_and_the_way_back_what_resumes() {
        let mut all = vec![held(CertificateStatus::Issued, true, true), held(CertificateStatus::Failed, true, false)];
        all.extend((0..6).map(|_| held(CertificateStatus::Issued, false, false)));
        let down = preview(Plan::Elite, Plan::Plus, &all, 30);
        assert_eq!((down.current_count, down.over_limit_by, down.uploads_over_limit_by), (7, 2, 5));
        assert_eq!((&down.auto_renewal_stops, &down.wildcards_rest), (&vec![&all[0]], &vec![&all[0]]));
        assert!(down.auto_renewal_resumes.is_empty() && !down.certificates_rest && !down.api_tokens_only_read);
        let up = preview(Plan::Plus, Plan::Elite, &all, 30);
        assert_eq!((up.over_limit_by, up.uploads_over_limit_by, up.auto_renewal_resumes.len()), (0, 0, 1));
        assert!(up.auto_renewal_stops.is_empty() && up.wildcards_rest.is_empty());
    }

    #[test]
    fn a_wildcard_that_renewed_by_itself_does_so_only_on_a_plan_with_wildcards() {
        let all = [held(CertificateStatus::Issued, true, true), held(CertificateStatus::Issued, true, false)];
        let down = preview(Plan::Elite, Plan::Pro, &all, 0);
        assert_eq!((&down.auto_renewal_stops, &down.wildcards_rest), (&vec![&all[0]], &vec![&all[0]]));
        assert_eq!(preview(Plan::Pro, Plan::Elite, &all, 0).auto_renewal_resumes, [&all[0]]);
        assert_eq!(preview(Plan::Pro, Plan::Plus, &all, 0).auto_renewal_stops, [&all[1]], "the other has stopped before");
    }

    #[test]
    fn without_payment_everything_rests_and_nothing_is_lost() {
        let all = [held(CertificateStatus::Issued, true, false)];
        let down = preview(Plan::Pro, Plan::Free, &all, 1);
        assert!(down.certificates_rest && down.api_tokens_only_read);
        assert_eq!((down.over_limit_by, down.uploads_over_limit_by, down.auto_renewal_stops.len()), (1, 1, 1));
    }

    #[test]
    fn the_same_plan_touches_nothing() {
        let all = [held(CertificateStatus::Issued, true, true), held(CertificateStatus::Pending, true, false)];
        for plan in Plan::ALL {
            let none = preview(plan, plan, &all, 0);
            assert!(none.auto_renewal_stops.is_empty() && none.auto_renewal_resumes.is_empty() && none.wildcards_rest.is_empty());
            assert!(!none.certificates_rest && !none.api_tokens_only_read);
        }
    }
}
