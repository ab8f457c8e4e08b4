-- The other key of a dual certificate, RSA beside ECDSA (docs/adr/0028-dual-certificates.md), and the version with it that is in use.
CREATE TABLE alternates (
    certificate_id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    key_algorithm text NOT NULL,
    private_key_id uuid NOT NULL,
    version_id uuid,
    CONSTRAINT alternates_account_id_certificate_id_fkey FOREIGN KEY (account_id, certificate_id) REFERENCES certificates (account_id, id),
    CONSTRAINT alternates_account_id_private_key_id_fkey FOREIGN KEY (account_id, private_key_id) REFERENCES private_keys (account_id, id),
    CONSTRAINT alternates_account_id_version_id_fkey FOREIGN KEY (account_id, version_id) REFERENCES versions (account_id, id)
);
CREATE INDEX alternates_private_key_id_idx ON alternates (private_key_id);
ALTER TABLE alternates ENABLE ROW LEVEL SECURITY;
ALTER TABLE alternates FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON alternates
    USING (account_id = nullif(current_setting('zonecert.account', true), '')::uuid)
    WITH CHECK (account_id = nullif(current_setting('zonecert.account', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE (version_id) ON alternates TO zonecert_api;
GRANT SELECT, UPDATE (version_id) ON alternates TO zonecert_worker;
GRANT SELECT ON alternates TO zonecert_admin;

-- Whether it is for the other key, and whether it has it.
ALTER TABLE issuances ADD COLUMN alternate boolean NOT NULL DEFAULT false;
ALTER TABLE versions ADD COLUMN alternate boolean NOT NULL DEFAULT false;
