//! The vocabulary of failures, as data.

use std::fmt;

use super::{Actor, FailureClass};

macro_rules! failure_codes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $(= $acme_type:literal)? : $class:ident, $actor:ident, $remedy:literal;)*) => {
        /// What went wrong. The names are stable: they are stored, shown, and matched by customers' programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum FailureCode {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl FailureCode {
            /// Every code.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name in the API, in logs and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether it can heal.
            pub const fn class(self) -> FailureClass {
                match self { $(Self::$variant => FailureClass::$class,)* }
            }

            /// Whose move it is.
            pub const fn actor(self) -> Actor {
                match self { $(Self::$variant => Actor::$actor,)* }
            }

            /// What the customer can do.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }

            /// The problem type that it stands for, without its namespace (RFC 8555 §6.7).
            pub const fn acme_type(self) -> Option<&'static str> {
                match self { $(Self::$variant => failure_codes!(@type $($acme_type)?),)* }
            }
        }
    };
    (@type) => { None };
    (@type $acme_type:literal) => { Some($acme_type) };
}

failure_codes! {
    /// The CA does not know our account (RFC 8555 §6.7).
    AcmeAccountDoesNotExist "acme_account_does_not_exist" = "accountDoesNotExist": Heal, Operator,
        "Nothing to do on your side: our account at the CA has to be renewed, and we have been alerted. The request goes on by itself.";
    /// The certificate is revoked already (RFC 8555 §6.7).
    AcmeAlreadyRevoked "acme_already_revoked" = "alreadyRevoked": Final, Nobody,
        "The certificate is revoked already; nothing is left to do.";
    /// The CA does not accept the certificate request, for a weak or blocked key for instance (RFC 8555 §6.7).
    AcmeBadCsr "acme_bad_csr" = "badCSR": Final, Customer,
        "The CA does not accept this key or combination of names. Choose another key algorithm or other names and request the certificate again.";
    /// The customer's own ACME account is not there, or is not `valid` any more: nothing can be ordered with it.
    AcmeAccountNotValid "acme_account_not_valid": Final, Customer,
        "The certificate's own ACME account cannot be used. Let the certificate use another one, or with `acme_account_id: null` ours, and request it again.";
    /// A nonce was used up; the client has repeated the request often enough (RFC 8555 §6.5).
    AcmeBadNonce "acme_bad_nonce" = "badNonce": Heal, Nobody,
        "Nothing to do: the CA was busy, and the request is repeated by itself.";
    /// The CA does not accept a public key that signs (RFC 8555 §6.7).
    AcmeBadPublicKey "acme_bad_public_key" = "badPublicKey": Heal, Operator,
        "Nothing to do on your side: the CA does not accept our account's key, and we have been alerted. The request goes on by itself.";
    /// The CA does not accept the reason for a revocation (RFC 8555 §6.7).
    AcmeBadRevocationReason "acme_bad_revocation_reason" = "badRevocationReason": Final, Customer,
        "The CA does not accept this reason. Revoke the certificate again with another reason, or without one.";
    /// The CA does not accept the algorithm of a signature (RFC 8555 §6.2).
    AcmeBadSignatureAlgorithm "acme_bad_signature_algorithm" = "badSignatureAlgorithm": Heal, Operator,
        "Nothing to do on your side: the CA does not accept how our account signs, and we have been alerted. The request goes on by itself.";
    /// The domain's CAA records forbid the CA to issue (RFC 8659).
    AcmeCaa "acme_caa" = "caa": Final, Customer,
        "A CAA record of your domain forbids this CA to issue. Allow the CA in that record (for Let's Encrypt: 0 issue \"letsencrypt.org\"), or remove it, and request the certificate again.";
    /// Several problems at once, none of them final (RFC 8555 §6.7.1).
    AcmeCompound "acme_compound" = "compound": Heal, Customer,
        "Several names failed. The log lists the reason for each; the request is repeated by itself.";
    /// The CA could not reach the name servers (RFC 8555 §6.7).
    AcmeConnection "acme_connection" = "connection": Heal, Customer,
        "The CA could not reach the name servers of your domain. Check that they are up and reachable from the Internet; the request is repeated by itself.";
    /// The CA could not look up a record (RFC 8555 §6.7).
    AcmeDns "acme_dns" = "dns": Heal, Customer,
        "The CA could not look up the validation record. Check that the registrar points your domain at our name servers and that DNSSEC is in order; the request is repeated by itself.";
    /// The CA wants an account that it knows from elsewhere (RFC 8555 §7.3.4).
    AcmeExternalAccountRequired "acme_external_account_required" = "externalAccountRequired": Heal, Operator,
        "Nothing to do on your side: our account at the CA lacks a binding, and we have been alerted. The request goes on by itself.";
    /// The CA found something else than the value of the challenge (RFC 8555 §6.7).
    AcmeIncorrectResponse "acme_incorrect_response" = "incorrectResponse": Heal, Customer,
        "The CA found another value than ours in the validation record. Check that the registrar points your domain at our name servers; the request is repeated by itself.";
    /// The CA does not accept our contact address (RFC 8555 §7.3).
    AcmeInvalidContact "acme_invalid_contact" = "invalidContact": Heal, Operator,
        "Nothing to do on your side: the CA does not accept our contact address, and we have been alerted. The request goes on by itself.";
    /// The CA could not make sense of the request (RFC 8555 §6.7).
    AcmeMalformed "acme_malformed" = "malformed": Final, Customer,
        "The CA refused the request as a whole; the log has its words. Check the names and request the certificate again, or write to support.";
    /// The order is not at the step that we took it to be at (RFC 8555 §7.4).
    AcmeOrderNotReady "acme_order_not_ready" = "orderNotReady": Heal, Nobody,
        "Nothing to do: a new order is placed by itself.";
    /// Too many requests, certificates or failures (RFC 8555 §6.6).
    AcmeRateLimited "acme_rate_limited" = "rateLimited": Heal, Nobody,
        "The CA allows no more for now. The request is repeated by itself when the CA says; the log has the limit.";
    /// The CA will not issue for the name (RFC 8555 §6.7).
    AcmeRejectedIdentifier "acme_rejected_identifier" = "rejectedIdentifier": Final, Customer,
        "The CA does not issue for one of the names; the log says which. Leave it out and request the certificate again.";
    /// The CA has trouble of its own (RFC 8555 §6.7).
    AcmeServerInternal "acme_server_internal" = "serverInternal": Heal, Nobody,
        "Nothing to do: the CA has trouble of its own, and the request is repeated by itself.";
    /// A TLS error during validation (RFC 8555 §6.7).
    AcmeTls "acme_tls" = "tls": Heal, Nobody,
        "Nothing to do: the CA met a TLS error, and the request is repeated by itself.";
    /// The CA found no valid proof, or our account may not do this (RFC 8555 §6.7).
    AcmeUnauthorized "acme_unauthorized" = "unauthorized": Heal, Customer,
        "The CA did not find the validation record. Check that the registrar points your domain at our name servers; the request is repeated by itself.";
    /// The CA does not support the kind of our contact address (RFC 8555 §7.3).
    AcmeUnsupportedContact "acme_unsupported_contact" = "unsupportedContact": Heal, Operator,
        "Nothing to do on your side: the CA does not support our kind of contact address, and we have been alerted. The request goes on by itself.";
    /// The CA does not issue for this kind of name (RFC 8555 §7.1.4).
    AcmeUnsupportedIdentifier "acme_unsupported_identifier" = "unsupportedIdentifier": Final, Customer,
        "The CA does not issue for this kind of name. Leave it out and request the certificate again.";
    /// Somebody has to agree to new terms, for instance (RFC 8555 §7.3.3).
    AcmeUserActionRequired "acme_user_action_required" = "userActionRequired": Heal, Operator,
        "Nothing to do on your side: the CA wants us to agree to its terms, and we have been alerted. The request goes on by itself.";
    /// The certificate that this one replaces was replaced already (RFC 9773 §5).
    AcmeAlreadyReplaced "acme_already_replaced" = "alreadyReplaced": Heal, Nobody,
        "Nothing to do: a new order is placed without naming its predecessor.";
    /// The CA has no such profile, or not for this order (draft-ietf-acme-profiles).
    AcmeInvalidProfile "acme_invalid_profile" = "invalidProfile": Final, Customer,
        "The CA does not offer this profile, or not for these names. GET /api/v1/certificates/profiles lists those on offer: change the certificate's `profile`, or take it away with null, and renew the certificate.";
    /// An automatic renewal at the CA was ended (RFC 8739 §2.2).
    AcmeAutoRenewalCanceled "acme_auto_renewal_canceled" = "autoRenewalCanceled": Heal, Operator,
        "Nothing to do on your side: the CA answered for a feature that we do not use, and we have been alerted. A new order is placed by itself.";
    /// An automatic renewal at the CA has run out (RFC 8739 §2.2).
    AcmeAutoRenewalExpired "acme_auto_renewal_expired" = "autoRenewalExpired": Heal, Operator,
        "Nothing to do on your side: the CA answered for a feature that we do not use, and we have been alerted. A new order is placed by itself.";
    /// An automatic renewal at the CA cannot be ended now (RFC 8739 §3.1.2).
    AcmeAutoRenewalCancellationInvalid "acme_auto_renewal_cancellation_invalid" = "autoRenewalCancellationInvalid": Heal, Operator,
        "Nothing to do on your side: the CA answered for a feature that we do not use, and we have been alerted. A new order is placed by itself.";
    /// Certificates of an automatic renewal cannot be revoked (RFC 8739 §3.1.3).
    AcmeAutoRenewalRevocationNotSupported "acme_auto_renewal_revocation_not_supported" = "autoRenewalRevocationNotSupported": Final, Operator,
        "The CA does not revoke certificates of this kind; this one ends with its short validity.";
    /// The CA knows no such delegation (RFC 9115 §2.3.2).
    AcmeUnknownDelegation "acme_unknown_delegation" = "unknownDelegation": Heal, Operator,
        "Nothing to do on your side: the CA answered for a feature that we do not use, and we have been alerted. A new order is placed by itself.";
    /// The CA wants CAA records in the order itself (RFC 9799 §6).
    AcmeOnionCaaRequired "acme_onion_caa_required" = "onionCAARequired": Final, Customer,
        "The CA does not issue for .onion names in this way. Leave them out and request the certificate again.";
    /// The CA does not believe a device's statement about itself (draft-ietf-acme-device-attest).
    AcmeBadAttestationStatement "acme_bad_attestation_statement" = "badAttestationStatement": Heal, Operator,
        "Nothing to do on your side: the CA answered for a feature that we do not use, and we have been alerted. A new order is placed by itself.";
    /// What we asked for collides with something that the CA has: the key of another account, for instance. In no registry; Let's Encrypt's server says it.
    AcmeConflict "acme_conflict" = "conflict": Heal, Operator,
        "Nothing to do on your side: the CA took our request for one that it has already, and we have been alerted. The request is repeated by itself.";
    /// A problem type that is in no registry we know.
    AcmeUnknownProblem "acme_unknown_problem": Heal, Operator,
        "The CA answered with a problem that we do not know; the log has its words. The request is repeated by itself, and we have been alerted.";

    /// What a CA allows in a time is used up, by what we have counted or by what the CA has said: no order is placed before there is room (requirements section 6).
    CaBudgetSpent "ca_budget_spent": Heal, Nobody,
        "The CA allows no more for now. The request goes on by itself when there is room again: `rate_limited_until` says when.";
    /// No connection to the CA, or no answer in time.
    CaUnreachable "ca_unreachable": Heal, Nobody,
        "Nothing to do: the CA did not answer, and the request is repeated by itself.";
    /// The CA's answer is not what RFC 8555 says it is.
    CaMalformedAnswer "ca_malformed_answer": Heal, Nobody,
        "Nothing to do: the CA's answer made no sense, and the request is repeated by itself.";
    /// The CA offers no dns-01 challenge for a name (RFC 8555 §8.4).
    ChallengeNotOffered "challenge_not_offered": Final, Customer,
        "The CA does not let this name be validated by DNS. Leave it out and request the certificate again.";
    /// The looks at an authorization are used up (requirements S3.23).
    AuthorizationTimeout "authorization_timeout": Heal, Nobody,
        "The CA did not finish validating in time. A new order is placed by itself.";
    /// The looks at an order are used up.
    OrderTimeout "order_timeout": Heal, Nobody,
        "The CA did not deliver the certificate in time. A new order is placed by itself.";
    /// The CA no longer knows the order.
    OrderLost "order_lost": Heal, Nobody,
        "The CA no longer knows the order. A new one is placed by itself.";
    /// The order, or an authorization of it, ran out before it was finished (RFC 8555 §7.1.6).
    OrderExpired "order_expired": Heal, Nobody,
        "The order ran out before it was finished. A new one is placed by itself.";
    /// The CA called the order or an authorization invalid, deactivated or revoked and gave no reason (RFC 8555 §7.1.6).
    OrderInvalid "order_invalid": Heal, Nobody,
        "The CA gave up the order without a reason. A new one is placed by itself.";
    /// Key, names or chain of the certificate are not what was ordered: it is not stored.
    CertificateRejected "certificate_rejected": Heal, Operator,
        "The CA delivered a certificate that does not fit the request, and it was not taken. A new order is placed by itself, and we have been alerted.";
    /// The CA does not let us revoke the certificate: neither our account nor the certificate's key is taken for its owner's (RFC 8555 §7.6).
    RevocationRefused "revocation_refused": Final, Operator,
        "The CA does not take the revocation from us, and we have been alerted. Whoever has the private key can revoke the certificate with it, at the CA directly.";
    /// The CA does not know the certificate that is to be revoked. A CA with many databases may come to know it yet.
    CertificateUnknown "certificate_unknown": Heal, Operator,
        "Nothing to do on your side: the CA does not know the certificate, and we have been alerted. The revocation is repeated by itself.";

    /// No connection to the DNS server, or no answer in time.
    DnsProviderUnreachable "dns_provider_unreachable": Heal, Operator,
        "Nothing to do: our DNS server did not answer, and the request is repeated by itself.";
    /// The DNS server answered and would not make the change.
    DnsProviderRefused "dns_provider_refused": Heal, Operator,
        "Nothing to do on your side: our DNS server refused the validation record, and we have been alerted. The request is repeated by itself.";
    /// The zone, read back, does not show what was written.
    DnsProviderMismatch "dns_provider_mismatch": Heal, Operator,
        "Nothing to do on your side: our DNS server did not keep the validation record, and we have been alerted. The request is repeated by itself.";
    /// A name server of ours does not show the value yet, though it was written.
    PropagationUnseen "propagation_unseen": Heal, Operator,
        "Nothing to do on your side: our name servers do not show the validation record yet, and we have been alerted. The look is repeated by itself.";
    /// The DNS server does not have the zone.
    ZoneMissingAtProvider "zone_missing_at_provider": Final, Customer,
        "Our DNS server no longer has the zone. Delete the zone here, import and verify it again, and request the certificate again.";
    /// Control of the zone is no longer proven (requirements section 6).
    ZoneLost "zone_lost": Final, Customer,
        "The zone is no longer in this account or no longer verified. Import and verify it again, and request the certificate again.";
    /// The zone was deleted here (requirements section 6).
    ZoneDeleted "zone_deleted": Final, Customer,
        "The zone was deleted from this account. Import and verify it again, and request the certificate again.";
    /// The alias of a name under a delegated zone is missing or points elsewhere (requirements S3.71).
    ChallengeCnameMissing "challenge_cname_missing": Heal, Customer,
        "Set the CNAME records that the message names, in the DNS of the zone. They are looked for again by itself.";
    /// The alias of a name could not be looked up.
    ChallengeCnameUnknown "challenge_cname_unknown": Heal, Customer,
        "Check that the name servers of the zone are up and DNSSEC is in order. The look-up is repeated by itself.";
    /// Our resolver does not answer.
    ResolverUnavailable "resolver_unavailable": Heal, Operator,
        "Nothing to do on your side: our DNS resolver did not answer, and we have been alerted. The look-up is repeated by itself.";

    /// The plan no longer holds what is asked for (requirements section 6, downgrade).
    PlanForbids "plan_forbids": Final, Customer,
        "Your plan no longer includes this. Upgrade, or change the certificate, and request it again.";
    /// The account is suspended (requirements section 6).
    AccountSuspended "account_suspended": Heal, Customer,
        "The account is suspended. Settle what is outstanding, or write to support; the request then goes on by itself.";
    /// The private key or the certificate request could not be made, sealed or opened.
    KeyUnavailable "key_unavailable": Heal, Operator,
        "Nothing to do on your side: the private key could not be prepared, and we have been alerted. The request is repeated by itself.";
    /// Our database did not answer.
    DatabaseUnavailable "database_unavailable": Heal, Operator,
        "Nothing to do: our database did not answer, and the request is repeated by itself.";
    /// Something that must not happen.
    Internal "internal": Heal, Operator,
        "Nothing to do on your side: something went wrong here, and we have been alerted. The request is repeated by itself.";
}

impl FailureCode {
    /// Whether the cause may be found by a look at the customer's DNS, or at what is left of the CA's limits.
    pub const fn may_be_looked_into(self) -> bool {
        matches!(
            self,
            Self::AcmeCaa
                | Self::AcmeCompound
                | Self::AcmeConnection
                | Self::AcmeDns
                | Self::AcmeIncorrectResponse
                | Self::AcmeRateLimited
                | Self::AcmeUnauthorized
                | Self::AuthorizationTimeout
                | Self::ChallengeCnameMissing
                | Self::ChallengeCnameUnknown
                | Self::OrderInvalid
                | Self::PropagationUnseen
        )
    }

    /// Reads the name that [`Self::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
