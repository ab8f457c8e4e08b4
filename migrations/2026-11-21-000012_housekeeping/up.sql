-- What is over and known to nobody any more is deleted, of all tenants, by its age.
CREATE INDEX refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);

GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (id, expires_at), DELETE ON refresh_tokens, email_tokens TO zonecert_sweep;
GRANT SELECT (created_at), DELETE ON mails TO zonecert_sweep;
CREATE POLICY sweep ON refresh_tokens FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep ON email_tokens FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep_delete ON refresh_tokens FOR DELETE TO zonecert_sweep USING (current_user = 'zonecert_sweep' AND expires_at <= now());
CREATE POLICY sweep_delete ON email_tokens FOR DELETE TO zonecert_sweep USING (current_user = 'zonecert_sweep' AND expires_at <= now());
CREATE POLICY sweep_delete ON mails FOR DELETE TO zonecert_sweep USING (current_user = 'zonecert_sweep' AND next_attempt_at IS NULL);

-- Used and revoked ones as well, once they would have ended by themselves: until then a second use of one is told from a guess.
CREATE FUNCTION sweep_refresh_tokens(age interval, batch integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH old AS (SELECT id FROM refresh_tokens WHERE expires_at <= now() - age ORDER BY expires_at LIMIT batch),
    deleted AS (DELETE FROM refresh_tokens USING old WHERE refresh_tokens.id = old.id RETURNING 1)
    SELECT count(*) FROM deleted
$$;
CREATE FUNCTION sweep_email_tokens(age interval, batch integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH old AS (SELECT id FROM email_tokens WHERE expires_at <= now() - age ORDER BY expires_at LIMIT batch),
    deleted AS (DELETE FROM email_tokens USING old WHERE email_tokens.id = old.id RETURNING 1)
    SELECT count(*) FROM deleted
$$;
-- Sent or given up.
CREATE FUNCTION sweep_finished_mails(age interval, batch integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH old AS (SELECT id FROM mails WHERE created_at <= now() - age AND next_attempt_at IS NULL ORDER BY created_at LIMIT batch),
    deleted AS (DELETE FROM mails USING old WHERE mails.id = old.id RETURNING 1)
    SELECT count(*) FROM deleted
$$;
ALTER FUNCTION sweep_refresh_tokens(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_email_tokens(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_finished_mails(interval, integer) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_refresh_tokens(interval, integer), sweep_email_tokens(interval, integer), sweep_finished_mails(interval, integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_refresh_tokens(interval, integer), sweep_email_tokens(interval, integer), sweep_finished_mails(interval, integer)
    TO zonecert_worker;

-- The end of an account destroys who its people were. The worker writes this, and reads none of it.
GRANT UPDATE (email, name, password_hash) ON users TO zonecert_worker;
GRANT UPDATE (email) ON invitations, email_tokens TO zonecert_worker;
