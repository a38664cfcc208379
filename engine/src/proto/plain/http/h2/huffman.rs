//! HPACK's Huffman code (RFC 7541 §5.2, Appendix B). The code is canonical, so
//! that the lengths of its 257 symbols say all of it; everything else here is
//! derived from them when the program is built.

/// Length in bits of each symbol's code; the last is EOS.
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];
const SYMBOLS: usize = 257;
const EOS: u16 = 256;
const MAX_LEN: usize = 30;
/// Bits that the first look takes; nearly all text has codes no longer.
const FIRST: u32 = 9;

/// Everything that reading needs.
struct Code {
    /// By the first [`FIRST`] bits: symbol and length; length 0 for longer codes.
    first: [(u16, u8); 1 << FIRST],
    /// Symbols by length, then by value.
    sorted: [u16; SYMBOLS],
    /// Of each length: the first code, at the top of 32 bits, the end of its
    /// codes there, and where its symbols begin in `sorted`.
    of_len: [(u32, u64, u16); MAX_LEN + 1],
}

static CODE: Code = build();

// Indices are bounded by the constants above; this runs in the compiler.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const fn build() -> Code {
    let mut code = Code {
        first: [(0, 0); 1 << FIRST],
        sorted: [0; SYMBOLS],
        of_len: [(0, 0, 0); MAX_LEN + 1],
    };
    let (mut next, mut place, mut len) = (0_u64, 0_usize, 1_usize);
    while len <= MAX_LEN {
        code.of_len[len] = (next as u32, 0, place as u16);
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == len {
                code.sorted[place] = symbol as u16;
                place += 1;
                if len <= FIRST as usize {
                    let low = (next >> (32 - FIRST)) as usize;
                    let many = 1 << (FIRST as usize - len);
                    let mut at = 0;
                    while at < many {
                        code.first[low + at] = (symbol as u16, len as u8);
                        at += 1;
                    }
                }
                next += 1 << (32 - len);
            }
            symbol += 1;
        }
        code.of_len[len].1 = next;
        len += 1;
    }
    code
}

/// The next symbol at the top of 32 bits, and its length.
fn symbol(bits: u32) -> Option<(u16, u32)> {
    let at = usize::try_from(bits >> (32 - FIRST)).ok()?;
    let (symbol, len) = *CODE.first.get(at)?;
    if len > 0 {
        return Some((symbol, u32::from(len)));
    }
    let longer = CODE.of_len.iter().enumerate().skip(FIRST as usize + 1);
    for (len, (first, end, place)) in longer {
        if u64::from(bits) < *end {
            let len = u32::try_from(len).ok()?;
            let nth = bits.checked_sub(*first)? >> (32 - len);
            let at = usize::from(*place).checked_add(usize::try_from(nth).ok()?)?;
            return Some((*CODE.sorted.get(at)?, len));
        }
    }
    None
}

/// Appends what `coded` says to `out`; false when it is no such code: EOS
/// within it, or an end that is more than seven bits, or other than ones.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> bool {
    let (mut bits, mut have) = (0_u64, 0_u32);
    let mut rest = coded.iter();
    loop {
        while have <= 32 {
            let Some(byte) = rest.next() else { break };
            bits = bits << 8 | u64::from(*byte);
            have += 8;
        }
        if have == 0 {
            return true;
        }
        // The bits at hand, and ones behind them, as the end has it.
        let top = if have >= 32 {
            bits >> (have - 32)
        } else {
            bits << (32 - have) | ((1 << (32 - have)) - 1)
        };
        let top = u32::try_from(top & u64::from(u32::MAX)).unwrap_or_default();
        if have < 8 && top == u32::MAX {
            return true;
        }
        match symbol(top) {
            Some((symbol, len)) if symbol != EOS && len <= have => {
                let Ok(byte) = u8::try_from(symbol) else {
                    return false;
                };
                out.push(byte);
                have -= len;
                bits &= (1 << have) - 1;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::hex;
    use super::*;

    fn read(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).then_some(out)
    }

    #[test]
    fn the_examples_of_the_rfc_decode() {
        // RFC 7541 Appendix C.4 and C.6.
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("6402", "302"),
            ("aec3771a4b", "private"),
            (
                "d07abe941054d444a8200595040b8166e082a62d1bff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (
                "9d29ad171863c78f0b97c8e9ae82ae43d3",
                "https://www.example.com",
            ),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            assert_eq!(read(&hex(coded)).as_deref(), Some(text.as_bytes()));
        }
    }

    /// Codes from Appendix B, written out there in hexadecimal.
    #[test]
    fn long_codes_stand_where_the_table_has_them() {
        for (bits, len, expected) in [
            (0x1ff8_u32, 13, 0_u16),
            (0x007f_ffd8, 23, 1),
            (0x3fff_fffc, 30, 10),
            (0x3fff_fffe, 30, 22),
            (0x0fff_fffe, 28, 249),
            (0x07ff_fff0, 27, 254),
            (0x03ff_ffee, 26, 255),
            (0x3fff_ffff, 30, 256),
            (0x7fff0, 19, 92),
        ] {
            assert_eq!(symbol(bits << (32 - len)), Some((expected, len)));
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        // EOS; an end of eight ones; an end with a zero.
        for coded in [&[0xff, 0xff, 0xff, 0xff][..], &[0x1f, 0xff], &[0x18]] {
            assert_eq!(read(coded), None, "{coded:?}");
        }
        assert_eq!(read(&[]), Some(Vec::new()));
        assert_eq!(read(&[0x1f]).as_deref(), Some(&b"a"[..]));
    }
}
