//! Where a fact comes from. Evidence points into the capture, it holds no bytes.

/// One packet of one input file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketRef {
    /// Row of the file in the `captures` table, from 0.
    pub capture: u32,
    /// Number of the packet in its file, from 1, as other tools count frames.
    pub frame: u64,
    /// Byte offset of the record's header in its file; in the decompressed
    /// stream when the file is compressed.
    pub offset: u64,
}

/// Identifies a flow in every table: positive, 63 bits, the same for every run
/// over the same packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub i64);
