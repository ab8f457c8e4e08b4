DROP FUNCTION lookup_user(text), lookup_refresh_token(bytea), lookup_api_token(bytea), sweep_issuances(interval, integer),
    sweep_challenge_records(text), sweep_delete_challenge_records(uuid[]), sweep_zone_is_hosted(text);
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT policyname, tablename FROM pg_policies WHERE schemaname = 'public' LOOP
        EXECUTE format('DROP POLICY %I ON %I', found.policyname, found.tablename);
    END LOOP;
    FOR found IN SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', found.relname);
        EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', found.relname);
    END LOOP;
    FOR found IN SELECT relname FROM pg_class WHERE relkind IN ('r', 'S') AND relnamespace = 'public'::regnamespace AND relname <> '__diesel_schema_migrations' LOOP
        EXECUTE format('REVOKE ALL ON %I FROM zonecert_api, zonecert_worker, zonecert_lookup, zonecert_sweep', found.relname);
    END LOOP;
END
$$;
REVOKE ALL ON SCHEMA public FROM zonecert_lookup, zonecert_sweep;
