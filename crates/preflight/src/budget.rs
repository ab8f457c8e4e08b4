//! What is left of the CA's limits (requirements section 6).

use zonecert_domain::ca_limits::{CaBudget, CaLimitKind};
use zonecert_domain::moment;

use crate::finding::{Finding, FindingCode};

/// A finding for each limit that leaves the account no room. `domain` is what the certificate is for.
pub fn judge_budget(domain: &str, budgets: &[CaBudget]) -> Vec<Finding> {
    budgets.iter().filter(|budget| budget.free_at.is_some()).map(|budget| judge(domain, budget)).collect()
}

fn judge(domain: &str, budget: &CaBudget) -> Finding {
    let (most, hours) = (budget.limit.most, budget.limit.window.as_secs() / 3600);
    let subject = budget.subject.as_deref().unwrap_or(domain);
    let counted = match budget.limit.kind {
        CaLimitKind::Order => "orders by our account at the CA".to_owned(),
        CaLimitKind::RegisteredDomain => format!("certificates under {subject}"),
        CaLimitKind::ExactNames => "certificates for exactly these names".to_owned(),
        CaLimitKind::FailedAuthorization => format!("failed validations of {subject}"),
    };
    let time = if hours >= 48 { format!("{} days", hours / 24) } else { format!("{hours} h") };
    let kept = if budget.remaining() == 0 { "" } else { "; what is left is kept for other customers" };
    let detail = format!("the CA allows {most} {counted} in {time}, and {} were used{kept}", budget.used);
    let when = budget.free_at.map_or_else(|| "later".to_owned(), |at| format!("after {}", moment::shown(at)));
    let other = match budget.limit.kind {
        CaLimitKind::ExactNames => ", or add or leave out a name",
        CaLimitKind::FailedAuthorization => ", once the reason is mended for which they failed",
        CaLimitKind::Order | CaLimitKind::RegisteredDomain => "",
    };
    Finding::new(FindingCode::CaLimitReached, subject, detail, format!("Request the certificate {when}{other}."))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn budget(kind: CaLimitKind, subject: Option<&str>, used: u32) -> CaBudget {
        let free_at = Some(DateTime::<Utc>::from_timestamp(1_800_000_000, 0).unwrap());
        CaBudget { limit: kind.limit(), subject: subject.map(str::to_owned), used, free_at }
    }

    #[test]
    fn a_limit_with_room_is_no_finding() {
        let with_room = |kind, used| CaBudget { free_at: None, ..budget(kind, None, used) };
        assert_eq!(judge_budget("a.test", &[with_room(CaLimitKind::Order, 299), with_room(CaLimitKind::ExactNames, 4)]), []);
    }

    #[test]
    fn a_limit_without_says_what_is_counted_and_when_there_is_room_again() {
        let spent = [
            budget(CaLimitKind::Order, None, 300),
            budget(CaLimitKind::RegisteredDomain, Some("example.com"), 50),
            budget(CaLimitKind::ExactNames, None, 6),
            budget(CaLimitKind::FailedAuthorization, Some("www.example.com"), 5),
        ];
        let findings = judge_budget("app.example.com", &spent);
        let names: Vec<&str> = findings.iter().map(|finding| finding.name.as_str()).collect();
        assert_eq!(names, ["app.example.com", "example.com", "app.example.com", "www.example.com"]);
        assert_eq!(findings[1].detail, "the CA allows 50 certificates under example.com in 7 days, and 50 were used");
        assert_eq!(findings[3].detail, "the CA allows 5 failed validations of www.example.com in 1 h, and 5 were used");
        let share = judge_budget("app.example.com", &[budget(CaLimitKind::Order, None, 225)]);
        assert!(share[0].detail.ends_with("225 were used; what is left is kept for other customers"), "{share:?}");
        for finding in &findings {
            assert!(finding.remedy.contains("after 2027-01-15 08:00:00 UTC"), "{finding:?}");
        }
    }
}
