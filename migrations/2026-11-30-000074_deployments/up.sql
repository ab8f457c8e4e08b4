-- Where certificates are in use, as the servers that fetch them report it (docs/adr/0026-agent.md): the last report of each target.
CREATE TABLE deployments (
    account_id uuid NOT NULL REFERENCES accounts (id),
    certificate_id uuid NOT NULL,
    -- What the server calls itself.
    target text NOT NULL CONSTRAINT deployments_target_check CHECK (length(target) BETWEEN 1 AND 100),
    -- SHA-256 of the leaf that was seen in a TLS handshake, and of the one in the files.
    served_sha256 text CONSTRAINT deployments_served_sha256_check CHECK (served_sha256 ~ '^[0-9a-f]{64}$'),
    installed_sha256 text CONSTRAINT deployments_installed_sha256_check CHECK (installed_sha256 ~ '^[0-9a-f]{64}$'),
    installed_version_id uuid,
    agent_version text CONSTRAINT deployments_agent_version_check CHECK (length(agent_version) BETWEEN 1 AND 50),
    -- What went wrong there.
    error text CONSTRAINT deployments_error_check CHECK (length(error) BETWEEN 1 AND 500),
    -- What followed from the report when it came. The log of the certificate has an entry where that changed.
    state text NOT NULL CONSTRAINT deployments_state_check CHECK (state IN ('serving', 'stale', 'unknown')),
    created_at timestamptz NOT NULL DEFAULT now(),
    reported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, certificate_id, target),
    CONSTRAINT deployments_account_id_certificate_id_fkey FOREIGN KEY (account_id, certificate_id) REFERENCES certificates (account_id, id),
    CONSTRAINT deployments_account_id_installed_version_id_fkey FOREIGN KEY (account_id, installed_version_id) REFERENCES versions (account_id, id)
);
ALTER TABLE deployments ENABLE ROW LEVEL SECURITY;
ALTER TABLE deployments FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON deployments
    USING (account_id = nullif(current_setting('zonecert.account', true), '')::uuid)
    WITH CHECK (account_id = nullif(current_setting('zonecert.account', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON deployments TO zonecert_api;
-- For the end of an account.
GRANT SELECT (account_id), DELETE ON deployments TO zonecert_worker;
