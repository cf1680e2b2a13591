//! What one write looks like on the wire.
//!
//! ```text
//!   0        2        4          8         16            24
//!   | kind   | region | zero     | offset  | operand     | payload (Span only)
//!     1 Span                       target    its length
//!     2 Word                       target    the value
//!     3 End      zero              the epoch's tag, both words
//! ```
//! All fields are little-endian.

use crate::write::RegionId;

/// Bytes of a frame before its payload; a Word is nothing else.
pub(super) const HEADER_BYTES: usize = 24;

const SPAN: u16 = 1;
const WORD: u16 = 2;
const END: u16 = 3;

/// One frame's header, checked against my regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// `len` bytes follow, for `offset` of `region`.
    Span { region: RegionId, offset: u64, len: u64 },
    /// `value` for the word at `offset` of `region`.
    Word { region: RegionId, offset: u64, value: u64 },
    /// Nothing more of this epoch follows.
    End { tag: [u64; 2] },
}

/// What a peer of the right version never sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFrame {
    #[error("unknown frame kind {0}")]
    Kind(u16),
    #[error("reserved bits are set")]
    Reserved,
    #[error("region {0} does not exist")]
    Region(u16),
    #[error("{len} bytes at {offset} lie outside a region of {bytes}")]
    Bounds { offset: u64, len: u64, bytes: u64 },
    #[error("a word at {0} is not aligned")]
    Alignment(u64),
    #[error("an empty span")]
    Empty,
    #[error("the end mark of another epoch, or bytes behind the end mark")]
    End,
}

impl Frame {
    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let (kind, region, offset, operand) = match self {
            Frame::Span { region, offset, len } => (SPAN, region, offset, len),
            Frame::Word { region, offset, value } => (WORD, region, offset, value),
            Frame::End { tag: [offset, operand] } => (END, RegionId(0), offset, operand),
        };
        let first = u64::from(kind) | u64::from(region.0) << 16;
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&first.to_le_bytes());
        header[8..16].copy_from_slice(&offset.to_le_bytes());
        header[16..].copy_from_slice(&operand.to_le_bytes());
        header
    }

    /// Reads a header from a peer; `region_bytes` are the sizes of my regions.
    pub(super) fn decode(header: &[u8; HEADER_BYTES], region_bytes: impl Fn(u16) -> Option<u64>) -> Result<Frame, BadFrame> {
        let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let (first, offset, operand) = (field(0), field(8), field(16));
        if first >> 32 != 0 {
            return Err(BadFrame::Reserved);
        }
        let (kind, region) = (first as u16, (first >> 16) as u16);
        if kind == END && region == 0 {
            return Ok(Frame::End { tag: [offset, operand] });
        }
        let bytes = region_bytes(region).ok_or(BadFrame::Region(region))?;
        let inside = |len: u64| match offset <= bytes && len <= bytes - offset {
            true => Ok(()),
            false => Err(BadFrame::Bounds { offset, len, bytes }),
        };
        match kind {
            SPAN if operand == 0 => Err(BadFrame::Empty),
            SPAN => inside(operand).map(|()| Frame::Span { region: RegionId(region), offset, len: operand }),
            WORD if !offset.is_multiple_of(8) => Err(BadFrame::Alignment(offset)),
            WORD => inside(8).map(|()| Frame::Word { region: RegionId(region), offset, value: operand }),
            _ => Err(BadFrame::Kind(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sizes(region: u16) -> Option<u64> {
        [4096, 1 << 20].get(usize::from(region)).copied()
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let span = Frame::Span { region: RegionId(1), offset: 13, len: (1 << 20) - 13 };
        let word = Frame::Word { region: RegionId(0), offset: 4088, value: u64::MAX };
        for frame in [span, word, Frame::End { tag: [7, u64::MAX] }] {
            assert_eq!(Frame::decode(&frame.encode(), sizes), Ok(frame));
        }
    }

    #[test]
    fn what_lies_outside_is_refused() {
        let refused = |frame: Frame| Frame::decode(&frame.encode(), sizes).unwrap_err();
        let region = RegionId(0);
        assert_eq!(refused(Frame::Word { region, offset: 4096, value: 0 }), BadFrame::Bounds { offset: 4096, len: 8, bytes: 4096 });
        assert_eq!(refused(Frame::Word { region, offset: 4, value: 0 }), BadFrame::Alignment(4));
        assert_eq!(refused(Frame::Word { region: RegionId(2), offset: 0, value: 0 }), BadFrame::Region(2));
        assert_eq!(refused(Frame::Span { region, offset: 0, len: 0 }), BadFrame::Empty);
        let wraps = Frame::Span { region, offset: 8, len: u64::MAX };
        assert_eq!(refused(wraps), BadFrame::Bounds { offset: 8, len: u64::MAX, bytes: 4096 });
    }

    proptest! {
        #[test]
        fn whatever_decodes_lies_inside(header in any::<[u8; HEADER_BYTES]>(), plausible in any::<bool>()) {
            let mut header = header;
            if plausible {
                header[0] = header[0] % 3 + 1;
                header[2] %= 2;
                for zero in [1, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 19, 20, 21, 22, 23] {
                    header[zero] = 0;
                }
            }
            match Frame::decode(&header, sizes) {
                Ok(Frame::Span { region, offset, len }) => {
                    prop_assert!(len > 0 && offset.checked_add(len).unwrap() <= sizes(region.0).unwrap());
                }
                Ok(Frame::Word { region, offset, .. }) => {
                    prop_assert!(offset % 8 == 0 && offset.checked_add(8).unwrap() <= sizes(region.0).unwrap());
                }
                Ok(Frame::End { .. }) | Err(_) => {}
            }
        }
    }
}
