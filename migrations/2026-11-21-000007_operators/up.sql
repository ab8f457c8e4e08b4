-- Plans, suspensions and the end of an account are the operator's: the role zonecert_admin logs in for the admin API alone.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'zonecert_admin') THEN
        BEGIN
            CREATE ROLE zonecert_admin LOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
END
$$;

ALTER TABLE accounts ADD COLUMN suspended_at timestamptz,
    ADD COLUMN suspension_note text,
    -- An owner has asked for the end of the account: after 30 days its data key is destroyed. Until then they may change their mind.
    ADD COLUMN deletion_requested_at timestamptz,
    ADD COLUMN destroyed_at timestamptz;
UPDATE accounts SET suspended_at = now() WHERE status <> 'active';
ALTER TABLE accounts ADD CONSTRAINT accounts_suspended_at_check CHECK ((status = 'active') = (suspended_at IS NULL));

-- Whoever registers begins on the free plan, active: the API's role cannot say anything else.
REVOKE INSERT ON accounts FROM zonecert_api;
GRANT INSERT (id, name, created_at) ON accounts TO zonecert_api;
GRANT UPDATE (deletion_requested_at) ON accounts TO zonecert_api;

-- The data key is what opens an account's secrets: wiping `wrapped` is the end of all of them.
ALTER TABLE data_keys ALTER COLUMN wrapped DROP NOT NULL, ADD COLUMN destroyed_at timestamptz,
    ADD CONSTRAINT data_keys_destroyed_at_check CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL));

GRANT SELECT ON accounts, zones, certificates, certificate_names, issuances, orders, versions, events, audit_log TO zonecert_admin;
GRANT SELECT (id, account_id, email, name, role, email_verified_at, last_login_at, created_at, deleted_at) ON users TO zonecert_admin;
GRANT UPDATE (plan, status, suspended_at, suspension_note, last_event_number) ON accounts TO zonecert_admin;
GRANT UPDATE (next_renewal_at, renewal_due_at, renewal_blocked_by, updated_at) ON certificates TO zonecert_admin;
GRANT UPDATE (wake_seq, woken_at, next_wake_at) ON issuances TO zonecert_admin;
GRANT INSERT ON audit_log, events TO zonecert_admin;
GRANT EXECUTE ON FUNCTION lookup_user(text), enqueue_job(text, jsonb, text, timestamptz), wake_issuance(uuid, timestamptz), request_projection(text) TO zonecert_admin;
GRANT UPDATE (deleted_at, destroyed_at) ON accounts TO zonecert_worker;
GRANT UPDATE (wrapped, destroyed_at) ON data_keys TO zonecert_worker;
-- The end of an account takes access from its people and tokens, of whom the worker reads nothing else.
GRANT SELECT (account_id, deleted_at), UPDATE (deleted_at) ON users TO zonecert_worker;
GRANT SELECT (account_id, revoked_at), UPDATE (revoked_at) ON api_tokens, refresh_tokens TO zonecert_worker;
GRANT SELECT (account_id, revoked_at, accepted_at), UPDATE (revoked_at) ON invitations TO zonecert_worker;
GRANT SELECT (account_id, used_at), UPDATE (used_at) ON email_tokens TO zonecert_worker;

GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (id, name, plan, status, created_at, deleted_at, deletion_requested_at, destroyed_at) ON accounts TO zonecert_sweep;
CREATE POLICY sweep ON accounts FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
-- A page of all accounts, by identifier, which is by age.
CREATE FUNCTION sweep_accounts(after uuid, batch integer) RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT accounts.id FROM accounts WHERE after IS NULL OR accounts.id > after ORDER BY accounts.id LIMIT batch
$$;
-- Accounts whose end was asked for, until nothing is left to be ended: first what they hold, then, when no CA has to be told of anything any more, their row.
CREATE FUNCTION sweep_ended_accounts(patience interval, batch integer) RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT accounts.id FROM accounts
    WHERE deletion_requested_at <= now() - patience AND deleted_at IS NULL
        AND (destroyed_at IS NULL
            OR NOT EXISTS (SELECT FROM issuances WHERE issuances.account_id = accounts.id AND issuances.status = 'active')
                AND NOT EXISTS (SELECT FROM revocations WHERE revocations.account_id = accounts.id AND revocations.status = 'active'))
    ORDER BY deletion_requested_at LIMIT batch
$$;
CREATE INDEX accounts_deletion_requested_at_idx ON accounts (deletion_requested_at) WHERE deleted_at IS NULL;
ALTER FUNCTION sweep_accounts(uuid, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_ended_accounts(interval, integer) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_accounts(uuid, integer), sweep_ended_accounts(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_accounts(uuid, integer) TO zonecert_admin;
GRANT EXECUTE ON FUNCTION sweep_ended_accounts(interval, integer) TO zonecert_worker;
