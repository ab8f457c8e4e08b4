ALTER TABLE certificates DROP COLUMN version_activated_at;
