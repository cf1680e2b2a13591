//! Where a batch may be cut.

use squall_transport::region::Ring;

use crate::record::{parse, step};

/// A stream that passes from member to member goes in pieces of about so many bytes, each with its own head: the next
/// member passes on the first while the second is on its way. Much larger, and a batch would wait whole at each member;
/// much smaller, and the heads would take more time than the bytes.
pub(crate) const PIECE_BYTES: u64 = 16 << 10;

/// Position of the first header `piece_bytes` or more behind `from`, up to `to`; both lie between records. `word` reads
/// the ring. Where no writer makes what it reads, or less is left, that is all.
#[inline]
pub(crate) fn piece_end(ring: &Ring, word: impl Fn(u64) -> u64, from: u64, to: u64, piece_bytes: u64) -> u64 {
    let mut position = from;
    while to - from > piece_bytes && position - from < piece_bytes {
        let available = (to - position).min(ring.until_end(position));
        match parse(word(position)).and_then(|(kind, length)| step(kind, length, available)) {
            Some(bytes) => position += bytes,
            None => return to,
        }
    }
    if position == from { to } else { position }
}

#[cfg(test)]
mod tests {
    use squall_sst::LayoutBuilder;
    use squall_transport::{Rank, Region, RegionOptions};

    use super::*;
    use crate::record::{HEADER_BYTES, Kind, header, record_bytes};

    fn ring(bytes: u64) -> Ring {
        let (layout, column) = LayoutBuilder::compose(1, |builder| builder.rings("r", 1, bytes));
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        squall_sst::Table::new(region, &layout, Rank::new(0)).ring(column, 0)
    }

    #[test]
    fn a_piece_ends_at_a_record_and_never_behind_what_came() {
        let (ring, record) = (ring(1 << 16), record_bytes(1000));
        let data = |_| header(Kind::Data, 1000);
        let end = piece_end(&ring, data, 0, 30 * record, PIECE_BYTES);
        assert_eq!(end, PIECE_BYTES.div_ceil(record) * record);
        assert_eq!(piece_end(&ring, data, end, 30 * record, PIECE_BYTES), 30 * record, "the rest is less than a piece");
        let one = record_bytes(40_000);
        assert_eq!(piece_end(&ring, |_| header(Kind::Data, 40_000), 0, one, PIECE_BYTES), one);
    }

    #[test]
    fn a_lap_may_end_within_a_piece() {
        let ring = ring(1 << 16);
        let (from, lap) = ((1 << 16) - 1024, 1 << 16);
        let word = |at| if at < lap { header(Kind::Padding, 1024 - HEADER_BYTES) } else { header(Kind::Nulls, 3) };
        assert_eq!(piece_end(&ring, word, from, from + PIECE_BYTES + 800, PIECE_BYTES), from + PIECE_BYTES);
    }

    #[test]
    fn what_no_writer_makes_is_not_cut() {
        let (ring, to) = (ring(1 << 16), 3 * PIECE_BYTES);
        for word in [0, 6, header(Kind::Nulls, 0), header(Kind::Data, 1 << 40), u64::MAX] {
            assert_eq!(piece_end(&ring, |_| word, 0, to, PIECE_BYTES), to);
        }
    }
}
