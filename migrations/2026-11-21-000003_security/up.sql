-- Who may see what (docs/adr/0003-row-level-security.md). Row-level security is forced, so it binds the owner of the tables too. The tenant is the
-- setting zonecert.account of the transaction; after a SET LOCAL has ended the setting is an empty string, hence the nullif.
DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY[
        'data_keys', 'users', 'refresh_tokens', 'api_tokens', 'audit_log', 'zones', 'private_keys', 'key_versions', 'certificates',
        'certificate_names', 'certificate_entries', 'issuances', 'orders', 'authorizations', 'challenge_records', 'versions', 'events']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I
                USING (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)
                WITH CHECK (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)', tenant_table);
    END LOOP;
END
$$;
ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON accounts
    USING (id = nullif(current_setting('zonecert.account', true), '')::uuid)
    WITH CHECK (id = nullif(current_setting('zonecert.account', true), '')::uuid);

-- The API: writes what a request may change. Plan and status of an account are the operator's.
GRANT SELECT ON accounts, data_keys, users, refresh_tokens, api_tokens, audit_log, zones, private_keys, key_versions, certificates,
    certificate_names, certificate_entries, issuances, orders, authorizations, challenge_records, versions, events TO zonecert_api;
GRANT INSERT ON accounts, data_keys, users, refresh_tokens, api_tokens, audit_log, zones, private_keys, key_versions, certificates,
    certificate_names, certificate_entries, issuances, events TO zonecert_api;
GRANT UPDATE ON users, refresh_tokens, api_tokens, zones, private_keys, certificates, certificate_entries, issuances TO zonecert_api;
GRANT UPDATE (name, last_event_number, last_certificate_number, deleted_at) ON accounts TO zonecert_api;

-- The worker: everything of a tenant's certificates, nothing of its people but the account itself.
GRANT SELECT ON accounts, data_keys, zones, private_keys, key_versions, certificates, certificate_names, certificate_entries, issuances, orders,
    authorizations, challenge_records, versions, events TO zonecert_worker;
GRANT INSERT ON data_keys, private_keys, key_versions, issuances, orders, authorizations, challenge_records, versions, events, audit_log TO zonecert_worker;
GRANT UPDATE ON zones, private_keys, key_versions, certificates, issuances, orders, authorizations, challenge_records, versions TO zonecert_worker;
GRANT UPDATE (last_event_number) ON accounts TO zonecert_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON platform_data_keys, acme_accounts, zone_projections, key_stock, ca_budget TO zonecert_worker;

-- Before the tenant is known: these answer with identifiers and nothing else.
GRANT USAGE, CREATE ON SCHEMA public TO zonecert_lookup, zonecert_sweep;
GRANT SELECT (id, account_id, email, deleted_at) ON users TO zonecert_lookup;
GRANT SELECT (id, account_id, token_sha256) ON refresh_tokens, api_tokens TO zonecert_lookup;
-- A policy for a role holds for its members too, and whoever migrates is one (000001_roles): hence the look at who it is.
CREATE POLICY lookup ON users FOR SELECT TO zonecert_lookup USING (current_user = 'zonecert_lookup');
CREATE POLICY lookup ON refresh_tokens FOR SELECT TO zonecert_lookup USING (current_user = 'zonecert_lookup');
CREATE POLICY lookup ON api_tokens FOR SELECT TO zonecert_lookup USING (current_user = 'zonecert_lookup');

CREATE FUNCTION lookup_user(wanted_email text) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT users.account_id, users.id FROM users WHERE users.email = wanted_email AND users.deleted_at IS NULL
$$;
CREATE FUNCTION lookup_refresh_token(wanted_sha256 bytea) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT refresh_tokens.account_id, refresh_tokens.id FROM refresh_tokens WHERE refresh_tokens.token_sha256 = wanted_sha256
$$;
CREATE FUNCTION lookup_api_token(wanted_sha256 bytea) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT api_tokens.account_id, api_tokens.id FROM api_tokens WHERE api_tokens.token_sha256 = wanted_sha256
$$;

-- Across tenants, for the worker: which issuances nobody looks after, which TXT values a zone should hold, whether a zone is still somebody's.
GRANT SELECT (id, account_id, status, next_wake_at, woken_at, lease_expires_at) ON issuances TO zonecert_sweep;
GRANT SELECT (id, dns_zone, name, value, unwanted_at), DELETE ON challenge_records TO zonecert_sweep;
GRANT SELECT (name, mode, status, deleted_at) ON zones TO zonecert_sweep;
CREATE POLICY sweep ON issuances FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep ON challenge_records FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep_delete ON challenge_records FOR DELETE TO zonecert_sweep USING (current_user = 'zonecert_sweep' AND unwanted_at IS NOT NULL);
CREATE POLICY sweep ON zones FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');

CREATE FUNCTION sweep_issuances(grace interval, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT issuances.account_id, issuances.id FROM issuances
    WHERE status = 'active' AND next_wake_at <= now() AND woken_at <= now() - grace AND (lease_expires_at IS NULL OR lease_expires_at <= now())
    ORDER BY next_wake_at LIMIT batch
$$;
CREATE FUNCTION sweep_challenge_records(wanted_zone text) RETURNS TABLE (id uuid, name text, value text, wanted boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT challenge_records.id, challenge_records.name, challenge_records.value, challenge_records.unwanted_at IS NULL
    FROM challenge_records WHERE dns_zone = wanted_zone ORDER BY challenge_records.name, challenge_records.value
$$;
CREATE FUNCTION sweep_delete_challenge_records(gone uuid[]) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH deleted AS (DELETE FROM challenge_records WHERE challenge_records.id = ANY (gone) AND unwanted_at IS NOT NULL RETURNING 1)
    SELECT count(*) FROM deleted
$$;
CREATE FUNCTION sweep_zone_is_hosted(wanted_zone text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM zones WHERE zones.name = wanted_zone AND mode = 'hosted' AND status = 'verified' AND deleted_at IS NULL)
$$;

ALTER FUNCTION lookup_user(text) OWNER TO zonecert_lookup;
ALTER FUNCTION lookup_refresh_token(bytea) OWNER TO zonecert_lookup;
ALTER FUNCTION lookup_api_token(bytea) OWNER TO zonecert_lookup;
ALTER FUNCTION sweep_issuances(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_challenge_records(text) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_delete_challenge_records(uuid[]) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_zone_is_hosted(text) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_lookup, zonecert_sweep;
REVOKE ALL ON FUNCTION lookup_user(text), lookup_refresh_token(bytea), lookup_api_token(bytea), sweep_issuances(interval, integer),
    sweep_challenge_records(text), sweep_delete_challenge_records(uuid[]), sweep_zone_is_hosted(text), orders_keep_request(), versions_immutable()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_user(text) TO zonecert_api, CURRENT_USER;
GRANT EXECUTE ON FUNCTION lookup_refresh_token(bytea), lookup_api_token(bytea) TO zonecert_api;
GRANT EXECUTE ON FUNCTION sweep_issuances(interval, integer), sweep_challenge_records(text), sweep_delete_challenge_records(uuid[]),
    sweep_zone_is_hosted(text) TO zonecert_worker;
