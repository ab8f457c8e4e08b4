-- Webhooks (docs/adr/0025-webhooks.md): where an account is told what becomes of its certificates, and what it was told. A message is written by the change
-- that it follows from, in the same transaction; a worker sends it, at least once.

CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    url text NOT NULL,
    -- Which events it is told; all of them, those to come too, where there is none.
    events text[] NOT NULL,
    description text,
    disabled_at timestamptz,
    disabled_reason text CONSTRAINT webhooks_disabled_reason_check CHECK (disabled_reason IN ('by_hand', 'gone', 'failing')),
    -- Since when each attempt has failed. NULL once one has come through.
    failing_since timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhooks_account_id_id_key UNIQUE (account_id, id),
    CONSTRAINT webhooks_disabled_at_check CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);

-- What messages are signed with. While a secret is being replaced there are two, and the old one has an end.
CREATE TABLE webhook_secrets (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    webhook_id uuid NOT NULL,
    data_key_id uuid NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    CONSTRAINT webhook_secrets_account_id_webhook_id_fkey
        FOREIGN KEY (account_id, webhook_id) REFERENCES webhooks (account_id, id) ON DELETE CASCADE,
    CONSTRAINT webhook_secrets_account_id_data_key_id_fkey FOREIGN KEY (account_id, data_key_id) REFERENCES data_keys (account_id, id)
);
CREATE INDEX webhook_secrets_webhook_id_idx ON webhook_secrets (webhook_id);

-- One message to one webhook, with its attempts. The row is the truth; a queue job only says "look at this webhook".
CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    webhook_id uuid NOT NULL,
    event text NOT NULL,
    certificate_id uuid,
    -- What is sent, to the byte.
    body text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CONSTRAINT webhook_deliveries_status_check CHECK (status IN ('pending', 'delivered', 'failed')),
    -- Since it was written or replayed; all that there were are in the log.
    attempts integer NOT NULL DEFAULT 0,
    -- Nobody sends it before; whoever sends it puts this off first, so that nobody else does.
    next_attempt_at timestamptz DEFAULT now(),
    -- It is being sent, by somebody who is given up then.
    claimed_until timestamptz,
    log jsonb NOT NULL DEFAULT '[]',
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT webhook_deliveries_account_id_webhook_id_fkey
        FOREIGN KEY (account_id, webhook_id) REFERENCES webhooks (account_id, id) ON DELETE CASCADE,
    CONSTRAINT webhook_deliveries_next_attempt_at_check CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
    CONSTRAINT webhook_deliveries_finished_at_check CHECK ((status = 'pending') = (finished_at IS NULL))
);
CREATE INDEX webhook_deliveries_webhook_id_created_at_idx ON webhook_deliveries (webhook_id, created_at, id);
CREATE INDEX webhook_deliveries_webhook_id_next_attempt_at_idx ON webhook_deliveries (webhook_id, next_attempt_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_next_attempt_at_idx ON webhook_deliveries (next_attempt_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_claimed_until_idx ON webhook_deliveries (webhook_id, claimed_until) WHERE claimed_until IS NOT NULL;
CREATE INDEX webhook_deliveries_finished_at_idx ON webhook_deliveries (finished_at) WHERE status <> 'pending';
CREATE INDEX webhooks_account_id_idx ON webhooks (account_id, created_at);

DO $$
DECLARE
    tenant_table text;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['webhooks', 'webhook_secrets', 'webhook_deliveries'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY tenant ON %I
                USING (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)
                WITH CHECK (account_id = nullif(current_setting(''zonecert.account'', true), '''')::uuid)', tenant_table);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks TO zonecert_api;
-- The API seals a secret and never reads one.
GRANT SELECT (id, account_id, webhook_id, created_at, expires_at), INSERT, UPDATE (expires_at), DELETE ON webhook_secrets TO zonecert_api;
GRANT SELECT, INSERT, UPDATE ON webhook_deliveries TO zonecert_api;
-- The end of an account deletes its webhooks, and with them all that hangs on them.
GRANT SELECT, UPDATE (disabled_at, disabled_reason, failing_since), DELETE ON webhooks TO zonecert_worker;
GRANT SELECT ON webhook_secrets TO zonecert_worker;
GRANT SELECT, INSERT, UPDATE ON webhook_deliveries TO zonecert_worker;
-- Owners are told when a webhook was disabled.
GRANT SELECT (email, role) ON users TO zonecert_worker;
GRANT INSERT ON mails TO zonecert_worker;

GRANT SELECT (id, account_id, data_key_id, sealed), UPDATE (data_key_id, sealed) ON webhook_secrets TO zonecert_keys;
CREATE TRIGGER sealed_under_a_live_key AFTER INSERT OR UPDATE OF data_key_id ON webhook_secrets FOR EACH ROW EXECUTE FUNCTION sealed_under_a_live_key();

-- What becomes of a certificate is told where its row changes: the one place that nobody who changes it can go round.
ALTER TABLE certificates
    -- What was told of it: the `number` of the last message; the state in which the version in use has ended (`end`), and how many days before its end it was told
    -- last that it ends (`days`), once that was told.
    ADD COLUMN announced jsonb NOT NULL DEFAULT '{}',
    -- When it is to be told next that the version in use ends.
    ADD COLUMN expiry_notice_due_at timestamptz;

-- The next moment after `moment` at which it is told that something ends at `ends_at`: 30, 14, 7 and 1 days before, of 24 hours each.
CREATE FUNCTION next_expiry_notice(ends_at timestamptz, moment timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT min(ends_at - make_interval(hours => 24 * days)) FROM unnest(ARRAY[30, 14, 7, 1]) AS days WHERE ends_at - make_interval(hours => 24 * days) > moment
$$;

-- Notices of what is valid now begin with the next that is to come. The owner of the table sees its rows for this statement.
ALTER TABLE certificates NO FORCE ROW LEVEL SECURITY;
UPDATE certificates SET expiry_notice_due_at = next_expiry_notice(expires_at, now())
    WHERE expires_at > now() AND deleted_at IS NULL AND current_version_id IS NOT NULL;
ALTER TABLE certificates FORCE ROW LEVEL SECURITY;
CREATE INDEX certificates_expiry_notice_due_at_idx ON certificates (expiry_notice_due_at) WHERE expiry_notice_due_at IS NOT NULL AND deleted_at IS NULL;

-- A new identifier of version 7 (RFC 9562 §5.7): by time first, like those that programs make.
CREATE FUNCTION uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT encode(set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$;

-- RFC 3339, to the second.
CREATE FUNCTION rfc3339(moment timestamptz) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;

CREATE FUNCTION certificates_announce() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    is_new boolean := TG_OP = 'INSERT';
    has_new_version boolean;
    failed_again boolean;
    happened text;
    number bigint;
    message text;
    delivery record;
BEGIN
    IF NOT is_new AND OLD.deleted_at IS NOT NULL THEN
        RETURN NEW;
    END IF;
    has_new_version := NEW.current_version_id IS NOT NULL AND (is_new OR NEW.current_version_id IS DISTINCT FROM OLD.current_version_id);
    failed_again := NOT is_new AND NEW.last_error IS NOT NULL AND NEW.last_error IS DISTINCT FROM OLD.last_error;
    IF has_new_version THEN
        NEW.announced := NEW.announced - 'end' - 'days';
        NEW.expiry_notice_due_at := next_expiry_notice(NEW.expires_at, now());
    END IF;
    happened := CASE
        WHEN NEW.deleted_at IS NOT NULL THEN 'certificate.deleted'
        WHEN has_new_version THEN CASE WHEN is_new OR OLD.current_version_id IS NULL THEN 'certificate.issued' ELSE 'certificate.renewed' END
        WHEN NOT is_new AND NEW.announced ->> 'days' IS DISTINCT FROM OLD.announced ->> 'days' THEN 'certificate.expiring'
        WHEN NOT is_new AND NEW.status = OLD.status THEN
            CASE WHEN failed_again THEN CASE NEW.status WHEN 'issued' THEN 'certificate.renewal_failed' WHEN 'pending' THEN 'certificate.attempt_failed' END END
        WHEN NEW.status = 'pending' THEN CASE WHEN OLD.status = 'validating' THEN 'certificate.attempt_failed' ELSE 'certificate.requested' END
        -- It has gone back to the version that it had.
        WHEN NEW.status = 'issued' OR NEW.status = NEW.announced ->> 'end' THEN CASE WHEN NOT is_new THEN 'certificate.renewal_failed' END
        ELSE 'certificate.' || NEW.status
    END;
    IF happened IS NULL THEN
        RETURN NEW;
    END IF;
    IF NEW.status IN ('expired', 'revoked') THEN
        NEW.announced := NEW.announced || jsonb_build_object('end', NEW.status);
    END IF;
    number := coalesce((NEW.announced ->> 'number')::bigint, 0) + 1;
    NEW.announced := NEW.announced || jsonb_build_object('number', number);
    message := jsonb_build_object(
        'type', happened,
        'timestamp', rfc3339(now()),
        'data', jsonb_build_object(
            'certificate_id', 'cert_' || replace(NEW.id::text, '-', ''),
            'sequence', number,
            'domain', NEW.domain,
            'name', NEW.name,
            'status', NEW.status,
            'environment', NEW.environment,
            'auto_renew', NEW.auto_renew,
            'issued_at', rfc3339(NEW.issued_at),
            'expires_at', rfc3339(NEW.expires_at),
            'days_left', CASE WHEN happened = 'certificate.expiring' THEN NEW.announced -> 'days' END,
            'error', CASE WHEN happened LIKE '%failed' THEN
                jsonb_build_object('code', NEW.last_error ->> 'code', 'detail', NEW.last_error ->> 'detail',
                    'next_attempt_at', NEW.last_error ->> 'next_attempt_at') END))::text;
    FOR delivery IN
        INSERT INTO webhook_deliveries (id, account_id, webhook_id, event, certificate_id, body)
        SELECT uuid_v7(), NEW.account_id, webhooks.id, happened, NEW.id, message FROM webhooks
        WHERE webhooks.account_id = NEW.account_id AND disabled_at IS NULL AND (cardinality(webhooks.events) = 0 OR happened = ANY (webhooks.events))
        RETURNING id, webhook_id
    LOOP
        PERFORM enqueue_job('webhook', jsonb_build_object('account_id', NEW.account_id, 'webhook_id', delivery.webhook_id), delivery.id || ':first', now());
    END LOOP;
    RETURN NEW;
END
$$;
CREATE TRIGGER certificates_announce BEFORE INSERT OR UPDATE OF status, current_version_id, deleted_at, announced ON certificates
    FOR EACH ROW EXECUTE FUNCTION certificates_announce();
REVOKE ALL ON FUNCTION certificates_announce(), next_expiry_notice(timestamptz, timestamptz), uuid_v7(), rfc3339(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION next_expiry_notice(timestamptz, timestamptz), uuid_v7(), rfc3339(timestamptz) TO zonecert_api, zonecert_worker;

-- Across tenants: what is due.
GRANT CREATE ON SCHEMA public TO zonecert_sweep;
GRANT SELECT (expiry_notice_due_at), UPDATE (expiry_notice_due_at) ON certificates TO zonecert_sweep;
GRANT SELECT (id, account_id, webhook_id, status, next_attempt_at, claimed_until, created_at, finished_at), DELETE ON webhook_deliveries TO zonecert_sweep;
GRANT SELECT (id, expires_at), DELETE ON webhook_secrets TO zonecert_sweep;
CREATE POLICY sweep ON webhook_deliveries FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep_delete ON webhook_deliveries FOR DELETE TO zonecert_sweep USING (current_user = 'zonecert_sweep' AND status <> 'pending');
CREATE POLICY sweep ON webhook_secrets FOR SELECT TO zonecert_sweep USING (current_user = 'zonecert_sweep');
CREATE POLICY sweep_delete ON webhook_secrets FOR DELETE TO zonecert_sweep USING (current_user = 'zonecert_sweep' AND expires_at <= now());

-- Certificates of which it is to be told that they end. Claims by putting off.
CREATE FUNCTION sweep_expiry_notices(put_off interval, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE certificates SET expiry_notice_due_at = now() + put_off WHERE certificates.id IN (
        SELECT due.id FROM certificates AS due WHERE due.expiry_notice_due_at <= now() AND due.deleted_at IS NULL
        ORDER BY due.expiry_notice_due_at LIMIT batch FOR UPDATE SKIP LOCKED)
    RETURNING certificates.account_id, certificates.id
$$;
-- Webhooks with something that has been due for longer than `grace`, and that nobody is at. So many deliveries are looked at, the longest due first.
CREATE FUNCTION sweep_webhooks(grace interval, batch integer) RETURNS TABLE (account_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT DISTINCT due.account_id, due.webhook_id FROM (
        SELECT webhook_deliveries.account_id, webhook_id FROM webhook_deliveries
        WHERE status = 'pending' AND next_attempt_at <= now() - grace ORDER BY next_attempt_at LIMIT batch) AS due
    WHERE NOT EXISTS (SELECT FROM webhook_deliveries AS claimed WHERE claimed.webhook_id = due.webhook_id AND claimed.claimed_until > now())
$$;
-- Delivered or given up.
CREATE FUNCTION sweep_finished_deliveries(age interval, batch integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH old AS (SELECT id FROM webhook_deliveries WHERE finished_at <= now() - age AND status <> 'pending' ORDER BY finished_at LIMIT batch),
    deleted AS (DELETE FROM webhook_deliveries USING old WHERE webhook_deliveries.id = old.id RETURNING 1)
    SELECT count(*) FROM deleted
$$;
-- Replaced, and at their end.
CREATE FUNCTION sweep_webhook_secrets(age interval, batch integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH old AS (SELECT id FROM webhook_secrets WHERE expires_at <= now() - age ORDER BY expires_at LIMIT batch),
    deleted AS (DELETE FROM webhook_secrets USING old WHERE webhook_secrets.id = old.id RETURNING 1)
    SELECT count(*) FROM deleted
$$;
-- What `sweep_platform_state` says of its queues, of this one: due and not begun, at webhooks that nobody is at. A slow receiver's own backlog is its owner's.
CREATE FUNCTION sweep_webhook_state() RETURNS TABLE (measure text, label text, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH due AS MATERIALIZED (
        SELECT webhook_id, next_attempt_at FROM webhook_deliveries
        WHERE status = 'pending' AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 10000),
    left_alone AS (
        SELECT webhook_id, count(*) AS deliveries, min(next_attempt_at) AS since FROM due GROUP BY webhook_id
        HAVING NOT EXISTS (SELECT FROM webhook_deliveries AS claimed WHERE claimed.webhook_id = due.webhook_id AND claimed.claimed_until > now()))
    SELECT 'queue_due', 'webhook', coalesce(sum(deliveries), 0)::double precision FROM left_alone
    UNION ALL
    SELECT 'queue_age', 'webhook', extract(epoch FROM coalesce(now() - min(since), '0'))::double precision FROM left_alone
$$;
-- Which webhooks wait, for the operator.
CREATE FUNCTION sweep_waiting_webhooks(batch integer) RETURNS TABLE (account_id uuid, id text, since timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT due.account_id, due.webhook_id::text, min(due.next_attempt_at) FROM (
        SELECT webhook_deliveries.account_id, webhook_id, next_attempt_at FROM webhook_deliveries
        WHERE status = 'pending' AND next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 10000) AS due
    GROUP BY due.account_id, due.webhook_id ORDER BY 3 LIMIT batch
$$;
ALTER FUNCTION sweep_expiry_notices(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_webhooks(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_finished_deliveries(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_webhook_secrets(interval, integer) OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_webhook_state() OWNER TO zonecert_sweep;
ALTER FUNCTION sweep_waiting_webhooks(integer) OWNER TO zonecert_sweep;
REVOKE CREATE ON SCHEMA public FROM zonecert_sweep;
REVOKE ALL ON FUNCTION sweep_expiry_notices(interval, integer), sweep_webhooks(interval, integer), sweep_finished_deliveries(interval, integer),
    sweep_webhook_secrets(interval, integer), sweep_webhook_state(), sweep_waiting_webhooks(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sweep_expiry_notices(interval, integer), sweep_webhooks(interval, integer), sweep_finished_deliveries(interval, integer),
    sweep_webhook_secrets(interval, integer) TO zonecert_worker;
GRANT EXECUTE ON FUNCTION sweep_webhook_state() TO zonecert_api, zonecert_worker, CURRENT_USER;
GRANT EXECUTE ON FUNCTION sweep_waiting_webhooks(integer) TO CURRENT_USER;
