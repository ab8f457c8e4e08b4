-- Live listeners (server-sent events) are told when an account has a new event, at commit. The numbers of an account's events follow its commits, since
-- they are given under the lock of its row.
CREATE FUNCTION events_notify() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_notify('zonecert_events', NEW.account_id || ':' || NEW.number);
    RETURN NULL;
END
$$;
CREATE TRIGGER events_notify AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION events_notify();
REVOKE ALL ON FUNCTION events_notify() FROM PUBLIC;

-- The audit log is read newest first, page by page.
CREATE INDEX audit_log_account_id_at_id_idx ON audit_log (account_id, at, id);
DROP INDEX audit_log_account_id_at_idx;
