DROP FUNCTION sweep_platform_state(interval), sweep_waiting(text, integer), sweep_troubled_issuances(boolean, interval, integer), sweep_holder(uuid);
REVOKE SELECT (next_renewal_at, last_error) ON certificates FROM zonecert_sweep;
REVOKE SELECT (created_at, finished_at, attempts) ON issuances FROM zonecert_sweep;
REVOKE SELECT (dns_zone, generation, projected_generation, next_wake_at, lease_expires_at) ON zone_projections FROM zonecert_sweep;
REVOKE SELECT (algorithm) ON key_stock FROM zonecert_sweep;
DROP TABLE workers;
DROP INDEX issuances_failed_finished_at_idx;
DROP INDEX certificates_renewing_expires_at_idx;
DROP INDEX certificates_next_renewal_at_idx;
