-- ACME accounts that customers have at a CA themselves (docs/adr/0029-own-acme-accounts.md). What people see is here; what signs is in `acme_accounts`, under the
-- same identifier, sealed by the platform, so that the CA can still be told of revocations when the customer's account has ended.
CREATE TABLE own_acme_accounts (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    name text NOT NULL,
    -- E-mail addresses, and those that the CA has been told.
    contact text[] NOT NULL,
    registered_contact text[],
    directory_url text NOT NULL,
    -- The external account that it is bound to (RFC 8555 §7.3.4). Its MAC key is kept until the CA knows the account.
    eab_kid text,
    data_key_id uuid,
    sealed_eab bytea,
    status text NOT NULL DEFAULT 'pending' CONSTRAINT own_acme_accounts_status_check CHECK (status IN ('pending', 'valid', 'failed', 'deactivated')),
    last_error jsonb,
    -- The CA is to be asked for something, since when, how often it was, and when next. Whoever asks it puts that off first.
    work_since timestamptz DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz DEFAULT now(),
    claimed_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT own_acme_accounts_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT own_acme_accounts_account_id_data_key_id_fkey FOREIGN KEY (account_id, data_key_id) REFERENCES data_keys (account_id, id),
    CONSTRAINT own_acme_accounts_sealed_eab_check CHECK ((sealed_eab IS NULL) = (data_key_id IS NULL)),
    CONSTRAINT own_acme_accounts_next_attempt_at_check CHECK ((next_attempt_at IS NULL) = (work_since IS NULL))
);
CREATE INDEX own_acme_accounts_account_id_created_at_idx ON own_acme_accounts (account_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX own_acme_accounts_next_attempt_at_idx ON own_acme_accounts (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
ALTER TABLE own_acme_accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE own_acme_accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON own_acme_accounts
    USING (account_id = nullif(current_setting('zonecert.account', true), '')::uuid)
    WITH CHECK (account_id = nullif(current_setting('zonecert.account', true), '')::uuid);
-- The API seals a MAC key and never reads one.
GRANT SELECT (id, account_id, name, contact, registered_contact, directory_url, eab_kid, status, last_error, work_since, attempts, next_attempt_at, claimed_until,
    created_at, deleted_at), INSERT, UPDATE ON own_acme_accounts TO zonecert_api;
GRANT SELECT, UPDATE ON own_acme_accounts TO zonecert_worker;
GRANT SELECT (id, account_id, data_key_id, sealed_eab), UPDATE (data_key_id, sealed_eab) ON own_acme_accounts TO zonecert_keys;
CREATE TRIGGER sealed_under_a_live_key AFTER INSERT OR UPDATE OF data_key_id ON own_acme_accounts FOR EACH ROW
    WHEN (NEW.sealed_eab IS NOT NULL) EXECUTE FUNCTION sealed_under_a_live_key();

-- The key is there before the CA has heard of it, and gone once the CA was told that the account is of no use any more.
ALTER TABLE acme_accounts
    ADD COLUMN is_own boolean NOT NULL DEFAULT false,
    ALTER COLUMN account_url DROP NOT NULL,
    ALTER COLUMN data_key_id DROP NOT NULL,
    ALTER COLUMN sealed_credentials DROP NOT NULL,
    ADD CONSTRAINT acme_accounts_sealed_credentials_check CHECK ((sealed_credentials IS NULL) = (data_key_id IS NULL)),
    ADD CONSTRAINT acme_accounts_is_own_check CHECK (is_own OR account_url IS NOT NULL AND sealed_credentials IS NOT NULL);
DROP INDEX acme_accounts_directory_url_key;
CREATE UNIQUE INDEX acme_accounts_directory_url_key ON acme_accounts (directory_url) WHERE lost_at IS NULL AND NOT is_own;

-- Whose account a certificate is ordered with, and an order was placed with. NULL is the platform's.
ALTER TABLE certificates
    ADD COLUMN acme_account_id uuid,
    ADD CONSTRAINT certificates_account_id_acme_account_id_fkey FOREIGN KEY (account_id, acme_account_id) REFERENCES own_acme_accounts (account_id, id);
CREATE INDEX certificates_acme_account_id_idx ON certificates (acme_account_id) WHERE acme_account_id IS NOT NULL;
ALTER TABLE orders
    ADD COLUMN own_acme_account_id uuid,
    ADD CONSTRAINT orders_account_id_own_acme_account_id_fkey FOREIGN KEY (account_id, own_acme_account_id) REFERENCES own_acme_accounts (account_id, id);
CREATE INDEX orders_own_acme_account_id_idx ON orders (own_acme_account_id) WHERE own_acme_account_id IS NOT NULL;

GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (id, account_id, next_attempt_at, attempts, claimed_until), UPDATE (next_attempt_at, attempts, claimed_until) ON own_acme_accounts TO zonecert_sweep;
CREATE POLICY sweep ON own_acme_accounts FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep_update ON own_acme_accounts FOR UPDATE TO zonecert_sweep USING (current_user = 'zonecert_sweep' AND next_attempt_at IS NOT NULL);
-- ACME accounts about which a CA is to be asked for something. Claims by putting off.
CREATE FUNCTION sweep_own_acme_accounts(put_off interval, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE own_acme_accounts SET next_attempt_at = now() + put_off, claimed_until = now() + put_off, attempts = attempts + 1
    WHERE own_acme_accounts.id IN (
        SELECT due.id FROM own_acme_accounts AS due WHERE due.next_attempt_at <= now() ORDER BY due.next_attempt_at LIMIT batch FOR UPDATE SKIP LOCKED)
    RETURNING own_acme_accounts.account_id, own_acme_accounts.id
$$;
-- The same as before, and an account is not over while a CA has to be told of its ACME accounts.
DROP FUNCTION sweep_ended_accounts(interval, integer);
CREATE FUNCTION sweep_ended_accounts(patience interval, batch integer) RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT accounts.id FROM accounts
    WHERE deletion_requested_at <= now() - patience AND deleted_at IS NULL
        AND (destroyed_at IS NULL
            OR NOT EXISTS (SELECT FROM issuances WHERE issuances.account_id = accounts.id AND issuances.status = 'active')
                AND NOT EXISTS (SELECT FROM revocations WHERE revocations.account_id = accounts.id AND revocations.status = 'active')
                AND NOT EXISTS (SELECT FROM own_acme_accounts WHERE own_acme_accounts.account_id = accounts.id AND next_attempt_at IS NOT NULL))
    ORDER BY deletion_requested_at LIMIT batch
$$;
ALTER FUNCTION sweep_own_acme_accounts(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_ended_accounts(interval, integer) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_own_acme_accounts(interval, integer), sweep_ended_accounts(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_own_acme_accounts(interval, integer), sweep_ended_accounts(interval, integer) TO zonecert_worker;
