//! Problems in the document: which codes an operation answers under which status.
//!
//! A handler describes those of its own, one a line, with the text that a client may be told where that helps:
//!
//! ```text
//! (status = 409, description = "`zone_exists`: The account has the zone already\n`pending_zone_limit_reached`")
//! (status = 400, description = "`zone_mode_unsupported` at /mode: `mode` can only be `hosted`\n{names}")
//! ```
//!
//! `{names}` stands for a [`group`] of codes. What follows from the kind of a route is added by [`super::kind`].

use actix_web::http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, Schema};

use crate::problem::MEDIA_TYPE;

/// What can be answered under one status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// What is said beside the codes.
    text: Vec<String>,
    codes: Vec<Code>,
}

/// One code, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Code {
    name: String,
    /// Which value of the request is meant.
    pointer: Option<String>,
    /// What a client may be told.
    detail: Option<String>,
}

impl Answers {
    /// Reads lines of codes. A line that begins otherwise is text.
    pub(super) fn read(description: &str) -> Self {
        let mut answers = Self::default();
        for line in description.lines().map(str::trim).filter(|line| !line.is_empty()) {
            answers.read_line(line);
        }
        answers
    }

    fn read_line(&mut self, line: &str) {
        let of_group = line.strip_prefix('{').and_then(|rest| group(rest.strip_suffix('}')?));
        if let Some(codes) = of_group {
            self.codes.extend(codes.iter().map(|code| Code { name: (*code).to_owned(), pointer: None, detail: None }));
            return;
        }
        let (codes, detail) = line.split_once(": ").map_or((line, None), |(codes, detail)| (codes, Some(detail.to_owned())));
        let (codes, pointer) = codes.split_once(" at ").map_or((codes, None), |(codes, pointer)| (codes, Some(pointer.to_owned())));
        let read: Option<Vec<&str>> = codes.split(", ").map(|code| code.strip_prefix('`')?.strip_suffix('`')).collect();
        match read {
            Some(read) => {
                let codes = read.into_iter().map(|code| Code { name: code.to_owned(), pointer: pointer.clone(), detail: detail.clone() });
                self.codes.extend(codes);
            }
            None => self.text.push(line.to_owned()),
        }
    }

    /// Beside its own codes, the names of those that are explained elsewhere.
    pub(super) fn and(mut self, common: &Self) -> Self {
        for code in &common.codes {
            if self.codes.iter().all(|known| known.name != code.name) {
                self.codes.push(Code { name: code.name.clone(), pointer: None, detail: None });
            }
        }
        self
    }

    /// The response: a problem with one of the codes. `instance` is the path in its examples.
    pub(super) fn response(&self, status: u16, instance: &str) -> Response {
        let codes = self.codes.iter().map(|code| code.name.as_str());
        let one_of_them = ObjectBuilder::new()
            .property("code", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes)))
            .property("status", ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([status])));
        let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(one_of_them);
        let examples = self.codes.iter().filter_map(|code| Some((code.name.clone(), code.example(status, instance)?)));
        let examples = examples.map(|(name, value)| (name, RefOr::T(ExampleBuilder::new().value(Some(value)).build())));
        let content = ContentBuilder::new().schema(Some(RefOr::T(Schema::AllOf(schema.build())))).examples_from_iter(examples);
        ResponseBuilder::new().description(self.description()).content(MEDIA_TYPE, content.build()).build()
    }

    fn description(&self) -> String {
        let (explained, others): (Vec<&Code>, Vec<&Code>) = self.codes.iter().partition(|code| code.detail.is_some());
        let explained = explained.iter().filter_map(|code| Some(format!("- `{}`: {}", code.name, code.detail.as_deref()?)));
        let others = others.iter().map(|code| format!("`{}`", code.name)).collect::<Vec<_>>().join(", ");
        let others = if others.is_empty() { None } else { Some(format!("- {others}")) };
        let list = explained.chain(others).collect::<Vec<_>>().join("\n");
        let text = self.text.join("\n");
        if text.is_empty() { list } else { format!("{text}\n\n{list}") }
    }
}

impl Code {
    fn example(&self, status: u16, instance: &str) -> Option<Value> {
        let detail = self.detail.as_deref()?;
        let title = StatusCode::from_u16(status).ok()?.canonical_reason()?;
        let mut problem = json!({
            "type": "about:blank", "title": title, "status": status, "detail": detail, "code": self.name, "instance": instance,
        });
        if let Some(pointer) = &self.pointer {
            problem["errors"] = json!([{"pointer": pointer, "code": self.name, "detail": detail}]);
        }
        Some(problem)
    }
}

/// Codes that go together wherever they are possible.
fn group(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "body" => &["required", "unknown_field", "duplicate_field", "wrong_type", "invalid_value", "body_incomplete"],
        "records" => &[
            "record_name_invalid",
            "record_not_under_zone",
            "record_type_unsupported",
            "record_apex_ns",
            "record_apex_cname",
            "record_apex_ds",
            "record_several_cnames",
            "record_ttl_out_of_range",
            "record_contents_empty",
            "record_contents_too_many",
            "record_contents_too_long",
            "record_content_invalid",
        ],
        "zone file" => &[
            "zone_file_malformed",
            "zone_file_include",
            "zone_file_generate",
            "zone_file_directive",
            "zone_file_no_name",
            "zone_file_no_type",
            "zone_file_ttl",
            "zone_file_class",
            "zone_file_too_many_records",
            "zone_file_too_many_record_sets",
            "record_cname_conflict",
        ],
        "upload" => &[
            "certificate_or_pfx",
            "upload_too_large",
            "chain_too_long",
            "pem_malformed",
            "certificate_missing",
            "private_key_missing",
            "several_private_keys",
            "private_key_malformed",
            "private_key_unsupported",
            "private_key_mismatch",
            "passphrase_missing",
            "passphrase_wrong",
            "passphrase_invalid",
            "encryption_unsupported",
            "encryption_too_slow",
            "pfx_malformed",
            "too_many_names",
            "certificate_unreadable",
        ],
        "line" => &["text_empty", "text_too_long", "text_has_control_characters"],
        "email" => &["email_empty", "email_too_long", "email_needs_one_at", "email_local_part_invalid", "email_domain_invalid"],
        "names" => &[
            "name_empty",
            "name_too_long",
            "name_empty_label",
            "name_label_too_long",
            "name_too_few_labels",
            "name_invalid_character",
            "name_underscore",
            "name_hyphen",
            "name_invalid_idn",
            "name_wildcard_misplaced",
            "name_wildcard_zone",
            "name_is_ip_address",
            "name_numeric_tld",
            "name_is_public_suffix",
            "name_special_use",
            "name_unknown_tld",
            "name_in_platform_zone",
        ],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(description: &str) -> Vec<String> {
        Answers::read(description).codes.into_iter().map(|code| code.name).collect()
    }

    #[test]
    fn codes_are_read_line_by_line_with_pointer_and_text() {
        let read = Answers::read("What it is.\n`a_b` at /name: Give: one\n`c`, `d`\n");
        assert_eq!(read.text, ["What it is."]);
        let code = |code: &str, pointer: Option<&str>, detail: Option<&str>| Code {
            name: code.to_owned(),
            pointer: pointer.map(str::to_owned),
            detail: detail.map(str::to_owned),
        };
        assert_eq!(read.codes, [code("a_b", Some("/name"), Some("Give: one")), code("c", None, None), code("d", None, None)]);
        assert_eq!(codes("{line}"), ["text_empty", "text_too_long", "text_has_control_characters"]);
    }

    #[test]
    fn the_codes_of_both_are_listed_once() {
        let both = Answers::read("`a`: first\n`b`").and(&Answers::read("`b`\n`c`: third\n`a`: second"));
        assert_eq!(both.description(), "- `a`: first\n- `b`, `c`");
        assert_eq!(Answers::read("Text.\n`a`").description(), "Text.\n\n- `a`");
    }

    #[test]
    fn an_example_names_the_value_that_is_meant() {
        let read = Answers::read("`limit_out_of_range` at ?limit: Give 1 to 100");
        assert_eq!(
            read.codes[0].example(400, "/api/v1/zones").unwrap(),
            json!({
                "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "Give 1 to 100", "code": "limit_out_of_range",
                "instance": "/api/v1/zones",
                "errors": [{"pointer": "?limit", "code": "limit_out_of_range", "detail": "Give 1 to 100"}],
            })
        );
    }
}
