DROP INDEX versions_account_id_fingerprint_sha256_idx;
DROP INDEX versions_account_id_serial_idx;
REVOKE INSERT ON versions FROM zonecert_api;
