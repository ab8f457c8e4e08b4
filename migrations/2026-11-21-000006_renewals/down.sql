DROP FUNCTION sweep_due_renewals(interval, integer), sweep_due_renewal_info(interval, integer), sweep_expired_certificates(integer),
    sweep_revocations(integer), sweep_idempotency_keys(interval, integer), lookup_ca_budget(text, text, text, interval);
REVOKE ALL ON ca_budget FROM zonecert_lookup;
DROP INDEX ca_budget_at_idx;
DROP TRIGGER key_versions_stay_destroyed ON key_versions;
DROP FUNCTION key_versions_stay_destroyed();
REVOKE UPDATE (sealed, destroyed_at) ON key_versions FROM zonecert_api;
REVOKE DELETE ON certificate_names FROM zonecert_api;
DROP POLICY sweep ON certificates;
DROP POLICY sweep_claim ON certificates;
REVOKE ALL ON certificates FROM zonecert_sweep;
DROP TABLE revocations, idempotency_keys;
ALTER TABLE issuances DROP COLUMN cancel_requested_at;
ALTER TABLE orders DROP COLUMN replaces;
DROP INDEX certificates_account_id_expires_at_idx;
ALTER TABLE certificates DROP COLUMN renewal_blocked_by, DROP COLUMN renewal_info_start, DROP COLUMN renewal_info_end,
    DROP COLUMN renewal_info_explanation_url, DROP COLUMN renewal_info_checked_at, DROP COLUMN renewal_info_due_at,
    DROP COLUMN renewal_info_failures;
