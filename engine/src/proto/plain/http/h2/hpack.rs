//! HPACK (RFC 7541), as somebody who only listens has to read it: the table may
//! have been filled before the capture began, or by bytes that it lacks. What
//! refers to such an entry is *unknown*, never guessed, and everything else is
//! read on.
//!
//! Cost is bounded by the bytes that were sent: names are shared between
//! entries, so that three bytes which repeat a long name cost no copy of it,
//! and a list is kept only up to its limit, whatever it refers to.

use super::super::super::reader::append_wiping;
use super::super::head::Field;
use super::huffman;
use std::collections::VecDeque;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// What an entry costs beyond its texts (RFC 7541 §4.1).
const OVERHEAD: usize = 32;
/// Size of a table before anybody said otherwise (RFC 9113 §6.5.2).
pub(super) const DEFAULT_SIZE: usize = 4096;
/// Most fields kept of one list, as of a head of HTTP/1.
const MAX_FIELDS: usize = 512;

/// Why a block does not decode (RFC 7541 §2.3.3, §3.2, §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

/// One direction's table.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    /// What the encoder keeps to.
    max_size: usize,
    /// Whether that is known.
    size_known: bool,
    /// Whether everything that the encoder may refer to is here.
    complete: bool,
    /// Most bytes held, whatever the encoder may keep.
    cap: usize,
    name: Zeroizing<Vec<u8>>,
    value: Zeroizing<Vec<u8>>,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    value: Option<Zeroizing<Box<[u8]>>>,
}

#[derive(Clone, Debug)]
enum Name {
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
    Unknown,
}

impl Name {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Static(name) => Some(name),
            Self::Shared(name) => Some(name),
            Self::Unknown => None,
        }
    }

    fn len(&self) -> usize {
        self.bytes().map_or(0, <[u8]>::len)
    }
}

impl Entry {
    fn size(&self) -> usize {
        self.name.len() + self.value.as_ref().map_or(0, |value| value.len()) + OVERHEAD
    }
}

/// The fields of one block, texts in one buffer that is wiped.
#[derive(Debug, Default)]
pub(super) struct Fields {
    bytes: Zeroizing<Vec<u8>>,
    spans: Vec<(usize, usize, usize)>,
    /// Size of the list as RFC 9113 §6.5.2 counts it, kept or not.
    pub listed: u64,
    /// Fields of which name or value is not known.
    pub unknown: u32,
    /// Fields were left out for their number or size.
    pub cut: bool,
    max_bytes: usize,
}

impl Fields {
    /// Empty, for a list of at most so many bytes.
    pub(super) fn clear(&mut self, max_bytes: usize) {
        self.bytes.zeroize();
        self.spans.clear();
        (self.listed, self.unknown, self.cut) = (0, 0, false);
        self.max_bytes = max_bytes;
    }

    /// Name and value of each, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.spans.iter().filter_map(|(start, middle, end)| {
            Some((
                self.bytes.get(*start..*middle)?,
                self.bytes.get(*middle..*end)?,
            ))
        })
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<(usize, usize, usize)>()
    }

    fn add(&mut self, name: Option<&[u8]>, value: Option<&[u8]>) {
        let len = |text: Option<&[u8]>| text.map_or(0, <[u8]>::len);
        let size = len(name) + len(value) + OVERHEAD;
        self.listed = self.listed.saturating_add(size as u64);
        let (Some(name), Some(value)) = (name, value) else {
            self.unknown = self.unknown.saturating_add(1);
            return;
        };
        if self.listed > self.max_bytes as u64 || self.spans.len() >= MAX_FIELDS {
            self.cut = true;
            return;
        }
        let start = self.bytes.len();
        append_wiping(&mut self.bytes, name);
        append_wiping(&mut self.bytes, value);
        let middle = start + name.len();
        self.spans.push((start, middle, middle + value.len()));
    }
}

impl Default for Decoder {
    /// The table of a connection's beginning.
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max_size: DEFAULT_SIZE,
            size_known: true,
            complete: true,
            cap: DEFAULT_SIZE,
            name: Zeroizing::default(),
            value: Zeroizing::default(),
        }
    }
}

impl Decoder {
    /// What the table holds is not known from here on.
    pub(super) fn blind(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.max_size = usize::MAX;
        self.size_known = false;
        self.complete = false;
    }

    /// Whether everything that may be referred to is known.
    #[cfg(test)]
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Heap bytes held, roughly.
    pub(super) fn heap_bytes(&self) -> usize {
        self.size
            + self.entries.capacity() * size_of::<Entry>()
            + self.name.capacity()
            + self.value.capacity()
    }

    /// Reads one block; `allowed` is what the other side lets the encoder keep,
    /// `cap` is how much of that is held.
    ///
    /// # Errors
    ///
    /// The block is no HPACK. Fields before that place are told all the same,
    /// and what the table holds is unknown afterwards.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        allowed: usize,
        cap: usize,
        fields: &mut Fields,
    ) -> Result<(), Broken> {
        self.cap = cap;
        let read = self.block(block, allowed, fields);
        if read.is_err() {
            self.blind();
        }
        read
    }

    fn block(&mut self, block: &[u8], allowed: usize, fields: &mut Fields) -> Result<(), Broken> {
        let mut rest = block;
        let mut at_start = true;
        while let Some(&first) = rest.first() {
            if first & 0xe0 == 0x20 {
                let size = integer(&mut rest, 5)?;
                // RFC 7541 §4.2.
                if !at_start || self.complete && size > allowed {
                    return Err(Broken("a table size that is not allowed"));
                }
                self.resize(size);
                continue;
            }
            at_start = false;
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                self.indexed(index, fields)?;
                continue;
            }
            let keeps = first & 0x40 != 0;
            let index = integer(&mut rest, if keeps { 6 } else { 4 })?;
            let name = match index {
                0 => {
                    let name = string(&mut rest, &mut self.name)?;
                    // A copy only of what is kept, or new to this block.
                    Name::Shared(name.into())
                }
                index => self.name_of(index)?,
            };
            let value = string(&mut rest, &mut self.value)?;
            fields.add(name.bytes(), Some(value));
            if keeps {
                let value = Zeroizing::new(Box::from(value));
                self.insert(Entry {
                    name,
                    value: Some(value),
                });
            }
        }
        Ok(())
    }

    fn indexed(&self, index: usize, fields: &mut Fields) -> Result<(), Broken> {
        if index == 0 {
            return Err(Broken("the index 0"));
        }
        if let Some((name, value)) = STATIC.get(index - 1) {
            fields.add(Some(name), Some(value));
            return Ok(());
        }
        match self.entries.get(index - STATIC.len() - 1) {
            Some(entry) => {
                fields.add(
                    entry.name.bytes(),
                    entry.value.as_ref().map(|value| &value[..]),
                );
                Ok(())
            }
            None if self.complete => Err(Broken("an index beyond the table")),
            None => {
                fields.add(None, None);
                Ok(())
            }
        }
    }

    fn name_of(&self, index: usize) -> Result<Name, Broken> {
        if let Some((name, _)) = index.checked_sub(1).and_then(|at| STATIC.get(at)) {
            return Ok(Name::Static(name));
        }
        match self.entries.get(index - STATIC.len() - 1) {
            Some(entry) => Ok(entry.name.clone()),
            None if self.complete => Err(Broken("an index beyond the table")),
            None => Ok(Name::Unknown),
        }
    }

    fn resize(&mut self, size: usize) {
        self.max_size = size;
        self.size_known = true;
        self.evict(0);
        if size == 0 {
            self.complete = true;
        }
    }

    fn insert(&mut self, entry: Entry) {
        let size = entry.size();
        self.evict(size);
        if size <= self.max_size.min(self.cap) {
            self.size += size;
            self.entries.push_front(entry);
        } else if size <= self.max_size {
            // The encoder has it, and we do not: what is older stays in order only
            // behind an entry of its own.
            self.complete = false;
            self.entries.push_front(Entry {
                name: Name::Unknown,
                value: None,
            });
            self.size += OVERHEAD;
        }
    }

    /// Makes room (RFC 7541 §4.3, §4.4).
    fn evict(&mut self, room: usize) {
        let bound = self.max_size.min(self.cap);
        while self.size.saturating_add(room) > bound {
            let Some(oldest) = self.entries.pop_back() else {
                break;
            };
            self.size = self.size.saturating_sub(oldest.size());
            // Whatever is older than one that the encoder gave up is gone as well.
            self.complete = self.size_known && self.max_size <= self.cap;
        }
    }
}

/// An integer (RFC 7541 §5.1), and `rest` moved beyond it.
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Broken> {
    const CUT: Broken = Broken("an integer that is cut");
    let (&first, mut after) = rest.split_first().ok_or(CUT)?;
    let mask = (1_u32 << prefix) - 1;
    let mut value = u32::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, more) = after.split_first().ok_or(CUT)?;
            after = more;
            let part = u32::from(byte & 0x7f);
            // 28 bits are far more than any index or length of a block.
            if shift > 21 {
                return Err(Broken("an integer without end"));
            }
            value = value.saturating_add(part << shift);
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = after;
    usize::try_from(value).map_err(|_| CUT)
}

/// A string (RFC 7541 §5.2): as it stands, or decoded into `into`.
fn string<'r, 'a: 'r>(
    rest: &mut &'a [u8],
    into: &'r mut Zeroizing<Vec<u8>>,
) -> Result<&'r [u8], Broken> {
    let is_coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let len = integer(rest, 7)?;
    let (text, after) = rest
        .split_at_checked(len)
        .ok_or(Broken("a string that is cut"))?;
    *rest = after;
    if !is_coded {
        return Ok(text);
    }
    // The shortest code has five bits; a buffer that must grow leaves no copy.
    let most = text.len().saturating_mul(8) / 5 + 1;
    if into.capacity() < most {
        *into = Zeroizing::new(Vec::with_capacity(most));
    }
    into.clear();
    if huffman::decode(text, into) {
        Ok(into)
    } else {
        Err(Broken("a string that is no Huffman code"))
    }
}

/// RFC 7541 Appendix A; its first entry has the index 1.
const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::hex;
    use super::*;

    const CAP: usize = 1 << 16;

    fn shown(fields: &Fields) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all = fields
            .iter()
            .map(|(name, value)| format!("{}={}", text(name), text(value)));
        all.collect::<Vec<_>>().join(" ")
    }

    fn read(decoder: &mut Decoder, block: &str) -> Result<String, Broken> {
        let mut fields = Fields::default();
        fields.clear(1 << 16);
        decoder.decode(&hex(block), DEFAULT_SIZE, CAP, &mut fields)?;
        Ok(shown(&fields))
    }

    /// RFC 7541 Appendix C.3 and C.4: the same requests, plain and coded.
    #[test]
    fn requests_of_the_rfc() {
        let plain = [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ];
        let coded = [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::default();
            let texts = blocks.map(|block| read(&mut decoder, block).unwrap());
            assert_eq!(
                texts,
                [
                    ":method=GET :scheme=http :path=/ :authority=www.example.com",
                    ":method=GET :scheme=http :path=/ :authority=www.example.com cache-control=no-cache",
                    ":method=GET :scheme=https :path=/index.html :authority=www.example.com custom-key=custom-value",
                ]
            );
            assert_eq!(decoder.size, 164);
        }
    }

    /// RFC 7541 Appendix C.5: answers, with a table of 256 bytes that evicts.
    #[test]
    fn answers_of_the_rfc_evict() {
        let mut decoder = Decoder::default();
        decoder.resize(256);
        for (block, status, size) in [
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                ":status=302 ",
                222,
            ),
            ("4803333037c1c0bf", ":status=307 ", 222),
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
                ":status=200 ",
                215,
            ),
        ] {
            let text = read(&mut decoder, block).unwrap();
            assert!(text.starts_with(status), "{text}");
            assert!(text.contains("location=https://www.example.com"), "{text}");
            assert_eq!(decoder.size, size);
        }
    }

    #[test]
    fn what_is_broken_is_refused() {
        for (block, why) in [
            ("80", "the index 0"),
            ("be", "an index beyond the table"),
            ("7f", "an integer that is cut"),
            ("ffffffffffff7f", "an integer without end"),
            ("0005616263", "a string that is cut"),
            ("0081ff0161", "a string that is no Huffman code"),
            ("823fe11f", "a table size that is not allowed"),
            ("3fe21f", "a table size that is not allowed"),
        ] {
            let mut decoder = Decoder::default();
            assert_eq!(read(&mut decoder, block), Err(Broken(why)), "{block}");
            assert!(!decoder.is_complete());
        }
    }

    #[test]
    fn what_was_not_seen_is_unknown_and_the_rest_is_read() {
        let mut decoder = Decoder::default();
        decoder.blind();
        let mut fields = Fields::default();
        fields.clear(1 << 16);
        // GET, an entry from before, a new one (a: b), both again.
        let block = hex("82be40016101 62 be bf");
        assert_eq!(
            decoder.decode(&block, DEFAULT_SIZE, CAP, &mut fields),
            Ok(())
        );
        assert_eq!(shown(&fields), ":method=GET a=b a=b");
        assert_eq!(fields.unknown, 2);
        // A table that was emptied is known again.
        assert_eq!(
            read(&mut decoder, "20 3fe11f 82").as_deref(),
            Ok(":method=GET")
        );
        assert!(decoder.is_complete());
    }

    #[test]
    fn a_bomb_costs_what_it_sends() {
        // A name of 4,000 bytes, then 20,000 times in three bytes each.
        let mut block = hex("40 7fa11e");
        block.extend([b'n'; 4_000]);
        block.extend(hex("0161"));
        let once = block.len();
        block.extend(hex("7e0162").repeat(20_000));
        let mut decoder = Decoder::default();
        decoder.resize(1 << 16);
        let mut fields = Fields::default();
        fields.clear(64 << 10);
        assert_eq!(decoder.decode(&block, CAP, CAP, &mut fields), Ok(()));
        assert!(fields.cut);
        assert_eq!(fields.listed, 20_001 * 4_033);
        assert!(block.len() < once + 60_001);
        assert!(fields.heap_bytes() < 256 << 10);
        assert!(decoder.size <= 1 << 16 && decoder.entries.len() == 16);
    }

    proptest::proptest! {
        #[test]
        fn any_block_is_read_within_bounds(
            blocks in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), 0..20),
            blind in proptest::prelude::any::<bool>(),
        ) {
            let mut decoder = Decoder::default();
            if blind {
                decoder.blind();
            }
            let mut fields = Fields::default();
            for block in &blocks {
                fields.clear(1 << 12);
                let _ = decoder.decode(block, 1 << 12, 1 << 12, &mut fields);
                let held: usize = decoder.entries.iter().map(Entry::size).sum();
                proptest::prop_assert_eq!(held, decoder.size);
                proptest::prop_assert!(held <= 1 << 12);
                let kept: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
                proptest::prop_assert!(kept <= 1 << 12);
            }
        }
    }
}
