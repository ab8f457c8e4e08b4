-- A place in line for each job: of one queue the highest comes first. An account that asks for much waits for itself, not others for it.
DROP FUNCTION enqueue_job(text, jsonb, text, timestamptz);
CREATE FUNCTION enqueue_job(queue text, payload jsonb, key text, run_at timestamptz, place integer DEFAULT 0) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata, idempotency_key)
    VALUES (apalis.generate_ulid(), queue, convert_to(payload::text, 'UTF8'), 'Pending', 0, 1, run_at, place, ''::public.hstore, key)
    ON CONFLICT (job_type, idempotency_key) DO NOTHING
$$;

-- The same as before, and the job stands behind those of the same account that wait already: the tenth of one account comes with the tenth of any other. An issuance with an order under
-- way goes first, because its values stand in the zone. Beyond a thousand all are last alike.
CREATE INDEX issuances_account_id_active_idx ON issuances (account_id, next_wake_at) WHERE status = 'active';
CREATE OR REPLACE FUNCTION wake_issuance(issuance uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    woken record;
    waiting integer := 0;
BEGIN
    UPDATE issuances SET wake_seq = wake_seq + 1, woken_at = at, next_wake_at = at
    WHERE id = issuance AND status = 'active' RETURNING id, account_id, wake_seq INTO woken;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT FROM orders WHERE orders.issuance_id = woken.id AND finished_at IS NULL) THEN
        SELECT count(*) INTO waiting FROM (
            SELECT FROM issuances WHERE account_id = woken.account_id AND status = 'active' AND next_wake_at <= at
                AND (lease_expires_at IS NULL OR lease_expires_at <= at) LIMIT 1000) AS line;
    END IF;
    PERFORM enqueue_job('issue', jsonb_build_object('account_id', woken.account_id, 'issuance_id', woken.id), woken.id || ':' || woken.wake_seq, at, 1000 - waiting);
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION enqueue_job(text, jsonb, text, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enqueue_job(text, jsonb, text, timestamptz, integer) TO zonecert_api, zonecert_worker, zonecert_admin;
