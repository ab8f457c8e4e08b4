//! Just enough of DER (X.690) to read what openssl's bindings do not show. Definite lengths and tags of one byte only; whatever else comes is none.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The tag `[number]` of a structure.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// The tag `[number]` of a value that is no structure.
pub(crate) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// Elements that stand one behind the other. Bytes that are no element end them.
pub(crate) struct Elements<'a>(&'a [u8]);

/// A tag and what it holds.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// All bytes that are left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The content of the next element, if that has this tag.
    pub(crate) fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }

    /// The elements in the next one, if that has this tag.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.value(tag).map(Self)
    }

    /// The next element, if it is a whole number from 0 that fits.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let digits = self.value(INTEGER)?;
        let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
        (digits.len() <= 8).then(|| digits.iter().fold(0, |number, digit| (number << 8) | u64::from(*digit)))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Element { tag, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_one_after_the_other() {
        let mut elements = Elements::new(&[SEQUENCE, 6, INTEGER, 1, 5, INTEGER, 1, 0xff, OCTET_STRING, 0x81, 1, 7]);
        let mut inner = elements.enter(SEQUENCE).unwrap();
        assert_eq!((inner.number(), inner.number(), inner.number()), (Some(5), Some(255), None));
        assert_eq!(elements.value(OCTET_STRING), Some(&[7][..]));
        assert!(elements.next().is_none());
    }

    #[test]
    fn what_is_cut_off_or_of_no_definite_length_is_none() {
        for bytes in
            [&[][..], &[SEQUENCE], &[SEQUENCE, 2, 0], &[SEQUENCE, 0x80, 0, 0], &[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff], &[SEQUENCE, 0x85]]
        {
            assert!(Elements::new(bytes).next().is_none(), "{bytes:?}");
        }
        assert_eq!(Elements::new(&[INTEGER, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]).number(), None, "too large");
    }
}
