//! What the kind of a route says of it already: which problems it can answer beside its own, and what its description begins with.

use actix_web::http::Method;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;

use crate::auth::caller::is_reading;
use crate::route::{Access, Route};

/// What is known of a route.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct Kind {
    access: Access,
    /// It takes a JSON body.
    body: bool,
    /// It takes parameters in the query.
    query: bool,
    /// It answers pages of a list.
    page: bool,
    /// Its path holds an identifier.
    identifier: bool,
    /// It changes something.
    changes: bool,
    /// It is done once for each `Idempotency-Key`.
    once: bool,
    /// It answers what a client may not take.
    negotiates: bool,
    /// Calls of it are counted.
    counted: bool,
}

impl Kind {
    pub(super) fn of(route: &Route) -> Self {
        let parameters = route.operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        });
        let (query, others): (Vec<_>, Vec<_>) = parameters.partition(|parameter| parameter.parameter_in == ParameterIn::Query);
        Self {
            access: route.access,
            body: route.operation.request_body.is_some(),
            page: query.iter().any(|parameter| parameter.name == "cursor"),
            query: !query.is_empty(),
            identifier: route.path.contains('{') && !route.access.is_by_api_key(),
            changes: route.method != Method::GET,
            once: others.iter().any(|parameter| parameter.name == "Idempotency-Key"),
            negotiates: route.negotiates(),
            counted: route.path.starts_with("/api/") || route.access.is_by_api_key(),
        }
    }

    /// Whether calls of it are counted.
    pub(super) fn is_counted(&self) -> bool {
        self.counted
    }

    /// Whether it is done once for each `Idempotency-Key`.
    pub(super) fn is_done_once(&self) -> bool {
        self.once
    }

    /// Programs on a plan without API access have these refused.
    fn is_writing_by_program(&self) -> bool {
        !self.access.is_for_people() && self.access.scopes().iter().any(|&scope| !is_reading(scope))
    }
}

/// Problems that every route of a kind can answer.
pub(super) struct Common {
    /// Of the shared response.
    pub(super) name: &'static str,
    pub(super) status: u16,
    pub(super) applies: fn(&Kind) -> bool,
    /// As at a handler; see [`super::problems`].
    pub(super) codes: &'static str,
}

/// Of one status, the codes that clients meet most often come first.
pub(super) const COMMON: [Common; 18] = [
    Common {
        name: "BadBody",
        status: 400,
        applies: |kind| kind.body,
        codes: "`malformed_json`: The body is not JSON: EOF while parsing an object at line 1 column 1\n{body}\n`invalid_input`",
    },
    Common {
        name: "BadPage",
        status: 400,
        applies: |kind| kind.page,
        codes: "`limit_out_of_range` at ?limit: `limit` is a whole number from 1 to 100\n\
            `cursor_invalid` at ?cursor: `cursor` must be a `next_cursor` of this list, unchanged\n\
            `invalid_query`, `invalid_input`",
    },
    Common { name: "BadQuery", status: 400, applies: |kind| kind.query && !kind.page, codes: "`invalid_query`, `invalid_input`" },
    Common {
        name: "BadKey",
        status: 400,
        applies: |kind| kind.once,
        codes: "`idempotency_key_invalid`: Send one Idempotency-Key of 1 to 255 printable ASCII characters, such as a random UUID",
    },
    Common {
        name: "Unauthorized",
        status: 401,
        applies: |kind| kind.access.is_of_account(),
        codes: "`credential_missing`: Send an access token or an API token in the header `Authorization: Bearer <token>`\n\
            `credential_invalid`: The token is unknown, expired or revoked; sign in again or use another",
    },
    Common {
        name: "NoOperator",
        status: 401,
        applies: |kind| kind.access == Access::Operator,
        codes: "`operator_credential_required`: This is for the operator of the service; send an operator's token in the header \
            `Authorization: Bearer <token>`",
    },
    Common {
        name: "ApiKeyRefused",
        status: 401,
        applies: |kind| kind.access.is_by_api_key(),
        codes: "`api_key_refused`: No valid API key of what is asked for was sent; send it in the header X-API-Key, of certificate and private key as \
            <certificate's>.<private key's>",
    },
    Common {
        name: "Suspended",
        status: 403,
        applies: |kind| kind.access == Access::Account || kind.access.is_by_api_key(),
        codes: "`account_suspended`: The account is suspended; write to our support",
    },
    Common {
        name: "ForbiddenToPrograms",
        status: 403,
        applies: |kind| kind.access.is_for_people(),
        codes: "`person_required`: Only a person can do this; sign in by POST /auth/login\n\
            `account_suspended`: The account is suspended; write to our support",
    },
    Common {
        name: "ForbiddenToRead",
        status: 403,
        applies: |kind| !kind.access.scopes().is_empty() && !kind.is_writing_by_program(),
        codes: "`scope_missing`: The token does not have the scope certificates:read; use one that does\n\
            `account_suspended`: The account is suspended; write to our support",
    },
    Common {
        name: "Forbidden",
        status: 403,
        applies: Kind::is_writing_by_program,
        codes: "`scope_missing`: The token does not have the scope certificates:write; use one that does\n\
            `account_suspended`: The account is suspended until it is paid for; see to its payment\n\
            `api_access_requires_paid_plan`: API access requires paid subscription",
    },
    Common {
        name: "NotFound",
        status: 404,
        applies: |kind| kind.identifier,
        codes: "`not_found`: There is nothing here that this account can see",
    },
    Common {
        name: "NotAcceptable",
        status: 406,
        applies: |kind| kind.negotiates,
        codes: "`not_acceptable`: The answer is application/json, which the header Accept does not allow; allow it, or leave the header out",
    },
    Common {
        name: "KeyReused",
        status: 409,
        applies: |kind| kind.once,
        codes: "`idempotency_key_reused`: The Idempotency-Key came with another request before; send a new key with a new request",
    },
    Common {
        name: "TooLarge",
        status: 413,
        applies: |kind| kind.body,
        codes: "`body_too_large`: The body has more than 65536 bytes; send less",
    },
    Common {
        name: "UnsupportedMediaType",
        status: 415,
        applies: |kind| kind.body,
        codes: "`unsupported_media_type`: Send the body as JSON, uncompressed, with the header `Content-Type: application/json`",
    },
    Common {
        name: "RateLimited",
        status: 429,
        applies: Kind::is_counted,
        codes: "`rate_limited`: The account makes more calls than its plan allows; wait as long as Retry-After says, and watch the header \
            RateLimit",
    },
    Common {
        name: "Unavailable",
        status: 503,
        applies: |kind| kind.access.is_of_account() || kind.access.is_by_api_key() || kind.access == Access::Operator,
        codes: "`database_unavailable`: The service cannot reach its database; try again in a few seconds",
    },
];

/// Possible wherever something is changed, but nothing that a client could expect: it is listed beside the conflicts that a route has of
/// its own.
static CHANGED_MEANWHILE: Common = Common {
    name: "ChangedMeanwhile",
    status: 409,
    applies: |kind| kind.changes,
    codes: "`changed_meanwhile`: Somebody else changed it at the same moment; read it and try again",
};

impl Kind {
    /// What a route that answers 409 can answer beside its own codes.
    pub(super) fn conflict(&self) -> Option<&'static Common> {
        self.changes.then_some(&CHANGED_MEANWHILE)
    }
}
