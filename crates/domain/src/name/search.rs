//! What people type to find names.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::MAX_NAME_LENGTH;

/// The longest wildcard.
const MAX_LENGTH: usize = MAX_NAME_LENGTH + "*.".len();

/// A part of a name as it would stand within [`super::DnsName::as_str`]: lower-case A-labels, neither white space around it nor a dot at its end.
/// A label that is not ASCII must be whole for that. None where no name can hold it; empty where every name does.
pub fn search_text(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_suffix('.').unwrap_or(text);
    // Longer ones would be work for nothing; four bytes a character are the most.
    if text.len() > 4 * MAX_LENGTH {
        return None;
    }
    let folded = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore).ok()?.into_owned()
    };
    let possible = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'*');
    (folded.len() <= MAX_LENGTH && folded.bytes().all(possible)).then_some(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_folded_as_names_are() {
        for (text, folded) in [
            ("", ""),
            (" App.Example.COM. ", "app.example.com"),
            ("*.example", "*.example"),
            ("bücher.de", "xn--bcher-kva.de"),
            ("BÜCHER", "xn--bcher-kva"),
            ("xn--bcher", "xn--bcher"),
            ("-", "-"),
            (".", ""),
        ] {
            assert_eq!(search_text(text).as_deref(), Some(folded), "{text:?}");
        }
    }

    #[test]
    fn what_no_name_can_hold_is_none() {
        for text in ["a b", "a_b", "a/b", "\0", "%", "a\u{0}ü", "👍 x", &"a".repeat(MAX_LENGTH + 1), &"é".repeat(10_000)] {
            assert_eq!(search_text(text), None, "{text:?}");
        }
    }
}
