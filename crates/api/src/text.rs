//! Text from people: a line within bounds, or one of a few words.

use crate::problem::FieldError;

/// A line of 1 to `max` characters as it was sent, so that `maxLength` in the description says the same; white space around it is then dropped.
/// `pointer` says where it stands in the body.
pub(crate) fn line(pointer: &str, text: &str, max: usize) -> Result<String, FieldError> {
    if text.chars().count() > max {
        return Err(FieldError::new(pointer, "text_too_long", format!("Give at most {max} characters")));
    }
    let text = text.trim();
    if text.is_empty() {
        return Err(FieldError::new(pointer, "text_empty", format!("Give at least one character and at most {max}")));
    }
    if text.chars().any(char::is_control) {
        return Err(FieldError::new(pointer, "text_has_control_characters", "Leave out line breaks and other control characters"));
    }
    Ok(text.to_owned())
}

/// One of a few words, if any is given. `pointer` says where it stands in the request.
pub(crate) fn choice<T: Copy>(
    pointer: &str,
    given: Option<&str>,
    all: &[T],
    word: impl Fn(T) -> &'static str,
) -> Result<Option<T>, FieldError> {
    let Some(given) = given else { return Ok(None) };
    let chosen = all.iter().copied().find(|&one| word(one) == given);
    let words = || all.iter().map(|&one| word(one)).collect::<Vec<_>>().join(", ");
    chosen.map(Some).ok_or_else(|| FieldError::new(pointer, "unknown_choice", format!("Give one of {}", words())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_trimmed_and_counted_in_characters() {
        assert_eq!(line("/name", "  Zürich AG ", 12).unwrap(), "Zürich AG");
        assert_eq!(line("/name", "日本語", 3).unwrap(), "日本語");
    }

    #[test]
    fn what_is_empty_too_long_or_no_line_is_refused() {
        for (text, code) in [
            ("", "text_empty"),
            (" \n ", "text_empty"),
            ("abcd", "text_too_long"),
            (" abc", "text_too_long"),
            ("    ", "text_too_long"),
            ("a\0", "text_has_control_characters"),
            ("a\nb", "text_has_control_characters"),
        ] {
            let error = line("/name", text, 3).unwrap_err();
            assert_eq!((error.pointer.as_str(), error.code), ("/name", code), "{text:?}");
        }
    }
}
