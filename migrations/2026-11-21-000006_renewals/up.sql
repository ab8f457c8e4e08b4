-- Renewal, expiry, revocation and the end of keys.

ALTER TABLE certificates
    -- Why a certificate that is to renew does not: what its zone, plan or account stands in the way with. NULL where nothing does.
    ADD COLUMN renewal_blocked_by text CONSTRAINT certificates_renewal_blocked_by_check
        CHECK (renewal_blocked_by IN ('zone_deleted', 'zone_lost', 'plan', 'suspended')),
    -- What the CA last said of when to renew the current version (RFC 9773), and when to ask again. NULL: nothing to ask about.
    ADD COLUMN renewal_info_start timestamptz,
    ADD COLUMN renewal_info_end timestamptz,
    ADD COLUMN renewal_info_explanation_url text,
    ADD COLUMN renewal_info_checked_at timestamptz,
    ADD COLUMN renewal_info_due_at timestamptz,
    -- How often in a row the CA has said nothing of use since.
    ADD COLUMN renewal_info_failures integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT certificates_renewal_info_check CHECK ((renewal_info_start IS NULL) = (renewal_info_end IS NULL));
CREATE INDEX certificates_renewal_info_due_at_idx ON certificates (renewal_info_due_at) WHERE renewal_info_due_at IS NOT NULL AND deleted_at IS NULL;
-- A domain is searched by the reversed names; by the end of validity a list is paged.
CREATE INDEX certificates_account_id_expires_at_idx ON certificates (account_id, expires_at) WHERE deleted_at IS NULL;

-- Somebody has deleted the certificate: whoever works on the issuance takes its TXT values out, leaves its order, and revokes what the CA has made of it.
ALTER TABLE issuances ADD COLUMN cancel_requested_at timestamptz;
-- The certificate that the order says it replaces (RFC 9773 §5), and none once the CA has refused that.
ALTER TABLE orders ADD COLUMN replaces text;

-- A wish to have a version revoked at its CA. Repeated until the CA has confirmed or the version has expired, whatever became of its certificate.
CREATE TABLE revocations (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    certificate_id uuid NOT NULL,
    -- NULL for a chain that came too late to become a version.
    version_id uuid,
    order_id uuid NOT NULL,
    -- DER of what is to be revoked, in base64url as the CA wants it (RFC 8555 §7.6).
    certificate_der bytea NOT NULL,
    not_after timestamptz NOT NULL,
    -- RFC 5280 §5.3.1.
    reason integer NOT NULL CONSTRAINT revocations_reason_check CHECK (reason IN (0, 1, 3, 4, 5)),
    requested_by text NOT NULL,
    status text NOT NULL DEFAULT 'active' CONSTRAINT revocations_status_check CHECK (status IN ('active', 'succeeded', 'expired', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    -- Nobody asks the CA before; whoever asks puts this off first, so that nobody else does.
    next_attempt_at timestamptz DEFAULT now(),
    failure jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT revocations_account_id_certificate_id_fkey FOREIGN KEY (account_id, certificate_id) REFERENCES certificates (account_id, id),
    CONSTRAINT revocations_account_id_version_id_fkey FOREIGN KEY (account_id, version_id) REFERENCES versions (account_id, id),
    CONSTRAINT revocations_account_id_order_id_fkey FOREIGN KEY (account_id, order_id) REFERENCES orders (account_id, id),
    CONSTRAINT revocations_next_attempt_at_check CHECK ((status = 'active') = (next_attempt_at IS NOT NULL)),
    CONSTRAINT revocations_finished_at_check CHECK ((status = 'active') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX revocations_version_id_active_key ON revocations (version_id) WHERE status = 'active';
CREATE INDEX revocations_certificate_id_idx ON revocations (certificate_id, created_at);
CREATE INDEX revocations_next_attempt_at_idx ON revocations (next_attempt_at) WHERE status = 'active';
CREATE INDEX revocations_order_id_idx ON revocations (order_id);

-- The answer to a POST that named an Idempotency-Key, to be given again.
CREATE TABLE idempotency_keys (
    account_id uuid NOT NULL REFERENCES accounts (id),
    key text NOT NULL CONSTRAINT idempotency_keys_key_check CHECK (length(key) BETWEEN 1 AND 255),
    -- Who sent it, what and where to: the key of one caller does not answer another, nor another request.
    caller text NOT NULL,
    request_sha256 bytea NOT NULL,
    status integer NOT NULL,
    location text,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, caller, key)
);
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['revocations', 'idempotency_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I
                USING (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)
                WITH CHECK (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)', tenant_table);
    END LOOP;
END
$$;
GRANT SELECT, INSERT ON revocations, idempotency_keys TO zonecert_api;
GRANT SELECT, INSERT, UPDATE ON revocations TO zonecert_worker;
-- The names beside the domain can be changed.
GRANT DELETE ON certificate_names TO zonecert_api;
-- Deleting a certificate destroys its keys in the same transaction.
GRANT UPDATE (sealed, destroyed_at) ON key_versions TO zonecert_api;

CREATE FUNCTION key_versions_stay_destroyed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'key version % can be destroyed, and nothing else', OLD.id USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER key_versions_stay_destroyed BEFORE UPDATE OF sealed, destroyed_at ON key_versions FOR EACH ROW
    WHEN (current_user = 'zonecert_api' AND (OLD.destroyed_at IS NOT NULL OR NEW.sealed IS NOT NULL)) EXECUTE FUNCTION key_versions_stay_destroyed();

-- Across tenants: what is due. Each claims by putting the row off, so that of any number of scanners one gets it, and a scanner that dies
-- delays it by no more than that.
GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (id, account_id, status, expires_at, deleted_at, renewal_due_at, renewal_info_due_at), UPDATE (renewal_due_at, renewal_info_due_at)
    ON certificates TO zonecert_sweep;
CREATE POLICY sweep ON certificates FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep_claim ON certificates FOR UPDATE TO zonecert_sweep USING (current_user = 'zonecert_sweep') WITH CHECK (current_user = 'zonecert_sweep');
GRANT SELECT (id, account_id, status, next_attempt_at) ON revocations TO zonecert_sweep;
CREATE POLICY sweep ON revocations FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
GRANT SELECT (account_id, caller, key, created_at), DELETE ON idempotency_keys TO zonecert_sweep;
CREATE POLICY sweep ON idempotency_keys FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep_delete ON idempotency_keys FOR DELETE TO zonecert_sweep USING (current_user = 'zonecert_sweep');

CREATE FUNCTION sweep_due_renewals(put_off interval, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE certificates SET renewal_due_at = now() + put_off WHERE certificates.id IN (
        SELECT due.id FROM certificates AS due WHERE due.renewal_due_at <= now() AND due.deleted_at IS NULL
        ORDER BY due.renewal_due_at LIMIT batch FOR UPDATE SKIP LOCKED)
    RETURNING certificates.account_id, certificates.id
$$;
CREATE FUNCTION sweep_due_renewal_info(put_off interval, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE certificates SET renewal_info_due_at = now() + put_off WHERE certificates.id IN (
        SELECT due.id FROM certificates AS due WHERE due.renewal_info_due_at <= now() AND due.deleted_at IS NULL
        ORDER BY due.renewal_info_due_at LIMIT batch FOR UPDATE SKIP LOCKED)
    RETURNING certificates.account_id, certificates.id
$$;
CREATE FUNCTION sweep_expired_certificates(batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT certificates.account_id, certificates.id FROM certificates
    WHERE status = 'issued' AND deleted_at IS NULL AND expires_at <= now() ORDER BY expires_at LIMIT batch
$$;
CREATE FUNCTION sweep_revocations(batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT revocations.account_id, revocations.id FROM revocations WHERE status = 'active' AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT batch
$$;
CREATE FUNCTION sweep_idempotency_keys(age interval, batch integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH old AS (SELECT account_id, caller, key FROM idempotency_keys WHERE created_at <= now() - age ORDER BY created_at LIMIT batch),
    deleted AS (DELETE FROM idempotency_keys USING old WHERE idempotency_keys.account_id = old.account_id
        AND idempotency_keys.caller = old.caller AND idempotency_keys.key = old.key RETURNING 1)
    SELECT count(*) FROM deleted
$$;
ALTER FUNCTION sweep_due_renewals(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_due_renewal_info(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_expired_certificates(integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_revocations(integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_idempotency_keys(interval, integer) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_due_renewals(interval, integer), sweep_due_renewal_info(interval, integer), sweep_expired_certificates(integer),
    sweep_revocations(integer), sweep_idempotency_keys(interval, integer), key_versions_stay_destroyed() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_due_renewals(interval, integer), sweep_due_renewal_info(interval, integer), sweep_expired_certificates(integer),
    sweep_revocations(integer), sweep_idempotency_keys(interval, integer) TO zonecert_worker;

-- Cleared by age.
CREATE INDEX ca_budget_at_idx ON ca_budget (at);

-- What was spent at a CA, for the preflight: a number, never whose.
GRANT CREATE ON SCHEMA public TO zonecert_lookup;
GRANT SELECT (directory_url, kind, subject, at) ON ca_budget TO zonecert_lookup;
CREATE FUNCTION lookup_ca_budget(wanted_directory text, wanted_kind text, wanted_subject text, since interval) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT count(*) FROM ca_budget WHERE directory_url = wanted_directory AND kind = wanted_kind AND subject = wanted_subject AND at > now() - since
$$;
ALTER FUNCTION lookup_ca_budget(text, text, text, interval) OWNER TO zonecert_lookup;
REVOKE CREATE ON SCHEMA public FROM zonecert_lookup;
REVOKE ALL ON FUNCTION lookup_ca_budget(text, text, text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_ca_budget(text, text, text, interval) TO zonecert_api, zonecert_worker;
