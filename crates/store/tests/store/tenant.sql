-- A row of the tenant that is set in each of a tenant's tables. What other tables refer to is there twice: one that is used, and a spare one
-- that nothing refers to, so that no unique constraint answers before a foreign key does. All identifiers follow from the account's.
CREATE FUNCTION pg_temp.me() RETURNS uuid LANGUAGE sql AS $$ SELECT current_setting('zonecert.account')::uuid $$;
CREATE FUNCTION pg_temp.id(what text) RETURNS uuid LANGUAGE sql AS $$ SELECT md5(pg_temp.me() || what)::uuid $$;
CREATE FUNCTION pg_temp.bytes(what text) RETURNS bytea LANGUAGE sql AS $$ SELECT sha256(convert_to(pg_temp.me() || what, 'UTF8')) $$;
CREATE TEMPORARY TABLE kinds ON COMMIT DROP AS SELECT kind, kind = 'used' AS used FROM unnest(ARRAY['used', 'spare']) AS kind;

INSERT INTO accounts (id, name, plan) VALUES (pg_temp.me(), 'Tenant', 'elite');
INSERT INTO data_keys (id, account_id, master_key_id, wrapped)
    SELECT pg_temp.id('data key ' || kind), pg_temp.me(), 'test', pg_temp.bytes('wrapped') FROM kinds;
INSERT INTO users (id, account_id, email, password_hash, role)
    SELECT pg_temp.id('user ' || kind), pg_temp.me(), kind || '@' || pg_temp.me() || '.test', 'no hash', 'owner' FROM kinds;
INSERT INTO refresh_tokens (id, account_id, user_id, family_id, token_sha256, expires_at)
    VALUES (pg_temp.id('refresh token'), pg_temp.me(), pg_temp.id('user used'), pg_temp.id('family'), pg_temp.bytes('refresh token'), now() + interval '1 day');
INSERT INTO api_tokens (id, account_id, created_by, name, prefix, token_sha256, scopes)
    VALUES (pg_temp.id('api token'), pg_temp.me(), pg_temp.id('user used'), 'ci', 'zc_test', pg_temp.bytes('api token'), '{certificates:read}');
INSERT INTO audit_log (id, account_id, actor, action) VALUES (pg_temp.id('audit'), pg_temp.me(), 'system', 'account.created');
INSERT INTO zones (id, account_id, name, status, verification_value, verified_at)
    SELECT pg_temp.id('zone ' || kind), pg_temp.me(), kind || '.' || pg_temp.me() || '.test', 'verified', 'proof', now() FROM kinds;
INSERT INTO private_keys (id, account_id, name, algorithm) SELECT pg_temp.id('key ' || kind), pg_temp.me(), kind, 'ecdsa_p256' FROM kinds;
INSERT INTO key_versions (id, account_id, private_key_id, data_key_id, sealed, public_key_sha256)
    SELECT pg_temp.id('key version ' || kind), pg_temp.me(), pg_temp.id('key used'), pg_temp.id('data key used'), '\x00', pg_temp.bytes('public key') FROM kinds;
INSERT INTO own_acme_accounts (id, account_id, name, contact, directory_url, eab_kid, data_key_id, sealed_eab)
    SELECT pg_temp.id('acme account ' || kind), pg_temp.me(), kind, '{}', 'https://ca.test', 'kid', pg_temp.id('data key used'), '\x00' FROM kinds;
INSERT INTO certificates (id, account_id, zone_id, private_key_id, name, number, domain, key_algorithm, auto_renew, acme_account_id)
    SELECT pg_temp.id('certificate ' || kind), pg_temp.me(), pg_temp.id('zone used'), pg_temp.id('key used'), kind, CASE WHEN used THEN 1 ELSE 2 END,
        kind || '.test', 'ecdsa_p256', true, pg_temp.id('acme account used') FROM kinds;
INSERT INTO certificate_names (account_id, certificate_id, position, name, reversed_name)
    VALUES (pg_temp.me(), pg_temp.id('certificate used'), 0, 'used.test', 'test.used');
INSERT INTO certificate_entries (account_id, configuration, entry_id, certificate_id) VALUES (pg_temp.me(), 'prod', 'one', pg_temp.id('certificate used'));
INSERT INTO issuances (id, account_id, certificate_id, reason, status, give_up_at, next_wake_at, finished_at)
    SELECT pg_temp.id('issuance ' || kind), pg_temp.me(), pg_temp.id('certificate used'), 'first', CASE WHEN used THEN 'active' ELSE 'failed' END,
        now() + interval '1 day', CASE WHEN used THEN now() END, CASE WHEN NOT used THEN now() END FROM kinds;
INSERT INTO orders (id, account_id, issuance_id, certificate_id, directory_url, status, names, key_version_id, csr, finished_at, own_acme_account_id)
    SELECT pg_temp.id('order ' || kind), pg_temp.me(), pg_temp.id('issuance used'), pg_temp.id('certificate used'), 'https://ca.test',
        CASE WHEN used THEN 'intended' ELSE 'failed' END, '{used.test}', pg_temp.id('key version used'), '\x00', CASE WHEN NOT used THEN now() END, pg_temp.id('acme account used') FROM kinds;
INSERT INTO authorizations (id, account_id, order_id, url, identifier, wildcard, status)
    SELECT pg_temp.id('authorization ' || kind), pg_temp.me(), pg_temp.id('order used'), 'https://ca.test/' || kind || pg_temp.me(), 'used.test', NOT used, 'pending' FROM kinds;
INSERT INTO challenge_records (id, account_id, order_id, authorization_id, dns_zone, name, value, unwanted_at)
    VALUES (pg_temp.id('record'), pg_temp.me(), pg_temp.id('order used'), pg_temp.id('authorization used'), 'shared.test', '_acme-challenge.shared.test', pg_temp.me()::text, now());
INSERT INTO versions (id, account_id, certificate_id, number, source, order_id, key_version_id, chain_pem, names, serial, fingerprint_sha256, issuer, subject, not_before, not_after)
    SELECT pg_temp.id('version ' || kind), pg_temp.me(), pg_temp.id('certificate used'), CASE WHEN used THEN 1 ELSE 2 END, CASE WHEN used THEN 'acme' ELSE 'upload' END,
        CASE WHEN used THEN pg_temp.id('order used') END, pg_temp.id('key version used'), 'no chain', '{used.test}', '01', '00', 'CN=CA', 'CN=used.test',
        now(), now() + interval '90 days' FROM kinds;
UPDATE certificates SET current_version_id = pg_temp.id('version used') WHERE id = pg_temp.id('certificate used');
INSERT INTO alternates (certificate_id, account_id, key_algorithm, private_key_id, version_id)
    VALUES (pg_temp.id('certificate used'), pg_temp.me(), 'rsa2048', pg_temp.id('key used'), pg_temp.id('version used'));
INSERT INTO deployments (account_id, certificate_id, target, served_sha256, installed_version_id, state)
    VALUES (pg_temp.me(), pg_temp.id('certificate used'), 'web1', repeat('0a', 32), pg_temp.id('version used'), 'stale');
INSERT INTO events (account_id, number, level, event, message) VALUES (pg_temp.me(), 1, 'info', 'order_begun', 'asking the CA');
INSERT INTO email_tokens (id, account_id, user_id, purpose, email, token_sha256, expires_at)
    VALUES (pg_temp.id('email token'), pg_temp.me(), pg_temp.id('user used'), 'verify_email', 'used@test', pg_temp.bytes('email token'), now() + interval '1 day');
INSERT INTO invitations (id, account_id, email, role, token_sha256, invited_by, expires_at)
    VALUES (pg_temp.id('invitation'), pg_temp.me(), 'guest@test', 'member', pg_temp.bytes('invitation'), pg_temp.id('user used'), now() + interval '1 day');
INSERT INTO mails (id, account_id, recipient, template, data_key_id, sealed)
    VALUES (pg_temp.id('mail'), pg_temp.me(), 'used@test', 'verify_email', pg_temp.id('data key used'), '\x00');
INSERT INTO revocations (id, account_id, certificate_id, version_id, order_id, certificate_der, not_after, reason, requested_by)
    VALUES (pg_temp.id('revocation'), pg_temp.me(), pg_temp.id('certificate used'), pg_temp.id('version used'), pg_temp.id('order used'), '\x00',
        now() + interval '90 days', 0, 'system');
INSERT INTO idempotency_keys (account_id, key, caller, request_sha256, status, body)
    VALUES (pg_temp.me(), 'once', 'POST /api/v1/certificates', pg_temp.bytes('request'), 202, '\x7b7d');
INSERT INTO zone_records (id, account_id, zone_id, name, record_type, ttl_seconds, contents)
    VALUES (pg_temp.id('zone record'), pg_temp.me(), pg_temp.id('zone used'), 'www.used.test', 'A', 300, '{192.0.2.1}');
INSERT INTO api_keys (id, account_id, certificate_id, private_key_id, created_by, prefix, key_sha256)
    VALUES (pg_temp.id('api key'), pg_temp.me(), pg_temp.id('certificate used'), NULL, pg_temp.id('user used'), 'zck_test', pg_temp.bytes('api key')),
        (pg_temp.id('api key of a key'), pg_temp.me(), NULL, pg_temp.id('key used'), pg_temp.id('user used'), 'zck_test', pg_temp.bytes('api key of a key'));
INSERT INTO pfx_files (id, account_id, version_id, key_version_id, encryption, data_key_id, sealed)
    VALUES (pg_temp.id('pfx'), pg_temp.me(), pg_temp.id('version used'), pg_temp.id('key version used'), 'aes256', pg_temp.id('data key used'), '\x00');
INSERT INTO webhooks (id, account_id, url, events) SELECT pg_temp.id('webhook ' || kind), pg_temp.me(), 'https://hooks.used.test/', '{}' FROM kinds;
INSERT INTO webhook_secrets (id, account_id, webhook_id, data_key_id, sealed)
    VALUES (pg_temp.id('webhook secret'), pg_temp.me(), pg_temp.id('webhook used'), pg_temp.id('data key used'), '\x00');
INSERT INTO webhook_deliveries (id, account_id, webhook_id, event, body)
    VALUES (pg_temp.id('webhook delivery'), pg_temp.me(), pg_temp.id('webhook used'), 'webhook.test', '{}');
