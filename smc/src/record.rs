//! What a record looks like in the ring.

/// Payload bytes a descriptor of a large message may take.
pub const DESCRIPTOR_BYTES_MAX: u64 = 64;

/// Payload bytes that a decision about the order may take.
pub const DECISION_BYTES_MAX: u64 = 64;

/// Bytes of a ring that are free wherever one more decision fits: its record, and padding where the lap ends.
pub(crate) const DECISION_ROOM_BYTES: u64 = 2 * (HEADER_BYTES + DECISION_BYTES_MAX);

/// Bytes of a ring that messages leave free where there are decisions: room for some of them, so that the last one,
/// which may have to wait until it decides on all, is hardly ever the next.
pub const DECISIONS_KEPT_BYTES: u64 = 4 * DECISION_ROOM_BYTES;

/// Bytes of a header.
pub(crate) const HEADER_BYTES: u64 = 8;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message whose payload is in the record.
    Data,
    /// A run of nulls: one record, as many indices as its length says, no payload.
    Nulls,
    /// A large message: the payload is its descriptor.
    Large,
    /// Fills the end of a lap: no index, its length counts the bytes behind its header.
    Padding,
    /// A decision about the order, of the sender's orderer for all others: the payload is theirs. It takes an index,
    /// and nothing of it is handed out.
    Decision,
}

/// A header as a word: the kind in the low byte, the length above it.
#[inline]
pub(crate) fn header(kind: Kind, length: u64) -> u64 {
    let code = match kind {
        Kind::Data => 1,
        Kind::Nulls => 2,
        Kind::Large => 3,
        Kind::Padding => 4,
        Kind::Decision => 5,
    };
    length << 8 | code
}

/// Length of the payload if the header is of a data record, by far the most frequent kind.
#[inline(always)]
pub(crate) fn data_length(word: u64) -> Option<u64> {
    (word & 0xFF == 1).then_some(word >> 8)
}

/// Kind and length of a header; `None` if no writer makes such a word.
#[inline]
pub(crate) fn parse(word: u64) -> Option<(Kind, u64)> {
    let kind = match word & 0xFF {
        1 => Kind::Data,
        2 => Kind::Nulls,
        3 => Kind::Large,
        4 => Kind::Padding,
        5 => Kind::Decision,
        _ => return None,
    };
    Some((kind, word >> 8))
}

/// Bytes that a record with `payload` bytes takes in the ring. A 1-byte message takes 16.
#[inline]
pub fn record_bytes(payload: u64) -> u64 {
    HEADER_BYTES + payload.next_multiple_of(8)
}

/// Of a record with this header: bytes up to which anybody but the application reads it, and bytes that it takes in the
/// ring; `None` if no writer makes such a header. What the application does not look at need not be there: a model of a
/// network may leave it out.
#[inline]
pub fn read_bytes(header: u64) -> Option<(u64, u64)> {
    let (kind, length) = parse(header)?;
    Some(match kind {
        Kind::Nulls => (HEADER_BYTES, HEADER_BYTES),
        Kind::Data | Kind::Padding => (HEADER_BYTES, record_bytes(length)),
        Kind::Large | Kind::Decision => (record_bytes(length), record_bytes(length)),
    })
}

/// Bytes from a record's header to the next header; `None` if they cannot lie before `end`.
#[inline]
pub(crate) fn step(kind: Kind, length: u64, available: u64) -> Option<u64> {
    let bytes = match kind {
        Kind::Nulls => HEADER_BYTES,
        Kind::Decision if length > DECISION_BYTES_MAX => return None,
        _ if length > available => return None,
        _ => record_bytes(length),
    };
    (bytes <= available && !(kind == Kind::Nulls && length == 0)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_word_parses_to_what_makes_it_or_to_nothing(word: u64, available in 0u64..1 << 20) {
            if let Some((kind, length)) = parse(word) {
                prop_assert_eq!(header(kind, length), word);
                if let Some(bytes) = step(kind, length, available) {
                    prop_assert!(bytes >= 8 && bytes <= available && bytes.is_multiple_of(8));
                }
            }
        }
    }

    #[test]
    fn of_a_message_the_header_is_read_and_of_what_members_tell_each_other_all() {
        assert_eq!(read_bytes(header(Kind::Data, 10_000)), Some((8, 10_008)));
        assert_eq!(read_bytes(header(Kind::Padding, 40)), Some((8, 48)));
        assert_eq!(read_bytes(header(Kind::Nulls, 5)), Some((8, 8)));
        assert_eq!(read_bytes(header(Kind::Large, 24)), Some((32, 32)));
        assert_eq!(read_bytes(header(Kind::Decision, 9)), Some((24, 24)));
        assert_eq!(read_bytes(0), None);
    }

    #[test]
    fn a_one_byte_message_takes_sixteen_bytes() {
        assert_eq!(record_bytes(1), 16);
        assert_eq!(record_bytes(8), 16);
        assert_eq!(record_bytes(0), 8);
    }
}
