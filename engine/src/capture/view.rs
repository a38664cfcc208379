//! A window on the (decompressed) file: the bytes at hand, where they stand in
//! the file, and whether more follow. All reads are checked; offsets are those
//! of the file, so that the same code walks a map and a stream's buffer.

/// More of the file is needed before the question can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NeedMore;

/// Bytes `base .. base + bytes.len()` of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) base: u64,
    /// Whether the file goes on behind `bytes`.
    pub(super) more: bool,
}

impl<'a> View<'a> {
    /// A whole file.
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            base: 0,
            more: false,
        }
    }

    /// Offset behind the last byte at hand.
    pub(super) fn end(&self) -> u64 {
        self.base.saturating_add(self.bytes.len() as u64)
    }

    /// Where `offset` lies in `bytes`; `None` when it lies before them.
    pub(super) fn index(&self, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.base)?).ok()
    }

    /// `len` bytes at `offset`.
    #[inline]
    pub(super) fn get(&self, offset: u64, len: usize) -> Option<&'a [u8]> {
        let from = self.index(offset)?;
        self.bytes.get(from..from.checked_add(len)?)
    }

    /// `N` bytes at `offset`.
    #[inline]
    pub(super) fn array<const N: usize>(&self, offset: u64) -> Option<&'a [u8; N]> {
        self.get(offset, N)?.try_into().ok()
    }

    /// A 32-bit word at `offset`.
    #[inline]
    pub(super) fn u32(&self, offset: u64, big_endian: bool) -> Option<u32> {
        let bytes = *self.array::<4>(offset)?;
        Some(if big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// Like [`View::get`], telling "not yet here" from "never".
    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Option<&'a [u8]>, NeedMore> {
        match self.get(offset, len) {
            None if self.more => Err(NeedMore),
            found => Ok(found),
        }
    }
}
