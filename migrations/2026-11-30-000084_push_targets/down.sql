-- The owner of the tables sees their rows for this statement.
ALTER TABLE webhooks NO FORCE ROW LEVEL SECURITY;
DELETE FROM webhooks WHERE certificate_id IS NOT NULL;
ALTER TABLE webhooks FORCE ROW LEVEL SECURITY;
DROP INDEX webhooks_account_id_certificate_id_created_at_idx;
ALTER TABLE webhooks DROP COLUMN certificate_id;
CREATE INDEX webhooks_account_id_idx ON webhooks (account_id, created_at);
CREATE OR REPLACE FUNCTION certificates_announce() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
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
