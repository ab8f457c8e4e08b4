ALTER DEFAULT PRIVILEGES IN SCHEMA apalis REVOKE ALL ON TABLES FROM zonecert_worker;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA apalis FROM zonecert_worker;
REVOKE ALL ON ALL TABLES IN SCHEMA apalis FROM zonecert_worker;
REVOKE ALL ON SCHEMA apalis FROM zonecert_worker;
DROP FUNCTION request_projection(text), wake_forgotten_issuance(uuid, interval), wake_issuance(uuid, timestamptz), enqueue_job(text, jsonb, text, timestamptz);
