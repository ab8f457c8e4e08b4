//! The tables as diesel sees them. The truth is in `migrations/`; a test compares the two.

diesel::table! {
    accounts (id) {
        id -> Uuid,
        name -> Text,
        plan -> Text,
        status -> Text,
        last_event_number -> Int8,
        last_certificate_number -> Int4,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        suspended_at -> Nullable<Timestamptz>,
        suspension_note -> Nullable<Text>,
        deletion_requested_at -> Nullable<Timestamptz>,
        destroyed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    acme_accounts (id) {
        id -> Uuid,
        directory_url -> Text,
        account_url -> Nullable<Text>,
        data_key_id -> Nullable<Uuid>,
        sealed_credentials -> Nullable<Bytea>,
        created_at -> Timestamptz,
        lost_at -> Nullable<Timestamptz>,
        next_data_key_id -> Nullable<Uuid>,
        sealed_next_credentials -> Nullable<Bytea>,
        key_changed_at -> Nullable<Timestamptz>,
        is_own -> Bool,
    }
}

diesel::table! {
    alternates (certificate_id) {
        certificate_id -> Uuid,
        account_id -> Uuid,
        key_algorithm -> Text,
        private_key_id -> Uuid,
        version_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Uuid,
        account_id -> Uuid,
        certificate_id -> Nullable<Uuid>,
        private_key_id -> Nullable<Uuid>,
        created_by -> Uuid,
        prefix -> Text,
        key_sha256 -> Bytea,
        last_used_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    api_tokens (id) {
        id -> Uuid,
        account_id -> Uuid,
        created_by -> Uuid,
        name -> Text,
        prefix -> Text,
        token_sha256 -> Bytea,
        scopes -> Array<Text>,
        expires_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        cidrs -> Array<Text>,
    }
}

diesel::table! {
    audit_log (id) {
        id -> Uuid,
        account_id -> Uuid,
        at -> Timestamptz,
        actor -> Text,
        action -> Text,
        subject -> Nullable<Text>,
        request_id -> Nullable<Text>,
        details -> Jsonb,
    }
}

diesel::table! {
    authorizations (id) {
        id -> Uuid,
        account_id -> Uuid,
        order_id -> Uuid,
        url -> Text,
        identifier -> Text,
        wildcard -> Bool,
        status -> Text,
        polls -> Int4,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    ca_budget (id) {
        id -> Int8,
        directory_url -> Text,
        kind -> Text,
        subject -> Text,
        account_id -> Uuid,
        at -> Timestamptz,
        order_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    ca_pauses (directory_url, kind, subject) {
        directory_url -> Text,
        kind -> Text,
        subject -> Text,
        until -> Timestamptz,
    }
}

diesel::table! {
    ca_profiles (environment, directory_url, name) {
        environment -> Text,
        directory_url -> Text,
        name -> Text,
        description -> Text,
    }
}

diesel::table! {
    certificate_entries (account_id, configuration, entry_id) {
        account_id -> Uuid,
        configuration -> Text,
        entry_id -> Text,
        certificate_id -> Uuid,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    certificate_names (certificate_id, position) {
        account_id -> Uuid,
        certificate_id -> Uuid,
        position -> Int4,
        name -> Text,
        reversed_name -> Text,
    }
}

diesel::table! {
    certificates (id) {
        id -> Uuid,
        account_id -> Uuid,
        source -> Text,
        zone_id -> Nullable<Uuid>,
        private_key_id -> Nullable<Uuid>,
        name -> Text,
        number -> Int4,
        label -> Nullable<Text>,
        domain -> Text,
        environment -> Text,
        key_algorithm -> Text,
        key_policy -> Text,
        auto_renew -> Bool,
        status -> Text,
        current_version_id -> Nullable<Uuid>,
        issued_at -> Nullable<Timestamptz>,
        expires_at -> Nullable<Timestamptz>,
        next_renewal_at -> Nullable<Timestamptz>,
        renewal_due_at -> Nullable<Timestamptz>,
        last_error -> Nullable<Jsonb>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        renewal_blocked_by -> Nullable<Text>,
        renewal_info_start -> Nullable<Timestamptz>,
        renewal_info_end -> Nullable<Timestamptz>,
        renewal_info_explanation_url -> Nullable<Text>,
        renewal_info_checked_at -> Nullable<Timestamptz>,
        renewal_info_due_at -> Nullable<Timestamptz>,
        renewal_info_failures -> Int4,
        version_activated_at -> Nullable<Timestamptz>,
        api_key_via_url -> Bool,
    }
}

diesel::table! {
    challenge_records (id) {
        id -> Uuid,
        account_id -> Uuid,
        order_id -> Uuid,
        authorization_id -> Uuid,
        dns_zone -> Text,
        name -> Text,
        value -> Text,
        created_at -> Timestamptz,
        unwanted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    data_keys (id) {
        id -> Uuid,
        account_id -> Uuid,
        master_key_id -> Text,
        wrapped -> Nullable<Bytea>,
        created_at -> Timestamptz,
        destroyed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    deployments (account_id, certificate_id, target) {
        account_id -> Uuid,
        certificate_id -> Uuid,
        target -> Text,
        served_sha256 -> Nullable<Text>,
        installed_sha256 -> Nullable<Text>,
        installed_version_id -> Nullable<Uuid>,
        agent_version -> Nullable<Text>,
        error -> Nullable<Text>,
        state -> Text,
        created_at -> Timestamptz,
        reported_at -> Timestamptz,
    }
}

diesel::table! {
    email_tokens (id) {
        id -> Uuid,
        account_id -> Uuid,
        user_id -> Uuid,
        purpose -> Text,
        email -> Text,
        token_sha256 -> Bytea,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    events (account_id, number) {
        account_id -> Uuid,
        number -> Int8,
        at -> Timestamptz,
        level -> Text,
        event -> Text,
        message -> Text,
        certificate_id -> Nullable<Uuid>,
        issuance_id -> Nullable<Uuid>,
        order_id -> Nullable<Uuid>,
        details -> Jsonb,
    }
}

diesel::table! {
    idempotency_keys (account_id, caller, key) {
        account_id -> Uuid,
        key -> Text,
        caller -> Text,
        request_sha256 -> Bytea,
        status -> Int4,
        location -> Nullable<Text>,
        body -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    invitations (id) {
        id -> Uuid,
        account_id -> Uuid,
        email -> Text,
        role -> Text,
        token_sha256 -> Bytea,
        invited_by -> Uuid,
        expires_at -> Timestamptz,
        accepted_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        sent_at -> Timestamptz,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    issuances (id) {
        id -> Uuid,
        account_id -> Uuid,
        certificate_id -> Uuid,
        reason -> Text,
        status -> Text,
        attempts -> Int4,
        step_failures -> Int4,
        give_up_at -> Timestamptz,
        next_wake_at -> Nullable<Timestamptz>,
        wake_seq -> Int8,
        woken_at -> Timestamptz,
        lease_owner -> Nullable<Text>,
        lease_expires_at -> Nullable<Timestamptz>,
        fence -> Int8,
        failure -> Nullable<Jsonb>,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        cancel_requested_at -> Nullable<Timestamptz>,
        alternate -> Bool,
    }
}

diesel::table! {
    key_stock (id) {
        id -> Uuid,
        algorithm -> Text,
        data_key_id -> Uuid,
        sealed -> Bytea,
        public_key_sha256 -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    key_versions (id) {
        id -> Uuid,
        account_id -> Uuid,
        private_key_id -> Uuid,
        data_key_id -> Uuid,
        sealed -> Nullable<Bytea>,
        public_key_sha256 -> Bytea,
        created_at -> Timestamptz,
        destroyed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    mails (id) {
        id -> Uuid,
        account_id -> Uuid,
        recipient -> Text,
        template -> Text,
        data_key_id -> Uuid,
        sealed -> Nullable<Bytea>,
        attempts -> Int4,
        next_attempt_at -> Nullable<Timestamptz>,
        last_error -> Nullable<Text>,
        created_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
        failed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    orders (id) {
        id -> Uuid,
        account_id -> Uuid,
        issuance_id -> Uuid,
        certificate_id -> Uuid,
        directory_url -> Text,
        acme_account_id -> Nullable<Uuid>,
        status -> Text,
        url -> Nullable<Text>,
        names -> Array<Text>,
        key_version_id -> Nullable<Uuid>,
        csr -> Nullable<Bytea>,
        presented_at -> Nullable<Timestamptz>,
        polls -> Int4,
        next_poll_at -> Nullable<Timestamptz>,
        failure -> Nullable<Jsonb>,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        replaces -> Nullable<Text>,
        profile -> Nullable<Text>,
        own_acme_account_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    own_acme_accounts (id) {
        id -> Uuid,
        account_id -> Uuid,
        name -> Text,
        contact -> Array<Text>,
        registered_contact -> Nullable<Array<Text>>,
        directory_url -> Text,
        eab_kid -> Nullable<Text>,
        data_key_id -> Nullable<Uuid>,
        sealed_eab -> Nullable<Bytea>,
        status -> Text,
        last_error -> Nullable<Jsonb>,
        work_since -> Nullable<Timestamptz>,
        attempts -> Int4,
        next_attempt_at -> Nullable<Timestamptz>,
        claimed_until -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    pfx_files (id) {
        id -> Uuid,
        account_id -> Uuid,
        version_id -> Uuid,
        key_version_id -> Uuid,
        encryption -> Text,
        data_key_id -> Uuid,
        sealed -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    platform_data_keys (id) {
        id -> Uuid,
        master_key_id -> Text,
        wrapped -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    private_keys (id) {
        id -> Uuid,
        account_id -> Uuid,
        name -> Text,
        algorithm -> Text,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        api_key_via_url -> Bool,
        is_resource -> Bool,
    }
}

diesel::table! {
    refresh_tokens (id) {
        id -> Uuid,
        account_id -> Uuid,
        user_id -> Uuid,
        family_id -> Uuid,
        token_sha256 -> Bytea,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        cookie -> Bool,
    }
}

diesel::table! {
    revocations (id) {
        id -> Uuid,
        account_id -> Uuid,
        certificate_id -> Uuid,
        version_id -> Nullable<Uuid>,
        order_id -> Uuid,
        certificate_der -> Bytea,
        not_after -> Timestamptz,
        reason -> Int4,
        requested_by -> Text,
        status -> Text,
        attempts -> Int4,
        next_attempt_at -> Nullable<Timestamptz>,
        failure -> Nullable<Jsonb>,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sign_in_failures (subject) {
        subject -> Bytea,
        failures -> Int4,
        first_failed_at -> Timestamptz,
        last_failed_at -> Timestamptz,
        blocked_until -> Timestamptz,
    }
}

diesel::table! {
    users (id) {
        id -> Uuid,
        account_id -> Uuid,
        email -> Text,
        password_hash -> Text,
        role -> Text,
        email_verified_at -> Nullable<Timestamptz>,
        last_login_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        name -> Nullable<Text>,
        signed_out_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    versions (id) {
        id -> Uuid,
        account_id -> Uuid,
        certificate_id -> Uuid,
        number -> Int4,
        source -> Text,
        order_id -> Nullable<Uuid>,
        key_version_id -> Uuid,
        chain_pem -> Text,
        names -> Array<Text>,
        serial -> Text,
        fingerprint_sha256 -> Text,
        issuer -> Text,
        subject -> Text,
        not_before -> Timestamptz,
        not_after -> Timestamptz,
        created_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revocation_reason -> Nullable<Int4>,
        alternate -> Bool,
        details -> Nullable<Jsonb>,
        fingerprint_sha1 -> Nullable<Text>,
        side -> Nullable<Text>,
    }
}

diesel::table! {
    webhook_deliveries (id) {
        id -> Uuid,
        account_id -> Uuid,
        webhook_id -> Uuid,
        event -> Text,
        certificate_id -> Nullable<Uuid>,
        body -> Text,
        status -> Text,
        attempts -> Int4,
        next_attempt_at -> Nullable<Timestamptz>,
        claimed_until -> Nullable<Timestamptz>,
        log -> Jsonb,
        last_error -> Nullable<Text>,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    webhook_secrets (id) {
        id -> Uuid,
        account_id -> Uuid,
        webhook_id -> Uuid,
        data_key_id -> Uuid,
        sealed -> Bytea,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    webhooks (id) {
        id -> Uuid,
        account_id -> Uuid,
        url -> Text,
        events -> Array<Text>,
        description -> Nullable<Text>,
        disabled_at -> Nullable<Timestamptz>,
        disabled_reason -> Nullable<Text>,
        failing_since -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        certificate_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    workers (name) {
        name -> Text,
        version -> Text,
        host -> Text,
        started_at -> Timestamptz,
        seen_at -> Timestamptz,
        in_hand -> Int4,
        drain_requested_at -> Nullable<Timestamptz>,
        drained_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    zone_projections (dns_zone) {
        dns_zone -> Text,
        generation -> Int8,
        projected_generation -> Int8,
        created_by_us -> Bool,
        lease_owner -> Nullable<Text>,
        lease_expires_at -> Nullable<Timestamptz>,
        fence -> Int8,
        failures -> Int4,
        next_wake_at -> Timestamptz,
        wake_seq -> Int8,
        woken_at -> Timestamptz,
        last_error -> Nullable<Text>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    zone_records (id) {
        id -> Uuid,
        account_id -> Uuid,
        zone_id -> Uuid,
        name -> Text,
        record_type -> Text,
        ttl_seconds -> Int4,
        contents -> Array<Text>,
        adopted -> Bool,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        refusal -> Nullable<Text>,
        refused_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    zones (id) {
        id -> Uuid,
        account_id -> Uuid,
        name -> Text,
        mode -> Text,
        status -> Text,
        verification_value -> Text,
        verified_at -> Nullable<Timestamptz>,
        last_checked_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        next_check_at -> Nullable<Timestamptz>,
        failed_checks -> Int4,
        lost_at -> Nullable<Timestamptz>,
        adopted_at -> Nullable<Timestamptz>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    accounts,
    acme_accounts,
    alternates,
    api_keys,
    api_tokens,
    audit_log,
    authorizations,
    ca_budget,
    ca_pauses,
    ca_profiles,
    certificate_entries,
    certificate_names,
    certificates,
    challenge_records,
    data_keys,
    deployments,
    email_tokens,
    events,
    idempotency_keys,
    invitations,
    issuances,
    key_stock,
    key_versions,
    mails,
    orders,
    own_acme_accounts,
    pfx_files,
    platform_data_keys,
    private_keys,
    refresh_tokens,
    revocations,
    sign_in_failures,
    users,
    versions,
    webhook_deliveries,
    webhook_secrets,
    webhooks,
    workers,
    zone_projections,
    zone_records,
    zones,
);
