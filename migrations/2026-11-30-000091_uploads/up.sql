-- Uploaded certificates (docs/adr/0031-uploads.md): the API stores their versions itself, and any version is found by what stands in it.
GRANT INSERT ON versions TO zonecert_api;

CREATE INDEX versions_account_id_serial_idx ON versions (account_id, serial);
CREATE INDEX versions_account_id_fingerprint_sha256_idx ON versions (account_id, fingerprint_sha256);
