//! A reader of DER (X.690): definite lengths in their shortest form, tags of
//! one byte, nothing copied. What is not DER is `None`, never a guess.

/// Tags that certificates, responses and lists are made of.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// `[n]` constructed.
    pub(crate) const fn explicit(number: u8) -> u8 {
        0xa0 | number
    }

    /// `[n]` primitive.
    pub(crate) const fn implicit(number: u8) -> u8 {
        0x80 | number
    }
}

/// One element: its tag, its content, and all of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// A reader of its content.
    pub(crate) const fn reader(self) -> Reader<'a> {
        Reader(self.content)
    }
}

/// The elements that follow each other in some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self) -> Option<Element<'a>> {
        let bytes = self.0;
        let (&tag, after_tag) = bytes.split_first()?;
        // Tags beyond 30 do not occur in what is read here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, after_first) = after_tag.split_first()?;
        let (len, body) = if first < 0x80 {
            (usize::from(first), after_first)
        } else {
            let octets = usize::from(first & 0x7f);
            if octets == 0 || octets > 4 {
                return None;
            }
            let (digits, body) = after_first.split_at_checked(octets)?;
            let len = digits
                .iter()
                .fold(0_usize, |len, &digit| len << 8 | usize::from(digit));
            // The shortest form only (X.690 §10.1).
            if len < 0x80 || digits.first() == Some(&0) {
                return None;
            }
            (len, body)
        };
        let (content, rest) = body.split_at_checked(len)?;
        let whole = bytes.get(..bytes.len() - rest.len())?;
        self.0 = rest;
        Some(Element {
            tag,
            content,
            whole,
        })
    }

    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.peek()? != tag {
            return None;
        }
        self.any()
    }

    /// The next element when it has this tag; `Some(None)` when it has another
    /// or there is none, `None` when it is no DER.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Option<Element<'a>>> {
        if self.peek() != Some(tag) {
            return Some(None);
        }
        self.any().map(Some)
    }

    /// A reader of the next SEQUENCE.
    pub(crate) fn sequence(&mut self) -> Option<Self> {
        self.expect(tag::SEQUENCE).map(Element::reader)
    }

    /// A BOOLEAN: 0xff or 0x00 (X.690 §11.1).
    pub(crate) fn boolean(&mut self) -> Option<bool> {
        match self.expect(tag::BOOLEAN)?.content {
            [0xff] => Some(true),
            [0x00] => Some(false),
            _ => None,
        }
    }

    /// The content of an INTEGER in its shortest form.
    pub(crate) fn integer(&mut self) -> Option<&'a [u8]> {
        let content = self.expect(tag::INTEGER)?.content;
        match content {
            [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => None,
            _ => Some(content),
        }
    }

    /// A small non-negative INTEGER.
    pub(crate) fn small(&mut self) -> Option<u32> {
        let content = self.integer()?;
        if content.len() > 4 || content.first()? & 0x80 != 0 {
            return None;
        }
        Some(
            content
                .iter()
                .fold(0, |value, &byte| value << 8 | u32::from(byte)),
        )
    }

    /// The bits of a BIT STRING of whole octets.
    pub(crate) fn octets_of_bits(&mut self) -> Option<&'a [u8]> {
        match self.expect(tag::BIT_STRING)?.content.split_first()? {
            (0, bits) => Some(bits),
            _ => None,
        }
    }

    /// UTCTime or GeneralizedTime in seconds since 1970 (RFC 5280 §4.1.2.5:
    /// in UTC, with seconds, without fractions).
    pub(crate) fn time(&mut self) -> Option<i64> {
        let element = self.any()?;
        time(element.tag, element.content)
    }
}

/// See [`Reader::time`].
pub(crate) fn time(tag: u8, content: &[u8]) -> Option<i64> {
    let (year, rest) = match tag {
        tag::UTC_TIME => {
            let (digits, rest) = content.split_at_checked(2)?;
            let year = number(digits)?;
            // RFC 5280 §4.1.2.5.1.
            (
                if year < 50 {
                    2_000 + year
                } else {
                    1_900 + year
                },
                rest,
            )
        }
        tag::GENERALIZED_TIME => {
            let (digits, rest) = content.split_at_checked(4)?;
            (number(digits)?, rest)
        }
        _ => return None,
    };
    let digits = match rest.split_last()? {
        (b'Z', digits) if digits.len() == 10 => digits,
        _ => return None,
    };
    let mut pairs = digits.chunks_exact(2).map(number);
    let mut next = || pairs.next().flatten();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |value, &digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i64::from(digit - b'0'))
    })
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", days_from_civil). The caller has checked the date.
pub(crate) const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The dotted form of an OID's content; the content in hex where it is none.
pub(crate) fn oid_text(content: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut value = 0_u64;
    let mut open = false;
    for &byte in content {
        let Some(shifted) = value.checked_mul(128) else {
            return super::hex(content);
        };
        value = shifted | u64::from(byte & 0x7f);
        open = byte & 0x80 != 0;
        if !open {
            if arcs.is_empty() {
                let first = (value / 40).min(2);
                arcs.extend([first, value - first * 40]);
            } else {
                arcs.push(value);
            }
            value = 0;
        }
    }
    if open || arcs.is_empty() {
        return super::hex(content);
    }
    let arcs: Vec<String> = arcs.iter().map(u64::to_string).collect();
    arcs.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_in_their_shortest_form_only() {
        let one = |bytes: &'static [u8]| Reader(bytes).any();
        assert_eq!(one(&[4, 1, 7]).map(|e| e.content), Some(&[7][..]));
        let long = [&[4, 0x81, 0x80][..], &[0; 128]].concat();
        assert_eq!(Reader(&long).any().map(|e| e.content.len()), Some(128));
        for wrong in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 1, 7],
            &[4, 0x82, 0, 1, 7],
            &[0x1f, 1, 7],
            &[4, 0x85, 0, 0, 0, 0, 1, 7],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(Reader(wrong).any(), None, "{wrong:02x?}");
        }
    }

    #[test]
    fn integers_are_read_in_their_shortest_form_only() {
        assert_eq!(Reader(&[2, 1, 127]).small(), Some(127));
        assert_eq!(Reader(&[2, 2, 0, 128]).small(), Some(128));
        for wrong in [
            &[2, 0][..],
            &[2, 2, 0, 127],
            &[2, 1, 0x80],
            &[2, 2, 0xff, 0x80],
        ] {
            assert_eq!(Reader(wrong).small(), None, "{wrong:02x?}");
        }
    }

    #[track_caller]
    fn moment(tag: u8, text: &str, expected: Option<i64>) {
        assert_eq!(time(tag, text.as_bytes()), expected, "{text}");
    }

    /// Seconds by `date -u -d ... +%s`.
    #[test]
    fn times_are_those_of_the_profile() {
        moment(tag::UTC_TIME, "700101000000Z", Some(0));
        moment(tag::UTC_TIME, "000229120000Z", Some(951_825_600));
        moment(tag::UTC_TIME, "491231235959Z", Some(2_524_607_999));
        moment(tag::UTC_TIME, "500101000000Z", Some(-631_152_000));
        moment(
            tag::GENERALIZED_TIME,
            "99991231235959Z",
            Some(253_402_300_799),
        );
        for wrong in [
            "7001010000Z",
            "700101000000+0100",
            "700132000000Z",
            "010229000000Z",
            "7001010000000",
            "",
        ] {
            moment(tag::UTC_TIME, wrong, None);
        }
        moment(tag::GENERALIZED_TIME, "20200101000000.5Z", None);
    }

    #[test]
    fn object_identifiers_are_written_in_dots() {
        assert_eq!(
            oid_text(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]),
            "1.2.840.113549"
        );
        assert_eq!(oid_text(&[0x55, 0x1d, 0x0f]), "2.5.29.15");
        assert_eq!(oid_text(&[0x86]), "86");
    }
}
