-- What a certificate is asked for beside names and key: fields of the request's subject (`country`, `state`, `locality`, `organization`,
-- `organizational_unit`), and the CA's profile; each empty where nothing is wished.
ALTER TABLE certificates
    ADD COLUMN csr_subject jsonb CONSTRAINT certificates_csr_subject_check CHECK (jsonb_typeof(csr_subject) = 'object'),
    ADD COLUMN profile text;
-- What the CA was asked for.
ALTER TABLE orders ADD COLUMN profile text;

-- The profiles that the CAs offer (draft-ietf-acme-profiles), with the CA's words about each, as their directories said when they were last read.
CREATE TABLE ca_profiles (
    environment text NOT NULL CONSTRAINT ca_profiles_environment_check CHECK (environment IN ('production', 'staging')),
    directory_url text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    PRIMARY KEY (environment, directory_url, name)
);
GRANT SELECT ON ca_profiles TO zonecert_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON ca_profiles TO zonecert_worker;
