-- Roles belong to the whole cluster: they may be there already, made for another database or by another migration at this moment.
-- zonecert_api and zonecert_worker log in; `zonecert migrate` sets their passwords. zonecert_lookup and zonecert_sweep never log in:
-- they own the few functions that must see more than one tenant (docs/adr/0003-row-level-security.md).
DO $$
DECLARE
    role_name text;
    login text;
    -- From PostgreSQL 16 on, whoever makes a role is a member of it that may not act as it.
    membership text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOR role_name, login IN VALUES
        ('zonecert_api', 'LOGIN'), ('zonecert_worker', 'LOGIN'), ('zonecert_lookup', 'NOLOGIN'), ('zonecert_sweep', 'NOLOGIN')
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s', role_name, login);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    -- Whoever migrates hands functions over to these two, and must be a member of them for that. The policies see to it that this shows it
    -- nothing (000003_security).
    FOREACH role_name IN ARRAY ARRAY['zonecert_lookup', 'zonecert_sweep'] LOOP
        IF NOT pg_has_role(current_user, role_name, membership) THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', role_name, current_user);
            EXCEPTION WHEN unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
END
$$;
