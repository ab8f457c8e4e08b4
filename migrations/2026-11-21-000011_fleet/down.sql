DROP FUNCTION enqueue_job(text, jsonb, text, timestamptz, integer);
CREATE FUNCTION enqueue_job(queue text, payload jsonb, key text, run_at timestamptz) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata, idempotency_key)
    VALUES (apalis.generate_ulid(), queue, convert_to(payload::text, 'UTF8'), 'Pending', 0, 1, run_at, 0, ''::public.hstore, key)
    ON CONFLICT (job_type, idempotency_key) DO NOTHING
$$;
CREATE OR REPLACE FUNCTION wake_issuance(issuance uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    woken record;
BEGIN
    UPDATE issuances SET wake_seq = wake_seq + 1, woken_at = at, next_wake_at = at
    WHERE id = issuance AND status = 'active' RETURNING id, account_id, wake_seq INTO woken;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM enqueue_job('issue', jsonb_build_object('account_id', woken.account_id, 'issuance_id', woken.id), woken.id || ':' || woken.wake_seq, at);
    RETURN true;
END
$$;
DROP INDEX issuances_account_id_active_idx;
REVOKE ALL ON FUNCTION enqueue_job(text, jsonb, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enqueue_job(text, jsonb, text, timestamptz) TO zonecert_api, zonecert_worker, zonecert_admin;
