//! A mail as it travels (RFC 5322): plain text, and headers of ours alone.

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Body, Mailbox};
use lettre::{Address, Message};
use zonecert_store::mails::{MailId, MailText};

use super::SendError;

/// Says that no person has written it, so that no holiday note answers (RFC 3834 §5).
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");

/// RFC 5322 §2.1.1.
const MAX_LINE_BYTES: usize = 998;

/// What a body may be made of on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// Any server takes it.
    Ascii,
    /// For files, which people look into.
    Utf8,
}

/// The message. Its `Message-ID` follows from the row, so that one that was sent twice can be told.
pub(super) fn compose(from: &Mailbox, id: MailId, recipient: &str, text: &MailText, charset: Charset) -> Result<Message, SendError> {
    let to: Address = recipient.parse().map_err(|_| SendError::Never("the address of the recipient cannot be read".to_owned()))?;
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(one_line(&text.subject))
        .message_id(Some(format!("<{}@{}>", id.0.simple(), from.email.domain())))
        .raw_header(HeaderValue::new(AUTO_SUBMITTED, "auto-generated".to_owned()))
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN)
        .body(encode(&text.body, charset))
        .map_err(|error| SendError::Never(error.to_string()))
}

/// As it is, wherever that can travel, so that a link stands there in one piece; else encoded.
fn encode(text: &str, charset: Charset) -> Body {
    let lines_fit = text.lines().all(|line| line.len() <= MAX_LINE_BYTES);
    let encoding = match charset {
        _ if !lines_fit => return Body::new(text.to_owned()),
        _ if text.is_ascii() => ContentTransferEncoding::SevenBit,
        Charset::Utf8 => ContentTransferEncoding::EightBit,
        Charset::Ascii => return Body::new(text.to_owned()),
    };
    let lines: Vec<u8> = text.lines().flat_map(|line| [line, "\r\n"]).flat_map(str::bytes).collect();
    Body::dangerous_pre_encoded(lines, encoding)
}

/// A line break would begin another header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn composed(recipient: &str, subject: &str, body: &str) -> Result<Message, SendError> {
        let text = MailText { subject: subject.to_owned(), body: body.to_owned() };
        compose(&"Zonecert <no-reply@zonecert.test>".parse().unwrap(), MailId(Uuid::from_u128(7)), recipient, &text, Charset::Ascii)
    }

    /// Header lines, unfolded, and the body.
    fn parts(message: &Message) -> (Vec<String>, String) {
        let text = String::from_utf8(message.formatted()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.replace("\r\n ", " ").split("\r\n").map(str::to_owned).collect(), body.to_owned())
    }

    #[test]
    fn a_mail_says_who_writes_to_whom_and_that_a_machine_does() {
        let (headers, body) = parts(&composed("ada@customer.test", "Confirm", "First line\nhttps://a.test/x?token=1\n").unwrap());
        for expected in [
            "From: Zonecert <no-reply@zonecert.test>",
            "To: ada@customer.test",
            "Subject: Confirm",
            "Message-ID: <00000000000000000000000000000007@zonecert.test>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 7bit",
        ] {
            assert!(headers.iter().any(|header| header == expected), "{expected}: {headers:?}");
        }
        assert!(headers.iter().any(|header| header.starts_with("Date: ")), "{headers:?}");
        assert_eq!(body, "First line\r\nhttps://a.test/x?token=1\r\n");
    }

    #[test]
    fn no_subject_begins_another_header_and_all_travels_as_ascii() {
        let names = [
            "Süß & Söhne\r\nBcc: evil@a.test",
            "x\nBcc: evil@a.test",
            "x\rBcc: evil@a.test",
            "x\0\u{85}\u{2028}Bcc: evil@a.test",
            "日本語 𝄞",
        ];
        for name in names {
            let message = composed("ada@customer.test", &format!("Join {name}"), &format!("Join {name}\n.\nRCPT TO:<x@y.test>")).unwrap();
            let (headers, _) = parts(&message);
            assert!(message.formatted().is_ascii());
            assert_eq!(headers.len(), 9, "{headers:?}");
            assert!(headers.iter().all(|header| !header.to_lowercase().starts_with("bcc")), "{headers:?}");
            assert_eq!(message.envelope().to().len(), 1);
        }
    }

    #[test]
    fn a_link_stands_in_one_piece_wherever_that_can_travel() {
        let link = format!("https://app.zonecert.test/reset-password?token=zce_{}", "x=".repeat(40));
        for (text, charset, expected) in [
            (format!("Hello\n{link}\n"), Charset::Ascii, ContentTransferEncoding::SevenBit),
            (format!("Hello\n{link}\n"), Charset::Utf8, ContentTransferEncoding::SevenBit),
            (format!("Grüße\n{link}\n"), Charset::Utf8, ContentTransferEncoding::EightBit),
        ] {
            let body = encode(&text, charset);
            assert_eq!((body.encoding(), body.as_ref()), (expected, text.replace('\n', "\r\n").as_bytes()));
        }
        for (text, charset) in [(format!("Grüße\n{link}\n"), Charset::Ascii), ("x".repeat(999), Charset::Utf8)] {
            let encoding = encode(&text, charset).encoding();
            assert!(matches!(encoding, ContentTransferEncoding::QuotedPrintable | ContentTransferEncoding::Base64), "{text}");
        }
    }

    #[test]
    fn a_recipient_who_is_no_address_is_refused_for_good() {
        for recipient in ["", "ada", "a@b.test\r\nRCPT TO:<c@d.test>", "a@b.test, c@d.test", "Ada <a@b.test>"] {
            assert!(matches!(composed(recipient, "x", "x"), Err(SendError::Never(_))), "{recipient:?}");
        }
    }
}
