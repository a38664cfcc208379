//! A checked cursor over a message: every length is tested, nothing panics.

/// Bytes that remain to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read<'a>(pub(super) &'a [u8]);

impl<'a> Read<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn u24(&mut self) -> Option<usize> {
        let [a, b, c]: [u8; 3] = self.take(3)?.try_into().ok()?;
        Some(usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
    }

    /// `opaque x<0..2^8-1>`.
    pub(super) fn vec8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// `opaque x<0..2^16-1>`.
    pub(super) fn vec16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// `opaque x<0..2^24-1>`.
    pub(super) fn vec24(&mut self) -> Option<&'a [u8]> {
        let len = self.u24()?;
        self.take(len)
    }
}

/// A list of 16-bit numbers; an odd byte at the end is left out.
pub(super) fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes
        .chunks_exact(2)
        .filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)))
}
