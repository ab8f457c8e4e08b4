-- The download API (docs/adr/0024-download-api.md): programs fetch the files of one certificate or one private key with an API key of just that.

-- Whether an API key may stand in the URL, for clients that can set no header (requirements S0.7, S1.3).
ALTER TABLE certificates ADD COLUMN api_key_via_url boolean NOT NULL DEFAULT false;
ALTER TABLE private_keys
    ADD COLUMN api_key_via_url boolean NOT NULL DEFAULT false,
    -- Made as a resource of its own: it stays when the certificates are gone that use it.
    ADD COLUMN is_resource boolean NOT NULL DEFAULT false;
CREATE INDEX certificates_private_key_id_idx ON certificates (private_key_id) WHERE private_key_id IS NOT NULL AND deleted_at IS NULL;

-- SHA-256 only. At most two of a certificate or key are valid at a time.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    certificate_id uuid,
    private_key_id uuid,
    created_by uuid NOT NULL,
    prefix text NOT NULL,
    key_sha256 bytea NOT NULL CONSTRAINT api_keys_key_sha256_key UNIQUE,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CONSTRAINT api_keys_certificate_id_check CHECK (num_nonnulls(certificate_id, private_key_id) = 1),
    CONSTRAINT api_keys_account_id_certificate_id_fkey FOREIGN KEY (account_id, certificate_id) REFERENCES certificates (account_id, id),
    CONSTRAINT api_keys_account_id_private_key_id_fkey FOREIGN KEY (account_id, private_key_id) REFERENCES private_keys (account_id, id),
    CONSTRAINT api_keys_account_id_created_by_fkey FOREIGN KEY (account_id, created_by) REFERENCES users (account_id, id)
);
CREATE INDEX api_keys_certificate_id_idx ON api_keys (certificate_id) WHERE revoked_at IS NULL;
CREATE INDEX api_keys_private_key_id_idx ON api_keys (private_key_id) WHERE revoked_at IS NULL;

-- A version with its key as PKCS#12, together with the password that it was made for, both sealed: with random salts inside, it can be made twice, but not
-- alike (requirements S1.4).
CREATE TABLE pfx_files (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    version_id uuid NOT NULL,
    key_version_id uuid NOT NULL,
    encryption text NOT NULL CONSTRAINT pfx_files_encryption_check CHECK (encryption IN ('aes256', '3des')),
    data_key_id uuid NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pfx_files_account_id_version_id_fkey FOREIGN KEY (account_id, version_id) REFERENCES versions (account_id, id),
    CONSTRAINT pfx_files_account_id_key_version_id_fkey FOREIGN KEY (account_id, key_version_id) REFERENCES key_versions (account_id, id),
    CONSTRAINT pfx_files_account_id_data_key_id_fkey FOREIGN KEY (account_id, data_key_id) REFERENCES data_keys (account_id, id)
);
CREATE INDEX pfx_files_version_id_idx ON pfx_files (version_id);
CREATE INDEX pfx_files_key_version_id_idx ON pfx_files (key_version_id);
CREATE TRIGGER sealed_under_a_live_key AFTER INSERT OR UPDATE OF data_key_id ON pfx_files FOR EACH ROW EXECUTE FUNCTION sealed_under_a_live_key();

-- Whoever destroys a key destroys every file that it is in.
CREATE FUNCTION pfx_files_end_with_their_key() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM pfx_files WHERE account_id = NEW.account_id AND key_version_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER pfx_files_end_with_their_key AFTER UPDATE OF sealed ON key_versions FOR EACH ROW
    WHEN (NEW.sealed IS NULL) EXECUTE FUNCTION pfx_files_end_with_their_key();
REVOKE ALL ON FUNCTION pfx_files_end_with_their_key() FROM PUBLIC;

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['api_keys', 'pfx_files'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I
                USING (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)
                WITH CHECK (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)', tenant_table);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE ON api_keys TO zonecert_api;
GRANT SELECT, INSERT, DELETE ON pfx_files TO zonecert_api;
-- The worker ends what an account had, and destroys keys.
GRANT SELECT (account_id, revoked_at), UPDATE (revoked_at) ON api_keys TO zonecert_worker;
GRANT SELECT (account_id, key_version_id), DELETE ON pfx_files TO zonecert_worker;
GRANT SELECT (id, account_id, data_key_id, sealed), UPDATE (data_key_id, sealed) ON pfx_files TO zonecert_keys;

-- Whose an API key is, before the tenant is known.
GRANT CREATE ON SCHEMA public TO zonecert_lookup;
GRANT SELECT (id, account_id, key_sha256) ON api_keys TO zonecert_lookup;
CREATE POLICY lookup ON api_keys FOR SELECT TO zonecert_lookup USING (current_user = 'zonecert_lookup');
CREATE FUNCTION lookup_api_key(wanted_sha256 bytea) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT api_keys.account_id, api_keys.id FROM api_keys WHERE api_keys.key_sha256 = wanted_sha256
$$;
ALTER FUNCTION lookup_api_key(bytea) OWNER TO zonecert_lookup;
REVOKE CREATE ON SCHEMA public FROM zonecert_lookup;
REVOKE ALL ON FUNCTION lookup_api_key(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lookup_api_key(bytea) TO zonecert_api;
