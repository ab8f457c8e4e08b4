-- The one place that knows the columns of apalis' queue (docs/adr/0004-queue.md). Its own migrations have made the schema before ours run.
-- A job is enqueued in the transaction of the change that it follows from; a trigger of apalis notifies the workers at commit.
CREATE FUNCTION enqueue_job(queue text, payload jsonb, key text, run_at timestamptz) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata, idempotency_key)
    VALUES (apalis.generate_ulid(), queue, convert_to(payload::text, 'UTF8'), 'Pending', 0, 1, run_at, 0, ''::public.hstore, key)
    ON CONFLICT (job_type, idempotency_key) DO NOTHING
$$;

-- Sends a job for an issuance, due at `at`. The number is raised in the same statement, so that no earlier job swallows this one.
-- Runs as the caller: row-level security decides which issuances there are.
CREATE FUNCTION wake_issuance(issuance uuid, at timestamptz) RETURNS boolean
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

-- The sweeper's: wakes an issuance only if it still needs it, so that any number of sweepers send one job.
CREATE FUNCTION wake_forgotten_issuance(issuance uuid, grace interval) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT coalesce((
        SELECT wake_issuance(forgotten.id, now()) FROM (
            SELECT id FROM issuances
            WHERE id = issuance AND status = 'active' AND next_wake_at <= now() AND woken_at <= now() - grace
                AND (lease_expires_at IS NULL OR lease_expires_at <= now())
            FOR UPDATE SKIP LOCKED) AS forgotten), false)
$$;

-- Says that what a zone should hold has changed: raises its generation and sends a job to project it. Returns the generation that will hold the change.
-- Anybody who may change a zone's records may say so; the table itself is the platform's.
CREATE FUNCTION request_projection(zone text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    wanted record;
BEGIN
    INSERT INTO zone_projections (dns_zone, generation, wake_seq) VALUES (zone, 1, 1)
    ON CONFLICT (dns_zone) DO UPDATE SET generation = zone_projections.generation + 1, wake_seq = zone_projections.wake_seq + 1,
        woken_at = now(), next_wake_at = now(), updated_at = now()
    RETURNING generation, wake_seq INTO wanted;
    PERFORM enqueue_job('project', jsonb_build_object('dns_zone', zone), zone || ':' || wanted.wake_seq, now());
    RETURN wanted.generation;
END
$$;

REVOKE ALL ON FUNCTION enqueue_job(text, jsonb, text, timestamptz), wake_issuance(uuid, timestamptz),
    wake_forgotten_issuance(uuid, interval), request_projection(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enqueue_job(text, jsonb, text, timestamptz), wake_issuance(uuid, timestamptz), request_projection(text)
    TO zonecert_api, zonecert_worker;
GRANT EXECUTE ON FUNCTION wake_forgotten_issuance(uuid, interval) TO zonecert_worker;

-- apalis' worker reads, locks and prunes its own tables; the API sees nothing of them.
GRANT USAGE ON SCHEMA apalis TO zonecert_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA apalis TO zonecert_worker;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA apalis TO zonecert_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA apalis GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO zonecert_worker;
