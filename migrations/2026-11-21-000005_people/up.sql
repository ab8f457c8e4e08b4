-- People of an account, what mail proves of them, and how guessing is slowed down.

ALTER TABLE users ADD COLUMN name text CONSTRAINT users_name_check CHECK (length(name) BETWEEN 1 AND 100),
    -- Access tokens and refresh tokens from before are void: a log-out everywhere, or a new password.
    ADD COLUMN signed_out_at timestamptz;
-- Whether it travels as a cookie (requirements X20): its successors do too.
ALTER TABLE refresh_tokens ADD COLUMN cookie boolean NOT NULL DEFAULT false;
CREATE INDEX refresh_tokens_user_id_idx ON refresh_tokens (user_id) WHERE revoked_at IS NULL;
ALTER TABLE api_tokens ADD COLUMN cidrs text[] NOT NULL DEFAULT '{}';

-- A link in a mail proves that somebody reads it: once, and not for long.
CREATE TABLE email_tokens (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    user_id uuid NOT NULL,
    purpose text NOT NULL CONSTRAINT email_tokens_purpose_check CHECK (purpose IN ('verify_email', 'reset_password')),
    -- The address that it was sent to: a token for an address that the user has left proves nothing.
    email text NOT NULL,
    token_sha256 bytea NOT NULL CONSTRAINT email_tokens_token_sha256_key UNIQUE,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT email_tokens_account_id_user_id_fkey FOREIGN KEY (account_id, user_id) REFERENCES users (account_id, id)
);
CREATE INDEX email_tokens_user_id_idx ON email_tokens (user_id);
CREATE INDEX email_tokens_expires_at_idx ON email_tokens (expires_at);

CREATE TABLE invitations (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    email text NOT NULL CONSTRAINT invitations_email_check CHECK (email = lower(email)),
    role text NOT NULL CONSTRAINT invitations_role_check CHECK (role IN ('owner', 'member', 'viewer')),
    token_sha256 bytea NOT NULL CONSTRAINT invitations_token_sha256_key UNIQUE,
    invited_by uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    accepted_at timestamptz,
    revoked_at timestamptz,
    -- When the link that holds was made: sending again makes another.
    sent_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT invitations_account_id_invited_by_fkey FOREIGN KEY (account_id, invited_by) REFERENCES users (account_id, id)
);
-- One open invitation per address and account.
CREATE UNIQUE INDEX invitations_account_id_email_key ON invitations (account_id, email) WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX invitations_account_id_idx ON invitations (account_id, created_at);

-- Mail on its way. Written with what it follows from; a worker sends it, at least once. What it holds may be a secret (a link that resets a password), so
-- it is sealed, and wiped when the mail is gone or given up.
CREATE TABLE mails (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    recipient text NOT NULL,
    template text NOT NULL,
    data_key_id uuid NOT NULL,
    sealed bytea,
    attempts integer NOT NULL DEFAULT 0,
    -- Nobody sends it before; whoever sends it puts this off first, so that nobody else does.
    next_attempt_at timestamptz DEFAULT now(),
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    failed_at timestamptz,
    CONSTRAINT mails_account_id_data_key_id_fkey FOREIGN KEY (account_id, data_key_id) REFERENCES data_keys (account_id, id),
    CONSTRAINT mails_next_attempt_at_check CHECK ((next_attempt_at IS NULL) = (sent_at IS NOT NULL OR failed_at IS NOT NULL)),
    CONSTRAINT mails_sealed_check CHECK ((sealed IS NULL) = (next_attempt_at IS NULL))
);
CREATE INDEX mails_next_attempt_at_idx ON mails (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX mails_created_at_idx ON mails (created_at);

-- Platform: failed log-ins, before anybody knows whose they are. `subject` is a hash of an e-mail address or a network.
CREATE TABLE sign_in_failures (
    subject bytea PRIMARY KEY,
    failures integer NOT NULL,
    first_failed_at timestamptz NOT NULL DEFAULT now(),
    last_failed_at timestamptz NOT NULL DEFAULT now(),
    blocked_until timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sign_in_failures_last_failed_at_idx ON sign_in_failures (last_failed_at);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['email_tokens', 'invitations', 'mails'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I
                USING (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)
                WITH CHECK (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)', tenant_table);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE ON email_tokens, invitations TO zonecert_api;
GRANT INSERT ON mails TO zonecert_api;
GRANT SELECT, UPDATE ON mails TO zonecert_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_failures TO zonecert_api;
GRANT SELECT, DELETE ON sign_in_failures TO zonecert_worker;

GRANT CREATE ON SCHEMA public TO zonecert_lookup, zonecert_sweep;
GRANT SELECT (id, account_id, token_sha256) ON email_tokens, invitations TO zonecert_lookup;
CREATE POLICY lookup ON email_tokens FOR SELECT TO zonecert_lookup USING (current_user = 'zonecert_lookup');
CREATE POLICY lookup ON invitations FOR SELECT TO zonecert_lookup USING (current_user = 'zonecert_lookup');
CREATE FUNCTION lookup_email_token(wanted_sha256 bytea) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT email_tokens.account_id, email_tokens.id FROM email_tokens WHERE email_tokens.token_sha256 = wanted_sha256
$$;
CREATE FUNCTION lookup_invitation(wanted_sha256 bytea) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT invitations.account_id, invitations.id FROM invitations WHERE invitations.token_sha256 = wanted_sha256
$$;
GRANT SELECT (id, account_id, next_attempt_at) ON mails TO zonecert_sweep;
CREATE POLICY sweep ON mails FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE FUNCTION sweep_mails(grace interval, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT mails.account_id, mails.id FROM mails WHERE next_attempt_at <= now() - grace ORDER BY next_attempt_at LIMIT batch
$$;
ALTER FUNCTION lookup_email_token(bytea) OWNER TO zonecert_lookup;
ALTER FUNCTION lookup_invitation(bytea) OWNER TO zonecert_lookup;
ALTER FUNCTION sweep_mails(interval, integer) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_lookup, zonecert_sweep;
REVOKE ALL ON FUNCTION lookup_email_token(bytea), lookup_invitation(bytea), sweep_mails(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_email_token(bytea), lookup_invitation(bytea) TO zonecert_api;
GRANT EXECUTE ON FUNCTION sweep_mails(interval, integer) TO zonecert_worker;
