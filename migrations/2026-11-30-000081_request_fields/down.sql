DROP TABLE ca_profiles;
ALTER TABLE orders DROP COLUMN profile;
ALTER TABLE certificates DROP COLUMN profile, DROP COLUMN csr_subject;
