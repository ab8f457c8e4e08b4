DROP FUNCTION lookup_email_token(bytea), lookup_invitation(bytea), sweep_mails(interval, integer);
DROP TABLE email_tokens, invitations, mails, sign_in_failures;
ALTER TABLE users DROP COLUMN name, DROP COLUMN signed_out_at;
DROP INDEX refresh_tokens_user_id_idx;
ALTER TABLE refresh_tokens DROP COLUMN cookie;
ALTER TABLE api_tokens DROP COLUMN cidrs;
