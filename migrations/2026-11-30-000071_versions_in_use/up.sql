-- When somebody went back to the version in use (requirements S0.2). NULL where the newest one is in use by itself. For a while after that moment the
-- certificate does not renew by itself, or the version that was left would be replaced at once.
ALTER TABLE certificates ADD COLUMN version_activated_at timestamptz;
