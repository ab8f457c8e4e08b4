ALTER TABLE versions DROP COLUMN alternate;
ALTER TABLE issuances DROP COLUMN alternate;
DROP TABLE alternates;
