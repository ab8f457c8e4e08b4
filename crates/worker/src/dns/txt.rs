//! TXT records in presentation form (RFC 1035 §5.1): character-strings of up to 255 octets in quotes.

use zonecert_domain::records::quote_text;

/// One value as the content of a record, in as many character-strings as it takes.
pub(super) fn quote(value: &str) -> String {
    quote_text(value.as_bytes())
}

/// The value of a record: its character-strings one after the other, as whoever looks it up joins them (RFC 8555 §8.4 has one). `None` where the
/// content is not in presentation form.
pub(super) fn value(content: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(content.len());
    let mut quoted = false;
    let mut rest = content.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'"' => quoted = !quoted,
            b'\\' => octets.push(escaped(&mut rest)?),
            b' ' | b'\t' if !quoted => {}
            _ => octets.push(octet),
        }
    }
    (!quoted).then_some(octets)
}

/// What stands after a backslash: three decimal digits, or the octet itself.
fn escaped(rest: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = rest.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut number = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = rest.next().filter(u8::is_ascii_digit)?;
        number = number * 10 + u16::from(digit - b'0');
    }
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_read_back_from_its_record(text in "\\PC{0,400}") {
            let content = quote(&text);
            prop_assert!(content.is_ascii());
            prop_assert_eq!(value(&content), Some(text.into_bytes()));
        }

        #[test]
        fn no_content_is_too_strange_to_look_at(content in "\\PC*") {
            let _ = value(&content);
        }
    }

    #[test]
    fn a_challenge_value_stands_in_quotes_as_it_is() {
        assert_eq!(quote("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"), "\"LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0\"");
        assert_eq!(quote(""), "\"\"");
    }

    #[test]
    fn the_strings_of_a_record_are_one_value() {
        assert_eq!(value(r#""one " "t\"w\\o" "\195\182""#).unwrap(), "one t\"w\\oö".as_bytes());
        assert_eq!(value("bare").unwrap(), b"bare");
        assert_eq!(value(&quote(&"x".repeat(600))).unwrap().len(), 600);
    }

    #[test]
    fn what_is_cut_off_is_no_value() {
        for content in ["\"open", "\"\\", "\"\\25\"", "\"\\999\""] {
            assert_eq!(value(content), None, "{content}");
        }
    }
}
