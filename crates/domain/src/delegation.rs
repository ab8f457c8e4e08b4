//! Zones that stay where they are: the customer points one alias per name at our challenge zone (requirements S3.71).
//!
//! `_acme-challenge.<name>` → `<label>.<challenge zone>`. The CA follows the alias (RFC 8555 §8.4 leaves that to DNS), and we write the TXT value there.

use sha2::{Digest as _, Sha256};

use crate::id::ZoneId;
use crate::name::CHALLENGE_LABEL;
use crate::zone_name::ZoneName;

/// Hexadecimal digits of a label: 128 bits, so that nobody meets another's by chance.
const LABEL_LENGTH: usize = 32;

/// The label of a name in the challenge zone: the first 32 hexadecimal digits of SHA-256 over `<zone's UUID>|<name>`, the UUID with hyphens and both in
/// lower case. A name and its wildcard share one, as they share the name of their challenge. Another zone, though it bear the same name, has others: so
/// an alias that outlives the import of a zone is of no use to whoever imports it next.
pub fn label(zone: ZoneId, name: &str) -> String {
    let name = name.strip_prefix("*.").unwrap_or(name).to_ascii_lowercase();
    let mut label = hex::encode(Sha256::digest(format!("{}|{name}", zone.0.hyphenated())));
    label.truncate(LABEL_LENGTH);
    label
}

/// Where the customer sets the alias of a name, without trailing dot. `*.` in front is passed over.
pub fn alias(name: &str) -> String {
    format!("{CHALLENGE_LABEL}.{}", name.strip_prefix("*.").unwrap_or(name))
}

/// What the alias of a name points at, without trailing dot.
pub fn target(zone: ZoneId, name: &str, challenge_zone: &ZoneName) -> String {
    format!("{}.{challenge_zone}", label(zone, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "zone_01890a5dac96774bbcceb302099a8057";

    /// `printf '%s' '01890a5d-ac96-774b-bcce-b302099a8057|app.example.com' | sha256sum`
    const LABEL: &str = "f897548a514e5a943d2f3b8d482f2073";

    #[test]
    fn a_label_is_what_sha256sum_says() {
        assert_eq!(label(ZONE.parse().unwrap(), "app.example.com"), LABEL);
    }

    #[test]
    fn a_wildcard_shares_the_label_of_its_base_in_whatever_case() {
        let zone = ZONE.parse().unwrap();
        assert_eq!(label(zone, "*.App.Example.COM"), LABEL);
        assert_eq!(alias("*.app.example.com"), "_acme-challenge.app.example.com");
        let challenge_zone = ZoneName::platform("challenges.zonecert.test").unwrap();
        assert_eq!(target(zone, "*.app.example.com", &challenge_zone), format!("{LABEL}.challenges.zonecert.test"));
    }

    #[test]
    fn another_name_and_another_zone_have_other_labels() {
        let (zone, other) = (ZONE.parse().unwrap(), ZoneId::new());
        assert_ne!(label(zone, "app.example.com"), label(zone, "www.example.com"));
        assert_ne!(label(zone, "app.example.com"), label(other, "app.example.com"));
    }
}
