//! The descriptions' Markdown as HTML, as far as they use it: paragraphs, lists, `code` and **strong**.

/// Text as text in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// One line, with `code` and **strong**.
pub(super) fn inline(text: &str) -> String {
    alternating(text, "`", |text| alternating(text, "**", escape, "strong"), "code")
}

/// Every other part between marks is an element, the others are as `plain` has them.
fn alternating(text: &str, mark: &str, plain: impl Fn(&str) -> String, element: &str) -> String {
    let parts = text.split(mark).enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        0 => plain(part),
        _ => ["<", element, ">", &escape(part), "</", element, ">"].concat(),
    });
    parts.collect()
}

/// Paragraphs and lists, which an empty line separates.
pub(super) fn blocks(text: &str) -> String {
    text.split("\n\n").filter(|block| !block.trim().is_empty()).map(block).collect()
}

fn block(text: &str) -> String {
    let text = text.trim();
    if !text.starts_with("- ") {
        return format!("<p>{}</p>\n", inline(text));
    }
    let items = text.trim_start_matches("- ").split("\n- ").map(|item| format!("<li>{}</li>\n", inline(item)));
    format!("<ul>\n{}</ul>\n", items.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_description_becomes_an_element() {
        assert_eq!(inline("<b> & `<i>\"` **<u>**"), "&lt;b&gt; &amp; <code>&lt;i&gt;&quot;</code> <strong>&lt;u&gt;</strong>");
    }

    #[test]
    fn paragraphs_and_lists_are_told_apart() {
        assert_eq!(blocks("One\nline.\n\n- `a`: x\n- b"), "<p>One\nline.</p>\n<ul>\n<li><code>a</code>: x</li>\n<li>b</li>\n</ul>\n");
        assert_eq!(blocks(""), "");
    }
}
