//! The text of master files, cut into entries and fields (RFC 1035 §5.1). What a field means is for others to say.

use super::error::TextError;

/// Fields on a line, or on several within parentheses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it begins, counted from 1.
    pub(super) line: usize,
    /// It begins with white space, and so is about the name of the entry before.
    pub(super) indented: bool,
    /// Never empty.
    pub(super) fields: Vec<Field>,
}

/// What stands between white space, or between quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Its octets, escapes resolved.
    pub(super) bytes: Vec<u8>,
    /// There was neither quote nor escape in it.
    pub(super) plain: bool,
}

impl Field {
    /// A text that is taken as it is.
    pub(super) fn literal(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), plain: false }
    }

    /// The text, if neither quotes nor escapes were needed for it.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok().filter(|_| self.plain)
    }
}

/// A text that cannot be cut further, and the line at which it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: usize,
    pub(super) error: TextError,
}

/// The entries of a text, lazily; the first one that is broken is the last.
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Entries<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { rest: text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes(), line: 1 }
    }

    fn entry(&mut self) -> Result<Entry, Broken> {
        let mut entry = Entry { line: self.line, indented: matches!(self.rest.first(), Some(b' ' | b'\t')), fields: Vec::new() };
        let mut open = false;
        while let Some(&byte) = self.rest.first() {
            match byte {
                b'\n' => {
                    self.advance();
                    self.line += 1;
                    if !open {
                        return Ok(entry);
                    }
                }
                b' ' | b'\t' | b'\r' => self.advance(),
                b';' => {
                    let end = self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                b'(' | b')' => {
                    if open == (byte == b'(') {
                        return Err(self.broken(TextError::Parenthesis));
                    }
                    open = !open;
                    self.advance();
                }
                _ => entry.fields.push(self.field()?),
            }
        }
        if open { Err(Broken { line: entry.line, error: TextError::Parenthesis }) } else { Ok(entry) }
    }

    fn field(&mut self) -> Result<Field, Broken> {
        let mut field = Field { bytes: Vec::new(), plain: true };
        if self.rest.first() == Some(&b'"') {
            self.quoted(&mut field)?;
            return Ok(field);
        }
        while let Some(&byte) = self.rest.first() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' => break,
                // As in `alpn="h2,h3"` (RFC 9460 §2.1).
                b'"' => self.quoted(&mut field)?,
                b'\\' => self.escape(&mut field)?,
                byte => self.octet(&mut field, byte)?,
            }
        }
        Ok(field)
    }

    fn quoted(&mut self, field: &mut Field) -> Result<(), Broken> {
        field.plain = false;
        self.advance();
        loop {
            match self.rest.first() {
                None | Some(b'\n') => return Err(self.broken(TextError::Quote)),
                Some(b'"') => {
                    self.advance();
                    return Ok(());
                }
                Some(b'\\') => self.escape(field)?,
                Some(b'\t') => {
                    field.bytes.push(b'\t');
                    self.advance();
                }
                Some(&byte) => self.octet(field, byte)?,
            }
        }
    }

    /// `\DDD` is the octet of this number, `\X` is X.
    fn escape(&mut self, field: &mut Field) -> Result<(), Broken> {
        field.plain = false;
        let (octet, length) = match self.rest {
            [_, a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
                let number = [a, b, c].into_iter().fold(0_u16, |number, digit| number * 10 + u16::from(digit - b'0'));
                (u8::try_from(number).ok(), 4)
            }
            [_, byte, ..] => (Some(*byte).filter(|byte| !byte.is_ascii_digit() && !byte.is_ascii_control()), 2),
            _ => (None, 1),
        };
        field.bytes.push(octet.ok_or_else(|| self.broken(TextError::Escape))?);
        self.rest = &self.rest[length..];
        Ok(())
    }

    fn octet(&mut self, field: &mut Field, byte: u8) -> Result<(), Broken> {
        if byte.is_ascii_control() {
            return Err(self.broken(TextError::ControlCharacter));
        }
        field.bytes.push(byte);
        self.advance();
        Ok(())
    }

    fn advance(&mut self) {
        self.rest = &self.rest[1..];
    }

    fn broken(&self, error: TextError) -> Broken {
        Broken { line: self.line, error }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.entry() {
                Ok(entry) if entry.fields.is_empty() => {}
                Ok(entry) => return Some(Ok(entry)),
                Err(broken) => {
                    self.rest = &[];
                    return Some(Err(broken));
                }
            }
        }
        None
    }
}

/// The fields of one record's data. Nothing that belongs to files, a comment or several lines, is in it.
pub(super) fn fields(text: &str) -> Result<Vec<Field>, TextError> {
    let mut entries = Entries::of(text);
    let mut fields = Vec::new();
    while let Some(&byte) = entries.rest.first() {
        match byte {
            b' ' | b'\t' => entries.advance(),
            b';' | b'(' | b')' => return Err(TextError::FileSyntax),
            b'\n' | b'\r' => return Err(TextError::ControlCharacter),
            _ => fields.push(entries.field().map_err(|broken| broken.error)?),
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(fields: &[Field]) -> Vec<String> {
        fields.iter().map(|field| String::from_utf8_lossy(&field.bytes).into_owned()).collect()
    }

    fn read(text: &str) -> Vec<(usize, bool, Vec<String>)> {
        Entries::of(text).map(|entry| entry.unwrap()).map(|entry| (entry.line, entry.indented, texts(&entry.fields))).collect()
    }

    #[test]
    fn lines_comments_and_parentheses_make_entries() {
        let text = "\u{feff}; a zone\r\n\r\n@ 1h IN SOA ns. host. ( 1 ; serial\n 2\n\t3 4 5 ) ; done\n  MX 10 mail\nwww A 192.0.2.1";
        assert_eq!(
            read(text),
            [
                (3, false, ["@", "1h", "IN", "SOA", "ns.", "host.", "1", "2", "3", "4", "5"].map(str::to_owned).to_vec()),
                (6, true, ["MX", "10", "mail"].map(str::to_owned).to_vec()),
                (7, false, ["www", "A", "192.0.2.1"].map(str::to_owned).to_vec()),
            ]
        );
        assert_eq!(read(" \n;\n\n\t(\n)\n"), []);
    }

    #[test]
    fn quotes_keep_what_would_end_a_field_and_stand_in_parentheses_too() {
        let text = "k TXT ( \"v=DKIM1; k=rsa; \"\n \"p=A(B)\" ) x=\"a b\"c \"one\"\"two\" \"\"";
        assert_eq!(read(text)[0].2, ["k", "TXT", "v=DKIM1; k=rsa; ", "p=A(B)", "x=a bc", "one", "two", ""]);
    }

    #[test]
    fn escapes_are_octets() {
        let fields = fields(r#"a\.b \065\255 "\"\\\;\000" plain"#).unwrap();
        assert_eq!(fields.iter().map(|field| field.bytes.clone()).collect::<Vec<_>>(), [&b"a.b"[..], b"A\xff", b"\"\\;\0", b"plain"]);
        assert_eq!(fields.iter().map(|field| field.text()).collect::<Vec<_>>(), [None, None, None, Some("plain")]);
    }

    #[test]
    fn what_is_broken_is_said_with_its_line_and_ends_the_text() {
        for (text, line, error) in [
            ("a A 192.0.2.1\nb TXT \"open\nc A 192.0.2.1", 2, TextError::Quote),
            ("a TXT \"open", 1, TextError::Quote),
            ("a MX ( 10\n mail\n", 1, TextError::Parenthesis),
            ("\na MX 10 mail )", 2, TextError::Parenthesis),
            ("a MX ( ( 10 ) )", 1, TextError::Parenthesis),
            ("a TXT \\256", 1, TextError::Escape),
            ("a TXT \\25x", 1, TextError::Escape),
            ("a TXT \\", 1, TextError::Escape),
            ("a TXT \"\\", 1, TextError::Escape),
            ("a TXT \\\n", 1, TextError::Escape),
            ("a\0 A 192.0.2.1", 1, TextError::ControlCharacter),
            ("a TXT \"\u{1b}\"", 1, TextError::ControlCharacter),
        ] {
            let read: Vec<_> = Entries::of(text).collect();
            assert_eq!(read.last(), Some(&Err(Broken { line, error })), "{text:?}");
        }
    }

    #[test]
    fn the_data_of_one_record_has_no_comments_and_no_lines() {
        for text in ["10 mail. ; spare", "( 10 mail. )", "10 )"] {
            assert_eq!(fields(text), Err(TextError::FileSyntax), "{text:?}");
        }
        for text in ["10\nmail.", "10 mail.\r", "\0"] {
            assert_eq!(fields(text), Err(TextError::ControlCharacter), "{text:?}");
        }
        assert_eq!(texts(&fields(" 10\tmail. ").unwrap()), ["10", "mail."]);
        assert_eq!(fields(""), Ok(Vec::new()));
    }
}
