CREATE INDEX audit_log_account_id_at_idx ON audit_log (account_id, at);
DROP INDEX audit_log_account_id_at_id_idx;
DROP TRIGGER events_notify ON events;
DROP FUNCTION events_notify();
