DROP FUNCTION lookup_api_key(bytea);
DROP TRIGGER pfx_files_end_with_their_key ON key_versions;
DROP FUNCTION pfx_files_end_with_their_key();
DROP TABLE pfx_files;
DROP TABLE api_keys;
DROP INDEX certificates_private_key_id_idx;
ALTER TABLE private_keys DROP COLUMN is_resource, DROP COLUMN api_key_via_url;
ALTER TABLE certificates DROP COLUMN api_key_via_url;
