DROP FUNCTION sweep_expiry_notices(interval, integer), sweep_webhooks(interval, integer), sweep_finished_deliveries(interval, integer),
    sweep_webhook_secrets(interval, integer), sweep_webhook_state(), sweep_waiting_webhooks(integer);
REVOKE SELECT (expiry_notice_due_at), UPDATE (expiry_notice_due_at) ON certificates FROM zonecert_sweep;
DROP TRIGGER certificates_announce ON certificates;
DROP FUNCTION certificates_announce(), next_expiry_notice(timestamptz, timestamptz), uuid_v7(), rfc3339(timestamptz);
ALTER TABLE certificates DROP COLUMN announced, DROP COLUMN expiry_notice_due_at;
REVOKE SELECT (email, role) ON users FROM zonecert_worker;
REVOKE INSERT ON mails FROM zonecert_worker;
DROP TABLE webhook_deliveries, webhook_secrets, webhooks;
