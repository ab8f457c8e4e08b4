GRANT CREATE ON SCHEMA public TO zonecert_sweep;
CREATE FUNCTION sweep_zone_is_hosted(wanted_zone text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM zones WHERE zones.name = wanted_zone AND mode = 'hosted' AND status = 'verified' AND deleted_at IS NULL)
$$;
ALTER FUNCTION sweep_zone_is_hosted(text) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_zone_is_hosted(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_zone_is_hosted(text) TO zonecert_worker;
DROP FUNCTION sweep_delete_zone_records(text, uuid[]), sweep_zone_records(text), sweep_zone_proofs(text);
DROP FUNCTION lookup_zone_projection(text);
REVOKE SELECT (name, mode, status, deleted_at) ON zones FROM zonecert_lookup;
REVOKE SELECT (dns_zone, generation, projected_generation, failures, last_error) ON zone_projections FROM zonecert_lookup;
DROP FUNCTION sweep_due_zone_checks(interval, integer), sweep_zone_holder(text);
DROP POLICY sweep_claim ON zones;
REVOKE UPDATE (next_check_at), SELECT (id, account_id, verification_value, verified_at, next_check_at, lost_at, adopted_at) ON zones FROM zonecert_sweep;
DROP TABLE zone_records;
ALTER TABLE zones DROP COLUMN next_check_at, DROP COLUMN failed_checks, DROP COLUMN lost_at, DROP COLUMN adopted_at;
